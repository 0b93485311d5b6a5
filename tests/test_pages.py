"""The README and the pages of docs/: links lead somewhere, commands exist, and what is shown runs."""

import re
import shlex
from pathlib import Path

import numpy as np
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
        assert f"(docs/{page.name})" in readme or page.name == "index.md", page.name  # the site's own front
    assert len(readme.split()) <= 1800


def commands(page):
    """The words of each command for a shell in a page's code: blocks without a language, and code within a line."""
    text = read(page)
    blocks = re.findall(r"```\n(.*?)```", text, re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    for command in lines + inline:
        if re.search(r"(^|\s)(make [a-z]|python -m |torchrun |python benchmarks|-m midigen_utils)", command):
            yield shlex.split(command.replace("$resume", ""), comments=True)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_of_a_page_exists_with_its_options(page):
    from midigen_utils.__main__ import _parser

    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.M))
    for words in commands(page):
        if "midigen_utils" in words:
            words = words[words.index("midigen_utils") + 1 :]
        elif "make" in words[:2]:
            target, *rest = [word for word in words[words.index("make") + 1 :] if word != "TORCH_INDEX="]
            assert target in targets, target
            options = [word.removeprefix("ARGS=") for word in rest if word.startswith("ARGS=")]
            words = [target, *shlex.split(options[0])] if options and target in ("train", "generate") else []
        else:
            scripts = [word for word in words if word.startswith("benchmarks/")]
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            for script in scripts:
                assert all(f'"{option}"' in read(ROOT / script) for option in options), words
            words = []
        if words and words != ["export"] and "--help" not in words:
            try:
                _parser().parse_args(words)
            except SystemExit as error:
                raise AssertionError(f"{' '.join(words)}: no such command or option") from error


def python_of(name):
    return re.search(r"```python\n(.*?)```", read(ROOT / "docs" / name), re.S)[1]


def test_the_network_of_the_page_trains_is_saved_and_loaded_scored_and_composes(
    tunes, midi_data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shown = {}
    code = python_of("your_own_model.md").replace('"bach"', repr(str(tunes)))
    exec(code.replace("hidden_size=256", "hidden_size=16").replace("num_frames=480", "num_frames=8"), shown)
    assert isinstance(shown["model"], shown["MusicGRU"])
    assert shown["music"].shape == (64 + 8, 88) and (tmp_path / "gru.mid").is_file()


def test_the_seeds_of_the_page_compose():
    shown = {"rolls": {"train": [np.zeros((100, 88), dtype=np.float32)]}}
    exec("from midigen_utils import *", shown)
    shown["model"] = shown["MusicLSTM"](hidden_size=8)
    exec(python_of("train_and_compose.md"), shown)
    assert shown["music"].shape == (64 + 480, 88)


def test_the_table_of_files_names_every_file_of_the_package_and_no_other():
    table = read(ROOT / "docs" / "how_it_works.md").split("| its one job |")[1].split("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if row else "")}
    assert named == {path.stem for path in (ROOT / "midigen_utils").rglob("*.py")} - {"__init__"}
