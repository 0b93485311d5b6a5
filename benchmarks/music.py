"""Is the music any good? Clips that models wrote beside clips of held-out performances, by measures and by accident.

    python benchmarks/music.py --data FOLDER --models mamba=mamba.pt lstm=lstm.pt   FOLDER holds maestro-v3.0.0
    python benchmarks/music.py --corpus bach --seconds 12 --models mamba=mamba.pt   short pieces give few long clips

Held-out pieces, whole, are cut into places of 64 frames (a seed) and a clip; no two places overlap. Of each two
neighbours, one clip goes into the first set of real music and the other into the second, by the toss of a coin. The
models continue the seeds of the **second** set, and everything is compared with the first: so the second set is what
a perfect model would have written, its figure is the ceiling, and neither it nor a model is compared with the true
continuation of its own seed. Noise, each key drawn by itself as often as it is down in training, is the floor. Seeds
are not measured.

Overlap area, of each measure (Yang and Lerch, On the evaluation of generative models in music, 2018): of the
densities of the distances between first real clips and of those from the other set's clips to them. Both densities
are taken on one grid, which holds their tails, so that equal sets have 1. A clip for which a measure is undefined,
as for silence, has no distance and overlaps with nothing; such clips are counted.

The scale: the second set, spoilt on purpose (`judge.SABOTAGE`). A model below a sabotage in a measure is worse there
than music without order, harmony or bass. The ± is a standard error by jackknife over ten groups of pieces.

Collapses: nothing changes (silence included) for 8 s, or for 4 s more keys are down in every frame than in 99.9 % of
the frames of training. Copies: windows of 16 frames with 8 onsets or more that are, moved by any interval, somewhere
in the whole training pieces: the same onsets on the same frames, whatever the lengths. Held-out music has some too.
"""

import argparse
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

from midigen_utils.config import MIDI_CONFIG, NUM_PITCHES, SEQUENCE_LENGTH
from midigen_utils.data.corpus import load_corpus, load_maestro
from midigen_utils.data.descriptors import describe, durations, keys_sounding, pitch_class_histogram
from midigen_utils.data.piano_roll import roll_to_notes
from midigen_utils.data.rolls import load_piano_rolls
from midigen_utils.learn.checkpoints import load_checkpoint, load_model
from midigen_utils.models.generation import DEFAULT_VELOCITY, generate_music

FS = MIDI_CONFIG["fs"]
MEASURES = (
    "polyphony",
    "pitch_class_entropy",
    "scale_consistency",
    "note_density",
    "note_length",
    "inter_onset",
    "groove_consistency",
    "qualified_note_rate",
)
BESIDES = ("pitch_range", "pitch_class_histogram")  # shown, but not in the mean overlap
POINTS = 500  # of the grid on which densities are compared
BATCH = 50  # clips generated side by side
STILL, CROWDED = 8 * FS, 4 * FS  # frames
QUANTILE = 0.999
GROUPS = 10  # of pieces, for the standard error
COPY, ONSETS = 16, 8  # frames of a window, and how many onsets make it worth looking for
KEY_HASH = np.cumprod(np.full(NUM_PITCHES, 0x9E3779B97F4A7C15, dtype=np.uint64))  # powers of an odd number, mod 2**64
FRAME_HASH = np.random.default_rng(0).integers(1 << 63, size=COPY, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def places(lengths, frames, clips, rng):
    """Where seeds and clips are: two sets of places that do not overlap, spread evenly over the pieces.

    Args:
        lengths: `(N,)` int, frames of each piece.
        frames: of a clip; a place is a seed and a clip.
        clips: places of a set; where there are too few, both sets are smaller.
        rng: tosses the coins.

    Returns:
        `(2, clips, 2)` int64: for both sets the piece and the first frame of the seed of each place.
    """
    size = SEQUENCE_LENGTH + frames
    everywhere = [(i, k * size) for i, length in enumerate(lengths) for k in range(length // size)]
    clips = min(clips, len(everywhere) // 2)
    if clips < 2:
        raise SystemExit(f"{len(everywhere)} places of {size} frames are too few for two sets: use fewer --seconds")
    chosen = np.linspace(0, len(everywhere) - 1, 2 * clips).round().astype(int)
    pairs = np.array(everywhere, dtype=np.int64)[chosen].reshape(clips, 2, 2)
    swap = rng.random(clips) < 0.5
    pairs[swap] = pairs[swap, ::-1]
    return pairs.transpose(1, 0, 2)


def cut(rolls, where, frames):
    """The seeds `(N, 64, P)` and the clips `(N, frames, P)` at `(N, 2)` places."""
    both = np.stack([rolls[i][start : start + SEQUENCE_LENGTH + frames] for i, start in where.tolist()])
    return both[:, :SEQUENCE_LENGTH], both[:, SEQUENCE_LENGTH:]


def generate(model, seeds, frames, temperature, random_seed):
    """What a model makes of the seeds, without them: `(N, frames, P)`."""
    music = [
        generate_music(model, seeds[i : i + BATCH], frames, temperature, random_seed=random_seed + i)
        for i in range(0, len(seeds), BATCH)
    ]
    return np.concatenate(music)[:, SEQUENCE_LENGTH:]


def measure(clips):
    """Every measure of every clip: dict from its name to `(N, D)`, D = 12 for the histogram and 1 for the others.

    Inter-onset is the mean time from one frame with an onset to the next: over single notes, near 0 within a chord,
    it would be one over the density. Lengths are in seconds; NaN where nothing can be measured.
    """
    values = {name: [] for name in MEASURES + BESIDES}
    for clip in clips:
        notes = roll_to_notes(clip, MIDI_CONFIG, velocity_threshold=0)
        gaps, counts = np.diff(np.unique(notes.start)), pitch_class_histogram(notes)
        row = describe(clip, MIDI_CONFIG)
        row["note_length"] = durations(notes).mean() if len(notes.start) else np.nan
        row["inter_onset"] = gaps.mean() if len(gaps) else np.nan
        row["pitch_class_histogram"] = counts / counts.sum() if counts.any() else np.full(12, np.nan)
        for name in values:
            values[name].append(np.atleast_1d(row[name]))
    return {name: np.array(rows, dtype=np.float64) for name, rows in values.items()}


def distances(a, b):
    """Euclidean distances `(N, M)` between the rows of `(N, D)` and of `(M, D)`."""
    return np.sqrt(((a[:, None] - b) ** 2).sum(-1))


def density(values, grid, width):
    """Gaussian kernel density of `(N,)` numbers at the points of a grid `(G,)`; `width` is a kernel's deviation."""
    z = (grid[:, None] - values) / width
    return np.exp(-0.5 * z * z).sum(1) / (len(values) * width * np.sqrt(2 * np.pi))


def overlap_area(a, b, share=1.0):
    """The area under two densities, of `(N,)` and of `(M,)` numbers; that of `b` counts `share` of its own.

    Kernels are as wide as Scott's rule says, but no narrower than a step of the grid, so that equal numbers can be
    drawn too. The grid goes on for four of the wider kernels on both sides.
    """
    widths = [values.std(ddof=1) * len(values) ** -0.2 for values in (a, b)]
    ends = [min(a.min(), b.min()) - 4 * max(widths), max(a.max(), b.max()) + 4 * max(widths)]
    if ends[0] == ends[1]:
        return share
    grid = np.linspace(*ends, POINTS)
    step = grid[1] - grid[0]
    p, q = (density(values, grid, max(width, step)) for values, width in zip((a, b), widths))
    return float(np.minimum(p, share * q).sum() * step)


def compare(real, made):
    """Overlap area of each measure, from what `measure` says of the two sets."""
    areas = {}
    for name in real:
        a, b = (values[name][~np.isnan(values[name]).any(1)] for values in (real, made))
        if len(a) < 2 or len(b) == 0:
            areas[name] = 0.0
            continue
        within = distances(a, a)[~np.eye(len(a), dtype=bool)]  # each to all others, as its authors count
        areas[name] = overlap_area(within, distances(b, a).ravel(), len(b) / len(made[name]))
    return areas


def mean_area(real, made):
    """The mean overlap area over `MEASURES`."""
    areas = compare(*({name: some[name] for name in MEASURES} for some in (real, made)))
    return np.mean(list(areas.values()))


def standard_error(real, made, groups):
    """Of `mean_area`, by jackknife: each time a group of pieces is left out of both sets.

    Args:
        real, made: what `measure` says of them.
        groups: the group of each clip of `real` and of `made`, `(N,)` and `(M,)` int, from 0 to `GROUPS` - 1.
    """
    left = [
        mean_area(*({name: rows[of != group] for name, rows in some.items()} for some, of in zip((real, made), groups)))
        for group in range(GROUPS)
    ]
    return np.sqrt((GROUPS - 1) / GROUPS * ((left - np.mean(left)) ** 2).sum())


def longest_run(flags):
    """How many True in a row there are at most in `(T,)` bool."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def collapses(clip, most_keys):
    """Whether a clip stands still, and whether it is crowded: two bools, see the top of this file."""
    down = clip > 0
    still = longest_run((down[1:] == down[:-1]).all(1)) + 1 >= STILL
    return still, longest_run(keys_sounding(clip) > most_keys) >= CROWDED


def window_hashes(roll):
    """A number for the onsets of each window that has enough of them; the same for windows that are transpositions.

    A frame of onsets is a sum of powers of one number, one power per key: moved up by a key, it is multiplied by
    that number. So one multiplication moves a window to where its lowest onset has a fixed place.

    Args:
        roll: `(T, P)`; what sounds in its first frame began before, as far as is known.

    Returns:
        `(W,)` uint64, in order. That two different windows have one number is next to impossible in 64 bits.
    """
    onsets = (roll[1:] > 0) & ~(roll[:-1] > 0)
    if len(onsets) < COPY:
        return np.zeros(0, dtype=np.uint64)
    rolling = np.lib.stride_tricks.sliding_window_view
    kept = rolling(onsets.sum(1), COPY).sum(1) >= ONSETS
    lowest = np.where(onsets.any(1), onsets.argmax(1), NUM_PITCHES - 1)
    lowest = rolling(lowest, COPY).min(1)
    hashes = rolling(onsets.astype(np.uint64) @ KEY_HASH, COPY) @ FRAME_HASH
    return (hashes * KEY_HASH[NUM_PITCHES - 1 - lowest])[kept]


def count_copies(clips, known):
    """How many windows of the clips are among the sorted `known`, and how many windows they have."""
    hashes = np.concatenate([window_hashes(clip) for clip in clips])
    if len(known) == 0:
        return 0, len(hashes)
    found = known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)]
    return int((found == hashes).sum()), len(hashes)


def read_training(rolls):
    """Of the training pieces: keys in a crowded frame, how often each key is down `(P,)`, their sorted hashes."""
    keys, down, hashes = [], np.zeros(NUM_PITCHES), []
    for i in range(len(rolls)):  # one piece after the other: whole pieces are large
        roll = rolls[i]
        keys.append(keys_sounding(roll))
        down += (roll > 0).sum(0)
        hashes.append(np.unique(window_hashes(roll)))
    keys = np.concatenate(keys)
    return np.quantile(keys, QUANTILE), down / len(keys), np.unique(np.concatenate(hashes))


def print_table(heads, rows):
    """A Markdown table."""
    for cells in (heads, ["---"] * len(heads), *rows):
        print(f"| {' | '.join(map(str, cells))} |")


def print_tables(sets, most_keys, known, pieces):
    """The three tables, of a dict from a name to clips `(N, T, P)`; the first two are the real sets.

    `pieces` has the piece of each clip of the first set, and of each clip of all others: two `(N,)` int.
    """
    values = {name: measure(clips) for name, clips in sets.items()}
    real, ceiling, *_ = values
    heads = [name.replace("_", " ") for name in MEASURES + BESIDES]

    areas = {name: compare(values[real], made) for name, made in values.items() if name != real}
    means = {name: np.mean([area[measure] for measure in MEASURES]) for name, area in areas.items()}
    groups, rows = [piece % GROUPS for piece in pieces], []
    for name, area in areas.items():
        mean = f"{means[name]:.3f} ± {standard_error(values[real], values[name], groups):.3f}"
        lowest = min(area[measure] for measure in MEASURES)
        figures = (means[name] / means[ceiling], lowest, *area.values())
        rows.append([name, mean, *(f"{figure:.3f}" for figure in figures)])
    print(f"\nOverlap area with: {real}. The mean and the lowest are of the first {len(MEASURES)} measures.\n")
    print_table(["set", "mean", "of the ceiling", "lowest", *heads], rows)

    rows = []
    for name, table in values.items():
        defined = [column[~np.isnan(column)] for measure, column in table.items() if column.shape[1] == 1]
        rows.append([name, *(f"{v.mean():.3f} ± {v.std():.3f}" if len(v) else "undefined" for v in defined)])
    print("\nMean and standard deviation over the clips for which the measure is defined.\n")
    print_table(["set", *heads[:-1]], rows)

    rows = []
    for name, clips in sets.items():
        fallen = np.array([collapses(clip, most_keys) for clip in clips])  # (N, 2)
        per_100 = [f"{100 * flags.mean():.1f}" for flags in (fallen.any(1), *fallen.T)]
        undefined = np.any([np.isnan(column).any(1) for column in values[name].values()], axis=0).sum()
        copied, windows = count_copies(clips, known)
        rows.append([name, *per_100, undefined, f"{copied / max(windows, 1):.3%}", f"{windows:,}"])
    print(
        f"\nCollapses in 100 clips: nothing changes for {STILL // FS} s, or more than {most_keys:g} keys for "
        f"{CROWDED // FS} s. Undefined: clips that lack a measure. Copied: windows that training has.\n"
    )
    print_table(["set", "collapses", "still", "crowded", "undefined", "copied", "windows"], rows)


def print_judge(sets, pieces):
    """What the judge says of each set but the first two, beside the second; nothing where its own scale fails.

    `pieces` has the piece of each clip of the second set, `(N,)` int.
    """

    from judge import SABOTAGE, holds, judge, scale

    def by_piece(clips):
        return [list(clips[pieces == piece]) for piece in np.unique(pieces)]

    _, (_, real), *made = sets.items()
    areas = scale(by_piece(real))
    if not holds(areas):
        print("\nThe judge's scale does not hold, so it says nothing:", areas)
        return
    areas |= {name: judge(by_piece(real), by_piece(clips)) for name, clips in made if name not in SABOTAGE}
    print("\nThe judge: area under the curve, made against real windows of 8 s. 0.5 is guessing.\n")
    print_table(["set", "area"], [[name, f"{area:.3f}"] for name, area in areas.items()])


def read_models(texts, parser):
    """`{name: model}` of `NAME=CHECKPOINT` texts."""
    models = {}
    for text in texts:
        name, _, path = text.partition("=")
        if not name or not path or name in models:
            parser.error(f"--models {text}: write NAME=CHECKPOINT, each name once")
        theirs = load_checkpoint(path)["midi_config"]
        if any(theirs[key] != MIDI_CONFIG[key] for key in ("min_pitch", "max_pitch", "fs")):
            parser.error(f"{path}: trained with other keys or frames per second than MIDI_CONFIG has")
        models[name] = load_model(path)
    return models


def main():
    """Print what runs where, then the tables."""
    from judge import SABOTAGE  # here, because notebook A5 runs this file alone for its measures

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME=CHECKPOINT")
    parser.add_argument("--data", type=Path, help="folder that holds maestro-v3.0.0, for --corpus maestro")
    parser.add_argument("--corpus", choices=["maestro", "bach"], default="maestro")
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--clips", type=int, default=100, help="of each set")
    parser.add_argument("--seconds", type=float, default=30, help="of a clip")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.8, 1.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", action="store_true", help="train the judge, too: five networks a set")
    options = parser.parse_args()
    if options.corpus == "maestro" and not options.data:
        parser.error("--corpus maestro needs --data FOLDER, the folder that holds maestro-v3.0.0")
    models = read_models(options.models, parser)
    corpus = load_corpus("bach") if options.corpus == "bach" else load_maestro(options.data / "maestro-v3.0.0")
    rolls, _ = load_piano_rolls(corpus, {**MIDI_CONFIG, "max_duration": None})
    held_out, frames, rng = rolls[options.split], round(options.seconds * FS), np.random.default_rng(options.seed)
    first, second = places(held_out.lengths, frames, options.clips, rng)
    most_keys, marginals, known = read_training(rolls["train"])
    print(f"python {' '.join(sys.argv)}")
    print(f"numpy {np.__version__}, torch {torch.__version__}, {platform.machine()}")
    print(
        f"{len(first)} clips a set, {options.seconds:g} s each, from {len({*first[:, 0], *second[:, 0]})} of "
        f"{len(held_out)} {options.split} pieces; {len(rolls['train'])} training pieces with {len(known):,} windows"
    )
    _, real = cut(held_out, first, frames)
    seeds, continued = cut(held_out, second, frames)
    noise = (rng.random(real.shape, dtype=np.float32) < marginals) * np.float32(DEFAULT_VELOCITY)
    sets = {"real, first set": real, "real, second set (ceiling)": continued, "noise (floor)": noise}
    sets |= {name: np.stack([spoil(clip, rng) for clip in continued]) for name, spoil in SABOTAGE.items()}
    for name, model in models.items():
        for temperature in options.temperatures:
            begin = time.perf_counter()
            clips = generate(model, seeds, frames, temperature, options.seed)
            sets[f"{name}, temperature {temperature:g}"] = clips
            print(f"{name}, {temperature:g}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    print_tables(sets, most_keys, known, (first[:, 0], second[:, 0]))
    if options.judge:
        print_judge(sets, second[:, 0])


if __name__ == "__main__":
    main()
