"""Next-frame likelihood on the classic polyphonic benchmarks, under their exact protocol.

    python benchmarks/polyphonic.py --data JSB_Chorales.mat --model lstm --head chords --minutes 10 --seed 0

The files (JSB_Chorales, Nottingham, MuseData, Piano_midi) are those of Boulanger-Lewandowski et al. 2012 in the
layout of Bai et al. 2018: `traindata`, `validdata`, `testdata`, each a row of (T, 88) arrays. Reported are nats per
frame: the negative log-likelihood of frames 2 .. T of every piece given all frames before, summed over the 88 keys,
averaged over all those frames together; no padding counts. The weights with the lowest validation figure are
tested, once, at the end. When validation gets worse, training goes back to them and on with half the learning rate.

Nothing here knows which file it reads. The pieces are in C; in training each is moved by -5 to 6 semitones where it
fits the keyboard, and the model is told by how many, so that 0 at the test means "in C".
"""

import argparse
import copy
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import scipy.io
import torch
import torch.nn.functional as F
from budget import Budget
from budget import train as budget_train
from torch import nn

from midigen_utils.config import NUM_PITCHES
from midigen_utils.models.chords import ChordHead
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba

SHIFTS = range(-5, 7)  # semitones
WINDOWS, FRAMES = (16, 32, 64, 128), 640  # frames of a window, a quarter of the time each; frames of a step
LEARNING_RATE = 5e-3  # highest; it falls to 0 in the minutes (budget.py)
DROPOUT = 0.3  # of features, the same ones in all frames of a window
WEIGHT_DECAY = 0.3  # of matrices; at 0.01 the models learn the pieces by heart
AVERAGE = 0.998  # the weights that are evaluated are a running mean; this much of it is kept in each step
WORSE = 0.02  # nats above the best validation at which training goes back to it
CHECKS, SHARE = 100, 0.05  # validations in a run at most, and of its time
WIDTHS = {"lstm": range(256, 0, -32), "mamba": range(256, 0, -32)}


class Predictor(nn.Module):
    """A model that is told the transposition, and a head: log p(frame t + 1 | frames 0 .. t).

    With chords it is the `ChordHead`; with keys the same network takes one look, at no note of the frame, and all 88
    coins are independent.
    """

    def __init__(self, model, head, width):
        super().__init__()
        inputs = NUM_PITCHES + len(SHIFTS)
        if model == "lstm":
            self.core = MusicLSTM(inputs, hidden_size=width, num_layers=1)
        else:
            self.core = MusicMamba(inputs, d_model=width, n_layers=2, ssm="ssd")
        self.core.output = None  # the head below takes its place
        self.chords = head == "chords"
        self.head = ChordHead(width)

    def forward(self, frames, shift, hidden=None):
        """`frames` (B, T + 1, 88) and `shift` (B,), an index of SHIFTS, to log probabilities `(B, T)` and the state."""
        x, y = frames[:, :-1], frames[:, 1:]
        told = F.one_hot(shift, len(SHIFTS)).float().unsqueeze(1).expand(-1, x.shape[1], -1)
        features, hidden = self.core.features(torch.cat([x, told], dim=2), hidden)
        if self.training:
            features = features * F.dropout(torch.ones_like(features[:, :1]), DROPOUT)
        if self.chords:
            return self.head.log_prob(y, features, x), hidden
        logits = self.head.look(self.head.context(features, x), torch.zeros_like(y))
        return -F.binary_cross_entropy_with_logits(logits, y, reduction="none").sum(2), hidden


def build(model, head, most):
    """The widest `Predictor` with at most so many parameters."""
    for width in WIDTHS[model]:
        predictor = Predictor(model, head, width)
        if count(predictor) <= most:
            return predictor
    raise ValueError(f"no {model} with a {head} head has as few as {most:,.0f} parameters")


def count(module):
    """How many numbers are learned."""
    return sum(p.numel() for p in module.parameters())


def load(path):
    """`{"train": pieces, "validation": ..., "test": ...}`, each piece `(T, 88)` float32."""
    try:
        file = scipy.io.loadmat(path)
        splits = {"train": file["traindata"], "validation": file["validdata"], "test": file["testdata"]}
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"{path}: cannot be read as a benchmark file ({error})") from None
    return {name: [torch.from_numpy(np.asarray(s, np.float32)) for s in pieces[0]] for name, pieces in splits.items()}


def batch(pieces):
    """Pieces padded to one length, and which of their frames 2 .. T are real: `(B, T + 1, 88)`, `(B, T)`."""
    lengths = torch.tensor([len(piece) for piece in pieces])
    frames = nn.utils.rnn.pad_sequence(pieces, batch_first=True)
    return frames, torch.arange(1, frames.shape[1]) < lengths.unsqueeze(1)


def draw(pieces, weights, window, generator):
    """A training batch: windows from pieces chosen in proportion to their length, each moved by its own shift."""
    windows, shifts = [], []
    for i in torch.multinomial(weights, FRAMES // window, replacement=True, generator=generator).tolist():
        piece = pieces[i]
        spare = len(piece) - window - 1  # a quarter window before 0 is drawn too: beginnings are not rare
        start = 0
        if spare > 0:
            start = max(0, int(torch.randint(-window // 4, spare + 1, (1,), generator=generator)))
        used = piece.any(0).nonzero()
        low, high = (int(used[0]), int(used[-1])) if len(used) else (0, NUM_PITCHES - 1)
        fits = [shift for shift in SHIFTS if low + shift >= 0 and high + shift < NUM_PITCHES]
        shift = fits[int(torch.randint(len(fits), (1,), generator=generator))]
        windows.append(piece[start : start + window + 1].roll(shift, 1))
        shifts.append(SHIFTS.index(shift))
    return *batch(windows), torch.tensor(shifts)


@torch.no_grad()
def evaluate(model, pieces, rows=16, chunk=256):
    """Nats per frame; rows of similar length side by side, the state carried from chunk to chunk."""
    model.eval()
    total, frames_seen = 0.0, 0
    pieces = sorted((piece for piece in pieces if len(piece) > 1), key=len)
    for first in range(0, len(pieces), rows):
        frames, real = batch(pieces[first : first + rows])
        shift, hidden = torch.full((len(frames),), SHIFTS.index(0)), None
        for t in range(0, frames.shape[1] - 1, chunk):
            log_prob, hidden = model(frames[:, t : t + chunk + 1], shift, hidden)
            total -= log_prob[real[:, t : t + chunk]].double().sum().item()
        frames_seen += int(real.sum())
    return total / frames_seen


def train(model, splits, minutes, seed, log):
    """Train for minutes of wall clock, validation included. Returns the best averaged model and what it took."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor([float(len(piece)) for piece in splits["train"]])
    average, budget = copy.deepcopy(model), Budget(minutes, time.perf_counter)
    best, best_state, steps, frames_seen, next_check = math.inf, None, 0, 0, 1 / CHECKS

    def next_loss():
        nonlocal frames_seen
        window = WINDOWS[min(int(budget.part * len(WINDOWS)), len(WINDOWS) - 1)]
        frames, real, shift = draw(splits["train"], weights, window, generator)
        frames_seen += int(real.sum())
        return -model(frames, shift)[0][real].mean()

    fraction, training = 1.0, budget_train(model, next_loss, budget, LEARNING_RATE, WEIGHT_DECAY)
    next(training)
    while True:
        steps += 1
        with torch.no_grad():  # early on the mean is over the few steps there were
            kept = min(AVERAGE, steps / (steps + 10))
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - kept)
        if budget.part >= min(next_check, 1):
            seconds = budget.seconds
            validation = evaluate(average, splits["validation"])
            took = (budget.seconds - seconds) / 60 / minutes
            next_check = seconds / 60 / minutes + max(1 / CHECKS, took / SHARE)
            if validation < best:
                best, best_state = validation, copy.deepcopy((average.state_dict(), model.state_dict()))
            elif validation > best + WORSE:  # it learns by heart: back to the best, and on with smaller steps
                fraction /= 2
                for network, state in zip((average, model), best_state):
                    network.load_state_dict(state)
            print(f"{seconds:6.0f} s  {steps:6d} steps  validation {validation:.4f}  best {best:.4f}", file=log)
        try:
            training.send(fraction)
        except StopIteration:
            break
    average.load_state_dict(best_state[0])
    return average, best, {"steps": steps, "frames_seen": frames_seen, "seconds": round(budget.seconds, 1)}


def main():
    """Train, test once, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a .mat file of the benchmark")
    parser.add_argument("--model", choices=list(WIDTHS), required=True)
    parser.add_argument("--head", choices=["keys", "chords"], required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of training and validation, wall clock")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--params", type=float, default=2e6, help="at most so many parameters")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    splits = load(options.data)
    model = build(options.model, options.head, options.params)
    model, validation, effort = train(model, splits, options.minutes, options.seed, sys.stderr)
    result = {
        "data": options.data.stem,
        "model": options.model,
        "head": options.head,
        "seed": options.seed,
        "test_nll": round(evaluate(model, splits["test"]), 4),
        "validation_nll": round(validation, 4),
        "parameters": count(model),
        **effort,
        "threads": options.threads,
        "torch": torch.__version__,
        "command": f"python {' '.join(sys.argv)}",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
