# %% [markdown]
# # 02 · Piano roll: music as a table of numbers, and back
#
# A neural network reads tables, not pianists. In this notebook you
#
# - turn notes into a table with a row for each moment and a column for each key: a **piano roll**,
# - hear what the table loses, and how finely it must be ruled,
# - repair four faults of the first version: notes that come early, notes that vanish, notes that melt together, a pedal
#   that is ignored,
# - turn a table back into music, and count what comes back,
# - cut windows out of it for training, and see how easily one fools oneself there.
#
# You need some Python and numpy, and notebook 01; no music theory. It runs in less than a minute. If a player is a
# still picture, run the cells (▶▶ in the toolbar).

# %% tags=["nbval-ignore-output"]
import json
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pretty_midi

from midigen_utils.config import MIDI_CONFIG, SEQUENCE_LENGTH, STRIDE, bin_to_velocity, scaled, velocity_to_bin
from midigen_utils.data import Notes, load_corpus, midi_to_piano_roll, notes_to_roll, piano_roll_to_midi, read_notes
from midigen_utils.data import read_pedal, roll_to_notes, sustained
from midigen_utils.exercises import check
from midigen_utils.files import MIDI_DATA
from midigen_utils.show import BLUE, GREY, ORANGE, note_name, player, plot_piano_roll, plot_two_rolls

# %% [markdown]
# ## Settings
#
# As in notebook 01: Bach's chorales, or after `make data` MAESTRO.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
PIECE = 7  # which piece of the validation split is looked at closely
CLIP = 12  # seconds of it that are played when we compare
FILES = scaled(full=60, fast=20)  # at most so many files are read where one piece is not enough

corpus = load_corpus(CORPUS)
piece = corpus.split("validation")[PIECE]

# %% [markdown]
# This is where we are going. What you hear was a piece, became a table of 88 columns, 16 rows for every second, and
# was turned back into notes:

# %% tags=["nbval-ignore-output"]
player(midi_to_piano_roll(piece.path, MIDI_CONFIG), title=f"{piece.title}, from the table", composer=piece.composer)

# %% [markdown]
# Nothing of importance seems to be missing. It takes some care to get there: the first version below loses notes.
#
# ## Three notes
#
# A toy first. Each note has a start and an end in seconds, a pitch (the number of its key, 60 is middle C) and a
# velocity (how hard it was struck, 1 to 127). They are the four arrays that `read_notes` gave in notebook 01.

# %%
toy = Notes(
    start=np.array([0.0, 0.5, 0.6]),
    end=np.array([1.0, 1.0, 1.5]),
    pitch=np.array([60, 64, 67]),
    velocity=np.array([80, 70, 60]),
)

# %% [markdown]
# Here is the whole idea. Row `t` of the table stands for the time from `t / fs` up to, but not including,
# `(t + 1) / fs` seconds, where `fs` is the number of rows a second. Rows are also called *frames*. A note writes its
# velocity into the rows in which it sounds; 0 is silence. 21 is the lowest key of a piano, so it gets column 0. As
# everywhere in Python, the slice `roll[a:b]` takes row `a` and leaves out row `b`.


# %%
def draw(notes, fs):
    """Notes as a table: rows are time, columns are keys, values are velocities."""
    rows = int(notes.end.max() * fs)
    roll = np.zeros((rows, 88), dtype=int)
    for start, end, pitch, velocity in zip(*notes):
        roll[int(start * fs) : int(end * fs), pitch - 21] = velocity
    return roll


# %% [markdown]
# Four rows a second are few enough to print. We show the eight columns from C4 to G4, and a dot for 0.

# %% tags=["nbval-check-output"]
print("seconds", *(f"{note_name(pitch):>4}" for pitch in range(60, 68)))
for t, row in enumerate(draw(toy, fs=4)[:, 60 - 21 : 68 - 21]):
    print(f"{t / 4:7.2f}", *(f"{value or '.':>4}" for value in row))

# %% tags=["nbval-ignore-output"]
player(toy, title="Three notes")

# %% [markdown]
# Time runs *down* the table. Read the last column: G4 starts at 0.6 s, but its first row is the one that begins at
# 0.5 s. The table cannot say "a little later". That is its first loss; we will measure it.
#
# ## A real piece


# %% tags=["nbval-check-output"]
def excerpt(notes, seconds):
    """The notes that start in the first so many seconds; what sounds longer is cut there."""
    early = notes.start < seconds
    start, end, pitch, velocity = (column[early] for column in notes)
    return Notes(start, np.minimum(end, seconds), pitch, velocity)


notes = excerpt(read_notes(piece.path, sustain=False), 60)
first_roll = draw(notes, fs=16)
print(len(notes.start), "notes, a table of", first_roll.shape)

# %% [markdown]
# Figures show a roll on its side: time to the right, high keys at the top. The package draws values between 0 and 1,
# so we divide by the largest velocity there is.

# %% tags=["nbval-ignore-output"]
fig, ax = plot_piano_roll(first_roll[: CLIP * 16] / 127, title=f"{piece.title}, first {CLIP} s")

# %% [markdown]
# What to see: every horizontal bar is a note; the darker, the harder it was struck. The highest voice of our chorale
# begins with the same key, several times in a row, and nothing but thin gaps tells one note from the next. Keep that
# in mind: what if there were no gap?
#
# > **Time first.** Here a roll is `(T, 88)`: a row is a moment. A model reads moment after moment, and `roll[t]` is
# > what it reads. Other libraries differ! `pretty_midi.get_piano_roll` gives `(128, T)`: keys first, all 128 numbers
# > of MIDI, velocities up to 127. Mixing up the two gives no error where it matters, only bad music. So look at
# > `.shape` often.
#
# Transposed (`.T`) and cut to the piano's 88 keys, is pretty_midi's roll the same as ours?

# %% tags=["nbval-check-output"]
theirs = pretty_midi.PrettyMIDI(str(piece.path)).get_piano_roll(fs=16, pedal_threshold=None)
ours = draw(read_notes(piece.path, sustain=False), fs=16)
print("theirs:", theirs.shape, " ours:", ours.shape)
theirs = theirs[21:109].T
rows = min(len(ours), len(theirs))
different = np.count_nonzero(ours[:rows] != theirs[:rows])
print("cells that differ:", different)

# %%
assert different < 0.001 * ours.size

# %% [markdown]
# It is. Our few lines *are* the rule of a widely used library. (It adds up the velocities where two notes overlap on
# one key, which happens in some files.) So the faults that we find next are not ours alone.
#
# ## How fine a grid?
#
# Every onset moves to the beginning of its row. More rows a second, less of a shift: but also a longer table.
# What does a row cost? A model does one step of work for each, and must look back over more of them to see the
# same music. And the finer the grid, the more rows are copies of the row before: nothing to learn there. (A cell is
# one number. In the package's files it takes a byte.)


# %%
def onset_shift(notes, fs):
    """Seconds by which onsets come too early on a grid of fs rows a second, on average."""
    return np.mean(notes.start - np.floor(notes.start * fs) / fs)


def share_of_copies(roll):
    """Share of the rows that hold the same keys as the row before."""
    return np.mean(((roll[1:] > 0) == (roll[:-1] > 0)).all(axis=1))


# %% tags=["nbval-check-output"]
rates = [2, 4, 8, 16, 32, 64]
print("rows/s  shift (ms)  cells a minute  copies of the row before")
for fs in rates:
    shift, copies = 1000 * onset_shift(notes, fs), share_of_copies(draw(notes, fs))
    print(f"{fs:6d} {shift:11.1f} {60 * fs * 88:15,d} {100 * copies:12.0f} %")

# %% tags=["nbval-ignore-output"]
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
left.plot(rates, [1000 * onset_shift(notes, fs) for fs in rates], "o-", color=BLUE, label="measured")
left.plot(rates, [1000 / (2 * fs) for fs in rates], ":", color=GREY, label="half a row")
right.plot(rates, [60 * fs * 88 / 1000 for fs in rates], "o-", color=ORANGE)
left.set(xscale="log", yscale="log", xlabel="rows a second", ylabel="mean shift of onsets (ms)")
right.set(xscale="log", yscale="log", xlabel="rows a second", ylabel="thousand cells a minute")
left.legend(frameon=False)
for ax, ticks in ((left, [10, 20, 50, 100, 200]), (right, [10, 20, 50, 100, 200, 300])):
    ax.set_xticks(rates, rates)
    ax.set_yticks(ticks, ticks)
    ax.minorticks_off()

# %% [markdown]
# What to see: twice the rows, half the shift, twice the size. (Both axes are logarithmic, so doubling is always the
# same step.) On average an onset moves by half a row, the dotted line: the music knows nothing of our grid.
#
# ### To the nearest edge
#
# It moves by half a row, and always to the same side: `int` cuts off, so every onset comes early. The *nearest* edge of
# a row may lie before the onset or after it:


# %%
def edge_before(seconds, fs):
    """The last edge of a row at or before a time, which is what `int` takes."""
    return np.floor(seconds * fs).astype(int)


def nearest_edge(seconds, fs):
    """The edge of a row that is nearest to a time; halves go up."""
    return np.floor(seconds * fs + 0.5).astype(int)


# %% tags=["nbval-check-output"]
errors = {}  # milliseconds, for each note
print("16 rows/s      mean (ms)  earliest  latest  within 50 ms  within 25 ms")
for edge in (edge_before, nearest_edge):
    error = errors[edge.__name__] = 1000 * (edge(notes.start, 16) / 16 - notes.start)
    near, nearer = (100 * np.mean(np.abs(error) <= limit) for limit in (50, 25))
    print(f"{edge.__name__:<14} {error.mean():9.1f} {error.min():9.1f} {error.max():7.1f}", end=" ")
    print(f"{near:11.0f} % {nearer:11.0f} %")

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(8, 2.4), layout="constrained")
for (name, error), colour in zip(errors.items(), (ORANGE, BLUE)):
    ax.hist(error, np.linspace(-62.5, 31.25, 31), color=colour, alpha=0.6, label=name)
ax.axvline(0, color=GREY, linestyle=":")
ax.set(xlabel="onset in the table, less onset as played (ms)", ylabel="notes")
_ = ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %% [markdown]
# What to see: both heaps are equally wide, a row of 62.5 ms, for rounding makes no grid finer. What differs is where
# they lie. Cut off, every onset comes early, by 31 ms on average. Rounded, the mean is 0, and none is further off than
# half a row, 31 ms either way. `mir_eval`, the tool of the field, counts an onset as right within 50 ms: look at that
# column.
#
# Does one hear it? Alone, no: if all notes come early by the same time, nobody can tell. So let the table play beside
# the music that it was made from: the keys from middle C up as a table of 8 rows a second has them, the lower keys as
# they were played.


# %%
def two_hands(edge, fs=8):
    """The beginning of the piece: the upper keys on the edges of rows, the lower keys as they were played."""
    some = excerpt(notes, CLIP)
    start, end = (np.where(some.pitch >= 60, edge(time, fs) / fs, time) for time in (some.start, some.end))
    order = np.argsort(start, kind="stable")
    return Notes(start[order], end[order], some.pitch[order], some.velocity[order])


# %% tags=["nbval-ignore-output"]
player(two_hands(edge_before), title="Upper keys cut off")

# %% tags=["nbval-ignore-output"]
player(two_hands(nearest_edge), title="Upper keys rounded")

# %% [markdown]
# In the first the upper keys come before the lower ones, chord after chord. In the second they come sometimes before
# them, sometimes after, and half as far. From here on we round.
#
# Which grid is fine enough is for the ear to say, too. We let the package's `notes_to_roll` draw; you will have written
# it yourself in a moment. Four rulings of the same music, coarse to fine:


# %%
def ruled(fs):
    """The beginning of the piece on a grid of fs rows a second, with the settings that go with it."""
    config = {**MIDI_CONFIG, "fs": fs}
    return notes_to_roll(excerpt(notes, CLIP), config) / config["velocity_bins"], config


# %% tags=["nbval-ignore-output"]
player(*ruled(4), title="4 rows a second")

# %% tags=["nbval-ignore-output"]
player(*ruled(8), title="8 rows a second")

# %% tags=["nbval-ignore-output"]
player(*ruled(16), title="16 rows a second")

# %% tags=["nbval-ignore-output"]
player(*ruled(32), title="32 rows a second")

# %% [markdown]
# Listen for the rhythm: does it limp? Do the voices of a chord begin together, or does one come late? At 4 rows an
# onset may be off by an eighth of a second, at 32 by hardly 1/60. Here are the coarsest and the finest, for the eye.

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(2, 1, figsize=(10, 5), sharex=True, layout="constrained")
for ax, fs in zip(axes, (4, 32)):
    roll, config = ruled(fs)
    plot_piano_roll(roll[: 4 * fs], config, ax, title=f"{fs} rows a second")
_ = axes[0].set_xlabel("")

# %% [markdown]
# What to see: above, all bars begin and end at quarters of a second. The short breath between two notes has closed in
# some places, and become a hole of a quarter of a second in others. Below, notes follow each other closely; look again,
# and even the notes of one chord do not all begin in the same row.
#
# The course uses 16 rows a second: a jitter of 31 ms at most, early or late. A minute has 960 rows. It is a compromise,
# and `MIDI_CONFIG["fs"]` changes it everywhere.
#
# > **For musicians.** The grid is in seconds, not in beats: a performance breathes, and nobody marks its beats in the
# > file. At 60 quarter notes a minute a row is as long as a 64th note.
#
# ## How loud?
#
# Does one need all of the 127 velocities? We sort them into 32 **bins** of nearly equal width. The first idea is to
# scale down and cut off the rest, and it hides a trap:

# %% tags=["nbval-check-output"]
quiet = np.arange(1, 8)
print("velocity:  ", quiet)
print("bin, naive:", quiet * 32 // 127)
print("bin, ours: ", 1 + (quiet - 1) * 32 // 127)

# %% [markdown]
# In the naive line the three lowest velocities land in bin 0. But 0 means *silence*: such notes would vanish. Ours
# counts bins from 1 to 32, so that the quietest note survives. Back from a bin we take the velocity in its middle:


# %%
def to_bin(velocity, bins=32):
    """The bin, 1 to bins, of a velocity, 1 to 127."""
    return 1 + (velocity - 1) * bins // 127


def to_velocity(number, bins=32):
    """The velocity in the middle of a bin."""
    return 1 + (2 * number - 1) * 127 // (2 * bins)


# %% [markdown]
# The twin check: the package has both, and they agree for every velocity. (`assert` stops the notebook with an error
# if they do not.)

# %%
velocities = np.arange(1, 128)
assert np.array_equal(to_bin(velocities), velocity_to_bin(velocities, MIDI_CONFIG))
assert np.array_equal(to_velocity(np.arange(1, 33)), bin_to_velocity(np.arange(1, 33), MIDI_CONFIG))
assert to_bin(1) == 1 and to_bin(127) == 32

# %% tags=["nbval-check-output"]
for bins in (2, 4, 32):
    error = np.abs(to_velocity(to_bin(velocities, bins), bins) - velocities)
    print(f"{bins:3d} bins: a velocity changes by {error.max():2d} at most")

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
for bins, colour in ((2, GREY), (4, ORANGE), (32, BLUE)):
    ax.step(velocities, to_velocity(to_bin(velocities, bins), bins), color=colour, label=f"{bins} bins", where="mid")
ax.set(xlabel="velocity played", ylabel="velocity that comes back")
_ = ax.legend(frameon=False)

# %% [markdown]
# What to see: with 32 bins the stairs are so small that they hug the diagonal; with 2 there is loud and soft and
# nothing between. Compare this with the player of 16 rows a second above, which has 32 bins:

# %% tags=["nbval-ignore-output"]
two_bins = {**MIDI_CONFIG, "velocity_bins": 2}
player(notes_to_roll(excerpt(notes, CLIP), two_bins) / 2, two_bins, title="2 bins")

# %% [markdown]
# ## The pedal
#
# Chorales are sung, they have no pedal, so here is something for the piano: the harmonies of the first four bars of a
# famous prelude. (A bar is a short stretch of music, here two seconds; Bach plays each of these twice.) In each, five
# keys are struck one after the other, and the last three of them once more.

# %%
BARS = [(60, 64, 67, 72, 76), (60, 62, 69, 74, 77), (59, 62, 67, 74, 77), (60, 64, 67, 72, 76)]
pattern = [0, 1, 2, 3, 4, 2, 3, 4]  # which of the five keys, one every quarter of a second
start = np.arange(32) * 0.25
prelude = Notes(
    start=start,
    end=start + 0.15,  # each key is let go before the next one goes down
    pitch=np.array([bar[i] for bar in BARS for i in pattern]),
    velocity=np.full(32, 70),
)
bar_lines = np.arange(0, 9, 2.0)
pedal = np.stack([bar_lines[:-1] + 0.1, bar_lines[1:] - 0.05], axis=1)  # down, up: once a bar

# %% tags=["nbval-ignore-output"]
player(draw(prelude, 16) / 127, title="Prelude in C, without pedal", composer="after J. S. Bach, BWV 846")

# %% [markdown]
# The rule of the pedal is short: a key that is let go while the pedal is down sounds on until the pedal comes up.


# %%
def with_pedal(end, pedal):
    """When a note that is let go at `end` falls silent."""
    for down, up in pedal:
        if down <= end < up:
            return up
    return end


# %% [markdown]
# The package's `sustained` does it for all notes at once. The twin check uses our four bars and random times:

# %%
for ends in (prelude.end, np.random.default_rng(0).uniform(0, 9, 1000)):
    assert np.array_equal([with_pedal(end, pedal) for end in ends], sustained(ends, pedal))

# %% [markdown]
# `read_notes` does this by itself unless you say `sustain=False`. From now on a note ends when it falls silent.

# %%
notes = excerpt(read_notes(piece.path), 60)
print("our piece: pedal pressed", len(read_pedal(piece.path)), "times")

# %% [markdown]
# Let us draw the prelude with the pedal and listen.

# %% tags=["nbval-ignore-output"]
heard = prelude._replace(end=sustained(prelude.end, pedal))
melted = draw(heard, 16)
player(melted / 127, title="Prelude in C, with pedal, first try", composer="after J. S. Bach, BWV 846")

# %% [markdown]
# Something is wrong! The sound is fuller, as it should be, but in each bar the last three notes are gone.
#
# ## A key struck again
#
# How many notes does a table hold? A note is a run of rows in which a key sounds, so count where a key sounds that
# did not sound in the row before.


# %%
def count_notes(roll):
    """Runs of sounding rows, over all keys."""
    sounding = np.pad(roll > 0, ((1, 0), (0, 0)))  # a silent row in front
    return np.count_nonzero(sounding[1:] & ~sounding[:-1])


# %% tags=["nbval-check-output"]
print("prelude: played", len(prelude.start))
print("in the table: without pedal", count_notes(draw(prelude, 16)), "with pedal", count_notes(melted))

# %% [markdown]
# Twelve notes are lost: the three keys that are struck again in each of four bars. They still sound when they are
# struck, so their cells are full already, and filling them once more leaves no trace. Two notes have melted into one.
#
# That needs no pedal. In a chorale a voice often repeats a note, and the old one ends close to where the new one
# begins: a gap shorter than a row can close.
#
# **The cure.** Leave a trace. Where a key is struck again, stop the old note one row early. That silent row says:
# here something new begins. It costs a sixteenth of a second of the old note, which is about to be struck again
# anyway. (A note of one row has none to spare: if the next follows at once, those two melt.) The package's
# `notes_to_roll` does it:

# %% tags=["nbval-ignore-output"]
cured = notes_to_roll(heard, MIDI_CONFIG)
fig, ax = plot_two_rolls(melted / 127, cured / 32, titles=("melted", "cured"))

# %% [markdown]
# What to see: above, every key is one long line in each bar of the music; below, the three highest are parted by a
# thin gap, where the key is struck again.

# %% tags=["nbval-ignore-output"]
player(cured / 32, title="Prelude in C, with pedal", composer="after J. S. Bach, BWV 846")

# %% tags=["nbval-check-output"]
print("prelude: played", len(prelude.start), "in the table", count_notes(cured))

# %% [markdown]
# All are there. And our piece?

# %% tags=["nbval-check-output"]
print("rows/s  played  first version  rounded  cured")
for fs in (4, 8, 16):
    start, end = (nearest_edge(time, fs) / fs for time in (notes.start, notes.end))
    rounded = draw(notes._replace(start=start, end=end), fs)
    repaired = notes_to_roll(notes, {**MIDI_CONFIG, "fs": fs})
    found = [count_notes(some) for some in (draw(notes, fs), rounded, repaired)]
    print(f"{fs:6d} {len(notes.start):7d} {found[0]:14d} {found[1]:8d} {found[2]:6d}")

# %% [markdown]
# A gap between two notes shows only where an edge of a row falls into it (or, if we round, the middle of a row). On a
# coarse grid that is luck, and many melt. At 16 rows few do here: a row lasts 62.5 ms, and most of these gaps 60,
# because a rule made them. At 4 rows even the cured table has too few cells: a key is struck again so soon that there
# is no row to spare.
#
# ## A note shorter than a row
#
# One fault is left. A scale, played very short: each key is down for 40 ms. This time we ask pretty_midi itself.

# %%
start = 0.5 + np.arange(15) * 0.22
steps = [0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17, 19, 21, 23, 24]  # two octaves of C major, in semitones
scale = Notes(start, start + 0.04, 60 + np.array(steps), np.full(15, 80))

midi = pretty_midi.PrettyMIDI()
midi.instruments.append(pretty_midi.Instrument(program=0))
for start, end, pitch, velocity in zip(*scale):
    midi.instruments[0].notes.append(pretty_midi.Note(int(velocity), int(pitch), start, end))
holes = midi.get_piano_roll(fs=16)[21:109].T

# %% tags=["nbval-check-output"]
whole = notes_to_roll(scale, MIDI_CONFIG)
print("played", len(scale.start), "pretty_midi", count_notes(holes), "package", count_notes(whole))

# %% tags=["nbval-ignore-output"]
fig, ax = plot_two_rolls(holes / 127, whole / 32, titles=("pretty_midi", "at least one row"))

# %% tags=["nbval-ignore-output"]
player(holes / 127, title="A scale with holes")

# %% tags=["nbval-ignore-output"]
player(whole / 32, title="The whole scale")

# %% [markdown]
# What to see and hear: above, steps of the staircase are missing. Why? `int(start * fs)` and `int(end * fs)` are the
# same number when a note begins and ends within one row, and `roll[5:5]` is empty.
#
# **The cure**: every note gets at least one row. How often is it needed?

# %% tags=["nbval-check-output"]
held = excerpt(read_notes(piece.path, sustain=False), 60)
for fs in (2, 4, 8, 16):
    gone = np.floor(held.start * fs) == np.floor(held.end * fs)
    print(f"our piece, {fs:2d} rows a second: {gone.sum():3d} of {len(gone)} notes have no row")

# %% [markdown]
# At 16 rows a second a chorale is safe: singers need time. Pianists do not. The counts from MAESTRO that come with
# the course tell how long real pianists hold keys. A note of length `d`, shorter than a row, falls inside one row
# with probability `1 - d * fs`:

# %%
counts = json.loads((MIDI_DATA / "maestro_statistics.json").read_text(encoding="utf-8"))["histograms"]
edges, number = (np.array(counts["duration"][name]) for name in ("edges", "counts"))
length = (edges[:-1] + edges[1:]) / 2
lost = np.sum(number * np.maximum(0, 1 - length * 16)) / number.sum()
assert 0.05 < lost < 0.15
print(f"MAESTRO: about {100 * lost:.0f} in 100 notes would have no row")

# %% [markdown]
# ## All rules in one function
#
# Now we can write the real one. Two details on the way:
#
# - *Where does a note end?* At the edge nearest to its end, as it begins at the one nearest to its start: then lengths
#   are right on average, too. Round one of the two and cut off the other, and every note is half a row too long or too
#   short, and of two notes that follow each other the old one often overlaps the new one by a row.
# - *Why not numpy's `rint`, which rounds?* It takes halves to the even number: 0.5 to 0, but 1.5 to 2. Steady notes
#   that fall between two edges would limp. `floor` of half a row more takes all halves up.


# %%
def draw_notes(notes, fs=16, bins=32):
    """Notes as a table `(T, 88)` of velocity bins; every note gets a row, and a key struck again leaves a trace."""
    on = nearest_edge(notes.start, fs)  # first row
    off = np.maximum(nearest_edge(notes.end, fs), on + 1)  # the row after the last: at least one row
    roll = np.zeros((off.max(), 88), dtype=np.uint8)
    sounding = {}  # key: the number of the note that was struck last on it
    for i in range(len(on)):  # in order of time
        key = notes.pitch[i] - 21
        old = sounding.get(key)
        if old is not None and off[old] >= on[i]:  # struck again while it sounds, or right after
            end = on[i] - 1 if on[i] - on[old] >= 2 else on[i]
            roll[end : off[old], key] = 0
        roll[on[i] : off[i], key] = to_bin(notes.velocity[i], bins)
        sounding[key] = i
    return roll


# %% [markdown]
# The twin check, on the prelude, the scale and real files:

# %%
files = [p.path for p in corpus.split("validation")[:FILES]]
played = [excerpt(read_notes(path), 60) for path in files]
for some in (toy, heard, scale, *played):
    assert np.array_equal(draw_notes(some), notes_to_roll(some, MIDI_CONFIG))
print("the same tables for", len(played), "files")

# %% [markdown]
# `midi_to_piano_roll` reads the file, draws, and divides by 32, so that values lie between 0 and 1. (Its table may be
# some rows longer, when a file goes on after its last note.)

# %% tags=["nbval-check-output"]
roll = midi_to_piano_roll(piece.path, MIDI_CONFIG)
mine = draw_notes(notes) / 32
print(roll.shape, roll.dtype, "largest value", roll.max())
assert np.array_equal(roll[: len(mine)], mine) and not roll[len(mine) :].any()

# %% [markdown]
# ## From the table to notes
#
# The way back is a search for edges. Put a silent row before and after, subtract each row from the next: +1 is an
# onset, -1 an end.


# %%
def find_notes(roll):
    """First row, row after the last, and column of each note."""
    sounding = np.pad(roll > 0, ((1, 1), (0, 0))).astype(int)
    change = np.diff(sounding, axis=0).T  # (88, T + 1): keys first, so that nonzero goes key by key
    key, on = np.nonzero(change == 1)
    key, off = np.nonzero(change == -1)  # as many as onsets, in the same order
    return on, off, key


# %% tags=["nbval-check-output"]
on, off, key = find_notes(draw(toy, fs=4))
for i in range(len(on)):
    print(f"{note_name(key[i] + 21)} from {on[i] / 4} to {off[i] / 4} s")

# %% [markdown]
# Our three notes, G4 moved to 0.5 s. The twin in the package is `roll_to_notes`:

# %%
back = roll_to_notes(roll, MIDI_CONFIG, velocity_threshold=0)
on, off, key = find_notes(roll)
order = np.lexsort((key, on))  # by onset, then key
assert np.array_equal(back.start, on[order] / 16) and np.array_equal(back.end, off[order] / 16)
assert np.array_equal(back.pitch, key[order] + 21)

# %% [markdown]
# > **A trap: the threshold.** `roll_to_notes` and `piano_roll_to_midi` have a `velocity_threshold` of 0.3 unless you
# > say otherwise: only cells *above* it sound. That is right for a table of **probabilities**, where 0.1 means
# > "probably not". In a table of **velocities** 0.1 means "softly", and the default drops the soft notes. On real and
# > on generated rolls pass 0, as all calls of this course do.
#
# Ten notes, each louder than the one before, show it:

# %% tags=["nbval-check-output"]
start = np.arange(10) / 2
crescendo = Notes(start, start + 0.4, np.full(10, 60), np.arange(1, 121, 12))
table = notes_to_roll(crescendo, MIDI_CONFIG) / 32
print("velocities      ", crescendo.velocity)
for threshold in (0, 0.3):
    print(f"threshold {threshold:<6}", roll_to_notes(table, MIDI_CONFIG, threshold).velocity)

# %% [markdown]
# With 0 all ten come back, each within its bin, even the quietest that MIDI knows. With 0.3 the first three are gone.
# And in real playing?

# %%
numbers = np.array(counts["velocity"]["counts"])  # how often each velocity 1..127
share = numbers[velocity_to_bin(velocities, MIDI_CONFIG) / 32 <= 0.3].sum() / numbers.sum()
print(f"MAESTRO: {100 * share:.1f} in 100 notes lie at 0.3 or below")

# %% [markdown]
# ## The round trip, measured
#
# MIDI to table to MIDI, through a real file, and then count. A note has *come back* if one with its key starts at most
# 50 ms from it, or, more strictly, 25 ms. `F1` is 1 when every note comes back and none is invented:
#
# $$F_1 = \frac{2 \cdot \text{came back}}{\text{played} + \text{found}}$$


# %%
def came_back(played, found, tolerance):
    """How many notes played have a note found on their key at most `tolerance` seconds away; each counts once."""
    matched = 0
    for pitch in np.unique(played.pitch):
        a, b = (np.sort(some.start[some.pitch == pitch]) for some in (played, found))
        i = j = 0
        while i < len(a) and j < len(b):
            if abs(a[i] - b[j]) <= tolerance:
                matched, i, j = matched + 1, i + 1, j + 1
            elif a[i] < b[j]:
                i += 1
            else:
                j += 1
    return matched


def round_trip(roll):
    """The notes of a roll after it was written as a MIDI file and read again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "back.mid"
        piano_roll_to_midi(roll, MIDI_CONFIG, path, velocity_threshold=0)
        return read_notes(path)


def to_unit(roll):
    """A roll of velocities up to 127 as a roll of values up to 1."""
    return np.minimum(roll, 127) / 127


# %%
table = {"package": [], "pretty_midi": []}
for path, truth in zip(files, played):
    theirs = pretty_midi.PrettyMIDI(str(path)).get_piano_roll(fs=16)[21:109].T[: 60 * 16]
    rolls = {"package": midi_to_piano_roll(path, MIDI_CONFIG), "pretty_midi": to_unit(theirs)}
    for name, some in rolls.items():
        found = round_trip(some)
        within = [came_back(truth, found, tolerance) for tolerance in (0.05, 0.025)]
        table[name].append((len(truth.start), len(found.start), *within))

# %%
print("             played   found  within 50 ms      F1  within 25 ms      F1")
for name, rows in table.items():
    total, found, near, nearer = np.sum(rows, axis=0)
    at_50, at_25 = 2 * near / (total + found), 2 * nearer / (total + found)
    print(f"{name:<11} {total:7d} {found:7d} {near:13d} {at_50:7.4f} {nearer:13d} {at_25:7.4f}")
    if name == "package":
        assert at_50 > 0.99 and found == near, "none is invented"

# %% [markdown]
# In Bach, pretty_midi's table loses few notes, but cuts off their onsets, and that is what the columns show. With the
# pedals of real performances it melts notes as well: on the 46 validation files of MAESTRO, measured with `mir_eval`,
# the package reaches 0.998 at 50 ms and 0.815 at 25 ms, `get_piano_roll` 0.722 and 0.338 (`docs/results.md`, where
# other libraries are listed, too). What is still lost are keys struck twice in one row, or in two rows running. No
# table of this kind could keep them.
#
# What about the ends? A key struck again lost a row to the gap; `piano_roll_to_midi` gives a quarter of it back.
#
# ## Windows
#
# Pieces differ in length; a network learns from batches, and a batch is a block. So we cut **windows** of 64 rows,
# four seconds, and begin a new one every 16 rows. The question to the model is always the same: *you have seen the
# rows up to here; which keys sound in the next?* So the target is the window itself, one row later. A window of 65
# rows gives both:

# %% tags=["nbval-check-output"]
down = roll > 0  # from here on: which keys sound, yes or no
window = down[: SEQUENCE_LENGTH + 1]
x, y = window[:-1], window[1:]
print("input", x.shape, "target", y.shape)
assert np.array_equal(x[1:], y[:-1])

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(3, 1, figsize=(10, 6), sharex=True, layout="constrained")
shown = {"input x: rows 0 to 63": x, "target y: rows 1 to 64": y, "cells in which they differ": x != y}
keys = np.flatnonzero(window.any(axis=0)) + 21
for ax, (title, values) in zip(axes, shown.items()):
    plot_piano_roll(values, ax=ax, title=title, pitch_range=(keys[0] - 2, keys[-1] + 2))
    ax.set_xlabel("time in the window (s)" if ax is axes[-1] else "")

# %% [markdown]
# What to see: the target is the input, moved to the left by one row. They differ only where a key goes down or comes
# up. A model that answers "as before" is right nearly everywhere, and has learned nothing: notebook 03 begins with
# that opponent.
#
# The loudness is gone from this picture: the models read and predict *whether* a key sounds; how hard it is struck is
# predicted beside it. And what about the shift? Forget it, and the model is asked for a row that it can see: it learns
# to copy, and its score is perfect. The assert above is worth its line.
#
# How many windows does a piece of `L` rows give? The last one must still have its 65 rows.

# %% tags=["nbval-check-output"]
L = len(down)
first_rows = list(range(0, L - SEQUENCE_LENGTH, STRIDE))
print(L, "rows:", len(first_rows), "windows, the last begins at row", first_rows[-1])
assert len(first_rows) == (L - SEQUENCE_LENGTH - 1) // STRIDE + 1
assert first_rows[-1] + SEQUENCE_LENGTH + 1 <= L

# %% [markdown]
# ## Split by piece, or fool yourself
#
# To see whether a model has *learned* and not only memorised, we keep some music away from it. It is tempting to cut
# all windows first and put every tenth aside. Look at what that does to one piece:

# %% tags=["nbval-ignore-output"]
lot = np.random.default_rng(0)
fig, ax = plt.subplots(figsize=(10, 3), layout="constrained")
for i, row in enumerate(first_rows):
    colour, label = (ORANGE, "kept away") if lot.random() < 0.1 else (BLUE, "for training")
    ax.barh(i, SEQUENCE_LENGTH / 16, left=row / 16, color=colour, label=label)
ax.set(xlabel="time in the piece (s)", ylabel="window")
by_name = dict(zip(*reversed(ax.get_legend_handles_labels())))
_ = ax.legend(by_name.values(), by_name.keys(), frameon=False, loc="lower right")

# %% [markdown]
# What to see: windows overlap. Beside every orange window are blue ones that hold the same seconds. Nothing was kept
# away.
#
# How much can one gain by that? We build a **parrot**: it remembers every second of its training music, and which
# row came next. Asked for the next row, it looks up the second that it was given. It knows nothing about music. Its
# memory is a dictionary; we turn rows into bytes, because arrays cannot be looked up in one.


# %%
def seconds_and_next(windows):
    """From each window: a second (16 rows) as bytes, and the row after it."""
    for window in windows:
        rows = [row.tobytes() for row in np.packbits(window, axis=1)]
        for t in range(16, len(rows)):
            yield b"".join(rows[t - 16 : t]), rows[t]


def parrot_score(training, validation):
    """Share of the rows of validation that the parrot of training gets right."""
    memory = dict(seconds_and_next(training))
    return np.mean([memory.get(second) == row for second, row in seconds_and_next(validation)])


# %% [markdown]
# Both ways of splitting, on the same files, with a tenth kept away each time:


# %%
def cut(down):
    """All windows of a piece, 65 rows each."""
    return [down[row : row + SEQUENCE_LENGTH + 1] for row in range(0, len(down) - SEQUENCE_LENGTH, STRIDE)]


paths = [p.path for p in corpus.split("train")[:FILES]]
by_piece = [cut(midi_to_piano_roll(path, MIDI_CONFIG) > 0) for path in paths]
tenth = len(by_piece) // 10
honest = sum(by_piece[tenth:], []), sum(by_piece[:tenth], [])  # lists of windows, put end to end

windows = sum(by_piece, [])
order = np.random.default_rng(0).permutation(len(windows))
tenth = len(windows) // 10
leaky = [windows[i] for i in order[tenth:]], [windows[i] for i in order[:tenth]]

# %% tags=["nbval-ignore-output"]
scores = {"windows drawn by lot": parrot_score(*leaky), "whole pieces kept away": parrot_score(*honest)}
fig, ax = plt.subplots(figsize=(8, 1.8), layout="constrained")
bars = ax.barh(list(scores), [100 * score for score in scores.values()], color=[ORANGE, BLUE])
ax.bar_label(bars, fmt="%.0f %%", padding=3)
ax.set(xlabel="rows that the parrot gets right (%)", xlim=(0, 110))
ax.invert_yaxis()

# %%
assert scores["windows drawn by lot"] > 3 * scores["whole pieces kept away"]

# %% [markdown]
# What to see: split by windows, a parrot passes for a genius. Split by pieces, it is found out. Networks can remember,
# too, and a score from windows drawn by lot cannot tell remembering from learning. So the corpus is split by piece,
# before anything is cut (in Bach by hymn tune, in MAESTRO by composition: see notebook 01).
#
# ## Transposition
#
# Move every note up by the same number of keys and a melody stays the same melody, as when you sing it higher. In the
# table that is a shift of columns. It makes many pieces of one, if it is done with care at the edges.


# %%
def transpose(roll, semitones):
    """The roll moved up, or down below 0. What leaves the keyboard is left out."""
    moved = np.zeros_like(roll)
    if semitones >= 0:
        moved[:, semitones:] = roll[:, : 88 - semitones]
    else:
        moved[:, :semitones] = roll[:, -semitones:]
    return moved


# %% tags=["nbval-ignore-output"]
higher = transpose(roll, 5)[: CLIP * 16]
player(higher, title=f"{piece.title}, five keys higher", composer=piece.composer)

# %% [markdown]
# The columns have ends. Take a chord with the lowest key of the piano, and move it down by three:

# %% tags=["nbval-check-output"]
chord = np.zeros((1, 88))
chord[0, [0, 39, 43]] = 1
for name, moved in (("np.roll", np.roll(chord, -3, axis=1)), ("transpose", transpose(chord, -3))):
    print(f"{name:<10}", [note_name(key + 21) for key in np.flatnonzero(moved[0])])

# %% [markdown]
# `np.roll` brings what falls off at one end in at the other: the deepest bass note becomes a squeak (A♯7). Ours
# leaves it out. How many notes does that cost? Pianists seldom play at the edges:

# %%
number = np.array(counts["pitch"]["counts"])  # of MAESTRO, keys 21 to 108
print(f"MAESTRO, 6 keys down: {100 * number[:6].sum() / number.sum():.2f} in 100 notes fall off the keyboard")
print(f"MAESTRO, 6 keys up:   {100 * number[-6:].sum() / number.sum():.2f} in 100 notes fall off the keyboard")

# %% [markdown]
# ## The package's windows
#
# `SequenceDataset` does all of this for training: it cuts windows within each piece, never across two, keeps rows as
# bytes, and moves each window by its own number of semitones. It is the first thing in this notebook that needs
# torch; notebook 03 introduces it, and here it does no more than hold arrays. The last twin check, on two pieces:

# %%
import torch

from midigen_utils.learn import SequenceDataset

pair = [midi_to_piano_roll(path, MIDI_CONFIG) for path in paths[:2]]
dataset = SequenceDataset(pair)
by_hand = [window for some in pair for window in cut(some > 0)]
assert len(dataset) == len(by_hand)
for (x, y), window in zip(dataset, by_hand):
    assert np.array_equal(x, window[:-1]) and np.array_equal(y, window[1:])

# %%
moved = dataset.windows(dataset.starts, semitones=torch.full((len(dataset),), -3))
print("windows, rows, keys:", tuple(moved.shape))
assert all(np.array_equal(a, transpose(b, -3)) for a, b in zip(moved, by_hand))

# %% [markdown]
# ## Summary
#
# - A piano roll is a table `(T, 88)`, time first; row `t` covers `[t / fs, (t + 1) / fs)` seconds; 0 is silence.
# - Twice the rows a second: half the shift, twice the size. At 16 an onset jitters by up to 31 ms.
# - Onsets and ends go to the nearest edge of a row. Cut off, every note would come half a row early.
# - 32 velocity bins, counted from 1: the quietest note survives. With `velocity_threshold=0` it survives the way back.
# - Every note gets at least one row, and a key struck again is parted from its old note by a silent row. Without that
#   a table of real playing loses notes, as that of a widely used library does.
# - The target of a row is the next row. Split by piece before you cut windows; a parrot shows why.
# - Transposition shifts columns; notes that leave the keyboard are left out.

# %% [markdown]
# ## Quiz
#
# Answer first, then open.
#
# **1.** The first version loses notes in two ways: very short ones vanish, and keys struck again under the pedal melt
# into one. Which of the two goes away if the table gets many more rows a second?
#
# <details><summary>Answer</summary>
#
# The first. A short note vanishes when it begins and ends in one row; once a row is shorter than the note, that
# cannot happen. Under the pedal the old note still sounds when its key is struck again. There is no gap between the
# two, so no grid is fine enough to show one.
#
# </details>
#
# **2.** At 16 rows a second, a key sounds from 0 s to 0.25 s and is struck again at 0.25 s, until 0.5 s. Which rows
# does the package's `notes_to_roll` fill?
#
# <details><summary>Answer</summary>
#
# Rows 0, 1, 2 and rows 4 to 7. The old note would end with row 3, and the new one begins with row 4, so they would be
# one run. The package clears row 3, and the silent row says that something new begins.
#
# </details>
#
# **3.** On real rolls the course passes `velocity_threshold=0`. What happens if you pass 0 for a table of
# *probabilities*?
#
# <details><summary>Answer</summary>
#
# A cell sounds when its value is above the threshold. A probability is hardly ever exactly 0, so nearly all keys
# would sound, all the time. A threshold of 0 fits velocities, where 0 means silence; the default of 0.3 fits
# probabilities, where 0.1 means "probably not".
#
# </details>
#
# **4.** Windows have 64 rows of input. How many of them does a piece of 64 rows give, and how many a piece of 65?
#
# <details><summary>Answer</summary>
#
# None, and one. The target is the window one row later, so the last row of input needs one more row after it. Each
# window takes 65 rows from the piece.
#
# </details>
#
# **5.** A friend cuts all windows first and keeps every tenth one, drawn by lot, for validation. The validation score
# is as good as the training score. "So my model does not memorise", your friend says. Is that right?
#
# <details><summary>Answer</summary>
#
# No. The windows overlap, so nearly every second that was kept away stands in a training window, too. A model that
# has learned all by heart would do well on both, as the parrot shows. Only whole pieces kept away can tell.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Put your code in place of the `...` and run the cell: it says "right" when it is. Solutions are in the notebook
# [A6_solutions](A6_solutions.ipynb).
#
# **1 (easy).** What share of the rows of `roll` is silent?

# %%
silent = ...

check("02.1", silent, roll)

# %% [markdown]
# **2 (easy).** With 8 bins, by how much can a velocity change at most on the way there and back?

# %%
largest_change = ...

check("02.2", largest_change)

# %% [markdown]
# **3 (easy).** How many windows of 128 rows, one every 32 rows, does `roll` give? Each needs one row more for its
# target.

# %%
number_of_windows = ...

check("02.3", number_of_windows, roll)

# %% [markdown]
# **4 (medium).** How many notes start in each row of `roll`? The answer has the shape `(T,)`, and its sum is the
# number of notes.

# %%
onsets = ...

check("02.4", onsets, roll)

# %% [markdown]
# **5 (medium).** Beginners like white keys. Which transposition of our piece, from 6 keys down (-6) to 5 keys up, puts
# the most of its notes on white keys? (Black keys: the remainders 1, 3, 6, 8 and 10 when divided by 12.)

# %%
semitones = ...

check("02.5", semitones, notes)

# %% [markdown]
# **6 (open).** The silent row is one way to tell a new note from an old one. Another is a second table that holds 1
# in the first row of every note and 0 elsewhere. Write both directions. How many more notes come back at 8 rows a
# second, and what would a model have to predict now?
#
# ## Next
#
# `03_lstm_baseline`: the next row as 88 yes/no questions, opponents that know nothing, and a first network.
#
# ## References
#
# - Colin Raffel and Daniel Ellis, *Intuitive Analysis, Creation and Manipulation of MIDI Data with pretty_midi*,
#   ISMIR 2014 (late-breaking demo).
# - Colin Raffel et al., *mir_eval: A Transparent Implementation of Common MIR Metrics*, ISMIR 2014.
# - Nicolas Boulanger-Lewandowski, Yoshua Bengio and Pascal Vincent, *Modeling Temporal Dependencies in
#   High-Dimensional Sequences*, ICML 2012, [arXiv 1206.6392](https://arxiv.org/abs/1206.6392): models of piano rolls.
# - Curtis Hawthorne et al., *Onsets and Frames: Dual-Objective Piano Transcription*, ISMIR 2018,
#   [arXiv 1710.11153](https://arxiv.org/abs/1710.11153): onsets in a table of their own.
# - Sayash Kapoor and Arvind Narayanan, *Leakage and the reproducibility crisis in machine-learning-based science*,
#   Patterns 4 (9), 2023.
# - Meinard Müller, *Fundamentals of Music Processing*, Springer 2015, chapter 1; notebooks at
#   [audiolabs-erlangen.de/FMP](https://www.audiolabs-erlangen.de/FMP).
