# %% [markdown]
# # A6 · Solutions to the exercises
#
# One way for each; yours may be as good. Where an exercise has a check, it is called here too, so these solutions run
# and are right. The open exercises have no solution: below stands what to look for.

# %% tags=["nbval-ignore-output"]
import os

import numpy as np
import torch
from torch import nn

from midigen_utils.config import MIDI_CONFIG, scaled
from midigen_utils.corpus import load_corpus
from midigen_utils.exercises import check
from midigen_utils.generation import generate_random_seed
from midigen_utils.listening import luck
from midigen_utils.mamba import MusicMamba
from midigen_utils.midi import Notes, read_notes
from midigen_utils.piano_roll import bin_to_velocity, midi_to_piano_roll, roll_to_notes, velocity_to_bin

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
#
# ## 03 LSTM baseline
#
# **1.** A nat is a natural logarithm.

# %%
nats_of_two_percent = -np.log(0.02)

assert check("03.1", nats_of_two_percent) == "right"

# %% [markdown]
# **2.** Four gates; for each of the 100 numbers of each gate, 88 + 100 weights and two numbers `b`. Torch counts the
# same:

# %%
numbers = 4 * 100 * (88 + 100 + 1 + 1)

assert check("03.2", numbers) == "right"
assert numbers == sum(p.numel() for p in nn.LSTM(88, 100).parameters())

# %% [markdown]
# **3.** 64 times the same factor makes one half: the 64th root.

# %%
gate = 0.5 ** (1 / 64)

assert check("03.3", gate) == "right"

# %% [markdown]
# **4.** "As before" calls the keys of the frame before. Twice the keys that are in both, over all keys of both. On
# frames that change the copier's mark is lower than on all, as it should be.

# %%
x, y = roll[:-1] > 0, roll[1:] > 0
change = (x != y).any(axis=1)
f1_on_changes = 2 * (x & y)[change].sum() / (x[change].sum() + y[change].sum())

assert check("03.4", f1_on_changes, roll) == "right"
assert f1_on_changes < 2 * (x & y).sum() / (x.sum() + y.sum())

# %% [markdown]
# **5.** `exp` meets only numbers below 0, and cannot overflow; `log1p` keeps its digits near 0. Where do the terms
# come from? $-y \log \sigma(z) - (1 - y) \log(1 - \sigma(z)) = \log(1 + e^z) - z y$, and
# $\log(1 + e^z) = \max(z, 0) + \log(1 + e^{-|z|})$ for both signs of z.

# %%
z_hard = np.array([-1000.0, -20.0, -1.0, 0.0, 1.0, 20.0, 1000.0])
y_hard = np.array([0, 1, 0, 1, 1, 0, 0])
stable_loss = np.maximum(z_hard, 0) - z_hard * y_hard + np.log1p(np.exp(-np.abs(z_hard)))

assert check("03.5", stable_loss, z_hard, y_hard) == "right"

# %% [markdown]
# **6.** In two minutes a small model that takes many steps beats a large one that takes few. What sounds best need not
# have the lowest average: onsets are what one hears.
#
# ## 04 Mamba
#
# **1.** The 16th root of one half.

# %%
leak_of_a_second = 0.5 ** (1 / 16)

assert check("04.1", leak_of_a_second) == "right"

# %% [markdown]
# **2.** Each convolution sees its frame and the three before. Four of them on top of each other: 4 times 3, and the
# frame itself. Two ways to be sure: count, or change a frame and look how far it is noticed. Here is the second, with
# the scans switched off (C = 0, so that nothing is read from the state).

# %%
frames_seen = 1 + 4 * 3

assert check("04.2", frames_seen) == "right"

# %%
torch.manual_seed(0)
model = MusicMamba(d_model=64).eval()
for block in model.layers:
    block.x_proj.weight.data[-16:] = 0  # the last 16 rows make C
frames = torch.zeros(1, 32, 88)
changed = frames.clone()
changed[0, 0] = 1
with torch.no_grad():
    noticed = ((model(changed)[0] - model(frames)[0]).abs() > 0).any(2)[0]
assert noticed.nonzero().max() + 1 == frames_seen

# %% [markdown]
# **3.** In each block D = 2 · 128 channels hold 16 numbers in the scan and the last 3 frames for the convolution.
# The model itself says so:

# %%
numbers_carried = 6 * (3 + 16) * 2 * 128

assert check("04.3", numbers_carried) == "right"
_, hidden = MusicMamba(d_model=128, n_layers=6)(torch.zeros(1, 1, 88))
assert numbers_carried == sum(part.numel() for layer in hidden for part in layer)

# %% [markdown]
# **4.** Of what was poured in in frame s, the leaks of the frames s + 1 to t are left in frame t; nothing before s.

# %%
leaks = np.random.default_rng(0).uniform(0.5, 1, 12)
M = np.zeros((12, 12))
for t in range(12):
    for s in range(t + 1):
        M[t, s] = leaks[s + 1 : t + 1].prod()

assert check("04.4", M, leaks) == "right"

# %% [markdown]
# It is the same bucket:

# %%
x = np.random.default_rng(2).normal(size=12)
h, levels = 0.0, []
for t in range(12):
    h = leaks[t] * h + x[t]
    levels.append(h)
assert np.allclose(M @ x, levels)

# %% [markdown]
# **5.** The leaks multiply; the first inflow goes through the second leak.

# %%
inflows = np.random.default_rng(1).normal(size=12)
first, second = slice(0, None, 2), slice(1, None, 2)
double_frames = np.stack([leaks[second] * leaks[first], leaks[second] * inflows[first] + inflows[second]])

assert check("04.5", double_frames, leaks, inflows) == "right"

# %% [markdown]
# **6.** A clock that stands still during the blanks does not mind more of them, as long as it stands *quite* still: a
# small Δ, 96 times, is no small Δ any more. With symbols in fixed places their age tells their rank, and the fixed
# model can learn it.
#
# ## 05 Generation and playback
#
# **1.** Half the temperature doubles the logit, and squares the odds: 1 to 4 becomes 1 to 16.

# %%
logit = np.log(0.2 / 0.8)
colder = 1 / (1 + np.exp(-logit / 0.5))

assert check("05.1", colder) == "right"
assert np.isclose(colder, 1 / 17)

# %% [markdown]
# **2.** Try one after the other.

# %%
enough = next(right for right in range(13) if luck(right, 12, 3) < 0.05)

assert check("05.2", enough) == "right"

# %% [markdown]
# **3.** Any music does; here is some.

# %%
music = generate_random_seed(0)
silent_seconds = (music == 0).all(axis=1).sum() / 16

assert check("05.3", silent_seconds, music) == "right"

# %% [markdown]
# **4.** A note counts where it starts. Move the scale through all twelve keys.

# %%
notes = roll_to_notes(roll, MIDI_CONFIG, velocity_threshold=0)
scale = np.array([0, 2, 4, 5, 7, 9, 11])
share = max(np.isin(notes.pitch % 12, (scale + root) % 12).mean() for root in range(12))

assert check("05.4", share, roll) == "right"

# %% [markdown]
# **5.** Probabilities, and 0 below the cut. (This is for 88 coins; what *top-p* is to text, roughly.)

# %%
row = np.random.default_rng(0).normal(-4, 3, 88)  # some logits
p = 1 / (1 + np.exp(-row))
cut = np.where(p < 0.01, 0, p)

assert check("05.5", cut, row) == "right"

# %% [markdown]
# **6.** Watch the validation loss: it turns up long before the copies get long. The measures of notebook 05 hardly
# notice, because a piece recited has the density, the scale and the rhythm of a real one; only the comparison with the
# training pieces shows it.
#
# ## A3 Scaling
#
# **1.** 9,599 predictions, 64 at a time, and the last window is not full.

# %%
windows = -(-(9600 - 1) // 64)

assert check("A3.1", windows) == "right"

# %% [markdown]
# **2.** Sums and counts. (The mean of the means would be 7.)

# %%
mean = (3 * 10 + 9 * 4) / (3 + 9)

assert check("A3.2", mean) == "right"

# %% [markdown]
# **3.** Seven chunks to add up, seven to hand round, each an eighth of the vector.

# %%
bytes_sent = (7 + 7) / 8 * 1_797_720 * 4

assert check("A3.3", bytes_sent) == "right"

# %% [markdown]
# **4.** In each step it passes on the chunk that it has received in the step before: one lower, round the clock.

# %%
n = 5
sends = (np.arange(n) - np.arange(n - 1)[:, None]) % n

assert check("A3.4", sends, n) == "right"

# %% [markdown]
# **5.** Where the slope is 0: `-c / T**2 + 1 / (2 M) = 0`, so `T = sqrt(2 c M)`, about half an hour. The grid agrees.

# %%
c, M = 20, 24 * 3600
interval = (2 * c * M) ** 0.5
grid = np.arange(600.0, 6000)

assert check("A3.5", interval) == "right"
assert abs(grid[(c / grid + grid / (2 * M)).argmin()] - interval) < 1

# %% [markdown]
# **6.** Look at the forget gate: what was taught to last seven frames may last for hundreds if the gate has learned
# to be nearly 1 for the call, and may not if a little leaks away in each frame. `PieceBatches` begins every piece at
# the beginning of a window for this reason; in the middle of one the state could not be reset between two frames.
