"""Piano music in numbers: histograms that show a corpus, and measures that judge what a model wrote.

Measures of time, key and loudness take `Notes`; those of what sounds together take a roll `(T, P)`, where above 0
sounds. `describe` puts all of them to one roll, so that real and generated music are measured alike. Where there is
nothing to measure, as in silence, they are NaN.
"""

import json
import math
import re
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from .. import files
from ..config import MIDI_CONFIG
from .midi import read_with_duration
from .piano_roll import notes_to_roll, roll_to_notes

MAJOR_SCALE = np.array([0, 2, 4, 5, 7, 9, 11])  # semitones above the root
_EPSILON = 1e-6  # of a step; a time this close below a step's edge belongs to the step

_SECONDS = np.round(np.append(0, np.geomspace(0.01, 100, 41)), 4)
_SHARE = np.round(np.linspace(0, 1, 21), 2)
_KEYS = np.arange(62) - 0.5

#: Name -> (what is counted, edges of the bins): `corpus_statistics` over whole pieces, `describe` over their openings.
MEASURES = {
    "pitch": ("notes, by MIDI note number", np.arange(21, 110) - 0.5),
    "pitch_class": ("notes, by pitch class, 0 is C", np.arange(13) - 0.5),
    "velocity": ("notes, by MIDI velocity", np.arange(1, 129) - 0.5),
    "duration": ("notes, by seconds until the key is let go", _SECONDS),
    "duration_pedal": ("notes, by seconds until key and sustain pedal are let go or the key is struck again", _SECONDS),
    "inter_onset": ("onsets, by seconds to the next one", _SECONDS),
    "density": ("seconds, by notes that start in them", _KEYS),
    "keys": ("frames of 1/16 s, by keys held down", _KEYS),
    "keys_pedal": ("frames of 1/16 s, by keys that sound with the sustain pedal", _KEYS),
    "pedal_press": ("presses of the sustain pedal, by seconds", _SECONDS),
    "pedal_rate": ("pieces, by share of time with the sustain pedal down", _SHARE),
    "piece_length": ("pieces, by minutes", np.arange(0, 41)),
    "note_density": ("openings, by notes per second", np.arange(0, 41)),
    "polyphony": ("openings, by mean number of keys in frames with sound", np.arange(0, 20.5, 0.5)),
    "polyphony_rate": ("openings, by share of frames with three keys or more", _SHARE),
    "pitch_range": ("openings, by semitones from lowest to highest note", np.arange(0, 92, 4) - 0.5),
    "num_pitches": ("openings, by number of different keys", np.arange(0, 92, 4) - 0.5),
    "num_pitch_classes": ("openings, by number of different pitch classes", np.arange(14) - 0.5),
    "pitch_class_entropy": ("openings, by bits", np.round(np.linspace(0, 3.6, 37), 1)),
    "scale_consistency": ("openings, by share of notes in the best major scale", _SHARE),
    "groove_consistency": ("openings, by share of steps alike in neighbouring windows of 2 s", _SHARE),
    "qualified_note_rate": ("openings, by share of notes of three frames or more", _SHARE),
    "empty_window_rate": ("openings, by share of half seconds without sound", _SHARE),
}
MAESTRO_SOURCE = "MAESTRO v3.0.0 (Hawthorne et al., ICLR 2019)"
ASAP_SOURCE = MAESTRO_SOURCE + ", performances as redistributed in ASAP (Foscarin et al., ISMIR 2020)"
MAESTRO_LICENCE = "CC BY-NC-SA 4.0"


def histogram(values, edges):
    """Count values in bins. What lies beyond an end is counted in the bin at that end; only NaN is left out.

    Notebook: 01_data_exploration

    Args:
        values: `(N,)` numbers.
        edges: `(B + 1,)` ascending numbers; bin `b` is `[edges[b], edges[b + 1])`.

    Returns:
        `(B,)` int64; without NaN they sum to N.
    """
    values = np.asarray(values, dtype=np.float64)
    bins = np.searchsorted(edges, values[~np.isnan(values)], side="right") - 1
    return np.bincount(np.clip(bins, 0, len(edges) - 2), minlength=len(edges) - 1)


def pitch_histogram(notes):
    """How often each key is struck: `Notes` to `(128,)` int64, indexed by MIDI note number."""
    return np.bincount(notes.pitch, minlength=128)


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


def inter_onset_intervals(notes):
    """Seconds from each onset to the next on any key, near 0 within a chord: `Notes` to `(N - 1,)` float64.
    Source: IOI of Yang and Lerch, 2020.
    """
    return np.diff(notes.start)


def onsets_per_window(notes, duration, window=1.0):
    """How many notes start in each stretch of time: the density of a piece as a curve.

    Args:
        notes: `Notes`.
        duration: seconds of the piece.
        window: seconds of a stretch `[k * window, (k + 1) * window)`; an unfinished last one is left out.

    Returns:
        `(W,)` int64.
    """
    W = int(duration / window + _EPSILON)
    k = np.floor(notes.start / window + _EPSILON).astype(np.int64)
    return np.bincount(k[k < W], minlength=W)


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


def polyphony_rate(piano_roll, threshold=2):
    """Share of the frames of a roll `(T, P)` in which **more than** `threshold` keys sound: 2 asks for three or more.

    Source: polyphonicity of MuseGAN; muspy.
    """
    return float(np.mean(keys_sounding(piano_roll) > threshold)) if len(piano_roll) else math.nan


def empty_window_rate(piano_roll, window=8):
    """Share of stretches of `window` frames (in place of beats; 8 are half a second) of a roll in which nothing sounds.

    Source: EB of MuseGAN. (muspy's empty-beat rate also fills the beat that a note's end touches.)
    """
    keys = keys_sounding(piano_roll)
    return float(np.mean(np.add.reduceat(keys, np.arange(0, len(keys), window)) == 0)) if len(keys) else math.nan


def describe(piano_roll, config):
    """All measures of one roll, real or generated.

    Notebook: 05_generation_and_playback

    Args:
        piano_roll: `(T, P)` floats in [0, 1]; above 0 sounds.
        config: `MIDI_CONFIG` or a dict with its keys.

    Returns:
        dict of numbers by name, in the units of `MEASURES`; NaN where a silent roll leaves one undefined.

    Raises:
        ValueError: the roll has the wrong shape or holds NaN.
    """
    notes, fs = roll_to_notes(piano_roll, config, velocity_threshold=0), config["fs"]
    return {
        "note_density": len(notes.start) * fs / len(piano_roll) if len(piano_roll) else math.nan,  # notes per second
        "polyphony": polyphony(piano_roll),
        "polyphony_rate": polyphony_rate(piano_roll),
        "pitch_range": pitch_range(notes),
        "num_pitches": np.count_nonzero(pitch_histogram(notes)),
        "num_pitch_classes": np.count_nonzero(pitch_class_histogram(notes)),
        "pitch_class_entropy": entropy(pitch_class_histogram(notes)),
        "scale_consistency": scale_consistency(notes),
        "groove_consistency": groove_consistency(notes),
        "qualified_note_rate": qualified_note_rate(notes, 3 / fs),
        "empty_window_rate": empty_window_rate(piano_roll, round(fs / 2)),
    }


def corpus_statistics(paths_by_split, source, licence):
    """Histograms of a corpus as plain counts: its distributions without its notes.

    Args:
        paths_by_split: dict of lists of MIDI paths by name of the split.
        source, licence: of the pieces, as text; kept in the result.

    Returns:
        dict for JSON: facts, then "histograms", by name of `MEASURES`: "counts" of "what", in bins between "edges".

    Raises:
        ValueError: a file that cannot be read; names it.
    """
    paths = sorted(Path(path) for paths in paths_by_split.values() for path in paths)
    counts = {name: np.zeros(len(edges) - 1, dtype=np.int64) for name, (_, edges) in MEASURES.items()}
    seconds = 0.0
    for path in tqdm(paths, desc="statistics"):
        values, duration = _values(path)
        seconds += duration
        for name, (_, edges) in MEASURES.items():
            counts[name] += histogram(values[name], edges)
    return {
        "about": "Counts over whole performances and, as 'openings', over at most the first 60 s of each",
        "source": source,
        "licence": licence,
        "pieces": len(paths),
        "splits": {split: len(paths) for split, paths in paths_by_split.items()},
        "hours": round(seconds / 3600, 2),
        "notes": int(counts["pitch"].sum()),
        "histograms": {
            name: {"what": what, "edges": edges.tolist(), "counts": counts[name].tolist()}
            for name, (what, edges) in MEASURES.items()
        },
    }


def _values(path):
    """The values of every measure for one file, and its seconds."""
    held, _, _ = read_with_duration(path, sustain=False, all_instruments=False)
    notes, duration, pedal = read_with_duration(path, sustain=True, all_instruments=False)
    whole = {**MIDI_CONFIG, "max_duration": None}
    roll = notes_to_roll(notes, whole, duration)
    opening = roll[: MIDI_CONFIG["max_duration"] * MIDI_CONFIG["fs"]] / MIDI_CONFIG["velocity_bins"]
    return {
        "pitch": notes.pitch,
        "pitch_class": notes.pitch % 12,
        "velocity": notes.velocity,
        "duration": durations(held),
        "duration_pedal": durations(notes),
        "inter_onset": inter_onset_intervals(notes),
        "density": onsets_per_window(notes, duration),
        "keys": keys_sounding(notes_to_roll(held, whole, duration)),
        "keys_pedal": keys_sounding(roll),
        "pedal_press": np.diff(pedal).ravel(),
        "pedal_rate": [pedal_rate(pedal, duration)],
        "piece_length": [duration / 60],
        **{name: [value] for name, value in describe(opening, MIDI_CONFIG).items()},
    }, duration


def write_statistics(paths_by_split, output_path=None):
    """Write `corpus_statistics` of MAESTRO as JSON: the same files give the same bytes.

    Args:
        paths_by_split: dict of lists of MIDI paths by name of the split.
        output_path: default `midi_data/maestro_statistics.json`; replaced whole or not at all.

    Returns:
        The dict that was written. Raises as `corpus_statistics`.
    """
    output_path = Path(output_path or files.MIDI_DATA / "maestro_statistics.json")
    cut_by_asap = any("--excerpt" in str(path) for paths in paths_by_split.values() for path in paths)
    statistics = corpus_statistics(paths_by_split, ASAP_SOURCE if cut_by_asap else MAESTRO_SOURCE, MAESTRO_LICENCE)
    text = re.sub(r"\[[^\]]*\]", lambda numbers: " ".join(numbers[0].split()), json.dumps(statistics, indent=1))
    with files.atomic_write(output_path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
    return statistics
