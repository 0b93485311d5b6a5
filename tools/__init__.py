"""What makes the course around the package: `python -m tools.NAME` in a clone. The package never imports it."""

import sys
from contextlib import contextmanager
from pathlib import Path

from midigen_utils import files

MARK = ".made-by-midigen"  # a folder without it was made by somebody else and is not replaced


def run(main):
    """Run a tool's `main`; an error that a person can mend is one line, without a traceback."""
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


@contextmanager
def course_folder(path):
    """`files.atomic_folder`, which replaces only what it has made itself.

    Args:
        path: where the folder goes.

    Yields:
        `Path` of a temporary folder to fill.

    Raises:
        ValueError: the folder holds something else.
    """
    path = Path(path).resolve()
    if path.exists() and any(path.iterdir()) and not (path / MARK).exists():
        raise ValueError(f"{path} holds something else: give a folder that is new or empty")
    with files.atomic_folder(path) as temporary:
        yield temporary
        (temporary / MARK).touch()
