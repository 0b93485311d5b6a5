"""Run the percent scripts from the top and write each as a notebook with its outputs.

    python notebooks/render.py                     all of them
    python notebooks/render.py 02_piano_roll       one

Only the scripts are edited. A notebook is made anew every time: what was in it before is not read.
"""

import hashlib
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from midigen_utils.config import written_whole  # noqa: E402

FOLDER = Path(__file__).resolve().parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def scripts():
    """The percent scripts, in the order of the course."""
    return sorted(FOLDER.glob("[0-9A][0-9]_*.py"))


def render(script):
    """Execute one script; returns the notebook. A cell that fails stops it, with the error."""
    notebook = jupytext.read(script)
    seen = {}
    for cell in notebook.cells:  # names that stay the same until the cell changes
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = f"{name}-{seen[name]}"
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    NotebookClient(notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": FOLDER}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}  # no widget states
    return notebook


def main(names):
    """Render the scripts of these names, or all."""
    for script in scripts():
        if names and script.stem not in names:
            continue
        start = time.perf_counter()
        notebook = render(script)
        with written_whole(script.with_suffix(".ipynb")) as temporary:
            nbformat.write(notebook, temporary)
        size = script.with_suffix(".ipynb").stat().st_size
        print(f"{script.stem}: {time.perf_counter() - start:.0f} s, {size / 1e3:.0f} KB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
