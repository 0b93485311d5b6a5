# %% [markdown]
# # 04 · Mamba: a memory that chooses what to keep
#
# The LSTM of notebook 03 reads one frame after another and carries a memory along. A **selective state space model**
# does the same with another kind of memory: thousands of small buckets that leak, and that decide for each frame
# how much to take in and how much to let go. In this notebook you
#
# - build that memory from a leaky bucket, and train a tiny one that solves what a fixed one cannot,
# - write the selective scan as a loop, and see when a loop is slow,
# - assemble the Mamba block, 25 lines, and find it equal to the package's,
# - train Mamba and LSTM on the same batches and compare them in one table,
# - measure how far back a model looks, and watch it decide while it reads a piece.
#
# You need notebooks 02 and 03 and a little torch: tensors, `nn.Linear`, the training loop. It is the longest of the
# lessons. It runs in about four minutes on two CPU cores that have nothing else to do.

# %% tags=["nbval-ignore-output"]
import math
import os
import tempfile
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from midigen_utils.config import SEQUENCE_LENGTH, scaled
from midigen_utils.data import load_corpus, load_piano_rolls
from midigen_utils.exercises import check
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn import Batches, SequenceDataset, evaluate, fit, fit_baselines, load_model, make_optimizer
from midigen_utils.learn import predict
from midigen_utils.models import CausalConv, MusicLSTM, MusicMamba, S6Block, generate_music, scan_loop
from midigen_utils.models import scan_step, scan_textbook, selective_scan
from midigen_utils.show import BLUE, GREEN, GREY, ORANGE, PINK, player, plot_delta

# %% [markdown]
# ## Settings
#
# As before: Bach's chorales, or after `make data` MAESTRO.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
PIECE = 7  # which piece of the validation split is looked at closely
COMPOSED = scaled(full=256, fast=48)  # frames of music that models compose here
TOY_STEPS = scaled(full=500, fast=150)  # training steps of the toy
TRAIN_PIECES = scaled(full=160, fast=16)  # for the comparison with the LSTM
EPOCHS = scaled(full=6, fast=2)
LEARNING_RATE = 3e-3  # at its highest
ENOUGH = scaled(full=12, fast=55)  # nats per frame that both models must get below
TEST_PIECES = scaled(full=10, fast=2)  # of the validation split, to score the models on
ROUNDS = scaled(full=5, fast=1)  # of every timing; the fastest counts

torch.manual_seed(0)
rolls, corpus = load_piano_rolls(load_corpus(CORPUS))
piece, roll = corpus.split("validation")[PIECE], rolls["validation"][PIECE]

# %% [markdown]
# The result first. This Mamba was trained on performances of MAESTRO (it comes with the course). We give it the first
# four seconds of a piece that it has never seen, and it goes on:

# %% tags=["nbval-ignore-output"]
pretrained = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
seed = rolls["validation"][0][:SEQUENCE_LENGTH]
music = generate_music(pretrained, seed, COMPOSED, temperature=0.9, random_seed=4)
player(music, seed_frames=len(seed), title="Continued by MusicMamba", composer=corpus.split("validation")[0].composer)

# %% [markdown]
# ## Letters
#
# The literature uses single letters, and so does the code, in the notebook and in `mamba.py`. You need not learn the
# table now; come back to it.
#
# | letter | in the code | what it is | size here |
# |---|---|---|---|
# | B | | pieces side by side | |
# | T or L | | frames | 64 |
# | d | `d_model` | width of the stream between blocks | 256 |
# | D | `d_inner` | channels inside a block, 2 d | 512 |
# | N | `d_state` | buckets of each channel | 16 |
# | x | `x` | what goes into the scan | `(B, L, D)` |
# | Δ | `dt` | step size: 0 ignores this frame, large forgets the past for it | `(B, L, D)` |
# | A | `A` | how fast each bucket leaks, below 0 | `(N, D)` |
# | B | `B` | how the input enters the buckets | `(B, L, N)` |
# | C | `C` | how the output is read from the buckets | `(B, L, N)` |
# | h | `h` | the memory: what is in the buckets | `(B, N, D)` |
# | y | `y` | what comes out of the scan | `(B, L, D)` |
#
# Two warnings. The letter B means both the batch and a matrix, in every paper; in the code the matrix is `B`, and the
# batch appears in shapes only. And the papers call the memory x in one place and h in another: here it is always h.
#
# ## What the LSTM could not keep
#
# The LSTM of notebook 03 works. What is there to improve?
#
# - **It trains one frame after another.** The memory after frame `t` comes from the memory after frame `t - 1`,
#   through a matrix, a sigmoid and a tanh. There is no shortcut through that: 64 frames are 64 steps, one waiting for
#   the other.
# - **Its memory is squashed.** Every frame, what the LSTM knows goes through a tanh before anything can be read from
#   it, and the gates that decide what to keep see only this squashed version.
# - **Memory is expensive.** Every number of the memory talks to every other one, through four matrices. So twice the
#   memory costs four times the weights.
#
# The last point can be counted: how many numbers does each model remember between two frames, and how many weights
# does it need for that?

# %% tags=["nbval-check-output"]
for model in (MusicLSTM(), MusicMamba()):
    with torch.no_grad():
        _, hidden = model(torch.zeros(1, 1, 88))
    remembered = sum(part.numel() for layer in hidden for part in layer)
    weights = sum(p.numel() for p in model.parameters())
    print(f"{type(model).__name__:<10} remembers {remembered:6,d} numbers, has {weights:9,d} weights")

# %% [markdown]
# What is the trick? Its buckets do not talk to each other.
#
# ## A leaky bucket
#
# One number, `h`. In each frame a share of it leaks away, and something is poured in:
#
# $$h_t = a \, h_{t-1} + b \, x_t$$
#
# With `a` between 0 and 1 the bucket remembers, and forgets: it is the forget gate of the LSTM, but one that never
# looks at what comes in. And no tanh anywhere.


# %%
def bucket(x, a, b=1.0):
    """The level of a leaky bucket after each frame."""
    h, levels = 0.0, []
    for x_t in x:
        h = a * h + b * x_t
        levels.append(h)
    return np.array(levels)


# %% [markdown]
# Pour something in three times, and watch three buckets:

# %% tags=["nbval-ignore-output"]
x = np.zeros(64)
x[[4, 24, 28]] = 1
fig, ax = plt.subplots(figsize=(10, 2.6), layout="constrained")
ax.vlines(np.flatnonzero(x), 0, 1, color=GREY, linestyle=":", label="poured in")
for a, colour in ((0.5, ORANGE), (0.9, GREEN), (0.99, BLUE)):
    ax.plot(bucket(x, a), color=colour, label=f"a = {a}")
ax.set(xlabel="frame", ylabel="level h")
_ = ax.legend(frameon=False)

# %% [markdown]
# What to see: the orange bucket has forgotten after a few frames; the blue one hardly leaks, so it *counts*: after
# the third stroke it is near 3. But it cannot say when things happened. No single leak is right for everything.
#
# After how many frames is half of it gone? The **half-life** solves `a ** frames = 0.5`, as for the forget gate:

# %% tags=["nbval-check-output"]
for a in (0.5, 0.9, 0.99):
    half_life = math.log(0.5) / math.log(a)
    print(f"a = {a:4}: half is gone after {half_life:4.1f} frames, {half_life / 16:.2f} s")

# %% [markdown]
# ### A stride instead of steps
#
# Nothing squashes the level on its way. So its value after 64 frames can be written down without walking: what was
# poured in `k` frames ago has been multiplied by `a` exactly `k` times.

# %%
a, h_before = 0.9, 2.0
one_stride = a ** len(x) * h_before + np.sum(a ** np.arange(len(x))[::-1] * x)
walked = h_before
for x_t in x:
    walked = a * walked + x_t
assert np.isclose(one_stride, walked)

# %% [markdown]
# An LSTM's memory leaks and fills as well, but how much is decided by what was read from it one frame before, through
# a tanh: there is no such formula. This is why the memory of a state space model can be computed in parallel, and the
# LSTM's cannot. We come back to what that is worth.
#
# ## From flowing to stepping
#
# Where do `a` and `b` come from? State space models start from a bucket in continuous time. It leaks at the rate `A`,
# which is below 0, and takes in `B` times the input:
#
# $$h'(s) = A \, h(s) + B \, x(s)$$
#
# where $h'(s)$ is how fast the level changes at the moment s, its slope over time.
#
# A frame holds the input still for a while. Call the length of this while **Δ**. In it the level shrinks by the
# factor
#
# $$a = e^{\Delta A}$$
#
# and what flowed in, less what leaked meanwhile, is $b = (e^{\Delta A} - 1) / A \cdot B$. That is called **zero-order
# hold**. (Where the two formulas come from is school mathematics, and may be skipped.) Mamba as it is programmed uses
# the same `a`, and for `b` the simpler $b = \Delta B$. In code:


# %% tags=["nbval-check-output"]
def zero_order_hold(dt, A, B):
    """Leak a and inflow b of a frame of length dt."""
    return np.exp(dt * A), (np.exp(dt * A) - 1) / A * B


def simplified(dt, A, B):
    """The same as Mamba's authors compute it."""
    return np.exp(dt * A), dt * B


print("    Δ       a   b exact   b in Mamba")
for dt in (0.001, 0.1, 1.0, 4.0):
    (a, exact), (_, short) = zero_order_hold(dt, -1.0, 1.0), simplified(dt, -1.0, 1.0)
    print(f"{dt:5} {a:7.3f} {exact:9.3f} {short:12.3f}")

# %% [markdown]
# The paper writes zero-order hold for both; its authors' code, and ours, takes $b = \Delta B$. For small steps the two
# are the same; for large ones the short form pours in more. Models learn with it all the same.
#
# **What does Δ mean?** Read the table from the top. With Δ near 0, `a` is 1 and `b` is 0: *nothing happens*, the
# frame is ignored and the memory stays. With a large Δ, `a` is 0: *the past is wiped out*, and the frame takes its
# place. Δ is how long a frame lasts on the bucket's own clock.
#
# If that is so, one frame of length 1 must do what ten frames of length 0.1 do. (With zero-order hold exactly; with the
# short form nearly, and only if the steps are small.)

# %%
a, b = zero_order_hold(1.0, -0.3, 1.0)
a_tenth, b_tenth = zero_order_hold(0.1, -0.3, 1.0)
coarse = bucket(x, a, b)
fine = bucket(np.repeat(x, 10), a_tenth, b_tenth)
assert np.allclose(coarse, fine[9::10])

# %% [markdown]
# ## Many buckets
#
# Each channel of our Mamba has 16 buckets. They begin with A = -1, -2, ... -16: bucket 16 leaks sixteen times as fast
# as bucket 1. One stroke is poured into all of them; on the left is what they hold. On the right we *read*: weigh the
# 16 levels with 16 numbers `C` and add them up. For each curve the weights were chosen (by least squares) to give a
# bump some frames after the stroke.

# %% tags=["nbval-ignore-output"]
frames, A, dt = np.arange(64), -np.arange(1.0, 17), 0.03
levels = np.exp(dt * A[:, None] * frames)  # (N, L)
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
left.plot(frames, levels.T, color=BLUE, linewidth=0.8)
for delay, colour in ((4, ORANGE), (12, GREEN), (28, PINK)):
    bump = np.exp(-0.5 * ((frames - delay) / (1 + delay / 4)) ** 2)
    C = np.linalg.solve(levels @ levels.T + 1e-6 * np.eye(16), levels @ bump)  # (N,)
    right.plot(frames, C @ levels, color=colour, label=f"{delay} frames ago")
left.set(xlabel="frames since the stroke", ylabel="level of each bucket")
right.set(xlabel="frames since the stroke", ylabel="what is read, C h")
_ = right.legend(frameon=False)

# %% [markdown]
# What to see: each bucket alone can only fade. Together they can tell *when*: one reading answers to a stroke of a
# quarter of a second ago, another to one nearly two seconds ago, and the bumps get wider with distance. A memory of
# this kind is sharp about what is near and blurred about what is far.
#
# ## Selection
#
# So far all frames were treated alike. Is that enough? The Mamba paper (section 4.1) asks with a toy, **selective
# copying**: a few symbols stand somewhere among blanks. At the end the model is asked for the first, the second, the
# third.

# %% tags=["nbval-ignore-output"]
BLANK, SYMBOLS, ASKED, LENGTH = 0, 8, 3, 24
SIGNS = ".ABCDEFGH123"  # how we print the numbers 0 to 11


def puzzles(count, generator):
    """Sequences (B, L + 3) of whole numbers, and for each the answers (B, 3) to its last three frames."""
    frames = torch.full((count, LENGTH + ASKED), BLANK)
    answers = torch.randint(SYMBOLS, (count, ASKED), generator=generator)
    places = torch.rand(count, LENGTH, generator=generator).argsort(1)[:, :ASKED].sort(1).values
    frames.scatter_(1, places, 1 + answers)  # symbols are 1 to 8, in order of time
    frames[:, LENGTH:] = 1 + SYMBOLS + torch.arange(ASKED)  # 9, 10, 11: which was the first, second, third?
    return frames, answers


frames, answers = puzzles(3, torch.Generator().manual_seed(1))
for row, answer in zip(frames.tolist(), answers.tolist()):
    print("".join(SIGNS[number] for number in row), "->", "".join(SIGNS[1 + number] for number in answer))

# %% [markdown]
# The places change from sequence to sequence. A bucket that treats all frames alike leaks during the blanks, too:
# what is left of a symbol depends on how long ago it was, and the model is asked for its *rank*, not its age. What is
# needed is a clock that stands still during the blanks. (The paper's toy asks for all symbols again in order; ours is
# a variant of it.)
#
# Here is a small model that can have one, and one that cannot. They differ in one line: what Δ, B and C are
# computed from. In the selective model from the frame itself; in the fixed one from zeros, which leaves only the
# biases: learned, but the same for every frame. (`selective_scan` is the loop over frames. The next section opens it.
# `nn.Embedding` is a table with a row of learned numbers for each kind of frame, `nn.Parameter` a weight of our own,
# `nn.ReLU` turns what is below 0 into 0, and `F.cross_entropy` is the surprise of notebook 03 for one choice of 8.)


# %%
class Copier(nn.Module):
    def __init__(self, selective, D=32, N=16):
        super().__init__()
        self.selective = selective
        self.embed = nn.Embedding(1 + SYMBOLS + ASKED, D)  # a vector for each kind of frame
        self.A = nn.Parameter(-torch.arange(1.0, N + 1).unsqueeze(1).repeat(1, D))  # (N, D)
        self.to_dt, self.to_B, self.to_C = nn.Linear(D, D), nn.Linear(D, N), nn.Linear(D, N)
        nn.init.constant_(self.to_dt.bias, -3.0)  # small steps to begin with: softplus(-3) is 0.05
        nn.init.normal_(self.to_B.bias)
        nn.init.normal_(self.to_C.bias)
        self.read = nn.Sequential(nn.Linear(2 * D, 64), nn.ReLU(), nn.Linear(64, SYMBOLS))

    def forward(self, frames):
        x = self.embed(frames)  # (B, L, D)
        chosen_from = x if self.selective else torch.zeros_like(x)  # the one difference
        dt = F.softplus(self.to_dt(chosen_from))  # (B, L, D), above 0
        B, C = self.to_B(chosen_from), self.to_C(chosen_from)  # (B, L, N) each
        y, _ = selective_scan(x, dt, self.A.clamp(max=-1e-3), B, C)  # (B, L, D)
        return self.read(torch.cat([y, x], dim=-1)), dt  # (B, L, SYMBOLS)


# %% [markdown]
# `softplus(v)` is log(1 + eᵛ), a smooth way to make any number positive. Both models get the same puzzles and the
# same number of steps.


# %%
def train_copier(model, steps, lr=0.02):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)  # ever smaller steps
        frames, answers = puzzles(64, generator)
        logits, _ = model(frames)
        loss = F.cross_entropy(logits[:, -ASKED:].flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


# %% tags=["nbval-ignore-output"]
copiers, right = {}, {}
unseen, truth = puzzles(1000, torch.Generator().manual_seed(1))
for name, selective in (("fixed", False), ("selective", True)):
    torch.manual_seed(0)
    copiers[name] = train_copier(Copier(selective), TOY_STEPS)
    with torch.no_grad():
        right[name] = (copiers[name](unseen)[0][:, -ASKED:].argmax(-1) == truth).float().mean(0)
    print(f"{name:<9}  first, second, third right:", *(f"{100 * share:4.0f} %" for share in right[name]))


assert right["selective"].mean() > 0.9 > 0.75 > right["fixed"].mean()

# %% [markdown]
# Guessing gives 1 in 8. The fixed model does better than that: it finds out which symbols there were. But in these
# steps it did not learn to keep their order. The selective one is (nearly) perfect, with the same number of buckets.
#
# What did it learn? Its mean Δ over one sequence says it:

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    _, dt = copiers["selective"](frames[:1])
labels = [SIGNS[number] for number in frames[0]]
fig, ax = plt.subplots(figsize=(10, 2.4), layout="constrained")
ax.bar(range(len(labels)), dt[0].mean(-1), color=[GREY if label == "." else BLUE for label in labels])
ax.set_xticks(range(len(labels)), labels)
_ = ax.set(xlabel="frame", ylabel="mean step size Δ", title="The clock stands still during the blanks")

# %% [markdown]
# What to see: Δ is next to nothing at the blanks, and large at the symbols. On the model's own clock the symbols
# follow each other directly, and "the second" is always at the same distance. Nobody told it to: this is
# **selection**, and it is what sets Mamba apart from its predecessors (S4 and others), whose Δ, B and C are the same
# for all frames.
#
# And the LSTM? Its gates look at what comes in, so it can select, too: in `docs/results.md` it solves a longer
# variant of this toy, and so does Mamba-2 (the Mamba of this notebook was not run on that).
# The difference is what the choice depends on. An LSTM's gates also look at its own memory, `h`. Mamba's Δ, B and C
# look at the input alone, so all of them are known before the first step, and the stride over many frames stays
# possible.
#
# ## The selective scan
#
# Now in full. Every channel (D of them) has N buckets; Δ, B and C are different in every frame:
#
# $$h_t = e^{\Delta_t A} \, h_{t-1} + \Delta_t B_t x_t \qquad\qquad y_t = C_t \, h_t$$
#
# Read each line with its shape. `unsqueeze` inserts an axis of length 1, so that shapes fit: a `(B, L, 1, D)` times
# an `(N, D)` is a `(B, L, N, D)`.


# %%
def scan(x, dt, A, B, C, h=None):
    """The selective scan as a loop over frames. x, dt (B, L, D); A (N, D); B, C (B, L, N); h (B, N, D)."""
    if h is None:
        h = torch.zeros(x.shape[0], *A.shape)  # (B, N, D)
    decay = torch.exp(dt.unsqueeze(2) * A)  # (B, L, N, D)
    inflow = B.unsqueeze(3) * (dt * x).unsqueeze(2)  # (B, L, N, D)
    y = []
    for t in range(x.shape[1]):
        h = decay[:, t] * h + inflow[:, t]  # (B, N, D)
        y.append((C[:, t].unsqueeze(2) * h).sum(1))  # (B, D): over the buckets
    return torch.stack(y, dim=1), h  # (B, L, D), (B, N, D)


# %% [markdown]
# (Papers write `(B, L, D, N)`. We keep D last, because a CPU computes neighbours in memory several at once, and 512
# channels are more neighbours than 16 buckets.)
#
# The twin check: the package has this loop as `scan_textbook`, and a fast version, `selective_scan`. All three must
# give the same values, and the same gradients for all five inputs.


# %%
def random_inputs(batch, length, D=256, N=16):
    """Inputs of a scan, with steps as in a new model; all want gradients."""
    x, B, C = torch.randn(batch, length, D), torch.randn(batch, length, N), torch.randn(batch, length, N)
    dt, A = 0.1 * torch.rand(batch, length, D), -torch.arange(1.0, N + 1).unsqueeze(1).repeat(1, D)
    return [tensor.requires_grad_() for tensor in (x, dt, A, B, C)]


inputs = random_inputs(2, 40)
y, h = scan(*inputs)
gradients = torch.autograd.grad(y.square().sum(), inputs)
for twin in (scan_textbook, selective_scan):
    y_twin, h_twin = twin(*inputs)
    assert torch.allclose(y, y_twin, atol=1e-4) and torch.allclose(h, h_twin, atol=1e-5)
    for mine, theirs in zip(gradients, torch.autograd.grad(y_twin.square().sum(), inputs)):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-3 * mine.abs().max())

# %% [markdown]
# ### Is it recurrent?
#
# Yes. The next level needs the last one, like in an LSTM. So a scan can stop anywhere, hand over `h`, and go on; and
# for new music one frame at a time is enough. The package's `scan_step` is that one frame:

# %%
x, dt, A, B, C = (tensor.detach() for tensor in inputs)
one_by_one, h_step = [], torch.zeros(2, *A.shape)
for t in range(40):
    y_t, h_step = scan_step(x[:, t], dt[:, t], A, B[:, t], C[:, t], h_step)
    one_by_one.append(y_t)
assert torch.allclose(torch.stack(one_by_one, dim=1), y, atol=1e-4)

first, h_middle = scan(x[:, :25], dt[:, :25], A, B[:, :25], C[:, :25])
second, h_end = scan(x[:, 25:], dt[:, 25:], A, B[:, 25:], C[:, 25:], h_middle)
assert torch.allclose(torch.cat([first, second], dim=1), y, atol=1e-4) and torch.allclose(h_end, h, atol=1e-5)

# %% [markdown]
# ### Why does h start at zero?
#
# Before the first frame nothing was heard, and empty buckets say so. A learned start would be possible; most models
# do without, because sooner or later it has leaked away.
#
# ### Why is the loop slow?
#
# Two different things are meant by that question.
#
# *The loop above is slow because of how it is written.* `decay[:, t]` takes one frame out of a large tensor. On the
# way back, torch makes for **each** such frame a gradient as large as the whole tensor, nearly all zeros: twice the
# length, four times the work. Cutting all frames at once with `unbind` cures it. The package's `scan_loop` is written
# so; its `selective_scan` is the same loop again, in pieces small enough for the processor's cache.
#
# *Any loop is slow on a GPU*, because it starts L small jobs, one waiting for the other, on a machine that is made
# for few large ones. There one uses the stride of the leaky bucket. Two frames in a row are one frame: leaks `a1`,
# `a2` and inflows `b1`, `b2` together are the leak `a2 a1` and the inflow `a2 b1 + b2`. So join every frame with the
# one before; then with the one two before, four before, eight before: after log₂ L rounds each frame has met all
# earlier ones. That is a **parallel scan** (by doubling; Blelloch's needs less work and more lines):


# %%
def scan_by_doubling(x, dt, A, B, C):
    """The selective scan in log2(L) rounds, each over all frames at once."""
    a = torch.exp(dt.unsqueeze(2) * A)  # (B, L, N, D)
    h = B.unsqueeze(3) * (dt * x).unsqueeze(2)  # (B, L, N, D)
    step = 1
    while step < x.shape[1]:
        h = torch.cat([h[:, :step], a[:, step:] * h[:, :-step] + h[:, step:]], dim=1)
        a = torch.cat([a[:, :step], a[:, step:] * a[:, :-step]], dim=1)
        step *= 2
    return (C.unsqueeze(3) * h).sum(2), h[:, -1]  # (B, L, D), (B, N, D)


assert torch.allclose(scan_by_doubling(*inputs)[0], y, atol=1e-4)
assert torch.allclose(scan_loop(*inputs)[0], y, atol=1e-4)

# %% [markdown]
# Which wins on your machine's CPU? Forward and backward, three lengths:


# %% tags=["nbval-ignore-output"]
def milliseconds(work):
    """Time of a piece of work: the shortest of a few rounds, after one to warm up."""
    times = []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return min(times[1:])


def scan_time(form, length):
    """Milliseconds that a scan takes, forward and backward."""
    inputs = random_inputs(2, length)
    return milliseconds(lambda: form(*inputs)[0].sum().backward())


print(f"{'milliseconds':<16}", *(f"{length:4d} frames" for length in (64, 128, 256)))
for form in (scan, scan_loop, selective_scan, scan_by_doubling):
    print(f"{form.__name__:<16}", *(f"{scan_time(form, length):11.1f}" for length in (64, 128, 256)))

# %% [markdown]
# Read along the first row: what happens from one length to the next, twice as long? Then down a column. On a CPU the
# plain loop, written well, can be expected to beat the parallel scan: doubling does log₂ L times the work, all of it
# through main memory, and a CPU has no thousand cores to do it at once. `docs/results.md` has careful
# measurements, on one thread of a CPU: there the package's scan takes between a third and a tenth of the time of a
# parallel scan by Blelloch (`mambapy`), depending on how memory is allocated for the latter. On a GPU it is said to be
# the other way round; that we have not measured. The appendix [A1](A1_parallel_scan.ipynb) tells the whole story.
#
# ## The block
#
# A scan lets channels remember, but each by itself. Around it Mamba puts what mixes them. First the skeleton, with
# placeholders that do nothing (`nn.Identity`):


# %% tags=["nbval-check-output"]
class Skeleton(nn.Module):
    def __init__(self, d=256, D=512):
        super().__init__()
        self.norm = self.conv = self.scan = nn.Identity()
        self.in_proj = nn.Linear(d, 2 * D, bias=False)
        self.out_proj = nn.Linear(D, d, bias=False)

    def forward(self, stream):  # (B, T, d)
        x, z = self.in_proj(self.norm(stream)).chunk(2, dim=-1)  # (B, T, D) each: the content, and a gate
        x = F.silu(self.conv(x))  # (B, T, D): the last frames, mixed
        y = self.scan(x)  # (B, T, D): the long memory
        y = y * F.silu(z)  # (B, T, D): how much of it is let out
        return stream + self.out_proj(y)  # (B, T, d): added to what was there


stream = torch.randn(2, 64, 256)
print("in ", tuple(stream.shape))
print("out", tuple(Skeleton()(stream).shape))

# %% [markdown]
# The last line is the **residual**: a block does not replace the stream, it adds to it. So blocks can be stacked, and
# what one has no use for goes by untouched. Now the organs.
#
# ### RMSNorm
#
# Numbers in the stream may grow from block to block. Each vector is divided by its root mean square, so that it
# enters with size 1, and multiplied by learned weights. Torch has it; our one line agrees.


# %%
def rms_norm(x, weight, eps=1e-5):
    return x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight


norm = nn.RMSNorm(256, eps=1e-5)  # torch's own
with torch.no_grad():
    norm.weight.uniform_(0.5, 2)  # a new one has only ones
assert torch.allclose(norm(stream), rms_norm(stream, norm.weight), atol=1e-5)
assert torch.allclose(rms_norm(100 * stream, 1.0).square().mean(-1), torch.ones(2, 64), atol=1e-3)

# %% [markdown]
# ### A causal convolution
#
# Before the long memory comes a short one: each channel is a weighted sum of its last 4 frames. "This key went down
# now" is a difference of two frames, and the scan's Δ, B and C can react to it.


# %%
def causal_conv(x, weight, bias):
    """x (B, T, D), weight (K, D): y[t] from x[t - K + 1] .. x[t]."""
    K, T = len(weight), x.shape[1]
    seen = F.pad(x, (0, 0, K - 1, 0))  # (B, K - 1 + T, D): silence in front, nothing behind
    return bias + sum(weight[k] * seen[:, k : k + T] for k in range(K))  # (B, T, D)


conv = CausalConv(512, 4)
x = torch.randn(2, 64, 512)
by_hand = causal_conv(x, conv.weight, conv.bias)
assert torch.allclose(by_hand, conv(x, None)[0], atol=1e-5)
library = F.conv1d(x.transpose(1, 2), conv.weight.T.unsqueeze(1), conv.bias, padding=3, groups=512)  # torch's own
assert torch.allclose(by_hand, library.transpose(1, 2)[:, :64], atol=1e-5)

# %% [markdown]
# *Why causal?* Because the target of frame `t` is frame `t + 1`. A convolution that looks to both sides, the usual
# kind, would see the answer. Strike one key in frame 10 and look which frames notice:

# %% tags=["nbval-check-output"]
strike = torch.zeros(1, 20, 1)
strike[0, 10] = 1
ones, none = torch.ones(4, 1), torch.zeros(1)
causal = causal_conv(strike, ones, none)
both_sides = causal_conv(F.pad(strike, (0, 0, 0, 1)), ones, none)[:, 1:]  # two frames back, one ahead
print("causal:    ", causal[0, :, 0].nonzero().flatten().tolist())
print("both sides:", both_sides[0, :, 0].nonzero().flatten().tolist())

# %% [markdown]
# Frame 9 of the second line knows what happens in frame 10. A model with that leak would have a wonderful loss, and
# could not compose a bar.
#
# ### The gate
#
# `silu(z)` is `z * sigmoid(z)`: near 0 for negative z, near z for large ones. Half of the block's input, z, decides
# how much of each channel is let out. The LSTM has a gate at this place, too, from 0 to 1; this one has no upper end.

# %% tags=["nbval-ignore-output"]
z = torch.linspace(-6, 6, 200)
fig, ax = plt.subplots(figsize=(5, 2.4), layout="constrained")
ax.plot(z, z.sigmoid(), color=GREY, linestyle="--", label="sigmoid(z)")
ax.plot(z, F.silu(z), color=BLUE, label="silu(z)")
ax.set(xlabel="z", ylabel="gate")
_ = ax.legend(frameon=False)

# %% [markdown]
# What to see: below -4 the blue gate is shut, above 0 it opens without end. A little below 0 it is even negative.
#
# ### All of it
#
# Three lines are new: Δ, B and C, computed from x. Δ takes a detour over 16 numbers (`dt_rank`), which saves weights,
# and its bias begins so that steps lie between 0.001 and 0.1. `A_log` is the logarithm of -A: whatever is learned, A
# stays below 0. And `D * x` lets the input go past the scan.


# %%
class Block(nn.Module):
    def __init__(self, d=256, D=512, N=16, K=4, R=16):
        super().__init__()
        self.norm = nn.RMSNorm(d, eps=1e-5)
        self.in_proj = nn.Linear(d, 2 * D, bias=False)
        self.conv = CausalConv(D, K)
        self.x_proj = nn.Linear(D, R + 2 * N, bias=False)
        self.dt_proj = nn.Linear(R, D)
        self.A_log = nn.Parameter(torch.arange(1.0, N + 1).log().unsqueeze(1).repeat(1, D))
        self.D = nn.Parameter(torch.ones(D))
        self.out_proj = nn.Linear(D, d, bias=False)
        self.sizes = (R, N, N)
        dt = torch.exp(torch.empty(D).uniform_(math.log(0.001), math.log(0.1)))
        self.dt_proj.bias.data = torch.log(torch.expm1(dt))  # softplus of it is dt

    def forward(self, stream):  # (B, T, d)
        x, z = self.in_proj(self.norm(stream)).chunk(2, dim=-1)  # (B, T, D) each
        x = F.silu(causal_conv(x, self.conv.weight, self.conv.bias))  # (B, T, D)
        dt, B, C = self.x_proj(x).split(self.sizes, dim=-1)  # (B, T, R), (B, T, N), (B, T, N)
        dt = F.softplus(self.dt_proj(dt))  # (B, T, D)
        y, _ = scan(x, dt, -torch.exp(self.A_log), B, C)  # (B, T, D)
        y = (y + self.D * x) * F.silu(z)  # (B, T, D)
        return self.out_proj(y)  # (B, T, d); whoever calls it adds the residual


# %% [markdown]
# The twin check. Our parts have the names of the package's, so its weights can be copied by name:

# %%
theirs, mine = S6Block(256, 16, 4, 2), Block()
mine.load_state_dict(theirs.state_dict())
with torch.no_grad():
    out, _ = theirs(stream, (None, None))  # (conv_state, h): nothing came before
    assert torch.allclose(mine(stream), out, atol=1e-4)

# %% [markdown]
# Where are the weights?

# %% tags=["nbval-check-output"]
for name, part in mine.named_parameters():
    print(f"{name:<16} {str(tuple(part.shape)):<12} {part.numel():8,d}")
print(f"{'a block':<29} {sum(part.numel() for part in mine.parameters()):8,d}")

# %% [markdown]
# Nearly all are in the two projections at the ends, plain matrices. The 16 × 512 buckets, the memory itself, cost one
# number each. Compare *Memory is expensive* in the first section.
#
# ### The model
#
# Keys in, four blocks one after the other, keys out:


# %%
class Model(nn.Module):
    def __init__(self, d=256, layers=4):
        super().__init__()
        self.embed = nn.Linear(88, d)
        self.layers = nn.ModuleList(Block(d) for _ in range(layers))
        self.norm = nn.RMSNorm(d, eps=1e-5)
        self.output = nn.Linear(d, 88)

    def forward(self, x):  # (B, T, 88)
        stream = self.embed(x)  # (B, T, d)
        for layer in self.layers:
            stream = stream + layer(stream)
        return self.output(self.norm(stream))  # (B, T, 88): logits of the next frame


# %% tags=["nbval-check-output"]
mine, theirs = Model(), MusicMamba()
mine.load_state_dict(theirs.state_dict())
print(f"{sum(p.numel() for p in mine.parameters()):,} parameters")


down = torch.from_numpy(roll[None] > 0).float()  # (1, T, 88)
window = down[:, :SEQUENCE_LENGTH]
with torch.no_grad():
    assert torch.allclose(mine(window), theirs(window)[0], atol=1e-3)

# %% [markdown]
# Ours and the package's agree on real music. From here on we use the package's: it has the fast scan, and it hands
# over its state.
#
# ## Does it look ahead?
#
# Read the first 64 frames of our piece; change frame 40 to something wild; read again. Which predictions move?

# %% tags=["nbval-check-output"]
changed = window.clone()
changed[0, 40] = 1 - changed[0, 40]  # every key the other way
with torch.no_grad():
    difference = (pretrained(changed)[0] - pretrained(window)[0]).abs().amax(-1)[0]  # (T,)
moved = difference > 1e-4
assert not moved[:40].any() and moved[40:].all()
t = int(moved.nonzero()[0])
print(f"the first prediction that moves is made after reading frame {t}; it is about frame {t + 1}")

# %% [markdown]
# No prediction made before frame 40 moves, and all made from then on do: the model is causal, and it remembers.
#
# ## Step = whole
#
# For training a model reads whole windows; for composing, one frame after another, with `hidden` handed from call to
# call. Both must be the same model:

# %%
logits, hidden = [], None
with torch.no_grad():
    whole, _ = pretrained(window)
    for t in range(window.shape[1]):
        step, hidden = pretrained(window[:, t : t + 1], hidden)
        logits.append(step)
assert torch.allclose(torch.cat(logits, dim=1), whole, atol=1e-3)

# %% [markdown]
# What is in `hidden`? For each block the last 3 frames that its convolution needs, and `h`:

# %% tags=["nbval-check-output"]
for number, (conv_state, h) in enumerate(hidden, 1):
    print(f"block {number}: convolution {tuple(conv_state.shape)}, h {tuple(h.shape)}")
with torch.no_grad():
    _, at_the_end = pretrained(down)
for frames, state in ((SEQUENCE_LENGTH, hidden), (len(roll), at_the_end)):
    print(f"after {frames} frames: {sum(part.numel() for layer in state for part in layer):,} numbers")

# %% [markdown]
# That is the number of the beginning. It does not grow with the piece, so the 10,000th frame costs what the first
# did. (A transformer keeps every frame that it has seen, and compares each new one with all of them.)
#
# ## Side by side with the LSTM
#
# Now the contest. Same pieces, same `fit`, same seed, so the same batches in the same order: 16 windows of 64 frames
# a step. Both get one learning rate, which is the Mamba's best in our trials on MAESTRO; the LSTM did better there with
# a lower one (`docs/results.md`). To save time a window begins only every 256 rows:
# both read the same quarter of the music. This is the beginning of a training, on equal terms.

# %%
train, validation = rolls["train"].spread(TRAIN_PIECES), rolls["validation"].spread(TEST_PIECES)
data = {"train": train, "validation": validation}
markov = evaluate(fit_baselines(train)["Markov-1"], validation)
windows = len(SequenceDataset(train, stride=256))
print(f"{windows} windows, {-(-windows // 16)} steps an epoch, {EPOCHS} epochs")

# %% tags=["nbval-ignore-output"]
models, histories = {}, {}
options = dict(batch_size=16, stride=256, learning_rate=LEARNING_RATE, device="cpu")
for build in (MusicLSTM, MusicMamba):
    torch.manual_seed(0)
    model, name = build(), build.__name__
    with tempfile.TemporaryDirectory() as folder:
        histories[name] = fit(model, data, EPOCHS, folder=folder, **options)
    models[name] = model.eval()

# %% tags=["nbval-ignore-output"]
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3), layout="constrained", sharey=True)
for (name, history), colour in zip(histories.items(), (ORANGE, BLUE)):
    loss = [row["val_loss"] for row in history]
    left.plot(range(1, EPOCHS + 1), loss, "o-", color=colour, label=name)
    right.plot(np.cumsum([row["seconds"] for row in history]), loss, "o-", color=colour)
for ax, label in ((left, "epochs"), (right, "seconds, with validation")):
    ax.axhline(markov["nll"], color=GREY, linestyle=":", label="Markov-1")
    ax.set(xlabel=label, ylabel="nats per frame" if ax is left else "")
left.xaxis.get_major_locator().set_params(integer=True)
_ = left.legend(frameon=False)

# %% [markdown]
# What to see: on the left, quality by *steps*: which model makes more of the same music? On the right, the same
# points by *time* on this machine: the curve that lies lower at a given second is the better bargain. Does the order
# stay the same? And who has passed below the dotted line, the two rates per key of notebook 03?
#
# For the table we also time both, here and now. A training step, on the batches of above; and `generate_music`, which
# is what one hears.


# %%
def training_speed(model, rolls, batch_size=16):
    """Frames a second in training."""
    x, y = next(Batches(SequenceDataset(rolls), batch_size).epoch(0))  # (B, T, 88) each
    optimizer = make_optimizer(model, learning_rate=0.0)  # all of the work, and no change

    def step():
        loss = F.binary_cross_entropy_with_logits(model(x)[0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return 1000 * x.shape[0] * x.shape[1] / milliseconds(step)


def generation_speed(model, seed):
    """Frames a second of new music, one piece at a time."""
    return 1000 * COMPOSED / milliseconds(lambda: generate_music(model, seed, COMPOSED))


# %% tags=["nbval-ignore-output"]
rows = {"Markov-1": (sum(p.numel() for p in fit_baselines(train)["Markov-1"].buffers()), markov, None, None)}
for name, model in models.items():
    weights, scores = sum(p.numel() for p in model.parameters()), evaluate(model, validation)
    rows[name] = weights, scores, training_speed(model, train), generation_speed(model, seed)


print(f"{'':<11} parameters | nats per frame:  all  changing  onset | frames/s: training  generation")
for name, (weights, scores, *speeds) in rows.items():
    nats = f"{scores['nll']:21.3f} {scores['nll_change']:9.3f} {scores['nll_onset']:6.3f}"
    print(f"{name:<11} {weights:10,d} | {nats} |", *(f"{speed:18.0f}" for speed in speeds if speed))


for name in models:
    assert rows[name][1]["nll"] < ENOUGH, "88 fair coins need 61 nats; training went wrong"

# %% [markdown]
# How to read it. *Down the nats*: lower is better, and "onset", the frames in which a key goes down, is where the music
# is. The columns need not name the same leader. Whichever leads after so few steps, it is a lead of beginners; one run,
# one seed. `docs/results.md` has a longer comparison, on 399 of MAESTRO's performances. *Parameters*: Mamba has less
# than a third of the LSTM's. *Training*: the LSTM does more arithmetic, in a few large matrix products that a CPU is
# very good at; Mamba does less, in many small operations. The column says how that comes out on your machine.
# *Generation* has to be faster than 16 frames a second to keep up with the music; how many times faster are they?
#
# Two different questions hide in "which is better": what a *step* teaches, and what a *second* teaches. The two
# halves of the figure answer them. Listen to both:

# %% tags=["nbval-ignore-output"]
music = generate_music(models["MusicLSTM"], seed, COMPOSED, temperature=0.8, random_seed=0)
player(music, seed_frames=len(seed), title="MusicLSTM after a short training")

# %% tags=["nbval-ignore-output"]
music = generate_music(models["MusicMamba"], seed, COMPOSED, temperature=0.8, random_seed=0)
player(music, seed_frames=len(seed), title="MusicMamba after a short training")

# %% [markdown]
# ## How far back does it look?
#
# A large memory is of no use if nothing in it matters. So take memory away and measure the damage: let a model forget
# everything (set `hidden` to a fresh start) every 16 frames, every 64, every 256, or never (960: our rolls end after
# 60 s). If it predicts as well as before, it did not need what it lost.
#
# We take the pretrained models, which had more time to learn what to remember. One trap: right after a reset a model
# is lost for some frames, and the more resets, the more such frames. That is the price of a cold start, not of a
# short memory. (The nats are those of the chord head now: do not compare them with the table above.) To be fair,
# count the *same* frames in every row: those in the second half of each block of 16. Even with a reset every 16, they
# have at least 8 frames behind them. And to price the forgetting every 64, we count the second half of each block of
# 64: frames with at least 32 behind them.


# %%
@torch.no_grad()
def nats_with_resets(model, roll, every):
    """Nats of frames 2..T of a piece, (T - 1,), for a model that forgets everything each `every` frames."""
    frames = torch.from_numpy(roll > 0).float()  # (T, 88)
    blocks = [frames[t : t + every + 1] for t in range(0, len(frames) - 1, every)]
    padded = nn.utils.rnn.pad_sequence(blocks, batch_first=True)  # (blocks, every + 1, 88)
    nll = predict(model, padded[:, :-1], padded[:, 1:]).nll  # (blocks, every)
    return nll.flatten()[: len(frames) - 1]  # only the last block was padded


# %%
EVERY = (16, 64, 256, 960)
readers = {"MusicLSTM": load_model(MIDI_DATA / "pretrained" / "lstm.pt"), "MusicMamba": pretrained}
table = {}
for name, model in readers.items():
    for every in EVERY:
        nll = [nats_with_resets(model, validation[i], every) for i in range(len(validation))]
        late = torch.cat([some[torch.arange(len(some)) % 16 >= 8] for some in nll])
        later = torch.stack([some[torch.arange(len(some)) % 64 >= 32].mean() for some in nll])  # (pieces,)
        table[name, every] = torch.cat(nll).mean().item(), late.mean().item(), later
# Without resets it must be what the package says.
assert math.isclose(table["MusicMamba", 960][0], evaluate(pretrained, validation)["nll"], rel_tol=1e-3)

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
print("nats per frame     reset every:", *(f"{every:6d}" for every in EVERY))
for name, colour in zip(readers, (ORANGE, BLUE)):
    every_frame, late, later = zip(*(table[name, every] for every in EVERY))
    cost = later[1] - later[3]  # (pieces,)
    print(f"{name:<11} all frames           ", *(f"{value:6.3f}" for value in every_frame))
    print(f"{'':<11} same frames, 8 or more", *(f"{value:6.3f}" for value in late))
    print(
        f"{'':<11} cost of forgetting every 64, on frames 32 or more after it: "
        f"{cost.mean():.3f} ± {cost.std() / len(cost) ** 0.5:.3f}"
    )
    ax.plot(np.array(EVERY) / 16, late, "o-", color=colour, label=name)
ax.set(xscale="log", xlabel="seconds between resets", ylabel="nats per frame")
ax.set_xticks([1, 4, 16, 60], ["1", "4", "16", "60"])
ax.minorticks_off()
_ = ax.legend(frameon=False)

# %% [markdown]
# What to see: each curve by itself, from left to right. Where it falls, a longer past helps; where it is level, what
# lies further back makes no difference. The lines "all frames" in the table fall more steeply: what they fall *more*
# is the cold start, not memory. The last line of each model says what it costs, once the cold start is over, to have
# forgotten what was before the block: the mean over pieces, and its standard error. Do not compare the two models'
# levels here: they were trained on MAESTRO, the one for more epochs and in longer windows than the other, and on
# other music a level says little. In the second half of their training the state was carried along whole pieces, but
# no gradient went back further than a window of a few seconds: neither was ever told what to keep for longer.
#
# A longer experiment, with small models of one size that were trained with their state carried through whole pieces, is
# in `docs/results.md` (`benchmarks/memory.py`): beyond the cold start, what lies further back than 4 seconds is worth
# 0.08 nats a frame to a small Mamba of this notebook's kind, 0.06 to a small Mamba-2, and next to nothing to a small
# LSTM; two thirds of it come from the first 16 seconds. (The pretrained LSTM above gains more. It is forty times as
# large, was trained for longer, and reads other music here.) The memory is there; how much of it music needs, and how
# to teach a model to use it, is open.
#
# ## What Δ does over a phrase
#
# In the toy the clock stood still at blanks. What does it do in music? Each block computes Δ in the layer `dt_proj`;
# a **hook** is a function that torch calls with the output of a layer, so we can listen in without changing the
# model.


# %%
def step_sizes(model, roll):
    """Δ of each block, frame and channel, (layers, T, D), while a Mamba reads a piece of up to 1,024 frames."""
    heard = []
    hooks = [
        layer.dt_proj.register_forward_hook(lambda module, inputs, output: heard.append(F.softplus(output)[0]))
        for layer in model.layers
    ]
    with torch.no_grad():
        model(torch.from_numpy(roll[None] > 0).float())
    for hook in hooks:
        hook.remove()
    return torch.stack(heard)


torch.manual_seed(0)
newborn = MusicMamba().eval()  # before any training, to compare with
delta, delta_newborn = step_sizes(pretrained, roll), step_sizes(newborn, roll)
assert delta.shape == (4, len(roll), 512) and (delta > 0).all()

# %% tags=["nbval-ignore-output"]
labels = [f"block {number}" for number in range(1, 5)]
fig, axes = plot_delta(delta.mean(-1)[:, :192], roll[:192], labels=labels)

# %% [markdown]
# What to see: Δ, the mean over 512 channels, with the frames it belongs to below. Do the curves jump where notes
# begin? Do the four blocks agree? Eyes are easily fooled, so count: frames in which a key goes down, against all
# others, over several pieces.


# %% tags=["nbval-ignore-output"]
def at_onsets(model):
    """Mean Δ of each block in frames with an onset, and in all others: (layers,) each."""
    there, elsewhere = [], []
    for i in range(len(validation)):
        some = validation[i]
        onset = torch.from_numpy(((some[1:] > 0) & (some[:-1] == 0)).any(1))  # frames 1..T-1
        mean = step_sizes(model, some).mean(-1)[:, 1:]  # (layers, T - 1)
        there.append(mean[:, onset])
        elsewhere.append(mean[:, ~onset])
    return torch.cat(there, 1).mean(1), torch.cat(elsewhere, 1).mean(1)


(there, elsewhere), (there_newborn, elsewhere_newborn) = at_onsets(pretrained), at_onsets(newborn)
before = there_newborn / elsewhere_newborn  # (layers,)
for k in range(4):
    print(f"block {k + 1}: mean Δ {there[k]:.4f} at onsets, {elsewhere[k]:.4f} elsewhere:", end=" ")
    print(f"{there[k] / elsewhere[k]:.2f} times; before training {before[k]:.2f} times")

# %% [markdown]
# Above 1 the block lets go of more of the old when something begins; below 1 it holds on to it. (How much it takes in
# depends on B and x as well.) It was not told what an onset is.
#
# How long do its buckets remember? From Δ and A follows a half-life, as for the leaky bucket: `log(2) / (Δ |A|)`
# frames.

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
bins = np.linspace(-3, 3, 91)  # powers of ten


def half_lives(layer, delta):
    """Logarithms of the half-lives (s) of all buckets of a block, at the mean of its step sizes (T, D)."""
    leak = delta.mean(0) * layer.A_log.detach().exp()  # (N, D): Δ |A|
    return (math.log(2) / leak / 16).flatten().log10()


for number, (layer, colour) in enumerate(zip(pretrained.layers, (BLUE, ORANGE, GREEN, PINK))):
    ax.hist(half_lives(layer, delta[number]), bins, histtype="step", color=colour, label=f"block {number + 1}")
ax.hist(half_lives(newborn.layers[0], delta_newborn[0]), bins, color=GREY, alpha=0.4, label="untrained")
ticks = [0.01, 0.1, 1, 10, 100, 1000]
ax.set_xticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
ax.set(xlabel="half-life at the mean step size (s)", ylabel="buckets")
_ = ax.legend(frameon=False)

# %% [markdown]
# What to see: the buckets of one model cover time scales from less than a frame (1/16 s) to minutes: those
# on the left pass on what happens now, those on the right hold on to it. But much of that spread is there before any
# training, in grey: A and Δ *begin* spread out, as in "many buckets" above. Which blocks have moved away from the grey,
# and to which side, or to both? That is what training did.
#
# ## What is left out
#
# *Where A comes from.* Ours starts at -1, -2, ... -16, as Mamba's does. That is what was left (S4D-Real) of a larger
# matrix, which its predecessors derived from the question how to remember a curve best (HiPPO, S4); the Annotated S4
# tells it well. *Kernels.* The paper's own code is written for NVIDIA GPUs and keeps the buckets in the chip's fast
# memory; ours runs everywhere, and our `selective_scan` takes from it the idea to compute states again rather than to
# keep them. *Mamba-2.* If all buckets of all 64 channels of a group (a *head*) share one leak, the scan turns into a
# few matrix products (SSD, "state space duality": it is a kind of attention, too). That gives up the different leaks,
# and gets room for 64 buckets, at more speed. `MusicMamba(ssm="ssd")` is that model, and
# `midigen_utils/models/fast_scan.py` has it in some fifty lines. *Chords.* The models of the table answer 88 questions
# independently; the pretrained ones have a head that decides on whole chords (`midigen_utils/models/chords.py`).
#
# ## Summary
#
# - A leaky bucket, `h = a h + b x`, remembers without squashing. Its step size Δ is the length of a frame on its own
#   clock: `a = exp(Δ A)`, `b = Δ B`.
# - Sixteen buckets with sixteen leaks can tell when something happened.
# - **Selection**: Δ, B and C are computed from the input. In our toy the fixed model did not learn to keep the order
#   that the selective one keeps.
# - The scan is recurrent: whole = halves = steps. A loop that trains slowly may be badly written; a good one beat our
#   parallel scan on a CPU, at these lengths.
# - The block: norm, projection, causal convolution, scan, gate, projection, residual. 438,016 parameters, and four
#   such blocks make the model.
# - The state is large, cheap and does not grow. How much of it is used has to be measured, with the cold start left
#   out.

# %% [markdown]
# ## Quiz
#
# Answer first, then open.
#
# **1.** A model reads ten seconds of rest and should forget nothing meanwhile. What should Δ be in these 160 frames,
# and does this protect the fast bucket with A = -16 as well as the slow one with A = -1?
#
# <details><summary>Answer</summary>
#
# Very near 0: then `a = exp(Δ A)` is near 1 and `b` near 0, for every bucket, and the memory stays. But the fast
# bucket needs a Δ sixteen times as small for the same protection. Small leaks add up, too: 160 of them at Δ = 0.001
# leave most of the slow bucket and less than a tenth of the fast one.
#
# </details>
#
# **2.** The block learns `A_log` and computes `A` as `-exp(A_log)`. What could happen if it learned `A` directly?
#
# <details><summary>Answer</summary>
#
# `A` could rise above 0. Then `a = exp(Δ A)` is above 1, and the bucket grows in every frame instead of leaking, soon
# beyond all bounds. Whatever number `A_log` is, `-exp(A_log)` stays below 0.
#
# </details>
#
# **3.** An LSTM's gates look at the input and at `h`. Mamba's Δ, B and C look at the input alone. What does Mamba
# gain by that, and what does it give up?
#
# <details><summary>Answer</summary>
#
# All its leaks and inflows are known before the first step, so frames can be joined and the stride over many of them
# stays possible. In return, what a scan lets in or lets go cannot depend on what is already in its buckets.
#
# </details>
#
# **4.** The convolution is 4 frames wide, but `hidden` holds only 3 frames for it. Is one missing?
#
# <details><summary>Answer</summary>
#
# No. `y[t]` needs `x[t - 3]` to `x[t]`, and `x[t]` is the frame that comes in. Only the three before it have to be
# kept, for the same reason that `causal_conv` puts K - 1 silent frames in front and not K.
#
# </details>
#
# **5.** In the table of resets the line "all frames" falls from "every 16" to "never". A friend says: "So this model
# uses a minute of memory." What is the mistake?
#
# <details><summary>Answer</summary>
#
# After each reset a model is lost for some frames, and with more resets there are more such frames. So a part of
# the fall is this cold start, not memory. Compare the same frames each time, those with some past behind them however
# often one resets, and see how much that line still falls at its right end.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Put your code in place of the `...` and run the cell: it says "right" when it is. Solutions are in the notebook
# [A6_solutions](A6_solutions.ipynb).
#
# **1 (easy).** Which `a` gives a leaky bucket a half-life of one second (16 frames)?

# %%
leak_of_a_second = ...

check("04.1", leak_of_a_second)

# %% [markdown]
# **2 (easy).** Without the scans (and without the state) the model would see only through its convolutions. From how
# many frames, this one included, could the prediction of four blocks still depend?

# %%
frames_seen = ...

check("04.2", frames_seen)

# %% [markdown]
# **3 (easy).** How many numbers does a `MusicMamba(d_model=128, n_layers=6)` carry from frame to frame, for one
# piece?

# %%
numbers_carried = ...

check("04.3", numbers_carried)

# %% [markdown]
# **4 (medium).** A bucket whose leak changes from frame to frame, `h[t] = a[t] h[t-1] + x[t]`, is a matrix: there is
# a lower triangular `M`, `(L, L)`, with `h = M @ x` for every x. Compute it. (What is left in frame t of what was
# poured in in frame s? This matrix is the door to Mamba-2, and to attention.)

# %%
leaks = np.random.default_rng(0).uniform(0.5, 1, 12)
M = ...

check("04.4", M, leaks)

# %% [markdown]
# **5 (medium).** Join frames in pairs: for leaks `a` and inflows `b` of 12 frames, compute the leak and the inflow of
# the 6 double frames (0 and 1, 2 and 3, ...), as an array `(2, 6)`: leaks in row 0, inflows in row 1.

# %%
leaks, inflows = np.random.default_rng(0).uniform(0.5, 1, 12), np.random.default_rng(1).normal(size=12)
double_frames = ...

check("04.5", double_frames, leaks, inflows)

# %% [markdown]
# **6 (open).** Where does the toy break? Ask the trained selective copier about sequences of 48 and of 96 frames
# (set `LENGTH` and make new puzzles). Then make it harder: more symbols, or a second kind of symbol that is to be
# ignored. And easier: put the symbols in the same three places every time. What does the fixed model make of that?
#
# ## Next
#
# `05_generation_and_playback`: the trained models compose; temperature, seeds, the studio, and how to judge what they
# write.
#
# ## References
#
# - Albert Gu and Tri Dao, *Mamba: Linear-Time Sequence Modeling with Selective State Spaces*, 2023,
#   [arXiv 2312.00752](https://arxiv.org/abs/2312.00752): section 3 is this notebook, section 4.1 the toy.
# - Tri Dao and Albert Gu, *Transformers are SSMs*, ICML 2024, [arXiv 2405.21060](https://arxiv.org/abs/2405.21060):
#   Mamba-2.
# - Albert Gu, Karan Goel and Christopher Ré, *Efficiently Modeling Long Sequences with Structured State Spaces*, ICLR
#   2022, [arXiv 2111.00396](https://arxiv.org/abs/2111.00396): S4. Albert Gu et al., *HiPPO*, NeurIPS 2020,
#   [arXiv 2008.07669](https://arxiv.org/abs/2008.07669).
# - Sasha Rush and Sidd Karamcheti, *The Annotated S4*,
#   [srush.github.io/annotated-s4](https://srush.github.io/annotated-s4).
# - [mamba.py](https://github.com/alxndrTL/mamba.py) by Alexandre Torres-Leguet and
#   [mamba-minimal](https://github.com/johnma2006/mamba-minimal) by John Ma: Mamba in plain PyTorch.
# - Guy Blelloch, *Prefix Sums and Their Applications*, Carnegie Mellon University, CMU-CS-90-190, 1990.
