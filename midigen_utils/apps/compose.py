"""A take: the settings of one piece of music, the music itself, and the Python that makes it again."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..config import MIDI_CONFIG
from ..data.piano_roll import midi_to_piano_roll

FS = MIDI_CONFIG["fs"]


class Settings(NamedTuple):
    """What a take is made from.

    Attributes: as below; `temperature` and `random_seed` are those of `generate_music`.
    """

    name: str  # of the model
    model: object  # or the path of its checkpoint
    midi: Path | None  # the file that begins it; None for a random pattern
    source: str  # what it begins with, in words
    all_instruments: bool  # whether every instrument of the file but drums is read, not only pianos
    seed_frames: int  # that the model is given at most
    num_frames: int  # that it adds
    temperature: float
    random_seed: int

    def code(self):
        """The cell that makes the same music."""
        names, model = ["generate_music", "player"], f"models[{self.name!r}]  # from the dict that you gave to studio"
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
    """One piece of music and what it was made from."""

    settings: Settings
    music: np.ndarray  # (S + num_frames, 88) float32 in [0, 1]: the seed, and what the model added
    seed_frames: int  # S

    def words(self):
        """The settings as one line."""
        given, added = self.seed_frames / FS, (len(self.music) - self.seed_frames) / FS
        return (
            f"{given:g} s of {self.settings.source}, then {added:g} s"
            f" · temperature {self.settings.temperature:g} · random seed {self.settings.random_seed}"
        )


def compose(settings):
    """Make the `Take` of some `Settings`.

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
    music = generate_music(model, seed, settings.num_frames, settings.temperature, random_seed=settings.random_seed)
    return Take(settings, music, len(seed))


def piece_to_begin_from(rolls, number):
    """The roll `(T, 88)` and the title of piece `number` of the validation split: no model was trained on it.

    Raises:
        ValueError: the split is empty or has no such piece.
    """
    split = rolls["validation"]
    if len(split) == 0:
        raise ValueError(
            "the validation split is empty, so there is no piece to begin from: give `--begin random` or "
            "`--begin FILE.mid`, or use a folder with three different pieces or more"
        )
    if not 0 <= number < len(split):
        raise ValueError(f"--piece {number}: the validation split has pieces 0 to {len(split) - 1}")
    piece = split.pieces[number]  # not the corpus's: a limit leaves some out
    return split[number], f"{piece.composer}: {piece.title}".strip(": ")


def shortest(path):
    """A path as text, from the working directory where that is shorter."""
    path = Path(path)
    with suppress(ValueError):  # another drive of Windows
        path = min(Path(os.path.relpath(path)), path, key=lambda path: len(path.as_posix()))
    return path.as_posix()


def _is_path(model):
    return isinstance(model, (str, os.PathLike))
