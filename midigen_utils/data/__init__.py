"""From MIDI files to piano rolls on disk: everything before the network. Loads no torch."""

from .corpus import Corpus, Piece, load_corpus, load_folder, load_maestro
from .download import download_maestro
from .midi import Notes, read_notes, read_pedal, write_midi
from .piano_roll import midi_to_piano_roll, notes_to_roll, piano_roll_to_midi, roll_to_notes
from .rolls import load_piano_rolls

__all__ = [
    "Corpus",
    "Notes",
    "Piece",
    "download_maestro",
    "load_corpus",
    "load_folder",
    "load_maestro",
    "load_piano_rolls",
    "midi_to_piano_roll",
    "notes_to_roll",
    "piano_roll_to_midi",
    "read_notes",
    "read_pedal",
    "roll_to_notes",
    "write_midi",
]
