"""The chord head: the next frame as one decision, made key by key from the lowest to the highest.

The output layer of a model gives each key a probability of its own, and a frame is 88 independent Bernoulli draws.
They cannot know that a chord is one decision: where a C or a B is to follow, each with probability 1/2, they play
both at once, or neither, in half of the frames. By the chain rule a frame y has the probability

    p(y | past) = product over keys k of p(y_k | y_j for all j < k, past)

The keys already decided matter only through the notes among them. So one look (one pass through a small network) at
the past and at the notes found so far gives the probabilities of all keys up to and including the next note, and
only then is another look needed: a frame of n notes takes n + 1 looks. Nothing is approximated: `log_prob` is exact,
and `numpy_engine.Chords` draws from exactly these probabilities.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..config import NUM_PITCHES


class ChordHead(nn.Module):
    """The probability of the next frame as a whole, on top of what a model knows after the frame before.

    Notebook: A2_chords

    Args:
        feature_size: length D of the model's feature vectors.
        num_pitches: keys P in a frame, default 88.
        width: W, numbers in the network that looks, default 256.

    Source:
        The factorisation is that of NADE (Larochelle and Murray 2011), which RNN-NADE (Boulanger-Lewandowski et al.
        2012, arXiv 1206.6392) put on top of a recurrent network.
    """

    def __init__(self, feature_size, num_pitches=NUM_PITCHES, width=256):
        super().__init__()
        self.from_features = nn.Linear(feature_size, width)
        self.from_past = nn.Linear(num_pitches, width, bias=False)
        self.from_notes = nn.Linear(num_pitches, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.layer = nn.Linear(width, width)
        self.output = nn.Linear(width, num_pitches)
        for layer in (self.from_past, self.from_notes):  # few keys are down, so their weights are larger
            nn.init.normal_(layer.weight, std=0.3)
        nn.init.constant_(self.output.bias, -3.0)  # most keys are up

    def context(self, features, past):
        """What all looks at a frame share, from `features` `(..., D)` and `past` `(..., P)` to `(..., W)`."""
        return self.from_features(features) + self.from_past(past)

    def look(self, context, notes):
        """From `context` `(..., W)` and the `notes` found so far, `(..., P)`, 1 or 0, to logits `(..., P)`.

        Those of the keys above the highest of `notes` count, the others mean nothing.
        """
        x = F.silu(self.norm(context + self.from_notes(notes)))  # (..., W)
        return self.output(F.silu(self.layer(x)))

    def conditionals(self, frames, features, past):
        """Logits of each key given the keys below it, all looks of all frames at once.

        Args:
            frames: the frames to predict, `(B, T, P)`, above 0 where a key is down.
            features: the model's features after the frame before each, `(B, T, D)`.
            past: the frame before each, `(B, T, P)`, 1 or 0: the input that gave `features`.

        Returns:
            `(B, T, P)`: `sigmoid` of entry k is p(y_k = 1 | y_j for j < k, past).

        Raises:
            ValueError: shapes that do not fit each other.
        """
        if frames.shape != past.shape or frames.shape[:2] != features.shape[:2]:
            raise ValueError(
                f"frames {tuple(frames.shape)}, features {tuple(features.shape)} and past {tuple(past.shape)}: "
                "expected (B, T, P), (B, T, D) and (B, T, P)"
            )
        context = self.context(features, past).flatten(0, 1)  # (F, W): F = B T frames
        y = (frames > 0).long().flatten(0, 1)  # (F, P)
        below = y.cumsum(1) - y  # (F, P): how many notes of the frame lie below each key
        looks = y.sum(1) + 1  # (F,)
        first = looks.cumsum(0) - looks  # (F,): where the looks of each frame begin
        frame = torch.repeat_interleave(looks)  # (L,): the frame of each look
        rank = torch.arange(len(frame), device=frame.device) - first[frame]  # (L,): notes found before it
        notes = y[frame] * (below[frame] < rank.unsqueeze(1))  # (L, P): those notes
        logits = self.look(context[frame], notes.to(context.dtype))  # (L, P)
        return logits.gather(0, first.unsqueeze(1) + below).view(frames.shape)

    def log_prob(self, frames, features, past):
        """The exact log probability of frames.

        Args and Raises: as for `conditionals`.

        Returns:
            `(B, T)` in nats, 0 or less.
        """
        logits = self.conditionals(frames, features, past).float()
        y = (frames > 0).float()
        return -F.binary_cross_entropy_with_logits(logits, y, reduction="none").sum(-1)
