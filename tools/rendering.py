"""Execute the percent scripts of the course and write the notebooks, with their outputs, beside them.

python -m tools.rendering                # all of them
python -m tools.rendering 02_piano_roll  # one
"""

import argparse
import hashlib
import os
import re
import time

import jupytext
import nbformat
from nbclient import NotebookClient

from midigen_utils import files
from tools import run

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
SLOWEST = 1200  # seconds that a cell may take


def notebooks_folder():
    """The folder of the course's notebooks.

    Raises:
        FileNotFoundError: the package was installed without them.
    """
    folder = files.MIDI_DATA.parent / "notebooks"
    if not folder.is_dir():
        raise FileNotFoundError(f"no notebooks in {folder}: clone the repository to have them")
    return folder


def rendered_notebooks():
    """The paths of the course's notebooks, in their order.

    Raises:
        FileNotFoundError: there are none.
    """
    paths = sorted(notebooks_folder().glob("[0-9A][0-9]_*.ipynb"))
    if not paths:
        raise FileNotFoundError(f"no notebooks in {notebooks_folder()}: make render")
    return paths


def render(script):
    """Execute a percent script from the top and write it, with its outputs, as a notebook beside it.

    The notebook is made anew every time: what was in it before is not read. Names of cells stay the same until
    the cell changes; neither times, progress bars nor states of widgets are kept, so equal outputs give equal files.

    Args:
        script: path of the `.py` file.

    Returns:
        Path of the notebook.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; nothing is written.
    """
    notebook, seen = jupytext.read(script), {}
    for cell in notebook.cells:
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = f"{name}-{seen[name]}"
    notebook.metadata = KERNEL
    client = NotebookClient(notebook, timeout=SLOWEST, resources={"metadata": {"path": script.parent}})
    client.execute(env={**os.environ, "MIDIGEN_STRICT": "1"})  # a finding that no longer holds ends it
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress_bar(output)]
    notebook.metadata = {**KERNEL, "language_info": {"name": "python"}}
    path = script.with_suffix(".ipynb")
    with files.atomic_write(path) as temporary:
        nbformat.write(notebook, temporary)
    return path


def render_notebooks(names=()):
    """Render notebooks of the course, in their order.

    Args:
        names: such as `["02_piano_roll"]`; none means all.

    Yields:
        `(name, seconds, bytes)` of each, when it is written.

    Raises:
        ValueError: there is no notebook of a name.
    """
    scripts = sorted(notebooks_folder().glob("[0-9A][0-9]_*.py"))
    unknown = set(names) - {script.stem for script in scripts}
    if unknown:
        raise ValueError(f"no notebook {', '.join(sorted(unknown))}; there are {', '.join(s.stem for s in scripts)}")
    for script in scripts:
        if script.stem in (names or [script.stem]):
            start = time.perf_counter()
            size = render(script).stat().st_size
            yield script.stem, time.perf_counter() - start, size


def _is_progress_bar(output):
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return re.search(r"\d+%\|", text) is not None


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser("python -m tools.rendering", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="such as 02_piano_roll (default: all)")
    for name, seconds, size in render_notebooks(parser.parse_args(arguments).names):
        print(f"{name}: {seconds:.0f} s, {size / 1e3:.0f} KB", flush=True)


if __name__ == "__main__":
    run(main)
