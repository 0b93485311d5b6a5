# %% [markdown]
# # A3 · Scaling: long pieces, several processors
#
# A window of 64 frames is four seconds, and one processor has one pace. What if music is longer and the corpus
# larger? In this appendix you
#
# - measure what a model forgets at the edge of every window, and carry its state across,
# - weigh the memory that a long context costs, with and without carrying,
# - split a batch in two by hand, and get the gradient of the whole, if you average rightly,
# - draw how processes add up their gradients (a ring), and then train with two processes for real,
# - compute what a restart loses, and how long an epoch would take on other machines.
#
# You need notebooks 03 and 04; no GPU. It runs in about two minutes on two CPU cores.

# %% tags=["nbval-ignore-output"]
import contextlib
import io
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from midigen_utils.__main__ import main
from midigen_utils.config import scaled
from midigen_utils.data import load_corpus, load_piano_rolls
from midigen_utils.exercises import check
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn import Batches, PieceBatches, SequenceDataset, TrainingLoss, carry, fit, load_checkpoint
from midigen_utils.learn import load_model, make_optimizer, predict
from midigen_utils.models import MusicLSTM, MusicMamba
from midigen_utils.show import BLUE, GREEN, GREY, ORANGE

# %% [markdown]
# ## Settings
#
# As before: Bach's chorales, or after `make data` MAESTRO.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
READ = scaled(full=24, fast=6)  # pieces of the validation split that the trained model reads
STUDIED = scaled(full=48, fast=6)  # pieces that two small models train on
EPOCHS = scaled(full=6, fast=1)
TOY_STEPS = scaled(full=120, fast=80)  # training steps of the toy
TOY_SEEDS = scaled(full=(0, 1, 2), fast=(0,))  # of the toy models that are trained on windows
LENGTHS = scaled(full=(64, 128, 256, 512, 1024), fast=(64, 256, 1024))  # frames, to weigh the memory of
NOISE_WINDOWS = scaled(full=256, fast=32)  # windows whose gradients are compared
PIECES = scaled(full=8, fast=3)  # that two processes train on

torch.manual_seed(0)
rolls, _ = load_piano_rolls(load_corpus(CORPUS))

# %% [markdown]
# The result first. The Mamba that comes with the course was trained in windows of 128 frames: in a first run it began
# each with an empty memory, in a second the memory was carried along whole pieces. It now reads pieces it has never
# seen, twice: once with its memory wiped every 64 frames, and once from the first frame to the last.

# %%
WINDOW = 64


def read_twice(model, pieces):
    """Nats of each frame, as rows of 64: with the memory wiped before each row, and with the memory carried."""
    wiped, carried = [], []
    for roll in pieces:
        frames = torch.from_numpy(roll > 0).float()[None]  # (1, T, 88)
        whole = (frames.shape[1] - 1) // WINDOW * WINDOW
        x, y = frames[:, :whole], frames[:, 1 : whole + 1]
        with torch.no_grad():
            carried.append(predict(model, x, y).nll.view(-1, WINDOW)[1:])  # row 0 of a piece starts cold in both
            wiped.append(predict(model, x.view(-1, WINDOW, 88), y.view(-1, WINDOW, 88)).nll[1:])
    return {"wiped": torch.cat(wiped), "carried": torch.cat(carried)}  # (windows, 64) each


# %% tags=["nbval-ignore-output"]
pretrained = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
held_out = [rolls["validation"][i] for i in range(READ)]
cost = read_twice(pretrained, held_out)

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Nats per frame by time since the window began, with the memory wiped and with it carried along."}, "image": {"alt": "Two curves over four seconds: the wiped one starts much higher, and stays a little above the carried one"}}
fig, ax = plt.subplots(figsize=(9, 3), layout="constrained")
for name, colour in (("wiped", ORANGE), ("carried", BLUE)):
    by_place = cost[name].mean(0).view(-1, 4).mean(1)  # of 4 frames each
    ax.plot(np.arange(16) / 4 + 0.125, by_place, "o-", color=colour, label=f"memory {name}")
ax.set(xlabel="time since the window began (s)", ylabel="nats per frame", ylim=(0, None))
ax.legend(frameon=False)
print(f"all frames: wiped {cost['wiped'].mean():.2f}, carried {cost['carried'].mean():.2f} nats per frame")
print(f"after 2 s:  wiped {cost['wiped'][:, 32:].mean():.2f}, carried {cost['carried'][:, 32:].mean():.2f}")

# %% [markdown]
# What to see: at the left, in the first second, the wiped model (orange) pays: we suppose that it lacks for how long
# the keys have been down, the tempo and the tonality of the piece. Then it has heard most of what it needs. What lies
# between the curves at the right is what music of more than two seconds ago is worth to this model: little, 0.06 nats
# a frame by the second line of numbers. Where both curves rise and fall together, it is the music that does. (These
# are chorales, and the model learned from performances. The section on memory in `docs/results.md` asks the same of
# other models, on performances.)

# %%
assert cost["wiped"][:, :8].mean() > cost["carried"][:, :8].mean()

# %% [markdown]
# ## What a window cannot teach
#
# That model was *tested* without its memory. Now we *train* without it. A toy makes the difference plain. A piece has
# 64 frames and four keys. Key 0 or key 1 sounds in the first four frames: the **call**. Later, key 2 sounds three
# times: a **question**. After each the call must be repeated. We train with windows of 16 frames, so the first
# question is in the window of the call, and the others are not.

# %%
FRAMES, SHORT, QUESTIONS = 64, 16, (10, 25, 57)


def calls(count, generator):
    """Toy pieces (B, 65, 4) and what was called in each, (B,)."""
    call = torch.randint(2, (count,), generator=generator)
    x, rows = torch.zeros(count, FRAMES + 1, 4), torch.arange(count)
    x[:, ::4, 3] = 1  # a metronome
    for t in range(4):
        x[rows, t, call] = 1
    for t in QUESTIONS:
        x[:, t, 2] = 1
        x[rows, t + 1, call] = 1
    return x, call


# %% [markdown]
# torch notes down how each tensor was computed, to go back along these notes in `backward`: that is its **graph**. The
# state that a model returns hangs on the graph of its whole window. To carry the state on without dragging that along,
# we cut it off with `detach`: the numbers stay, the gradient ends. This is **truncated backpropagation through time**.


# %%
def cut_off(state):
    """The same numbers, without what they were computed from."""
    return state.detach() if torch.is_tensor(state) else tuple(cut_off(part) for part in state)


def answers(model, x, window, carried):
    """Read the piece window by window. Gives for each window the logits (B, 2) of its questions, as a list.

    The caller may make a training step before the next window.
    """
    state = None
    for t in range(0, FRAMES, window):
        state = cut_off(state) if carried and state is not None else None
        logits, state = model(x[:, t : t + window], state)
        yield [logits[:, q - t, :2] for q in QUESTIONS if t <= q < t + window]


# %%
def train_toy(window, carried, seed=0):
    torch.manual_seed(seed)
    model = MusicLSTM(num_pitches=4, hidden_size=48, num_layers=1)
    optimizer, generator = make_optimizer(model, 5e-3), torch.Generator().manual_seed(seed + 1)
    for _ in range(TOY_STEPS):
        x, call = calls(32, generator)
        for said in answers(model, x, window, carried):
            if said:  # a window with no question teaches nothing here, but its state counts
                optimizer.zero_grad()
                sum(F.cross_entropy(logits, call) for logits in said).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
    return model


def exam(model, window, carried):
    """Share of right answers to each question."""
    x, call = calls(512, torch.Generator().manual_seed(0))
    with torch.no_grad():
        said = [logits for some in answers(model, x, window, carried) for logits in some]
    return [(logits.argmax(1) == call).float().mean().item() for logits in said]


# %% tags=["nbval-ignore-output"]
on_windows = [train_toy(SHORT, carried=False, seed=seed) for seed in TOY_SEEDS]
along_pieces, on_the_whole = train_toy(SHORT, carried=True), train_toy(FRAMES, carried=True)
wiped, learned = exam(on_windows[0], SHORT, carried=False), exam(along_pieces, SHORT, carried=True)
toy = {"windows of 16: trained wiped, read wiped": wiped}
for seed, model in zip(TOY_SEEDS, on_windows):
    toy[f"   trained wiped, read carried (seed {seed})"] = exam(model, SHORT, carried=True)
toy["   trained carried, read carried"] = learned
toy["one window of 64"] = exam(on_the_whole, FRAMES, carried=True)
print("answers right, by frames since the call     " + "".join(f"{q - 3:8}" for q in QUESTIONS))
for name, right in toy.items():
    print(f"{name:<44}" + "".join(f"{100 * share:6.0f} %" for share in right))

# %% [markdown]
# Trained and read with its memory wiped, the model answers the first question and guesses the others, like a coin. It
# must: the call is not in the window that it reads, so nothing could answer. In the next rows the same training gets
# its memory back for the reading, and in our full run that helps none of the three seeds: they go on guessing. (From
# other initial weights one was right at the second question, and one was wrong every time.) Nobody taught these models
# what to do with a state older than a window. With the memory carried in training, too, windows of 16 are enough,
# although no gradient ever went further than 16 frames.

# %%
assert wiped[0] > 0.95 and max(wiped[1:]) < 0.7
assert min(learned) > 0.95

# %% [markdown]
# **How can it learn what no gradient tells it?** The *first* question does: it lies in the window of the call, so the
# gradient teaches the model to keep the call for at least seven frames. What keeps for seven frames may keep for
# fifty, and when it does, the later windows teach it to *use* what is there. Take the first question away
# (`QUESTIONS = (25, 57)`), and nothing teaches it to store. To see that, you need a model that learns this task in one
# window of 64. The LSTM is none: in five of our six runs it guessed there, too. A `MusicMamba` learned it in 80 steps,
# with each of three seeds. In windows of 16, with its memory carried, it guessed, but for one question of one run,
# where the state happened to hold the call. Music is on the kind side: most of what matters after a minute matters
# after a second, too, we suppose.
#
# ### Batches that run along pieces
#
# With real pieces there are two more things to keep straight. Row `b` of a batch must go on where row `b` of the batch
# before stopped. And where a piece is over, the next begins with a fresh memory. `PieceBatches` does the first, and
# says with `begins` where to do the second; `valid` marks the frames that belong to a piece, because pieces do not end
# at the edges of windows.

# %% tags=["nbval-check-output"]
toy_pieces = [np.ones((length, 88), np.float32) for length in (150, 70, 90, 40)]
toy_batches = PieceBatches(toy_pieces, sequence_length=32, batch_size=2)
for step, (_, _, valid, begins) in enumerate(toy_batches.epoch(0)):
    rows = "   ".join(f"{'begins' if b else 'goes on':<8}{n:3} frames" for b, n in zip(begins, valid.sum(1).tolist()))
    print(f"batch {step}   {rows}")

# %% [markdown]
# Each piece of `L` frames gives `L - 1` predictions. In batch 6 the second row "goes on" with 0 frames: it has no piece
# left. The row is silence, `valid` is `False` in all of it, and nothing of it counts.
#
# The fresh start and the cut are one function, `carry`; by hand, for the state of an LSTM, `(h, c)`. (`detach` makes no
# copy: both tensors share their numbers, and who writes into one changes the other. So we `clone` before we write.)

# %%
model = MusicLSTM(hidden_size=32)
_, state = model(torch.rand(3, 5, 88).round())
begins = torch.tensor([False, True, False])
by_hand = [part.clone() for part in cut_off(state)]
for part in by_hand:  # (layers, B, 32)
    part[:, begins] = 0
assert not torch.equal(by_hand[0], state[0])
assert all(torch.equal(a, b) for a, b in zip(by_hand, carry(state, begins)))

# %% [markdown]
# Does it add up? The loss along the windows of some pieces must be that of reading each piece at once.
# (`TrainingLoss` is what `fit` makes smaller: a *sum* of nats. Why a sum, we shall see.)

# %%
some = [rolls["train"][i] for i in range(3)]
loss_function = TrainingLoss(MusicMamba(d_model=32, n_layers=2).eval())
along, state = 0.0, None
with torch.no_grad():
    for x, y, valid, begins in PieceBatches(some, batch_size=2).epoch(0):
        loss, _, state = loss_function(x, y, valid, begins, state)
        along += loss.item()
    at_once = 0.0
    for roll in some:
        bins = torch.from_numpy(np.rint(32 * roll)).to(torch.uint8)[None]  # (1, T, 88)
        at_once += loss_function(bins[:, :-1], bins[:, 1:], torch.ones(1, len(roll) - 1))[0].item()
assert math.isclose(along, at_once, rel_tol=1e-5)

# %% [markdown]
# In the package all this is one option: `fit(..., carry_state=True)`, or `--carry-state` on the command line.
#
# ### On real pieces
#
# Two small Mambas from the same start, on the same pieces: one trained on windows of 64 with its memory wiped before
# each, one along the pieces. Then both read unknown pieces twice, as above.

# %% tags=["nbval-ignore-output"]
lesson = {"train": [rolls["train"][i] for i in range(STUDIED)], "validation": held_out[:2]}
windows, along = SequenceDataset(lesson["train"], stride=WINDOW), PieceBatches(lesson["train"], batch_size=8)
print(f"an epoch on windows:   {math.ceil(len(windows) / 8):3} steps, {WINDOW * len(windows):6,} frames")
print(f"an epoch along pieces: {len(along):3} steps, {along.predicted:6,} frames")
print("validation, nats per frame    read wiped   read carried")
for name, carried in (("trained on windows", False), ("trained along pieces", True)):
    torch.manual_seed(0)
    small = MusicMamba(d_model=64, n_layers=2)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        fit(small, lesson, EPOCHS, stride=WINDOW, batch_size=8, carry_state=carried, folder=folder, learning_rate=3e-3)
    result = read_twice(small.eval().cpu(), held_out)
    print(f"{name:<28}{result['wiped'].mean():12.3f}{result['carried'].mean():15.3f}")

# %% [markdown]
# Read the table in three steps, with the numbers of our full run. Down the left column both models read with their
# memory wiped: 0.075 nats are the difference of the *trainings* (along pieces it also made 9 % more steps, with 5 %
# more frames, because no rest of a piece is left out). Along the lower row, 0.11 nats are what the memory gives in
# *reading*, to the model that was trained to use it. Along the upper row it gives nothing: this model was trained on
# windows, and has no use for a longer memory. (One seed, a minute of training: a hint, no proof. A quick test of the
# notebook is too short to show anything.)
#
# ## Memory against context
#
# Why not one long window, then? Because the backward pass needs what the forward pass computed, for every frame of
# the window: the **activations**. torch shows them to whoever asks: `saved_tensors_hooks` calls us for each tensor
# that is saved for the backward pass. We add up their bytes, each storage once, weights left out. (A slice shares the
# storage of the whole, which would count in full; so we `clone` what we hand over.)


# %%
def saved_bytes(model, x, state=None):
    """Bytes that a forward pass keeps for its backward pass, and the state after it."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits, state = model(x, state)
        loss = logits.square().mean()
    loss.backward()
    return sum(kept.values()), state


# %% tags=["nbval-ignore-output"]
mamba = MusicMamba()
frames = np.concatenate([rolls["train"][i] for i in range(4)])[:1024] > 0  # pieces end to end
piece = torch.from_numpy(frames).float()[None]  # (1, 1024, 88)
at_once = [saved_bytes(mamba, piece[:, :length].clone())[0] for length in LENGTHS]
in_windows = []
for length in LENGTHS:
    state, highest = None, 0
    for t in range(0, length, WINDOW):
        size, state = saved_bytes(mamba, piece[:, t : t + WINDOW].clone(), state)
        state, highest = cut_off(state), max(highest, size)
    in_windows.append(highest)
state_bytes = sum(part.numel() for layer in state for part in layer) * 4
print(f"1024 frames at once {at_once[-1] / 1e6:.1f} MB; in 16 windows {in_windows[-1] / 1e6:.1f} MB at a time,")
print(f"of which the state that is carried is {state_bytes / 1e6:.2f} MB; for one piece")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Activations that a training step keeps, by length of the context."}, "image": {"alt": "Two lines: one rises in proportion to the context, the other stays flat"}}
fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.plot(LENGTHS, np.array(at_once) / 1e6, "o-", color=ORANGE, label="one window")
ax.plot(LENGTHS, np.array(in_windows) / 1e6, "o-", color=BLUE, label="windows of 64, state carried")
ax.set(xlabel="context (frames)", ylabel="activations kept (MB)", xticks=LENGTHS, ylim=(0, None))
_ = ax.legend(frameon=False)

# %% [markdown]
# What to see: the orange line grows with the context, the blue one does not. Times the batch size it is the memory of
# a training step, beside weights, gradients and the optimiser's two numbers per weight. Ten minutes of music are 9,600
# frames: the blue line would still be where it is.

# %%
assert at_once[-1] > 10 * in_windows[-1] and in_windows[-1] == in_windows[1]

# %% [markdown]
# ## Data parallel, by hand
#
# A **process** is a running program with a memory of its own. Two processes share no variable: each has its own copy of
# the model, and they can only send each other messages. What carries the messages, a cable between two machines or
# the memory of one, we call a **wire**. One processor can run several processes, but they gain time only if each has a
# processor (or GPU) of its own.
#
# Each process gets the whole model and a share of the batch; each computes the gradient of its share; then they
# average. That is **data parallel** training. Here one process plays two:

# %%
torch.manual_seed(0)
model = MusicMamba(d_model=32, n_layers=2)
x, y = (part.float() for part in next(Batches(SequenceDataset(some), batch_size=8).epoch(0)))  # (8, 64, 88) each


def gradient(rows, reduction="mean", on=slice(None)):
    """The gradient of the loss of some rows, as one long vector; `on` says which cells of `y` count."""
    model.zero_grad()
    logits, _ = model(x[rows])
    cells = F.binary_cross_entropy_with_logits(logits, y[rows], reduction="none")[on]
    (cells.mean() if reduction == "mean" else cells.sum()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


whole = gradient(slice(0, 8))
halves = (gradient(slice(0, 4)) + gradient(slice(4, 8))) / 2
assert torch.allclose(whole, halves, atol=1e-7)

# %% [markdown]
# The gradient is linear, so the average of the halves is the gradient of the whole. All processes make the same step
# with it, and so they keep the same weights.
#
# ### Means of means are wrong
#
# That worked because both halves had the same number of cells. Suppose only some cells count: the keys of frames in
# which something is struck, as for the velocity head, or the frames that are not padding. Then one half may have
# more of them.

# %% tags=["nbval-ignore-output"]
x, y = x[x.sum((1, 2)).argsort()], y[x.sum((1, 2)).argsort()]  # the fuller windows are in the second half
struck = (y > x).any(2)  # (8, 64): frames in which a key goes down
first, second = slice(0, 4), slice(4, 8)
n_first, n_second = struck[first].sum().item(), struck[second].sum().item()
with torch.no_grad():
    cells = F.binary_cross_entropy_with_logits(model(x)[0], y, reduction="none").sum(2)  # (8, 64) nats
mean_of_means = (cells[first][struck[first]].mean() + cells[second][struck[second]].mean()) / 2
print(f"frames that count: {n_first} and {n_second}")
print(f"mean over all of them {cells[struck].mean():.4f} nats, mean of the two means {mean_of_means:.4f}")

# %% tags=["nbval-ignore-output"]
true = gradient(slice(0, 8), on=struck)
wrong = (gradient(first, on=struck[first]) + gradient(second, on=struck[second])) / 2
right = gradient(first, "sum", struck[first]) + gradient(second, "sum", struck[second])
right = right / (88 * (n_first + n_second))
print(f"the gradient is off by {100 * (wrong - true).norm() / true.norm():.2f} % with means of means")
print(f"               and by {100 * (right - true).norm() / true.norm():.5f} % with sums and counts")

# %% [markdown]
# A frame of the half with fewer counts more. Here that is a small error; with two onsets in one half and two hundred in
# the other it is not, and it grows with the number of processes, because shares get smaller. It breaks no test
# that looks whether training "works". The cure is in the last line: everyone computes *sums*, and all divide by the
# count of the *whole* batch. `TrainingLoss` returns sums for this reason.

# %%
assert n_first != n_second
assert torch.allclose(right, true, atol=1e-6) and not torch.allclose(wrong, true, atol=1e-6)

# %% [markdown]
# ### All-reduce
#
# Everyone has a vector; everyone needs the sum of all. One could send all vectors to a boss, who adds and sends back:
# then the boss's wire carries everything. In a **ring** nobody is boss. Each of `n` processes cuts its vector into `n`
# chunks, and in each step sends one chunk to its right neighbour. In the first `n - 1` steps the receiver *adds*; then
# each process has one finished chunk. In the next `n - 1` steps finished chunks go round, and the receiver *copies*.


# %%
def ring_steps(vectors):
    """The vectors (n, n, chunk) of n processes, at the start and after each step of a ring all-reduce."""
    state, n = vectors.copy(), len(vectors)
    yield state.copy()
    for step in range(2 * (n - 1)):
        sent = [(r, (r - step) % n if step < n - 1 else (r + 1 - (step - n + 1)) % n) for r in range(n)]
        moving = [state[r, chunk].copy() for r, chunk in sent]
        for (r, chunk), values in zip(sent, moving):
            right = (r + 1) % n
            state[right, chunk] = state[right, chunk] + values if step < n - 1 else values
        yield state.copy()


vectors = np.random.default_rng(0).normal(size=(4, 4, 5))  # 4 processes, 4 chunks of 5 numbers
*_, last = ring_steps(vectors)
assert np.allclose(last, vectors.sum(0))

# %% [markdown]
# To see it, let each process start with a 1 in each chunk: then the numbers count how many processes' shares are in.

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The ring, and what each process holds of each chunk, step by step."}, "image": {"alt": "A ring of four processes and a row of four by four tables whose numbers grow from one to four"}}
fig, (ring, *grids) = plt.subplots(1, 8, figsize=(11, 2.1), layout="constrained", width_ratios=[1.4] + [1] * 7)
angle = np.pi / 2 - np.arange(4) * np.pi / 2
for r in range(4):
    here, there = ((1.0 * np.cos(a), np.sin(a)) for a in (angle[r], angle[(r + 1) % 4]))
    arrow = dict(arrowstyle="->", color=GREY, connectionstyle="arc3,rad=-0.3", shrinkA=11, shrinkB=11)
    ring.annotate("", there, here, arrowprops=arrow)
    ring.text(*here, str(r), ha="center", va="center", bbox=dict(boxstyle="circle", fc="white", ec=BLUE))
ring.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal", title="the ring")
ring.axis("off")
for step, (ax, counts) in enumerate(zip(grids, ring_steps(np.ones((4, 4, 1))))):
    ax.imshow(counts[:, :, 0], cmap="Blues", vmin=0, vmax=5)
    for (r, chunk), number in np.ndenumerate(counts[:, :, 0]):
        ax.text(chunk, r, int(number), ha="center", va="center", color="white" if number > 2 else "black")
    ax.set(xticks=range(4), yticks=range(4), title="start" if step == 0 else f"step {step}")
    ax.set_xlabel("chunk")
_ = grids[0].set_ylabel("process")

# %% [markdown]
# What to see: in each step every row sends one number down to the next row (the last to the first), where it is added.
# After three steps each process has one chunk with all four shares in it, and in the three steps after that the fours
# spread to everyone. Each process has sent `2 (n - 1) / n` times its vector, which is less than two times, however
# many they are, and no wire carries more than another. The libraries that do this are **NCCL** between GPUs and
# **gloo** between CPUs. (They know other shapes than rings, too.)
#
# ## Two processes, for real
#
# `torchrun` (or `python -m torch.distributed.run`) starts the processes and tells each its number, its *rank*. In the
# program, torch's `DistributedDataParallel` wraps the model: backward then averages the gradients on its way, while it
# is still computing those of earlier layers. It averages, and we want the sum over the count of the whole batch; so
# `fit` multiplies by the number of processes. These lines of `midigen_utils/learn/training.py` matter, shortened:
#
# ```python
# share = parallel.split_batch(batch)  # this process's rows of the batch
# loss, nll, state = loss_function(*share)  # sums over them
# (loss / frames * parallel.world_size()).backward()  # frames: of the whole batch
# ```
#
# Everyone draws the same batches from the same seed and takes its own rows, so nothing has to be handed out. First with
# one process, by the command that you would type:

# %% tags=["nbval-ignore-output"]
folder = tempfile.TemporaryDirectory()
command = ["train", "--corpus", CORPUS, "--limit", str(PIECES), "--epochs", "1", "--stride", "64", "--device", "cpu"]
command += ["--batch-size", "10", "--learning-rate", "3e-4"]
said = io.StringIO()
with contextlib.redirect_stdout(said):
    main([*command, "--output", f"{folder.name}/one"])
print(re.search("epoch .*", said.getvalue())[0])

# %% [markdown]
# Then with two. (`--standalone`: both are on this machine. On Windows torch's meeting point must be told to do without
# a library that is not there.)

# %% tags=["nbval-ignore-output"]
torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
program = ["-m", "midigen_utils", *command, "--output", f"{folder.name}/two"]
environment = {**os.environ, "OMP_NUM_THREADS": "1", "USE_LIBUV": "0" if os.name == "nt" else "1"}
begun = time.perf_counter()
run = subprocess.run([*torchrun, *program], capture_output=True, text=True, env=environment, cwd=MIDI_DATA.parent)
seconds = time.perf_counter() - begun
assert run.returncode == 0, run.stderr[-2000:]
print(re.search("epoch .*", run.stdout)[0])
start = seconds - int(re.search(r"(\d+) s,", run.stdout)[1])
print(f"{seconds:.0f} s in all; {start:.0f} s of them not for the epoch: to start, to meet, to read the corpus, to end")

# %% [markdown]
# Only the first of the two prints and writes; the frames per second are those of both together. (Where they share the
# cores that one process had to itself, or where the machine has other work, two need not be faster.) Are the weights
# the same?

# %% tags=["nbval-ignore-output"]
runs = [load_checkpoint(Path(folder.name) / name / "last_model.pt") for name in ("one", "two")]
one, two = (run["model_state_dict"] for run in runs)
furthest = max((one[name] - two[name]).abs().max().item() for name in one)
steps = math.ceil(runs[0]["settings"]["windows"] / 10)
print(f"{sum(value.numel() for value in one.values()):,} weights, {steps} steps, largest difference {furthest:.1e}")

# %%
assert furthest < 1e-5

# %% [markdown]
# They are, up to the rounding of sums in another order (which Adam magnifies where a gradient is nearly nothing, since
# it divides by the gradient's size). In the tests of this course, which are as short, they agree to 1e-6. In a long run
# rounding may grow from step to step, until the two differ as two seeds do; neither is then the better one. (Dropout,
# which our models leave at 0, draws other numbers in each process.) A wrong share or a wrong count, on the other hand,
# shows within a few steps, so compare one process with two before you start a long run.
#
# ## Gradient accumulation
#
# No second processor, but a batch that is too large for the memory? Then one process plays all of them, one after
# another: four quarters, four backward passes, one step. `backward` *adds* to the gradients that are there, so there
# is nothing to do but to leave `zero_grad` out:

# %% tags=["nbval-ignore-output"]
model.zero_grad()
for row in range(0, 8, 2):
    logits, _ = model(x[row : row + 2])
    loss = F.binary_cross_entropy_with_logits(logits, y[row : row + 2], reduction="sum")
    (loss / y.numel()).backward()  # divided by the count of the whole batch
accumulated = torch.cat([p.grad.flatten() for p in model.parameters()])
size_of_all, size_of_two = saved_bytes(model, x)[0], saved_bytes(model, x[:2].clone())[0]
print(f"activations: {size_of_all / 1e6:.1f} MB for 8 windows at once, {size_of_two / 1e6:.1f} MB for 2")

# %%
assert torch.allclose(accumulated, gradient(slice(0, 8)), atol=1e-7)

# %% [markdown]
# The same step up to rounding, a quarter of the activations, and a little more time, because small batches use a
# processor less well. (`fit` does not do it: our models are small, and a smaller batch is the shorter way.)
#
# ## How large a batch, what learning rate?
#
# Eight processes can take a batch eight times as large in the same time. Is that eight times the learning? Only while
# a larger batch gives a better direction. Take two *different* batches of the same size and compare their
# gradients: the cosine between them is 1 if both say the same, and 0 if they have nothing in common.

# %% tags=["nbval-ignore-output"]
dataset, block = SequenceDataset(rolls["train"]), pretrained.layers[-1]
objective, every, gradients = TrainingLoss(pretrained.train()), torch.ones(1, 64), []
for x_bins, y_bins in Batches(dataset, batch_size=1, velocities=True).epoch(0):
    pretrained.zero_grad()
    objective(x_bins, y_bins, every)[0].backward()
    gradients.append(torch.cat([p.grad.flatten() for p in block.parameters()]))  # of the last block, as a sample
    if len(gradients) == NOISE_WINDOWS:
        break
gradients = torch.stack(gradients)  # (windows, weights)
sizes = [2**k for k in range(int(math.log2(NOISE_WINDOWS)) - 1)]  # four batches at least
alike = []
for size in sizes:
    means = F.normalize(gradients.view(-1, size, gradients.shape[1]).mean(1), dim=1)  # (batches, weights)
    cosines = means @ means.T
    alike.append(((cosines.sum() - len(means)) / (len(means) * (len(means) - 1))).item())

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How alike the gradients of two batches are, by batch size; dotted, one half."}, "image": {"alt": "A curve that rises from 0.2 towards 1 as batches double"}}
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.semilogx(sizes, alike, "o-", color=BLUE, base=2)
ax.axhline(0.5, color=GREY, linestyle=":")
ax.set(xlabel="windows in each batch (each step doubles)", ylabel="cosine of two batches' gradients", ylim=(0, 1))
_ = ax.set_xticks(sizes, sizes)

# %% [markdown]
# What to see: gradients of single windows have little in common; each doubling of the batch makes two batches agree
# more. Think of a gradient as a signal, which all windows share, and noise, which averages out. A cosine of one half
# (dotted) marks the batch in which both are equally strong, here near 4 windows. Far below it a batch of twice the
# size is nearly worth two steps, far above it hardly more than one. From 4 to 64 our curve climbs less and less. This
# is one measurement, of the last block of the pretrained Mamba. That one was trained on performances; if we read
# chorales, we suppose they agree sooner, because they tell it something in common. (McCandlish et al. call the place
# of the dotted line, roughly, the *gradient noise scale*, and find that it grows during training.)

# %%
assert alike[-1] > alike[0]

# %% [markdown]
# And the learning rate? Two rules are cited, neither is a law. For plain gradient descent: batch times k, learning
# rate times k, with a slow start (Goyal et al., section 2). For Adam, which divides by the gradient's size: times the
# *square root* of k. Malladi et al. derive it for gradients that are mostly noise, and change both betas and epsilon
# of Adam along with it. `fit` leaves those alone, so for us it is a rule of thumb. From our 64 windows and 1e-3:

# %% tags=["nbval-check-output"]
print("windows   linear   square root")
for processes in (1, 2, 8, 16):
    print(f"{64 * processes:7} {1e-3 * processes:8.4f} {1e-3 * processes**0.5:10.4f}")

# %% [markdown]
# Take the last column as a first try and measure around it. `fit` has the slow start already. The safe way is to leave
# `--batch-size` and the learning rate as they are. Then eight processes make the same steps as one, up to rounding,
# and sooner if the wires are fast enough.
#
# ## What a restart costs
#
# With many machines one of them is always about to fail. When a process is lost, the others wait for its share, so
# `torchrun` ends them all and starts them again (`--max-restarts`), and training goes on from the last checkpoint.
# Here is a run that is stopped after its first epoch, and one that is not:

# %% tags=["nbval-ignore-output"]
tiny = {"train": some, "validation": [rolls["validation"][0]]}


def fresh_model():
    torch.manual_seed(0)
    return MusicLSTM(hidden_size=32)


def lost(history):
    raise OSError("the machine is gone")


undisturbed, resumed = fresh_model(), fresh_model()
options = dict(epochs=2, batch_size=16, device="cpu", carry_state=True)
with contextlib.redirect_stdout(io.StringIO()):
    fit(undisturbed, tiny, folder=f"{folder.name}/undisturbed", **options)
    with contextlib.suppress(OSError):
        fit(resumed, tiny, folder=f"{folder.name}/resumed", on_epoch=lost, **options)
    fit(resumed, tiny, folder=f"{folder.name}/resumed", resume=True, **options)

# %%
assert all(torch.equal(a, b) for a, b in zip(undisturbed.parameters(), resumed.parameters()))

# %% [markdown]
# Equal to the last bit: the checkpoint holds weights, both numbers per weight of the optimiser, the place in the epoch
# and the random numbers. What is lost is the work since it was written. Writing more
# often costs time as well. If writing takes `c` seconds and something fails every `M` seconds, then writing every `T`
# seconds costs the share `c / T + T / (2 M)` of the time. Each failure also costs the start itself: the two processes
# above printed how many seconds they took for it. That is a share of start / M more, whatever `T` is.

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Time lost to writing checkpoints and to failures, by time between checkpoints."}, "image": {"alt": "Three valleys on logarithmic axes, further right and lower the rarer failures are"}}
begun = time.perf_counter()
state = load_checkpoint(Path(folder.name) / "one" / "last_model.pt")
torch.save(state, Path(folder.name) / "copy.pt")
seconds = time.perf_counter() - begun
print(f"a checkpoint of MusicMamba: {(Path(folder.name) / 'copy.pt').stat().st_size / 1e6:.0f} MB, {seconds:.2f} s")
T = np.geomspace(10, 1e5, 200)
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for hours, colour in ((1, ORANGE), (24, GREEN), (24 * 30, BLUE)):
    ax.loglog(T, 100 * (10 / T + T / (2 * 3600 * hours)), color=colour, label=f"a failure every {hours} h")
ax.set(xlabel="time between checkpoints (s)", ylabel="time lost (%)", ylim=(0.01, 100))
ax.legend(frameon=False)
_ = ax.set_title("writing takes 10 s (an assumption)")

# %% [markdown]
# What to see: each curve has a lowest point, and it is flat: a factor of two to either side hardly matters. Even if
# something fails every hour, a checkpoint every few minutes loses some percent.
#
# `fit` writes one after each epoch, after Ctrl-C, and every ten minutes in between (`save_every`). The table below has
# epochs of hours for whole MAESTRO: with checkpoints after epochs only, an epoch of ten hours and a failure a day
# would lose 10 / (2 * 24), a fifth of the time; ten minutes and a failure a day lose less than half a percent. Each is
# written beside the last one and then renamed, so a failure while it writes leaves the last one whole.
#
# ## The commands
#
# ```
# python -m midigen_utils train --corpus maestro                                        # one GPU, or none
#
# torchrun --standalone --nproc-per-node 8 -m midigen_utils train --corpus maestro      # eight GPUs
#
# torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint FIRST:29500 --rdzv-id 1 \
#     -m midigen_utils train --corpus maestro                                           # on each of two machines
# ```
#
# - `--standalone`: all processes are on this machine.
# - `--nnodes`: how many machines (nodes) there are.
# - `--nproc-per-node`: how many processes to start on each, one for each GPU.
# - `--rdzv-endpoint`: where all processes meet (the *rendezvous*) and learn who else is there. `FIRST` is the name of
#   one of the machines, 29500 a number (a port) on which it listens.
# - `--rdzv-backend c10d`: the meeting place is torch's own, which needs no other program.
# - `--rdzv-id`: a name of the run, the same on all machines, so that two runs do not mix.
#
# **Slurm** is a program that hands out the machines of a cluster: you give it a script that says how many you need, and
# it runs the script when they are free. `docs/several_machines.md` has one around the last command, with the options of
# `train` that matter here.
#
# What was tested for this course is two processes on one CPU, one of them killed and started again. NCCL, several
# machines and Slurm were not: we had none.
#
# ## How long would an epoch take?
#
# Compute it from what you measured. A window of 64 every 16 frames reads each frame four times; along pieces each is
# read once. The rate is the one that the single process above printed, on this machine: projections, no measurements.

# %% tags=["nbval-ignore-output"]
rate = float(re.search(r"([\d,]+) frames/s", said.getvalue())[1].replace(",", ""))
print(f"measured here, one process: {rate:,.0f} frames/s (MusicMamba, batches of 10)")
print("projected, one process         hours of music   windows every second   along pieces")
for name, hours in (("Bach", 4.1), ("MAESTRO, first minutes", 16.0), ("MAESTRO, whole", 159.2)):
    once = hours * 3600 * 16 / rate / 3600
    print(f"{name:<30}{hours:14.1f} {4 * once:20.2f} h {once:12.2f} h")

# %% [markdown]
# With n processes, each on a processor of its own, the computing is divided by n, and an all-reduce comes on top:
# `2 (n - 1) / n` times the gradients, over the slowest wire, in every step. `DistributedDataParallel` hides part of it
# behind the backward pass; if it hid all that it can, the longer of the two would be the time of a step. So these are
# upper bounds. Left out are the delay of each of the `2 (n - 1)` messages, and that a processor works less well on one
# window than on 64; and the rates of the wires are their nominal ones.

# %% tags=["nbval-ignore-output"]
gradient_bytes = 4 * sum(p.numel() for p in MusicMamba(velocity=32).parameters())
step = 64 * 64 / rate  # seconds of computing for the whole batch, by one
print(f"one step of 64 windows: {step:.2f} s here; gradients {gradient_bytes / 1e6:.1f} MB")
together = float(re.search(r"([\d,]+) frames/s", run.stdout)[1].replace(",", ""))
print(f"measured above: two processes on this machine {together / rate:.2f} times as fast as one")
print("times faster, at most, with processes:".ljust(38) + "  ".join(f"{n:6}" for n in (2, 8, 64)))
for speed, name in ((1, "this processor"), (1000, "one 1,000 times as fast")):
    for wire, bytes_per_second in (("1 Gbit/s", 1.25e8), ("200 Gbit/s", 2.5e10)):
        compute = step / speed
        times = [compute / max(compute / n, 2 * (n - 1) / n * gradient_bytes / bytes_per_second) for n in (2, 8, 64)]
        print(f"{name}, {wire}:".ljust(38) + "  ".join(f"{t:6.2f}" for t in times))

# %% [markdown]
# The table allows two processes twice the speed of one; the two above had one machine, and shared what it has. Read the
# last two lines, which imagine a processor 1,000 times as fast. On a slow wire it is slower with a second one (below
# 1): it would wait for gradients most of the time. Larger batches help (fewer all-reduces for the same frames), and so
# do better wires. The faster the processor, the fewer of them a model of two million weights can use.

# %%
folder.cleanup()

# %% [markdown]
# ## A million files
#
# MAESTRO has 1,276 files, GiantMIDI ten thousand, Lakh 178 thousand, Aria-MIDI more than a million. What has to change
# for them? Memory is the question each time:
#
# - *Rolls* take 5 MB an hour: for the first minute of each of 1.2 million files 101 GB, which fit a disk and no
#   memory. So the rolls of a split lie end to end in one file, and the file is mapped: the system reads what a batch
#   needs (`data/rolls.py`).
# - *Windows*: these minutes have 67 million windows, and a list of where each begins would take half a gigabyte. So
#   only how many windows each piece has is kept; in which piece window n lies is a binary search (`learn/dataset.py`).
# - *Their order* is a shuffled list of 67 million numbers, half a gigabyte again. That one we pay.
#
# ## What is left out
#
# *Splitting the model.* Ours fits everywhere. What does not fit is cut up: optimiser states and weights (ZeRO, FSDP),
# layers (pipeline), or single matrices (tensor parallel). *Asynchronous* training, in which nobody waits and gradients
# come late. *Compressed* gradients. *Recomputing* activations instead of keeping them: our `selective_scan` does that
# inside, `torch.utils.checkpoint` does it anywhere.
#
# ## Summary
#
# - A wiped memory costs most in the first second of a window. Carrying the state (cut off from its graph) removes that,
#   and gives a context of minutes for the memory of one window. What is older than a window is used
#   reliably only if training carried it, too.
# - Averages of parts are right only for parts of equal counts. Add up sums, divide by the count of the whole.
# - An all-reduce gives everyone the sum; in a ring each sends `2 (n - 1) / n` of its vector.
# - One process, two processes, or four parts one after another: the same step on the same batch, up to rounding.
# - A larger batch helps while gradients of different batches disagree. The learning rate has to be tried again.
# - A checkpoint holds all that a run needs to go on as if nothing had happened.
#
# ## Quiz

# %% [markdown]
# **1.** Why is the state detached between windows? What would happen without it?
#
# <details><summary>Answer</summary>
#
# Else the graph of the second window contains that of the first, and so on: `backward` would go through all windows
# again (torch refuses, because the first graph is already freed), and the memory would grow with the context, which
# carrying was to avoid.
#
# </details>
#
# **2.** Two processes each average their own loss, and `DistributedDataParallel` averages the gradients. When is this
# wrong?
#
# <details><summary>Answer</summary>
#
# When the shares have different counts: a smaller last share, padding, or losses that only some frames have. Then
# frames of the smaller share weigh more. With equal counts it is right.
#
# </details>
#
# **3.** Why do all processes keep the same weights, although nobody sends weights after the start?
#
# <details><summary>Answer</summary>
#
# They start equal, get the same sum of gradients, and make the same step with the same optimiser. Equal in, equal out.
#
# </details>
#
# **4.** A batch of 64 in four parts gives the same step. What is gained, and what is not?
#
# <details><summary>Answer</summary>
#
# The activations of 16 windows instead of 64 are in memory at any time. Time is not gained: the same arithmetic, in
# smaller pieces.
#
# </details>
#
# **5.** You have eight GPUs and keep the batch at 64. Can the result be worse than with one?
#
# <details><summary>Answer</summary>
#
# Not by more than chance: the steps are the same up to rounding (and dropout). In a long run rounding may grow until
# the two runs differ as two seeds do, and then either can be the better one. But it may be hardly faster, or even
# slower: 8 windows for each can leave a GPU half idle, and the all-reduce takes as long as ever.
#
# </details>
#
# ## Exercises
#
# Put your code in place of the `...` and run the cell: it says "right" when it is. Give numbers as Python computes
# them, not rounded: 1 part in 10,000 is the most that an answer may be off. Solutions are in the notebook
# [A6_solutions](A6_solutions.ipynb).
#
# **1 (easy).** A piece of ten minutes has 9,600 frames. How many windows of 64 does it take to read it with a carried
# state, so that every frame but the first is predicted once?

# %%
windows = ...

check("A3.1", windows)

# %% [markdown]
# **2 (easy).** One process has a mean of 10 nats over 3 frames, the other 4 nats over 9 frames. What is the mean over
# all frames?

# %%
mean = ...

check("A3.2", mean)

# %% [markdown]
# **3 (easy).** Eight processes add up the gradients of 1,797,720 weights, 4 bytes each, in a ring. How many bytes does
# each of them send?

# %%
bytes_sent = ...

check("A3.3", bytes_sent)

# %% [markdown]
# **4 (medium).** In the adding half of the ring, which chunk does each of `n` processes send in each step? An array
# `(n - 1, n)`, steps in rows, processes in columns; process `r` begins with chunk `r`. Compute it without a loop.

# %%
n = 5
sends = ...

check("A3.4", sends, n)

# %% [markdown]
# **5 (medium).** Writing a checkpoint takes 20 s, and something fails once a day. After how many seconds should one be
# written, so that `c / T + T / (2 M)` is smallest?

# %%
interval = ...

check("A3.5", interval)

# %% [markdown]
# **6 (open).** How far does the toy's memory carry? Make pieces of 256 frames with questions at 10, 25, 57, 121 and
# 249, and see which are answered by the carried model. Then put a small `MusicMamba` in the LSTM's place, and take the
# first question away: what does it answer in one window of 64, and what in windows of 16? Last: suppose that a new
# piece could begin in the middle of a window. What would the model still remember there?
#
# ## Next
#
# [A4_your_own_music](A4_your_own_music.ipynb), a model of your own folder; [A6_solutions](A6_solutions.ipynb), or back
# to the [start](00_start_here.ipynb).
#
# ## References
#
# - Ronald Williams and Jing Peng, *An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
#   Trajectories*, Neural Computation 2 (4), 1990: truncated backpropagation through time.
# - Priya Goyal et al., *Accurate, Large Minibatch SGD*, 2017, [arXiv 1706.02677](https://arxiv.org/abs/1706.02677).
# - Sadhika Malladi et al., *On the SDEs and Scaling Rules for Adaptive Gradient Algorithms*, NeurIPS 2022,
#   [arXiv 2205.10287](https://arxiv.org/abs/2205.10287).
# - Sam McCandlish et al., *An Empirical Model of Large-Batch Training*, 2018,
#   [arXiv 1812.06162](https://arxiv.org/abs/1812.06162).
# - Pitch Patarasuk and Xin Yuan, *Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations*, Journal of
#   Parallel and Distributed Computing 69 (2), 2009: the ring.
# - Shen Li et al., *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*, VLDB 2020,
#   [arXiv 2006.15704](https://arxiv.org/abs/2006.15704).
# - John Young, *A First Order Approximation to the Optimum Checkpoint Interval*, Communications of the ACM 17 (9),
#   1974.
