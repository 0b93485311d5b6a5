"""What makes the course around the package: `python -m tools.NAME` in a clone. The package never imports it."""

import sys


def run(main):
    """Run a tool's `main`; an error that a person can mend is one line, without a traceback."""
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
