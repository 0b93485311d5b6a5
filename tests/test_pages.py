"""The README and the pages of docs/: links lead somewhere, and none is forgotten."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "midi_data/README.md")),
    ROOT / "midi_data" / "pretrained" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]


def read(path):
    return path.read_text(encoding="utf-8")


def anchors(path):
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", read(path), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(path), f"{target}: no such heading"


def test_every_page_of_docs_is_linked_from_the_readme_which_is_short():
    readme = read(ROOT / "README.md")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, page.name
    assert len(readme.split()) <= 1800
