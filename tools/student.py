"""Write what a class is given, and what grades its hand-ins: `python -m tools.student`."""

import argparse
import ast
import hashlib
import re
import tomllib
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import nbformat

from midigen_utils import files
from tools import course_folder, run
from tools.rendering import rendered_notebooks

ROOT = Path(__file__).resolve().parent.parent
SOLUTIONS = "A6_solutions"
ANSWERS = "midigen_utils/exercises_answers.py"
BESIDE = ("constraints.txt", "LICENSE", "benchmarks/music.py", "docs/glossary.md")
WEIGHTS = ("midi_data/pretrained/README.md", "midi_data/pretrained/mamba.pt", "midi_data/pretrained/lstm.pt")
README = """# midigen

From a MIDI file to a network that composes piano music. You need Python 3.11 or newer, and the internet once.
In a terminal, in this folder (Windows: `py` for `python3`, and `.venv\\Scripts\\python` for `.venv/bin/python`):

    python3 -m venv .venv
    .venv/bin/python -m pip install --constraint constraints.txt {wheel}
    .venv/bin/python -m jupyter lab 00_start_here.ipynb

Where the course says `make demo`, write `.venv/bin/python -m midigen_utils demo`; the same for the other words.
Licences: `LICENSE`; of the weights of pianists, `midi_data/pretrained/README.md` (CC BY-NC-SA 4.0).
"""
GRADER = '''"""Settings of nbgrader. How to grade: docs/teaching.md."""

import os

os.environ["MIDIGEN_FAST"] = "1"  # training is not graded

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "midigen"
c.ExecutePreprocessor.timeout = 600  # seconds a cell may take
c.FileNameCollectorPlugin.named_regexp = r"(.*[/\\\\])?(?P<student_id>.+?)[ _-]+(?P<file_id>[0-9A]\\d_[a-z_]+)\\.ipynb"
'''
JUDGE = """# 1 point for {exercise}. Leave this cell as it is.
### BEGIN HIDDEN TESTS
from midigen_utils.exercises import check as judge

assert judge({arguments}) == "right"
### END HIDDEN TESTS"""
HIDDEN = re.compile(r"\n### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", re.DOTALL)


def write_class(folder):
    """Write the folder for students, the same as a ZIP beside it, and nbgrader's folder `NAME-grading` for the teacher.

    Students get the notebooks without outputs and solutions, and the package as a wheel without the right answers.

    Args:
        folder: where to; written atomically, and replaced if it was made here before.

    Returns:
        `(zip, grading)`, two paths.

    Raises:
        FileNotFoundError: there are no notebooks.
        ValueError: a folder holds something else.
    """
    folder = Path(folder).resolve()
    grading, archive = folder.with_name(f"{folder.name}-grading"), folder.with_name(f"{folder.name}.zip")
    lessons = {path.stem: _lesson(path) for path in rendered_notebooks() if path.stem != SOLUTIONS}
    with course_folder(folder) as temporary:
        with course_folder(grading / "source") as source:  # hand-ins and grades beside it stay
            for name, notebook in lessons.items():
                if any("nbgrader" in cell.metadata for cell in notebook.cells):
                    (source / name).mkdir()
                    nbformat.write(notebook, source / name / f"{name}.ipynb")
        (grading / "nbgrader_config.py").write_text(GRADER, encoding="utf-8")
        for name, notebook in lessons.items():
            for cell in notebook.cells:
                cell.source = HIDDEN.sub("", cell.source)
            nbformat.write(notebook, temporary / f"{name}.ipynb")
        wheel = write_wheel(temporary)
        (temporary / "README.md").write_text(README.format(wheel=wheel.name), encoding="utf-8")
        for name in (*BESIDE, *WEIGHTS):
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes((ROOT / name).read_bytes())
        with files.atomic_write(archive) as zipped, zipfile.ZipFile(zipped, "w") as file:
            for path in sorted(path for path in temporary.rglob("*") if path.is_file()):
                _add(file, f"midigen/{path.relative_to(temporary).as_posix()}", path.read_bytes())
    return archive, grading


def write_wheel(folder):
    """The package as students get it: a wheel without the right answers, so that `check` records and does not judge.

    Args:
        folder: where to.

    Returns:
        `Path` of the wheel.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"].replace("-", "_"), project["version"]
    content = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / name).rglob("*") if path.is_file()}
    content = {path: content[path].read_bytes() for path in sorted(content) if "__pycache__" not in path}
    del content[ANSWERS]
    about = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Python: {project['requires-python']}", f"License: {project['license']}"]
    metadata += [f"Requires-Dist: {package}" for package in project["dependencies"]]
    content[f"{about}/METADATA"] = "\n".join([*metadata, ""]).encode()
    content[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: midigen\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in content.items()]
    content[f"{about}/RECORD"] = "\n".join([*record, f"{about}/RECORD,,", ""]).encode()
    wheel = Path(folder) / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for path, data in content.items():
            _add(file, path, data)
    return wheel


def _add(file, name, data):
    file.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)  # without a date: equal files give an equal ZIP


def _digest(data):
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _lesson(path):
    """A notebook without outputs; after each exercise a cell that judges it, with the test between nbgrader's marks."""
    notebook, cells = nbformat.read(path, as_version=4), []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "markdown":
            cell.source = re.sub(rf"\[([^]]+)\]\({SOLUTIONS}\.ipynb[^)]*\)", r"\1 (your teacher has it)", cell.source)
            cell.source = cell.source.replace(" If you teach: `docs/teaching.md`.", "")
        else:
            cell.outputs, cell.execution_count = [], None
            for call in _checks(cell.source):
                exercise = ast.literal_eval(call.args[0])
                name = exercise.replace(".", "-")
                arguments = ", ".join(ast.unparse(argument) for argument in call.args)
                source = JUDGE.format(exercise=exercise, arguments=arguments)
                judge = nbformat.v4.new_code_cell(source, id=f"judge-{name}")
                cell.metadata.nbgrader = _role(f"exercise-{name}", solution=True)
                judge.metadata.nbgrader = _role(f"judge-{name}", grade=True, locked=True, points=1)
                cells.append(judge)
    notebook.cells = cells
    return notebook


def _checks(source):
    """The calls of `check` that end an exercise's cell."""
    if not re.search(r"^check\(", source, re.MULTILINE):
        return []
    calls = [line.value for line in ast.parse(source).body if isinstance(line, ast.Expr)]
    return [call for call in calls if isinstance(call, ast.Call) and ast.unparse(call.func) == "check"]


def _role(name, **role):
    """What nbgrader writes into the metadata of a cell."""
    plain = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    return nbformat.from_dict({**plain, "cell_type": "code", "grade_id": name, **role})


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser("python -m tools.student", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/student"), help="folder (default build/student)")
    archive, grading = write_class(parser.parse_args(arguments).output)
    print(f"{archive}\n    for the class: unpack it, then do what README.md in it says, before the first lesson")
    print(f"{grading}\n    for you: nbgrader's folder, which grades what they hand in (docs/teaching.md)")


if __name__ == "__main__":
    run(main)
