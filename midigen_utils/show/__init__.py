"""Music to see and to hear. Loads no torch."""

from .export import write_music
from .figures import figure
from .live import live, live_page
from .player import player, save_page
from .plotting import (
    BLUE,
    GREEN,
    GREY,
    NOTE_NAMES,
    ORANGE,
    PINK,
    note_name,
    plot_delta,
    plot_histogram,
    plot_history,
    plot_piano_roll,
    plot_two_rolls,
)
from .sound import play_piano_roll, synthesize, write_wav
