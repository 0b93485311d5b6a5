# %% [markdown]
# # A1 · The parallel scan: one line, seven ways
#
# Mamba's memory is one line in a loop, `h = a * h + b`. Each frame waits for the one before it, and yet all frames can
# be computed at once. In this notebook you
#
# - compute a running sum in a loop, in log₂ L rounds (doubling) and in two sweeps (Blelloch), and count the work of
#   each,
# - find that a leaky bucket is a kind of sum, so that all of this works for it, forwards and backwards,
# - see a popular short cut return NaN, and a milder form of it return wrong numbers,
# - build Mamba-2's scan (SSD) in 15 lines, and find that it is attention with a decay,
# - time seven forms of the same scan, count what they touch, and work out what a GPU would change.
#
# You need notebook 04. It runs in about three minutes on two CPU cores.

# %% tags=["nbval-ignore-output"]
import math
import os
import random
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from midigen_utils.config import SEQUENCE_LENGTH, scaled
from midigen_utils.data import load_corpus, load_piano_rolls
from midigen_utils.exercises import check
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn import load_model
from midigen_utils.models import MusicMamba, generate_music, scan_loop, scan_textbook, selective_scan, ssd_scan
from midigen_utils.models import ssd_step
from midigen_utils.show import BLUE, GREEN, GREY, ORANGE, PINK, figure, player

# %% [markdown]
# ## Settings
#
# `LAUNCH` and `BANDWIDTH` describe a GPU, for a calculation at the end. Put in the numbers of your own.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
PIECE = 7  # which piece of the validation split is looked at
SHAPES = scaled(full=[(32, 64), (1, 256)], fast=[(2, 32), (1, 48)])  # (pieces, frames) of the timings
BATCHES = scaled(full=[1, 2, 4, 8, 16, 32], fast=[1, 2])  # pieces side by side, for one of the figures
ROUNDS = scaled(full=5, fast=1)  # of every timing, after one to warm up
CLOCK = time.perf_counter if os.name == "nt" else time.process_time  # Windows counts processor time too coarsely
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]  # where to time
LAUNCH = 3.8e-6  # seconds from one GPU kernel to the next, many small ones in a row (source below)
BANDWIDTH = 1555e9  # bytes a second between a GPU and its memory: an A100 with 40 GB (source below)
GPU_BATCHES = [2**k for k in range(12)]  # pieces side by side, for the calculation

torch.manual_seed(0)
rolls, corpus = load_piano_rolls(load_corpus(CORPUS))
piece, roll = corpus.split("validation")[PIECE], rolls["validation"][PIECE]

# %% [markdown]
# First some music. A Mamba that was trained on pianists reads four seconds of a chorale with `selective_scan`, one of
# the seven forms. It composes the rest with one step of the plain loop per frame, because each frame has to be drawn
# before the next one. Reading and training know all frames beforehand, so they can use a parallel scan.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player with a piano roll: four seconds of a chorale in orange, then eight seconds of a pretrained Mamba in blue"}, "figure": {"caption": "Read with a scan, composed with one step for each frame."}}
pretrained = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
seed = rolls["validation"][0][:SEQUENCE_LENGTH]
music = generate_music(pretrained, seed, 128, temperature=0.9, random_seed=4)
player(music, seed_frames=len(seed), title="Read by a scan, composed by a loop")

# %% tags=["nbval-ignore-output"]
figure("road", here="A1")

# %% [markdown]
# The package has four ways to compute a scan. Below they compute the *same* numbers, forward and backward, for 8 pieces
# of 32 frames with 256 channels, on one thread.
#
# *Predict:* how many times as long as the fastest does the slowest take?
#
# <details><summary>Answer</summary>
#
# About forty times.
#
# </details>


# %%
def random_inputs(batch, length, D=256, N=16, P=64, device="cpu"):
    """One scan, written for the S6 forms and for SSD: in each head of P channels all share Δ and A."""
    H = D // P
    x, B, C = torch.randn(batch, length, D), torch.randn(batch, length, N), torch.randn(batch, length, N)
    dt, A = 0.1 * torch.rand(batch, length, H), -torch.linspace(1, 16, H)
    s6 = (x, dt.repeat_interleave(P, 2), A.repeat_interleave(P).repeat(N, 1), B, C)  # dt (B, L, D), A (N, D)
    ssd = (x.view(batch, length, H, P), dt, A, B, C)  # dt (B, L, H), A (H,)
    return [[tensor.to(device).clone().requires_grad_() for tensor in inputs] for inputs in (s6, ssd)]


def milliseconds(forms, batch, length, device="cpu"):
    """Times of each form, forward and backward, taking turns in random order: name -> sorted list."""
    s6, ssd = random_inputs(batch, length, device=device)
    times, clock, wait = {name: [] for name in forms}, CLOCK, lambda: None
    if device == "cuda":  # a GPU works on its own: look at the clock on the wall, when it has finished
        clock, wait = time.perf_counter, torch.cuda.synchronize
    for number in range(1 + ROUNDS):
        for name in random.sample(list(forms), len(forms)):
            if sum(times[name]) > 5000:  # it has had its five seconds
                continue
            inputs = ssd if forms[name] is ssd_scan else s6
            wait()
            start = clock()
            torch.autograd.grad(forms[name](*inputs)[0].sum(), inputs)
            wait()
            times[name] += [1000 * (clock() - start)] if number else []
    return {name: sorted(some) for name, some in times.items()}


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Four bars: scan_textbook takes 99.9 milliseconds, scan_loop 20.4, selective_scan 13.3, ssd_scan 2.4"}, "figure": {"caption": "Four ways to compute the same scan, forward and backward."}}
torch.set_num_threads(1)
package = {form.__name__: form for form in (scan_textbook, scan_loop, selective_scan, ssd_scan)}
teaser = milliseconds(package, 8, 32)
fig, ax = plt.subplots(figsize=(8, 2.2), layout="constrained")
bars = ax.barh(list(teaser), [times[0] for times in teaser.values()], color=[GREY, ORANGE, GREEN, "tab:purple"])
ax.bar_label(bars, fmt="%.1f", padding=3)
ax.margins(x=0.1)
ax.invert_yaxis()
_ = ax.set(xlabel="milliseconds, forward and backward (fastest round)")

# %% [markdown]
# **Finding.** For one and the same result `scan_textbook` takes some forty times as long as `ssd_scan`. The first two
# bars are loops over frames, and so is the third, in parts that fit the cache. The last is made of matrix products.
# None of them is a textbook *parallel* scan. To see why, we build some.
#
# ## A running sum
#
# The oldest scan is the running sum: after each frame, the sum of all frames so far. In a loop each addition waits for
# the one before it. We write it for any operation `op` that joins a left part and a right part. For the sum that is
# `torch.add`.


# %% tags=["nbval-check-output"]
def loop(x, op):
    """After each frame, all frames so far, joined by op. x: (L, ...)."""
    done = [x[:1]]
    for t in range(1, len(x)):
        done.append(op(done[-1], x[t : t + 1]))
    return torch.cat(done)


x = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
print(x.tolist())
print(loop(x, torch.add).tolist())
assert torch.equal(loop(x, torch.add), x.cumsum(0))  # torch's own

# %% [markdown]
# ### In log₂ L rounds
#
# Now let all frames work at once. In the first round each frame adds what the frame before it has, in the second what
# the frame *two* before it has, then four, then eight. Kogge and Stone used this in 1973 for the very recurrence of our
# bucket. The course calls it *doubling*.

# %% tags=["nbval-ignore-output"]
figure("doubling_tree")


# %% tags=["nbval-check-output"]
def doubling(x, op, show=False):
    step = 1
    while step < len(x):
        x = torch.cat([x[:step], op(x[:-step], x[step:])])
        if show:
            print(f"with the one {step} before:", x.tolist())
        step *= 2
    return x


assert torch.equal(doubling(x, torch.add, show=True), x.cumsum(0))

# %% [markdown]
# **Finding.** Three rounds take the place of seven steps. But they make 7, 6 and 4 additions, together 17, where the
# loop makes 7. Doubling saves waiting, and pays with work.
#
# ### Up and down again
#
# Blelloch's scan (1990) wastes less. On the way **up** it adds pairs, then pairs of pairs, like a knock-out tournament.
# On the way **down**, frames that know the sum of all up to them hand it on to the frames between. In each round the
# frames `right` add what the frames `left` have. Blelloch's own version gives the sums *before* each frame; ours counts
# the frame in, as mamba.py does.


# %% tags=["nbval-check-output"]
def sweeps(L):
    """Slices (left, right) of the frames that meet in each round, on the way up and on the way down."""
    steps = [2**k for k in range((L - 1).bit_length())]  # 1, 2, 4, ... below L
    up = [(slice(s - 1, L - s, 2 * s), slice(2 * s - 1, None, 2 * s)) for s in steps]
    down = [(slice(2 * s - 1, L - s, 2 * s), slice(3 * s - 1, None, 2 * s)) for s in reversed(steps[:-1])]
    return up, down


def blelloch(x, op):
    x = x.clone()
    up, down = sweeps(len(x))
    for left, right in up + down:
        x[right] = op(x[left], x[right])
    return x


for way, rounds in zip(("up:  ", "down:"), sweeps(8)):
    for left, right in rounds:
        print(way, *(f"{i} to {j}" for i, j in zip(range(8)[left], range(8)[right])), sep="  ")
for length in range(1, 40):  # not only powers of two
    numbers = torch.arange(length)
    assert torch.equal(blelloch(numbers, torch.add), numbers.cumsum(0))

# %% [markdown]
# **Finding.** After three rounds up, frames 0, 1, 3 and 7 have their sums. Two rounds down complete frame 5, and then
# 2, 4 and 6. The loop at the end shows that it works for all lengths from 1 to 39, not only for powers of two.
#
# ### Which frames meet
#
# The three functions can draw themselves. Here is an operation that adds nothing: its numbers are *stretches* of
# frames, (first, last). It accepts neighbours only, and records which frames met in which round.


# %%
class Recorder:
    """An operation on stretches (first, last) of frames: joins neighbours and keeps the minutes of the meeting."""

    def __init__(self):
        self.rounds = []

    def __call__(self, left, right):  # (K, 2) each: K joins at once
        assert (left[:, 1] + 1 == right[:, 0]).all(), "only neighbours may be joined"
        if len(left):
            self.rounds.append(list(zip(left[:, 1].tolist(), right[:, 1].tolist())))
        return torch.stack([left[:, 0], right[:, 1]], dim=1)


def record(form, L):
    """The rounds of a scan over L frames: for each the joins (from frame, to frame)."""
    recorder = Recorder()
    stretches = form(torch.arange(L).repeat(2, 1).T, recorder)
    assert (stretches[:, 0] == 0).all() and torch.equal(stretches[:, 1], torch.arange(L))  # all from frame 0
    return recorder.rounds


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Three diagrams over 16 frames, with time running down. The loop is one diagonal of 15 joins in 15 rounds. Doubling fills 4 rounds with 49 joins. Blelloch has 26 joins in 7 rounds, and hardly any in the middle"}, "figure": {"caption": "A line from frame i to a dot at frame j means that j took in what i had. Time runs down."}}
fig, axes = plt.subplots(1, 3, figsize=(11, 4.2), layout="constrained", sharey=True)
for ax, form, colour in zip(axes, (loop, doubling, blelloch), (ORANGE, PINK, BLUE)):
    rounds = record(form, 16)
    ax.vlines(range(16), 0, len(rounds), color=GREY, linewidth=0.5)
    for number, joins in enumerate(rounds):
        for i, j in joins:
            ax.plot([i, j], [number, number + 1], color=colour, linewidth=1.2)
            ax.plot(j, number + 1, "o", color=colour, markersize=4)
    ax.set_xticks(range(0, 16, 3))
    ax.set(xlabel="frame", title=f"{form.__name__}: {sum(map(len, rounds))} joins, {len(rounds)} rounds")
axes[0].set_ylabel("round")
axes[0].invert_yaxis()

# %% [markdown]
# The number of joins is the **work**, the number of rounds the **depth**. A single worker needs time for the work. With
# enough workers the depth alone counts.

# %% tags=["nbval-check-output"]
print("frames |     loop: work depth | doubling: work depth | blelloch: work depth")
for L in (16, 64, 256, 1024):
    counts = [(sum(map(len, rounds)), len(rounds)) for rounds in (record(f, L) for f in (loop, doubling, blelloch))]
    print(f"{L:6d}", *(f"{work:14d} {depth:5d}" for work, depth in counts), sep=" | ")
    k = int(math.log2(L))
    assert counts == [(L - 1, L - 1), (L * k - L + 1, k), (2 * L - 2 - k, 2 * k - 1)]

# %% [markdown]
# **Finding.** For 1,024 frames the loop makes 1,023 joins, one after the other. Doubling needs 10 rounds, the smallest
# depth, but 9,217 joins, nine times as many. Blelloch needs 19 rounds and 2,036 joins, less than twice the loop's. In
# the picture its middle rounds are nearly empty, so most workers would wait there. The formulas are in the `assert`.
#
# **Exercise A1.1 (easy).** How many rounds does doubling need for a whole roll of 960 frames?

# %%
rounds = ...

check("A1.1", rounds)

# %% [markdown]
# **Exercise A1.2 (easy).** How many joins does Blelloch's scan need for the same 960 frames? As 960 is no power of two,
# count them.

# %%
joins = ...

check("A1.2", joins)

# %% [markdown]
# ## A leaky bucket is a sum, too
#
# What did we need of addition? Only that brackets do not matter: (u + v) + w = u + (v + w). An operation with this
# property is called **associative**. The bucket `h[t] = a[t] h[t-1] + b[t]` does not look like one. But take a frame as
# what it *does* to the level: it multiplies by `a` and adds `b`. That is a pair (a, b), and two frames in a row do
#
# $$a_2 (a_1 h + b_1) + b_2 = (a_2 a_1) \, h + (a_2 b_1 + b_2)$$
#
# which is a pair again. You joined frames in this way in exercise 04.5.


# %%
def join(left, right):
    """The pair (a, b) of two stretches of frames together; pairs lie in the last axis."""
    (a1, b1), (a2, b2) = left.unbind(-1), right.unbind(-1)
    return torch.stack([a2 * a1, a2 * b1 + b2], dim=-1)


u, v, w = torch.randn(3, 1000, 2, dtype=torch.float64)
assert torch.allclose(join(join(u, v), w), join(u, join(v, w)))  # associative
assert not torch.allclose(join(u, v), join(v, u))  # but the order matters: time has a direction

# %% [markdown]
# The same three functions, unchanged, now run on pairs:

# %%
pairs = torch.stack([torch.rand(50), torch.randn(50)], dim=-1)  # (L, 2): leaks a, inflows b
h, levels = 0.0, []
for a, b in pairs:
    h = a * h + b
    levels.append(h)
for form in (loop, doubling, blelloch):
    assert torch.allclose(form(pairs, join)[:, 1], torch.stack(levels), atol=1e-5)

# %% [markdown]
# The first number of each pair is the share that is left of the level *before* the first frame. So a scan that begins
# with a full bucket costs one multiplication and one addition more for each frame:

# %%
left_over, poured_in = blelloch(pairs, join).unbind(-1)  # (L,) each
h = 2.0
for t, (a, b) in enumerate(pairs):
    h = a * h + b
    assert torch.isclose(left_over[t] * 2.0 + poured_in[t], h, atol=1e-5)

# %% [markdown]
# All this needs the pairs before it can start. Mamba computes them from the input alone. An LSTM's depend on its state
# one frame before, so it has nothing to join ahead of time.
#
# **Exercise A1.3 (easy).** Adding 0 changes nothing. Which pair (a, b) changes nothing when it is joined, from the left
# or from the right?

# %%
neutral = ...

check("A1.3", neutral)

# %% [markdown]
# **Exercise A1.4 (medium).** For how many frames has each key been down? For a roll `(T, 88)` make an array of that
# shape: 0 where the key is up, 1 in the frame where it goes down, then 2, 3, ... This is a leaky bucket. Choose its `a`
# and `b`, and compute it with one of the scans.

# %%
frames_down = ...

check("A1.4", frames_down, roll)

# %% [markdown]
# ### At full size
#
# For real shapes the pairs are two tensors, `a` and `b`, both `(L, B, N, D)`. Time comes first, because it is time that
# we cut. Here are Blelloch, in place, and doubling, as fast as a few lines of torch allow:


# %%
def scan_blelloch(a, b):
    """h[t] = a[t] h[t-1] + b[t] for a, b (L, ...)."""
    a, h = a.clone(), b.clone()
    up, down = sweeps(len(h))
    for left, right in up:
        h[right].addcmul_(a[right], h[left])  # h[right] += a[right] * h[left]
        a[right].mul_(a[left])
    for left, right in down:
        h[right].addcmul_(a[right], h[left])  # nobody asks for the products any more
    return h


def doubled(a, h):
    """The pairs (a, b) of all frames from the first to each: two tensors like a and h."""
    step = 1
    while step < len(h):
        h = torch.cat([h[:step], torch.addcmul(h[step:], a[step:], h[:-step])])
        a = torch.cat([a[:step], a[step:] * a[:-step]])
        step *= 2
    return a, h


def scan_doubling(a, b):
    return doubled(a, b)[1]


# %% [markdown]
# And the loop by the same rules, in place and without new memory on the way:


# %%
def scan_in_place(a, b):
    h = b.clone()
    for a_t, before, h_t in zip(a[1:].unbind(), h[:-1].unbind(), h[1:].unbind()):
        h_t.addcmul_(a_t, before)
    return h


a, b = torch.rand(100, 2, 3, 4), torch.randn(100, 2, 3, 4)
for form in (scan_blelloch, scan_doubling):
    assert torch.allclose(form(a, b), scan_in_place(a, b), atol=1e-5)

# %% [markdown]
# ## The backward pass is a scan backwards
#
# Training needs gradients. Let $g_t$ be how much the loss changes with $h_t$. The level $h_t$ acts on the loss in two
# ways: directly, through what is read from it (call that $r_t$; autograd hands it to us), and through the next frame,
# which takes in $a_{t+1} h_t$:
#
# $$g_t = r_t + a_{t+1} \, g_{t+1}$$
#
# This is a leaky bucket that runs from the end, with its leaks shifted by one. So whatever computes the scan also
# computes its backward pass. The gradient of $b_t$ is $g_t$, and that of $a_t$ is $g_t h_{t-1}$. In torch such a rule
# is an `autograd.Function`: `ctx` carries tensors from forward to backward, and `backward` turns the gradient of the
# result into one for each argument of `forward`. `form` is a function and has none.


# %%
class Scan(torch.autograd.Function):
    """h[t] = a[t] h[t-1] + b[t], by any form, in both directions."""

    @staticmethod
    def forward(ctx, a, b, form):
        h = form(a, b)
        ctx.save_for_backward(a, h)
        ctx.form = form
        return h

    @staticmethod
    def backward(ctx, r):  # (L, ...)
        a, h = ctx.saved_tensors
        nothing = torch.zeros_like(a[:1])
        leaks = torch.cat([nothing, a[1:].flip(0)])  # a[t+1], from the end
        g = ctx.form(leaks, r.flip(0)).flip(0)
        return torch.cat([nothing, g[1:] * h[:-1]]), g, None


# %% [markdown]
# Autograd, which goes back through a loop step by step, must give the same gradients. `gradcheck` asks in another way:
# it moves each input a little and looks at what happens.

# %%
a = torch.rand(13, 3, dtype=torch.float64, requires_grad=True)
b = torch.randn(13, 3, dtype=torch.float64, requires_grad=True)
r = torch.randn(13, 3, dtype=torch.float64)
by_autograd = torch.autograd.grad(loop(torch.stack([a, b], -1), join)[..., 1], (a, b), r)
for form in (scan_in_place, scan_doubling, scan_blelloch):
    for mine, theirs in zip(torch.autograd.grad(Scan.apply(a, b, form), (a, b), r), by_autograd):
        assert torch.allclose(mine, theirs)
assert torch.autograd.gradcheck(lambda a, b: Scan.apply(a, b, scan_blelloch), (a, b))

# %% [markdown]
# **Exercise A1.5 (medium).** The levels of 12 frames are `h[t] = a[t] h[t-1] + b[t]`. Given are the leaks `a`, and in
# `direct` how much the loss changes with each level directly. Compute g, the change with each level by all ways,
# `(12,)`.

# %%
generator = torch.Generator().manual_seed(0)
a, direct = torch.rand(12, generator=generator), torch.randn(12, generator=generator)
whole_gradient = ...

check("A1.5", whole_gradient, a, direct)

# %% [markdown]
# ### A whole selective scan
#
# Around the bare scan goes what notebook 04 had: leaks and inflows before it, reading with `C` after it.


# %%
def selective(form):
    """A selective scan (x, dt, A, B, C) -> y, h made of a form of the bare scan."""

    def whole(x, dt, A, B, C):
        x, dt, B, C = (tensor.transpose(0, 1) for tensor in (x, dt, B, C))  # time first
        decay = torch.exp(dt.unsqueeze(2) * A)  # (L, B, N, D)
        inflow = B.unsqueeze(3) * (dt * x).unsqueeze(2)  # (L, B, N, D)
        h = Scan.apply(decay, inflow, form)  # (L, B, N, D)
        return (C.unsqueeze(2) @ h).squeeze(2).transpose(0, 1), h[-1]  # (B, L, D), (B, N, D)

    return whole


def assert_twins(form, reference, inputs):
    """Same values, same gradients."""
    y, h = reference(*inputs)
    y_twin, h_twin = form(*inputs)
    assert torch.allclose(y, y_twin, atol=1e-4) and torch.allclose(h, h_twin, atol=1e-4)
    gradients = (torch.autograd.grad(out.square().sum(), inputs) for out in (y, y_twin))
    for mine, theirs in zip(*gradients):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-3 * mine.abs().max())


s6, ssd = random_inputs(2, 40)
for form in (scan_doubling, scan_blelloch):
    assert_twins(selective(form), scan_textbook, s6)
for form in (scan_loop, selective_scan):
    assert_twins(form, scan_textbook, s6)

# %% [markdown]
# ## The trap: a cumulative sum
#
# Many have found a short cut. Divide each frame by the product of all leaks so far, and the bucket turns into a plain
# running sum, for which torch has `cumsum`. With $s_t$ the sum of the exponents $\Delta A$ up to frame t:
#
# $$h_t = e^{s_t} \sum_{j \le t} e^{-s_j} b_j$$
#
# That is two lines, and correct on paper. We try three variants: as written; with the sums clamped at −20, so that
# nothing overflows; and in logarithms, with positive and negative inflows apart.


# %%
def by_cumsum(exponent, b):
    s = exponent.cumsum(0)
    return s.exp() * ((-s).exp() * b).cumsum(0)


def by_cumsum_clamped(exponent, b):
    s = exponent.cumsum(0).clamp(min=-20)
    return s.exp() * ((-s).exp() * b).cumsum(0)


def by_logarithms(exponent, b):
    s = exponent.cumsum(0)
    above, below = (torch.logcumsumexp(part.clamp(min=0).log() - s, 0) for part in (b, -b))
    return (s + above).exp() - (s + below).exp()


def by_blelloch(exponent, b):
    return scan_blelloch(exponent.exp(), b)


# %% [markdown]
# The test uses real exponents, the Δ A of the pretrained Mamba's first block while it reads our piece, and the loop in
# double precision as the truth. The error is the largest difference, as a share of the largest number, of the levels
# and of the gradient of the exponents.
#
# *Predict:* which of the three variants can be trusted over 512 frames?
#
# <details><summary>Answer</summary>
#
# None. One gives NaN, one gives wrong numbers, and one gives good levels and a gradient of NaN.
#
# </details>


# %%
def exponents(model, roll, number):
    """Δ A of block `number` while a model reads a roll: (T, N, D)."""
    heard, layer = [], model.layers[number]
    hook = layer.dt_proj.register_forward_hook(lambda module, inputs, output: heard.append(F.softplus(output)[0]))
    with torch.no_grad():
        model(torch.from_numpy(roll[None] > 0).float())
        hook.remove()
        return heard[0].unsqueeze(1) * -layer.A_log.exp()


def by_scan(form):
    return lambda exponent, b: Scan.apply(exponent.exp(), b, form)


def levels_and_gradient(form, exponent, b):
    exponent = exponent.clone().requires_grad_()
    h = form(exponent, b)
    return h.detach(), *torch.autograd.grad(h.square().sum(), exponent)


# %% tags=["nbval-ignore-output"]
exponent = exponents(pretrained, roll, 0)[:512, :, ::32]  # 16 of the 512 channels
b = torch.randn(exponent.shape, generator=torch.Generator().manual_seed(0))
variants = {"cumsum": by_cumsum, "cumsum, clamped": by_cumsum_clamped, "logarithms": by_logarithms}
variants["Blelloch"] = by_scan(scan_blelloch)
errors = {}
print(f"{'':<16} levels:    16        64       512 | gradient: 16        64       512 frames")
for name, form in variants.items():
    for L in (16, 64, 512):
        truth = levels_and_gradient(by_scan(scan_in_place), exponent[:L].double(), b[:L].double())
        found = levels_and_gradient(form, exponent[:L], b[:L])
        errors[name, L] = [((f - t).abs().max() / t.abs().max()).item() for f, t in zip(found, truth)]
    numbers = [[errors[name, L][part] for L in (16, 64, 512)] for part in (0, 1)]
    print(f"{name:<16}", *(f"{v:9.0e}" for v in numbers[0]), "  |  ", *(f"{v:9.0e}" for v in numbers[1]))

# %%
assert math.isnan(errors["cumsum", 512][0]) and errors["cumsum, clamped", 512][0] > 0.1
assert max(errors["Blelloch", 512]) < 1e-4

# %% [markdown]
# How far do the sums go in the most forgetful of these buckets?

# %% tags=["nbval-ignore-output"]
for L in (16, 64, 512):
    print(f"after {L:3d} frames: s = {exponent[:L].sum(0).min():7.0f}; float32 ends at exp({math.log(3.4e38):.1f})")

# %% [markdown]
# **Finding.** A scan can be trusted, and none of the short cuts can.
#
# - **As written** the short cut gives NaN within 16 frames. `exp(-s)` grows as fast as the bucket forgets. By then s is
#   −126, and float32 ends at exp(88.7).
# - **Clamped** it never fails, and that is worse. After 16 frames the levels are wrong by 20 % of the largest one,
#   after 512 by three times the largest, and nothing says so.
# - **In logarithms** the levels come out well, with an error of 1e-05 after 512 frames. The gradient is NaN in this
#   plain version, because each inflow is `log(0)` on one of the two sides.
#
# Blelloch's error is at most 5e-07, the last digit of float32. A scan never divides. It multiplies leaks between 0 and
# 1, and if a product becomes 0, that past is indeed forgotten. These are exponents of one block and one piece; where
# the network forgets more slowly, the overflow comes later.
#
# ## Chunks
#
# Between loop and doubling there is a middle. Cut the time into chunks. Within a chunk, compute all frames at once, by
# doubling. From chunk to chunk, carry the level as the loop does. The products from `doubled` say how much of the
# carried level is left in each frame of the chunk.


# %%
def scan_chunks(a, b, size=16):
    h, done = torch.zeros_like(b[0]), []
    for a_chunk, b_chunk in zip(a.split(size), b.split(size)):
        left_over, poured_in = doubled(a_chunk, b_chunk)  # (Q, ...) each
        done.append(torch.addcmul(poured_in, left_over, h))
        h = done[-1][-1]
    return torch.cat(done)


a, b = torch.rand(100, 2, 3, 4), torch.randn(100, 2, 3, 4)
for size in (1, 7, 16, 100):
    assert torch.allclose(scan_chunks(a, b, size), scan_in_place(a, b), atol=1e-5)
assert_twins(selective(scan_chunks), scan_textbook, s6)

# %% [markdown]
# A chunk of one frame is the loop, and a chunk of all frames is doubling. `selective_scan` has chunks, too, and inside
# each it runs the plain loop, in place. A chunk is small enough for the processor's cache, and only the state at its
# start is kept: backward computes the rest again.
#
# ## One leak for many channels: Mamba-2
#
# So far every bucket had a leak of its own. In **Mamba-2** all P channels of a *head*, and all N buckets of each
# channel, share one leak per frame. What does that buy? Follow what frame j pours in, $B_j \Delta_j x_j$, until frame i
# reads it with $C_i$. On the way it shrinks by the leaks of the frames between:
#
# $$y_i = \sum_{j \le i} \underbrace{(C_i \cdot B_j) \; a_{j+1} a_{j+2} \cdots a_i}_{M_{ij}} \; \Delta_j x_j$$
#
# With one leak the product of the `a` is a plain number, and comes out of the dot product. So the whole scan is one
# matrix $M$, `(L, L)`, times `(L, P)`, without a loop and without a state. Exercise 04.4 was this matrix without B and
# C. The form is known as **attention**: how well the *query* C of frame i matches the *key* B of frame j says how much
# of its *value* Δ x is taken. The usual attention turns the matches into shares that add up to 1 (*softmax*); here they
# fade with age. The paper calls this *state space duality*, SSD.
#
# The price is L² numbers in place of L. So we use the matrix inside chunks, and the state between them. For one head:


# %%
def ssd_by_hand(x, dt, A, B, C, size=16):
    """One head: x (L, P), dt (L,), A a number below 0, B and C (L, N) -> y (L, P) and the state (N, P)."""
    h, y = torch.zeros(B.shape[1], x.shape[1]), []
    chunks = zip(*(tensor.split(size) for tensor in (x, dt, B, C)))
    for x, dt, B, C in chunks:
        s = (dt * A).cumsum(0)  # (Q,): sums of exponents
        future = torch.ones(len(s), len(s)).triu(1).bool()
        decay = (s.unsqueeze(1) - s).masked_fill(future, -torch.inf).exp()  # (Q, Q): from frame j to frame i
        M = (C @ B.T) * decay  # (Q, Q)
        u = dt.unsqueeze(1) * x  # (Q, P)
        y.append(M @ u + s.exp().unsqueeze(1) * (C @ h))  # from this chunk, and from what came before
        h = s[-1].exp() * h + (B.T * decay[-1]) @ u  # (N, P): all that is left at the end of the chunk
    return torch.cat(y), h


# %% [markdown]
# No exponent here is above 0, so nothing overflows. The twin check has two parts: against the package's `ssd_scan`,
# head by head, and against the S6 forms, with leaks that are equal within each head.

# %%
s6, ssd = random_inputs(2, 40)
x, dt, A, B, C = ssd  # (2, 40, 4, 64), (2, 40, 4), (4,), (2, 40, 16) twice
y, h = ssd_scan(*ssd)  # (2, 40, 4, 64), (2, 4, 16, 64)
for row in range(2):
    for head in range(4):
        mine = ssd_by_hand(x[row, :, head], dt[row, :, head], A[head], B[row], C[row])
        assert torch.allclose(mine[0], y[row, :, head], atol=1e-4)
        assert torch.allclose(mine[1], h[row, head], atol=1e-4)
for form in (scan_textbook, selective_scan):
    y_s6, h_s6 = form(*s6)  # (2, 40, 256), (2, 16, 256)
    assert torch.allclose(y_s6, y.flatten(2), atol=1e-4)
    assert torch.allclose(h_s6.unflatten(2, (4, 64)).transpose(1, 2), h, atol=1e-4)

# %% [markdown]
# One frame of it is `ssd_step`. Frame by frame it gives what the matrices gave:

# %%
h_step = torch.zeros_like(h)
for t in range(40):
    y_t, h_step = ssd_step(x[:, t], dt[:, t], A, B[:, t], C[:, t], h_step)
    assert torch.allclose(y_t, y[:, t], atol=1e-4)
assert torch.allclose(h_step, h, atol=1e-4)

# %% [markdown]
# ### The matrix, on music
#
# In a model learned layers compute B and C. To see something, we choose them: both are the frame itself, 88 keys,
# scaled to length 1. Then $C_i \cdot B_j$ says how much two frames have in common, and the state is a memory of keys.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Three square pictures over ten seconds. Left: bright squares along the diagonal and patches elsewhere. Middle: bright at the diagonal, fading to the lower left, black above. Right: their product, bright only near the diagonal"}, "figure": {"caption": "What two frames have in common, what a leak of 0.03 leaves, and the product: the matrix that SSD multiplies with."}}
keys = torch.from_numpy(roll[:160] > 0).float()
keys = keys / keys.norm(dim=1, keepdim=True).clamp(min=1)  # (L, 88)
s = torch.full((160,), -0.03).cumsum(0)
similar, decay = keys @ keys.T, (s.unsqueeze(1) - s).exp().tril()
fig, axes = plt.subplots(1, 3, figsize=(11, 3.7), layout="constrained", sharey=True)
for ax, matrix, title in zip(axes, (similar, decay, similar * decay), ("C · B", "decay", "M, their product")):
    image = ax.imshow(matrix, cmap="magma", vmin=0, vmax=1, extent=(0, 10, 10, 0))
    ax.set(xlabel="read from (s)", title=title)
axes[0].set_ylabel("frame (s)")
_ = fig.colorbar(image, ax=axes, label="weight")

# %% [markdown]
# What to see: on the left the piece is compared with itself. Bright squares on the diagonal are chords that are held;
# bright patches elsewhere are chords that come back, as the first one does after five seconds. In the middle is what a
# leaky bucket allows: nothing from the future, and less and less from the past. On the right is M, in which each row
# says what this frame reads. The return of the first chord is nearly black there, because what is five seconds old has
# leaked away. So attention with a decay is a leaky bucket. With a softmax it is not.
#
# The matrix and the state must agree here as well, with 88 buckets and a chunk of 64:

# %%
values = torch.randn(160, 1, 5)  # (L, H, P): anything
y, _ = ssd_scan(values[None], torch.full((1, 160, 1), 0.03), torch.tensor([-1.0]), keys[None], keys[None])
assert torch.allclose((similar * decay) @ (0.03 * values[:, 0]), y[0, :, 0], atol=1e-5)

# %% [markdown]
# The model around it is `MusicMamba(ssm="ssd")`.

# %% tags=["nbval-check-output"]
for ssm in ("s6", "ssd"):
    model = MusicMamba(ssm=ssm)
    state = model(torch.zeros(1, 1, 88))[1][0][1]  # h of the first block
    leaks = model.layers[0].A_log.numel()
    weights = sum(p.numel() for p in model.parameters())
    print(f"{ssm:<3}: a block has {leaks:5,d} leaks and {state.numel():6,d} buckets; {weights:9,d} weights in all")

# %% [markdown]
# **Finding.** A block of SSD has 8 leaks where S6 has 8,192, and 32,768 buckets, four times as many, with slightly
# fewer weights. There is room for them because only one state in each chunk is computed.
#
# ## Seven forms, timed
#
# In the next table the leaks are shared within a head, so that all seven forms give the same y and h, as asserted
# above. Six of them could also give every bucket a leak of its own. SSD could not, and that is part of its lead.
#
# *Predict:* the loop does the least work, Blelloch has the smaller depth, and there is one thread. Which is faster for
# 32 pieces of 64 frames side by side, and which for one piece of 256?
#
# <details><summary>Answer</summary>
#
# The loop for many pieces, Blelloch for one.
#
# </details>

# %%
seven = {
    "textbook": scan_textbook,
    "loop": scan_loop,
    "doubling": selective(scan_doubling),
    "Blelloch": selective(scan_blelloch),
    "chunks of 16": selective(scan_chunks),
    "selective_scan": selective_scan,
    "SSD": ssd_scan,
}
colours = dict(zip(seven, (GREY, ORANGE, PINK, BLUE, "tab:olive", GREEN, "tab:purple")))
timed = {(device, shape): milliseconds(seven, *shape, device=device) for device in DEVICES for shape in SHAPES}

# %% [markdown]
# A time alone explains nothing, so we also count. `TorchDispatchMode` shows us each operation as torch runs it, with
# its tensors. We count operations that compute something, the bytes that they read and write, the bytes of new memory,
# and the bytes that are kept from forward to backward.


# %%
def size(tensor):
    """Bytes; an axis that only repeats (stride 0) is read once."""
    return tensor.element_size() * math.prod(n for n, stride in zip(tensor.shape, tensor.stride()) if stride)


class Ledger(TorchDispatchMode):
    """What torch does while this is open."""

    def __init__(self):
        super().__init__()
        self.operations = self.touched = self.new = self.kept = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        name = operation.overloadpacket.__name__
        if operation.is_view or name in ("detach", "_unsafe_view"):
            return result
        read, written = ([t for t in tree_leaves(some) if isinstance(t, torch.Tensor)] for some in (args, result))
        if not operation._schema.is_mutable:  # not in place
            self.new += sum(map(size, written))
        if "empty" not in name:  # memory is asked for, nothing is computed
            self.operations += 1
            self.touched += sum(map(size, read + written))
        return result

    def keep(self, tensor):
        self.kept += size(tensor)
        return tensor


def book(form, inputs):
    """The ledger of one forward and backward."""
    with Ledger() as ledger, torch.autograd.graph.saved_tensors_hooks(ledger.keep, lambda tensor: tensor):
        y, _ = form(*inputs)
        torch.autograd.grad(y, inputs, torch.ones_like(y))
    return ledger


# %% tags=["nbval-ignore-output"]
print("GB/s: what was touched, in the time of the middle round")
for (device, (batch, length)), times in timed.items():
    print(f"\n{device}, {batch} x {length} frames")
    print("        milliseconds: fastest   middle  slowest | operations | MB touched     new    kept | GB/s")
    s6, ssd = random_inputs(batch, length)
    for name, form in seven.items():
        books, some = book(form, ssd if form is ssd_scan else s6), times[name]
        middle = some[len(some) // 2]
        row = f"{name:<20} {some[0]:10.1f} {middle:8.1f} {some[-1]:8.1f} | {books.operations:10,d} | "
        row += f"{books.touched / 1e6:10,.0f} {books.new / 1e6:7,.0f} {books.kept / 1e6:7,.0f}"
        print(f"{row} | {books.touched / middle / 1e6:4.1f}")

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Two panels with seven forms and their times on a logarithmic axis. With 32 pieces the loop is left of Blelloch; with one piece Blelloch is left of the loop. SSD is fastest and textbook slowest in both"}, "figure": {"caption": "Dots are the middle of the rounds, lines reach from the fastest to the slowest."}}
fig, axes = plt.subplots(1, len(timed), figsize=(5.5 * len(timed), 2.8), layout="constrained", sharey=True)
for ax, ((device, (batch, length)), times) in zip(axes, timed.items()):
    for row, (name, some) in enumerate(times.items()):
        ax.plot([some[0], some[-1]], [row, row], color=colours[name], linewidth=3, solid_capstyle="butt")
        ax.plot(some[len(some) // 2], row, "o", color=colours[name])
    ax.set(xscale="log", xlabel="milliseconds", title=f"{device}, {batch} x {length} frames")
axes[0].set_yticks(range(len(seven)), list(seven))
axes[0].invert_yaxis()

# %% [markdown]
# **Finding.** With many pieces the loop wins: it takes 178.4 ms, Blelloch 572.5 and doubling 1321.0. One frame of all
# 32 pieces is half a million bytes in each tensor, so to start an operation costs little beside carrying it out, and
# bytes decide. The loop touches 1,309 MB, Blelloch 2,259 and doubling 5,189. And the loop gets through 7.3 GB in a
# second, the other two through 3.9. A form that works on one frame at a time finds it in the cache; a form that works
# on all at once fetches everything from main memory.
#
# **Finding.** With one piece it is the other way round: Blelloch takes 34.9 ms and the loop 114.9, although the loop
# still touches fewer bytes. A frame is now 4,096 numbers, so little that starting an operation costs more than carrying
# it out. The loop starts 6,404 operations and Blelloch 77.
#
# **Finding.** `selective_scan` keeps up with the better of the two in both cases, at 166.7 and 28.2 ms. Its backward is
# written by hand, starts fewer operations than the loop's, and needs 9 MB from forward where the loop keeps 143. SSD is
# far ahead of all, at 18.3 and 6.5 ms: it computes one state for each chunk, and the rest is matrix products, which
# processors are best at. The textbook loop is last, because for every frame its backward makes a tensor as large as all
# of them.
#
# These are times of one machine; others, at training size, are in `docs/results.md`. So "the loop wins on a CPU" is
# true of training in batches, and no law of nature.
#
# ### The bare scan
#
# How much of this is the scan itself? Leave out everything but `h = a h + b`, forward. The loop, in place, now starts
# one operation per frame:


# %% tags=["nbval-ignore-output"]
def bare(form, shape):
    """Milliseconds of the bare scan over a, b of a shape (L, ...), forward: the fastest round."""
    a, b, times = torch.rand(shape), torch.randn(shape), []
    for _ in range(1 + ROUNDS):
        start = CLOCK()
        form(a, b)
        times.append(1000 * (CLOCK() - start))
    return min(times[1:])


trees = (scan_blelloch, scan_doubling)
for batch, length in SHAPES:
    fastest = {form.__name__: bare(form, (length, batch * 16, 256)) for form in (scan_in_place, *trees)}
    print(f"{batch:2d} x {length} frames:", *(f"{name} {ms:.1f} ms" for name, ms in fastest.items()), sep="   ")

# %% [markdown]
# **Finding.** By itself Blelloch's scan takes twice as long as the loop for many pieces, 83.1 ms against 40.8, and for
# one piece it is hardly faster, 4.6 ms against 5.1. So most of its lead for one piece comes from what stands around the
# scan. It computes leaks, inflows and readings for all frames at once, and its backward is written by hand.
#
# ## What a GPU changes
#
# On a GPU every operation is a **kernel**, which the CPU launches. Each launch has a price, and so has each byte from
# and to the GPU's memory:
#
# $$\text{time} \approx \text{launches} \times \text{price of a launch} + \text{bytes} / \text{bandwidth}$$
#
# **This is a model, not a measurement**, with two numbers from the Settings. `LAUNCH`: NVIDIA measured 3.8 µs per
# kernel where many small ones follow each other (Gray 2019, on a V100). `BANDWIDTH`: the maker states 1,555 GB/s for an
# A100. The model leaves out arithmetic, the GPU's cache, and the time that Python and torch need before a launch. A
# scan of next to nothing, 128 channels with two buckets, shows how long that is on *this* computer. Beside it stands
# one with frames of the usual size:

# %% tags=["nbval-ignore-output"]
for name, (inputs, _) in (("tiny", random_inputs(1, 64, D=128, N=2)), ("usual", random_inputs(1, 64))):
    start = CLOCK()
    for _ in range(5):
        torch.autograd.grad(scan_loop(*inputs)[0].sum(), inputs)
    each = (CLOCK() - start) / 5 / book(scan_loop, inputs).operations
    print(f"{name:<5} frames: {1e6 * each:4.1f} microseconds per operation; LAUNCH is {1e6 * LAUNCH:.1f}")

# %% [markdown]
# **Finding.** An operation on next to nothing takes 16.3 µs, one on a usual frame 18.6. So with one piece the loop
# spends nearly all of its time on starting operations. And a GPU that is driven from this computer would wait 16.3 µs
# for each, not 3.8. The tables below do not count that, so they flatter the forms with many launches. CUDA graphs and
# `torch.compile` exist to remove this wait.
#
# We count launches on a narrow model, for which `selective_scan` takes one large chunk as it does on a GPU, and bytes
# on one piece, because they grow with the number of pieces.


# %%
def launches_and_bytes(name, length):
    """What a form does on a GPU: kernels launched, and bytes touched for each piece."""
    narrow, full = random_inputs(1, length, D=128, N=2), random_inputs(1, length)
    which = 1 if name == "SSD" else 0
    return book(seven[name], narrow[which]).operations, book(seven[name], full[which]).touched


# %% tags=["nbval-ignore-output"]
print("MODEL of a GPU, milliseconds, forward and backward")
for batch, length in SHAPES:
    print(f"\n{batch} x {length} frames: launches | launching  memory    both")
    for name in seven:
        launches, touched = launches_and_bytes(name, length)
        launching, memory = 1000 * launches * LAUNCH, 1000 * touched * batch / BANDWIDTH
        print(f"{name:<15} {launches:10,d} | {launching:9.2f} {memory:7.2f} {launching + memory:7.2f}")

# %% [markdown]
# **Finding.** In the model Blelloch is ahead of the loop in both cases, 1.66 ms against 7.06 for 32 pieces and 0.47
# against 24.46 for one. On the CPU the loop won the first. Bytes have become cheap: for 32 pieces the loop pays 0.97 ms
# for them and 6.10 for launches. SSD has little of both and stays first.
#
# In the model, too, the loop wins when bytes are many enough. We look for the turning point with 64 frames and more and
# more pieces side by side.

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Two panels, milliseconds against pieces side by side. Left, measured on a CPU: the curves of loop and Blelloch cross between 4 and 8 pieces. Right, the model of a GPU: they cross at some hundreds. SSD is lowest in both"}, "figure": {"caption": "Four forms on more and more pieces of 64 frames. The right panel is worked out, not measured."}}
FOUR = ("loop", "Blelloch", "selective_scan", "SSD")
fig, axes = plt.subplots(1, 1 + len(DEVICES), figsize=(5.5 * (1 + len(DEVICES)), 3.4), layout="constrained")
for ax, device in zip(axes, DEVICES):
    measured = [milliseconds({name: seven[name] for name in FOUR}, batch, 64, device) for batch in BATCHES]
    for name in FOUR:
        ax.plot(BATCHES, [times[name][0] for times in measured], "o-", color=colours[name], label=name)
    ax.set_title(f"measured: {device}")
for name in FOUR:
    launches, touched = launches_and_bytes(name, 64)
    model = [1000 * (launches * LAUNCH + touched * batch / BANDWIDTH) for batch in GPU_BATCHES]
    axes[-1].plot(GPU_BATCHES, model, "--", color=colours[name])
axes[-1].set_title("model of a GPU, not measured")
for ax in axes:
    ax.set(xscale="log", yscale="log", xlabel="pieces side by side", ylabel="milliseconds")
    ax.yaxis.set_major_formatter("{x:g}")
for ax in axes[:-1]:
    ax.set_xticks(BATCHES, BATCHES)
    ax.xaxis.minorticks_off()
_ = axes[0].legend(frameon=False)

# %%
(loop_launches, loop_bytes), (tree_launches, tree_bytes) = (launches_and_bytes(name, 64) for name in FOUR[:2])
turning = (loop_launches - tree_launches) * LAUNCH * BANDWIDTH / (tree_bytes - loop_bytes)
assert loop_launches > tree_launches and loop_bytes < tree_bytes

# %% tags=["nbval-ignore-output"]
print(f"in the model Blelloch is ahead of the loop up to {turning:.0f} pieces of 64 frames")

# %% [markdown]
# **Finding.** On the CPU the two curves cross between 4 and 8 pieces, in the model at 421. It is the same crossing:
# left of it starting operations decides, right of it bytes do. From this CPU to the model, bytes become hundreds of
# times cheaper and a start about four times. That is all that is meant by "the loop wins on a CPU and loses on a GPU".
# No GPU has confirmed it here. If you have one, a panel in the middle shows what it measures.
#
# ### What the authors of Mamba do
#
# They leave the formula behind. Their CUDA kernel (Mamba paper, section 3.3.2) does a whole scan in **one** launch. It
# reads x, Δ, B and C, computes leaks and levels in the chip's fast memory, scans them there in parallel, and writes
# only y. For one piece of 64 frames, forward, that is:

# %% tags=["nbval-ignore-output"]
inputs, _ = random_inputs(1, 64)
with torch.no_grad(), Ledger() as ledger:
    y, _ = scan_loop(*inputs)
fused = sum(map(size, inputs)) + size(y)
print(f"a fused kernel: {fused / 1e6:5.2f} MB, 1 launch")
print(f"our loop:       {ledger.touched / 1e6:5.2f} MB, {ledger.operations} operations")
assert ledger.touched > 20 * fused

# %% [markdown]
# **Finding.** The kernel touches 0.22 MB, and our loop 13.20 MB in 450 operations: 60 times as much. The first number
# is worked out, not measured. `selective_scan` takes the same idea to the CPU's cache.
#
# ## Summary
#
# - A scan needs an associative operation. For the leaky bucket it is the pair (a, b): `(a2 a1, a2 b1 + b2)`.
# - The loop has work and depth L − 1. Doubling has depth log₂ L and work of about L log₂ L. Blelloch has work below 2 L
#   and depth of about 2 log₂ L.
# - The backward pass is a scan from the end, with the leaks shifted by one.
# - A cumulative sum with a division overflows. Clamped it is wrong without a word.
# - One leak per head makes the scan a masked matrix product, attention with a decay. In chunks that is SSD.
# - Large frames: bytes decide, and a loop that stays in the cache beats the parallel forms. Small frames: starting
#   operations decides, and the parallel forms beat the plain loop. On a GPU bytes are cheap, so that the second case is
#   the usual one; here that is a calculation.

# %% [markdown]
# ## Quiz
#
# Answer first, then open.
#
# **1.** Doubling needs about log₂ L rounds, Blelloch twice as many. Why would a machine with few workers prefer
# Blelloch all the same?
#
# <details><summary>Answer</summary>
#
# Because of the work. Few workers cannot do all joins of a round at once, so the number of joins decides: below 2 L for
# Blelloch, about L log₂ L for doubling.
#
# </details>
#
# **2.** Which of these are associative: the maximum of two numbers, the mean of two numbers, "the later of the two"?
#
# <details><summary>Answer</summary>
#
# The maximum and "the later": however you bracket, the largest, or the last, comes out. The mean is not. The mean of
# (the mean of 0 and 0) and 4 is 2; the mean of 0 and (the mean of 0 and 4) is 1.
#
# </details>
#
# **3.** A friend has a GPU ten times as fast at arithmetic as yours, with the same price of a launch. How much faster
# is the plain loop on it, for a small batch?
#
# <details><summary>Answer</summary>
#
# Hardly at all. The time is launches times the price of a launch, and arithmetic has little share in it.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Exercises A1.1 to A1.5 stand in the sections above; solutions are in [A6_solutions](A6_solutions.ipynb). One is left.
#
# **Open.** Make Blelloch faster on your CPU. You could cut the channels into parts that fit the cache and scan part
# after part, use it inside chunks in place of doubling, or leave the time axis where it is. Keep the asserts, and look
# at the counts before you look at the clock.
#
# ## Next
#
# Back to the course: [05_generation_and_playback](05_generation_and_playback.ipynb), where scans are no longer needed,
# or the next side road, [A2_chords](A2_chords.ipynb), which goes deeper into the chord head.
#
# ## References
#
# - Guy Blelloch, *Prefix Sums and Their Applications*, Carnegie Mellon University, CMU-CS-90-190, 1990: the two sweeps,
#   and linear recurrences as scans (section 1.4).
# - Peter Kogge and Harold Stone, *A Parallel Algorithm for the Efficient Solution of a General Class of Recurrence
#   Equations*, IEEE Transactions on Computers C-22, 1973. Richard Brent and H. T. Kung, *A Regular Layout for Parallel
#   Adders*, IEEE Transactions on Computers C-31, 1982.
# - W. Daniel Hillis and Guy Steele, *Data Parallel Algorithms*, Communications of the ACM 29 (12), 1986: doubling.
# - Eric Martin and Chris Cundy, *Parallelizing Linear Recurrent Neural Nets Over Sequence Length*, ICLR 2018, [arXiv
#   1709.04057](https://arxiv.org/abs/1709.04057).
# - Albert Gu and Tri Dao, *Mamba*, 2023, [arXiv 2312.00752](https://arxiv.org/abs/2312.00752): section 3.3.2.
# - Tri Dao and Albert Gu, *Transformers are SSMs*, ICML 2024, [arXiv 2405.21060](https://arxiv.org/abs/2405.21060):
#   section 6 and listing 1 are SSD.
#
# - Alan Gray, [*Getting Started with CUDA Graphs*](https://developer.nvidia.com/blog/cuda-graphs/), NVIDIA, 2019: the
#   price of a launch. NVIDIA, *A100 Tensor Core GPU Architecture*, 2020: the bandwidth.
# - [mamba.py](https://github.com/alxndrTL/mamba.py) by Alexandre Torres-Leguet: a parallel scan in torch, with the
#   backward of this notebook.
