"""What survives MIDI -> piano roll -> MIDI: ours beside pretty_midi, pypianoroll and muspy, on the same files.

    python benchmarks/roundtrip.py --data FOLDER                     the validation split (about 20 minutes)
    python benchmarks/roundtrip.py --data FOLDER --limit 8 --fs 16   a quick look

FOLDER holds maestro-v3.0.0. Notes are matched by `mir_eval.transcription`: same pitch, onsets at most a frame
apart; for "+offset" the ends, too, at most a frame or a fifth of the note apart. F1 is the mean over files, the
rest is summed. True ends are those of a piano: with the pedal, a note sounds until the pedal comes up or the key
is struck again. Files at another tempo than 120 are left out: the peers' grids are in beats.

"ceiling" is the onset F1 of a codec that loses no more than a roll must: a second strike of a key in one frame,
and a strike in the frame right after a note of one frame, have no place in it.
"""

import argparse
import importlib
import sys
import tempfile
import warnings
from pathlib import Path

import mir_eval
import numpy as np
import pretty_midi

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from midigen_utils.config import MIDI_CONFIG  # noqa: E402
from midigen_utils.data.corpus import load_maestro  # noqa: E402
from midigen_utils.data.midi import Notes, read_notes  # noqa: E402
from midigen_utils.data.piano_roll import midi_to_piano_roll, piano_roll_to_midi, velocity_to_bin  # noqa: E402

SECONDS = MIDI_CONFIG["max_duration"]


def ours(path, fs, sustain):
    config = {**MIDI_CONFIG, "fs": fs}
    with tempfile.TemporaryDirectory() as folder:
        back = Path(folder) / "back.mid"
        piano_roll_to_midi(midi_to_piano_roll(path, config, sustain), config, back, velocity_threshold=0)
        return read_notes(back)


def with_pretty_midi(path, fs, sustain):
    """`get_piano_roll`, and back by the rule of its examples: a note is a run of cells above 0."""
    roll = pretty_midi.PrettyMIDI(str(path)).get_piano_roll(fs, pedal_threshold=64 if sustain else None)
    sounding = np.pad(roll > 0, ((0, 0), (1, 1))).astype(np.int8)  # (128, T + 2)
    pitch, on = np.nonzero(np.diff(sounding) == 1)
    _, off = np.nonzero(np.diff(sounding) == -1)
    return Notes(on / fs, off / fs, pitch, np.minimum(roll[pitch, on], 127).astype(np.int64))


def with_pypianoroll(path, fs, sustain):
    import pypianoroll

    midi = pretty_midi.PrettyMIDI(str(path))
    tracks = pypianoroll.from_pretty_midi(midi, resolution=fs // 2, first_beat_time=0)  # a beat is half a second
    back = pypianoroll.to_pretty_midi(tracks, default_tempo=120)
    return columns((n.start, n.end, n.pitch, n.velocity) for i in back.instruments for n in i.notes)


def with_muspy(path, fs, sustain):
    import muspy

    music = muspy.read_midi(str(path))
    music.adjust_resolution(fs // 2)
    roll = muspy.to_pianoroll_representation(music)
    back = muspy.from_pianoroll_representation(roll, resolution=fs // 2)
    return columns((n.time / fs, n.end / fs, n.pitch, n.velocity) for t in back.tracks for n in t.notes)


# name: (function, module it needs, remark)
METHODS = {
    "midigen": (ours, None, ""),
    "pretty_midi": (with_pretty_midi, "pretty_midi", ""),
    "pypianoroll": (with_pypianoroll, "pypianoroll", "has no pedal"),
    "muspy": (with_muspy, "muspy", "has no pedal"),
}


def columns(rows):
    start, end, pitch, velocity = np.array(sorted(rows)).T
    return Notes(start, end, pitch.astype(int), velocity.astype(int))


def true_notes(path, sustain):
    """The notes that start in the first minute; a key struck again ends its old note."""
    notes = read_notes(path, sustain)
    order = np.lexsort((notes.start, notes.pitch))
    start, end, pitch = notes.start[order], notes.end[order], notes.pitch[order]
    next_start = np.append(np.where(pitch[1:] == pitch[:-1], start[1:], np.inf), np.inf)
    return first_minute(Notes(start, np.minimum(end, next_start), pitch, notes.velocity[order]))


def first_minute(notes):
    early = (notes.start < SECONDS) & (notes.pitch >= MIDI_CONFIG["min_pitch"]) & (notes.pitch <= 108)
    start, end, pitch, velocity = (column[early] for column in notes)
    return Notes(start, np.minimum(end, SECONDS), pitch, velocity)


def impossible(notes, fs):
    """How many strikes share a frame with another of their key, and how many follow a one-frame note at once."""
    shared, adjacent = 0, 0
    for pitch in np.unique(notes.pitch):
        frames = np.floor(notes.start[notes.pitch == pitch] * fs + 1e-4).astype(int)
        shared += len(frames) - len(np.unique(frames))
        last = -2
        for frame in np.unique(frames):
            if frame == last + 1:
                adjacent += 1
            else:
                last = frame
    return shared, adjacent


def match(true, back, fs, offsets):
    """Pairs of matching notes, `(M, 2)`, and F1."""
    if len(back.start) == 0:
        return np.zeros((0, 2), int), 0.0
    intervals = [np.stack([n.start, np.maximum(n.end, n.start + 1e-3)], axis=1) for n in (true, back)]
    hertz = [440 * 2 ** ((n.pitch - 69) / 12) for n in (true, back)]
    pairs = mir_eval.transcription.match_notes(
        intervals[0], hertz[0], intervals[1], hertz[1],
        onset_tolerance=1 / fs, offset_ratio=0.2 if offsets else None, offset_min_tolerance=1 / fs,
    )  # fmt: skip
    return np.array(pairs, dtype=int).reshape(-1, 2), 2 * len(pairs) / (len(true.start) + len(back.start))


def measure(method, paths, fs, sustain):
    """`(onset F1, onset + offset F1, velocity error in bins, lost, invented)` over the files."""
    onset, both, errors, lost, invented = [], [], [], 0, 0
    for path in paths:
        true, back = true_notes(path, sustain), first_minute(method(path, fs, sustain))
        pairs, f1 = match(true, back, fs, offsets=False)
        onset.append(f1)
        both.append(match(true, back, fs, offsets=True)[1])
        bins = [velocity_to_bin(n.velocity[i], MIDI_CONFIG) for n, i in ((true, pairs[:, 0]), (back, pairs[:, 1]))]
        errors.append(np.abs(bins[0] - bins[1]))
        lost += len(true.start) - len(pairs)
        invented += len(back.start) - len(pairs)
    return np.mean(onset), np.mean(both), np.concatenate(errors).mean(), lost, invented


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds maestro-v3.0.0")
    parser.add_argument("--split", default="validation", choices=["train", "validation", "test"])
    parser.add_argument("--limit", type=int, help="take only so many files, evenly spread")
    parser.add_argument("--fs", type=int, nargs="+", default=[8, 16, 32, 64], help="frames per second, even numbers")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")

    paths = [piece.path for piece in load_maestro(options.data / "maestro-v3.0.0").split(options.split)]
    tempos = {path: pretty_midi.PrettyMIDI(str(path)).get_tempo_changes()[1] for path in paths}
    at_120 = [path for path in paths if len(tempos[path]) == 1 and abs(tempos[path][0] - 120) < 1e-6]
    chosen = np.linspace(0, len(at_120) - 1, min(options.limit or len(at_120), len(at_120))).round().astype(int)
    chosen = [at_120[i] for i in chosen]
    strikes = sum(len(true_notes(path, False).start) for path in chosen)
    print(f"{len(chosen)} files of {options.split}, {SECONDS} s of each, {strikes} notes", end="")
    print(f" ({len(paths) - len(at_120)} files at another tempo left out)\n")

    methods = {}
    for name, (function, module, remark) in METHODS.items():
        try:
            importlib.import_module(module or "midigen_utils")
            methods[name] = (function, remark)
        except ImportError:
            print(f"{name} is not installed: left out\n")
    print(f"{'fs':>3} {'pedal':<5} {'':<12} {'onset F1':>8} {'+offset':>8} {'bins off':>8} {'lost':>6} {'invented':>8}")
    for fs in options.fs:
        for sustain in (True, False):
            counts = [(len(true.start), *impossible(true, fs)) for true in (true_notes(p, sustain) for p in chosen)]
            ceiling = np.mean([2 * (n - a - b) / (2 * n - a - b) for n, a, b in counts])
            _, shared, adjacent = np.sum(counts, axis=0)
            row = f"{fs:>3} {'yes' if sustain else 'no':<5} "
            print(f"{row}{'ceiling':<12} {ceiling:>8.4f} {'':>8} {'':>8} {shared + adjacent:>6}", end="")
            print(f"          {shared} in one frame, {adjacent} in the next")
            for name, (function, remark) in methods.items():
                onset, both, error, lost, invented = measure(function, chosen, fs, sustain)
                print(f"{row}{name:<12} {onset:>8.4f} {both:>8.4f} {error:>8.3f} {lost:>6} {invented:>8}", end="")
                print(f"  {remark if sustain else ''}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
