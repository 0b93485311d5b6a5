"""What survives MIDI -> piano roll -> MIDI: ours beside pretty_midi, pypianoroll and muspy, on the same files.

    python benchmarks/roundtrip.py --data FOLDER             16 rows a second, the validation split (some 10 minutes)
    python benchmarks/roundtrip.py --data FOLDER --limit 8   a quick look

FOLDER holds maestro-v3.0.0. Notes are matched by `mir_eval.transcription`: same pitch, onsets at most 50 or 25 ms
apart; for "+offset" at most 50 ms, and the ends at most 50 ms or a fifth of the note. F1 is the mean over files.
"late" and "long" are the mean errors of onsets and lengths in ms, "bins" is that of velocities: of all notes that are
found again within a row. What is not is "lost". True ends are those of a piano: with the pedal, a note sounds until
the pedal comes up or the key is struck again. The grids of two peers are in beats, so a file at another tempo than 120
is first written at 120, every note at its second.

"ceiling" loses no more than a roll must: of two strikes of a key in one row, and of a strike in the row right after a
note of one row, one has no place in it.
"""

import argparse
import importlib
import tempfile
import warnings
from pathlib import Path

import mir_eval
import numpy as np
import pretty_midi

from midigen_utils.config import MIDI_CONFIG, velocity_to_bin
from midigen_utils.data import Notes, load_maestro, midi_to_piano_roll, piano_roll_to_midi, read_notes

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
    "midigen": (ours, "midigen_utils", ""),
    "pretty_midi": (with_pretty_midi, "pretty_midi", ""),
    "pypianoroll": (with_pypianoroll, "pypianoroll", "has no pedal"),
    "muspy": (with_muspy, "muspy", "has no pedal"),
}


def columns(rows):
    start, end, pitch, velocity = np.array(sorted(rows)).T
    return Notes(start, end, pitch.astype(int), velocity.astype(int))


def first_minute(notes):
    early = (notes.start < SECONDS) & (notes.pitch >= MIDI_CONFIG["min_pitch"]) & (notes.pitch <= 108)
    start, end, pitch, velocity = (column[early] for column in notes)
    return Notes(start, np.minimum(end, SECONDS), pitch, velocity)


def impossible(notes, fs):
    """How many strikes share a row with another of their key, and how many follow a one-row note at once."""
    shared, adjacent = 0, 0
    for pitch in np.unique(notes.pitch):
        rows = np.floor(notes.start[notes.pitch == pitch] * fs + 0.5).astype(int)
        shared += len(rows) - len(np.unique(rows))
        last = -2
        for row in np.unique(rows):
            if row == last + 1:
                adjacent += 1
            else:
                last = row
    return shared, adjacent


def match(true, back, tolerance, offsets=False):
    """Pairs of matching notes, `(M, 2)`, and F1; `tolerance` in seconds."""
    if len(back.start) == 0:
        return np.zeros((0, 2), int), 0.0
    intervals = [np.stack([n.start, np.maximum(n.end, n.start + 1e-3)], axis=1) for n in (true, back)]
    hertz = [440 * 2 ** ((n.pitch - 69) / 12) for n in (true, back)]
    pairs = mir_eval.transcription.match_notes(
        intervals[0], hertz[0], intervals[1], hertz[1],
        onset_tolerance=tolerance, offset_ratio=0.2 if offsets else None,
    )  # fmt: skip
    return np.array(pairs, dtype=int).reshape(-1, 2), 2 * len(pairs) / (len(true.start) + len(back.start))


def measure(method, paths, fs, sustain):
    """F1 at 50 ms, at 25 ms, and with offsets; mean errors of onset and length in ms, and of velocity in bins; lost."""
    f1, late, long, bins, lost = [], [], [], [], 0
    for path in paths:
        true, back = first_minute(read_notes(path, sustain)), first_minute(method(path, fs, sustain))
        f1.append([match(true, back, 0.05)[1], match(true, back, 0.025)[1], match(true, back, 0.05, offsets=True)[1]])
        pairs, _ = match(true, back, 1 / fs)
        a, b = (Notes(*(column[side] for column in notes)) for notes, side in zip((true, back), pairs.T))
        late.append(b.start - a.start)
        long.append((b.end - b.start) - (a.end - a.start))
        bins.append(np.abs(velocity_to_bin(a.velocity, MIDI_CONFIG) - velocity_to_bin(b.velocity, MIDI_CONFIG)))
        lost += len(true.start) - len(pairs)
    late, long, bins = (np.concatenate(column).mean() for column in (late, long, bins))
    return *np.mean(f1, axis=0), 1000 * late, 1000 * long, bins, lost


def at_120(path, folder):
    """The path of the file, or of one at 120 beats a minute with the same notes and pedal."""
    midi = pretty_midi.PrettyMIDI(str(path))
    tempos = midi.get_tempo_changes()[1]
    if len(tempos) == 1 and abs(tempos[0] - 120) < 1e-6:
        return path
    same = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=120)
    same.instruments = midi.instruments
    same.write(str(folder / path.name))
    return folder / path.name


def compare(paths, rates):
    methods = {}
    for name, (function, module, remark) in METHODS.items():
        try:
            importlib.import_module(module)
            methods[name] = (function, remark)
        except ImportError:
            print(f"{name} is not installed: left out\n")
    names = "50 ms", "25 ms", "+offset", "late", "long", "bins", "lost"
    print(f"{'fs':>3} {'pedal':<5} {'':<12}" + "".join(f" {name:>8}" for name in names))
    for fs in rates:
        for sustain in (True, False):
            row = f"{fs:>3} {'yes' if sustain else 'no':<5} "
            true = [first_minute(read_notes(path, sustain)) for path in paths]
            counts = [(len(notes.start), *impossible(notes, fs)) for notes in true]
            ceiling = np.mean([2 * (n - a - b) / (2 * n - a - b) for n, a, b in counts])
            _, shared, adjacent = np.sum(counts, axis=0)
            print(f"{row}{'ceiling':<12} {ceiling:>8.4f}" + " " * 45 + f" {shared + adjacent:>8}")
            for name, (function, remark) in methods.items():
                *f1, late, long, bins, lost = measure(function, paths, fs, sustain)
                scores = "".join(f" {score:>8.4f}" for score in f1) + f" {late:>+8.1f} {long:>+8.1f} {bins:>8.3f}"
                print(f"{row}{name:<12}{scores} {lost:>8}  {remark if sustain else ''}".rstrip(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds maestro-v3.0.0")
    parser.add_argument("--split", default="validation", choices=["train", "validation", "test"])
    parser.add_argument("--limit", type=int, help="take only so many files, evenly spread")
    parser.add_argument("--fs", type=int, nargs="+", default=[16], help="rows per second, even numbers, default 16")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")

    paths = [piece.path for piece in load_maestro(options.data / "maestro-v3.0.0").split(options.split)]
    chosen = np.linspace(0, len(paths) - 1, min(options.limit or len(paths), len(paths))).round().astype(int)
    with tempfile.TemporaryDirectory() as folder:
        paths = [at_120(paths[i], Path(folder)) for i in chosen]
        strikes = sum(len(first_minute(read_notes(path)).start) for path in paths)
        print(f"{len(paths)} files of {options.split}, {SECONDS} s of each, {strikes} notes\n", flush=True)
        compare(paths, options.fs)


if __name__ == "__main__":
    main()
