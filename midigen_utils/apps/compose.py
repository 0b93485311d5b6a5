"""A take: the settings of one piece of music, the music, the Python that makes it again; music written as files."""

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..config import MIDI_CONFIG
from ..data.piano_roll import midi_to_piano_roll, piano_roll_to_midi
from ..files import atomic_write
from ..show.player import LONGEST, player
from ..show.plotting import bare_figure, figure_png, plot_piano_roll
from ..show.sound import fluidsynth_missing, synthesize, write_wav

FS = MIDI_CONFIG["fs"]


class Settings(NamedTuple):
    """What a take is made from.

    Attributes:
        name: of the model.
        model: the model, or the path of its checkpoint.
        midi: path of the MIDI file that begins it, `None` for a random pattern.
        source: what it begins with, in words.
        all_instruments: whether all tracks of `midi` but drums are read, not only pianos.
        seed_frames, num_frames: frames that the model is given at most, and frames that it adds.
        temperature, random_seed: as for `generate_music`.
    """

    name: str
    model: object
    midi: Path | None
    source: str
    all_instruments: bool
    seed_frames: int
    num_frames: int
    temperature: float
    random_seed: int

    def code(self):
        """The cell that makes the same music."""
        names, model = ["generate_music", "player"], f"models[{self.name!r}]  # of the dict that you gave to studio"
        if _is_path(self.model):
            names, model = [*names, "load_model"], f"load_model({shortest(self.model)!r})"
        if self.midi is None:
            names, seed = [*names, "generate_random_seed"], f"generate_random_seed({self.random_seed})"
        else:
            names, tracks = [*names, "midi_to_piano_roll", "MIDI_CONFIG"], ", all_instruments=True"
            seed = f"midi_to_piano_roll({shortest(self.midi)!r}, MIDI_CONFIG{tracks if self.all_instruments else ''})"
        how = f"temperature={self.temperature:g}, random_seed={self.random_seed}"
        return (
            f"from midigen_utils import {', '.join(sorted(names))}\n\n"
            f"model = {model}\n"
            f"seed = {seed}[:{self.seed_frames}]\n"
            f"music = generate_music(model, seed, {self.num_frames}, {how})\n"
            "player(music, seed_frames=len(seed))"
        )


class Take(NamedTuple):
    """One piece of music.

    Attributes:
        settings: `Settings`.
        music: `(S + num_frames, 88)` float32 in [0, 1]: the seed, and what the model added.
        seed_frames: S, the frames of the seed.
    """

    settings: Settings
    music: np.ndarray
    seed_frames: int

    def words(self):
        """The settings as one line."""
        given, added = self.seed_frames / FS, (len(self.music) - self.seed_frames) / FS
        return (
            f"{given:g} s of {self.settings.source}, then {added:g} s"
            f" · temperature {self.settings.temperature:g} · random seed {self.settings.random_seed}"
        )


def compose(settings, on_frame=None):
    """Make a take.

    Args:
        settings: `Settings`.
        on_frame: as for `generate_music`; stopped by it, the take is shorter.

    Returns:
        `Take`.

    Raises:
        ValueError, OSError: a file that cannot be read, a seed of silence, or what `generate_music` refuses.
    """
    from ..learn.checkpoints import load_model
    from ..models.generation import generate_music, generate_random_seed

    model = load_model(settings.model) if _is_path(settings.model) else settings.model
    if settings.midi is None:
        seed = generate_random_seed(settings.random_seed)
    else:
        seed = midi_to_piano_roll(settings.midi, MIDI_CONFIG, all_instruments=settings.all_instruments)
    seed = seed[: settings.seed_frames]
    if not seed.any():
        raise ValueError(f"the piece begins with {len(seed) / FS:g} s of silence: take a longer seed")
    music = generate_music(
        model,
        seed,
        settings.num_frames,
        settings.temperature,
        random_seed=settings.random_seed,
        on_frame=on_frame,
    )
    return Take(settings, music, len(seed))


def write_music(roll, midi_config, stem, title, seed_frames=0):
    """Write a roll as `.mid`, `.wav`, `.png` and `.html`, and print where they are.

    Args:
        roll: `(T, P)` floats in [0, 1].
        midi_config: its `MIDI_CONFIG`.
        stem: path without an ending.
        title: of picture and page.
        seed_frames: frames at the beginning that were given, drawn in another colour.
    """
    piano_roll_to_midi(roll, midi_config, f"{stem}.mid", velocity_threshold=0)
    print(fluidsynth_missing() or "Sound by FluidSynth.")
    write_wav(synthesize(roll, midi_config), f"{stem}.wav")
    fig, ax = bare_figure(12, 4)
    plot_piano_roll(roll, midi_config, ax, seed_frames, title)
    with atomic_write(f"{stem}.png") as temporary:
        temporary.write_bytes(figure_png(fig, dpi=120))
    shown = roll[: int(LONGEST * midi_config["fs"])]
    if len(shown) < len(roll):
        print(f"  (the page has the first {LONGEST} s; the other files have all of it)")
    player(shown, midi_config, seed_frames, title).save(f"{stem}.html")
    for ending, what in {"html": "open it in a browser", "mid": "MIDI", "wav": "sound", "png": "picture"}.items():
        print(f"  {stem}.{ending}  {what}")


def file_name(title, temperature, random_seed):
    """A name for the files of a take, of letters, digits and hyphens: "Nun ruhen alle" gives "nun-ruhen-alle-t0.8-r0".

    Args:
        title: text.
        temperature, random_seed: as for `generate_music`.

    Returns:
        Text without an ending.
    """
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "take"
    return f"{words}-t{temperature:g}-r{random_seed}"


def shortest(path):
    """A path as text, from the working directory where that is shorter."""
    path = Path(path)
    try:
        relative = Path(os.path.relpath(path))
    except ValueError:  # another drive of Windows
        return path.as_posix()
    return min(relative.as_posix(), path.as_posix(), key=len)


def _is_path(model):
    return isinstance(model, (str, os.PathLike))
