"""The networks, their heads, and the music they compose."""

from .chords import ChordHead
from .generation import generate_from_random_seed, generate_music, generate_random_seed
from .lstm import MusicLSTM
from .mamba import MusicMamba
from .velocity import VelocityHead

__all__ = [
    "ChordHead",
    "MusicLSTM",
    "MusicMamba",
    "VelocityHead",
    "generate_from_random_seed",
    "generate_music",
    "generate_random_seed",
]
