"""From MIDI files to piano rolls on disk: everything before the network. Loads no torch."""

from .corpus import COLUMNS, SPLITS, Corpus, Piece, load_corpus, load_folder, load_maestro
from .descriptors import MAJOR_SCALE, describe, durations, keys_sounding, pedal_rate, pitch_class_histogram
from .download import download_maestro
from .midi import Notes, read_notes, read_pedal, sustained, write_midi
from .piano_roll import midi_to_piano_roll, notes_to_roll, piano_roll_to_midi, roll_to_notes
from .rolls import load_piano_rolls
