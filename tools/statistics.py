"""Write `midigen_utils/data/maestro_statistics.json` from the MAESTRO at hand: `python -m tools.statistics`."""

import argparse
import json
import re
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from midigen_utils import files
from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.corpus import SPLITS, load_maestro
from midigen_utils.data.descriptors import describe, durations, keys_sounding, pedal_rate
from midigen_utils.data.midi import read_with_duration
from midigen_utils.data.piano_roll import notes_to_roll
from tools import run

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
    "pitch_range": ("openings, by semitones from lowest to highest note", np.arange(0, 92, 4) - 0.5),
    "num_pitches": ("openings, by number of different keys", np.arange(0, 92, 4) - 0.5),
    "num_pitch_classes": ("openings, by number of different pitch classes", np.arange(14) - 0.5),
    "pitch_class_entropy": ("openings, by bits", np.round(np.linspace(0, 3.6, 37), 1)),
    "scale_consistency": ("openings, by share of notes in the best major scale", _SHARE),
    "groove_consistency": ("openings, by share of steps alike in neighbouring windows of 2 s", _SHARE),
    "qualified_note_rate": ("openings, by share of notes of three frames or more", _SHARE),
}
MAESTRO_SOURCE = "MAESTRO v3.0.0 (Hawthorne et al., ICLR 2019)"
ASAP_SOURCE = MAESTRO_SOURCE + ", performances as redistributed in ASAP (Foscarin et al., ISMIR 2020)"
MAESTRO_LICENCE = "CC BY-NC-SA 4.0"


def write_statistics(paths_by_split, output_path=None):
    """Write `corpus_statistics` of MAESTRO as JSON: the same files give the same bytes.

    Args:
        paths_by_split: dict of lists of MIDI paths by name of the split.
        output_path: default `midigen_utils/data/maestro_statistics.json`; replaced whole or not at all.

    Returns:
        The dict that was written. Raises as `corpus_statistics`.
    """
    output_path = Path(output_path or files.MAESTRO_STATISTICS)
    cut_by_asap = any("--excerpt" in str(path) for paths in paths_by_split.values() for path in paths)
    statistics = corpus_statistics(paths_by_split, ASAP_SOURCE if cut_by_asap else MAESTRO_SOURCE, MAESTRO_LICENCE)
    text = re.sub(r"\[[^\]]*\]", lambda numbers: " ".join(numbers[0].split()), json.dumps(statistics, indent=1))
    with files.atomic_write(output_path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
    return statistics


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
        "inter_onset": np.diff(notes.start),
        "density": onsets_per_second(notes, duration),
        "keys": keys_sounding(notes_to_roll(held, whole, duration)),
        "keys_pedal": keys_sounding(roll),
        "pedal_press": np.diff(pedal).ravel(),
        "pedal_rate": [pedal_rate(pedal, duration)],
        "piece_length": [duration / 60],
        **{name: [value] for name, value in describe(opening, MIDI_CONFIG).items()},
    }, duration


def histogram(values, edges):
    """Count values in bins. What lies beyond an end is counted in the bin at that end; only NaN is left out.

    Args:
        values: `(N,)` numbers.
        edges: `(B + 1,)` ascending numbers; bin `b` is `[edges[b], edges[b + 1])`.

    Returns:
        `(B,)` int64; without NaN they sum to N.
    """
    values = np.asarray(values, dtype=np.float64)
    bins = np.searchsorted(edges, values[~np.isnan(values)], side="right") - 1
    return np.bincount(np.clip(bins, 0, len(edges) - 2), minlength=len(edges) - 1)


def onsets_per_second(notes, duration):
    """How many notes start in each second of a piece of `duration` seconds; an unfinished last second is left out."""
    epsilon = 1e-6  # a time this close below a second's edge belongs to the second
    whole = int(duration + epsilon)
    return np.bincount(np.floor(notes.start + epsilon).astype(np.int64), minlength=whole)[:whole]


def main(arguments=None):
    """The command line."""
    argparse.ArgumentParser("python -m tools.statistics", description=__doc__.splitlines()[0]).parse_args(arguments)
    corpus = load_maestro()
    write_statistics({split: [piece.path for piece in corpus.split(split)] for split in SPLITS})
    print(files.MAESTRO_STATISTICS)


if __name__ == "__main__":
    run(main)
