"""What every notebook of the course must be: rendered from its script, whole, of a readable size."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tools.rendering import render

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
SCRIPTS = sorted(FOLDER.glob("[0-9A][0-9]_*.py"))
LESSONS = [script for script in SCRIPTS if script.stem[0] in "0A" and script.stem[:2] not in ("00", "A6")]
EXACT = "nbval-check-output"


def cells(path, kind=None):
    return [cell for cell in jupytext.read(path).cells if kind in (None, cell.cell_type)]


def rendered(script):
    return nbformat.read(script.with_suffix(".ipynb"), as_version=4)


@pytest.fixture(params=SCRIPTS, ids=lambda path: path.stem)
def script(request):
    return request.param


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return request.param


def test_the_notebook_has_the_cells_of_its_script(script):
    """Whoever edits a script renders it: else the reader sees another text than nbval runs."""
    pairs = list(zip(cells(script), rendered(script).cells, strict=True))
    assert all(a.source == b.source and a.cell_type == b.cell_type for a, b in pairs), "make render"
    assert all(a.metadata.get("tags", []) == b.metadata.get("tags", []) for a, b in pairs), "make render"


def test_every_cell_was_run_in_order_and_none_failed(script):
    code = [cell for cell in rendered(script).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert not any(output.output_type == "error" for output in cell.outputs)
        if EXACT in cell.metadata.get("tags", []):
            assert cell.outputs, f"nothing to compare: {cell.source[:60]}"


def test_it_opens_with_a_title_and_ends_like_the_others(lesson):
    text = cells(lesson, "markdown")
    assert text[0].source.startswith("# ")
    headings = re.findall(r"^## (.+)$", "\n".join(cell.source for cell in text), re.M)
    assert headings[-5:] == ["Summary", "Quiz", "Exercises", "Next", "References"], headings


def test_the_settings_are_one_visible_cell(lesson):
    settings = [cell.source for cell in cells(lesson, "code") if "scaled(" in cell.source or "CORPUS =" in cell.source]
    assert len(settings) == 1, "full and fast values stand in one cell"
    assert "MIDIGEN_FAST" not in "".join(cell.source for cell in cells(lesson, "code"))


def test_cells_are_short(script):
    lengths = sorted(len(cell.source.splitlines()) for cell in cells(script, "code"))
    assert lengths[-1] <= 45
    assert lengths[int(0.9 * (len(lengths) - 1))] <= 30
    assert lengths[len(lengths) // 2] <= 10


def test_words_that_make_a_reader_feel_slow_are_absent(script):
    text = "\n".join(cell.source for cell in cells(script, "markdown"))
    assert not re.search(r"\b(simply|obviously|just|trivially|of course)\b", text, re.I)


def test_nothing_in_it_is_of_one_machine_or_one_moment(script):
    raw = script.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert len(raw) < 1_000_000
    assert not re.search(r"object at 0x|/home/|/root/|/tmp/|/work/|[A-Z]:\\\\\\\\Users", raw)
    assert '"widgets"' not in raw and "iopub.execute_input" not in raw
    assert "https://cdn" not in raw, "no script from elsewhere"


def test_rendering_leaves_no_progress_bar_behind(tmp_path):
    script = tmp_path / "07_toy.py"
    script.write_text(
        "# %%\nfrom tqdm.auto import tqdm\n\nfor i in tqdm(range(3)):\n    pass\nprint(i)\n", encoding="utf-8"
    )
    render(script)
    assert [output.get("text") for output in rendered(script).cells[0].outputs] == ["2\n"]


def test_rendering_twice_gives_the_same_bytes_and_a_failing_cell_writes_nothing(tmp_path):
    script = tmp_path / "07_toy.py"
    script.write_text("# %% [markdown]\n# # Toy\n\n# %%\nx = 2\nprint(x)\n\n# %%\nx\n", encoding="utf-8")
    first = render(script).read_bytes()
    assert render(script).read_bytes() == first
    assert [cell.cell_type for cell in rendered(script).cells] == ["markdown", "code", "code"]
    assert rendered(script).cells[1].outputs[0].text == "2\n"
    script.write_text("# %%\n1 / 0\n", encoding="utf-8")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        render(script)
    assert script.with_suffix(".ipynb").read_bytes() == first
