# %% [markdown]
# # A6 · Solutions to the exercises
#
# One way for each; yours may be as good. Where an exercise has a check, it is called here too, so these solutions run
# and are right. The open exercises have no solution: below stands what to look for.

# %% tags=["nbval-ignore-output"]
import os
from math import comb

import numpy as np
import torch
from torch import nn

from midigen_utils.apps import luck
from midigen_utils.config import MIDI_CONFIG, bin_to_velocity, scaled, velocity_to_bin
from midigen_utils.data import Notes, load_corpus, midi_to_piano_roll, read_notes, roll_to_notes
from midigen_utils.exercises import check
from midigen_utils.models import MusicMamba, generate_random_seed

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
# **The open one.** Ticks become quarter notes, quarter notes become seconds.

# %%
seconds = 750 / 500 * 60 / 96

assert check("01.6", seconds) == "right"

# %% [markdown]
# **7.** No piece counts with more than a minute.

# %%
minutes = np.array([p.duration / 60 for p in corpus.pieces])
share_read = np.minimum(minutes, 1).sum() / minutes.sum()

assert check("01.7", share_read, minutes) == "right"

# %% [markdown]
# **8.** The upper voices sing the melody, and the rules of performance bring it out.

# %%
upper = together.pitch >= 60
louder = together.velocity[upper].mean() - together.velocity[~upper].mean()

assert check("01.8", louder, together) == "right"

# %% [markdown]
# **9.** Only the ends differ.

# %%
three = Notes(np.array([0.0, 0.5, 1.0]), np.array([0.3, 0.8, 1.3]), np.array([60, 64, 67]), np.array([80, 70, 60]))
with_pedal = three._replace(end=np.array([2.0, 2.0, 2.0]))
added = (with_pedal.end - three.end).sum()

assert check("01.9", added, three, with_pedal) == "right"

# %% [markdown]
# **10.** Even where something changes, most of the 88 cells stay as they are.

# %%
roll = midi_to_piano_roll(piece.path, MIDI_CONFIG)
same = (roll[1:] > 0) == (roll[:-1] > 0)
wrong = (~same)[~same.all(axis=1)].mean()

assert check("01.10", wrong, roll) == "right"

# %% [markdown]
# **The open one.** Look at the onsets per second and at the pedal first; then at velocities, which differ between instruments
# and between people who write MIDI files by hand and those who play them.

# %% [markdown]
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
# **The open one.** The nearest edges are 6 and 26.

# %%
filled = int(np.floor(1.6 * 16 + 0.5)) - int(np.floor(0.4 * 16 + 0.5))

assert check("02.6", filled) == "right"

# %% [markdown]
# **7.** Five million cells, nearly all of them empty.

# %%
cells = 3600 * 16 * 88

assert check("02.7", cells) == "right"

# %% [markdown]
# **8.** The frames 16 to 64 of the first window are the first 49 of the next.

# %%
shared = len(set(range(65)) & set(range(16, 16 + 65))) / 65

assert check("02.8", shared) == "right"

# %% [markdown]
# **The open one.** With a table of onsets, keys struck again in the very next row survive, and at 8 rows a second there are more
# of them. The price: the model predicts 176 values a row, and must not strike a key that it does not sound.

# %% [markdown]
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
# **The open one.** Nats are logarithms, so their difference is the logarithm of a quotient.

# %%
times = np.exp(2.70 - 1.26)

assert check("03.6", times) == "right"

# %% [markdown]
# **7.** Four fair coins make 16 frames, and two of them are chords.

# %%
neither = 1 - 2 / 2**4

assert check("03.7", neither) == "right"

# %% [markdown]
# **8.** The norm is 5. Both entries are divided by it, as torch does:

# %%
gradient = torch.tensor([3.0, 4.0])
clipped = gradient / gradient.norm()

assert check("03.8", clipped) == "right"

# %% [markdown]
# **9.** Forget, write, read.

# %%
c = 0.9 * 2 + 0.5 * -1
h_now = 0.4 * np.tanh(c)

assert check("03.9", h_now) == "right"

# %% [markdown]
# **10.** The chain rule of probabilities: multiply, then take the logarithm; or add three logarithms.

# %%
frame_nats = -np.log([0.2, 0.5, 0.9]).sum()

assert check("03.10", frame_nats) == "right"

# %% [markdown]
# **The open one.** In two minutes a small model that takes many steps beats a large one that takes few. What sounds best need not
# have the lowest average: onsets are what one hears.

# %% [markdown]
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
# **The open one.** exp(-16 Δ) is one half.

# %%
slow_clock = np.log(2) / 16

assert check("04.6", slow_clock) == "right"

# %% [markdown]
# **7.** Bucket n is left with exp(-0.8 n).

# %%
still_full = (np.exp(-16 * 0.05 * np.arange(1, 17)) > 0.01).sum()

assert check("04.7", still_full) == "right"

# %% [markdown]
# **The open one.** A clock that stands still during the blanks does not mind more of them, as long as it stands *quite* still: a
# small Δ, 96 times, is no small Δ any more. With symbols in fixed places their age tells their rank, and the fixed
# model can learn it.

# %% [markdown]
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
# **4.** A note counts where it starts. Move the scale to all twelve roots.

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
# **The open one.** 2,880 frames.

# %%
waiting = 3 * 60 * 16 / 400

assert check("05.6", waiting) == "right"

# %% [markdown]
# **7.** Count where notes begin, then take the mean over the frames where any does.


# %%
def struck_together(clip):
    sounding = np.pad(clip > 0, ((1, 0), (0, 0)))
    begins = (sounding[1:] & ~sounding[:-1]).sum(axis=1)
    return begins[begins > 0].mean()


measured = struck_together(roll)

assert check("05.7", measured, roll) == "right"

# %% [markdown]
# **The open one.** Watch the validation loss: it turns up long before the copies get long. The measures of notebook 05 hardly
# notice, because a piece recited has the density, the scale and the rhythm of a real one; only the comparison with the
# training pieces shows it.

# %% [markdown]
# ## A1 The parallel scan
#
# **1.** Each round doubles how far a frame has heard: 1, 2, 4, ... The tenth round reaches 1,024 frames.

# %%
rounds, reach = 0, 1
while reach < 960:
    rounds, reach = rounds + 1, 2 * reach

assert check("A1.1", rounds) == "right"

# %% [markdown]
# **2.** On the way up, with step s, the frames 2s - 1, 4s - 1, ... take in another one; on the way down the frames
# 3s - 1, 5s - 1, ... (In A1, `record(blelloch, 960)` counts the same.)

# %%
steps = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
up = sum(len(range(2 * s - 1, 960, 2 * s)) for s in steps)
down = sum(len(range(3 * s - 1, 960, 2 * s)) for s in steps)

assert check("A1.2", up + down) == "right"

# %% [markdown]
# **3.** Keep everything, pour in nothing. From the left: (a 1, a 0 + b). From the right: (1 a, 1 b + 0).

# %%
neutral = (1, 0)

assert check("A1.3", neutral) == "right"

# %% [markdown]
# **4.** While the key is down the bucket keeps everything and gets 1 more; when it is up, it is emptied and gets
# nothing. So `a` and `b` are both the roll itself, as zeros and ones. Here by doubling:

# %%
a = b = (roll > 0).astype(float)
step = 1
while step < len(b):
    b = np.concatenate([b[:step], a[step:] * b[:-step] + b[step:]])
    a = np.concatenate([a[:step], a[step:] * a[:-step]])
    step *= 2

assert check("A1.4", b, roll) == "right"

# %% [markdown]
# **5.** A bucket from the end. The leak between frame t and t + 1 is a[t + 1].

# %%
a, direct = torch.rand(12), torch.randn(12)
whole, g = [], 0.0
for t in reversed(range(12)):
    g = direct[t] + (a[t + 1] * g if t < 11 else 0.0)
    whole.insert(0, g)

assert check("A1.5", torch.stack(whole), a, direct) == "right"

# %% [markdown]
# **The open one.** Watch the columns of the ledger. What keeps numbers in the cache raises the GB/s and leaves the bytes as they
# are; what saves work lowers the bytes; what joins operations lowers their number. An idea that moves none of them will
# not move the clock.

# %% [markdown]
# ## A2 Chords
#
# **1.** C is always down and costs nothing. E, G, F and A are fair coins.

# %%
nats_of_coins = 4 * np.log(2)

assert check("A2.1", nats_of_coins) == "right"

# %% [markdown]
# **2.** Eight fair coins make 256 frames, all equally likely; two of them are chords.

# %%
no_mixture = 2 / 2**8

assert check("A2.2", no_mixture) == "right"

# %% [markdown]
# **3.** One look for each note, and one more for each frame.

# %%
all_looks = (roll[1:] > 0).sum() + len(roll[1:])

assert check("A2.3", all_looks, roll) == "right"

# %% [markdown]
# **4.** Each key by itself: sum over the other two axes. Then all together.


# %%
def entropy(p):
    """Nats of an array of probabilities that sum to 1, none of them 0."""
    return -(p * np.log(p)).sum()


joint = np.random.default_rng(0).dirichlet(np.ones(8)).reshape(2, 2, 2)
alone = [entropy(joint.sum(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
gap = sum(alone) - entropy(joint)

assert check("A2.4", gap, joint) == "right"

# %% [markdown]
# **5.** What the first two keys cost together, less what the first costs, is what the second costs once the first is
# known; and so on. A key never costs more, on average, when the lower ones are known. Here the middle key gains 0.109
# nats and the last one 0.022: to know more keys need not help more.

# %%
first, two, three = entropy(joint.sum(axis=(1, 2))), entropy(joint.sum(axis=2)), entropy(joint)
costs = np.array([first, two - first, three - two])

assert check("A2.5", costs, joint) == "right"
assert np.allclose(alone - costs, [0, 0.109, 0.022], atol=5e-4)
assert np.isclose(sum(alone) - costs.sum(), gap)

# %% [markdown]
# **The open one.** Watch the onset frames, and give both runs the same number of steps. Turned round, the melody is decided first
# and the bass must fit. Relative pitch should help most where the training pieces are few; with transposed training
# pieces (`fit(..., transpose=5)`) it should help less.

# %% [markdown]
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
# **The open one.** Our LSTMs (three seeds), trained along pieces of 64 frames, answered all five questions in pieces of 256. Look
# at the forget gate: what was taught to last seven frames may last for hundreds if the gate has learned to be nearly 1
# for the call, and may not if a little leaks away in each frame. Without the first question nearly all our LSTMs
# guessed even in one window of 64, so they cannot show what windows of 16 lack. A `MusicMamba(num_pitches=4,
# d_model=48, n_layers=2)` answered all in one window of 64; compare that with windows of 16. And in the middle of a
# window the model would still remember the piece before, because the state is reset between windows, not between two
# frames. For this reason `PieceBatches` begins every piece with a window.

# %% [markdown]
# ## A4 Your own music
#
# **1.** All 30 must miss it. That happens in one folder of 24, and then the package moves a piece.

# %%
empty_validation = 0.9**30

assert check("A4.1", empty_validation) == "right"

# %% [markdown]
# **2.** A piece has 960 rows; the last window may begin 65 rows before the end.

# %%
windows = len(range(0, 960 - 64, 64))
steps_of_an_epoch = 40 * windows / 8

assert check("A4.2", steps_of_an_epoch) == "right"

# %% [markdown]
# **3.** Count each velocity, take the largest count.

# %%
velocity = np.array([64] * 7 + [70, 71, 70, 90, 5])
played = Notes(np.arange(12) / 4, np.arange(12) / 4 + 0.2, np.arange(60, 72), velocity)
commonest_share = np.bincount(played.velocity).max() / len(played.velocity)

assert check("A4.3", commonest_share, played) == "right"

# %% [markdown]
# **4.** Each tempo adds its own stretch: as many ticks as lie between its beginning and the next one, or the tick that
# was asked for.

# %%
begins, bpm = np.array([0, 1920, 2880]), np.array([120.0, 40.0, 480.0])
ticks = np.array([0, 480, 1920, 2400, 2880, 4800])
seconds = np.zeros(len(ticks))
for begin, end, tempo in zip(begins, [*begins[1:], np.inf], bpm):
    seconds += (np.minimum(ticks, end) - begin).clip(0) * 60 / tempo / 480

assert check("A4.4", seconds, ticks, begins, bpm) == "right"

# %% [markdown]
# **5.** The pitches differ by the same number everywhere. For the times, fit a straight line through all pairs: its
# slope is the factor. (The last time over the last time would do nearly as well.)

# %%
rng = np.random.default_rng(0)
first = Notes(np.arange(50) / 4, np.arange(50) / 4 + 0.2, rng.integers(50, 70, 50), np.full(50, 64))
when = 1.25 * first.start + rng.normal(0, 1e-5, 50)
second = Notes(when, when + 0.2, first.pitch - 3, np.full(50, 64))
slope, offset = np.polyfit(first.start, second.start, 1)
higher_and_longer = [(second.pitch - first.pitch).mean(), slope]

assert check("A4.5", higher_and_longer, first, second) == "right"

# %% [markdown]
# **The open one.** Look at the reasons and remarks first: what they say about the folder usually explains the figures.

# %% [markdown]
# ## A5 Judging music
#
# **1.** C has the share 1/2, E 1/4, G and B 1/8 each; each adds `p log2(1 / p)`.

# %%
p = np.array([4, 2, 1, 1]) / 8
bits = np.sum(p * np.log2(1 / p))

assert check("A5.1", bits) == "right"

# %% [markdown]
# **2.** `n / (1 + (m - 1) r)`, with m = 5 clips of a piece: 200 clips are worth 66.7 (unrounded in the cell).

# %%
worth = 200 / (1 + (5 - 1) * 0.5)

assert check("A5.2", worth) == "right"

# %% [markdown]
# **3.** Nobody has it if all 30 fail to, each by themselves.

# %%
likely = 1 - (1 - luck(10, clips=12, choices=2)) ** 30

assert check("A5.3", likely) == "right"

# %% [markdown]
# **4.** The values of the roll where notes begin. All equally loud, it is 0, and that is noticed.

# %%
before = np.vstack([np.zeros((1, 88)), roll[:-1]])
spread_of_loudness = roll[(roll > 0) & (before == 0)].std()

assert check("A5.4", spread_of_loudness, roll) == "right"

# %% [markdown]
# **5.** For each number of guesses: how many must be right, and how often does she get there?


# %%
def at_least(right, n, p):
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(right, n + 1))


def power(n):
    needed = next(right for right in range(n + 2) if at_least(right, n, 1 / 3) < 0.05)
    return at_least(needed, n, 0.6)


enough_guesses = max(n for n in range(1, 100) if power(n) < 0.8) + 1

assert check("A5.5", enough_guesses) == "right"

# %% [markdown]
# **The open one.** Some that were tried by others: the mean size of a step of the lowest and of the highest note (basses leap,
# melodies walk); how alike the last chord is to the first; how often a leap is followed by a step back. Each will be
# blind to something; that is no fault as long as you know to what.
