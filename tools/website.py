"""Write the rendered notebooks as static pages that need no network: `python -m tools.website`."""

import argparse
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import v4

from midigen_utils import files
from tools import course_folder, run
from tools.rendering import rendered_notebooks

TITLE = "midigen: from a MIDI file to a network that composes"
WELCOME = """A course in notebooks, here as pages to read and hear: nothing is loaded from anywhere else, so they
work without network, too. Every page has its notebook to download. Press play:"""
WIDGET = "application/vnd.jupyter.widget-view+json"
CONTROLS = "<p><em>Here the running notebook shows controls.</em></p>"


class MathML(IPythonRenderer):
    """nbconvert's Markdown, with formulas that a browser shows by itself."""

    def inline_math(self, body):
        return convert(body)

    def block_math(self, body):
        return convert(body, display="block")


def build_site(folder):
    """Write the rendered notebooks as pages that load nothing from elsewhere, and a page of contents.

    Args:
        folder: where to; written atomically, and replaced if it is an older site.

    Returns:
        `Path` of the page of contents.

    Raises:
        FileNotFoundError: there are no notebooks.
        ValueError: the folder holds something else.
    """
    paths = rendered_notebooks()
    titles = {path.stem: _title(_read(path)) for path in paths}
    around = [None, *((f"{name}.html", title.split(":")[0]) for name, title in titles.items()), None]
    exporter = HTMLExporter(
        raw_template=(Path(__file__).parent / "website.html.j2").read_text(encoding="utf-8"),
        filters={"markdown2html": lambda source: _markdown(source, titles)},
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )

    def write(path, notebook, title, **page):
        notebook.metadata["title"] = title
        path.write_text(exporter.from_notebook_node(notebook, {"page": page})[0], encoding="utf-8")

    with course_folder(folder) as temporary:
        for path, before, after in zip(paths, around, around[2:]):
            notebook, name = _read(path), path.stem
            text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
            write(
                temporary / f"{name}.html",
                _without_widgets(notebook),
                f"{titles[name]} · midigen",
                name=name,
                previous=before,
                next=after,
                sections=re.findall(r'<h2 id="([^"]+)">(.*?)<a class="anchor-link"', _markdown(text, titles)),
                repository=repository(),
            )
            shutil.copy(path, temporary)
        write(temporary / "index.html", _contents(paths), TITLE)
    return Path(folder) / "index.html"


def repository():
    """`"owner/name"` on GitHub, by the clone's origin, else by pyproject's urls; `None` where neither says."""
    root, addresses = files.MIDI_DATA.parent, []
    if shutil.which("git"):
        command = ["git", "-C", str(root), "remote", "get-url", "origin"]
        addresses.append(subprocess.run(command, capture_output=True, text=True).stdout.strip())
    if (root / "pyproject.toml").exists():
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        addresses += project.get("urls", {}).values()
    found = (re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", address) for address in addresses)
    return next((match[1] for match in found if match), None)


def _read(path):
    return nbformat.read(path, as_version=4)


def _title(notebook):
    return notebook.cells[0].source.splitlines()[0].lstrip("# ")


def _markdown(source, pages):
    """Markdown as HTML; a link to a notebook leads to its page, or is plain text where there is none."""

    def lead(match):
        name, part, text = match.groups()
        return f'<a href="{name}.html{part or ""}">{text}</a>' if name in pages else text

    page = MarkdownWithMath(renderer=MathML(escape=False)).render(source)
    return re.sub(r'<a href="([^":/#]+)\.ipynb(#[^"]*)?">(.*?)</a>', lead, page)


def _without_widgets(notebook):
    """Widgets need a running notebook: progress bars go, of controls their drawing is left, or a line."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                o for o in cell.outputs if WIDGET not in o.get("data", {}) or "%|" not in o.data["text/plain"]
            ]
            for output in cell.outputs:
                if WIDGET in output.get("data", {}):
                    output.data = {"text/html": output.data.get("text/html", CONTROLS)}
    return notebook


def _contents(paths):
    """The page of contents, as a notebook: the last player of the first one, then a line for each."""
    outputs = [output for cell in _read(paths[0]).cells for output in cell.get("outputs", [])]
    players = [output for output in outputs if 'class="midigen"' in output.get("data", {}).get("text/html", "")]
    lines = []
    for path in paths:
        notebook = _read(path)
        paragraph = (notebook.cells[0].source.split("\n\n") + [""])[1]
        sentences = re.sub(r"(?<=[.?!])[^.?!]+$", "", paragraph)  # no "In this notebook you", which opens a list
        lines.append(f"**[{_title(notebook)}]({path.name})**<br>\n{sentences}")
    cells = [
        v4.new_markdown_cell(f"# {TITLE}\n\n{WELCOME}", id="welcome"),
        v4.new_code_cell(outputs=players[-1:], metadata={"transient": {"remove_source": True}}, id="music"),
        v4.new_markdown_cell("\n\n".join(lines), id="notebooks"),
    ]
    return v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser("python -m tools.website", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/html"), help="folder (default build/html)")
    print(build_site(parser.parse_args(arguments).output))


if __name__ == "__main__":
    run(main)
