# %% [markdown]
# # A1 · The parallel scan: one line, seven ways
#
# The heart of Mamba is one line in a loop, `h = a * h + b`. Frame by frame it is slow on
# a GPU, and on a CPU nothing beats it. This notebook says why. You
#
# - add up numbers in a loop, in log₂ L rounds (doubling), and in two sweeps (Blelloch), and count the work of each,
# - find that a leaky bucket is a kind of addition, so that all of this works for it, forwards and backwards,
# - watch a popular short cut return NaN, and a milder form of it return wrong numbers,
# - build Mamba-2's form (SSD) in 15 lines, and see it as attention over a chorale,
# - time seven forms of the same scan, count what they touch, and work out what a GPU changes.
#
# You need notebook 04, with exercise 04.4. (The selective scan of that notebook is called S6 in the literature;
# Mamba-2's form is called SSD.) It runs in about three minutes on two CPU cores.

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
from midigen_utils.show import BLUE, GREEN, GREY, ORANGE, PINK, player

# %% [markdown]
# ## Settings
#
# `LAUNCH` and `BANDWIDTH` describe a GPU, for a calculation at the end; put in your own.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
PIECE = 7  # which piece of the validation split is looked at
SHAPES = scaled(full=[(32, 64), (1, 256)], fast=[(2, 32), (1, 48)])  # (pieces, frames) of the timings
BATCHES = scaled(full=[1, 2, 4, 8, 16, 32], fast=[1, 2])  # pieces side by side, for one of the figures
CHUNKS = scaled(full=[1, 4, 16, 64, 256], fast=[1, 16])  # frames in a chunk, for another
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
# First some music. The pretrained Mamba read four seconds of a piece with `selective_scan`, one of the seven forms,
# and composed the rest with one step of the plain loop per frame. Composing needs no parallel scan: the next frame
# waits for this one. Reading and training could use one, because there all frames are known before the first is
# computed.

# %% tags=["nbval-ignore-output"]
pretrained = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
seed = rolls["validation"][0][:SEQUENCE_LENGTH]
music = generate_music(pretrained, seed, 128, temperature=0.9, random_seed=4)
player(music, seed_frames=len(seed), title="Read by a scan, composed by a loop")

# %% [markdown]
# And the question. The package has four ways to compute a scan. Below they all compute the *same* numbers, forward
# and backward, 8 pieces of 32 frames with 256 channels. (One thread, and the processor's time rather than the
# clock's, so that other work on the machine counts as little as possible.)


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


# %% tags=["nbval-ignore-output"]
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
# What to see: between the first bar and the last lies a large factor, for one and the same result. The first two are
# plain loops, the third is a loop in disguise, the last is made of matrix products. None is a textbook *parallel*
# scan. Why not? And what would a GPU say?
#
# ## A running sum
#
# The oldest scan is the running sum: after each frame, the sum of all so far. In a loop each addition waits for the
# one before. We write it for any operation `op` that joins a left and a right part; for the sum it is `torch.add`.


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
# Let all frames work at once. In the first round each adds the frame before it to its own. Now each knows a sum of
# two. In the second round each adds what the frame *two* before it knows: a sum of four. Then four before, then
# eight. (Hillis and Steele, 1986; Kogge and Stone used it in 1973 for the very recurrence of
# our bucket. The course calls it *doubling*.)


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
# Three rounds in place of seven. But count the additions: 7 in the first round, 6 in the second, 4 in the third. The
# loop needed 7 in all. Doubling buys speed with work.
#
# ### Up and down again
#
# Blelloch's scan (1990) wastes less. On the way **up** it adds pairs, then pairs of pairs, like a knock-out
# tournament. At the end the frames 1, 3, 7 ... (counted from 0) know the sum of all up to them. On the way **down**
# these hand it on to the frames between. (Blelloch's own version gives the sums *before* each frame; this is the
# sibling that counts the frame in, as in [mamba.py](https://github.com/alxndrTL/mamba.py). As a circuit it is that of
# Brent and Kung, 1982.) In each round the frames `right` add what lies `left` of
# them:


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
# ### Who adds what
#
# We need not draw this by hand. Here is an operation that adds nothing: its numbers are *stretches* of frames,
# (first, last). It insists that only neighbours are joined, and writes down who met whom. The three functions run on
# it as they are.


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


# %% tags=["nbval-ignore-output"]
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
# What to see: time runs down. A line from frame i to a dot at frame j means that j took in what i knew. On the left
# one dot per round, all others wait. In the middle few rounds, all well filled. On the right a few more rounds, those
# in the middle nearly empty: first the tournament, then what it found out is handed on.
#
# The number of joins is the **work**, the number of rounds the **depth**. One worker needs time for the work; with
# workers enough, what remains is the depth. Counted:

# %% tags=["nbval-check-output"]
print("frames |     loop: work depth | doubling: work depth | blelloch: work depth")
for L in (16, 64, 256, 1024):
    counts = [(sum(map(len, rounds)), len(rounds)) for rounds in (record(f, L) for f in (loop, doubling, blelloch))]
    print(f"{L:6d}", *(f"{work:14d} {depth:5d}" for work, depth in counts), sep=" | ")
    k = int(math.log2(L))
    assert counts == [(L - 1, L - 1), (L * k - L + 1, k), (2 * L - 2 - k, 2 * k - 1)]

# %% [markdown]
# The formulas are in the assert. Blelloch does at most twice the work of the loop, in a depth of 2 log₂ L - 1.
# Doubling has the smallest depth, and for 1,024 frames nine times the work.
#
# ## A leaky bucket is a sum, too
#
# What did we need of addition? Only that brackets do not matter: (u + v) + w = u + (v + w). An operation with this
# property is called **associative**. The bucket `h[t] = a[t] h[t-1] + b[t]` does not look like one. But take a frame
# not as a number but as what it *does* to the level: multiply by `a`, add `b`. That is a pair (a, b), and two frames
# in a row do
#
# $$a_2 (a_1 h + b_1) + b_2 = (a_2 a_1) \, h + (a_2 b_1 + b_2)$$
#
# which is again a pair. So this is how to join two frames:


# %%
def join(left, right):
    """The pair (a, b) of two stretches of frames together; pairs lie in the last axis."""
    (a1, b1), (a2, b2) = left.unbind(-1), right.unbind(-1)
    return torch.stack([a2 * a1, a2 * b1 + b2], dim=-1)


u, v, w = torch.randn(3, 1000, 2, dtype=torch.float64)
assert torch.allclose(join(join(u, v), w), join(u, join(v, w)))  # associative
assert not torch.allclose(join(u, v), join(v, u))  # but the order matters: time has a direction

# %% [markdown]
# Now the same three functions, not a letter changed, run on pairs:

# %%
pairs = torch.stack([torch.rand(50), torch.randn(50)], dim=-1)  # (L, 2): leaks a, inflows b
h, levels = 0.0, []
for a, b in pairs:
    h = a * h + b
    levels.append(h)
for form in (loop, doubling, blelloch):
    assert torch.allclose(form(pairs, join)[:, 1], torch.stack(levels), atol=1e-5)

# %% [markdown]
# And the first number of each pair? It is what remains of the level *before* the first frame. So a scan that begins
# with a full bucket costs one multiplication and one addition more per frame:

# %%
left_over, poured_in = blelloch(pairs, join).unbind(-1)  # (L,) each
h = 2.0
for t, (a, b) in enumerate(pairs):
    h = a * h + b
    assert torch.isclose(left_over[t] * 2.0 + poured_in[t], h, atol=1e-5)

# %% [markdown]
# In Mamba Δ and B change from frame to frame, but neither looks at `h`. That is why all pairs are known at the start.
# An LSTM's memory is a leaky bucket as well, but its leak and its inflow are computed from what was read from the
# memory one frame before: no pair is known before the walk gets there.
#
# ### At full size
#
# For real shapes the pairs are two tensors, `a` and `b`, both `(L, B, N, D)`: time first, because it is time that we
# cut. Blelloch in place, and doubling, as fast as a few lines of torch allow:


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
# And the loop, with the same rules: in place, no new memory on the way.


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
# Training needs gradients. Let $g_t$ be how much the loss changes with $h_t$, by all ways. There are two: directly,
# through what is read from $h_t$ (call that $r_t$; autograd hands it to us), and through the next frame, which takes
# in $a_{t+1} h_t$:
#
# $$g_t = r_t + a_{t+1} \, g_{t+1}$$
#
# A leaky bucket that runs from the end, its leaks shifted by one. So whatever form computes the scan also computes
# its backward. The rest follows from $h_t = a_t h_{t-1} + b_t$: the gradient of $b_t$ is $g_t$, that of $a_t$ is
# $g_t h_{t-1}$. In torch such a rule is written as an `autograd.Function`: `ctx` carries tensors from forward to
# backward, and `backward` gets the gradient of the result and returns one for each argument of `forward` (`form` is
# a function and has none):


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
# Check against autograd, which went through a loop step by step and knows nothing of our derivation. `gradcheck` asks
# in another way: it moves each input a little and looks at what happens.

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
# ### A whole selective scan
#
# Around it goes what notebook 04 had: leak and inflow before, reading with `C` after.


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
# There is a short cut, and many have found it. Divide each frame by the product of all leaks so far, and the bucket
# turns into a plain running sum, for which torch has `cumsum`. With $s_t$ the sum of the exponents $\Delta A$ up to
# frame t:
#
# $$h_t = e^{s_t} \sum_{j \le t} e^{-s_j} b_j$$
#
# Two lines, correct on paper. Three variants of it: as written; with the *sum* of the exponents kept above -20, so
# that nothing overflows; and in logarithms, positive and negative inflows apart.


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
# We feed them with real exponents: Δ A as the pretrained Mamba computes them while it reads our piece. (A hook
# listens in.) The reference is the loop in double precision. The error is the largest difference,
# as a share of the largest number: of the levels, and of the gradient of the exponents.


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
# - **As written** it is NaN after a few frames. `exp(-s)` grows as fast as the bucket forgets, and float32 ends near
#   exp(88.7): with these exponents it gets there in less than a second.
# - **Clamped** it never fails, and that is worse: the numbers look like numbers, and are wrong.
# - **With logarithms** the levels come out well, with more rounding than a scan. The gradient is NaN in this plain
#   version: `log(0)`, once per inflow, on one of the two sides. That can be mended with more lines, and each
#   logarithm and exponential costs many multiplications.
#
# How far do the sums go? Here is the most forgetful of these buckets:

# %% tags=["nbval-ignore-output"]
for L in (16, 64, 512):
    print(f"after {L:3d} frames: s = {exponent[:L].sum(0).min():7.0f}; float32 ends at exp({math.log(3.4e38):.1f})")

# %% [markdown]
# A scan never divides: it multiplies leaks, all between 0 and 1. At worst a product becomes 0, and then that past is
# forgotten indeed. This is why its error stays at the last digit.
#
# ## Chunks
#
# Loop and doubling are two ends, and there is a middle. Cut the time into chunks. Within a chunk, do all frames at
# once, by doubling. From chunk to chunk, carry the level, as the loop does. The products that `doubled` hands out say
# what is left of the carried level in each frame of the chunk.


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
# A chunk of one frame is the loop, a chunk of all frames is doubling. In between, the work grows with log₂ of the
# *chunk* only, and what is being worked on is small. The package's `selective_scan` has chunks, too, which it calls
# slabs. Inside a slab it runs the plain loop, in place. A slab is small enough for the processor's cache, and only
# the level at its start is kept; backward computes the rest again.
#
# ## One leak for many channels: Mamba-2
#
# So far every bucket had a leak of its own. **Mamba-2** gives up some of that freedom: all P channels of a *head*,
# and all N buckets of each channel, share one leak per frame. A pair (a, b) is then one number and one block of N × P
# numbers. What does that buy? Follow one stroke, from frame j to frame i. Frame j pours in $B_j \Delta_j x_j$. On the
# way it shrinks by the leaks of the frames between. Frame i reads it with $C_i$:
#
# $$y_i = \sum_{j \le i} \underbrace{(C_i \cdot B_j) \; a_{j+1} a_{j+2} \cdots a_i}_{M_{ij}} \; \Delta_j x_j$$
#
# With one leak the product of the `a` is a plain number and comes out of the dot product. So all of it is one matrix
# $M$, `(L, L)`, times `(L, P)`: no loop, and no state at all. This form is known as **attention**: frame i asks with
# C (its *query*), frame j answers with B (called its *key*, no key of the piano), and how well they match says how
# much of Δ x (the *value*) is taken. The usual attention turns the matches into shares that add up to 1 (*softmax*);
# here they fade with age. The paper calls it *state space duality*, SSD. (Exercise 04.4 was this matrix without B and
# C.)
#
# The price is L² numbers in place of L. So take chunks: inside, the matrix; between them, the state. For one head:


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
# No exponent here is above 0, so nothing overflows; but a difference of two long sums loses digits. A multiple of
# 1/64 fits into a float32 without rounding as long as it is not huge, so such numbers can be added and subtracted
# without loss. The package's `ssd_scan` therefore rounds each exponent to one, and sums the small rests apart.
#
# The twin check. First against `ssd_scan`, head by head. Then against the S6 forms, whose leaks can be made equal
# within a head: the special case.

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
# It is recurrent, too. One frame of it is `ssd_step`, and frame by frame comes out what the matrices gave:

# %%
h_step = torch.zeros_like(h)
for t in range(40):
    y_t, h_step = ssd_step(x[:, t], dt[:, t], A, B[:, t], C[:, t], h_step)
    assert torch.allclose(y_t, y[:, t], atol=1e-4)
assert torch.allclose(h_step, h, atol=1e-4)

# %% [markdown]
# ### The matrix, on music
#
# In a model B and C come out of learned layers. To see something, we choose them: both are the frame itself, 88 keys,
# scaled to length 1 (silence stays 0). Then $C_i \cdot B_j$ says how much two frames have in common, and the state is
# a memory of keys.

# %% tags=["nbval-ignore-output"]
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
# What to see: on the left the piece compared with itself. Bright squares on the diagonal are chords held; bright
# patches away from it are chords that come back. In the middle what a leaky bucket allows: nothing from the future,
# less and less from the past. On the right the matrix that SSD multiplies with: each row says from where this frame
# reads. So attention without a softmax, with a decay in its place, is a leaky bucket. (With a softmax it is not.)
#
# The matrix and the state must agree here as well, with 88 buckets and a chunk of 64:

# %%
values = torch.randn(160, 1, 5)  # (L, H, P): anything
y, _ = ssd_scan(values[None], torch.full((1, 160, 1), 0.03), torch.tensor([-1.0]), keys[None], keys[None])
assert torch.allclose((similar * decay) @ (0.03 * values[:, 0]), y[0, :, 0], atol=1e-5)

# %% [markdown]
# The model around it is `MusicMamba(ssm="ssd")`. The levels are not computed for every frame, so there may be more of
# them:

# %% tags=["nbval-check-output"]
for ssm in ("s6", "ssd"):
    model = MusicMamba(ssm=ssm)
    state = model(torch.zeros(1, 1, 88))[1][0][1]  # h of the first block
    leaks = model.layers[0].A_log.numel()
    weights = sum(p.numel() for p in model.parameters())
    print(f"{ssm:<3}: a block has {leaks:5,d} leaks and {state.numel():6,d} buckets; {weights:9,d} weights in all")

# %% [markdown]
# ## Seven forms, timed
#
# On these inputs, whose leaks are shared within a head, all seven give the same y and h, as asserted above. They differ
# in how. (Six of them could also give every bucket a leak of its own. SSD could not, and that is part of its lead.)

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
# A time alone explains nothing. So we also keep books. Torch can show us each operation as it runs it
# (`TorchDispatchMode`), with the tensors that go in and come out. We count the operations that compute something (a
# mere view of a tensor costs nothing), the bytes they read and write, the bytes of new memory they ask for, and the
# bytes that are kept from forward to backward.


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

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(1, len(timed), figsize=(5.5 * len(timed), 2.8), layout="constrained", sharey=True)
for ax, ((device, (batch, length)), times) in zip(axes, timed.items()):
    for row, (name, some) in enumerate(times.items()):
        ax.plot([some[0], some[-1]], [row, row], color=colours[name], linewidth=3, solid_capstyle="butt")
        ax.plot(some[len(some) // 2], row, "o", color=colours[name])
    ax.set(xscale="log", xlabel="milliseconds", title=f"{device}, {batch} x {length} frames")
axes[0].set_yticks(range(len(seven)), list(seven))
axes[0].invert_yaxis()

# %% [markdown]
# What to see: dots are the middle of the rounds, lines reach from the fastest to the slowest. (A form that has had
# five seconds sits out the remaining rounds.) Look at loop and Blelloch: in which panel does which of them win? The
# table has the reasons.
#
# **Many pieces side by side** (the first shape). One frame of all of them is half a million bytes in each tensor, so
# starting an operation costs little beside carrying it out. What counts is bytes. The loop touches each number a few
# times, Blelloch more often, doubling about log₂ L times. The textbook loop is in a class of its own: its backward
# makes a tensor of full size for every frame, because it fills the result frame by frame. And bytes differ, as the last column says: forms that
# work on one frame or one slab at a time find it in the cache; forms that work on all frames at once fetch everything
# from main memory, at a lower rate. That is why `scan_loop` and `selective_scan` beat the parallel forms here.
#
# **One piece** (the second shape). Now a frame is 4,096 numbers, so little that starting an operation is dear beside
# it (we measure how dear below). The loop starts thousands of operations, Blelloch fewer than a hundred. So even a
# CPU has the GPU's problem when frames are small, and the parallel scan passes the plain loop. `selective_scan`
# starts fewer operations than the loop, because its backward is written by hand, and it stays in the cache.
#
# **SSD** is made for this. It does not compute the levels at all, except once per chunk. What it does instead are
# matrix products, which every processor is best at.
#
# `docs/results.md` compares at training size, 64 pieces of 64 frames, with the Blelloch scan of mamba.py: there
# the loop takes a seventh to two fifths of its time, and `selective_scan` less. So "the loop wins on a CPU" is true
# of training in batches. It is no law of nature, as the second shape says.
#
# ### The bare scan
#
# To see the scan alone, leave out everything but `h = a h + b`, forward. The first two work in place, and the loop
# now starts one operation per frame:


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
# Which one leads, and for which shape? The loop does the least work; the others must win by starting fewer operations.
# Where Blelloch leads in the table of whole forms and not here, its lead comes from what stands around the scan: the
# leaks, the inflows and the reading, which it does for all frames at once.
#
# ## What a GPU changes
#
# On a GPU every operation is a **kernel**, which the CPU launches. A launch has a price, and so has each byte from
# and to the GPU's memory. So we can work out a time from the ledger:
#
# $$\text{time} \approx \text{launches} \times \text{price of a launch} + \text{bytes} / \text{bandwidth}$$
#
# **This is a model, not a measurement**, with two numbers from the Settings. `LAUNCH`: NVIDIA measured 3.8 µs per
# kernel where many small ones follow each other, 2.9 µs of them the kernel itself (Gray 2019, on a V100).
# We take all 3.8 µs as the price of a launch; that counts a part of the kernels' work twice, so the launches of our
# table are rather too dear.
# `BANDWIDTH`: 1,555 GB/s is what the maker states for an A100. Arithmetic is left out, and so is the GPU's cache, and
# so is the time that Python and torch need before a launch. How long is that? A scan of next to nothing, 128 channels
# with two buckets, says what it costs *this* computer to start an operation. Beside it one with frames of the usual
# size:

# %% tags=["nbval-ignore-output"]
for name, (inputs, _) in (("tiny", random_inputs(1, 64, D=128, N=2)), ("usual", random_inputs(1, 64))):
    start = CLOCK()
    for _ in range(5):
        torch.autograd.grad(scan_loop(*inputs)[0].sum(), inputs)
    each = (CLOCK() - start) / 5 / book(scan_loop, inputs).operations
    print(f"{name:<5} frames: {1e6 * each:4.1f} microseconds per operation; LAUNCH is {1e6 * LAUNCH:.1f}")

# %% [markdown]
# The nearer the two, the more of the loop's time goes into starting. And if your CPU needs longer than `LAUNCH` to
# start an operation, a GPU would wait for it, and be slower than the tables below, which keep `LAUNCH`: put *this*
# number into the Settings to see how much. (CUDA graphs and `torch.compile` exist to get rid of it.)
#
# Launches do not depend on the width of the model, so we count them on a narrow one. (On a GPU `selective_scan` takes
# one large slab; narrow inputs make it do so here.) Bytes grow with the number of pieces, so one piece is enough.


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
# Compare with the table of the CPU. For one piece the loops pay for launches and little else, doubling and Blelloch
# for bytes as well: loops last. For many pieces the textbook loop pays mostly for bytes, the plain loop still for
# launches; but bytes have become cheap: Blelloch is ahead of the loop now, which it was not on the CPU. SSD has
# little of both.
#
# Where is the turning point? On this CPU (or GPU) measured, on the model GPU worked out, for 64 frames and more and
# more pieces side by side:

# %% tags=["nbval-ignore-output"]
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

# %% [markdown]
# What to see: left, the orange and the blue curve cross at a few pieces: before it starting costs, after it
# bytes. Right the same two curves, the same crossing, only far to the right: a byte has become a hundred times
# cheaper, a start has not. That is all that is meant by "the loop wins on a CPU and loses on a GPU". If you have a
# GPU, there is a panel in the middle, measured; whom does it prove right?

# %% tags=["nbval-ignore-output"]
print(f"in the model Blelloch is ahead of the loop up to {turning:.0f} pieces of 64 frames")

# %% [markdown]
# ### How long a chunk?
#
# Chunks lie between the loop (1 frame) and doubling (all frames). Where is the best length? Measured, and in the
# model:

# %% tags=["nbval-ignore-output"]
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 2.8), layout="constrained")
for (batch, length), colour in zip(SHAPES, (ORANGE, BLUE)):
    sizes = [q for q in CHUNKS if q <= length]
    by_size = {q: selective(lambda a, b, q=q: scan_chunks(a, b, q)) for q in sizes}
    times = milliseconds(by_size, batch, length)
    books = [book(by_size[q], random_inputs(batch, length)[0]) for q in sizes]
    model = [1000 * (some.operations * LAUNCH + some.touched / BANDWIDTH) for some in books]
    left.plot(sizes, [times[q][0] for q in sizes], "o-", color=colour, label=f"{batch} x {length} frames")
    right.plot(sizes, model, "o--", color=colour)
for ax, title in ((left, "measured: cpu"), (right, "model of a GPU, not measured")):
    ax.set(xscale="log", yscale="log", xlabel="frames in a chunk", ylabel="milliseconds", title=title)
    ax.set_xticks(CHUNKS, CHUNKS)
    ax.xaxis.minorticks_off()
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("{x:g}")
_ = left.legend(frameon=False)

# %% [markdown]
# What to see: left, does a longer chunk pay? Every doubling of it is another round over all numbers. (A chunk of 1 is
# the loop again, with a backward written by hand: compare it with the plain loop in the table.) Right the same counts
# at other prices. One piece: a few frames more cost more launches than they save, but all frames at once are best.
# Many pieces: the bytes again. A chunk in the middle is nowhere the best here. What makes chunks worth while is to do
# something *else* inside them: a loop that stays in the cache (`selective_scan`), or matrix products (SSD).
#
# ### What the authors of Mamba do
#
# They escape from the formula. Their CUDA kernel (Mamba paper, section 3.3.2) does a whole scan in **one** launch. It
# reads x, Δ, B and C, computes leaks and levels in the chip's fast memory, scans them there in parallel, and writes
# only y. Backward computes the levels again. How many bytes is that, forward, beside the loop's?

# %% tags=["nbval-ignore-output"]
inputs, _ = random_inputs(1, 64)
with torch.no_grad(), Ledger() as ledger:
    y, _ = scan_loop(*inputs)
fused = sum(map(size, inputs)) + size(y)
print(f"a fused kernel: {fused / 1e6:5.2f} MB, 1 launch")
print(f"our loop:       {ledger.touched / 1e6:5.2f} MB, {ledger.operations} operations")
assert ledger.touched > 20 * fused

# %% [markdown]
# The counts are bytes of a piece of 64 frames; the first is worked out, not run: that kernel needs a GPU by NVIDIA
# (or AMD). Our `selective_scan` takes the same idea to the CPU's cache, and Mamba-2 changed the model until matrix
# products were enough.
#
# ## Summary
#
# - A scan needs an associative operation. For the leaky bucket it is the pair (a, b): `(a2 a1, a2 b1 + b2)`.
# - Loop: work L - 1, depth L - 1. Doubling: depth log₂ L, work about L log₂ L. Blelloch: work below 2 L, depth about
#   2 log₂ L. All were counted by running the code on stretches of frames.
# - The backward pass is a scan from the end, with the leaks shifted by one.
# - The cumulative sum with a division overflows (NaN), clamped it is wrong without a word.
# - One leak per head makes the scan a masked matrix product: attention with a decay. In chunks that is SSD.
# - On a CPU bytes decide as soon as frames are large, and of the forms that compute every level a loop that stays in
#   the cache is ahead. When frames are small, starting operations decides, and the parallel forms pass the plain
#   loop. `selective_scan` avoids some of both. On a GPU bytes are cheap and starts are not, so that the second case
#   is the usual one; here that is a calculation, unless your machine has one.

# %% [markdown]
# ## Quiz
#
# **1.** Doubling needs about log₂ L rounds, Blelloch twice as many. Why would a machine with few workers prefer
# Blelloch all the same?
#
# <details><summary>Answer</summary>
#
# Because of the work. With few workers the rounds cannot be done at once anyway, so the number of joins decides:
# below 2 L for Blelloch, about L log₂ L for doubling.
#
# </details>
#
# **2.** Which of these are associative: the maximum of two numbers, the mean of two numbers, "the later of the two"?
#
# <details><summary>Answer</summary>
#
# The maximum and "the later": however you bracket, the largest, or the last, comes out. The mean is not: the mean of
# (the mean of 0 and 0) and 4 is 2, the mean of 0 and (the mean of 0 and 4) is 1.
#
# </details>
#
# **3.** Why can the memory of an LSTM not be computed by any of these scans?
#
# <details><summary>Answer</summary>
#
# Its gates depend on what was read from the memory one frame before. So the pair (a, b) of a frame is not known
# before the memory is, and there is nothing to join ahead of it.
#
# </details>
#
# **4.** The clamped cumulative sum never gives NaN. Why is it worse than the one that does?
#
# <details><summary>Answer</summary>
#
# NaN stops the training, and somebody looks. Wrong levels train a wrong model: where the sum of exponents has passed
# the clamp, the bucket no longer leaks, and nothing says so.
#
# </details>
#
# **5.** A friend has a GPU ten times as fast at arithmetic as yours, with the same launch cost. How much faster is
# the plain loop on it, for a small batch?
#
# <details><summary>Answer</summary>
#
# Hardly at all. The time is launches times launch cost; the arithmetic was never what it waited for.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Put your code in place of the `...` and run the cell: it says "right" when it is. Solutions are in the notebook
# [A6_solutions](A6_solutions.ipynb).
#
# **1 (easy).** How many rounds does doubling need for a whole roll of 960 frames?

# %%
rounds = ...

check("A1.1", rounds)

# %% [markdown]
# **2 (easy).** How many joins does Blelloch's scan need for the same 960 frames? (960 is no power of two: count, do
# not calculate.)

# %%
joins = ...

check("A1.2", joins)

# %% [markdown]
# **3 (easy).** Adding 0 changes nothing. Which pair (a, b) changes nothing when it is joined, from the left or from
# the right? (Such a pair fills up a sequence to a length that one likes better.)

# %%
neutral = ...

check("A1.3", neutral)

# %% [markdown]
# **4 (medium).** For how many frames has each key been down? For a roll `(T, 88)` make an array of that shape: 0
# where the key is up, 1 in the frame where it goes down, then 2, 3, ... This is a leaky bucket. Which `a`, which `b`?
# Compute it with one of the scans.

# %%
frames_down = ...

check("A1.4", frames_down, roll)

# %% [markdown]
# **5 (medium).** The backward pass. The levels of 12 frames are `h[t] = a[t] h[t-1] + b[t]`. Given are the leaks `a`
# and `direct`: how much the loss changes with each level directly. Compute g, the change with each level by all ways,
# `(12,)`.

# %%
generator = torch.Generator().manual_seed(0)
a, direct = torch.rand(12, generator=generator), torch.randn(12, generator=generator)
whole_gradient = ...

check("A1.5", whole_gradient, a, direct)

# %% [markdown]
# **6 (open).** Make Blelloch faster on your CPU. Some ideas: cut the channels into parts that fit the cache, and scan
# part after part; use it inside chunks in place of doubling; leave the time axis where it is. Keep the asserts, and
# look at the ledger before you look at the clock.
#
# ## Next
#
# Back to the course: [05_generation_and_playback](05_generation_and_playback.ipynb), where scans are no longer
# needed, or the next side road, [A2_chords](A2_chords.ipynb), which builds the chord head by hand.
#
# ## References
#
# - Guy Blelloch, *Prefix Sums and Their Applications*, Carnegie Mellon University, CMU-CS-90-190, 1990: the two
#   sweeps, and linear recurrences as scans (section 1.4).
# - Peter Kogge and Harold Stone, *A Parallel Algorithm for the Efficient Solution of a General Class of Recurrence
#   Equations*, IEEE Transactions on Computers C-22, 1973. Richard Brent and H. T. Kung, *A Regular Layout for Parallel
#   Adders*, IEEE Transactions on Computers C-31, 1982.
# - W. Daniel Hillis and Guy Steele, *Data Parallel Algorithms*, Communications of the ACM 29 (12), 1986: doubling.
# - Eric Martin and Chris Cundy, *Parallelizing Linear Recurrent Neural Nets Over Sequence Length*, ICLR 2018,
#   [arXiv 1709.04057](https://arxiv.org/abs/1709.04057).
# - Albert Gu and Tri Dao, *Mamba*, 2023, [arXiv 2312.00752](https://arxiv.org/abs/2312.00752): section 3.3.2.
# - Tri Dao and Albert Gu, *Transformers are SSMs*, ICML 2024, [arXiv 2405.21060](https://arxiv.org/abs/2405.21060):
#   section 6 and listing 1 are SSD.
# - Mark Harris, Shubhabrata Sengupta and John Owens, *Parallel Prefix Sum (Scan) with CUDA*, GPU Gems 3, chapter 39,
#   2007.
# - Alan Gray, [*Getting Started with CUDA Graphs*](https://developer.nvidia.com/blog/cuda-graphs/), NVIDIA, 2019: the
#   price of a launch. NVIDIA, *A100 Tensor Core GPU Architecture*, 2020: the bandwidth.
# - [mamba.py](https://github.com/alxndrTL/mamba.py) by Alexandre Torres-Leguet: a parallel scan in torch, with the
#   backward of this notebook.
