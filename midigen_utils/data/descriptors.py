"""Piano music in numbers: measures that show a corpus, and judge what a model wrote.

Measures of time, key and loudness take `Notes`; those of what sounds together take a roll `(T, P)`, where above 0
sounds. `describe` puts all of them to one roll, so that real and generated music are measured alike. Where there is
nothing to measure, as in silence, they are NaN.
"""

import math

import numpy as np

from .piano_roll import roll_to_notes

MAJOR_SCALE = np.array([0, 2, 4, 5, 7, 9, 11])  # semitones above the root
_EPSILON = 1e-6  # of a step; a time this close below a step's edge belongs to the step


def pitch_class_histogram(notes):
    """How often each pitch class is struck: `Notes` to `(12,)` int64, C first. (mgeval weighs by duration.)

    Notebook: 05_generation_and_playback
    """
    return np.bincount(notes.pitch % 12, minlength=12)


def durations(notes):
    """Seconds each note sounds, to its end or the next strike of its key: `Notes` to `(N,)` float64, in their order.

    Notebook: 01_data_exploration
    """
    order = np.lexsort((notes.start, notes.pitch))
    start, pitch = notes.start[order], notes.pitch[order]
    same_key = pitch[1:] == pitch[:-1]
    struck_again = np.append(np.where(same_key, start[1:], np.inf), np.inf)[: len(start)]
    seconds = np.empty(len(start))
    seconds[order] = np.minimum(notes.end[order], struck_again) - start
    return seconds


def pedal_rate(pedal, duration):
    """Share of a piece's `duration` in seconds that the sustain pedal is down; `pedal` `(K, 2)` from `read_pedal`.

    Notebook: 01_data_exploration
    """
    down, up = np.clip(pedal, 0, duration).T
    return float((up - down).sum() / duration) if duration > 0 else math.nan


def pitch_range(notes):
    """Semitones from the lowest to the highest of `Notes`, an int; 0 without notes. Source: MuseGAN; muspy."""
    return int(np.ptp(notes.pitch)) if len(notes.pitch) else 0


def entropy(counts):
    """Entropy in bits of a histogram `(B,)`: 0 for one bin in use, `log2(B)` for B bins in equal use.

    Source: H of Wu and Yang, 2020, on a `pitch_class_histogram` (theirs are per 1 and per 4 bars).
    """
    p = np.asarray(counts)[np.asarray(counts) > 0] / max(np.sum(counts), 1)
    return float(np.sum(p * np.log2(1 / p))) if len(p) else math.nan


def scale_consistency(notes):
    """Share of `Notes` in the best of the 12 major scales: 7/12 when all pitch classes are alike, 1 within a scale.

    A natural minor scale has the notes of the major scale three semitones above it, so it needs no look of its own.
    Source: Mogren, C-RNN-GAN, 2016; muspy.
    """
    counts = pitch_class_histogram(notes)
    in_scale = [counts[(MAJOR_SCALE + root) % 12].sum() for root in range(12)]
    return float(max(in_scale) / counts.sum()) if counts.any() else math.nan


def groove_consistency(notes, window=2.0, steps=32):
    """How alike the rhythms of neighbouring windows are: a performance has no bar lines, so windows stand for bars.

    Args:
        notes: `Notes`.
        window: seconds of a window; the last one is the one in which the last note ends.
        steps: equal steps in a window, with an onset or without; the default step is a frame of 1/16 s.

    Returns:
        float in [0, 1]: one less the share of steps that differ; NaN below two windows.

    Source: muspy, after the grooving similarity of Wu and Yang, 2020 (over all pairs of bars).
    """
    M = math.ceil(notes.end.max(initial=0) / window - _EPSILON)
    grid = np.zeros(M * steps, dtype=bool)
    grid[np.floor(notes.start * steps / window + _EPSILON).astype(np.int64)] = True
    grid = grid.reshape(M, steps)
    return float(1 - np.mean(grid[1:] != grid[:-1])) if M > 1 else math.nan


def qualified_note_rate(notes, shortest=3 / 16):
    """Share of `Notes` of `shortest` seconds (three frames) or more: a model that flickers on and off scores low.

    Source: QN of MuseGAN (three steps of a bar).
    """
    return float(np.mean(durations(notes) >= shortest - _EPSILON)) if len(notes.start) else math.nan


def keys_sounding(piano_roll):
    """How many keys sound in each frame: `(T, P)` numbers to `(T,)` int64, 0 in a silent frame.

    Notebook: 01_data_exploration
    """
    return np.count_nonzero(np.asarray(piano_roll) > 0, axis=1)


def polyphony(piano_roll):
    """Mean number of keys that sound together in a roll `(T, P)`, over the frames where any does; NaN for silence.

    Source: muspy.
    """
    keys = keys_sounding(piano_roll)
    return float(keys.sum() / np.count_nonzero(keys)) if keys.any() else math.nan


def describe(piano_roll, config):
    """All measures of one roll, real or generated.

    Notebook: 05_generation_and_playback

    Args:
        piano_roll: `(T, P)` floats in [0, 1]; above 0 sounds.
        config: `MIDI_CONFIG` or a dict with its keys.

    Returns:
        dict of numbers by name, in the units of `MEASURES` of `tools/statistics.py`; NaN where a silent roll leaves
        one undefined.

    Raises:
        ValueError: the roll has the wrong shape or holds NaN.
    """
    notes, fs = roll_to_notes(piano_roll, config, velocity_threshold=0), config["fs"]
    return {
        "note_density": len(notes.start) * fs / len(piano_roll) if len(piano_roll) else math.nan,  # notes per second
        "polyphony": polyphony(piano_roll),
        "pitch_range": pitch_range(notes),
        "num_pitches": len(np.unique(notes.pitch)),
        "num_pitch_classes": np.count_nonzero(pitch_class_histogram(notes)),
        "pitch_class_entropy": entropy(pitch_class_histogram(notes)),
        "scale_consistency": scale_consistency(notes),
        "groove_consistency": groove_consistency(notes),
        "qualified_note_rate": qualified_note_rate(notes, 3 / fs),
    }
