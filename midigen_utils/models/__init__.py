"""The networks, their heads, and the music they compose."""

from .chords import ChordHead
from .frame_model import FrameModel
from .generation import generate_from_random_seed, generate_music, generate_random_seed
from .lstm import MusicLSTM
from .mamba import MusicMamba
from .velocity import VelocityHead

__all__ = [
    "ChordHead",
    "FrameModel",
    "MusicLSTM",
    "MusicMamba",
    "VelocityHead",
    "generate_from_random_seed",
    "generate_music",
    "generate_random_seed",
]
