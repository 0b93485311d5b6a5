# %% [markdown]
# # A6 · Solutions to the exercises
#
# One way for each; yours may be as good. Where an exercise has a check, it is called here too, so these solutions run
# and are right. The open exercises have no solution: below stands what to look for.

# %% tags=["nbval-ignore-output"]
import os

import numpy as np

from midigen_utils.config import MIDI_CONFIG, scaled
from midigen_utils.corpus import load_corpus
from midigen_utils.exercises import check
from midigen_utils.midi import Notes, read_notes
from midigen_utils.piano_roll import midi_to_piano_roll, velocity_to_bin, bin_to_velocity

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
FILES = scaled(full=400, fast=60)

corpus = load_corpus(CORPUS)
piece = corpus.split("validation")[7]

# %% [markdown]
# ## 01 Data exploration
#
# The same piece and files as there.

# %%
notes = read_notes(piece.path, sustain=False)
every = [read_notes(p.path, sustain=False) for p in corpus.split("train")[:FILES]]
together = Notes(*(np.concatenate(field) for field in zip(*every)))

# %% [markdown]
# **1.** The longest of all lengths: ends minus starts.

# %%
longest = (notes.end - notes.start).max()

assert check("01.1", longest, notes) == "right"

# %% [markdown]
# **2.** `np.isin` asks of each remainder whether it is in the list; the mean of yes and no is a share.

# %%
black = np.isin(together.pitch % 12, [1, 3, 6, 8, 10]).mean()

assert check("01.2", black, together) == "right"

# %% [markdown]
# **3.** Not the mean of the pieces' rates: a short piece would weigh as much as a long one.

# %%
notes_per_second = sum(len(n.start) for n in every) / sum(n.end.max() for n in every)

assert check("01.3", notes_per_second, every) == "right"

# %% [markdown]
# **4.** The events are all starts, +1 key, and all ends, -1. In order of time their running sum is `count`; each
# entry holds until the next event.

# %%
times = np.concatenate([notes.start, notes.end])
change = np.concatenate([np.ones(len(notes.start)), -np.ones(len(notes.end))])
order = np.argsort(times)
times, count = times[order], change[order].cumsum()
mean_keys = (count[:-1] * np.diff(times)).sum() / (times[-1] - times[0])

assert check("01.4", mean_keys, notes) == "right"

# %% [markdown]
# There is a shorter way: the lengths of all notes, added up, over the time between the first and the last event.

# %%
shorter = (notes.end - notes.start).sum() / (notes.end.max() - notes.start.min())
assert np.isclose(mean_keys, shorter)

# %% [markdown]
# **5.** A new chord begins where more than 0.05 s passed since the note before. The highest note of each chord is the
# melody, its differences are the steps.

# %%
chords, previous = [], -1.0
for start, pitch in zip(notes.start, notes.pitch):
    if start - previous > 0.05:
        chords.append([])
    chords[-1].append(pitch)
    previous = start
steps = np.diff([max(chord) for chord in chords])
values, times_taken = np.unique(steps[steps != 0], return_counts=True)
step = values[times_taken.argmax()]

assert check("01.5", step, notes) == "right"

# %% [markdown]
# **6.** Look at the onsets per second and at the pedal first; then at velocities, which differ between instruments
# and between people who write MIDI files by hand and those who play them.
#
# ## 02 Piano roll

# %%
roll = midi_to_piano_roll(piece.path, MIDI_CONFIG)

# %% [markdown]
# **1.** A row is silent if none of its 88 values is above 0.

# %%
silent = (roll == 0).all(axis=1).mean()

assert check("02.1", silent, roll) == "right"

# %% [markdown]
# **2.** All 127 velocities there and back.

# %%
velocities, eight = np.arange(1, 128), {**MIDI_CONFIG, "velocity_bins": 8}
back = bin_to_velocity(velocity_to_bin(velocities, eight), eight)
largest_change = np.abs(back - velocities).max()

assert check("02.2", largest_change) == "right"

# %% [markdown]
# **3.** The last window may begin 129 rows before the end: 128, and one for its target.

# %%
number_of_windows = len(range(0, len(roll) - 128, 32))

assert check("02.3", number_of_windows, roll) == "right"

# %% [markdown]
# **4.** A note starts where a key sounds and did not in the row before. Before the first row there is silence.

# %%
sounding = np.vstack([np.zeros((1, 88), dtype=bool), roll > 0])
onsets = (sounding[1:] & ~sounding[:-1]).sum(axis=1)

assert check("02.4", onsets, roll) == "right"

# %% [markdown]
# **5.** Count for each of the twelve.

# %%
notes = read_notes(piece.path)
white = [0, 2, 4, 5, 7, 9, 11]
on_white = {up: np.isin((notes.pitch + up) % 12, white).sum() for up in range(-6, 6)}
semitones = max(on_white, key=on_white.get)

assert check("02.5", semitones, notes) == "right"

# %% [markdown]
# **6.** With a table of onsets, keys struck again in the very next row survive, and at 8 rows a second there are more
# of them. The price: the model predicts 176 values a row, and must not strike a key that it does not sound.
