"""How `make html` makes the site: Sphinx reads docs/ and notebooks/ where they lie, and executes no cell.

A page of docs/ or a notebook becomes a page at the same place below build/html, so links between them hold there as
they do on GitHub.
"""

import html
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

project, author = "midigen", "the midigen contributors"
extensions = ["myst_nb", "sphinx_copybutton", "sphinx_design", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "notebooks/*.ipynb", "README.md", "CONTRIBUTING.md", "benchmarks/README.md"]
include_patterns += ["midi_data/README.md", "midi_data/pretrained/README.md"]
exclude_patterns = [".*", "build", "midi_data/bach-chorales", "midi_data/cache", "midi_data/generated"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
smartquotes = False
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # would come from a server
nb_code_prompt_show = "Show the set-up"
nb_code_prompt_hide = "Hide the set-up"
copybutton_selector = "div:not(.output) > div.highlight pre"
highlight_language = "none"  # a block without a language holds commands

default_role = "py:obj"  # `name` in a docstring leads to that name, if this folder has it
add_module_names = False
autodoc_default_options = {"members": True}
napoleon_use_ivar = True

html_theme = "sphinx_book_theme"
html_title = "midigen"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_extra_path = ["_root"]
html_copy_source = True
html_math_renderer = "mathml"
html_show_search_summary = False  # summaries are fetched, which a browser refuses to a page from a USB stick
html_context = {"default_mode": "auto"}
html_theme_options = {
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navigation_with_keys": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "launch_buttons": {},
}

WIDGET = "application/vnd.jupyter.widget-view+json"
CONTROLS = "<p><em>Here the running notebook shows controls.</em></p>"
SECTION = r"(?:Args|Attributes|Returns|Yields|Raises):"


def setup(app):
    """What Sphinx calls first: all that the settings above cannot say."""
    app.connect("config-inited", lambda app, config: offer_launching(Path(app.srcdir), config.html_theme_options))
    app.connect("builder-inited", write_live_page)
    app.connect("source-read", prepare)
    app.connect("autodoc-process-docstring", mend_docstring, priority=400)  # napoleon comes at 500
    app.connect("html-page-context", escape_title, priority=502)
    app.connect("html-page-context", offer_script, priority=502)  # after the theme, which makes its buttons at 501
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))


def repository(root):
    """`"owner/name"` on GitHub, by the clone's origin, else by pyproject's urls; `None` where neither says."""
    addresses = []
    if shutil.which("git"):
        command = ["git", "-C", str(root), "remote", "get-url", "origin"]
        addresses.append(subprocess.run(command, capture_output=True, text=True).stdout.strip())
    if (root / "pyproject.toml").exists():
        urls = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("urls", {})
        addresses += urls.values()
    found = (re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", address) for address in addresses)
    return next((match[1] for match in found if match), None)


def offer_launching(root, options):
    """Buttons of a notebook's page that open it in Colab and Binder."""
    if name := repository(root):
        options |= {"repository_url": f"https://github.com/{name}", "repository_branch": "main"}
        options["launch_buttons"] = {
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
            "notebook_interface": "jupyterlab",
        }


def write_live_page(app):
    """The instrument of the front page, with Bach's network in it."""
    from midigen_utils.config import MIDI_CONFIG
    from midigen_utils.data import load_corpus, midi_to_piano_roll
    from midigen_utils.learn import load_model
    from midigen_utils.show import live_page

    if not (Path(app.outdir) / "live.html").exists():
        beginning = {**MIDI_CONFIG, "max_duration": 8}
        pieces = load_corpus("bach").split("validation")[:3]
        seeds = [(piece.title, midi_to_piano_roll(piece.path, beginning)) for piece in pieces]
        live_page(load_model("bach"), Path(app.outdir) / "live.html", "Bach’s network", seeds)


def prepare(app, docname, source):
    """A notebook as a page shows it: imports folded, each picture with a text, of widgets what works without Python."""
    if docname.startswith("notebooks/"):
        notebook = json.loads(source[0])
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        if cells and len("".join(cells[0]["source"]).splitlines()) > 8:
            cells[0]["metadata"].setdefault("tags", []).append("hide-input")
        for cell in cells:
            cell["outputs"] = [output for output in map(without_widget, cell["outputs"]) if output]
            image = cell["metadata"].setdefault("mystnb", {}).setdefault("image", {})
            image.setdefault("alt", "Figure drawn by the code above it")
        source[0] = json.dumps(notebook)


def without_widget(output):
    """Nothing in place of a progress bar, of controls their drawing or a line; any other output as it is."""
    if WIDGET not in output.get("data", {}):
        return output
    if "%|" in "".join(output["data"]["text/plain"]):
        return None
    return {**output, "data": {"text/html": output["data"].get("text/html", CONTROLS)}}


def mend_docstring(app, what, name, thing, options, lines):
    """Link the notebook that a docstring names, and mark the code in it as Sphinx wants it."""
    text = "\n".join(lines)

    def link(match):
        return re.sub(r"\b[0A]\d_\w+", lambda page: f":doc:`{page[0]} </notebooks/{page[0]}>`", match[0])

    text = re.sub(r"^Notebook: .*$", link, text, flags=re.M)
    text = re.sub(rf"^(?!{SECTION})(.*[^:]):\n\n(?=    )", r"\1::\n\n", text, flags=re.M)
    lines[:] = text.splitlines()


def escape_title(app, pagename, templatename, context, doctree):
    """The theme writes a page's title, in its heading for print, as if it were HTML."""
    context["pagetitle"] = html.escape(context.get("pagetitle", ""))


def offer_script(app, pagename, templatename, context, doctree):
    """Beside the notebook, the script that it is made from."""
    script = Path(app.srcdir) / f"{pagename}.py"
    if pagename.startswith("notebooks/") and script.exists():
        copy = Path(app.outdir) / "_sources" / f"{pagename}.py"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(script, copy)
        downloads = next(group for group in context["header_buttons"] if group["label"] == "download-buttons")
        button = {"type": "link", "url": f"{context['pathto']('_sources', 1)}/{pagename}.py", "text": ".py"}
        button |= {"tooltip": "Download as a script", "icon": "fas fa-file-code", "label": "download-script-button"}
        downloads["buttons"].insert(1, button)


def visit_math(self, node):
    """A formula as MathML, which a browser shows by itself."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    self.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode
