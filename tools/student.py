"""Write the notebooks for a class, without outputs and solutions: `python -m tools.student`."""

import argparse
import re
import zipfile
from pathlib import Path

import nbformat

from midigen_utils import files
from tools import course_folder, run
from tools.rendering import rendered_notebooks

SOLUTIONS = "A6_solutions"


def write_student_notebooks(folder):
    """Write the notebooks for a class: without solutions and without outputs; also as one zip beside the folder.

    Args:
        folder: where to; written atomically, and replaced if it was made here before.

    Returns:
        `Path` of the zip file.

    Raises:
        FileNotFoundError: there are no notebooks.
        ValueError: the folder holds something else.
    """
    texts = {}
    for path in rendered_notebooks():
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.source = re.sub(rf"\[([^]]+)\]\({SOLUTIONS}\.ipynb[^)]*\)", r"\1 (your teacher has it)", cell.source)
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        if path.stem != SOLUTIONS:
            texts[path.name] = nbformat.writes(notebook) + "\n"
    with course_folder(folder) as temporary:
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
    with files.atomic_write(Path(folder).with_suffix(".zip")) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, text in texts.items():
            file.writestr(zipfile.ZipInfo(f"notebooks/{name}"), text, zipfile.ZIP_DEFLATED)
    return Path(folder).with_suffix(".zip")


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser("python -m tools.student", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/student"), help="folder (default build/student)")
    print(write_student_notebooks(parser.parse_args(arguments).output))


if __name__ == "__main__":
    run(main)
