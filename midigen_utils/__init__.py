"""midigen: from a MIDI file to a neural network that composes piano music.

Every name of the public interface can be imported from here; what is not used
is not loaded, so `import midigen_utils` takes no torch.
"""

import os
import sys
from importlib import import_module

# Torch reads this when it is first imported: on a Mac, an operator without a Metal kernel then runs on the CPU instead
# of stopping the program. Where torch is imported before this package, it has to be set before Python starts.
if sys.platform == "darwin":
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
# This, too: threads that spin while they wait take the processor from the thread that they wait for, as soon as another
# program is busy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOME = {
    "config": "MIDI_CONFIG NUM_PITCHES SEQUENCE_LENGTH STRIDE BATCH_SIZE LEARNING_RATE GRAD_CLIP NUM_EPOCHS "
    "scaled seed_everything pick_device",
    "exercises": "check hint finding",
    "data": "Notes read_notes read_pedal write_midi Corpus Piece load_corpus load_maestro load_folder download_maestro "
    "midi_to_piano_roll piano_roll_to_midi notes_to_roll roll_to_notes load_piano_rolls",
    "models": "ChordHead VelocityHead LastFrame MusicLSTM MusicMamba "
    "generate_music generate_random_seed generate_from_random_seed",
    "learn": "SequenceDataset Batches PieceBatches save_checkpoint load_checkpoint load_model "
    "frame_nll predict fit_baselines fit evaluate",
    "show": "plot_piano_roll plot_history play_piano_roll synthesize write_wav player save_page figure live live_page",
    "apps": "studio blind_test",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}
__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'midigen_utils' has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__():
    return __all__
