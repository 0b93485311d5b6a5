"""What a class is given, from the real notebooks: complete, without the answers, and gradable."""

import base64
import contextlib
import csv
import hashlib
import io
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import nbformat
import pytest

from midigen_utils.exercises import EXERCISES
from tools import run, student
from tools.student import HIDDEN, SOLUTIONS, write_class

ANSWERS = (Path(student.ROOT) / student.ANSWERS).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """`(folder, zip, grading, printed)` of a class, in a folder with a space and an accent in its name."""
    folder = tmp_path_factory.mktemp("Élèves 1") / "student"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        student.main(["--output", str(folder)])
    return folder, folder.with_suffix(".zip"), folder.with_name("student-grading"), printed.getvalue()


def cells(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_students_get_all_lessons_without_outputs_solutions_and_teachers_pages(given):
    names = {path.stem for path in given[0].glob("*.ipynb")}
    assert SOLUTIONS not in names and {"00_start_here", "05_generation_and_playback", "A7_the_roll_repaired"} <= names
    for path in given[0].glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert f"{SOLUTIONS}.ipynb" not in text and "teaching.md" not in text and "HIDDEN" not in text, path
        assert all(cell.outputs == [] and cell.execution_count is None for cell in cells(path)), path


def test_the_zip_holds_the_folder(given):
    folder, archive, *_ = given
    with zipfile.ZipFile(archive) as file:
        files = {name.removeprefix("midigen/"): file.read(name) for name in file.namelist()}
    assert {"README.md", "constraints.txt", "LICENSE", "midi_data/pretrained/README.md"} <= files.keys()
    assert {"midi_data/pretrained/mamba.pt", "midi_data/pretrained/lstm.pt", "benchmarks/music.py"} <= files.keys()
    assert all((folder / name).read_bytes() == data for name, data in files.items())
    wheel = next(name for name in files if name.endswith(".whl"))
    assert f"constraints.txt {wheel}" in files["README.md"].decode() and len(files["README.md"].splitlines()) <= 11


def test_the_wheel_is_whole_but_for_the_right_answers(given):
    with zipfile.ZipFile(next(given[0].glob("*.whl"))) as file:
        content = {name: file.read(name) for name in file.namelist()}
    about = next(name for name in content if name.endswith("RECORD"))
    for name, digest, size in csv.reader(io.StringIO(content[about].decode())):
        if name != about:
            packed = base64.urlsafe_b64encode(hashlib.sha256(content[name]).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == (f"sha256={packed}", len(content[name])), name
    assert {"midigen_utils/pretrained/bach.pt", "midigen_utils/show/live.html", "midigen_utils/exercises.toml"} <= set(
        content
    )
    assert student.ANSWERS not in content and "Requires-Dist: torch" in content[about[:-6] + "METADATA"].decode()
    secrets = [line for line in ANSWERS.splitlines() if "lambda" in line]
    everything = b"\n".join(content.values()).decode("utf-8", "ignore")
    assert len(secrets) > 20 and not any(line.strip() in everything for line in secrets)


def test_every_exercise_is_worth_a_point_that_the_students_notebook_asks_for_by_the_same_name(given):
    folder, _, grading, _ = given
    points = {}
    for path in sorted((grading / "source").glob("*/*.ipynb")):
        ours, theirs = cells(path), cells(folder / path.name)
        assert [cell.metadata.get("nbgrader") for cell in ours] == [cell.metadata.get("nbgrader") for cell in theirs]
        for cell, asked in zip(ours, theirs):
            if cell.metadata.get("nbgrader", {}).get("grade"):
                exercise = re.search(r'judge\([\'"]([\w.]+)[\'"]', cell.source)[1]
                points[exercise] = cell.metadata.nbgrader.points
                assert asked.source == HIDDEN.sub("", cell.source) and "judge" not in asked.source
    assert points == dict.fromkeys(EXERCISES, 1)


def test_a_second_time_the_zip_is_the_same_and_hand_ins_and_grades_are_kept(given):
    folder, archive, grading, _ = given
    (grading / "gradebook.db").write_bytes(b"grades")
    before = archive.read_bytes()
    assert write_class(folder)[0].read_bytes() == before
    assert (grading / "gradebook.db").read_bytes() == b"grades"


def test_the_command_says_what_it_wrote_and_leaves_a_folder_of_somebody_else_alone(given, tmp_path):
    _, archive, grading, told = given
    assert f"{archive}\n" in told and f"{grading}\n" in told and "README.md" in told
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(SystemExit, match=r"^error: .*mine holds something else: give a folder that is new or empty$"):
        run(lambda: student.main(["--output", str(tmp_path / "mine")]))
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "letter.txt"], "nothing else is written"


@pytest.mark.slow
def test_pip_installs_the_wheel_and_check_records(given, tmp_path):
    venv.create(tmp_path / "environment", with_pip=True, system_site_packages=False)
    python = next((tmp_path / "environment").glob("*/python*"))
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", next(given[0].glob("*.whl"))]
    subprocess.run(pip, check=True)
    where = (
        "import sys; sys.path.append(sys.argv[1]); import midigen_utils as m; print(m.__file__, m.check('A1.1', 10))"
    )
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run([python, "-c", where, packages], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "environment" in done.stdout and "recorded" in done.stdout
