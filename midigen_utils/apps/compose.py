"""A take: what one piece of music is made from, the music, and the Python that makes it again."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..config import MIDI_CONFIG
from ..data.piano_roll import midi_to_piano_roll

FS = MIDI_CONFIG["fs"]


class Take(NamedTuple):
    """One piece of music and what it was made from; `temperature` and `random_seed` as for `generate_music`."""

    name: str  # of the model
    model: object  # or the path of its checkpoint
    midi: Path | None  # the file that begins it; None for a random pattern
    source: str  # what it begins with, in words
    all_instruments: bool  # whether every instrument of the file but drums is read, not only pianos
    seed_frames: int  # that the model is given; before it is composed, at most
    num_frames: int  # that it adds
    temperature: float
    random_seed: int
    music: np.ndarray = None  # (seed_frames + num_frames, 88) float32 in [0, 1]: the seed, and what the model added

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

    def words(self):
        """The settings as one line."""
        given, added = self.seed_frames / FS, self.num_frames / FS
        return (
            f"{given:g} s of {self.source}, then {added:g} s"
            f" · temperature {self.temperature:g} · random seed {self.random_seed}"
        )


def compose(take):
    """The same `Take` with its music.

    Raises:
        ValueError, OSError: a file that cannot be read, a seed of silence, or what `generate_music` refuses.
    """
    from ..learn.checkpoints import load_model
    from ..models.generation import generate_music, generate_random_seed

    model = load_model(take.model) if _is_path(take.model) else take.model
    if take.midi is None:
        seed = generate_random_seed(take.random_seed)
    else:
        seed = midi_to_piano_roll(take.midi, MIDI_CONFIG, all_instruments=take.all_instruments)
    seed = seed[: take.seed_frames]
    if not seed.any():
        raise ValueError(f"the piece begins with {len(seed) / FS:g} s of silence: take a longer seed")
    music = generate_music(model, seed, take.num_frames, take.temperature, random_seed=take.random_seed)
    return take._replace(music=music, seed_frames=len(seed))


def shortest(path):
    """A path as text, from the working directory where that is shorter."""
    with suppress(ValueError):  # another drive of Windows
        path = min(os.path.relpath(path), str(path), key=len)
    return Path(path).as_posix()


def _is_path(model):
    return isinstance(model, (str, os.PathLike))
