# %% [markdown]
# # A3 · Scaling: long pieces, several processors
#
# A window of 64 frames is four seconds, and one processor is one processor. What if music is longer and the corpus
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
from midigen_utils.cache import load_piano_rolls
from midigen_utils.checkpoints import load_checkpoint, load_model
from midigen_utils.config import MIDI_DATA, scaled
from midigen_utils.corpus import load_corpus
from midigen_utils.dataset import Batches, PieceBatches, SequenceDataset
from midigen_utils.exercises import check
from midigen_utils.lstm import MusicLSTM
from midigen_utils.mamba import MusicMamba
from midigen_utils.metrics import TrainingLoss, carry, predict
from midigen_utils.plotting import BLUE, GREEN, GREY, ORANGE
from midigen_utils.training import fit, make_optimizer

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
LENGTHS = scaled(full=(64, 128, 256, 512, 1024), fast=(64, 256, 1024))  # frames, to weigh the memory of
NOISE_WINDOWS = scaled(full=256, fast=32)  # windows whose gradients are compared
PIECES = scaled(full=8, fast=3)  # that two processes train on

torch.manual_seed(0)
rolls, _ = load_piano_rolls(load_corpus(CORPUS))

# %% [markdown]
# The result first. The Mamba that comes with the course reads pieces it has never seen, twice: once with its memory
# wiped every 64 frames, as at the start of each training window, and once from the first frame to the last.

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

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(9, 3), layout="constrained")
for name, colour in (("wiped", ORANGE), ("carried", BLUE)):
    by_place = cost[name].mean(0).view(-1, 4).mean(1)  # of 4 frames each
    ax.plot(np.arange(16) / 4 + 0.125, by_place, "o-", color=colour, label=f"memory {name}")
ax.set(xlabel="time since the window began (s)", ylabel="nats per frame", ylim=(0, None))
ax.legend(frameon=False)
print(f"all frames: wiped {cost['wiped'].mean():.2f}, carried {cost['carried'].mean():.2f} nats per frame")
print(f"after 2 s:  wiped {cost['wiped'][:, 32:].mean():.2f}, carried {cost['carried'][:, 32:].mean():.2f}")

# %% [markdown]
# What to see: at the left, in the first second, the wiped model (orange) pays: it does not know for how long the keys
# have been down, the tempo, the key of the piece. Then it has heard enough. What remains between the curves at the
# right is what the music of more than two seconds ago is worth to this model: the second line of numbers says how
# little. (The README's section on memory asks the same of models that were trained with their memory carried.)

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
# The state that a model returns hangs on the *graph*: torch's record of everything that made it, which `backward`
# walks. To carry the state on without dragging that along, we cut it off: the numbers stay, the gradient ends. This is
# **truncated backpropagation through time**.


# %%
def cut_off(state):
    """The same numbers, without what they were computed from."""
    return state.detach() if torch.is_tensor(state) else tuple(cut_off(part) for part in state)


def answers(model, x, window, carried):
    """After each window, so that the caller can make a step: logits (B, 2) for each question in it, as a list."""
    state = None
    for t in range(0, FRAMES, window):
        state = cut_off(state) if carried and state is not None else None
        logits, state = model(x[:, t : t + window], state)
        yield [logits[:, q - t, :2] for q in QUESTIONS if t <= q < t + window]


# %% tags=["nbval-ignore-output"]
def train_toy(window, carried):
    torch.manual_seed(0)
    model, generator = MusicLSTM(num_pitches=4, hidden_size=48, num_layers=1), torch.Generator().manual_seed(1)
    optimizer = make_optimizer(model, 5e-3)
    for _ in range(TOY_STEPS):
        x, call = calls(32, generator)
        for said in answers(model, x, window, carried):
            if said:  # a window with no question teaches nothing here, but its state counts
                optimizer.zero_grad()
                sum(F.cross_entropy(logits, call) for logits in said).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
    x, call = calls(512, torch.Generator().manual_seed(2))
    with torch.no_grad():
        said = [logits for some in answers(model, x, window, carried) for logits in some]
    return [(logits.argmax(1) == call).float().mean().item() for logits in said]


toy = {
    "windows of 16, memory wiped": train_toy(SHORT, carried=False),
    "windows of 16, memory carried": train_toy(SHORT, carried=True),
    "one window of 64": train_toy(FRAMES, carried=True),
}
print("answers right, by frames since the call  " + "".join(f"{q - 3:8}" for q in QUESTIONS))
for name, right in toy.items():
    print(f"{name:<41}" + "".join(f"{100 * share:6.0f} %" for share in right))

# %% [markdown]
# Without its memory the model answers the first question and guesses the others: a coin would do as well. With the
# memory carried, windows of 16 are enough, although no gradient ever went further than 16 frames.

# %%
assert toy["windows of 16, memory wiped"][0] > 0.95 and max(toy["windows of 16, memory wiped"][1:]) < 0.7
assert min(toy["windows of 16, memory carried"]) > 0.95

# %% [markdown]
# **How can it learn what no gradient tells it?** The *first* question does: it lies in the window of the call, so the
# gradient teaches the model to keep the call for at least seven frames. What keeps for seven frames may keep for
# fifty, and when it does, the later windows teach it to *use* what is there. Take the first question away
# (`QUESTIONS = (25, 57)`), and the carried model guesses, too, at least in the runs we tried: nothing then teaches
# it to store. (One window of 64 still taught it to a `MusicMamba`, in 80 steps, at four times the memory.) Music is on
# the kind side: nearly everything that matters after a minute matters after a second, too.
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
# Each piece of `L` frames gives `L - 1` predictions. The fresh start and the cut are one function, `carry`; by hand,
# for the state of an LSTM, `(h, c)`:

# %%
model = MusicLSTM(hidden_size=32)
_, state = model(torch.rand(3, 5, 88).round())
begins = torch.tensor([False, True, False])
by_hand = cut_off(state)
for part in by_hand:  # (layers, B, 32)
    part[:, begins] = 0
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
print("validation, nats per frame    read wiped   read carried")
for name, carried in (("trained on windows", False), ("trained along pieces", True)):
    torch.manual_seed(0)
    small = MusicMamba(d_model=64, n_layers=2)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        fit(small, lesson, EPOCHS, stride=WINDOW, batch_size=8, carry_state=carried, folder=folder, learning_rate=3e-3)
    result = read_twice(small.eval().cpu(), held_out)
    print(f"{name:<28}{result['wiped'].mean():12.3f}{result['carried'].mean():15.3f}")

# %% [markdown]
# Compare the corners: top left is the usual way, bottom right is training and reading with the memory carried. In our
# full run the second is better by more than a tenth of a nat. And the upper row shows what we saw at the beginning: who
# was trained on windows has little use for a longer memory. (One seed, a minute of training, nearly as many frames and
# steps in both: a hint, no proof. A quick test of the notebook is too short to show anything.)
#
# ## Memory against context
#
# Why not one long window, then? Because the backward pass needs what the forward pass computed, for every frame of
# the window: the **activations**. torch shows them to whoever asks: `saved_tensors_hooks` calls us for each tensor
# that is saved for the backward pass. We add up their bytes, each storage once, weights left out.


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
at_once = [saved_bytes(mamba, piece[:, :length])[0] for length in LENGTHS]
in_windows = []
for length in LENGTHS:
    state, highest = None, 0
    for t in range(0, length, WINDOW):
        size, state = saved_bytes(mamba, piece[:, t : t + WINDOW], state)
        state, highest = cut_off(state), max(highest, size)
    in_windows.append(highest)
state_bytes = sum(part.numel() for layer in state for part in layer) * 4
print(f"1024 frames at once {at_once[-1] / 1e6:.1f} MB; in 16 windows {in_windows[-1] / 1e6:.1f} MB at a time,")
print(f"of which the state that is carried is {state_bytes / 1e6:.2f} MB; for one piece")

# %% tags=["nbval-ignore-output"]
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
# Now several processors. Each gets the whole model and a share of the batch; each computes the gradient of its share;
# then they average. That is **data parallel** training. Both processors can be played by one:

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
# The gradient is linear, so the average of the halves is the gradient of the whole. All processors make the same step
# with it, and so they keep the same weights for ever.
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

# %% tags=["nbval-ignore-output"]
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
    ax.set(xticks=[], yticks=range(4), title="start" if step == 0 else f"step {step}")
    ax.set_xlabel("chunk")
_ = grids[0].set_ylabel("process")

# %% [markdown]
# What to see: in each step every row sends one number down to the next row (the last to the first), where it is added.
# After three steps each process has one chunk with all four shares in it, and in the three steps after that the fours
# spread to everyone. Each process has sent `2 (n - 1) / n` times its vector, hardly more for 64 processes than for 4,
# and all wires were busy all the time. The libraries that do this are **NCCL** between GPUs and **gloo** between CPUs.
# (They know other shapes than rings, too.)
#
# ## Two processes, for real
#
# `torchrun` (or `python -m torch.distributed.run`) starts the processes and tells each its number, its *rank*. In the
# program, torch's `DistributedDataParallel` wraps the model: backward then averages the gradients on its way, while it
# is still computing those of earlier layers. It averages, and we want the sum over the count of the whole batch; so
# `fit` multiplies by the number of processes. These lines of `midigen_utils/training.py` matter, shortened:
#
# ```python
# for i, part in enumerate(parallel.share(batch, accumulate)):  # this process's rows of the batch
#     loss, nll, states[i] = loss_function(*part, state=states[i])  # sums
#     scaler.scale(loss / frames * parallel.processes()).backward()  # frames: of the whole batch
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
run = subprocess.run([*torchrun, *program], capture_output=True, text=True, env=environment, cwd=MIDI_DATA.parent)
assert run.returncode == 0, run.stderr[-2000:]
print(re.search("epoch .*", run.stdout)[0])

# %% [markdown]
# Only the first of the two prints and writes; the frames per second are those of both together. (On two busy or shared
# cores two processes need not be faster than one.) Are the weights the same?

# %% tags=["nbval-ignore-output"]
one, two = (load_checkpoint(Path(folder.name) / name / "last_model.pt")["model_state_dict"] for name in ("one", "two"))
furthest = max((one[name] - two[name]).abs().max().item() for name in one)
print(f"{sum(value.numel() for value in one.values()):,} weights, largest difference {furthest:.1e}")

# %%
assert furthest < 1e-5

# %% [markdown]
# They are, up to the rounding of sums in another order (which Adam magnifies where a gradient is nearly nothing, since
# it divides by the gradient's size). In the tests of this course they agree to 1e-6. So a result does not depend on how
# many processes computed it, and a bug has nowhere to hide.
#
# ## Gradient accumulation
#
# No second processor, but a batch that is too large for the memory? Then one processor plays all of them, one after
# another: four quarters, four backward passes, one step. `backward` *adds* to the gradients that are there, so there
# is nothing to do but to leave `zero_grad` out:

# %% tags=["nbval-ignore-output"]
model.zero_grad()
for row in range(0, 8, 2):
    logits, _ = model(x[row : row + 2])
    loss = F.binary_cross_entropy_with_logits(logits, y[row : row + 2], reduction="sum")
    (loss / y.numel()).backward()  # divided by the count of the whole batch
accumulated = torch.cat([p.grad.flatten() for p in model.parameters()])
size_of_all, size_of_two = saved_bytes(model, x)[0], saved_bytes(model, x[:2])[0]
print(f"activations: {size_of_all / 1e6:.1f} MB for 8 windows at once, {size_of_two / 1e6:.1f} MB for 2")

# %%
assert torch.allclose(accumulated, gradient(slice(0, 8)), atol=1e-7)

# %% [markdown]
# `fit(..., accumulate=4)` and `--accumulate 4` do this: the same weights, a quarter of the activations, and a little
# more time, because small batches use a processor less well.
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

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.semilogx(sizes, alike, "o-", color=BLUE, base=2)
ax.set(xlabel="windows in each batch", ylabel="cosine of two batches' gradients", ylim=(0, 1), xticks=sizes)
_ = ax.set_xticklabels(sizes)

# %% [markdown]
# What to see: gradients of single windows have little in common; each doubling of the batch makes two batches agree
# more. While the curve climbs steeply, a larger batch is a better one. Where it flattens, more windows say nearly the
# same again, at twice the price. This is one measurement, of the last block of the pretrained Mamba; and since
# that one was trained on performances, chorales tell it something in common, which makes them agree sooner. (McCandlish
# et al. make a *gradient noise scale* of it, and find that it grows during training.)

# %%
assert alike[-1] > alike[0]

# %% [markdown]
# And the learning rate? Two rules are cited, neither is a law. For plain gradient descent: batch times k, learning
# rate times k, with a slow start (Goyal et al., section 2). For Adam, which divides by the gradient's size: times the
# *square root* of k (Malladi et al.). From our 64 windows and 1e-3:

# %% tags=["nbval-check-output"]
print("windows   linear   square root")
for processes in (1, 2, 8, 16):
    print(f"{64 * processes:7} {1e-3 * processes:8.4f} {1e-3 * processes**0.5:10.4f}")

# %% [markdown]
# Take the second column as a first try and measure around it. `fit` has the slow start already. The safe way costs
# nothing to think about: leave `--batch-size` and the learning rate as they are. Then eight processes train *exactly*
# what one would, only sooner.
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
# and the random numbers. What is lost is the work since it was written, half an epoch on average. Writing more
# often costs time as well. If writing takes `c` seconds and something fails every `M` seconds, then writing every `T`
# seconds costs the share `c / T + T / (2 M)` of the time.

# %% tags=["nbval-ignore-output"]
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
# something fails every hour, a checkpoint every few minutes loses some percent. Our epochs last minutes, so `fit`
# writes one after each, and after Ctrl-C.
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
# `FIRST` is the name of one of the machines, where all meet. Slurm gives the machines and their names; the script
# around the last command is
#
# ```
# #!/bin/bash
# #SBATCH --nodes=2
# #SBATCH --ntasks-per-node=1
# #SBATCH --gpus-per-node=8
# first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node 8 --max-restarts 3 \
#     --rdzv-backend c10d --rdzv-endpoint "$first:29500" --rdzv-id "$SLURM_JOB_ID" \
#     -m midigen_utils train --corpus maestro
# ```
#
# The variable in the middle is needed with `--max-restarts`: without it torch gives the new processes the addresses of
# the lost ones ([issue 135712](https://github.com/pytorch/pytorch/issues/135712)). What was tested for this course is
# two processes on one CPU, one of them killed and started again. NCCL, several machines and Slurm were not: we had
# none.
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
# With n processes the computing is divided by n, and an all-reduce comes on top: `2 (n - 1) / n` times the gradients,
# over the slowest wire, in every step. (`DistributedDataParallel` hides part of it behind the backward pass; this
# projection hides nothing. The rates of the wires are their nominal ones.)

# %% tags=["nbval-ignore-output"]
gradient_bytes = 4 * sum(p.numel() for p in MusicMamba(velocity=32).parameters())
step = 64 * 64 / rate  # seconds of computing for the whole batch, by one
print(f"one step of 64 windows: {step:.2f} s here; gradients {gradient_bytes / 1e6:.1f} MB")
print("times faster with processes:".ljust(36) + "  ".join(f"{n:6}" for n in (2, 8, 64)))
for speed, name in ((1, "this processor"), (1000, "one 1,000 times as fast")):
    for wire, bytes_per_second in (("1 Gbit/s", 1.25e8), ("200 Gbit/s", 2.5e10)):
        compute = step / speed
        times = [compute / (compute / n + 2 * (n - 1) / n * gradient_bytes / bytes_per_second) for n in (2, 8, 64)]
        print(f"{name}, {wire}:".ljust(36) + "  ".join(f"{t:6.2f}" for t in times))

# %% [markdown]
# Read the last two lines, which imagine a processor 1,000 times as fast. On a slow wire it is slower with a second one
# (below 1): it would wait for gradients most of the time. Larger batches help (fewer all-reduces for the same frames),
# and so do better wires. The faster the processor, the fewer of them a model of two million weights can use.

# %%
folder.cleanup()

# %% [markdown]
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
#   and gives a context of minutes for the memory of one window. It is used as far as nearer examples teach to keep.
# - Averages of parts are right only for parts of equal counts. Add up sums, divide by the count of the whole.
# - An all-reduce gives everyone the sum; in a ring each sends `2 (n - 1) / n` of its vector.
# - One process, two processes, or four parts one after another: the same weights, on the same batch.
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
# **4.** A batch of 64 in four parts gives the same weights. What is gained, and what is not?
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
# No: it is the same training, up to rounding. It may be hardly faster, because 8 windows for each leave a GPU half
# idle, and the all-reduce takes as long as ever.
#
# </details>
#
# ## Exercises
#
# Put your code in place of the `...` and run the cell: it says "right" when it is. Solutions are in the notebook
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
# 249, and see which are answered by the carried model. Then take the first question away. What if the call comes in a
# piece that begins in the middle of a window?
#
# ## Next
#
# [A6_solutions](A6_solutions.ipynb), or back to the [start](00_start_here.ipynb).
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
