# %% [markdown]
# # 02 · Piano roll: music as a table of numbers, and back
#
# Press play below. What you hear was a piece, became a table with 88 columns, one for each key, and 16 rows for
# every second, and was turned back into notes. What is missing is hard to hear, and we will measure it. In this
# notebook you
#
# - turn notes into such a table, a **piano roll**, and the table back into notes,
# - hear and measure what the table loses, in thousandths of a second,
# - cut windows out of it, which is what a network learns from,
# - see a program that knows nothing get 90 % right, and find out how,
# - move pieces to other keys, train the composer of notebook 00 again with them, and decide whether that pays.
#
# You need some Python and numpy, and notebook 01; no theory of music. It runs in about three minutes, and most of that
# is training. If a player is a still picture, run the cells (▶▶ in the toolbar).

# %% tags=["nbval-ignore-output"]
import os

import matplotlib.pyplot as plt
import numpy as np
import torch

from midigen_utils.config import MIDI_CONFIG, SEQUENCE_LENGTH, STRIDE, bin_to_velocity, scaled, seed_everything
from midigen_utils.config import velocity_to_bin
from midigen_utils.data import Notes, load_corpus, load_piano_rolls, midi_to_piano_roll, notes_to_roll
from midigen_utils.data import piano_roll_to_midi, read_notes, roll_to_notes
from midigen_utils.exercises import check, finding
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn import SequenceDataset, composer_table, evaluate, load_model, print_composers, train_composer
from midigen_utils.models import LastFrame, generate_music
from midigen_utils.show import BLUE, ORANGE, figure, note_name, player, plot_piano_roll

# %% [markdown]
# ## Settings
#
# As in notebook 01: Bach's chorales, or after `make data` MAESTRO.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
PIECE = 7  # which piece of the validation split is looked at closely
CLIP = 12  # seconds of it that are played when we compare
FILES = scaled(full=60, fast=20)  # files that are read where one piece is not enough
SECONDS = scaled(full=40, fast=1)  # of training
JUDGED = scaled(full=1000, fast=6)  # at most so many pieces of a split a composer is judged by

rolls, corpus = load_piano_rolls(load_corpus(CORPUS))
piece = corpus.split("validation")[PIECE]
roll = midi_to_piano_roll(piece.path, MIDI_CONFIG)

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: a chorale in four voices"}, "figure": {"caption": "A piece from its table: 88 columns, 16 rows a second."}}
player(roll, title=f"{piece.title}, from the table", composer=piece.composer)

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "The road of the course, with a mark at notebook 02"}, "figure": {"caption": "Where you are."}}
figure("road", here="02")

# %% [markdown]
# ## Three notes
#
# A toy first. Each note has a start and an end in seconds, a pitch (the number of its key, 60 is middle C) and a
# velocity (how hard it was struck, 1 to 127). These are the four arrays that `read_notes` gave in notebook 01.

# %%
toy = Notes(
    start=np.array([0.0, 0.5, 0.6]),
    end=np.array([1.0, 1.0, 1.5]),
    pitch=np.array([60, 64, 67]),
    velocity=np.array([80, 70, 60]),
)

# %% [markdown]
# A row of the table is called a **frame**. Frame `t` stands for the time from `t / fs` up to, but not including,
# `(t + 1) / fs` seconds, where `fs` is the number of frames a second. A note writes its velocity into the frames in
# which it sounds; 0 is silence. The lowest key of a piano is number 21, so it gets column 0. As everywhere in Python,
# the slice `roll[a:b]` takes frame `a` and leaves out frame `b`.


# %%
def draw(notes, fs):
    """Notes as a table: rows are time, columns are keys, values are velocities."""
    frames = int(notes.end.max() * fs)
    table = np.zeros((frames, 88), dtype=int)
    for start, end, pitch, velocity in zip(*notes):
        table[int(start * fs) : int(end * fs), pitch - 21] = velocity
    return table


# %% [markdown]
# Four frames a second are few enough to print. We show the eight columns from C4 to G4, and a dot for 0.
#
# <details><summary>Predict first: in which frame does G4 begin, the note that starts at 0.6 s?</summary>
#
# In frame 2, which begins at 0.5 s: `int(0.6 * 4)` is 2.
#
# </details>

# %% tags=["nbval-check-output"]
print("seconds", *(f"{note_name(pitch):>4}" for pitch in range(60, 68)))
for t, frame in enumerate(draw(toy, fs=4)[:, 60 - 21 : 68 - 21]):
    print(f"{t / 4:7.2f}", *(f"{value or '.':>4}" for value in frame))

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: C4, then E4 and G4 join it"}, "figure": {"caption": "The three notes as they were played."}}
player(toy, title="Three notes")

# %% [markdown]
# Time runs *down* the table. E4 started at 0.5 s and G4 a tenth of a second later, but in the table both begin in the
# same frame. A table cannot say "a little later". That is what it loses, and we will measure it.
#
# **Exercise 02.7 (easy).** How many cells has a roll of one hour, 16 frames a second and 88 keys?

# %%
cells = ...

check("02.7", cells)

# %% [markdown]
# ## A real piece
#
# In figures a roll lies on its side: time to the right, high keys at the top.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Four notes as a score, and the same notes as a piano roll beside an upright keyboard"}, "figure": {"caption": "Score, keyboard and roll of the same four notes."}}
figure("keyboard_score_roll")

# %% tags=["nbval-check-output"]
notes = read_notes(piece.path)
first_roll = draw(notes, fs=16)
print(len(notes.start), "notes, a table of", first_roll.shape)

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Piano roll of twelve seconds: bars of four voices, one above the other"}, "figure": {"caption": "The beginning of our piece: the darker, the harder a key was struck."}}
fig, ax = plot_piano_roll(first_roll[: CLIP * 16] / 127, title=f"{piece.title}, first {CLIP} s")

# %% [markdown]
# Every horizontal bar is a note, and four voices lie one above the other. The highest voice begins with the same key
# several times in a row; only thin gaps tell one note from the next.
#
# > **A trap: time first.** Here a roll has the shape `(T, 88)`, and `roll[t]` is what a model reads at moment `t`.
# > Other libraries differ: `pretty_midi.get_piano_roll` gives `(128, T)`. Mixing up the two raises no error where it
# > matters, and the music is bad. So look at `.shape` often.
#
# The package's `midi_to_piano_roll` made `roll` above. It reads the file, draws with the rules of the coming sections,
# and scales velocities to values between 0 and 1.
#
# **Exercise 02.1 (easy).** What share of the frames of `roll` is silent?

# %%
silent = ...

check("02.1", silent, roll)

# %% [markdown]
# ## And back
#
# The way back is a search for edges. Put a silent frame before the table and one after it, and subtract each frame from
# the next: +1 is an onset, -1 an end.


# %%
def find_notes(table):
    """First frame, frame after the last, and column of each note."""
    sounding = np.pad(table > 0, ((1, 1), (0, 0))).astype(int)
    change = np.diff(sounding, axis=0).T  # (88, T + 1): keys first, so that nonzero goes key by key
    key, on = np.nonzero(change == 1)
    key, off = np.nonzero(change == -1)  # as many as onsets, in the same order
    return on, off, key


# %% tags=["nbval-check-output"]
for on, off, key in zip(*find_notes(draw(toy, fs=4))):
    print(f"{note_name(key + 21)} from {on / 4} to {off / 4} s")

# %% [markdown]
# Our three notes are back, and G4 has moved to 0.5 s. The twin in the package is `roll_to_notes`:

# %%
back = roll_to_notes(roll, MIDI_CONFIG, velocity_threshold=0)  # every value above 0 sounds
on, off, key = find_notes(roll)
order = np.lexsort((key, on))  # by onset, then key
assert np.array_equal(back.start, on[order] / 16) and np.array_equal(back.end, off[order] / 16)
assert np.array_equal(back.pitch, key[order] + 21)

# %% [markdown]
# Do all notes of our piece come back? We compare `draw` with the package's `notes_to_roll`, on three grids.


# %%
def package_roll(notes, fs):
    """The package's roll of the notes, values in [0, 1], and the settings that it was made with."""
    config = {**MIDI_CONFIG, "fs": fs, "max_duration": None}  # whole pieces
    return notes_to_roll(notes, config) / config["velocity_bins"], config


# %% tags=["nbval-check-output"]
print("frames/s  played  found by draw  by the package")
for fs in (4, 8, 16):
    found = [len(find_notes(table)[0]) for table in (draw(notes, fs), package_roll(notes, fs)[0])]
    print(f"{fs:8d} {len(notes.start):7d} {found[0]:14d} {found[1]:15d}")

# %%
finding(found[1] == len(notes.start) > found[0], "at 16 frames a second the package keeps all notes, draw does not")

# %% [markdown]
# `draw` loses notes: at 4 frames a second 13 of 212, at 16 frames one. Where a key is struck again right after it was
# let go, no silent frame is left between the two, and two notes melt into one. The package leaves a trace: it ends the
# old note one frame early, and the silent frame says that something new begins. It also gives each note at least one
# frame. At 16 frames a second these two rules bring back every note of our piece. Pianists with a pedal strike sounding
# keys all the time; for them, appendix [A7](A7_the_roll_repaired.ipynb) makes these repairs one by one.
#
# **Exercise 02.4 (medium).** How many notes start in each frame of `roll`? The answer has the shape `(T,)`, and its sum
# is the number of notes.

# %%
onsets = ...

check("02.4", onsets, roll)

# %% [markdown]
# ## What the grid costs
#
# `draw` cuts off: an onset moves to the edge of a frame at or before it. It may as well move to the *nearest* edge.


# %%
def edge_before(seconds, fs):
    """The last edge of a frame at or before a time, which is what `int` takes."""
    return np.floor(seconds * fs).astype(int)


def nearest_edge(seconds, fs):
    """The edge of a frame that is nearest to a time; halves go up."""
    return np.floor(seconds * fs + 0.5).astype(int)


# %% [markdown]
# <details><summary>Predict first: at 16 frames a second, how far off is an onset on average if we cut off, and how far
# at most if we round?</summary>
#
# A frame lasts 62.5 ms. Cut off, onsets come early by anything from 0 to a whole frame, so by half a frame on average,
# about 31 ms. Rounded, 31 ms is the most.
#
# </details>

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Two histograms of onset errors, each one frame wide: cut off from minus 62 to 0 ms, rounded from minus 31 to 31 ms"}, "figure": {"caption": "Where onsets go on a grid of 16 frames a second."}}
fig, ax = plt.subplots(figsize=(8, 2.4), layout="constrained")
for edge, colour in ((edge_before, ORANGE), (nearest_edge, BLUE)):
    error = 1000 * (edge(notes.start, 16) / 16 - notes.start)
    ax.hist(error, np.linspace(-62.5, 31.25, 31), color=colour, alpha=0.6, label=edge.__name__)
    print(f"{edge.__name__:<12} mean {error.mean():6.1f} ms, from {error.min():6.1f} to {error.max():5.1f} ms")
ax.set(xlabel="onset in the table, less onset as played (ms)", ylabel="notes")
_ = ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %% [markdown]
# **Finding.** Both heaps are one frame wide, because rounding makes no grid finer. What differs is where they lie. Cut
# off, every onset comes early, by 30.9 ms on average. Rounded, the mean is -0.2 ms, and no onset is further off than
# half a frame. From here on we round, as the package does.
#
# Does one hear it? Here is the same beginning with 4 and with 16 frames a second.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: the chorale, limping"}, "figure": {"caption": "4 frames a second."}}
player(package_roll(notes, 4)[0][: 4 * CLIP], package_roll(notes, 4)[1], title="4 frames a second")

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: the chorale, even"}, "figure": {"caption": "16 frames a second."}}
player(package_roll(notes, 16)[0][: 16 * CLIP], title="16 frames a second")

# %% [markdown]
# At 4 frames an onset may be off by an eighth of a second, and notes that were struck together may land a quarter of a
# second apart: the rhythm limps. At 16 frames both are a quarter of that.
#
# Now the same in figures, for twenty pieces. A note has *come back* if the table has one on its key that starts at most
# 50 ms from it, the limit that is usual in the field, or more strictly 25 ms. $F_1$ is 1 if every note comes back and
# none is invented:
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
            near = abs(a[i] - b[j]) <= tolerance
            matched += near
            i, j = i + (near or a[i] < b[j]), j + (near or a[i] > b[j])
    return matched


# %% tags=["nbval-check-output"]
played = [read_notes(p.path) for p in corpus.split("validation")[:20]]
scores = {}  # frames a second: F1 at 50 and at 25 ms
print("frames/s  mean error (ms)  F1 at 50 ms  at 25 ms  frames like the one before")
for fs in (4, 8, 16, 32, 64):
    tables = [package_roll(some, fs)[0] > 0 for some in played]
    found = [roll_to_notes(table, package_roll(toy, fs)[1], 0) for table in tables]
    total = sum(len(some.start) for some in played + found)
    scores[fs] = [2 * sum(came_back(*pair, limit) for pair in zip(played, found)) / total for limit in (0.05, 0.025)]
    error = np.concatenate([np.abs(nearest_edge(some.start, fs) / fs - some.start) for some in played])
    same = np.mean(np.concatenate([(table[1:] == table[:-1]).all(axis=1) for table in tables]))
    print(f"{fs:8d} {1000 * error.mean():16.1f} {scores[fs][0]:12.3f} {scores[fs][1]:9.3f} {100 * same:20.0f} %")

# %%
finding(scores[16][0] > 0.99 and scores[8][0] < 0.9, "16 frames a second are enough for 50 ms, 8 are not")
finding(scores[32][1] > 0.99 and scores[16][1] < 0.85, "within 25 ms, 32 are enough and 16 are not")

# %% [markdown]
# **Finding.** Twice the frames, half the error: 30.8 ms at 8 frames a second, 16.3 at 16, 7.8 at 32. At 16, $F_1$ is
# 1.000 within 50 ms and 0.782 within 25 ms; at 8 it is 0.825 and 0.403.
#
# A finer grid has its price. A model does one step of work for each frame and must look back over more of them to see
# the same music, and more of the frames are copies of the one before, from which there is little to learn: 81 in
# 100 at 16 frames a second and 92 at 64. The course uses 16, and `MIDI_CONFIG["fs"]` changes it everywhere. The
# caveat: the grid is in seconds, not in beats. A performance breathes, and no beat of ours falls on an edge for long.
#
# <details><summary>Try it: what is the smallest number of frames a second at which no onset, rounded, can be off
# by more than 25 ms?</summary>
#
# 20: a rounded onset is off by half a frame at most, so a frame may last 50 ms.
#
# </details>
#
# **Exercise 02.6 (easy).** A note sounds from 0.4 s to 1.6 s. How many frames does it fill, at 16 a second, if both
# ends go to the nearest edge?

# %%
filled = ...

check("02.6", filled)

# %% [markdown]
# ## How loud?
#
# Does one need all of the 127 velocities? We sort them into 32 **bins** of nearly equal width. To scale down and cut
# off the rest hides a trap:

# %% tags=["nbval-check-output"]
quiet = np.arange(1, 8)
print("velocity:  ", quiet)
print("bin, naive:", quiet * 32 // 127)
print("bin, ours: ", 1 + (quiet - 1) * 32 // 127)

# %% [markdown]
# In the naive line the three lowest velocities land in bin 0. But 0 means *silence*, so these notes would vanish. Ours
# counts bins from 1 to 32. Back from a bin we take the velocity in its middle. The package has both functions, and
# they agree with ours for every velocity:


# %%
def to_bin(velocity, bins=32):
    """The bin, 1 to bins, of a velocity, 1 to 127."""
    return 1 + (velocity - 1) * bins // 127


def to_velocity(number, bins=32):
    """The velocity in the middle of a bin."""
    return 1 + (2 * number - 1) * 127 // (2 * bins)


velocities = np.arange(1, 128)
assert np.array_equal(to_bin(velocities), velocity_to_bin(velocities, MIDI_CONFIG))
assert np.array_equal(to_velocity(np.arange(1, 33)), bin_to_velocity(np.arange(1, 33), MIDI_CONFIG))

# %% tags=["nbval-check-output"]
for bins in (2, 4, 32):
    error = np.abs(to_velocity(to_bin(velocities, bins), bins) - velocities)
    print(f"{bins:3d} bins: a velocity changes by {error.max():2d} at most")

# %% [markdown]
# With 32 bins a velocity changes by 2 at most, of 127. With 2 bins there is loud and soft and nothing between.
#
# **Exercise 02.2 (easy).** With 8 bins, by how much can a velocity change at most on the way there and back?

# %%
largest_change = ...

check("02.2", largest_change)

# %% [markdown]
# ## Windows and targets
#
# Pieces differ in length. A network learns from batches, and a batch is a block. So we cut **windows** of 64 frames,
# four seconds, and begin a new one every 16 frames. The question to the model is always the same: *you have seen the
# frames up to here; which keys sound in the next?* So the target is the window itself, one frame later.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "A piano roll, two windows under it, each with input and target one frame apart"}, "figure": {"caption": "Windows and their targets. In a notebook that runs, you can move the window."}}
figure("windows")

# %% [markdown]
# A window of 65 frames gives both, input and target:


# %%
def cut(down):
    """All windows of a piece, 65 frames each."""
    return [down[first : first + SEQUENCE_LENGTH + 1] for first in range(0, len(down) - SEQUENCE_LENGTH, STRIDE)]


# %% tags=["nbval-check-output"]
down = roll > 0  # which keys sound, yes or no
x, y = cut(down)[0][:-1], cut(down)[0][1:]
print("input", x.shape, "target", y.shape, "windows in the piece:", len(cut(down)))
print("target and input differ in", np.count_nonzero((x != y).any(axis=1)), "of 64 frames")
print("and in", np.count_nonzero(x != y), "of", x.size, "cells")
assert np.array_equal(x[1:], y[:-1])

# %% [markdown]
# A model that answers "as before" is right in nearly every cell and has learned nothing. Keep that opponent in mind: it
# comes back twice in this notebook, and notebook 03 begins with it. The loudness has gone: for now a model says only
# *whether* a key sounds. How hard it is struck comes back in notebook 05.
#
# > **A trap: the shift.** Forget it, and the model is asked for a frame that it can see. It learns to copy, and its
# > score is perfect. The assert above is worth its line.
#
# For training, `SequenceDataset` does the same for many pieces. It cuts within each piece and never across two, and it
# holds torch's arrays, which notebook 03 introduces. The twin check, on two pieces:

# %%
pair = [rolls["train"][0], rolls["train"][1]]
dataset = SequenceDataset(pair)
by_hand = [window for some in pair for window in cut(some > 0)]
assert len(dataset) == len(by_hand)
for (x, y), window in zip(dataset, by_hand):
    assert np.array_equal(x, window[:-1]) and np.array_equal(y, window[1:])

# %% [markdown]
# **Exercise 02.3 (easy).** How many windows of 128 frames, one every 32 frames, does `roll` give? Each needs one frame
# more for its target.

# %%
number_of_windows = ...

check("02.3", number_of_windows, roll)

# %% [markdown]
# ## Split by piece, or fool yourself
#
# To see whether a model has *learned* and not only memorised, we keep some music away from it. It is tempting to cut
# all windows first and put every tenth aside. But windows overlap.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Windows of two pieces: drawn by lot, kept windows lie among training windows; split by piece, all windows of one piece are kept"}, "figure": {"caption": "Two ways of keeping music away."}}
figure("split_by_piece")

# %% [markdown]
# How much can one gain by that? We build a **parrot**: it remembers every second of its training music, and which
# frame came next. Asked for the next frame, it looks up the second that it was given. It knows nothing about music. Its
# memory is a dictionary; we turn frames into bytes, because arrays cannot be looked up in one. Beside it stands a
# **copier**, which repeats the last frame.


# %%
def seconds_and_next(windows):
    """From each window: a second (16 frames), its last frame, and the frame after it, all as bytes."""
    for window in windows:
        frames = [frame.tobytes() for frame in np.packbits(window, axis=1)]
        for t in range(16, len(frames)):
            yield b"".join(frames[t - 16 : t]), frames[t - 1], frames[t]


def right(training, validation):
    """What the parrot of training and the copier get right in validation, and the parrot where something changes."""
    memory = {second: after for second, _, after in seconds_and_next(training)}
    hits = [(memory.get(second) == after, last == after) for second, last, after in seconds_and_next(validation)]
    parrot, copier = np.array(hits).T
    return parrot.mean(), copier.mean(), parrot[~copier].mean()


# %% [markdown]
# Both ways of splitting, on the same files, with a tenth kept away each time:

# %%
windows_of = [cut(rolls["train"][i] > 0) for i in range(FILES)]
tenth = FILES // 10
by_piece = sum(windows_of[tenth:], []), sum(windows_of[:tenth], [])  # lists of windows, put end to end

windows = sum(windows_of, [])
order = np.random.default_rng(0).permutation(len(windows))
tenth = len(windows) // 10
by_lot = [windows[i] for i in order[tenth:]], [windows[i] for i in order[:tenth]]

# %% tags=["nbval-ignore-output"]
print(f"{'frames right (%)':<24} {'parrot':>7} {'copier':>7} {'parrot where something changes':>31}")
for name, split in (("windows drawn by lot", by_lot), ("whole pieces kept away", by_piece)):
    shares = right(*split)
    print(f"{name:<24} {100 * shares[0]:7.1f} {100 * shares[1]:7.1f} {100 * shares[2]:31.1f}")
lot, pieces = right(*by_lot), right(*by_piece)
finding(lot[0] > lot[1] + 0.03, "by lot, the parrot beats the copier")
finding(lot[2] > 10 * pieces[2], "where something changes, it is right more than ten times as often by lot as by piece")

# %% [markdown]
# **Finding.** With windows drawn by lot, the parrot gets 89.8 % of the frames right; with whole pieces kept away, 4.7
# %. Only the second figure says what it can do with music that it has not read. And 90 % is less grand than it looks:
# the copier, which remembers nothing, gets 82.7 % and 81.6 %, because most frames repeat the one before. The frames
# where something changes tell more. There the copier is always wrong, and the parrot is right in 92.5 % by lot and in
# 2.5 % by piece.
#
# A share of frames says little by itself: read it beside that of the copier. Networks can remember, too, and a score
# from windows drawn by lot cannot tell remembering from learning. So the corpus is split by piece before anything is
# cut: in Bach by hymn tune, in MAESTRO by composition.
#
# **Exercise 02.8 (easy).** Windows of 64 frames begin every 16 frames, and each takes in one frame more as its last
# target. What share of the 65 frames of a window is also in the next one?

# %%
shared = ...

check("02.8", shared)

# %% [markdown]
# ## Transposition
#
# Move every note up by the same number of keys, and a melody stays the same melody, as when you sing it higher. That
# makes many pieces of one. In the table it is a shift of columns. The columns have ends: what leaves the keyboard on
# one side must not come in on the other.
#
# **Your turn (medium).** Write it. `ends` has two frames to try it on: a chord with the lowest key of the piano, and
# one with the highest. If your function does the same as `ours` below, the notebook goes on with yours.

# %%
ends = np.zeros((2, 88))
ends[0, [0, 39, 43]] = 1
ends[1, [40, 44, 87]] = 1


def transpose(roll, semitones):
    """The roll moved up, or down if semitones is below 0; what leaves the keyboard is left out."""
    ...


# %%
def ours(roll, semitones):
    moved = np.zeros_like(roll)
    if semitones >= 0:
        moved[:, semitones:] = roll[:, : 88 - semitones]
    else:
        moved[:, :semitones] = roll[:, -semitones:]
    return moved


right_so_far = [np.array_equal(transpose(ends, move), ours(ends, move)) for move in (-3, 0, 3)]
print("right" if all(right_so_far) else "not yet: from here on the notebook uses ours")
transpose = transpose if all(right_so_far) else ours

# %% tags=["nbval-check-output"]
for name, moved in (("np.roll", np.roll(ends, -3, axis=1)), ("transpose", transpose(ends, -3))):
    print(f"{name:<10}", [note_name(key + 21) for key in np.flatnonzero(moved[0])])

# %% [markdown]
# `np.roll` brings what falls off at one end in at the other: the deepest bass note becomes a squeak, A♯7. Ours leaves
# it out. No note of a chorale comes near the ends. Musicians then say that the piece is in another *key*, such as G
# major for F major; where this section speaks of Bach's own keys, it means that. Five keys higher, our piece sounds
# like this:

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: the beginning of the chorale, higher"}, "figure": {"caption": "The same music, five keys higher."}}
player(transpose(roll, 5)[: CLIP * 16], title=f"{piece.title}, five keys higher", composer=piece.composer)

# %% [markdown]
# In training, `SequenceDataset` moves each window by its own number of semitones, drawn anew each time. The twin check:

# %%
for semitones in (-3, 5):
    moved = dataset.windows(dataset.starts, semitones=torch.full((len(dataset),), semitones))
    assert all(np.array_equal(a, transpose(b, semitones)) for a, b in zip(moved, by_hand))

# %% [markdown]
# **Exercise 02.5 (medium).** Beginners like white keys. Which transposition of our piece, from 6 keys down (-6) to 5
# keys up, puts the most of its notes on white keys? (Black keys: the remainders 1, 3, 6, 8 and 10 when divided by 12.)

# %%
semitones = ...

check("02.5", semitones, notes)

# %% [markdown]
# ## The composer, transposed
#
# The composer of notebook 00 sees the last frame and nothing else. We train the same network again for the same 40
# seconds and change one thing: each window is moved by up to five keys, up or down.
#
# <details><summary>Predict first: eleven times as much music, the same seconds. Will it predict new chorales
# better?</summary>
#
# No, it predicts them a little worse. Why, and what it gained all the same, stands below.
#
# </details>

# %% tags=["nbval-ignore-output"]
seed_everything(0)
composer = train_composer(LastFrame(), rolls, SECONDS, learning_rate=2e-2, transpose=5)

# %% tags=["nbval-ignore-output"]
train, validation = (
    [rolls[split][i] for i in range(min(JUDGED, len(rolls[split])))] for split in ("train", "validation")
)
composers = {"00": load_model("composer/00"), "transposed": composer}
nats = {name: evaluate(model, validation)["nll"] for name, model in composers.items()}
table = composer_table(before="03 memory")
print_composers(table)
print(f"\nthis run: transposed {nats['transposed']:.3f} nats per frame")

# %% tags=["nbval-ignore-output"]
first, second = (np.array(row["nats"]) for row in table)
margin = 2 * max(np.ptp(first), np.ptp(second)) / 2  # twice the spread of the seeds, which is half their range
print(f"recorded: {second.mean():.3f} - {first.mean():.3f} = {second.mean() - first.mean():.3f}, margin {margin:.3f}")
finding(second.mean() - first.mean() > margin, "transposition does not pay after 40 seconds")
finding(nats["transposed"] - first.mean() > margin, "nor does it in this run")

# %% [markdown]
# **Finding.** Over three seeds the composer needs 2.251 nats per frame as it was and 2.279 transposed: 0.028 more,
# where twice the spread of the seeds is 0.007. Fewer is better, so transposition does not pay.
#
# By the rule of notebook 00 the composer goes on as it was, and the figure stays in the table. Why does so common a
# trick not pay? Two measurements answer. The first asks both composers about the music that they were trained on, too.

# %% tags=["nbval-ignore-output"]
known = {name: evaluate(model, train)["nll"] for name, model in composers.items()}
print(f"{'nats per frame':<14} {'training':>9} {'validation':>11} {'difference':>11}")
for name in composers:
    print(f"{name:<14} {known[name]:9.3f} {nats[name]:11.3f} {nats[name] - known[name]:11.3f}")
finding(known["transposed"] - known["00"] > 0.02, "transposed, it knows its training music less well")

# %% [markdown]
# **Finding.** Composer 00 needs 2.050 nats for the pieces that it was trained on and 2.254 for new ones, a difference
# of 0.204. Transposed, the difference falls to 0.16, as it should: less is learned by heart. But the training pieces
# cost 2.12 now, and that loss is larger than the gain.
#
# So both effects are there, and after 40 seconds the wrong one is larger. A network without memory is far from knowing
# its pieces by heart, and now it has eleven times as much to learn. Transposition may help a network that has the time
# to learn by heart: notebook 05 trains six times as long and brings it back, but does not test it by itself. The
# caveat: the two columns are of different pieces, so part of each difference may be that one set is easier. The same
# pieces stand in both lines.
#
# The second measurement moves the validation pieces themselves, from five keys down to five keys up.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Nats per frame against semitones moved: the composer of notebook 00 rises on both sides, the transposed one is flat"}, "figure": {"caption": "What both composers need for validation pieces that are moved to other keys."}}
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
moves, keys = range(-5, 6), {}
for (name, model), colour in zip(composers.items(), (BLUE, ORANGE)):
    keys[name] = [evaluate(model, [transpose(some, move) for some in validation])["nll"] for move in moves]
    ax.plot(moves, keys[name], "o-", color=colour, label=name)
    print(f"{name:<10}", " ".join(f"{value:.2f}" for value in keys[name]))
ax.set(xlabel="semitones moved", ylabel="nats per frame")
_ = ax.legend(frameon=False)
finding(np.ptp(keys["00"]) > 5 * np.ptp(keys["transposed"]), "the composer of notebook 00 depends on the tonality")

# %% [markdown]
# **Finding.** Five keys higher, the same pieces cost composer 00 3.46 nats in place of 2.25. The transposed one needs
# 2.36 there and 2.29 in Bach's own keys. Within the five keys of its training it treats a step from frame to frame
# nearly alike at any height. Composer 00 is not lost everywhere: two keys lower it needs 2.31. The table does not
# reward that, because it asks for chorales in the keys in which Bach set them.
#
# Listen to both, from the same four seconds as in notebook 00, and both with random number 14.


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: seed and continuation of the composer of notebook 00"}, "figure": {"caption": "The composer as it was."}}
seed_piece, seed = corpus.split("validation")[2], rolls["validation"][2][:64]
takes = {name: generate_music(model, seed, 8 * 16, random_seed=14) for name, model in composers.items()}
player(takes["00"], seed_frames=64, title="Composer 00", composer=f"goes on from {seed_piece.title}")

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: seed and continuation of the transposed composer"}, "figure": {"caption": "The composer trained on transposed music."}}
piano_roll_to_midi(
    takes["transposed"], MIDI_CONFIG, MIDI_DATA / "generated" / "02_transposed.mid", velocity_threshold=0
)
player(takes["transposed"], seed_frames=64, title="Transposed", composer=f"goes on from {seed_piece.title}")

# %% tags=["nbval-ignore-output"]
print(f"{'':<12} {'notes a second':>14} {'keys down at once':>18}")
for name, music in {"the seed": seed, "00": takes["00"][64:], "transposed": takes["transposed"][64:]}.items():
    onsets_a_second = len(find_notes(music)[0]) / len(music) * 16
    print(f"{name:<12} {onsets_a_second:14.1f} {(music > 0).sum(axis=1).mean():18.1f}")

# %% [markdown]
# **Finding.** The seed has 6.5 notes a second. Composer 00 strikes 9.2, and the transposed one still more, with fewer
# keys down at once than the choir. Both are restless, because they draw every key anew in every frame and do not know
# how long it has been down. The caveat: this is one take of each, with one random number. The second take lies in
# `midi_data/generated/02_transposed.mid`.
#
# A memory is what is missing. It comes in notebook 03, for the composer as it was.
#
# ## Summary
#
# - A piano roll is a table `(T, 88)`, time first; frame `t` covers `[t / fs, (t + 1) / fs)` seconds; 0 is silence.
# - Onsets and ends go to the nearest edge. Twice the frames a second: half the error, twice the work. At 16 no onset
#   is off by more than 31 ms.
# - Every note gets a frame, and a silent frame parts a key struck again from its old note. Velocities go into 32 bins,
#   counted from 1.
# - The target of a frame is the next frame. Split by piece before you cut windows, and read every score beside that of
#   a copier.
# - Transposition shifts columns; notes that leave the keyboard are left out. After 40 seconds it does not pay for a
#   network without memory: it makes all keys alike, and costs a little in those that Bach used.

# %% [markdown]
# ## Quiz
#
# Answer first, then open.
#
# **1.** A friend cuts off instead of rounding, listens to a table of 16 frames a second, and hears no difference. Was
# the notebook wrong about the 31 ms?
#
# <details><summary>Answer</summary>
#
# No. If all notes come early by about the same time, nobody can tell: the music begins a little sooner. It matters as
# soon as something else is compared with the table, such as the onsets as they were played.
#
# </details>
#
# **2.** Windows have 64 frames of input. How many of them does a piece of 64 frames give, and how many a piece of 65?
#
# <details><summary>Answer</summary>
#
# None, and one. The target is the window one frame later, so the last frame of input needs one more after it.
#
# </details>
#
# **3.** A friend cuts all windows first and keeps every tenth one, drawn by lot, for validation. The validation score
# is as good as the training score. "So my model does not memorise", your friend says. Is that right?
#
# <details><summary>Answer</summary>
#
# No. The windows overlap, so nearly every second that was kept away stands in a training window, too. A model that
# has learned all by heart would do well on both, as the parrot shows. Only whole pieces kept away can tell.
#
# </details>
#
# **4.** A paper says that its model gets 82 % of all frames of new chorales exactly right. Is that good?
#
# <details><summary>Answer</summary>
#
# It is what the copier reaches, which composes one chord for ever. Ask what the model does where something changes.
#
# </details>
#
# **5.** Composer 00 needs far more nats for the same pieces five keys higher. Is it a worse composer than the
# transposed one?
#
# <details><summary>Answer</summary>
#
# Not for chorales in the keys in which Bach wrote them, which is what validation asks: there it is a little better. It
# would be far worse at continuing a hymn that you sing in a key of your own.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Exercises 02.1 to 02.8 stand above; their solutions are in the notebook [A6_solutions](A6_solutions.ipynb). One is
# left:
#
# **Open.** Train the composer with `transpose=1` and with `transpose=2` for the same seconds. How does the price
# in Bach's keys grow, and how far does the flat part of the last figure reach?
#
# ## Next
#
# [03_lstm_baseline](03_lstm_baseline.ipynb): the next frame as 88 questions, a memory for the composer, and chords.
#
# ## References
#
# - Colin Raffel and Daniel Ellis, *Intuitive Analysis, Creation and Manipulation of MIDI Data with pretty_midi*,
#   ISMIR 2014 (late-breaking demo).
# - Colin Raffel et al., *mir_eval: A Transparent Implementation of Common MIR Metrics*, ISMIR 2014: the 50 ms.
# - Nicolas Boulanger-Lewandowski, Yoshua Bengio and Pascal Vincent, *Modeling Temporal Dependencies in
#   High-Dimensional Sequences*, ICML 2012, [arXiv 1206.6392](https://arxiv.org/abs/1206.6392): models of piano rolls.
# - Sayash Kapoor and Arvind Narayanan, *Leakage and the reproducibility crisis in machine-learning-based science*,
#   Patterns 4 (9), 2023.
# - Meinard Müller, *Fundamentals of Music Processing*, Springer 2015, chapter 1; notebooks at
#   [audiolabs-erlangen.de/FMP](https://www.audiolabs-erlangen.de/FMP).
