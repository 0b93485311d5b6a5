"""How far back can the models remember, and does it help? Both MusicMambas beside MusicLSTM, the same minutes each.

    python benchmarks/memory.py --task copying               4 symbols among blanks, to be said again in order
    python benchmarks/memory.py --task induction             what came after the marker, when it comes again?
    python benchmarks/memory.py --task pieces --data FOLDER  whole pieces; FOLDER holds maestro-v3.0.0

The first two are the tasks of the Mamba paper (arXiv 2312.00752, section 4.1), smaller. In the third a model learns
with its state carried along whole pieces; then it is tested with the state reset more or less often. Minutes are
processor time of the training, so that other work on the machine weighs less; the learning rate falls to 0 in them
(`budget.py`).
"""

import argparse
import platform
import sys
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import budget
import numpy as np
import torch
import torch.nn.functional as F
from budget import Budget
from torch import nn

from midigen_utils.config import MIDI_CONFIG, NUM_PITCHES, SEQUENCE_LENGTH
from midigen_utils.data.corpus import load_maestro
from midigen_utils.data.rolls import load_piano_rolls
from midigen_utils.learn.dataset import all_frames
from midigen_utils.learn.metrics import carry, fit_baselines, frame_nll
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba

BLANK, MARKER, SYMBOLS = 0, 1, 8  # of the toys: frame t is symbol x[t], and 2 .. 9 are what must be remembered
COPIED = 4  # symbols in a sequence of the copying task
WANDER = 8  # first frames of an induction sequence, one of which is the marker
DISTANCES = (64, 128, 256, 512)
SHORT_DISTANCES = (8, 16, 32)  # trained on as well: without them nothing is learned in minutes
FAR_DISTANCES = (1024, 2048, 4096)  # tested only: farther than anything in training
STEP_FRAMES = 2048  # of a training step
RESETS = (64, 256, 1024, 4096)
PIECES = 48  # of the validation split, on which nothing is chosen here
LEARNING_RATE = 3e-3  # for models this small
MODELS = ("MusicMamba", "MusicMamba SSD", "MusicLSTM")


def build(name, width, seed):
    """A model for frames of `width` cells, small enough for minutes: both have 0.14 M (toys) or 0.15 M parameters."""
    torch.manual_seed(seed)
    if "Mamba" in name:
        return MusicMamba(width, d_model=96, n_layers=2, ssm="ssd" if "SSD" in name else "s6")
    return MusicLSTM(width, hidden_size=96 if width == NUM_PITCHES else 104)


def copying(batch, distance, generator):
    """Selective copying: `COPIED` symbols somewhere in `distance` frames, then as many markers: say them in order.

    Returns `x`, `(B, distance + COPIED)` int64, what each frame holds, and `where` and `answers`, `(B, COPIED)`
    int64, the frames at which an answer is due and the answers.
    """
    x = torch.full((batch, distance + COPIED), BLANK)
    x[:, distance:] = MARKER
    answers = torch.randint(2, 2 + SYMBOLS, (batch, COPIED), generator=generator)
    places = torch.rand(batch, distance, generator=generator).argsort(1)[:, :COPIED].sort(1).values
    where = torch.arange(distance, distance + COPIED).expand(batch, -1)
    return x.scatter(1, places, answers), where, answers


def induction(batch, distance, generator):
    """Induction head: random symbols, a marker among the first; when it comes again, say what came after it.

    The second marker comes `distance` frames after that symbol. Returns what `copying` does, of shapes
    `(B, WANDER + 1 + distance)` and `(B, 1)`.
    """
    x = torch.randint(2, 2 + SYMBOLS, (batch, WANDER + 1 + distance), generator=generator)
    first = torch.randint(0, WANDER, (batch, 1), generator=generator)
    x.scatter_(1, first, MARKER).scatter_(1, first + 1 + distance, MARKER)
    return x, first + 1 + distance, x.gather(1, first + 1)


TOYS = {"copying": copying, "induction": induction}


def ask(model, x, where):
    """Logits at the frames that ask, `(B, K, 2 + SYMBOLS)`."""
    logits, _ = model(F.one_hot(x, 2 + SYMBOLS).float())
    return logits.gather(1, where.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))


def train(model, next_loss, minutes):
    """Train with the losses that `next_loss()` gives, for minutes of processor time. Returns cells for the table."""
    steps = sum(1 for _ in budget.train(model, next_loss, Budget(minutes), LEARNING_RATE))
    model.eval()
    return f"{sum(p.numel() for p in model.parameters()):,} | {steps:,}"


def toy_loss(model, task, seed):
    """A function that gives the loss of the next batch: one distance, drawn at random, `STEP_FRAMES` frames."""
    generator, distances = torch.Generator().manual_seed(seed), SHORT_DISTANCES + DISTANCES

    def next_loss():
        distance = distances[int(torch.randint(len(distances), (1,), generator=generator))]
        x, where, answers = TOYS[task](max(1, STEP_FRAMES // distance), distance, generator)
        return F.cross_entropy(ask(model, x, where).flatten(0, 1), answers.flatten())

    return next_loss


@torch.no_grad()
def toy_accuracy(model, task, distance, generator, rows=64):
    """Part of the answers that are right, 0 to 1, in 512 sequences; of long ones in fewer, 2**18 frames of them."""
    right = []
    for _ in range(min(512, 2**18 // distance) // rows):
        x, where, answers = TOYS[task](rows, distance, generator)
        right.append((ask(model, x, where).argmax(-1) == answers).float().mean().item())
    return mean(right)


def streams(rolls, rows, length, generator):
    """Endless windows of whole pieces side by side: each row goes on where it stopped, or begins a new piece.

    Yields `x` and `y`, `(rows, length, P)` float32, `y` one frame later, and `fresh`, `(rows,)` bool: begins a piece.
    """
    frames, starts, lengths = all_frames(rolls)
    long_enough = np.flatnonzero(lengths > length)
    position, end, order = np.zeros(rows, np.int64), np.zeros(rows, np.int64), []
    while True:
        fresh = torch.from_numpy(position + length >= end)
        for row in fresh.nonzero()[:, 0].tolist():
            order = order or long_enough[torch.randperm(len(long_enough), generator=generator).numpy()].tolist()
            piece = order.pop()
            position[row], end[row] = starts[piece], starts[piece] + lengths[piece]
        window = torch.stack([frames[start : start + length + 1] for start in position.tolist()]) > 0
        yield window[:, :-1].float(), window[:, 1:].float(), fresh
        position += length


def pieces_loss(model, rolls, seed):
    """A function that gives the loss of the next windows of the streams and carries the state to the ones after."""
    rows, generator, hidden = STEP_FRAMES // SEQUENCE_LENGTH, torch.Generator().manual_seed(seed), None
    windows = streams(rolls, rows, SEQUENCE_LENGTH, generator)

    def next_loss():
        nonlocal hidden
        x, y, fresh = next(windows)
        logits, hidden = model(x, None if hidden is None else carry(hidden, fresh))
        return F.binary_cross_entropy_with_logits(logits, y)

    return next_loss


@torch.no_grad()
def losses_with_resets(model, rolls, every, rows=32, chunk=256):
    """How well a model predicts that forgets everything each `every` frames; `rows` and `chunk` only make it fast.

    Returns a list of `(T - 1,)` tensors, one per piece: nats for frames 2..T.
    """
    pieces = [torch.from_numpy(rolls[i] > 0) for i in range(len(rolls))]
    blocks = [piece[t : t + every + 1] for piece in pieces for t in range(0, len(piece) - 1, every)]
    losses = [None] * len(blocks)
    by_length = sorted(range(len(blocks)), key=lambda i: len(blocks[i]))
    for first in range(0, len(blocks), rows):
        group = by_length[first : first + rows]
        frames = nn.utils.rnn.pad_sequence([blocks[i] for i in group], batch_first=True).float()  # (B, T, P)
        hidden, nll = None, []
        for t in range(0, frames.shape[1] - 1, chunk):
            logits, hidden = model(frames[:, t : t + chunk + 1][:, :-1], hidden)
            nll.append(frame_nll(logits, frames[:, t + 1 : t + chunk + 1]))
        for i, row in zip(group, torch.cat(nll, 1)):
            losses[i] = row[: len(blocks[i]) - 1]
    return list(torch.cat(losses).split([len(piece) - 1 for piece in pieces]))


def toy_table(task, options):
    """Train the models on a toy and print how often they are right at each distance."""
    distances = DISTANCES + FAR_DISTANCES
    print(f"\n{task}: answers that are right, by frames of distance (chance {1 / SYMBOLS:.1%}); trained up to 512\n")
    print("| model | seed | parameters | steps | " + " | ".join(map(str, distances)) + " |")
    print("|---" * (4 + len(distances)) + "|", flush=True)
    for name, seed in product(MODELS, options.seeds):
        model = build(name, 2 + SYMBOLS, seed)
        effort = train(model, toy_loss(model, task, seed), options.minutes)
        unseen = torch.Generator().manual_seed(seed + 1_000_003)
        scores = [f"{toy_accuracy(model, task, distance, unseen):.1%}" for distance in distances]
        print(f"| {name} | {seed} | {effort} | {' | '.join(scores)} |", flush=True)


def reset_table(options):
    """Train the models on whole pieces and print nats per frame by how often the state is reset.

    A reset also costs the few frames that a model needs to find out where it is. The second row of each model
    leaves them out: it is over the second half of every 64 frames, the same frames for every column.
    """
    rolls, _ = load_piano_rolls(load_maestro(options.data / "maestro-v3.0.0"), {**MIDI_CONFIG, "max_duration": None})
    pieces = rolls["validation"].spread(PIECES)
    markov = torch.cat(losses_with_resets(fit_baselines(rolls["train"])["Markov-1"], pieces, RESETS[0])).mean()
    print(
        f"\npieces: nats per frame, {len(pieces)} validation pieces, {sum(pieces.lengths):,} frames (Markov-1 "
        f"{markov:.3f}); gain: {RESETS[0]} less {RESETS[-1]}, mean and standard error over pieces\n"
    )
    resets = " | ".join(f"reset every {n}" for n in RESETS)
    print(f"| model | seed | parameters | steps | frames | {resets} | gain |")
    print("|---" * (6 + len(RESETS)) + "|", flush=True)
    for name, seed in product(MODELS, options.seeds):
        model = build(name, NUM_PITCHES, seed)
        effort = train(model, pieces_loss(model, rolls["train"], seed), options.minutes)
        losses = [losses_with_resets(model, pieces, every) for every in RESETS]
        for which, first in (("all", 0), ("32 or more after any reset", 32)):
            kept = [[nll[torch.arange(len(nll)) % RESETS[0] >= first] for nll in column] for column in losses]
            scores = " | ".join(f"{torch.cat(column).mean():.3f}" for column in kept)
            gains = [float(short.mean() - long.mean()) for short, long in zip(kept[0], kept[-1])]
            gain = f"{mean(gains):.3f} ± {stdev(gains) / len(gains) ** 0.5:.3f}"
            print(f"| {name} | {seed} | {effort} | {which} | {scores} | {gain} |", flush=True)


def main():
    """Print what runs where, then the table of the task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=[*TOYS, "pieces"], required=True)
    parser.add_argument("--data", type=Path, help="folder that holds maestro-v3.0.0, for --task pieces")
    parser.add_argument("--minutes", type=float, default=4, help="of training, each model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.task == "pieces" and not options.data:
        parser.error("--task pieces needs --data FOLDER, the folder that holds maestro-v3.0.0")
    torch.set_num_threads(options.threads)
    print(f"python {' '.join(sys.argv)}")
    print(
        f"torch {torch.__version__}, {platform.machine()}, {options.threads} thread(s), {options.minutes:g} minutes of "
        f"processor time a model, {STEP_FRAMES} frames a step, learning rate {LEARNING_RATE:g}"
    )
    reset_table(options) if options.task == "pieces" else toy_table(options.task, options)


if __name__ == "__main__":
    main()
