# %% [markdown]
# # 03 · LSTM baseline: the next frame, and a first network
#
# Cover the right half of a piano roll. What comes next? In this notebook you
#
# - turn that into 88 yes/no questions, and write the loss by hand,
# - meet opponents that know next to nothing and are hard to beat,
# - build an LSTM cell in ten lines and find that PyTorch's does the same,
# - train a model in a loop that you can read whole, and see what it learned and what it did not,
# - let it play by itself, and hear what goes wrong,
# - save it, and go on training where you stopped.
#
# You need some Python and numpy, and notebooks 01 and 02. PyTorch is introduced here. It takes about four minutes on
# a laptop, and most of them are training. If a player is a still picture, run the cells (▶▶ in the toolbar).

# %% tags=["nbval-ignore-output"]
import itertools
import math
import os
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from midigen_utils.config import GRAD_CLIP, MIDI_CONFIG, SEQUENCE_LENGTH, scaled
from midigen_utils.data import keys_sounding, load_corpus, load_piano_rolls, midi_to_piano_roll, roll_to_notes
from midigen_utils.exercises import check
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn import Batches, SequenceDataset, evaluate, fit, fit_baselines, frame_nll, learning_rate_at
from midigen_utils.learn import load_checkpoint, load_model, make_optimizer, save_checkpoint
from midigen_utils.models import MusicLSTM, generate_music
from midigen_utils.show import BLUE, GREEN, GREY, ORANGE, note_name, player, plot_piano_roll

# %% [markdown]
# ## Settings
#
# As before: Bach's chorales, or after `make data` MAESTRO. The values on the right are for quick tests of this
# notebook; you get those on the left.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
PIECE = 7  # which piece of the validation split is looked at closely
FILES = scaled(full=300, fast=24)  # at most so many training files
HIDDEN = 256  # numbers in the memory of our model
STEPS = scaled(full=2400, fast=40)  # training steps
LEARNING_RATE = 1e-2  # at its highest
EVERY = scaled(full=200, fast=10)  # steps between two looks at validation
GOAL = scaled(full=0.97, fast=20)  # our model must need less than so many times the nats of Markov-1
SECONDS = scaled(full=16, fast=4)  # of music that a model plays by itself

corpus = load_corpus(CORPUS)
rolls, _ = load_piano_rolls(corpus, limit=FILES)
piece = corpus.split("validation")[PIECE]
roll = midi_to_piano_roll(piece.path, MIDI_CONFIG)  # (T, 88), velocities in [0, 1]
seed = roll[:SEQUENCE_LENGTH]  # its first four seconds

# %% [markdown]
# This is where the road leads. A model of the kind that you will build here was trained for about two hours on real
# performances (MAESTRO). It hears the first four seconds of a piece that it does not know, in orange, and goes on by
# itself. Our own model of today, trained for two minutes, will not get there.

# %% tags=["nbval-ignore-output"]
pretrained = load_model(MIDI_DATA / "pretrained" / "lstm.pt")
music = generate_music(pretrained, seed, SECONDS * 16, random_seed=6)
player(music, seed_frames=len(seed), title=f"After {piece.title}: the pretrained LSTM", composer=piece.composer)

# %% [markdown]
# ## The next frame as 88 questions
#
# A frame is a row of the roll: 88 keys, down or up. We ask of each key by itself: *is it down in the next frame?* The
# model answers each question with one number, its **logit**. Above 0 means rather yes, below 0 rather no, and the
# further away the surer.
#
# ### PyTorch in a few lines
#
# A *tensor* is an array, much like numpy's:

# %% tags=["nbval-check-output"]
frames = torch.from_numpy(roll > 0).float()  # 1.0 where a key is down
x, y = frames[None, :64], frames[None, 1:65]  # the input and its target, one frame later
print(tuple(frames.shape), frames.dtype, "input", tuple(x.shape), "target", tuple(y.shape))

# %% [markdown]
# The shape `(B, T, P)` will be with us all the way: `B` pieces of music side by side (a *batch*; here one), `T`
# frames, `P` = 88 keys. `None` in the brackets adds the `B`.
#
# What a tensor can do and an array cannot: it remembers how it was computed. So torch can find **slopes**. A slope says
# how a result answers to a small push. Push `w` from 3 to 3.001, and `(w - 1)**2` grows from 4 to 4.004: four times the
# push, so its slope is 4. To make the result smaller, move `w` against the slope, a little, again and again:

# %% tags=["nbval-check-output"]
w = torch.tensor(3.0, requires_grad=True)
for _ in range(5):
    loss = (w - 1) ** 2
    loss.backward()  # puts the slope into w.grad
    print(f"w {w.item():.3f}  loss {loss.item():.3f}  slope {w.grad.item():.3f}")
    with torch.no_grad():
        w -= 0.3 * w.grad  # a little downhill
    w.grad = None  # forget the old slope: torch would add the new one to it

# %% [markdown]
# That is training. A network has many thousands of such `w`, and all their slopes together are called the *gradient*.
# The training loop below does these same steps for all of them.
#
# ### From logit to probability
#
# The **sigmoid** squeezes a logit into a probability: $\sigma(z) = 1 / (1 + e^{-z})$.

# %% tags=["nbval-check-output"]
z = torch.tensor([-6.0, -2.0, 0.0, 2.0, 6.0])
for logit, probability in zip(z.tolist(), torch.sigmoid(z).tolist()):
    print(f"logit {logit:4.0f}: down with probability {probability:.4f}")

# %% [markdown]
# ## The loss by hand
#
# How wrong was an answer? Take the probability that the model gave to what really happened, and its negative
# logarithm. Sure and right costs nearly nothing; sure and wrong costs much. Over a frame we add up the 88 keys:
#
# $$\text{loss} = -\sum_{k=1}^{88} \big( y_k \log p_k + (1 - y_k) \log(1 - p_k) \big)$$
#
# where $y_k$ is 1 if key $k$ is down and $p_k = \sigma(z_k)$. It is called *binary cross-entropy*.


# %%
def surprise(logits, target):
    """Nats of each frame: `(..., P)` and `(..., P)` to `(...)`."""
    p = 1 / (1 + torch.exp(-logits))
    return -(target * torch.log(p) + (1 - target) * torch.log(1 - p)).sum(-1)


# %% [markdown]
# The unit is the **nat**, a unit of surprise: whoever is surprised by `n` nats had given the truth the probability
# `exp(-n)`. A model without any idea gives each key a logit of 0. Every key is a fair coin:

# %% tags=["nbval-check-output"]
no_idea = torch.zeros(1, 64, 88)
nats = surprise(no_idea, y)  # (B, T): one number a frame
print(tuple(nats.shape), f"each frame {nats[0, 0]:.2f} nats; 88 x log 2 = {88 * math.log(2):.2f}")
print(f"one nat: {math.exp(-1):.3f}   ten nats: {math.exp(-10):.6f}   so many: {math.exp(-nats[0, 0]):.1e}")

# %% [markdown]
# The twin check, with logits drawn at random: torch's function gives one number a key, and the package's `frame_nll`
# adds them up as we do. (`nll`: negative log-likelihood, the long name of the same thing.)

# %%
some = torch.randn(1, 64, 88, generator=torch.Generator().manual_seed(0))
assert torch.allclose(surprise(some, y), binary_cross_entropy_with_logits(some, y, reduction="none").sum(-1))
assert torch.allclose(surprise(some, y), frame_nll(some, y))

# %% [markdown]
# ### Why logits, and not probabilities?
#
# > **A trap.** Float32 has about seven digits. From a logit of 17 on, the sigmoid is rounded to 1 exactly, and
# > `log(1 - 1)` is minus infinity. Multiply by 0 and you get NaN, "not a number"; one NaN in a loss makes every weight
# > NaN in the next step.

# %% tags=["nbval-check-output"]
z, truth = torch.tensor([20.0, 20.0, -200.0]), torch.tensor([1.0, 0.0, 0.0])
print("sigmoid", torch.sigmoid(z).tolist())
print("by hand", [surprise(z[k : k + 1], truth[k : k + 1]).item() for k in range(3)])
print("torch  ", binary_cross_entropy_with_logits(z, truth, reduction="none").numpy().round(6).tolist())

# %% [markdown]
# Read the three columns. The first key was surely down, and the loss should be 0; ours is not a number. In the second
# the model was sure and wrong: 20 nats, not infinity. Torch computes from the logit and never takes the logarithm of
# something rounded. You will find the formula in exercise 5.
#
# So models return logits, and the loss takes logits. Where do we need the sigmoid at all? Only to flip the coins when
# the model plays, and to draw pictures.
#
# ## Baselines before models
#
# Is 5 nats per frame good? Nobody can say, without opponents. Notebook 01 found that most frames are like the one
# before; so here are four opponents who can do nothing but count. The first two look at nothing; the last two look
# only at whether *this* key was down one frame ago. To write all four alike, each is a table with two rows: the
# probability to be down for keys that were up, and for keys that were down. In the first two both rows are the same.


# %%
def frame_pairs(rolls):
    """All frames but the last of each piece, and the frame after each: `(F, 88)` bool, twice."""
    down = [some > 0 for some in rolls]
    return np.concatenate([d[:-1] for d in down]), np.concatenate([d[1:] for d in down])


def rate(hits, seen):
    """A share, with half a count added each way: never 0, never 1."""
    return (hits + 0.5) / (seen + 1)


before, after = frame_pairs(rolls["train"])
up = ~before

# %% [markdown]
# Why half a count? A key that never sounded in training would get the probability 0, and on the day it sounds the
# surprise would be infinite. Never say never.
#
# - **silence**: hardly anything sounds. One small probability for all keys.
# - **marginal**: each key has its own: middle keys sound more often.
# - **copy last frame**: what is down stays down, what is up stays up, each with one rate for all keys.
# - **Markov-1**: the same, with two rates of its own for each key. (After Markov, who studied chains in which only the
#   last step counts.)

# %%
everywhere = np.ones((2, 88))
tables = {
    "silence": rate(after.sum(), after.size) * everywhere,
    "marginal": rate(after.sum(axis=0), len(after)) * everywhere,
    "copy last frame": np.stack([rate((after & was).sum(), was.sum()) * everywhere[0] for was in (up, before)]),
    "Markov-1": np.stack([rate((after & was).sum(axis=0), was.sum(axis=0)) for was in (up, before)]),
}

# %% [markdown]
# The twin check: the package's `fit_baselines` counts the last three in the same way and wraps each as a model, with
# `forward(x) -> (logits, hidden)`.

# %%
baselines = fit_baselines(rolls["train"])
for name, model in baselines.items():
    assert np.allclose(torch.sigmoid(model.logits).numpy(), tables[name], rtol=1e-3, atol=1e-7)

# %% [markdown]
# Now let them predict the validation split. We keep three averages: over all frames; over those that *change*, that
# is, differ from the frame before; and over those with an *onset*, where a key goes down. Beside them stands F1, a
# mark for yes/no answers: of the keys that are down, how many were called (recall), and of the keys called, how many
# are down (precision), in one number from 0 to 1.


# %%
def scores(table, x, y):
    """Nats per frame on all, changing and onset frames, and F1 of the keys above one half."""
    p = np.where(x, table[1], table[0])  # (F, 88)
    nats = -np.log(np.where(y, p, 1 - p)).sum(axis=1)  # (F,)
    change, onset = (x != y).any(axis=1), (y & ~x).any(axis=1)
    f1 = 2 * ((p > 0.5) & y).sum() / ((p > 0.5).sum() + y.sum())
    return nats.mean(), nats[change].mean(), nats[onset].mean(), f1


def print_scores(table):
    print(f"{'nats per frame':<18} {'all':>7} {'change':>7} {'onset':>7} {'F1':>7}")
    for name, row in table.items():
        print(f"{name:<18}" + "".join(f" {value:7.2f}" for value in row))


# %% tags=["nbval-ignore-output"]
x_val, y_val = frame_pairs(rolls["validation"])
score_table = {name: scores(table, x_val, y_val) for name, table in tables.items()}
print_scores(score_table)

# %% [markdown]
# Read it line by line. Silence costs much. The marginal knows the middle of the keyboard, and gains. To copy is
# cheap: on *all* frames it needs a fraction of that. But look at its onsets: a frame in which something begins costs
# the copier a multiple of its average. (In Bach, even more than silence pays for it!) It never expects anything.
# Markov-1 is the one to beat.
#
# And F1? The copier gets a high mark, and it has not one idea of its own. F1 counts cells, and nearly all cells are as
# before. So in this course nats come first, and onset frames are looked at by themselves.
#
# The package's `evaluate` gives the same numbers, for any model:

# %%
for name, model in baselines.items():
    result = evaluate(model, rolls["validation"])
    expected = score_table[name][:3]
    assert np.allclose([result["nll"], result["nll_change"], result["nll_onset"]], expected, rtol=1e-3)
assert score_table["copy last frame"][2] > 1.5 * score_table["copy last frame"][0]
assert score_table["Markov-1"][0] < score_table["copy last frame"][0] < score_table["marginal"][0]

# %% [markdown]
# ## A cell with a memory
#
# To beat Markov-1 a model must know more than the frame before: how long has this chord sounded, which tonality are
# we in, where was the melody going? It needs a **memory** that it carries from frame to frame. An LSTM (*long
# short-term memory*) has two rows of numbers for it:
#
# | letter | what | shape |
# |---|---|---|
# | `x` | the frame that comes in | `(B, P)` |
# | `c` | the memory: a row of stores, changed little by little | `(B, H)` |
# | `h` | what the cell shows of it | `(B, H)` |
# | `i` | input gate: how much of the new goes in | `(B, H)` |
# | `f` | forget gate: how much of the old stays | `(B, H)` |
# | `g` | the new itself, between -1 and 1 | `(B, H)` |
# | `o` | output gate: how much of the memory is shown | `(B, H)` |
#
# A gate is a row of numbers between 0 (closed) and 1 (open), and computed from what comes in and what was shown last:
# that is why the cell can *decide* what to keep. In the code, `@` multiplies a row of numbers by a table: each result
# is a weighted sum of all inputs, with weights of its own.


# %%
def lstm_cell(x, h, c, W, U, b):
    """One frame: what comes in, what was shown and the memory, to what is shown and the new memory."""
    gates = x @ W.T + h @ U.T + b  # (B, P) @ (P, 4H) + (B, H) @ (H, 4H) + (4H,) = (B, 4H)
    i, f, g, o = gates.chunk(4, dim=-1)  # (B, H) each
    i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)  # between 0 and 1
    g = torch.tanh(g)  # between -1 and 1
    c = f * c + i * g  # (B, H): keep some of the old, add some of the new
    h = o * torch.tanh(c)  # (B, H)
    return h, c


# %% [markdown]
# Is this what `nn.LSTM` computes? We let it read a real window, and run our cell over the same frames with its
# weights. (It has two rows of `b` where one would do. We add them up.)

# %%
H = 32
torch.manual_seed(0)
library = nn.LSTM(input_size=88, hidden_size=H, batch_first=True)
W, U = library.weight_ih_l0, library.weight_hh_l0  # (4H, P), (4H, H)
b = library.bias_ih_l0 + library.bias_hh_l0  # (4H,)

# %% tags=["nbval-check-output"]
h, c = torch.zeros(1, H), torch.zeros(1, H)
shown = []
for t in range(x.shape[1]):
    h, c = lstm_cell(x[:, t], h, c, W, U, b)
    shown.append(h)
by_hand = torch.stack(shown, dim=1)  # (B, T, H)
theirs, (last_h, last_c) = library(x)
print("by hand", tuple(by_hand.shape), "nn.LSTM", tuple(theirs.shape))

# %%
assert torch.allclose(by_hand, theirs, atol=1e-6)
assert torch.allclose(h, last_h[0], atol=1e-6) and torch.allclose(c, last_c[0], atol=1e-6)

# %% [markdown]
# The same numbers. From here on the library does it, because it is faster: see how much here.

# %% tags=["nbval-ignore-output"]
started = time.perf_counter()
for t in range(x.shape[1]):
    h, c = lstm_cell(x[:, t], h, c, W, U, b)
loop = time.perf_counter() - started
started = time.perf_counter()
_ = library(x)
print(f"64 frames: by hand {1000 * loop:.1f} ms, nn.LSTM {1000 * (time.perf_counter() - started):.1f} ms")

# %% [markdown]
# ### Is it recurrent?
#
# Yes: the `h` and `c` of a frame are needed for the next, so frames must be computed one after the other. That is the
# loop above, and `nn.LSTM` has it, too, inside. Notebook 04 meets a model that can do without.
#
# ### Why does h start at zero?
#
# Because nothing has been heard yet. `c = 0` is an empty memory, and `h = 0` adds nothing to the gates, so that the
# first frame speaks for itself. Any other start would say something about music that nobody has played.
#
# ### What does the forget gate do?
#
# It multiplies. A gate that stays at `f` has `fⁿ` of a memory left after `n` frames. After how many is half of it
# gone?

# %% tags=["nbval-check-output"]
for f in (0.5, 0.9, 0.99, 0.999):
    half_life = math.log(0.5) / math.log(f)
    print(f"f = {f:<5}: half is left after {half_life:6.1f} frames, {half_life / 16:5.2f} s")

# %% [markdown]
# To remember a phrase, gates must stay very close to 1. To let go of a chord they must close. Each of the `H` stores
# has its own gate and may do something else, and what they do is *learned*.
#
# ## The model
#
# A layer of LSTM cells, and one linear layer that turns what it shows into 88 logits. (With `num_layers=2` a second
# layer reads what the first one shows.) A *class* is a plan for a thing that keeps its own data. `__init__` makes the
# parts, with their weights, and keeps them in `self`; `super().__init__()` is a line that torch needs. `forward` says
# what happens to `x`; one calls it as `model(x)`. `nn.Linear(H, 88)` makes 88 weighted sums of H numbers, each with
# weights of its own and one number added. Here it is, whole:


# %%
class NextFrame(nn.Module):
    def __init__(self, num_pitches=88, hidden_size=HIDDEN, num_layers=1):
        super().__init__()
        self.lstm = nn.LSTM(num_pitches, hidden_size, num_layers, batch_first=True)
        self.output = nn.Linear(hidden_size, num_pitches)

    def forward(self, x, hidden=None):
        """Frames `(B, T, P)` to logits of the next `(B, T, P)`, and `hidden`, to go on with."""
        h, hidden = self.lstm(x, hidden)  # (B, T, H), and the last (h, c) of each layer
        return self.output(h), hidden


# %% [markdown]
# The package's `MusicLSTM` is the same, with a longer docstring, and larger numbers to begin with in the weights that
# read the frame: of 88 keys some four are down, and torch's own start is too faint for that. So its weights must fit,
# and the logits must agree:

# %% tags=["nbval-check-output"]
torch.manual_seed(0)
untrained = MusicLSTM(hidden_size=HIDDEN, num_layers=1).eval()
ours = NextFrame()
print(ours.load_state_dict(untrained.state_dict()))
print(f"{sum(p.numel() for p in ours.parameters()):,} numbers to learn")

# %%
with torch.no_grad():  # no gradients needed: saves time and memory
    logits, _ = ours(x)
    assert torch.equal(logits, untrained(x)[0])

# %% [markdown]
# ### Whole = chunks = steps
#
# What is `hidden` good for? It is all that the model knows of the past: `(h, c)` of each layer. Give it back, and the
# model goes on as if it had never stopped. So it makes no difference whether it reads 64 frames at once, in chunks, or
# one by one; and when it plays, it reads each of its own frames once.


# %% tags=["nbval-check-output"]
def in_chunks(model, x, size):
    """Logits of all frames, read so many at a time."""
    hidden, parts = None, []
    for chunk in x.split(size, dim=1):  # (B, size, P)
        logits, hidden = model(chunk, hidden)
        parts.append(logits)
    return torch.cat(parts, dim=1)


with torch.no_grad():
    for size in (64, 10, 1):
        agree = torch.allclose(in_chunks(untrained, x, size), logits, atol=1e-5)
        print(f"{size:2d} frames at a time: the same logits: {agree}")

# %% [markdown]
# ## Untrained first
#
# What does it say before it has learned anything? Its logits are small numbers drawn at random, so it should be near
# the 88 fair coins.

# %%
examples = rolls["validation"].spread(6)  # six pieces, to look at often
untrained_nats = evaluate(untrained, examples)["nll"]
print(f"untrained: {untrained_nats:.1f} nats per frame; 88 fair coins: {88 * math.log(2):.1f}")
assert abs(untrained_nats - 88 * math.log(2)) < 6

# %% tags=["nbval-ignore-output"]
noise = generate_music(untrained, seed, 24, random_seed=0)
player(noise, seed_frames=len(seed), title="Untrained, a second and a half")

# %% [markdown]
# Half of the keyboard, and other keys in every frame. Remember it: this is what 61 nats sound like.
#
# ## The training loop
#
# First the batches. `SequenceDataset` cuts the windows of 64 frames that notebook 02 ended with, and `Batches` deals
# them out in a random order, 16 at a time. When all are dealt, a new *epoch* begins.

# %%
windows = SequenceDataset(rolls["train"])
batches = Batches(windows, batch_size=16)
x, y = next(batches.epoch(0))
print(len(windows), "windows,", len(batches), "batches an epoch; x", tuple(x.shape), "y", tuple(y.shape))
assert torch.equal(x[:, 1:], y[:, :-1])  # the target is the input, one frame later

# %% [markdown]
# > **A trap: the shift.** Without that assert, `y = x` by mistake gives a model with a wonderful loss: it is asked for
# > a frame that it can see. It learns to copy, and plays one chord for ever. If your loss falls below all that you
# > thought possible, look at the targets first.
#
# And here is the loop. Apart from the clipping, five lines in the middle are the whole of it: predict, compare, forget
# the old slopes, find the new ones, move.


# %%
def train(model, batches, steps, highest, every=None, look=None):
    """Train for so many steps; returns the loss (nats per frame) and the length of the gradient at each."""
    optimizer = make_optimizer(model, highest)  # AdamW
    loss_function = nn.BCEWithLogitsLoss()  # mean over all cells
    endless = itertools.chain.from_iterable(map(batches.epoch, itertools.count()))  # epoch 0, 1, 2, ... without end
    losses, norms = [], []
    model.train()
    for step, (x, y) in zip(range(steps), endless):  # (B, T, P) each
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, steps, highest)
        logits, _ = model(x)
        loss = loss_function(logits, y)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        optimizer.step()
        losses.append(88 * loss.item())
        norms.append(norm.item())
        if every and (step + 1) % every == 0:
            look(step + 1, losses)
    return losses, norms


# %% [markdown]
# - `BCEWithLogitsLoss` is the loss from above, averaged over keys as well as frames. Times 88 it is nats per frame.
# - `AdamW` moves each weight downhill, with a step length of its own that depends on how steady its slope was. It
#   also shrinks the matrices a little in each step, so that no weight grows large without reason.
# - `clip_grad_norm_` is explained below.
# - `learning_rate_at` says how far to move: little at first, while everything is still wrong; then far; then less and
#   less, to settle.

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(6, 2.2), layout="constrained")
ax.plot([learning_rate_at(step, STEPS, 1.0) for step in range(STEPS)], color=BLUE)
_ = ax.set(xlabel="step", ylabel="share of the highest")

# %% [markdown]
# What to see: a short climb, a long way down to 0. By hand it is three lines, and the package's agrees:


# %%
def rise_and_fall(step, steps, highest):
    rise = max(1, min(100, steps // 10))  # steps
    falling = (1 + math.cos(math.pi * step / steps)) / 2  # half a cosine, from 1 to 0
    return highest * min((step + 1) / rise, falling)


for steps in (1, 30, 1000):
    assert all(rise_and_fall(t, steps, 1e-3) == learning_rate_at(t, steps, 1e-3) for t in range(steps))

# %% [markdown]
# Every `EVERY` steps we look at six validation pieces. `evaluate` reads each from its start to its end. Training takes
# two minutes or so, and several times as long on a machine that is busy with other work. While it runs: the rows below
# have to fall below Markov-1, and they start at 61.

# %% tags=["nbval-ignore-output"]
history, started = [], time.perf_counter()
markov = evaluate(baselines["Markov-1"], examples)["nll"]
print(f"Markov-1 needs {markov:.2f} nats per frame on these pieces")


def look(step, losses):
    row = {"step": step, "train_loss": np.mean(losses[-EVERY:])}
    row["val_loss"] = evaluate(model, examples)["nll"]
    history.append(row)
    seconds = time.perf_counter() - started
    print(f"step {step:4d}  training {row['train_loss']:6.2f}  validation {row['val_loss']:6.2f}  {seconds:4.0f} s")


torch.manual_seed(0)
model = MusicLSTM(hidden_size=HIDDEN, num_layers=1)
losses, norms = train(model, batches, STEPS, LEARNING_RATE, EVERY, look)

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(10, 3.5), layout="constrained")
ax.plot(np.arange(STEPS) + 1, losses, color=BLUE, linewidth=0.8, label="training, each batch")
ax.plot([row["step"] for row in history], [row["val_loss"] for row in history], "o-", color=ORANGE, label="validation")
for name, colour in (("marginal", GREY), ("Markov-1", GREEN)):
    nats = evaluate(baselines[name], examples)["nll"]
    ax.axhline(nats, color=colour, linestyle=":", label=f"{name}: {nats:.2f}")
ax.set(xlabel="step", ylabel="nats per frame", xscale="log", yscale="log")
ax.set_yticks([2, 5, 10, 20, 50], [2, 5, 10, 20, 50])
ax.minorticks_off()
_ = ax.legend(frameon=False)

# %% [markdown]
# What to see: both axes are logarithmic, so that beginning and end are both in view. First the curve falls from 61 to
# about the marginal, the upper dotted line: to say "no" most of the time, and to know the middle of the keyboard, is
# learned in a few dozen steps. Then it discovers "as before", and falls to Markov-1. What lies below the lower dotted
# line is more than one look back at each key can give.
#
# The more steps, the lower. That is why our model is small: we tried two layers, and larger ones, for the same number
# of seconds. They took fewer steps, and ended higher. With an hour one can afford more: the pretrained model has two
# layers with 704 numbers each. How it is on your computer is exercise 6.

# %%
assert np.mean(losses[-10:]) < 0.5 * losses[0]

# %% [markdown]
# > **Devices.** The package's `fit` moves model and batches to a GPU if there is one, and computes there in *mixed
# > precision*: products of matrices in 16 bits, which is faster; sums and weights in 32, which is safer. On a CPU it
# > stays with 32 bits. Our loop above runs on the CPU.
#
# ### Why is the gradient clipped?
#
# To find the slope of a weight, `backward()` goes back through all 64 frames, and multiplies at each. A factor a
# little above 1 explodes, one a little below 1 vanishes:

# %% tags=["nbval-check-output"]
for factor in (0.8, 0.99, 1.0, 1.2):
    w = torch.tensor(factor, requires_grad=True)
    h = torch.tensor(1.0)
    for _ in range(64):
        h = w * h  # the smallest recurrent network
    h.backward()
    print(f"factor {factor:<4}: after 64 frames {h.item():9.3g}, slope {w.grad.item():9.3g}")

# %% [markdown]
# The LSTM's answer to vanishing is that its memory is *added to*, `c = f * c + i * g`: while the forget gate stays
# near 1, the slope goes back through that sum unchanged. (The gate came three years after the sum, so that a cell can
# also let go.) Against exploding, all gradients are taken together as one long arrow; if it is longer than 1, it is
# shortened to 1. The direction stays. By hand, on our model:

# %%
loss = 10_000 * binary_cross_entropy_with_logits(model(x)[0], y)  # much too steep
model.zero_grad()
loss.backward()
arrows = [p.grad.clone() for p in model.parameters()]
length = torch.sqrt(sum((arrow**2).sum() for arrow in arrows))
assert length > GRAD_CLIP
nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
for p, arrow in zip(model.parameters(), arrows):
    assert torch.allclose(p.grad, arrow * GRAD_CLIP / length, rtol=1e-4, atol=1e-8)

# %% [markdown]
# How long was it in our training?

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(10, 2.5), layout="constrained")
ax.plot(norms, color=BLUE, linewidth=0.8)
ax.axhline(GRAD_CLIP, color=ORANGE, linestyle=":", label="clipped above")
ax.set(xlabel="step", ylabel="length of the gradient", yscale="log")
ax.legend(frameon=False)
print(f"clipped in {np.mean(np.array(norms) > GRAD_CLIP):.1%} of the steps; the longest {max(norms):.2f}")

# %% [markdown]
# What to see: longest at the beginning, and then far below the dotted line. Clipping is a seat belt. One bad batch in
# a hundred thousand can undo a night of training; the price of the belt is one line.
#
# ### A trap: forgetting `model.eval()`
#
# Some layers do one thing in training and another afterwards. *Dropout* sets random numbers to 0 while it trains, so
# that a model cannot rely on any single one. `model.train()` switches that on, `model.eval()` off. Forget the second,
# and validation and music are computed by a damaged model. No error tells you:

# %% tags=["nbval-check-output"]
dropping = MusicLSTM(hidden_size=32, dropout=0.5)
for name, training in (("train()", True), ("eval() ", False)):
    dropping.train(training)  # eval() is short for train(False)
    print(name, "the same answer twice:", torch.equal(dropping(x)[0], dropping(x)[0]))

# %% [markdown]
# `evaluate` and `generate_music` switch it off, and back to what it was when they are done.
#
# ### The same with the package
#
# `fit` is this loop, with files, a progress bar, and whatever else a long training needs. The twin check: three
# pieces, two epochs, once by each, from the same weights and in the same order.


# %%
def small_model():
    torch.manual_seed(0)
    return MusicLSTM(hidden_size=32, num_layers=1)


tiny = {"train": [rolls["train"][i] for i in range(3)], "validation": [rolls["validation"][0]]}
tiny_batches = Batches(SequenceDataset(tiny["train"]), batch_size=16)
by_hand, by_package = small_model(), small_model()
options = {"learning_rate": 3e-3, "batch_size": 16, "device": "cpu"}

# %% tags=["nbval-ignore-output"]
_ = train(by_hand, tiny_batches, 2 * len(tiny_batches), 3e-3)
with tempfile.TemporaryDirectory() as folder:
    fitted = fit(by_package, tiny, epochs=2, folder=folder, **options)

# %%
for a, b in zip(by_hand.parameters(), by_package.parameters(), strict=True):
    assert torch.allclose(a, b, atol=1e-6)

# %% [markdown]
# `fit` returns a *history*: a row for each epoch. `plot_history` draws it.

# %% tags=["nbval-check-output"]
print([name for name in fitted[0]])

# %% [markdown]
# ## What it learned, and what it did not
#
# The whole validation split, all opponents and our model:

# %% tags=["nbval-ignore-output"]
result = evaluate(model, rolls["validation"], threshold=0.5)
score_table["our LSTM"] = [result[name] for name in ("nll", "nll_change", "nll_onset", "f1")]
print_scores(score_table)

# %% [markdown]
# Compare the last two lines. On all frames our model is below Markov-1: it has learned something that the frame before,
# key by key, cannot tell. It gained most where something begins, for it has an idea *when* and *which*. But an onset
# frame still costs many times the average frame: what comes next is a choice, and it cannot know Bach's or the
# pianist's mind. And F1 hardly moved, or not at all. It does not see the difference.

# %%
assert result["nll"] < untrained_nats / 2
assert result["nll"] < GOAL * score_table["Markov-1"][0]

# %% [markdown]
# (A test of the notebook stops after a few steps. Then our model cannot win yet.)
#
# Look at it at work. Above, a phrase; below it, what the model thought likely *one frame before*; and last, how much
# each frame surprised it.

# %%
with torch.no_grad():
    logits, _ = model.eval()(frames[None, :-1])
probability = torch.sigmoid(logits)[0].numpy()  # (T - 1, 88), of frames 1 to T - 1
cost = frame_nll(logits, frames[None, 1:])[0].numpy()  # (T - 1,)

# %% tags=["nbval-ignore-output"]
phrase = slice(0, 10 * 16)
keys = np.flatnonzero(roll[phrase].any(axis=0)) + 21
span = keys[0] - 3, keys[-1] + 3
fig, axes = plt.subplots(3, 1, figsize=(10, 6.5), sharex=True, layout="constrained", height_ratios=[3, 3, 1.5])
plot_piano_roll(roll[1:][phrase] > 0, ax=axes[0], title="what came", pitch_range=span)
expected = np.where(probability > 0.02, probability, 0)[phrase]  # fainter than 2 % is left out
plot_piano_roll(expected, ax=axes[1], title="what was expected", pitch_range=span)
axes[2].bar(np.arange(len(cost[phrase])) / 16, cost[phrase], width=1 / 16, align="edge", color=ORANGE)
axes[2].set(xlabel="time (s)", ylabel="nats")
for ax in axes[:2]:
    ax.set_xlabel("")

# %% [markdown]
# What to see: the long bars come back below: keys that are down are expected to stay. Around them are faint cells, keys
# that *might* go down. At the left edge of a note the lower picture is empty or faint, and the orange bar is high: the
# model is late, it believes a note when it has begun. Where it is spread thinly over several keys, it knows *that*
# something will change, and not what.
#
# ### What does it get wrong?
#
# A key can do four things from one frame to the next. Which of them cost the nats?

# %% tags=["nbval-ignore-output"]
truth, was = frames[1:].numpy() > 0, frames[:-1].numpy() > 0
key_cost = binary_cross_entropy_with_logits(logits[0], frames[1:], reduction="none").numpy()  # (T - 1, 88)
moves = {"stays up": ~was & ~truth, "stays down": was & truth, "goes down": ~was & truth, "comes up": was & ~truth}
print("of our piece  share of cells  share of nats  nats each")
for name, cells in moves.items():
    share = key_cost[cells].sum() / key_cost.sum()
    print(f"{name:<12} {100 * cells.mean():13.2f} % {100 * share:12.1f} % {key_cost[cells].mean():10.2f}")

# %% [markdown]
# Keys that stay as they are, are almost all the cells. The few that go down cost much, each of them: with 88 keys to
# choose from, even a good guess gives each a small probability. For those that come up there are fewer candidates:
# compare the last column.

# %% tags=["nbval-ignore-output"]
by_key = key_cost.sum(axis=0)
played = moves["goes down"].sum(axis=0)
for key in np.argsort(-by_key)[:5]:
    print(f"{note_name(key + 21):<4} cost {by_key[key]:6.1f} nats, struck {played[key]:3d} times")

# %% [markdown]
# And the keys that cost most are those that are used most. There is no blind spot on the keyboard; the
# blind spot is the moment.
#
# ## Let it play
#
# Until now the model was told after each frame what really came. Now it must live with its own answers: draw each key
# with its probability, give the frame drawn back as input, and so on. That is `generate_music`. (A *temperature* of 1
# takes the probabilities as they are; notebook 05 turns that knob.)

# %% tags=["nbval-ignore-output"]
own = generate_music(model, seed, SECONDS * 16, temperature=1.0, random_seed=0)
player(own, seed_frames=len(seed), title=f"After {piece.title}: our LSTM", composer=piece.composer)

# %% [markdown]
# Listen to where the seed ends. Does the music hold the last chord and sink into silence? Do wrong notes pop up, here
# and there, and hang on? Does anything return, a rhythm, an ending? To compare, this is how the piece itself goes on:

# %% tags=["nbval-ignore-output"]
player(roll[: len(own)], title=piece.title, composer=piece.composer)

# %% [markdown]
# One piece is an accident. So we let the model go on from eight pieces at once: a seed may have the shape
# `(B, S, 88)`.

# %%
validation = rolls["validation"]
chosen = np.flatnonzero(validation.lengths >= (4 + SECONDS) * 16)[:8]
real = np.stack([validation[i][: (4 + SECONDS) * 16] for i in chosen])  # (B, T, 88)
free = generate_music(model, real[:, :SEQUENCE_LENGTH], SECONDS * 16, random_seed=0)  # (B, T, 88)

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(1, 2, figsize=(10, 3), sharey=True, layout="constrained")
for ax, music, title in zip(axes, (real, free), ("the real pieces", "our LSTM")):
    for one in music:
        count = np.convolve(keys_sounding(one), np.ones(16) / 16, mode="valid")  # the mean over the last second
        ax.plot(np.arange(len(count)) / 16 + 1, count, color=BLUE, linewidth=1, alpha=0.7)
    ax.axvline(SEQUENCE_LENGTH / 16, color=ORANGE, linestyle="--", linewidth=1)
    ax.set(xlabel="time (s)", title=title)
_ = axes[0].set(ylabel="keys down", ylim=(0, None))

# %% [markdown]
# What to see: on the left real pieces, each a line. On the right the same until the dashed line; then the model is
# alone. Follow single lines: where one sinks towards 0, the music has holes; where one climbs and stays, it drones.
# The *average* of the lines may well be right, and yet each of them wanders.
#
# A few habits in numbers, of what comes after the seed. The pretrained model has two output layers, called *heads*, on
# one memory: `head="chords"`, for which it was trained, and `head="keys"`, 88 logits like ours. It is asked twice.


# %%
def habits(music):
    """Keys down, keys struck in a frame with an onset, share of silent frames, longest note (s, mean of pieces)."""
    down = music[:, SEQUENCE_LENGTH:] > 0  # (B, T, 88)
    struck = (down[:, 1:] & ~down[:, :-1]).sum(axis=2)  # (B, T - 1)
    notes = [roll_to_notes(one, MIDI_CONFIG, velocity_threshold=0) for one in down]
    longest = [np.max(n.end - n.start, initial=0) for n in notes]
    return (
        down.sum(axis=2).mean(),
        struck.sum() / max(1, (struck > 0).sum()),
        1 - down.any(axis=2).mean(),
        np.mean(longest),
    )


# %% tags=["nbval-ignore-output"]
seeds = real[:, :SEQUENCE_LENGTH]
players = {"the real pieces": real, "our LSTM": free}
for head in ("keys", "chords"):
    name = {"keys": "pretrained, 88 coins", "chords": "pretrained, chords"}[head]
    players[name] = generate_music(pretrained, seeds, SECONDS * 16, head=head, random_seed=0)
print(" " * 20, "keys down  struck together  silent  longest note")
for name, music in players.items():
    keys_down, together, silent, longest = habits(music)
    print(f"{name:<20} {keys_down:10.1f} {together:16.2f} {100 * silent:5.1f} % {longest:11.1f} s")

# %% [markdown]
# ### Why does it drone, or fall silent?
#
# There are two reasons.
#
# **88 coins do not talk to each other.** Suppose that a chord of four voices may be followed by one of two others. The
# model rightly gives each of their eight keys one half. Then the coins are flipped, each by itself, and what comes out
# is one of 256 mixtures, hardly ever one of the two chords. Or none of the new keys comes, and there is a hole. Look at
# "struck together" in the table, our model against the real pieces. In a chorale voices move together; coins fall one
# by one. (The pretrained model learned from pianists, who strike keys one by one more often than a choir sings. And its
# coins strike several keys at once by accident, and not those that belong together.)
#
# Each answer was as good as it can be; what is missing is that they belong together. The chord head decides one key
# after the other, `p(key | lower keys)` (`midigen_utils/models/chords.py`; appendix [A2](A2_chords.ipynb) builds it by
# hand). The pretrained model at the top of this notebook has it. Here is the same network with the same seed, but
# with 88 coins:

# %% tags=["nbval-ignore-output"]
coins = generate_music(pretrained, seed, SECONDS * 16, head="keys", random_seed=6)
player(coins, seed_frames=len(seed), title="The pretrained LSTM with 88 coins", composer=piece.composer)

# %% [markdown]
# Play it after the one at the top. Both have the same memory of the same music; what differs is how it is asked. (To
# be fair to the coins: that memory was trained for the chord head, and they learned to read it on the side. A model
# trained for coins alone may play better than this.)
#
# **It hears itself.** In training every input was real music. Now the input is what it has played, mistakes included.
# An odd chord is something that it never saw in training, so the next answer is worse, and so on: small errors pile
# up. This is called *exposure bias* (Ranzato et al. 2016). Two attractors are the easiest to fall into: keys that are
# down stay down (a drone), and silence follows silence.
#
# Does longer training help? A sharper answer leaves less to chance, so there are fewer mistakes to hear. But no amount
# of it makes 88 coins agree.
#
# ## Save, load, resume
#
# A trained model is its numbers. A *checkpoint* keeps them in a file, and with them what is needed to go on training:
# the optimiser's own memory, the epoch, and the validation loss. (Our loop did not keep its optimiser, so we save a
# fresh one.)

# %%
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "our_lstm.pt"
save_checkpoint(path, model, make_optimizer(model), epoch=0, val_loss=result["nll"])

# %% tags=["nbval-check-output"]
state = torch.load(path, weights_only=True)
for name, value in state.items():
    print(f"{name:<22} {type(value).__name__}")
print(state["model"], state["model_config"])

# %% [markdown]
# The first four are what any checkpoint of this course must have. The rest are extras: with the name of the model and
# its settings, `load_model` can build it anew.

# %%
loaded = load_model(path)
with torch.no_grad():
    assert torch.equal(loaded(x)[0], model(x)[0])
print(f"{path.stat().st_size / 1e6:.2f} MB")

# %% [markdown]
# > **A trap: `weights_only`.** Python's usual file format, pickle, may contain *code*, which runs when the file is
# > opened. A checkpoint from a stranger is a program from a stranger. `weights_only=True` accepts tensors and plain
# > data, nothing else. All loading in this course uses it.


# %% tags=["nbval-check-output"]
class Prank:
    def __reduce__(self):
        return print, ("code from a stranger has run on your machine",)


torch.save({**state, "val_loss": Prank()}, path)
try:
    load_checkpoint(path)
except ValueError as error:
    print("refused:", str(error).split("refused, ")[1])

# %% [markdown]
# ### Does a resumed run end at the same place?
#
# Trainings stop: a laptop sleeps, a battery dies, a night ends. `fit` writes `last_model.pt` after each epoch, every
# ten minutes, and when you press Ctrl-C; and `resume=True` goes on from it. It is easy to get that *nearly* right.
# The memory of the optimiser, the order of the windows, the state of the random numbers and the place in the rise and
# fall of the learning rate: forget one, and it is another training. So we test it to the last bit. One run of two
# epochs, and one that is stopped after the first:


# %%
def pull_the_plug(history):
    raise KeyboardInterrupt


whole, parts = Path(folder.name) / "whole", Path(folder.name) / "parts"
whole_run, stopped_run, resumed_run = small_model(), small_model(), small_model()

# %% tags=["nbval-ignore-output"]
_ = fit(whole_run, tiny, epochs=2, folder=whole, **options)
try:
    fit(stopped_run, tiny, epochs=2, folder=parts, on_epoch=pull_the_plug, **options)
except KeyboardInterrupt:
    print("stopped; on disk:", sorted(file.name for file in parts.iterdir()))
torch.manual_seed(999)  # whatever happened in between
_ = fit(resumed_run, tiny, epochs=2, folder=parts, resume=True, **options)

# %%
for a, b, c in zip(whole_run.parameters(), resumed_run.parameters(), stopped_run.parameters()):
    assert torch.equal(a, b) and not torch.equal(a, c)
folder.cleanup()

# %% [markdown]
# Equal, every number. (Say `epochs=2` from the start: who trains with `epochs=1` first and asks for a second one
# afterwards gets another run, for the learning rate of the first had come down to 0 already.)
#
# A long training is a line in a terminal: `make train`, and after a stop `make train ARGS="--resume"`.
#
# ## Summary
#
# - The next frame is 88 yes/no questions. Models answer with logits; the loss is the surprise in nats, summed over
#   keys, and computed from logits.
# - Baselines first: copying the last frame is right nearly everywhere. Look at frames that change, and at onsets.
# - An LSTM cell is ten lines: gates decide what to forget, what to add, what to show. `(h, c)` is all that it knows of
#   the past, so whole = chunks = steps.
# - The training loop: predict, compare, find the slopes, clip, move. Targets are one frame later; `eval()` before you
#   judge.
# - Two minutes beat counting. What it misses are the moments at which something begins.
# - Let loose, it drifts: independent coins tear chords apart, and it hears its own mistakes.
# - A checkpoint holds plain data; a run that is resumed ends where it would have ended.

# %% [markdown]
# ## Quiz
#
# Answer first, then open.
#
# **1.** "Copy last frame" looks at the frame before, "silence" looks at nothing. How can the copier, in Bach, pay
# *more* for an onset than silence does?
#
# <details><summary>Answer</summary>
#
# It has counted that keys which are up nearly always stay up. So it gives an onset an even smaller probability than
# silence does, which counted all keys that are down, held ones too. Who is surer pays more when wrong.
#
# </details>
#
# **2.** A friend trains with `BCEWithLogitsLoss` and reads a loss of 0.03. Your table says that Markov-1 needs 2.7
# nats per frame. Is your friend's model ninety times as good?
#
# <details><summary>Answer</summary>
#
# No. That loss is a mean over cells, and nats per frame are a sum over 88 keys. 88 times 0.03 is 2.64: about as good
# as Markov-1.
#
# </details>
#
# **3.** While the model plays, you forget to give `hidden` back: each step is `model(x)` with the last frame alone.
# Nothing fails. What has changed?
#
# <details><summary>Answer</summary>
#
# The model begins with an empty memory at every frame, so all that it knows is one frame. It cannot tell how long a
# chord has sounded or where the melody was going, and one frame back is as far as Markov-1 looks, too.
#
# </details>
#
# **4.** The picture shows `roll[1:]` above what the model expected. Someone draws `roll` instead. Why would the model
# look better than it is?
#
# <details><summary>Answer</summary>
#
# Row `t` of what was expected is made after reading frame `t` and is about frame `t + 1`. Drawn under frame `t`, each
# expectation stands beside a frame that the model has already seen. Notes that it noticed one frame late would seem
# to be expected in time.
#
# </details>
#
# **5.** A chord of four keys may be followed by one of two others, of four keys each, that share no key and are
# equally likely. A perfect model gives each of the eight keys one half. How often do its coins play one of the two
# chords?
#
# <details><summary>Answer</summary>
#
# In 2 of 256 draws. The eight coins have 2 to the power of 8 equally likely results, and two of them are chords.
# Training cannot mend this, because one half is already the right answer for each key; what is missing is that the
# keys belong together.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Put your code in place of the `...` and run the cell: it says "right" when it is. Solutions are in the notebook
# [A6_solutions](A6_solutions.ipynb).
#
# **1 (easy).** A model gave what really happened a probability of 2 %. How many nats is that?

# %%
nats_of_two_percent = ...

check("03.1", nats_of_two_percent)

# %% [markdown]
# **2 (easy).** How many numbers does `nn.LSTM(88, 100)` learn? Count `W`, `U` and its two rows of `b`.

# %%
numbers = ...

check("03.2", numbers)

# %% [markdown]
# **3 (easy).** What must a forget gate be, in every frame, so that half of a memory is left after four seconds (64
# frames)?

# %%
gate = ...

check("03.3", gate)

# %% [markdown]
# **4 (medium).** What is the F1 of "as before" on `roll`, counted over the frames that change only? The answer is a
# number; `scores` above shows the way.

# %%
f1_on_changes = ...

check("03.4", f1_on_changes, roll)

# %% [markdown]
# **5 (medium).** Write the loss from logits so that it survives any logit. For one key, with `y` 0 or 1, it is
# $\max(z, 0) - z y + \log(1 + e^{-|z|})$. The answer is an array, one number for each of these:

# %%
z_hard = np.array([-1000.0, -20.0, -1.0, 0.0, 1.0, 20.0, 1000.0])
y_hard = np.array([0, 1, 0, 1, 1, 0, 0])
stable_loss = ...

check("03.5", stable_loss, z_hard, y_hard)

# %% [markdown]
# **6 (open).** What helps most, for the same number of minutes: a larger memory (`HIDDEN`), a second layer, longer
# windows, a higher learning rate? Change one thing at a time, look at onset frames as well as at all, and listen. Can
# you predict from the table which one will sound best?
#
# ## Next
#
# `04_mamba`: a memory of another kind, that can read all frames of a window at once, and decides what to keep.
#
# ## References
#
# - Sepp Hochreiter and Jürgen Schmidhuber, *Long Short-Term Memory*, Neural Computation 9 (8), 1997.
# - Felix Gers, Jürgen Schmidhuber and Fred Cummins, *Learning to Forget: Continual Prediction with LSTM*, Neural
#   Computation 12 (10), 2000: the forget gate.
# - Nicolas Boulanger-Lewandowski, Yoshua Bengio and Pascal Vincent, *Modeling Temporal Dependencies in
#   High-Dimensional Sequences*, ICML 2012, [arXiv 1206.6392](https://arxiv.org/abs/1206.6392): nats per frame, and why
#   keys should be decided together.
# - Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, *On the difficulty of training recurrent neural networks*, ICML
#   2013, [arXiv 1211.5063](https://arxiv.org/abs/1211.5063): exploding gradients and clipping.
# - Ilya Loshchilov and Frank Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019,
#   [arXiv 1711.05101](https://arxiv.org/abs/1711.05101): AdamW.
# - Samy Bengio et al., *Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks*, NeurIPS 2015,
#   [arXiv 1506.03099](https://arxiv.org/abs/1506.03099): models that hear themselves.
# - Marc'Aurelio Ranzato, Sumit Chopra, Michael Auli and Wojciech Zaremba, *Sequence Level Training with Recurrent
#   Neural Networks*, ICLR 2016, [arXiv 1511.06732](https://arxiv.org/abs/1511.06732): exposure bias, the name.
