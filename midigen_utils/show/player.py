"""The player: a piano roll that a browser draws and plays, in one piece of HTML without network.

The HTML holds a list of notes, a small piano (`piano.js`) and what draws and plays them (`player.js`), so a minute of
music takes some 35 KB, where its samples would take 3.5 MB.
"""

import base64
import hashlib
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import MIDI_CONFIG, count_keys
from ..data.piano_roll import notes_to_roll
from ..files import atomic_write, slug
from .plotting import _octaves, bare_figure, figure_png, plot_piano_roll
from .sound import BROWSER_RATE, PEAK, PIANO, TAIL, as_notes

LONGEST = 90  # seconds that a browser is asked to render
HOW_TO_HEAR = (
    "This is a picture. To hear the music, run the cell, "
    "or trust the notebook (Trust Notebook in Jupyter’s command palette)."
)
HOW_TO_HEAR_A_PAGE = "This is a picture. To hear the music, open this page in a browser that allows JavaScript."


@dataclass(repr=False)
class Player:
    """What `player` returns: shows itself in a notebook, and writes itself as a page.

    Attributes:
        html: a piece of HTML for a notebook or for a page of your own.
        title: as it was given.
        description: title, length and number of notes, for `repr`.
        script: the contents of its `<script>`: made of notes, never of text that somebody wrote.
    """

    html: str
    title: str
    description: str
    script: str

    def __repr__(self):
        return f"Player({self.description})"

    def _repr_html_(self):
        return self.html

    def save(self, path):
        """Write a page that plays after a double click, without network; see `save_page`."""
        return save_page(path, [self], self.title)


def player(music, config=MIDI_CONFIG, seed_frames=0, title="", composer=""):
    """A piano roll to see, hear and download in the browser.

    It plays at 0.5 to 1.5 times the tempo, once or in a loop, and lights the keys that sound. A click, a drag or the
    arrow keys seek. The buttons save the music, at its own tempo, as a MIDI or a WAV file. Where scripts may not run it
    is a picture. The same music gives the same HTML.

    Notebook: 05_generation_and_playback

    Args:
        music: a roll `(T, P)` of floats in [0, 1] (every value above 0 sounds), `Notes`,
            or the path of a MIDI file, of which the first `max_duration` seconds are taken.
        config: `MIDI_CONFIG` or a dict with its keys.
        seed_frames: frames at the beginning that the model was given; drawn in another colour.
        title: the piece; any text.
        composer: who wrote it; any text.

    Returns:
        `Player`: leave it as the last line of a cell, or call `.save(path)`.

    Raises:
        ValueError: wrong shape, NaN, a file without piano notes, or more than 90 s of music.
    """
    notes, seconds = as_notes(music, config)
    if seconds > LONGEST:
        raise ValueError(
            f"{seconds:.0f} s of music; the player takes up to {LONGEST} s. Give it a part, "
            "such as piano_roll[:1440], or write_wav(synthesize(music), path) for all of it"
        )
    fs = config["fs"]
    roll = np.zeros((max(1, round(seconds * fs)), count_keys(config)))
    if len(notes.start):
        roll = notes_to_roll(notes, {**config, "max_duration": None}, seconds) / config["velocity_bins"]
    figure, axes = bare_figure(9, 2.6)
    plot_piano_roll(roll, config, axes, seed_frames)
    low, high = _octaves(roll, config)  # those that the picture shows

    ticks = 2 * fs * -(-500 // fs)  # per second, about 1,000; a frame is a whole number of them
    on = np.rint(notes.start * ticks).astype(int)
    length = np.maximum(np.rint(notes.end * ticks).astype(int) - on, 1)
    data = {
        "seconds": round(max(seconds, 1 / fs), 4),
        "seed": seed_frames / fs,
        "ticks": ticks,
        "low": int(low),
        "high": int(high),
        "notes": np.stack((np.diff(on, prepend=0), length, notes.pitch, notes.velocity), axis=1).ravel().tolist(),
    }
    picture = base64.b64encode(figure_png(figure, dpi=80)).decode()
    embedded, script = _embed(data, title, composer, f"{len(notes.start)} notes in {seconds:.0f} seconds", picture)
    return Player(embedded, title, f"{title!r}, {seconds:.1f} s, {len(notes.start)} notes", script)


def _embed(data, title, composer, summary, picture):
    """The HTML of a player and its script; `data` is what the script calls `music`, `picture` a PNG in base64."""
    music = json.dumps(data, separators=(",", ":"))
    heading = f"<strong>{html.escape(title)}</strong>" if title else ""
    if composer:
        heading += f' <span class="midigen-composer">{html.escape(composer)}</span>'
    sound = {"piano": PIANO, "rate": BROWSER_RATE, "tail": TAIL, "peak": PEAK}
    values = {
        "ID": hashlib.sha256(f"{music} {title} {composer}".encode()).hexdigest()[:12],
        "NAME": slug(title or "music"),
        "HEADING": heading,
        "HOW_TO_HEAR": HOW_TO_HEAR,
        "ALT": html.escape(f"Piano roll: {summary}"),
        "PNG": picture,
        "MUSIC": music,
        "SOUND": json.dumps(sound, separators=(",", ":")),
    }
    template = _template("player")
    return _fill(template, values), _fill(_inside("script", template), values)


def save_page(path, players, title=""):
    """Write several players as one page that needs no other file and no network.

    A content security policy forbids whatever the players do not need, so text that found its way
    into the page could neither run nor fetch anything.

    Args:
        path: where to write; its folder is made. Written atomically.
        players: list of `Player`.
        title: heading of the page, any text; `""` for the name of the course.

    Returns:
        `Path` that was written.
    """
    title = html.escape(title or "midigen")
    heading = [f"<h1>{title}</h1>"] if len(players) > 1 else []
    values = {
        "TITLE": title,
        "SCRIPTS": _hashes(player.script for player in players),
        "STYLES": _hashes(_inside("style", _template(name)) for name in ("page", "player")),
        "BODY": "\n".join([*heading, *(player.html for player in players)]).replace(HOW_TO_HEAR, HOW_TO_HEAR_A_PAGE),
    }
    with atomic_write(path) as temporary:
        temporary.write_text(_fill(_template("page"), values), encoding="utf-8")
    return Path(path)


def _template(name):
    """The text of `name.html` with the files that it names in double braces; comments and indents take no room."""
    text = re.sub(r"\{\{(\w+\.(?:js|css))\}\}", lambda match: _read(match[1]), _read(f"{name}.html"))
    return re.sub(r"^\s*//.*\n|^\s+| {2}//.*$", "", text, flags=re.M)


def _read(name):
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _fill(template, values):
    """Put values in place of names in double braces, in one pass: a value is never searched for names."""
    return re.sub(r"\{\{([A-Z_]+)\}\}", lambda match: values[match[1]], template)


def _inside(tag, text):
    return re.search(f"<{tag}>(.*)</{tag}>", text, re.S)[1]


def _hashes(texts):
    """The scripts or styles with exactly these texts, as a content security policy names them."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(sorted({f"'sha256-{one}'" for one in hashes})) or "'none'"
