"""Music as files: MIDI, sound, a picture and a page that plays."""

import warnings
from itertools import chain, count
from pathlib import Path

from ..data.piano_roll import piano_roll_to_midi
from ..files import atomic_write
from .player import LONGEST, player
from .plotting import bare_figure, figure_png, plot_piano_roll
from .sound import fluidsynth_missing, synthesize, write_wav

ENDINGS = {".html": "open it in a browser", ".mid": "MIDI", ".wav": "sound", ".png": "picture"}


def write_music(roll, midi_config, stem, title, seed_frames=0):
    """Write a roll as `.mid`, `.wav`, `.png` and `.html`, and print where they are.

    Args:
        roll, midi_config: `(T, P)` floats in [0, 1], and the `MIDI_CONFIG` it was made with.
        stem: path without an ending; files that are there are replaced.
        title, seed_frames: of picture and page, as in `player`.
    """
    piano_roll_to_midi(roll, midi_config, f"{stem}.mid", velocity_threshold=0)
    print(fluidsynth_missing() or "Sound by FluidSynth.")
    write_wav(synthesize(roll, midi_config), f"{stem}.wav")
    fig, ax = bare_figure(12, 4)
    plot_piano_roll(roll, midi_config, ax, seed_frames, title)
    with atomic_write(f"{stem}.png") as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a title in a script that the font does not have
        temporary.write_bytes(figure_png(fig, dpi=120))
    shown = roll[: int(LONGEST * midi_config["fs"])]
    if len(shown) < len(roll):
        print(f"  (the page has the first {LONGEST} s; the other files have all of it)")
    player(shown, midi_config, seed_frames, title).save(f"{stem}.html")
    for ending, what in ENDINGS.items():
        print(f"  {stem}{ending}  {what}")


def unused(stem):
    """A `stem` for `write_music` at which nothing is overwritten: with -2, -3 and so on where files have that name."""
    names = chain([str(stem)], (f"{stem}-{number}" for number in count(2)))
    return next(Path(name) for name in names if not any(Path(name + ending).exists() for ending in ENDINGS))
