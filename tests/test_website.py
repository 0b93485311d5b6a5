"""The course as pages and as notebooks for a class, on a toy course of three notebooks."""

import os
import re
import subprocess
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
from nbformat import v4
from test_player_browser import chromium, start, wait_for  # noqa: F401

from midigen_utils.show.player import player
from tools import rendering, run, statistics, student, website
from tools.student import SOLUTIONS, write_student_notebooks
from tools.website import build_site, repository

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SECRET = "answer = 6 * 7"
FIRST = """# 00 · First: a toy

A paragraph with $a < b$ in it. In this toy you

- go on to [the second](01_second.ipynb#More), or to [one that is missing](09_missing.ipynb).

$$h_t = e^{\\Delta A} h_{t-1} + \\text{what comes in}$$"""


def write_notebook(path, *cells):
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(v4.new_notebook(cells=list(cells)), path)


@pytest.fixture
def course(midi_data):
    """A clone with three small notebooks; returns its folder."""
    folder = midi_data.parent / "notebooks"
    folder.mkdir(parents=True)
    shown = v4.new_output(
        "execute_result", {"text/html": player(np.eye(64, 88), title="Stairs").html}, execution_count=1
    )
    progress, controls = (
        v4.new_output(
            "display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": text}
        )
        for text in ("epoch 1:   0%|    | 0/9", "VBox(children=(Dropdown()))")
    )
    drawn = v4.new_output("display_data", {**controls.data, "text/html": "<p>a drawing of the controls</p>"})
    write_notebook(
        folder / "00_first.ipynb",
        v4.new_markdown_cell(FIRST),
        v4.new_code_cell("player(roll)", outputs=[shown], execution_count=1),
        v4.new_code_cell("studio()", outputs=[progress, controls, drawn], execution_count=2),
    )
    write_notebook(
        folder / "01_second.ipynb",
        v4.new_markdown_cell("# 01 · Second\n\n## More\n\nSee [Solutions](A6_solutions.ipynb)."),
        v4.new_code_cell('answer = ...\n\ncheck("01.1", answer)', outputs=[v4.new_output("stream", text="42\n")]),
    )
    write_notebook(folder / "A6_solutions.ipynb", v4.new_markdown_cell("# A6 · Solutions"), v4.new_code_cell(SECRET))
    return midi_data.parent


@pytest.fixture
def site(course):
    return build_site(course / "build" / "html").parent


class Loaded(HTMLParser):
    """What a page loads, and where it links to."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.ways = [], [], {}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "rel" in found:
            self.ways[found["href"]] = found["rel"]
        self.loads += [found[name] for name in ("src", "srcset", "data", "poster") if found.get(name)]
        if found.get("href"):
            (self.links if tag == "a" else self.loads).append(found["href"])


def test_a_page_loads_nothing_from_elsewhere(site):
    for path in site.glob("*.html"):
        assert all(address.startswith("data:") for address in Loaded(path).loads), path.name
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//|\bimport\s*\(|require\.min|mathjax", text, re.I)


def test_formulas_are_mathml(site):
    page = (site / "00_first.html").read_text(encoding="utf-8")
    assert page.count("<math ") == 2 and 'display="block"' in page
    assert "\\Delta" not in page and "$" not in re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S)


def test_every_link_of_the_site_leads_somewhere(site):
    for path in site.glob("*.html"):
        for link in Loaded(path).links:
            name, _, part = link.partition("#")
            target = site / name if name else path
            assert target.exists(), f"{path.name} links to {link}"
            assert not part or f'id="{part}"' in target.read_text(encoding="utf-8"), f"{path.name} links to {link}"


def test_links_between_notebooks_lead_to_pages(site):
    page = Loaded(site / "00_first.html")
    assert "01_second.html#More" in page.links and "index.html" in page.links
    assert "one that is missing" in (site / "00_first.html").read_text(encoding="utf-8")
    assert Loaded(site / "00_first.html").ways == {"01_second.html": "next"}
    assert Loaded(site / "01_second.html").ways == {"00_first.html": "prev", "A6_solutions.html": "next"}


def test_the_contents_name_every_notebook_and_play(site):
    text, page = (site / "index.html").read_text(encoding="utf-8"), Loaded(site / "index.html")
    assert {"00_first.html", "01_second.html", "A6_solutions.html"} <= set(page.links)
    assert "00 · First: a toy" in text and "A paragraph with" in text and "In this toy you" not in text
    assert "Stairs" in text and "player(roll)" not in text


def test_each_page_offers_its_notebook_unchanged(site, course):
    for path in (course / "notebooks").glob("*.ipynb"):
        assert (site / path.name).read_bytes() == path.read_bytes()
        assert path.name in Loaded(site / f"{path.stem}.html").links


def test_widgets_leave_a_line_and_progress_bars_nothing(site):
    page = (site / "00_first.html").read_text(encoding="utf-8")
    assert page.count("the running notebook shows controls") == 1  # what has a drawing shows that
    assert page.count("a drawing of the controls") == 1
    assert "0%|" not in page and "widget-view" not in page and "VBox" not in page


def test_building_again_gives_the_same_pages_and_leaves_nothing_beside(site):
    before = {path.name: path.read_bytes() for path in site.iterdir()}
    build_site(site)
    assert {path.name: path.read_bytes() for path in site.iterdir()} == before
    assert [path.name for path in site.parent.iterdir()] == ["html"]


def test_a_folder_of_somebody_else_is_not_replaced(course):
    (course / "mine").mkdir()
    (course / "mine" / "index.html").write_text("mine")
    with pytest.raises(ValueError, match="something else"):
        build_site(course / "mine")
    assert (course / "mine" / "index.html").read_text() == "mine"


def test_a_failure_keeps_the_site_that_was_there(site, course):
    before = {path.name: path.read_bytes() for path in site.iterdir()}
    (course / "notebooks" / "01_second.ipynb").write_text("{}")
    with pytest.raises(Exception):  # noqa: B017 what nbformat raises differs
        build_site(site)
    assert {path.name: path.read_bytes() for path in site.iterdir()} == before
    assert [path.name for path in site.parent.iterdir()] == ["html"]


def test_colab_and_binder_are_offered_where_the_repository_is_known(course, monkeypatch):
    assert repository() is None
    (course / "pyproject.toml").write_text(
        '[project]\nname = "x"\nurls = { Source = "https://github.com/some/course" }\n'
    )
    assert repository() == "some/course"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    subprocess.run(["git", "init", "--quiet", course], check=True)
    subprocess.run(["git", "-C", course, "remote", "add", "origin", "git@github.com:one/midi.gen.git"], check=True)
    assert repository() == "one/midi.gen"
    links = Loaded(build_site(course / "build" / "html").parent / "00_first.html").links
    assert "https://colab.research.google.com/github/one/midi.gen/blob/main/notebooks/00_first.ipynb" in links
    assert "https://mybinder.org/v2/gh/one/midi.gen/HEAD?labpath=notebooks%2F00_first.ipynb" in links


def test_students_get_the_exercises_without_outputs_and_solutions(course):
    path = write_student_notebooks(course / "build" / "student")
    folder = course / "build" / "student"
    assert sorted(path.name for path in folder.glob("*.ipynb")) == ["00_first.ipynb", "01_second.ipynb"]
    for path_ in folder.glob("*.ipynb"):
        notebook = nbformat.read(path_, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    text = (folder / "01_second.ipynb").read_text(encoding="utf-8")
    assert "check(" in text and "A6_solutions.ipynb" not in text and SECRET not in text and "42" not in text
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["notebooks/00_first.ipynb", "notebooks/01_second.ipynb"]
        assert file.read("notebooks/01_second.ipynb").decode() == text
    first = path.read_bytes()
    assert write_student_notebooks(folder).read_bytes() == first


def test_the_tools_are_commands_whose_errors_are_one_line(course, capsys):
    for main, made in ((website.main, "site/index.html"), (student.main, "site.zip")):
        main(["--output", str(course / "site")])
        assert capsys.readouterr().out == f"{course / made}\n"
    (course / "mine").mkdir()
    (course / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(SystemExit, match=r"^error: .*mine holds something else: give a folder that is new or empty$"):
        run(lambda: student.main(["--output", str(course / "mine")]))


@pytest.mark.parametrize("tool", [rendering, statistics, student, website])
def test_every_tool_says_what_it_does(tool, capsys):
    with pytest.raises(SystemExit) as end:
        tool.main(["--help"])
    assert end.value.code == 0 and f"python -m {tool.__name__}" in capsys.readouterr().out


def test_no_lesson_holds_the_solution_of_an_exercise():
    """What students are given: every cell that checks an exercise still asks."""
    for script in NOTEBOOKS.glob("[0-9A][0-9]_*.py"):
        if script.stem != SOLUTIONS:
            for cell in jupytext.read(script).cells:
                if cell.cell_type == "code" and re.search(r"^check\(", cell.source, re.M):
                    assert re.search(r"(=|return) \.\.\.$", cell.source, re.M), f"{script.stem}: {cell.source}"


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_the_site_is_read_and_heard_without_network(chromium, site, scheme):  # noqa: F811
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page, addresses, complaints = context.new_page(), [], []
    page.on("request", lambda request: addresses.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((site / "index.html").as_uri())
    page.get_by_role("link", name="00 · First: a toy").click()
    page.wait_for_url("**/00_first.html")
    for width in (1280, 375):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    wait_for(page, start(page), "audio.currentTime > 0.2")
    ink, paper = (
        sum(map(int, re.findall(r"\d+", page.evaluate(f"getComputedStyle(document.body).{name}"))[:3]))
        for name in ("color", "backgroundColor")
    )
    assert (ink > paper) == (scheme == "dark") and abs(ink - paper) > 400, (ink, paper)
    assert page.locator(".midigen-dark").count() == (scheme == "dark")
    assert page.locator("math[display=block]").bounding_box()["height"] > 10
    page.get_by_role("link", name="01 · Second").first.click()
    page.wait_for_url("**/01_second.html")
    context.close()
    assert all(address.startswith(("file:", "blob:", "data:")) for address in addresses)
    assert complaints == []
