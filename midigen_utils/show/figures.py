"""The drawings of the course: `figures/NAME.svg`, and for some a `NAME.html` that moves when touched."""

import base64
import html
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

FOLDER = Path(__file__).parent / "figures"
# Styles stand in the elements: of a notebook that is not trusted, Jupyter shows no style sheet.
CARD = "margin: 0; padding: 8px 10px; max-width: 640px; border-radius: 8px; background-color: #ffffff; color: #24292f"


@dataclass(repr=False)
class Figure:
    """What `figure` returns: `html` for a notebook or a page of your own, and `alt`, the drawing in words."""

    html: str
    alt: str

    def __repr__(self):
        return self.alt

    def _repr_html_(self):
        return self.html


def figure(name, here=None):
    """A drawing of the course, with a line that says what to see. Without scripts, those that move are pictures.

    Notebook: 00_start_here

    Args:
        name: such as `"lstm_cell"`.
        here: in `"road"`, the notebook that the reader is in, such as `"03"`; default none.

    Returns:
        `Figure`: leave it as the last line of a cell.

    Raises:
        ValueError: no such drawing, or no such notebook in it.
    """
    names = sorted(path.stem for path in FOLDER.glob("*.svg"))
    if name not in names:
        raise ValueError(f"no drawing is called {name!r}; there are {', '.join(names)}")
    svg = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    caption, alt = (html.escape(" ".join(ElementTree.fromstring(svg)[i].text.split())) for i in (0, 1))
    if here is not None:
        stops = re.findall(r'id="stop-(\w+)"', svg)
        if here not in stops:
            raise ValueError(f"{name!r} has no notebook {here!r}; it has {', '.join(stops) or 'none at all'}")
        svg = svg.replace(f'id="stop-{here}" class="stop"', f'id="stop-{here}" class="stop here"')
        alt += f" You are here: {here}."
    source = base64.b64encode(svg.encode()).decode()
    shown = f'<img src="data:image/svg+xml;base64,{source}" alt="{alt}" width="640" style="max-width: 100%">'
    if (moving := FOLDER / f"{name}.html").exists():
        style = (FOLDER / "touch.css").read_text(encoding="utf-8")
        shown = moving.read_text(encoding="utf-8").replace("{{STYLE}}", style).replace("{{STILL}}", shown)
    return Figure(f'<figure style="{CARD}">{shown}\n<figcaption>{caption}</figcaption>\n</figure>', html.unescape(alt))
