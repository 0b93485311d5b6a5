"""The live page: a network in one HTML file that plays with whoever opens it.

The page holds the weights in half precision and runs them itself (`live.js`, the twin of `models/numpy_engine.py`),
so it needs neither Python nor a server nor a network connection. `live.html` is keyboard, picture and clock.
"""

import base64
import html
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import MIDI_CONFIG, NUM_PITCHES, value_to_bin
from ..files import atomic_write, slug
from .player import _fill, _hashes, _inside, _template
from .plotting import bare_figure, figure_png, plot_piano_roll
from .sound import PEAK, PIANO, SAMPLE_RATE, TAIL

TITLE = "Play with a network"
MODELS = ("MusicMamba", "MusicLSTM")  # those that live.js can run


def live_page(model, path, title="", seeds=None):
    """Write a page on which a network composes, and answers what is played to it.

    Whoever opens the file plays with the mouse, by touch, on the computer's keys or on a MIDI keyboard; when they
    stop, the network answers, or it composes by itself. It works after a double click: everything is in the file, and
    a content security policy forbids all requests.

    Notebook: 05_generation_and_playback

    Args:
        model: a trained `MusicMamba` or `MusicLSTM` of 88 keys, or anything whose `weights()` returns such a one's.
        path: where to write; its folder is made. Written atomically.
        title: heading of the page, any text; `""` for "Play with a network".
        seeds: beginnings to choose from, a list of `(name, roll)`; a roll is `(T, 88)` floats in [0, 1], or ints that
            are velocity bins. Default: none.

    Returns:
        `Path` that was written.

    Raises:
        ValueError: a model that the page cannot run, weights that are not finite, or a roll of another shape.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(_page(model, title, seeds), encoding="utf-8")
    return Path(path)


def live(model, title="", seeds=None):
    """The page of `live_page` in a notebook, in place.

    The output holds the network: 6 MB for a `MusicMamba`, so clear it before you share the notebook.

    Notebook: 05_generation_and_playback

    Args:
        model, title, seeds: as for `live_page`.

    Returns:
        `Live`: leave it as the last line of a cell.

    Raises:
        ValueError: as `live_page`.
    """
    page, picture = _page(model, title, seeds), ""
    if seeds:
        figure, axes = bare_figure(9, 2.6)
        plot_piano_roll(seeds[0][1], MIDI_CONFIG, axes)
        png = base64.b64encode(figure_png(figure, dpi=80)).decode()
        picture = f'<img src="data:image/png;base64,{png}" alt="Piano roll of a beginning">'
    return Live(page, picture)


@dataclass(repr=False)
class Live:
    """What `live` returns: shows itself in a notebook.

    Attributes:
        page: the whole page as text.
        picture: HTML that is seen where the page cannot run.
    """

    page: str
    picture: str

    def __repr__(self):
        return f"Live({len(self.page) / 1e6:.1f} MB)"

    def _repr_html_(self):
        # In a notebook that is not trusted the frame is missing; then what lies behind it shows.
        return _fill(_template("live_frame"), {"PAGE": html.escape(self.page), "PICTURE": self.picture})


def _page(model, title, seeds):
    weights, config = model.weights()
    bins = config.get("velocity") or MIDI_CONFIG["velocity_bins"]
    about = {
        "network": {"config": config, "tensors": [[name, list(weight.shape)] for name, weight in weights.items()]},
        "seeds": [{"name": str(name), "notes": _notes(roll, bins)} for name, roll in seeds or ()],
        "piano": PIANO,
        "sound": {"rate": SAMPLE_RATE, "peak": PEAK, "tail": TAIL},
        "fs": MIDI_CONFIG["fs"],
        "bins": bins,
        "low": MIDI_CONFIG["min_pitch"],
        "name": slug(title or "duet"),
    }
    if config.get("model") not in MODELS or config["num_pitches"] != NUM_PITCHES:
        raise ValueError(
            f"the page runs {' and '.join(MODELS)} of {NUM_PITCHES} keys; this is a {config.get('model')} of "
            f"{config.get('num_pitches')}. For a network of your own, write its step in show/live.js beside theirs"
        )
    with np.errstate(over="ignore"):
        halves = [weight.astype("<f2") for weight in weights.values()]
    if not all(np.isfinite(half).all() for half in halves):
        raise ValueError("some weights are NaN or above 65,504: the training diverged; train again or load another")
    template = _template("live")
    values = {
        "TITLE": html.escape(title or TITLE),
        "SCRIPTS": _hashes([_inside("script", template)]),
        "STYLES": _hashes([_inside("style", template)]),
        "ABOUT": json.dumps(about, separators=(",", ":")).replace("<", "\\u003c"),  # a name cannot end the element
        "WEIGHTS": base64.b64encode(b"".join(half.tobytes() for half in halves)).decode(),
    }
    return _fill(template, values)


def _notes(roll, velocity_bins):
    """A seed as the page wants it: for each frame the keys that are down, each with its bin, `[key, bin, ...]`."""
    roll = np.asarray(roll)
    if roll.ndim != 2 or roll.shape[1] != NUM_PITCHES or len(roll) == 0:
        raise ValueError(f"a seed has the shape (frames, {NUM_PITCHES}), one frame or more; this one has {roll.shape}")
    bins = roll if np.issubdtype(roll.dtype, np.integer) else value_to_bin(roll, velocity_bins)
    return [[int(number) for key in np.flatnonzero(frame) for number in (key, frame[key])] for frame in bins]
