"""How good are predictions of the next frame? Likelihood, frame scores, baselines."""

from collections import namedtuple

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..config import NUM_PITCHES
from ..models.frame_model import FrameModel
from ..models.velocity import loudness
from .dataset import piece_bins
from .parallel import all_reduce_sum

THRESHOLDS = torch.linspace(0.01, 0.99, 99)


def frame_nll(logits, target):
    """Negative log-likelihood of each frame, summed over its keys: `logits` and `target`, `(..., P)`, to nats `(...)`.

    Source: Boulanger-Lewandowski et al., ICML 2012 (the measure of the piano-roll benchmarks).

    Notebook: 03_lstm_baseline
    """
    return binary_cross_entropy_with_logits(logits.float(), target, reduction="none").sum(-1)


Prediction = namedtuple("Prediction", "logits nll features hidden")  # what `predict` returns


def predict(model, x, y, hidden=None):
    """What a model says about frames that are known.

    Notebook: A2_chords

    Args:
        model: a `FrameModel`, or a baseline: a module with `forward(x, hidden=None) -> (logits, hidden)`. Where a model
            has a `ChordHead`, that one judges whole frames, and the logits are of each key by itself, learned on the
            side: no gradient of theirs reaches the rest of the model.
        x, y: frames and the frame after each, `(B, T, P)` of 0.0 and 1.0.
        hidden: state before the first frame, default a fresh start.

    Returns:
        logits: `(B, T, P)`.
        nll: nats of each frame `y`, `(B, T)`.
        features: `(B, T, D)`, or `None` from a baseline.
        hidden: state after the last frame.
    """
    if not isinstance(model, FrameModel):
        logits, hidden = model(x, hidden)
        return Prediction(logits, frame_nll(logits, y), None, hidden)
    model.check(x)
    features, hidden = model.features(x, hidden)
    if model.chords is None:
        logits = model.output(features)
        return Prediction(logits, frame_nll(logits, y), features, hidden)
    return Prediction(model.output(features.detach()), -model.chords.log_prob(y, features, x), features, hidden)


class TrainingLoss(nn.Module):
    """What training makes smaller, as a module: nats of the next frames, and of the velocities of their notes.

    Both are sums over frames, not means: the sums of the shares of a batch add up to that of the batch.

    Notebook: A3_scaling
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x_bins, y_bins, valid, begins=None, state=None):
        """Read windows.

        Args:
            x_bins: velocity bins of frames, `(B, T, P)`.
            y_bins: those of the frame after each, `(B, T, P)`; 0 where `valid` is `False`.
            valid: `(B, T)` bool, which frames of `y_bins` count.
            begins: `(B,)` bool, the rows in which a piece begins; default: the state is not carried.
            state: what the windows before left, as returned; default a fresh start.

        Returns:
            loss: nats per key, summed over the frames that count; a scalar.
            nll: nats of the frames alone, summed over those that count; a scalar without a gradient.
            state: what to carry on; `None` without `begins`.
        """
        hidden = heard = None
        if state is not None:
            hidden, heard = carry(state[0], begins), state[1].masked_fill(begins[:, None], 0)
        x, y = (x_bins > 0).float(), (y_bins > 0).float()
        logits, nll, features, hidden = predict(self.model, x, y, hidden)
        loss = (frame_nll(logits, y) * valid).sum()
        if self.model.chords is not None:
            loss = loss + (nll * valid).sum()
        if self.model.velocity is not None:
            loss = loss + self.model.velocity.loss(features, x_bins, y_bins, heard) * valid.numel()
        if begins is not None:
            heard = torch.cat([loudness(x_bins, heard)[:, -1:], x_bins[:, -1].long()], dim=1)  # (B, 1 + P)
            state = carry(hidden, torch.zeros_like(begins)), heard
        return loss / x.shape[-1], (nll.detach() * valid).sum(), state


def carry(hidden, begins):
    """The state of a model to go on from in training: without its gradient, and fresh where a piece begins.

    Notebook: A3_scaling

    Args:
        hidden: as `torch.nn.LSTM` or `torch.nn.GRU` have it, one tensor or a tuple of tensors `(layers, B, D)`; else
            for each layer a tuple of tensors `(B, ...)`. `None`, of a model without a memory, stays `None`.
        begins: `(B,)` bool.

    Returns:
        The same with new tensors.
    """
    if hidden is None:
        return None
    if torch.is_tensor(hidden):
        # In float32, as an LSTM's own fresh state is: mixed precision then treats both alike.
        return hidden.detach().float().masked_fill(begins[:, None], 0)
    if torch.is_tensor(hidden[0]):
        return tuple(carry(part, begins) for part in hidden)
    return tuple(
        tuple(part.detach().masked_fill(begins.view(-1, *[1] * (part.ndim - 1)), 0) for part in layer)
        for layer in hidden
    )


class FrameScores:
    """Sums up predictions and tells how good they were. Padding never counts."""

    def __init__(self):
        self.nll = torch.zeros(3, dtype=torch.float64)  # all frames, frames that change, frames with an onset
        self.count = torch.zeros(3, dtype=torch.float64)
        self.hits = torch.zeros(2, len(THRESHOLDS) + 1, dtype=torch.float64)  # cells (off, on) by probability

    def add(self, logits, x, y, valid=None, nll=None):
        """Count the predictions of frames `y`, `(B, T, P)` of 0.0 and 1.0, as are `x`, the frame before each.

        Args:
            logits: `(B, T, P)`, the prediction of each key of `y`.
            valid: `(B, T)` bool, `False` for padding; default all.
            nll: nats of each frame of `y`, `(B, T)`; default those of independent keys.
        """
        if valid is None:
            valid = torch.ones(y.shape[:2], dtype=torch.bool, device=y.device)
        logits, x, y = logits[valid].float(), x[valid], y[valid]  # (F, P)
        nll = frame_nll(logits, y) if nll is None else nll[valid]
        nll = nll.cpu().double()  # sums of many frames need float64, which MPS lacks
        frames = torch.stack([torch.ones_like(y[:, 0]), (x != y).any(-1), (y > x).any(-1)]).cpu().double()  # (3, F)
        self.nll += frames @ nll
        self.count += frames.sum(1)
        level = torch.bucketize(logits.sigmoid(), THRESHOLDS.to(logits.device))  # how many thresholds lie below
        cells = torch.bincount((level + self.hits.shape[1] * y.long()).flatten(), minlength=self.hits.numel())
        self.hits += cells.view(2, -1).cpu()

    def all_reduce(self):
        """Add up the counts of all processes, so that each has those of the whole."""
        self.nll, self.count, self.hits = map(all_reduce_sum, (self.nll, self.count, self.hits))

    def result(self, threshold=None):
        """The scores as a dict of floats.

        Args:
            threshold: probability above which a key counts as down, 0.01 to 0.99; default the one with the highest
                F1. Take that of the validation split, and give it for test.

        Returns:
            `nll`, `nll_change`, `nll_onset`: nats per frame on all frames, on those that differ from
            the one before, on those where a key goes down; `precision`, `recall`, `f1` of the keys
            down at `threshold`; `frames`, how many were predicted.
        """
        above = self.hits.flip(1).cumsum(1).flip(1)[:, 1:]  # (2, thresholds): cells (off, on) above each threshold
        found, true, called = above[1], self.hits[1].sum(), above.sum(0)
        f1 = 2 * found / (true + called).clamp(min=1)
        i = int(f1.argmax() if threshold is None else (THRESHOLDS - threshold).abs().argmin())
        nll = (self.nll / self.count.clamp(min=1)).tolist()
        return {
            **dict(zip(("nll", "nll_change", "nll_onset"), nll)),
            "precision": float(found[i] / called[i].clamp(min=1)),
            "recall": float(found[i] / true.clamp(min=1)),
            "f1": float(f1[i]),
            "threshold": float(THRESHOLDS[i]),
            "frames": int(self.count[0]),
        }


class FrameTable(nn.Module):
    """A baseline with the interface of a model: the logit of each key given that key one frame ago.

    Its `probability` is `(2, P)`: of each key to be down when it was up (row 0) and when it was down (row 1).
    """

    def __init__(self, probability):
        super().__init__()
        self.register_buffer("logits", torch.logit(probability.float()))

    def forward(self, x, hidden=None):
        """`x` `(B, T, P)` in {0, 1} to `(logits (B, T, P), None)`."""
        return torch.where(x > 0, self.logits[1], self.logits[0]), None


def fit_baselines(rolls):
    """Baselines counted on `rolls`, the training split (as for `fit`). A model has to beat them.

    Notebook: 03_lstm_baseline

    Returns:
        Dict of `FrameTable`: `"marginal"` (how often each key is down), `"copy last frame"` (one
        rate for staying down and one for going down, for all keys), `"Markov-1"` (the two rates of each key).
    """
    keys = piece_bins(rolls, 0).shape[1] if len(rolls) else NUM_PITCHES
    hits, seen = torch.zeros(2, 2, keys, dtype=torch.float64)  # (2, P) each
    for i in range(len(rolls)):
        down = piece_bins(rolls, i) > 0
        x, y = down[:-1], down[1:]
        seen += torch.stack([(~x).sum(0), x.sum(0)])
        hits += torch.stack([(~x & y).sum(0), (x & y).sum(0)])
    marginal = (hits.sum(0) + 0.5) / (seen.sum(0) + 1)  # half a count each way: never 0 or 1
    return {
        "marginal": FrameTable(marginal.expand(2, -1)),
        "copy last frame": FrameTable(((hits.sum(1) + 0.5) / (seen.sum(1) + 1))[:, None].expand(-1, keys)),
        "Markov-1": FrameTable((hits + 0.5) / (seen + 1)),
    }
