"""What several test files share: a private midi_data, tiny MIDI files, the real MAESTRO if it is there."""

import os

# With CI set, pyfluidsynth prints where its library lies, into what tests read from other processes.
os.environ.pop("CI", None)

from pathlib import Path  # noqa: E402

import mido  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

from midigen_utils import files  # noqa: E402

settings.register_profile("same every time", derandomize=True, deadline=None)
settings.load_profile("same every time")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The same sums on every machine, and small models are fastest so."""
    torch.set_num_threads(1)


@pytest.fixture
def midi_data(tmp_path, monkeypatch):
    """Everything is written into a folder of this test."""
    monkeypatch.setattr(files, "MIDI_DATA", tmp_path / "midi_data")
    return tmp_path / "midi_data"


@pytest.fixture(scope="session")
def maestro_folder():
    """The real MAESTRO, or a part of it, in the folder that MIDIGEN_DATA names."""
    folder = Path(os.environ.get("MIDIGEN_DATA", "")) / "maestro-v3.0.0"
    if not os.environ.get("MIDIGEN_DATA") or not folder.is_dir():
        pytest.skip("needs MAESTRO: set MIDIGEN_DATA to the folder that holds maestro-v3.0.0")
    return folder


def write_events(path, events, ticks_per_beat=480, channel=0, program=None):
    """A MIDI file from `(tick, "on"/"off"/"pedal", number, value)`; 960 ticks are a second."""
    track = mido.MidiTrack()
    if program is not None:
        track.append(mido.Message("program_change", program=program, channel=channel))
    now = 0
    for tick, kind, number, value in sorted(events, key=lambda event: event[0]):
        if kind == "pedal":
            message = mido.Message("control_change", control=64, value=value, channel=channel, time=tick - now)
        else:
            message = mido.Message(f"note_{kind}", note=number, velocity=value, channel=channel, time=tick - now)
        track.append(message)
        now = tick
    path.parent.mkdir(parents=True, exist_ok=True)
    midi = mido.MidiFile(ticks_per_beat=ticks_per_beat, tracks=[track])
    midi.save(path)
    return path


def write_tune(path, seed=0, seconds=12.0):
    """A MIDI file of random notes, eight a second."""
    rng = np.random.default_rng(seed)
    events = []
    for onset in np.arange(0, seconds, 0.125):
        pitch, tick = int(rng.integers(40, 80)), int(onset * 960)
        events += [(tick, "on", pitch, int(rng.integers(20, 120))), (tick + 200, "off", pitch, 0)]
    return write_events(path, events)


@pytest.fixture
def tunes(tmp_path):
    """A folder of 12 small pieces."""
    for i in range(12):
        write_tune(tmp_path / "tunes" / f"tune {i:02d}.mid", seed=i)
    return tmp_path / "tunes"


@pytest.fixture
def toy_rolls():
    """Train and validation pieces that repeat one pattern: easy to learn."""
    pattern = np.zeros((16, 88), np.float32)
    pattern[np.arange(16), 40 + np.arange(16) % 4 * 3] = 0.5
    piece = np.tile(pattern, (10, 1))
    return {"train": [piece] * 4, "validation": [piece[:100]]}
