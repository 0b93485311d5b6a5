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

    title: str
    name: str  # of the model
    model: object  # or the path of its checkpoint
    begins: object  # what it continues: the path of a MIDI file, another `Take`, or None for a random pattern
    source: str  # the same in words
    all_instruments: bool  # whether every instrument of the file but drums is read, not only pianos
    seed_frames: int  # that the model is given, the first of a file or the last of a take; before composing, at most
    num_frames: int  # that it adds
    temperature: float
    random_seed: int
    music: np.ndarray = None  # (seed_frames + num_frames, 88) float32 in [0, 1]: the seed, and what the model added

    def code(self):
        """The cell that makes the same music."""
        names, lines = self._python()
        lines = [f"from midigen_utils import {', '.join(sorted(names))}", "", *lines]
        return "\n".join([*lines, "player(music, seed_frames=len(seed))"])

    def _python(self):
        """The names that its cell imports, and the lines that make its music."""
        names, before, model = {"generate_music", "player"}, [], f"models[{self.name!r}]  # those that studio was given"
        if _is_path(self.model):
            names, model = names | {"load_model"}, f"load_model({shortest(self.model)!r})"
        if isinstance(self.begins, Take):
            more, before = self.begins._python()
            names, seed = names | more, f"music[-{self.seed_frames}:]"
        elif self.begins is None:
            names.add("generate_random_seed")
            seed = f"generate_random_seed({self.random_seed})[:{self.seed_frames}]"
        else:
            names |= {"midi_to_piano_roll", "MIDI_CONFIG"}
            tracks = ", all_instruments=True" if self.all_instruments else ""
            seed = f"midi_to_piano_roll({shortest(self.begins)!r}, MIDI_CONFIG{tracks})[:{self.seed_frames}]"
        how = f"{self.num_frames}, temperature={self.temperature:g}, random_seed={self.random_seed}"
        return names, [*before, f"model = {model}", f"seed = {seed}", f"music = generate_music(model, seed, {how})"]

    def words(self):
        """The settings as one line."""
        seconds = f"{self.seed_frames / FS:g} s of {self.source}, then {self.num_frames / FS:g} s"
        return f"{seconds} · temperature {self.temperature:g} · random seed {self.random_seed}"


def read_seed(take):
    """The frames `(S, 88)` that the model is given; ValueError or OSError for silence or a file that cannot be read."""
    from ..models.generation import generate_random_seed

    if isinstance(take.begins, Take):
        seed = take.begins.music[-take.seed_frames :]
    elif take.begins is None:
        seed = generate_random_seed(take.random_seed)[: take.seed_frames]
    else:
        seed = midi_to_piano_roll(take.begins, MIDI_CONFIG, all_instruments=take.all_instruments)[: take.seed_frames]
    if not seed.any():
        raise ValueError(f"the seed is {len(seed) / FS:g} s of silence: take a longer one")
    return seed


def compose(take):
    """The same `Take` with its music; raises what `read_seed` and `generate_music` raise."""
    from ..learn.checkpoints import load_model
    from ..models.generation import generate_music

    model, seed = load_model(take.model) if _is_path(take.model) else take.model, read_seed(take)
    music = generate_music(model, seed, take.num_frames, take.temperature, random_seed=take.random_seed)
    return take._replace(music=music, seed_frames=len(seed))


def shortest(path):
    """A path as text, from the working directory where that is shorter."""
    with suppress(ValueError):  # another drive of Windows
        path = min(os.path.relpath(path), str(path), key=len)
    return Path(path).as_posix()


def _is_path(model):
    return isinstance(model, (str, os.PathLike))
