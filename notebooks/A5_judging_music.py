# %% [markdown]
# # A5 · Judging music: measures, their ceiling, the blind test
#
# Notebook 05 judged music with measures, a blind test and a search for copies. This appendix takes these instruments
# apart. In it you
#
# - compute eight measures by hand, and see what each cannot notice when real music is spoilt in nine ways,
# - compute the overlap area of Yang and Lerch, its ceiling, its floor, and an interval that is wide enough,
# - let a model judge music by its likelihood, and count collapses and copies,
# - plan a blind test: how many guesses, how many listeners, what to report.
#
# You need notebook 05 and a little statistics. It runs in about two minutes on two CPU cores. The findings are about
# Bach's chorales.

# %% tags=["nbval-ignore-output"]
import os
import runpy
from math import comb

import matplotlib.pyplot as plt
import numpy as np
import torch

from midigen_utils.apps import blind_test, luck
from midigen_utils.config import MIDI_CONFIG, SEQUENCE_LENGTH, scaled
from midigen_utils.data import MAJOR_SCALE, Notes, describe, load_corpus, load_piano_rolls, notes_to_roll, roll_to_notes
from midigen_utils.exercises import check
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn import load_model, predict
from midigen_utils.models import generate_music
from midigen_utils.show import BLUE, GREEN, GREY, NOTE_NAMES, ORANGE, PINK, player

# %% [markdown]
# ## Settings
#
# Bach's chorales, or after `make data` MAESTRO. Where the code or its output says *row*, it means a frame.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
CLIP = 12 * 16  # rows of a clip: 12 s
PIECES = scaled(full=80, fast=20)  # held-out pieces from which clips are cut
JUDGED = scaled(full=40, fast=6)  # clips of each kind that the models write, or judge by likelihood
SIZES = scaled(full=(5, 10, 20, 40, 80), fast=(5, 10))  # clips of a set, where we ask how much their number matters
REPEATS = scaled(full=12, fast=3)  # how often such a set is drawn
DRAWS = scaled(full=1000, fast=200)  # of what is resampled and cheap
STUDIES = scaled(full=2000, fast=300)  # listening studies that are simulated

rolls, corpus = load_piano_rolls(load_corpus(CORPUS))
mamba = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
lstm = load_model(MIDI_DATA / "pretrained" / "lstm.pt")
plt.rcParams["figure.dpi"] = 80  # smaller pictures, for a smaller file

# %% [markdown]
# ## Which is which?
#
# Here are three clips of twelve seconds, in an order that was drawn. One is **real**. One was **generated**: the
# pretrained `MusicMamba` read four seconds of a real piece and went on. One is real and **shuffled**: every note keeps
# its time, but the pitches were dealt anew among the notes. The first cell goes from a roll to its notes, and back.


# %%
def notes_of(clip):
    """The notes of a roll (T, 88)."""
    return roll_to_notes(clip, MIDI_CONFIG, velocity_threshold=0)


def draw(notes, frames=CLIP):
    """Notes as a roll (frames, 88), values in [0, 1]. Where two notes want one key at one time, the later one wins."""
    return notes_to_roll(notes, MIDI_CONFIG, frames / 16)[:frames].astype(np.float32) / MIDI_CONFIG["velocity_bins"]


def shuffle_pitches(clip, rng):
    notes = notes_of(clip)
    return draw(notes._replace(pitch=rng.permutation(notes.pitch)))


# %%
after_seed = slice(SEQUENCE_LENGTH, SEQUENCE_LENGTH + CLIP)
trio = [
    ("real", rolls["validation"][13][after_seed]),
    ("generated", generate_music(mamba, rolls["validation"][7][:SEQUENCE_LENGTH], CLIP, random_seed=1)[after_seed]),
    ("shuffled", shuffle_pitches(rolls["validation"][14][after_seed], np.random.default_rng(0))),
]
trio = [trio[i] for i in np.random.default_rng(8).permutation(3)]

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Clip 1: real, spoilt, or made?"}, "image": {"alt": "Player: the first of three clips to tell apart"}}
player(trio[0][1], title="Clip 1")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Clip 2: real, spoilt, or made?"}, "image": {"alt": "Player: the second of three clips to tell apart"}}
player(trio[1][1], title="Clip 2")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Clip 3: real, spoilt, or made?"}, "image": {"alt": "Player: the third of three clips to tell apart"}}
player(trio[2][1], title="Clip 3")

# %% [markdown]
# Write your answer down, and by what you knew it. The solution follows when the measures have had their turn.
#
# ## Eight measures by hand
#
# A **measure** turns a clip into a number, so that a thousand clips can be compared without listening. It can raise an
# alarm, but it cannot say that music is good, because it looks at one property and is blind to all others.
#
# Take four seconds with eight notes. Each is its MIDI pitch, its first frame, and the frame after its last:

# %% tags=["nbval-check-output"]
TOY = [(60, 0, 16), (64, 0, 16), (67, 0, 8), (66, 8, 10), (67, 16, 32), (60, 32, 48), (65, 32, 48), (69, 40, 48)]
toy = np.zeros((64, 88), dtype=np.float32)
for pitch, on, off in TOY:
    toy[on:off, pitch - 21] = 0.5
    print(f"{NOTE_NAMES[pitch % 12]:<2} rows {on:2d} to {off - 1:2d}: {'.' * on}{'#' * (off - on)}")
pitches, on, off = np.array(TOY).T

# %% [markdown]
# **Note density** is notes per second. **Polyphony** is the mean number of keys that are down, over the frames in which
# any is. **Note length** is a mean over notes, in seconds.

# %%
by_hand = {"note_density": 8 / 4}
rows_with_sound = 48  # rows 0 to 47: the last second is silent
by_hand["polyphony"] = (off - on).sum() / rows_with_sound
by_hand["note_length"] = (off - on).mean() / 16

# %% [markdown]
# **Pitch-class entropy** asks how evenly the twelve pitch classes are used: each with the share `p` adds
# `p log2(1 / p)`. Here C and G have two notes of eight; E, F, F♯ and A have one. **Scale consistency** is the share of
# the notes in the best of the twelve major scales. In C major that is all but the F♯.

# %%
by_hand["pitch_class_entropy"] = 2 * (1 / 4 * 2) + 4 * (1 / 8 * 3)  # log2(4) is 2, log2(8) is 3
by_hand["scale_consistency"] = 7 / 8

# %% [markdown]
# **Inter-onset interval** is the time in seconds from one frame with an onset to the next. Here the onsets are in
# frames 0, 8, 16, 32 and 40. **Qualified notes** are those of three frames or more; the F♯ is too short.

# %%
by_hand["inter_onset"] = np.mean([8, 8, 16, 8]) / 16
by_hand["qualified_note_rate"] = 7 / 8

# %% [markdown]
# **Groove consistency** asks whether the rhythm of one bar is like that of the next. A performance has no bar lines, so
# windows of two seconds stand for bars, and the measure is the share of frames in which neighbouring windows agree that
# there is an onset, or that there is none. Here the two windows differ only in frame 16.

# %%
by_hand["groove_consistency"] = 1 - 1 / 32

# %% [markdown]
# The package's `describe` has six of these, and `benchmarks/music.py`, which compares models by them, has all eight.
# Both must agree with our pencil:

# %%
benchmark = runpy.run_path(str(MIDI_DATA.parent / "benchmarks" / "music.py"))
MEASURES = benchmark["MEASURES"]
described, measured = describe(toy, MIDI_CONFIG), benchmark["measure"]([toy])
for name, value in by_hand.items():
    assert np.isclose(measured[name][0, 0], value) and np.isclose(described.get(name, value), value), name
assert set(by_hand) == set(MEASURES) and len(set(described) & set(MEASURES)) == 6

# %% [markdown]
# ### Each has a catch
#
# *Scale consistency needs notes.* Below, all twelve pitch classes are drawn alike, the opposite of a scale.

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(0)
distance = np.arange(12)[:, None] - np.arange(12)  # from each of 12 roots to each of 12 pitch classes
in_scale = np.isin(distance % 12, MAJOR_SCALE)  # (12 classes, 12 roots)
for count in (3, 6, 12, 50, 1000):
    classes = rng.integers(12, size=(500, count))  # 500 clips of so many notes
    share = in_scale[classes].mean(1).max(1)  # (500,): of the best root
    print(f"{count:5d} random notes: scale consistency {share.mean():.2f}")

# %% [markdown]
# **Finding.** Six random notes have a scale consistency of 0.86, a thousand 0.61. So a model that plays six notes in a
# clip looks tonal, and sets of very different density should not be compared by this measure.
#
# *Groove needs the right window.* Here are five machines, all perfectly steady:

# %% tags=["nbval-check-output"]
for step in (8, 9, 10, 12, 16):
    metronome = np.zeros((CLIP, 88))
    metronome[::step, 40] = 0.5  # a note of one row, every `step` rows
    print(f"a stroke every {step / 16:.2f} s: groove {describe(metronome, MIDI_CONFIG)['groove_consistency']:.3f}")

# %% [markdown]
# **Finding.** The machine that strikes every 0.50 s has groove 1.000, the one at 0.56 s only 0.775, because the windows
# of two seconds do not fit its step.
#
# ## The bench
#
# From held-out pieces, with which no model was trained, we cut seeds of 4 s, each followed by a clip of 12 s. The
# **pieces** are dealt to two halves: A stays as it is, B is what we do things to.


# %%
def cut(pieces):
    """All places of `(number, roll)` pieces, (N, 64 + CLIP, 88), and for each the number of its piece, (N,)."""
    size, places, owner = SEQUENCE_LENGTH + CLIP, [], []
    for number, roll in pieces:
        for start in range(0, len(roll) - size + 1, size):
            place = roll[start : start + size]
            if place[:SEQUENCE_LENGTH].any() and place[SEQUENCE_LENGTH:].any():  # not silent
                places.append(place)
                owner.append(number)
    return np.stack(places), np.array(owner)


# %% tags=["nbval-ignore-output"]
held_out = [rolls[split].spread(PIECES // 2) for split in ("validation", "test")]
pieces = [split[i] for split in held_out for i in range(len(split))]
order = np.random.default_rng(0).permutation(len(pieces))
(places_a, owner_a), (places_b, owner_b) = (cut([(i, pieces[i]) for i in half]) for half in (order[::2], order[1::2]))
seeds, A, B = places_b[:, :SEQUENCE_LENGTH], places_a[:, SEQUENCE_LENGTH:], places_b[:, SEQUENCE_LENGTH:]
print(f"A: {len(A)} clips of {len(np.unique(owner_a))} pieces; B: {len(B)} clips of {len(np.unique(owner_b))} pieces")

# %% [markdown]
# From notes to a roll and back must change no key, or we would be measuring our own tools:

# %%
assert all(np.array_equal(draw(notes_of(clip)) > 0, clip > 0) for clip in B)

# %% [markdown]
# ### Sabotage
#
# `shuffle_pitches` is above. Three more functions touch pitches:


# %%
def moved(clip, keys):
    """A clip so many keys higher, or lower where there is no room above."""
    return np.roll(clip, -keys if clip[:, -keys:].any() else keys, axis=1)


def turn_upside_down(clip, rng):
    return clip[:, ::-1]  # the lowest key becomes the highest: what rose falls, and the bass is on top


def half_a_key_up(clip, rng):
    notes = notes_of(clip)
    return draw(notes._replace(pitch=np.minimum(notes.pitch + (rng.random(len(notes.pitch)) < 0.5), 108)))


def add_wrong_notes(clip, rng):
    """One note in ten gets a companion on the key above it."""
    notes = notes_of(clip)
    chosen = rng.random(len(notes.pitch)) < 0.1
    extra = Notes(*(field[chosen] for field in notes))
    extra = extra._replace(pitch=np.minimum(extra.pitch + 1, 108))
    return draw(Notes(*(np.concatenate(both) for both in zip(notes, extra))))


# %% [markdown]
# Three touch time. A note moves with the second in which it begins, and keeps its length: cutting the *roll* into
# seconds would cut long notes, and a measure could notice the scissors.


# %%
def shuffle_seconds(clip, rng):
    notes, seconds = notes_of(clip), len(clip) // 16
    second = notes.start.astype(int)
    move = rng.permutation(seconds)[second] - second
    return draw(notes._replace(start=notes.start + move, end=np.minimum(notes.end + move, seconds)))


def play_backwards(clip, rng):
    return clip[::-1]


def come_in_late(clip, rng):
    """Every note begins 0, 1 or 2 rows late, each by its own dice, but keeps at least one row."""
    notes = notes_of(clip)
    late = notes.start + rng.integers(0, 3, len(notes.start)) / 16
    return draw(notes._replace(start=np.minimum(late, notes.end - 1 / 16)))


# %% [markdown]
# *Another piece after 6 s* joins halves of clips from two pieces, and *all equally loud* takes every dynamic away.
# *Three keys up* is no sabotage, because it moves everything by the same interval. A measure that notices it raises a
# false alarm.

# %%
rng = np.random.default_rng(1)
sets = {"untouched": B, "three keys up": np.stack([moved(clip, 3) for clip in B])}
SABOTAGE = {
    "pitches shuffled": shuffle_pitches,
    "half of the notes a key up": half_a_key_up,
    "wrong notes added": add_wrong_notes,
    "upside down": turn_upside_down,
    "seconds shuffled": shuffle_seconds,
    "backwards": play_backwards,
    "notes come in late": come_in_late,
}
for name, spoil in SABOTAGE.items():
    sets[name] = np.stack([spoil(clip, rng) for clip in B])
elsewhere = [rng.choice(np.flatnonzero(owner_b != number)) for number in owner_b]  # a clip of another piece
sets["another piece after 6 s"] = np.concatenate([B[:, : CLIP // 2], B[elsewhere, CLIP // 2 :]], axis=1)
sets["all equally loud"] = (B > 0) * np.float32(0.6)

# %% [markdown]
# Here are two of the nine:

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "A real clip whose seconds have changed places."}, "image": {"alt": "Player: real music in an order that makes no sense"}}
player(sets["seconds shuffled"][4], title="Seconds shuffled")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "A real clip, the keyboard upside down."}, "image": {"alt": "Player: real music whose bass has become its treble"}}
player(sets["upside down"][4], title="Upside down")

# %% [markdown]
# Beside the spoilt clips we want what models write: the Mamba, the LSTM, and the Mamba with 88 coins at temperature
# 0.5. All three continue seeds of B. In **noise**, every key in every frame is a coin by itself, as often down as it is
# in training.

# %%
judged = np.linspace(0, len(B) - 1, min(JUDGED, len(B))).round().astype(int)
for name, model, settings in (
    ("Mamba", mamba, {}),
    ("LSTM", lstm, {}),
    ("Mamba, cold coins", mamba, {"temperature": 0.5, "head": "keys"}),
):
    sets[name] = generate_music(model, seeds[judged], CLIP, random_seed=0, **settings)[:, SEQUENCE_LENGTH:]
some = rolls["train"].spread(60)
some = np.concatenate([some[i] > 0 for i in range(len(some))])  # (rows, 88)
coins = np.random.default_rng(2).random((len(judged), CLIP, 88))
sets["noise"] = (coins < some.mean(0)) * np.float32(0.6)

# %% [markdown]
# ## A measure as a listener
#
# When does a measure "notice"? We give it the test that a person would get: **two clips, one real and one spoilt; which
# is the spoilt one?** A measure can only say "always the one with the higher number", or always the lower. We ask it
# about every pair of a clip of A and a clip of the other set, and count the better of the two directions. Guessing
# scores 50 of 100.


# %%
def higher(a, b):
    """Share of the pairs of a value of a (N,) and one of b (M,) in which b is higher; a tie is half, NaN left out."""
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    return np.mean((b > a[:, None]) + 0.5 * (b == a[:, None]))


def pairs_right(a, b):
    """In how many of 100 pairs a listener is right who goes by this number."""
    return 100 * max(higher(a, b), 1 - higher(a, b))


# %% [markdown]
# If the real clips have 1 and 2 and the spoilt ones 1 and 3, two of four pairs are higher, and one is a tie:

# %%
assert higher(np.array([1.0, 2.0]), np.array([1.0, 3.0])) == (1 + 1 + 0.5 + 0) / 4

# %% [markdown]
# This number is the **area under the ROC curve**. All measures of all sets:


# %%
def all_measures(clips):
    """The eight measures of each clip, (N, 8)."""
    table = benchmark["measure"](clips)
    return np.concatenate([table[name] for name in MEASURES], axis=1)


of_a, values = all_measures(A), {name: all_measures(clips) for name, clips in sets.items()}

# %% [markdown]
# How well does chance do? We deal the real pieces to two halves again and again, so every success is luck.

# %%
every_real, owner = np.concatenate([of_a, values["untouched"]]), np.concatenate([owner_a, owner_b])


def luck_level(table, owner, rng):
    """What 95 of 100 numbers of pairs right do not exceed, between two halves of the real pieces."""
    numbers = []
    for _ in range(DRAWS // 5):
        half = np.isin(owner, rng.permutation(np.unique(owner))[::2])
        numbers += [pairs_right(a, b) for a, b in zip(table[half].T, table[~half].T)]
    return np.quantile(numbers, 0.95)


chance = luck_level(every_real, owner, np.random.default_rng(3))  # one level for all eight


# %%
def heat_map(table, columns, level):
    """Pairs right of 100, {set: (columns,)}, as a picture; what is not above the level of its column is grey."""
    fig, ax = plt.subplots(figsize=(1.05 * len(columns) + 2, 0.34 * len(table) + 1), layout="constrained")
    numbers, level = np.array(list(table.values())), np.broadcast_to(level, len(columns))
    ax.imshow(np.where(numbers > level, numbers, 50), cmap="Blues", vmin=50, vmax=130, aspect="auto")
    for (row, column), number in np.ndenumerate(numbers):
        ax.text(
            column, row, f"{number:.0f}", ha="center", va="center", color="black" if number > level[column] else GREY
        )
    ax.set_xticks(range(len(columns)), [name.replace("_", "\n") for name in columns], fontsize=8)
    ax.set_yticks(range(len(table)), table)
    ax.xaxis.tick_top()
    for line in (1.5, 3.5 + len(SABOTAGE)):
        ax.axhline(line, color=GREY, linewidth=1)
    return fig, ax


# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "In how many of 100 pairs each measure finds the spoilt or made clip; grey is luck."}, "image": {"alt": "Table of numbers with a row for each kind of clip and a column for each of eight measures; some rows are all grey"}}
right = {name: [pairs_right(a, b) for a, b in zip(of_a.T, table.T)] for name, table in values.items()}
fig, ax = heat_map(right, MEASURES, chance)
print(f"between two halves of real music, 95 of 100 such numbers are {chance:.1f} or less")

# %% [markdown]
# **Finding.** Between two halves of real music 95 of 100 numbers stay at or below 60.6. What does not exceed that is
# grey.
#
# - No measure finds *upside down* or *all equally loud*: their numbers are those of *untouched*, digit by digit.
# - *Seconds shuffled* destroys all direction, and the best measure, note length, is right in 67 of 100 pairs.
# - *Notes come in late* is found by inter-onset interval (99) and groove (98).
# - *Half of the notes a key up* is found by entropy and scale (100 each).
# - The LSTM is found by all eight, by polyphony (61) barely, and the Mamba by all but polyphony.
#
# Some alarms come **through a side door**. When pitches are shuffled, two voices now and then get one key at the same
# time, and one is lost. Polyphony is right in 96 pairs for that reason, while entropy and scale (52 each) do not know
# that the melody is gone.
#
# The models learned from pianists, so much of their distance from chorales is a difference of *style*.
#
# *Upside down* is invisible because polyphony, density, rhythm and entropy do not know high from low. For scale
# consistency the next cell has the answer. Turning makes key p the key 129 − p.

# %% tags=["nbval-check-output"]
turned = set(((129 - MAJOR_SCALE) % 12).tolist())
for root in range(12):
    if set(((MAJOR_SCALE + root) % 12).tolist()) == turned:
        print("C major upside down has the notes of the major scale on", NOTE_NAMES[root])

# %%
for name in ("three keys up", "upside down", "all equally loud"):
    assert np.allclose(values[name], values["untouched"]), name
no_order = [MEASURES.index(name) for name in ("polyphony", "note_density", "scale_consistency", "pitch_class_entropy")]
assert np.allclose(values["backwards"][:, no_order], values["untouched"][:, no_order])

# %% [markdown]
# One major scale, turned, is another, so the share is the same.
#
# ### The three clips
#
# The table says for each of the opening clips how many of 100 clips of A have a lower value. Numbers near 0 or 100 are
# unusual. *Predict:* from this table alone, which clip is which?

# %% tags=["nbval-ignore-output"]
print(f"{'':<14}", *(f"{name.replace('_', ' ')[:12]:>12}" for name in MEASURES))
for number, (_, clip) in enumerate(trio, start=1):
    ranks = [100 * higher(column, value) for column, value in zip(of_a.T, all_measures([clip]).T)]
    print(f"clip {number:<9}", *(f"{rank:12.0f}" for rank in ranks))

# %% [markdown]
# And the solution:

# %% tags=["nbval-ignore-output"]
print(*(f"clip {number} was {name}" for number, (name, _) in enumerate(trio, start=1)), sep="; ")

# %% [markdown]
# **Finding.** Clip 1, the generated one, is a pianist among chorales: polyphony and density are at 100, inter-onset
# interval, groove and qualified notes at 0. The real clip 3 lies between 21 and 73 everywhere. The shuffled clip 2 is
# at 56 and 54 in the two measures of *pitch*. Only its polyphony, at 0, is strange, and that is the side door again.
#
# ## Overlap area
#
# Yang and Lerch (2020) compare sets by **distances**: how far are real clips from each other (*within*), and made clips
# from real ones (*between*)? If the made clips were real, both would be distributed alike. Each heap of distances is
# drawn as a hill, a **kernel density** with a small bump at every value, and the overlap area is what two hills share.
# Scott's rule gives the width of a bump, the standard deviation times `n ** -0.2`.


# %%
def hill(values, grid, width):
    """Height of a sum of bumps at the points of a grid (G,); the area under it is 1."""
    bumps = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2)
    return bumps.sum(1) / (len(values) * width * np.sqrt(2 * np.pi))


def overlap_area(a, b, points=500):
    """The area that the hills of two heaps of numbers share, 0 to 1, both on one grid that holds their tails."""
    widths = [values.std(ddof=1) * len(values) ** -0.2 for values in (a, b)]
    both, tail = np.concatenate([a, b]), 4 * max(widths)
    grid = np.linspace(both.min() - tail, both.max() + tail, points)
    step = grid[1] - grid[0]
    p, q = (hill(values, grid, max(width, step)) for values, width in zip((a, b), widths))
    return np.minimum(p, q).sum() * step


# %% [markdown]
# Within the real set, each clip is compared with all *others*, because its distance to itself, 0, would add a spike.


# %%
def within(a):
    """Distances of each of (N,) numbers to all others: (N (N - 1),)."""
    return np.abs(a[:, None] - a)[~np.eye(len(a), dtype=bool)]


def between(a, b):
    """Distances of each of (N,) numbers to each of (M,): (N M,)."""
    return np.abs(a[:, None] - b).ravel()


def areas(a, b, points=200):
    """Overlap area of each measure, (8,), of a real set (N, 8) and another one (M, 8); NaN overlaps with nothing."""
    columns = [(p[~np.isnan(p)], q[~np.isnan(q)]) for p, q in zip(a.T, b.T)]
    return np.array([overlap_area(within(p), between(p, q), points) * len(q) / len(b) for p, q in columns])


# %% [markdown]
# The benchmark's `compare` must give the same:

# %%
theirs = benchmark["compare"](benchmark["measure"](A[::2]), benchmark["measure"](B[::2]))
ours = areas(of_a[::2], values["untouched"][::2], points=500)
assert np.allclose(ours, [theirs[name] for name in MEASURES])

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Distances of clips in two measures: real to real, and others to real."}, "image": {"alt": "Two pictures of four hills: the two of real music lie on each other, the Mamba's is lower and wider, the noise far to the right"}}
fig, axes = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
for ax, m, unit in zip(axes, ("note_length", "pitch_class_entropy"), ("note length (s)", "entropy (bits)")):
    column, grid = MEASURES.index(m), np.linspace(-0.5, 3, 300) * of_a[:, MEASURES.index(m)].std() * 2
    heaps = {"real, within A": (within(of_a[:, column]), ORANGE)}
    for name, colour in (("untouched", GREY), ("Mamba", BLUE), ("noise", PINK)):
        heaps[f"{name}, to A"] = between(of_a[:, column], values[name][:, column]), colour
    for name, (heap, colour) in heaps.items():
        ax.plot(grid, hill(heap, grid, heap.std(ddof=1) * len(heap) ** -0.2), color=colour, label=name)
    ax.set(xlabel=f"distance in {unit}", ylabel="density", ylim=(0, None))
_ = axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %% [markdown]
# **Finding.** The orange hill (real to real) and the grey one (other real music) lie on each other. The Mamba's is
# lower and wider, and noise lies to the right.
#
# ### Why one common grid
#
# A published trap is to take each density on a grid of its own and compare the arrays point by point. The first code of
# these measures, mgeval, computes its KL distance so. Here are two sets with nothing in common, and one set compared
# with itself:

# %% tags=["nbval-check-output"]
near, far = np.linspace(0, 1, 40), np.linspace(10, 11, 40)
width = near.std(ddof=1) * 40**-0.2
p, q = (hill(heap, np.linspace(heap.min(), heap.max(), 200), width) for heap in (near, far))
step = 1 / 199
print(f"nothing in common: two grids {np.minimum(p, q).sum() * step:.2f}, one grid {overlap_area(near, far):.2f}")
print(f"the same set: without tails {p.sum() * step:.2f}, with tails {overlap_area(near, near):.2f}")

# %% [markdown]
# **Finding.** On two grids, sets with nothing in common overlap by 0.88; on one, by 0.00. Without tails a set overlaps
# with itself by 0.88 instead of 1.00.
#
# ### What the overlap of distances forgives
#
# Real values come from a bell curve, and a "model" writes the average every time. *Predict:* is its overlap of
# distances near 0 or near 1?
#
# <details><summary>Answer</summary>
#
# Near 1. The average is about as far from real values as these are from each other.
#
# </details>

# %% tags=["nbval-check-output"]
bell, average = np.random.default_rng(0).normal(size=300), np.zeros(300)
print(f"overlap of distances:            {overlap_area(within(bell), between(bell, average)):.2f}")
print(f"overlap of the values themselves: {overlap_area(bell, average):.2f}")

# %% [markdown]
# **Finding.** By distances it gets 0.81, by the values themselves 0.04. Yang and Lerch therefore also look at the
# distances *within the made set*, which are all 0 here.
#
# ### The ceiling, the floor, and how many clips
#
# The overlap of real with *other* real music is the **ceiling**, and noise is the **floor**. We draw sets of several
# sizes:


# %%
def curve(table, sizes, rng):
    """Mean overlap area of clips drawn from A and as many drawn from (N, 8): (sizes, REPEATS)."""

    def drawn(some, n):
        return some[rng.permutation(len(some))[:n]]

    return np.array([[areas(drawn(of_a, n), drawn(table, n)).mean() for _ in range(REPEATS)] for n in sizes])


# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Overlap with real music by number of clips; the bands are the range over repeated draws."}, "image": {"alt": "Three curves with bands: real music rises towards 1, the Mamba stays near 0.4, noise below 0.2"}}
rng, curves = np.random.default_rng(4), {}
fig, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
for name, colour in (("untouched", ORANGE), ("Mamba", BLUE), ("noise", GREY)):
    sizes = [n for n in SIZES if n <= len(values[name])]
    curves[name] = curve(values[name], sizes, rng)
    ax.plot(sizes, curves[name].mean(1), "o-", color=colour, label="real (ceiling)" if name == "untouched" else name)
    ax.fill_between(sizes, curves[name].min(1), curves[name].max(1), color=colour, alpha=0.15, linewidth=0)
ax.set(xscale="log", xlabel="clips of each set", ylabel="overlap area, mean of 8", ylim=(0, 1))
ax.set_xticks(SIZES, SIZES)
ax.minorticks_off()
_ = ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %%
ceiling = curves["untouched"].mean(1)  # (sizes,)
assert ceiling[-1] > ceiling[0], "more clips, a higher ceiling"
assert ceiling[0] > curves["noise"].mean(1)[0]

# %% [markdown]
# **Finding.** Real music rises from under 0.8 with 5 clips to more than 0.9 with 40, because few clips make an uneven
# hill. An overlap from 10 clips must therefore be held against a ceiling from 10 clips. The wide bands with 5 clips
# show how far two runs of *the same* comparison can differ.
#
# With all clips, what does the overlap notice?

# %% tags=["nbval-ignore-output"]
print("set                          mean overlap  of the ceiling  lowest measure")
overlaps = {name: areas(of_a, table) for name, table in values.items()}
for name, area in overlaps.items():
    share = area.mean() / overlaps["untouched"].mean()
    print(f"{name:<28} {area.mean():12.2f} {100 * share:13.0f} %  {area.min():.2f} {MEASURES[area.argmin()]}")

# %%
assert np.isclose(overlaps["upside down"].mean(), overlaps["untouched"].mean())

# %% [markdown]
# **Finding.** *Upside down* and *all equally loud* reach 100 % of the ceiling, because the overlap is built on the
# measures and inherits their blindness. The mean hides, too: *half of the notes a key up* has the mean 0.76, and its
# lowest measure is 0.05. Print the lowest beside the mean.
#
# ## How sure? The bootstrap
#
# The **bootstrap** treats your clips as the world: draw as many of them *with replacement*, compute the mean, and
# repeat. The middle 95 % of the results are an interval. Clips of one piece share its tempo and manner, so draw
# **pieces** instead, each with all its clips.


# %%
def interval(table, groups, rng):
    """Interval of the mean of each column of (N, K), drawing groups (N,) with replacement: (2, K)."""
    rows = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    drawn = [np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))]) for _ in range(DRAWS)]
    return np.quantile([table[chosen].mean(0) for chosen in drawn], [0.025, 0.975], axis=0)


# %% [markdown]
# If every clip is its own group, the same function draws clips:

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(5)
of_clips, of_pieces = interval(every_real, np.arange(len(owner)), rng), interval(every_real, owner, rng)
wider = (of_pieces[1] - of_pieces[0]) / (of_clips[1] - of_clips[0])
print(f"{len(owner)} clips of {len(np.unique(owner))} pieces       mean     by clips          by pieces       wider")
for i, name in enumerate(MEASURES):
    by_clip, by_piece = ("{:.3f} to {:.3f}".format(*both[:, i]) for both in (of_clips, of_pieces))
    print(f"{name:<22} {every_real[:, i].mean():10.3f}  {by_clip:>16}  {by_piece:>16}  {wider[i]:6.2f}")

# %% [markdown]
# **Finding.** For density, note length, inter-onset interval and groove the interval by pieces is 1.36 to 1.44 times as
# wide, because these are properties of the *piece*. For the others it makes no difference (0.97 to 1.06). If a piece
# gives `m` clips, and the correlation between clips of one piece is `r`, then `n` clips are worth about
# `n / (1 + (m - 1) r)` independent ones.
#
# The right interval can be found where the truth is known: in a world of 20 pieces with 5 clips each and correlation
# 0.6, whose true mean is 0.

# %% tags=["nbval-ignore-output"]
rng, held, worlds = np.random.default_rng(6), {"clips": 0, "pieces": 0}, DRAWS // 2
for _ in range(worlds):
    world = np.sqrt(0.6) * rng.normal(size=(20, 1)) + np.sqrt(0.4) * rng.normal(size=(20, 5))  # (pieces, clips)
    for name, units in (("clips", world.ravel()), ("pieces", world.mean(1))):
        means = units[rng.integers(len(units), size=(300, len(units)))].mean(1)
        low, high = np.quantile(means, [0.025, 0.975])
        held[name] += int(low < 0 < high)
for name, count in held.items():
    print(f"drawing {name:<6}: the interval holds the truth in {100 * count / worlds:.0f} of 100 worlds")

# %%
assert held["pieces"] > held["clips"] + 0.05 * worlds

# %% [markdown]
# **Finding.** By clips, the "95 %" interval holds the truth in 68 of 100 worlds, by pieces in 92, because twenty pieces
# are few. An interval over clips of one **training run** also says nothing about the next run.
#
# ## The likelihood as a judge
#
# A model looks at everything that it has learned: how surprised is it by a clip? That is the NLL of notebook 03, in
# nats per frame. The judge reads each clip without a seed.


# %%
@torch.inference_mode()
def surprise(judge, clips):
    """Mean nats per row of each clip (N, T, 88), from its second row on: (N,)."""
    frames = torch.from_numpy(np.ascontiguousarray(clips) > 0).float()
    return predict(judge, frames[:, :-1], frames[:, 1:]).nll.mean(1).numpy()


def as_many(clips):
    """Of a set as large as B those that are judged; the models' sets as they are."""
    return clips[judged] if len(clips) == len(B) else clips


# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The same table with a ninth column: how surprised the Mamba is."}, "image": {"alt": "Table of numbers; in the ninth column some rows are coloured that were grey before"}}
nats = {name: surprise(mamba, as_many(clips)) for name, clips in sets.items()}
judged_a = np.linspace(0, len(A) - 1, len(judged)).round().astype(int)
nats_a = surprise(mamba, A[judged_a])
both, owners = np.concatenate([nats_a, nats["untouched"]]), np.concatenate([owner_a[judged_a], owner_b[judged]])
chance_here = luck_level(both[:, None], owners, np.random.default_rng(3))  # fewer clips: more luck
with_judge = {name: [*right[name], pairs_right(nats_a, nats[name])] for name in sets}
fig, ax = heat_map(with_judge, [*MEASURES, "NLL of\nthe Mamba"], [*[chance] * 8, chance_here])
print(f"luck of the last column: {chance_here:.0f} or less in 95 of 100 cases")

# %% [markdown]
# **Finding.** The NLL finds *seconds shuffled* in 81 of 100 pairs, *pitches shuffled* in 75, and *upside down* in 62,
# which is about where luck ends. It is worse than entropy and scale at notes a key up (73 against 100 each), and reads
# no loudness (52).
#
# An easier question is whether the *same* clip surprises more when it is spoilt:

# %% tags=["nbval-ignore-output"]
print("of 100 clips, more surprising than untouched (alike counts as half); nats per row more")
more = {name: nats[name] - nats["untouched"] for name, clips in sets.items() if len(clips) == len(B)}
for name in list(more)[1:]:
    print(
        f"{name:<28} {100 * (np.mean(more[name] > 0) + np.mean(more[name] == 0) / 2):10.0f} {more[name].mean():+24.2f}"
    )

# %%
for name in ("seconds shuffled", "notes come in late", "pitches shuffled"):
    assert np.mean(more[name] > 0) > 0.7, name

# %% [markdown]
# **Finding.** *Upside down* is now plain: 98 of 100 clips surprise more, by 0.10 nats. *Three keys up*, the false
# alarm, has 62, and so has *another piece after 6 s*, because one seam is lost in a mean over twelve seconds.
#
# ### It likes its own best
#
# Why not rank models by likelihood? Both models judge both models' music:

# %% tags=["nbval-ignore-output"]
contest = ("untouched", "Mamba", "LSTM", "Mamba, cold coins", "noise")
verdicts = {"Mamba": nats, "LSTM": {name: surprise(lstm, as_many(sets[name])) for name in contest}}
print(f"{'nats per row; judge':<20}", *(f"{name:>18}" for name in contest))
for judge, verdict in verdicts.items():
    print(f"{judge:<20}", *(f"{verdict[name].mean():18.2f}" for name in contest))

# %%
for maker, other in (("Mamba", "LSTM"), ("LSTM", "Mamba")):
    assert verdicts[maker][maker].mean() < verdicts[other][maker].mean()

# %% [markdown]
# **Finding.** Each judge prefers its own music: the Mamba gives itself 2.81 and the LSTM 3.05, the LSTM gives itself
# 2.60 and the Mamba 3.22. The choice of the judge decides the winner, so a model should not judge itself, nor a sibling
# trained on the same data.
#
# Both judges like the cold coins best (0.38 and 0.43), because what stands still surprises nobody. A low NLL of *made*
# music is no merit. It should be about as surprising as the judge's own free music at temperature 1:

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How surprised the Mamba is by each clip; dashed, the mean of its own."}, "image": {"alt": "Four rows of points: real clips, and what three models made"}}
fig, ax = plt.subplots(figsize=(9, 2.6), layout="constrained")
for row, (name, colour) in enumerate(zip(contest[:4], (ORANGE, BLUE, GREEN, PINK))):
    jitter = np.random.default_rng(row).uniform(-0.15, 0.15, len(nats[name]))
    ax.scatter(nats[name], row + jitter, s=12, color=colour, alpha=0.7)
ax.axvline(nats["Mamba"].mean(), color=BLUE, linewidth=1, linestyle="--")
ax.set_yticks(range(4), ["real", *contest[1:4]])
ax.invert_yaxis()
_ = ax.set(xlabel="surprise of the Mamba (nats per row)", xlim=(0, None))

# %%
assert nats["Mamba, cold coins"].mean() < 0.5 * nats["untouched"].mean()

# %% [markdown]
# **Finding.** The dashed line is the mean of the judge's own music. Far right is strange, far left is *dull* (Theis et
# al. 2016). Real clips lie left of the line, with a mean of 1.75, because chorales move more slowly than the pianists
# from whom this judge learned.
#
# ## Collapse by number
#
# A clip has **collapsed** if nothing changes for 8 s, silence included, or if for 4 s more keys are down in every frame
# than in 99.9 % of the frames of training. Both need the longest stretch of yes:


# %%
def longest_run(flags):
    """How many True in a row there are at most in (T,) bool."""
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def collapses(clip, most_keys):
    """Whether a clip (T, 88) stands still for 8 s, and whether it is crowded for 4 s."""
    down = clip > 0
    still = longest_run((down[1:] == down[:-1]).all(1)) + 1 >= 8 * 16
    return still, longest_run(down.sum(1) > most_keys) >= 4 * 16


# %%
most_keys = np.quantile(some.sum(1), 0.999)
fallen = {name: np.array([collapses(clip, most_keys) for clip in sets[name]]) for name in contest}  # (N, 2) each
for name in contest:
    assert np.array_equal(fallen[name], [benchmark["collapses"](clip, most_keys) for clip in sets[name]])

# %% tags=["nbval-ignore-output"]
print(f"of 100 clips             still  crowded (more than {most_keys:.0f} keys)")
for name, flags in fallen.items():
    print(f"{name:<24} {100 * flags[:, 0].mean():5.0f} {100 * flags[:, 1].mean():8.0f}")

# %% [markdown]
# **Finding.** Of 100 clips with cold coins 28 stand still. None of the Mamba's or the LSTM's do, but 5 and 12 are
# crowded, with more than 4 keys down for 4 s: a fault in a chorale, not in a pianist. Zero among 40 clips does not mean
# never.
#
# ## Copies, also with a note changed
#
# A model that recites its training set passes all of the above. Notebook 05 looked for the longest exact copy, which
# one changed note cuts in two. Here a window of 12 notes is **copied** if some training piece has it, at any height. It
# is **copied but for one note** if it is found after one note has been left out, the same one in both. To search fast,
# each window becomes one number, which two different windows practically never share.

# %%
NOTES = 12
WEIGHTS = np.random.default_rng(7).integers(1 << 62, size=(NOTES, NOTES)) * 2 + 1  # a row for every note left out


def windows(roll):
    """The pitches of every NOTES notes in a row, (W, NOTES)."""
    pitch = np.asarray(notes_of(roll).pitch, dtype=np.int64)
    return np.lib.stride_tricks.sliding_window_view(pitch, NOTES) if len(pitch) >= NOTES else np.empty((0, NOTES), int)


def exact(w):
    """A number for each window, the same at every height: (W, 1)."""
    return ((w - w[:, :1]) @ WEIGHTS[0])[:, None]


def but_for_one(w):
    """A number for each window and each note left out of it: (W, NOTES)."""
    columns = []
    for k in range(NOTES):
        rest = np.delete(w, k, axis=1)
        columns.append((rest - rest[:, :1]) @ WEIGHTS[k, 1:] + WEIGHTS[k, 0])
    return np.stack(columns, axis=1)


# %%
train = np.concatenate([windows(rolls["train"][i]) for i in range(len(rolls["train"]))])
library = {key: np.unique(key(train)) for key in (exact, but_for_one)}


def copy_rate(clips, key):
    """Percent of the windows of some clips that training has."""
    w = np.concatenate([windows(clip) for clip in clips])
    return 100 * np.isin(key(w), library[key]).any(1).mean()


# %% [markdown]
# We add three **thieves**: one plays training pieces two keys higher, the second also changes one note in twelve, the
# third one in six. The benchmark's search, which wants the same onsets over a whole second, runs alongside.

# %%
rng = np.random.default_rng(9)
stolen = [moved(rolls["train"][i][:CLIP], 2) for i in range(0, 60, 3)]


def disguise(clip, every):
    """One note of so many gets another pitch."""
    notes = notes_of(clip)
    change = (np.arange(len(notes.pitch)) % every == 5) * rng.choice([-2, -1, 1, 2], len(notes.pitch))
    return draw(notes._replace(pitch=notes.pitch + change))


suspects = {"real, held out": B, "Mamba": sets["Mamba"], "LSTM": sets["LSTM"]}
suspects["thief"] = stolen
for every in (12, 6):
    suspects[f"thief, 1 note in {every} changed"] = [disguise(clip, every) for clip in stolen]
known = np.unique(np.concatenate([benchmark["window_hashes"](rolls["train"][i]) for i in range(len(rolls["train"]))]))

# %% tags=["nbval-ignore-output"]
rates = {name: [copy_rate(clips, key) for key in library] for name, clips in suspects.items()}
print("percent of windows in training     exact  but for one note  benchmark")
for name, (same, nearly) in rates.items():
    found, looked = benchmark["count_copies"](suspects[name], known)
    print(f"{name:<30} {same:9.1f} {nearly:17.1f} {100 * found / max(looked, 1):10.1f}")

# %%
same, nearly = rates["thief, 1 note in 12 changed"]
assert rates["thief"][0] == 100 and nearly > 2 * same

# %% [markdown]
# **Finding.** The exact search finds 100.0 % of the plain theft and 0.0 % once one note in twelve is changed, because
# each window holds a changed note. The tolerant search still finds 99.1 %, but none when one note in six is changed.
# Tolerance also has a price: *held-out* music rises from 3.4 to 11.4 %, because cadences and scales belong to everyone.
# What counts is a model's rate *above that line*. The models' zeros prove little, since they were not trained on
# chorales.
#
# ## The blind test as statistics
#
# ### How many guesses?
#
# For `n` guesses between two there is a number of right ones that luck reaches in fewer than 5 of 100 tests. The
# **power** is how often a listener reaches it who is right 7 times in 10. Both are sums over the binomial distribution:


# %%
def at_least(right, n, p):
    """How likely `right` or more of n guesses are right, if each is with the probability p."""
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(right, n + 1))


def needed(n, p=0.5):
    """How many of n must be right so that luck does as well in less than 5 of 100 tests."""
    return next(right for right in range(n + 2) if at_least(right, n, p) < 0.05)


def power(n, p):
    """How often who is right with the probability p reaches the needed number."""
    return at_least(needed(n), n, p)


assert np.isclose(at_least(8, 10, 0.5), luck(8, clips=10, choices=2))

# %% tags=["nbval-check-output"]
print("guesses  right ones needed  power, if right 7 in 10")
for n in (10, 20, 40, 60):
    print(f"{n:7d} {needed(n):18d} {power(n, 0.7):24.2f}")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How likely a real difference is found, by number of guesses; dotted, 0.8."}, "image": {"alt": "Four saw-toothed curves that rise towards 1, the easier the difference the sooner"}}
fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for p, colour in ((0.9, GREEN), (0.8, PINK), (0.7, BLUE), (0.6, ORANGE)):
    ax.plot(range(4, 181), [power(n, p) for n in range(4, 181)], color=colour, label=f"right {10 * p:.0f} in 10")
ax.axhline(0.8, color=GREY, linestyle=":")
ax.set(xlabel="guesses", ylabel="power", ylim=(0, 1.02))
_ = ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %% tags=["nbval-check-output"]
for p in (0.9, 0.8, 0.7, 0.6):
    enough = max(n for n in range(1, 200) if power(n, p) < 0.8) + 1
    print(f"right {10 * p:.0f} in 10: the power is 0.8 or more from {enough:3d} guesses on")

# %% [markdown]
# **Finding.** Ten guesses have a power of 0.15, so in six cases of seven the test misses a listener who does hear the
# difference. She needs 42 guesses for the usual power of 0.8 (dotted), and at 6 in 10 it takes 169. "Listeners could
# not tell our music from Bach" is cheap to have: ask few people few questions.
#
# ### What ten guesses say
#
# The skills `p` for which our result would be no surprise are an interval, that of Clopper and Pearson:


# %% tags=["nbval-check-output"]
def plausible(right, n):
    """Lowest and highest skill p for which neither so many right guesses nor so few are rarer than 2.5 %."""
    skills = np.linspace(0, 1, 1001)
    fits = [p for p in skills if at_least(right, n, p) >= 0.025 and 1 - at_least(right + 1, n, p) >= 0.025]
    return fits[0], fits[-1]


for right_ones, n in ((5, 10), (7, 10), (28, 40), (280, 400)):
    low, high = plausible(right_ones, n)
    print(f"{right_ones:3d} of {n:3d} right: a skill between {100 * low:.0f} and {100 * high:.0f} in 100")

# %% [markdown]
# **Finding.** Five of ten right fits every skill from 19 to 81 in 100. *No difference was found* is not *there is no
# difference*.
#
# ### Several listeners
#
# Ten listeners with ten guesses each are not a hundred guesses. There are three traps.
#
# **1. Many tries.** How often does one of 20 guessers look like an expert?

# %% tags=["nbval-check-output"]
for right_ones in (8, 9, 10):
    one_of_20 = 1 - (1 - at_least(right_ones, 10, 0.5)) ** 20
    print(f"one guesser or more has {right_ones:2d} or more of 10 right: in {100 * one_of_20:2.0f} of 100 classes")

# %% [markdown]
# **Finding.** In 68 of 100 classes a guesser has 8 or more of 10 right. Decide before the test whose result counts.
#
# **2. A mean of unlike people.** Nine guessers with 45 right of 90, and one who is always right, make 55 of 100:

# %% tags=["nbval-check-output"]
print(f"luck has 55 or more of 100 right in {100 * at_least(55, 100, 0.5):.0f} of 100 tests")
print(f"luck has 10 of 10 right in {100 * at_least(10, 10, 0.5):.1f} of 100 tests, one of ten guessers in 1.0")
assert round(100 * (1 - (1 - 0.5**10) ** 10), 1) == 1.0

# %% [markdown]
# **Finding.** Luck has 55 or more of 100 right in 18 of 100 tests, so the pooled result hides the expert, although luck
# has 10 of 10 in only 0.1. Show a dot for every listener.
#
# **3. The same clips for all.** Suppose that nobody hears a difference, but some clips *sound* real to everybody,
# whoever made them. On the same ten clips all are right together and wrong together (Clark 1973). *Predict:* the pooled
# test promises 5 false alarms in 100 studies at most. Does it keep that?
#
# <details><summary>Answer</summary>
#
# No. The coin is tossed ten times, once for each clip, and not a hundred times.
#
# </details>


# %%
def studies(same_clips, rng, count=STUDIES, listeners=10, clips=10):
    """Answers (count, L, clips) of people who hear no difference, and who made the clips, (count, 1 or L, clips)."""
    shape = (count, 1 if same_clips else listeners, clips)
    made = rng.random(shape) < 0.5  # by the model
    sounds_made = rng.normal(size=shape)  # how artificial a clip seems to everyone, whoever made it
    return sounds_made + rng.normal(size=(count, listeners, clips)) > 0, made


# %% tags=["nbval-ignore-output"]
alarms = {}
for same_clips, name in ((False, "clips of their own for each"), (True, "the same ten clips for all")):
    said, made = studies(same_clips, np.random.default_rng(10))
    alarms[name] = np.mean((said == made).sum((1, 2)) >= needed(100))
    print(f'{name:<28}: a difference is "found" in {100 * alarms[name]:4.1f} of 100 studies')

# %%
assert alarms["the same ten clips for all"] > 2 * alarms["clips of their own for each"]

# %% [markdown]
# **Finding.** With clips of their own for each, luck is called a difference in 3.8 of 100 studies, with the same ten
# clips for all in 21.1. Either **give everyone other clips**: cut the lists into parts, since `random_seed` alone still
# leaves two listeners with many clips in common. Or **let chance act on clips**: keep all answers, draw anew who made
# what, and see how often that fits as well as the truth does.


# %%
def permutation_p(said, made, rng, draws=400):
    """How often a draw of who made each clip (C,) fits the answers (L, C) as well as the truth, which is one draw."""
    votes, listeners = said.sum(0), len(said)  # (C,): how many said "made"

    def right(makers):
        return np.where(makers, votes, listeners - votes).sum(-1)

    return (1 + np.sum(right(rng.random((draws, len(made))) < 0.5) >= right(made))) / (1 + draws)


# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(11)
said, made = studies(True, rng)
p_values = np.array([permutation_p(said[i], made[i, 0], rng) for i in range(STUDIES)])
print(f'with chance acting on clips: a difference is "found" in {100 * np.mean(p_values < 0.05):.1f} of 100 studies')

# %%
assert np.mean(p_values < 0.05) < 0.09 and p_values.min() > 0

# %% [markdown]
# **Finding.** With chance acting on clips it is 3.8 in 100 again. The result is about *those ten clips*.
#
# ### In a class
#
# 1. Before anybody listens, write down the question, how many listeners and clips, and whose result counts. Generate
#    enough clips, **do not choose among them**, and leave the seeds out.
# 2. Make length, player and loudness alike.
# 3. Everyone gets a number and runs the cell with it. No talking; Undo is for a slip of the finger, not for a second
#    opinion.
# 4. Collect `test.guesses`, a list of pairs (who made it, what was said).
#
# The cell of listener 1 follows. Our 40 clips of each kind are enough for four listeners. It needs a running notebook;
# a press on a button, after at least three seconds of listening, is a guess, and it counts when *Show who made them* is
# pressed. Here the test asks *chorale or pianist?*, which is easy. For *real or made?* take Bach's network, or yours of
# A4.

# %% tags=["nbval-ignore-output"]
listener, guesses = 1, 10
own = slice(guesses * (listener - 1), guesses * listener)  # which clips nobody else hears
test = blind_test({"real": list(B[judged][own]), "MusicMamba": list(sets["Mamba"][own])}, random_seed=listener)
test

# %% [markdown]
# Report who the listeners are, how many clips of how many pieces they heard, how many were right **per listener**, the
# interval, and the power. Give real called real and made called made separately, because a listener who always says
# "made" is right half of the time.
#
# ## Reading a paper
#
# | ask | because |
# |---|---|
# | Are the splits by piece, or by window? | windows of one piece in train and test: memory passes for skill |
# | How many training runs, with which spread? | the random seed alone moves results |
# | Were samples chosen? By whom? | the best of a hundred says little about the next one |
# | How many clips, from how many pieces; which ceiling and floor? | a number alone cannot be read |
# | Listeners: how many, who, the same clips for all, which power? | this notebook |
#
# ## Summary
#
# - A measure raises alarms; a good value proves little. *Upside down* passes all eight.
# - Overlap area needs one grid, a ceiling with *the same number of clips*, and a floor.
# - For an interval draw pieces, not clips.
# - The likelihood sees order, but prefers its own music, and dullness.
# - Show that a search for copies can find a thief.
# - Plan forty guesses for a listener who is right 7 in 10, with other clips for everyone.
#
# ## Quiz

# %% [markdown]
# **1.** A paper reports an overlap area of 0.82 for its model, from 20 clips, and 0.90 for "real against real", from
# 2,000 clips. Why is that unfair to the model?
#
# <details><summary>Answer</summary>
#
# The ceiling rises with the number of clips, so it must be computed with 20 clips, too.
#
# </details>
#
# **2.** Model X has an NLL of 2.1 nats per frame on *its own* music, model Y has 2.6 on its own. Does X write better
# music?
#
# <details><summary>Answer</summary>
#
# It does not follow, because duller music surprises less. Compare the NLL on *real, held-out* music.
#
# </details>
#
# **3.** Ten listeners hear the same ten clips, and together 62 of 100 guesses are right. Luck has 62 or more of 100 in
# 1 of 100 tests. Is the difference shown?
#
# <details><summary>Answer</summary>
#
# No. Their guesses are not independent, so a few clips that sound real to everybody are enough. Draw anew who made each
# clip, or give everyone other clips.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Put your code in place of the `...` and run the cell. Do not round. Solutions are in
# [A6_solutions](A6_solutions.ipynb).
#
# **1 (easy).** Eight notes: four C, two E, one G, one B. What is their pitch-class entropy, in bits?

# %%
bits = ...

check("A5.1", bits)

# %% [markdown]
# **2 (easy).** You have 200 clips, 5 of each of 40 pieces, and the correlation between clips of one piece is 0.5. How
# many independent clips are they worth, by the rule of thumb?

# %%
worth = ...

check("A5.2", worth)

# %% [markdown]
# **3 (easy).** In a class of 30 nobody hears a difference; each makes 12 guesses between two. How likely is it that at
# least one of them has 10 or more right?

# %%
likely = ...

check("A5.3", likely)

# %% [markdown]
# **4 (medium).** A measure that notices *all equally loud*: the standard deviation of the loudness of the notes, as the
# values of a roll in the frames in which notes begin (numpy's `std`, which divides by n). Compute it for `some_clip`,
# as one number. A note begins where a key is down and was not in the frame before; before the first frame there is
# silence. Then put it to `sets`.

# %%
some_clip = B[0]
spread_of_loudness = ...

check("A5.4", spread_of_loudness, some_clip)

# %% [markdown]
# **5 (medium).** In a blind test with *three* choices (real, Mamba, LSTM) luck is right once in three. A listener is
# right 6 times in 10. From how many guesses on has her test always a power of 0.8 or more? (As before, luck must
# reach the needed number in less than 5 of 100 tests.)

# %%
enough_guesses = ...

check("A5.5", enough_guesses)

# %% [markdown]
# **6 (open).** Invent a measure that notices *upside down*, or *seconds shuffled*, and put it as a ninth column into
# the table. What does a bass do that a melody does not? Does it stay silent at *three keys up*?
#
# ## Next
#
# [05_generation_and_playback](05_generation_and_playback.ipynb) has the studio, in which you make clips for a test of
# your own.
#
# ## References
#
# - Li-Chia Yang and Alexander Lerch, *On the evaluation of generative models in music*, 2020: the overlap area. Its
#   first code: [mgeval](https://github.com/RichardYang40148/mgeval).
# - Shih-Lun Wu and Yi-Hsuan Yang, *The Jazz Transformer on the Front Line*, 2020, [arXiv
#   2008.01307](https://arxiv.org/abs/2008.01307): entropy and grooving similarity.
# - Olof Mogren, *C-RNN-GAN*, 2016, [arXiv 1611.09904](https://arxiv.org/abs/1611.09904): scale consistency.
# - Hao-Wen Dong et al., *MuseGAN*, AAAI 2018, [arXiv 1709.06298](https://arxiv.org/abs/1709.06298): qualified notes.
# - Lucas Theis, Aäron van den Oord and Matthias Bethge, *A note on the evaluation of generative models*, ICLR 2016,
#   [arXiv 1511.01844](https://arxiv.org/abs/1511.01844).
# - Bradley Efron, *Bootstrap Methods*, The Annals of Statistics 7, 1979. C. J. Clopper and E. S. Pearson, *The Use of
#   Confidence or Fiducial Limits*, Biometrika 26, 1934.
# - Herbert H. Clark, *The Language-as-Fixed-Effect Fallacy*, 1973.
