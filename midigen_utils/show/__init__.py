"""Music to see and to hear. Loads no torch."""

from .export import write_music
from .player import player, save_page
from .plotting import plot_history, plot_piano_roll
from .sound import play_piano_roll, synthesize, write_wav

__all__ = [
    "play_piano_roll",
    "player",
    "plot_history",
    "plot_piano_roll",
    "save_page",
    "synthesize",
    "write_music",
    "write_wav",
]
