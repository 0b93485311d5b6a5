"""The site that `make html` writes, built once, with a notebook of a stranger in it."""

import ast
import html
import importlib.util
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import jupytext
import nbformat
import numpy as np
import pytest
from nbformat import v4
from test_player_browser import chromium, start, wait_for  # noqa: F401

import midigen_utils
from midigen_utils.show.player import player
from tools import rendering, statistics, student
from tools.student import SOLUTIONS

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")  # what Sphinx's extensions do is not ours to mend
ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
EVIL = "<script>alert(1)</script>"
STRANGE = f"""# A9 · From a stranger `{EVIL}`

A paragraph with $a < b$ in it. Go on to [the first](00_start_here.ipynb), or to
[one that is missing](09_missing.ipynb).

$$h_t = e^{{\\Delta A}} h_{{t-1}} + \\text{{what comes in}}$$"""


def write_notebook(path, *cells):
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(v4.new_notebook(cells=list(cells), metadata={"language_info": {"name": "python"}}), path)


def widget(text, **drawing):
    data = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": text, **drawing}
    return v4.new_output("display_data", data)


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A copy of what the site is made from, with a GitHub address and with a notebook that means harm."""
    root = tmp_path_factory.mktemp("site") / "clone"
    for folder in ("docs", "notebooks"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    pages = ["README.md", "CONTRIBUTING.md", "LICENSE", "benchmarks/README.md", "midi_data/README.md"]
    for name in [*pages, "midi_data/pretrained/README.md", "midi_data/pretrained/history.png"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    played = player(np.eye(64, 88), title=EVIL, composer=EVIL)
    outputs = [
        v4.new_output("execute_result", {"text/html": played.html, "text/plain": repr(played)}, execution_count=1),
        v4.new_output("stream", text=f"{EVIL}\n"),
        v4.new_output("display_data", {"text/plain": EVIL}),
    ]
    write_notebook(
        root / "notebooks" / "A9_stranger.ipynb",
        v4.new_markdown_cell(STRANGE),
        v4.new_code_cell("import os\n" * 9),
        v4.new_code_cell(f"player(roll, title={EVIL!r})", outputs=outputs, execution_count=1),
        v4.new_code_cell(
            "studio()",
            outputs=[
                widget("epoch 1:   0%|    | 0/9"),
                widget("VBox(children=(Dropdown()))"),
                widget("VBox()", **{"text/html": "a drawing of the controls"}),
            ],
        ),
    )
    subprocess.run(["git", "init", "--quiet", root], check=True)
    subprocess.run(["git", "-C", root, "remote", "add", "origin", "git@github.com:one/midi.gen.git"], check=True)
    return root


@pytest.fixture(scope="session")
def site(clone):
    """The folder of the site, built as `make html` does, but without beginnings from Bach for the live page."""
    from sphinx.cmd.build import build_main

    target = clone / "build" / "html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("midigen_utils.data.load_corpus", lambda name: SimpleNamespace(split=lambda split: []))
        words = ["-q", "-c", clone / "docs", "-d", clone / "build" / "doctrees", "-w", clone / "warnings"]
        assert build_main([*map(str, words), str(clone), str(target)]) == 0
    return target


class Loaded(HTMLParser):
    """What a page loads, where it links to, and the names of its parts."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.names, self.pictures = [], [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names.add(found.get("id"))
        if tag == "img":
            self.pictures.append(found.get("alt"))
        self.loads += [found[name] for name in ("src", "srcset", "data", "poster") if found.get(name)]
        if found.get("href"):
            (self.links if tag == "a" else self.loads).append(found["href"])


@pytest.fixture(scope="session")
def pages(site):
    """Each page of the site but the live one, read once."""
    paths = [path for path in site.rglob("*.html") if path.name != "live.html" and "_static" not in path.parts]
    return {path: Loaded(path) for path in paths}


def test_the_site_is_built_without_complaints_but_about_the_stranger(site, clone):
    complaints = (clone / "warnings").read_text(encoding="utf-8").splitlines()
    assert [line for line in complaints if "A9_stranger" not in line] == []
    assert any("09_missing.ipynb" in line for line in complaints)


def test_a_page_loads_nothing_from_elsewhere(site, pages):
    for path, page in pages.items():
        for address in page.loads:
            assert address.startswith("data:") or not re.match(r"\w+:|//", address), f"{path.name} loads {address}"
    for path in [*site.rglob("*.css"), *site.rglob("*.js")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(@import|url\()\s*(url\()?['\"]?(https?:)?//", text), path.name


def test_every_link_of_the_site_leads_somewhere(site, pages):
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            name, _, part = unquote(link).partition("#")
            target = (path.parent / name.partition("?")[0]).resolve() if name else path
            if re.match(r"\w+:", link) or target == site / "live.html" or "09_missing" in link:
                continue
            assert target.exists(), f"{path.name} leads to {link}"
            assert not part or target not in pages or part in pages[target].names, f"{path.name} leads to {link}"


def test_formulas_are_mathml(site):
    page = (site / "notebooks" / "A9_stranger.html").read_text(encoding="utf-8")
    assert page.count("<math ") == 2 and page.count('display="block"') == 1
    assert "\\Delta" not in page and "$" not in re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S)


def test_a_hostile_title_is_text_in_the_site(site):
    page = (site / "notebooks" / "A9_stranger.html").read_text(encoding="utf-8")
    assert html.escape(EVIL) in page
    for path in site.rglob("*.html"):
        assert EVIL not in path.read_text(encoding="utf-8"), path.name


def test_widgets_leave_a_line_and_progress_bars_nothing_and_imports_are_folded(site):
    page = (site / "notebooks" / "A9_stranger.html").read_text(encoding="utf-8")
    assert page.count("the running notebook shows controls") == 1  # what has a drawing shows that
    assert page.count("a drawing of the controls") == 1
    assert "0%|" not in page and "widget-view" not in page and "VBox" not in page
    assert page.index("<details") < page.index("import</span>") < page.index("</details>")


def test_each_notebook_can_be_downloaded_unchanged_with_its_script_and_opened_in_colab_and_binder(site, clone, pages):
    notebooks = sorted((clone / "notebooks").glob("*.ipynb"))
    assert len(notebooks) > 12
    for path in notebooks:
        page = pages[site / "notebooks" / f"{path.stem}.html"]
        files = [path, *([path.with_suffix(".py")] if path.stem != "A9_stranger" else [])]
        for file in files:
            assert f"../_sources/notebooks/{file.name}" in page.links
            assert (site / "_sources" / "notebooks" / file.name).read_bytes() == file.read_bytes()
        assert f"https://colab.research.google.com/github/one/midi.gen/blob/main/notebooks/{path.name}" in page.links
        assert any(link.startswith("https://mybinder.org/v2/gh/one/midi.gen/main?") for link in page.links)


def test_no_page_is_heavy_and_every_picture_has_a_text(site, pages):
    for path, page in pages.items():
        assert path.stat().st_size < 1.5e6, path.name
        assert None not in page.pictures, path.name


def test_the_front_page_has_the_instrument_and_the_map(site, pages):
    front = pages[site / "docs" / "index.html"]
    assert "../live.html" in front.loads and (site / "live.html").stat().st_size > 1e6
    assert {f"../notebooks/{path.stem}.html" for path in NOTEBOOKS.glob("*.ipynb")} <= set(front.links)
    assert "docs/index.html" in pages[site / "index.html"].links


def test_every_public_name_has_its_place_in_the_reference(site, pages):
    described = {name for path, page in pages.items() if path.parent.name == "reference" for name in page.names}
    for name, module in midigen_utils._MODULE_OF.items():
        assert f"midigen_utils.{module}.{name}" in described, name
    for file in (ROOT / "midigen_utils").glob("*/__init__.py"):
        for line in ast.parse(file.read_text(encoding="utf-8")).body:
            for name in line.names if isinstance(line, ast.ImportFrom) else []:
                assert f"midigen_utils.{file.parent.name}.{name.name}" in described, name.name
    assert "../../notebooks/02_piano_roll.html" in pages[site / "docs" / "reference" / "data.html"].links


def test_a_repository_is_known_by_its_origin_or_by_the_project(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs" / "conf.py")
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    assert conf.repository(tmp_path) is None
    urls = '[project]\nname = "x"\nurls = { Source = "https://github.com/some/course" }\n'
    (tmp_path / "pyproject.toml").write_text(urls)
    assert conf.repository(tmp_path) == "some/course"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", "git@github.com:one/midi.gen.git"], check=True)
    assert conf.repository(tmp_path) == "one/midi.gen"


@pytest.mark.parametrize("tool", [rendering, statistics, student])
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


@pytest.fixture
def open_page(chromium, site):  # noqa: F811
    """Open a page of the site from its file; at the end nothing may have been requested or complained about."""
    contexts, addresses, complaints = [], [], []

    def open_page(name, width, scheme):
        contexts.append(chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("request", lambda request: addresses.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: pytest.fail("a title ran as a script"))
        page.goto(f"{site.as_uri()}/{name}", timeout=60000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert all(address.startswith(("file:", "blob:", "data:")) for address in addresses)
    assert complaints == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_a_notebook_is_read_and_heard_without_network(open_page, scheme):
    page = open_page("notebooks/A9_stranger.html", 1280, scheme)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    wait_for(page, start(page), "audio.currentTime > 0.2")
    assert page.locator("math[display=block]").bounding_box()["height"] > 10
    other = {"light": "dark", "dark": "light"}[scheme]
    for theme in (scheme, other):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        page.wait_for_function("dark => !!document.querySelector('.midigen-dark') === dark", arg=theme == "dark")


@pytest.mark.browser
def test_in_a_browser_the_search_finds_without_a_server_and_the_address_of_the_site_leads_to_the_front(open_page):
    page = open_page("search.html?q=pedal", 1280, "light")
    page.locator("#search-results li a").first.click()
    page.wait_for_url(lambda address: "search.html" not in address)
    page = open_page("index.html", 390, "light")
    page.wait_for_url("**/docs/index.html")
    page.frame_locator("iframe.live").locator("#first").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
@pytest.mark.parametrize("name", ["docs/index.html", "notebooks/02_piano_roll.html", "docs/reference/data.html"])
def test_axe_finds_nothing_serious(open_page, name, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.base")
    page = open_page(name, width, scheme)
    page.evaluate(axe.AXE_FILE_PATH.read_text(encoding="utf-8"))
    options = {"iframes": False, "preload": False, "resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    serious = [(f["id"], n["html"][:200]) for f in found if f["impact"] in ("serious", "critical") for n in f["nodes"]]
    assert serious == []
