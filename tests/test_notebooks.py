"""What every notebook of the course must be: rendered from its script, whole, of a readable size."""

import ast
import re
from decimal import Decimal
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from midigen_utils.exercises import EXERCISES
from midigen_utils.exercises_answers import ANSWERS
from tools.rendering import render

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
SCRIPTS = sorted(FOLDER.glob("[0-9A][0-9]_*.py"))
LESSONS = [script for script in SCRIPTS if script.stem[0] in "0A" and script.stem[:2] not in ("00", "A6")]
EXACT = "nbval-check-output"
DECIMAL = re.compile(r"(?<![\d.])(?:\d{1,3}(?:,\d{3})+|\d+)\.\d+(?:e[+-]?\d+)?(?!\d|\.\d)")  # not versions: 1.2.3


def cells(path, kind=None):
    return [cell for cell in jupytext.read(path).cells if kind in (None, cell.cell_type)]


def rendered(script):
    return nbformat.read(script.with_suffix(".ipynb"), as_version=4)


def code_of(path):
    return "\n".join(cell.source for cell in cells(path, "code"))


def unsupported_numbers(notebook):
    """Decimal numbers in paragraphs `**Finding.** ...` that no output of text shows above them in their `##` section.

    An output supports a number if it rounds to it, whatever its sign: 0.8312 supports 0.83, but 0.8 does not.

    Returns:
        list of str: the numbers as they are written.
    """
    missing, printed = [], []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            printed += printed_numbers(cell)
        else:
            for paragraph in re.split(r"\n\s*\n", re.sub(r"^(##? .*)$", r"\n\1\n", cell.source, flags=re.M)):
                if paragraph.strip().startswith("## "):
                    printed = []
                if paragraph.strip().startswith("**Finding.**"):
                    written = [Decimal(number.replace(",", "")) for number in DECIMAL.findall(paragraph)]
                    missing += [str(some) for some in written if not any(rounds_to(other, some) for other in printed)]
    return missing


def printed_numbers(cell):
    """The decimal numbers that a code cell printed, less those in the text of a `finding`, which nobody measured."""
    written = set()
    if "finding(" in cell.source:
        texts = [node.value for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Constant)]
        written = {line for text in texts if isinstance(text, str) for line in text.splitlines()}
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    lines = [line for text in texts for line in text.splitlines() if line not in written]
    return [Decimal(number.replace(",", "")) for line in lines for number in DECIMAL.findall(line)]


def rounds_to(printed, written):
    unit = written.as_tuple().exponent
    return printed.as_tuple().exponent <= unit and abs(printed - written) <= Decimal(1).scaleb(unit) / 2


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


def test_every_picture_and_player_has_a_caption_and_is_told_in_words(script):
    """Drawings by `figure` carry both themselves."""
    for cell in rendered(script).cells:
        shown = [output.get("data", {}) for output in cell.get("outputs", [])]
        seen = any("image/png" in data or 'class="midigen"' in str(data.get("text/html")) for data in shown)
        if seen and not cell.source.startswith("figure("):
            told = cell.metadata.get("mystnb", {})
            assert told.get("figure", {}).get("caption") and told.get("image", {}).get("alt"), cell.source[-100:]


def test_nothing_in_it_is_of_one_machine_or_one_moment(script):
    raw = script.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert len(raw) < 1_000_000
    assert not re.search(r"object at 0x|/home/|/root/|/tmp/|/work/|[A-Z]:\\\\\\\\Users", raw)
    assert '"widgets"' not in raw and "iopub.execute_input" not in raw
    assert "https://cdn" not in raw, "no script from elsewhere"


def test_every_exercise_of_the_lessons_has_hints_an_answer_and_a_solution():
    (solutions,) = (script for script in SCRIPTS if script.stem.startswith("A6"))
    lessons = [script for script in SCRIPTS if script != solutions]
    asked = {script.stem[:2]: re.findall(r"\bcheck\(\s*\"([^\"]+)\"", code_of(script)) for script in lessons}
    names = [name for found in asked.values() for name in found]
    assert sorted(names) == sorted(EXERCISES) == sorted(ANSWERS), "each once, in a lesson, in the hints, in the answers"
    assert all(name.startswith(f"{lesson}.") for lesson, found in asked.items() for name in found)
    solved = re.findall(r"^assert check\(\s*\"([^\"]+)\".*\) == \"right\"$", code_of(solutions), re.M)
    assert sorted(solved) == sorted(EXERCISES)
    hinted = {name for script in SCRIPTS for name in re.findall(r"\bhint\(\s*\"([^\"]+)\"", code_of(script))}
    assert hinted <= EXERCISES.keys()


def test_findings_are_rendered_in_full_mode_and_never_compared(script):
    """They print another text in fast mode, in which nbval runs."""
    for cell in rendered(script).cells:
        if cell.cell_type == "code" and "finding(" in cell.source:
            assert EXACT not in cell.metadata.get("tags", []), cell.source
            assert "not checked in fast mode" not in str(cell.outputs), "render without MIDIGEN_FAST"


def test_every_decimal_number_of_a_finding_stands_in_an_output_above_it(script):
    assert unsupported_numbers(rendered(script)) == []


def stored(*parts):
    """A notebook of strings, which are text, and of pairs: code and what it printed."""
    made = new_notebook()
    for part in parts:
        if isinstance(part, str):
            made.cells.append(new_markdown_cell(part))
        else:
            made.cells.append(new_code_cell(part[0], outputs=[new_output("stream", name="stdout", text=part[1])]))
    return made


@pytest.mark.parametrize(
    "printed, finding, missing",
    [
        ("loss 0.8312", "It fell to 0.83.", []),
        ("loss 0.8312", "It fell to 0.8312, or 0.831.", []),
        ("loss 0.8312", "It fell to 0.84.", ["0.84"]),
        ("loss 0.8", "It fell to 0.80.", ["0.80"]),
        ("loss 12", "It fell to 12.0, by 3 of 100.", ["12.0"]),
        ("from 2.5 to 12.50", "It rose from 2.5 to 12.5, not to 13.5.", ["13.5"]),
        ("change -0.25", "It changed by −0.25.", []),
        ("[1.25,2.5] 3,0.75", "First 1.25, then 2.5, then 0.75", []),
        ("1,250.5 frames, rate 1.5e-03", "With 1250.5 or 1,250.5 frames at 0.0015", []),
        ("torch 2.13.0", "The version is 2.13.", ["2.13"]),
        ("", "No number, or 3.", []),
    ],
)
def test_a_number_of_a_finding_is_looked_for_to_the_digits_given(printed, finding, missing):
    notebook = stored("## One", ("run()", printed), f"This is no finding: 9.9.\n\n**Finding.** {finding}")
    assert unsupported_numbers(notebook) == missing


def test_outputs_of_other_sections_and_below_a_finding_do_not_support_it():
    finding = "**Finding.** It fell\nto 0.83."
    assert unsupported_numbers(stored("## One", ("a", "0.83"), "### Part", ("b", "1.5"), finding)) == []
    assert unsupported_numbers(stored("## One", ("a", "0.83"), f"## Two\n{finding}")) == ["0.83"]
    assert unsupported_numbers(stored("## One", finding, ("a", "0.83"))) == ["0.83"]
    assert unsupported_numbers(stored("## One", ("a", "0.83"), f"{finding}\n\n## Two", ("b", "1"), finding)) == ["0.83"]
    assert unsupported_numbers(stored("## One", "Prose says 0.83.", finding)) == ["0.83"]


def test_a_value_that_is_shown_supports_a_finding_and_the_text_of_a_finding_does_not():
    shown = stored("## One", ("loss", ""), "**Finding.** It is 0.83.")
    shown.cells[1].outputs = [new_output("execute_result", data={"text/plain": "tensor(0.8312)"}, execution_count=1)]
    assert unsupported_numbers(shown) == []
    literal = ('finding(a < b, "It is 0.83, "\n"less than 1.5.")', "1.5 is there\nIt is 0.83, less than 1.5.\n")
    assert unsupported_numbers(stored("## One", literal, "**Finding.** It is 0.83, not 1.5.")) == ["0.83"]
    measured = ('finding(a < b, f"It is {a:.3f}.")', "It is 0.831.\n")
    assert unsupported_numbers(stored("## One", measured, "**Finding.** It is 0.83.")) == []


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
