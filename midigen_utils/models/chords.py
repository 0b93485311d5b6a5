"""The chord head: a frame as one decision, spelled from the lowest key to the highest.

88 independent coins cannot know that a chord is one decision: if it is to be a C or a B, as likely the one as the
other, they play both at once, or neither, in half of the frames.
By the chain rule a frame y has the probability

    p(y | past) = product over keys k of p(y_k | y_j for all j < k, past)

The keys already decided matter only through the notes among them. So one look at the past and at the notes found
so far gives the coins of all keys up to the next note; only then is another look needed. A frame of n notes takes
n + 1 looks, and each look is a small network. Nothing is approximated: `log_prob` is exact, and `sample` draws
from exactly these probabilities.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..config import NUM_PITCHES

CANDIDATES = 32  # frames that `choose` chooses from


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
        """What all looks at a frame share, `(..., W)`, from `features` `(..., D)` and `past` `(..., P)`."""
        return self.from_features(features) + self.from_past(past)

    def look(self, context, notes):
        """Logits of every key above the highest note found so far.

        Args:
            context: `(..., W)`.
            notes: the notes found so far, `(..., P)`, 1 or 0.

        Returns:
            `(..., P)`; those at or below the highest of `notes` mean nothing.
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
        return self._conditionals(frames.flatten(0, 1), context).view(frames.shape)

    def _conditionals(self, frames, context):
        """`conditionals` of frames `(F, P)` whose context `(F, W)` is known."""
        y = (frames > 0).long()  # (F, P)
        below = y.cumsum(1) - y  # (F, P): how many notes of the frame lie below each key
        looks = y.sum(1) + 1  # (F,)
        first = looks.cumsum(0) - looks  # (F,): where the looks of each frame begin
        frame = torch.repeat_interleave(looks)  # (L,): the frame of each look
        rank = torch.arange(len(frame), device=frame.device) - first[frame]  # (L,): notes found before it
        notes = y[frame] * (below[frame] < rank.unsqueeze(1))  # (L, P): those notes
        logits = self.look(context[frame], notes.to(context.dtype))  # (L, P)
        return logits.gather(0, first.unsqueeze(1) + below)

    def log_prob(self, frames, features, past):
        """The exact log probability of frames.

        Args:
            frames, features, past: as for `conditionals`.

        Returns:
            `(B, T)` in nats, 0 or less.

        Raises:
            ValueError: as `conditionals`.
        """
        logits = self.conditionals(frames, features, past).float()
        y = (frames > 0).float()
        return -F.binary_cross_entropy_with_logits(logits, y, reduction="none").sum(-1)

    @torch.no_grad()
    def sample(self, features, past, temperature=1.0, generator=None):
        """Draw the next frame: toss the coins of all keys, keep the lowest note, look again.

        The coins above that note are thrown away and tossed anew, now knowing it; so each key is drawn with the
        probability that `conditionals` gives it.

        Args:
            features: `(B, D)`.
            past: the last frame, `(B, P)`, 1 or 0.
            temperature: above 0; logits are divided by it.
            generator: CPU `torch.Generator`, default torch's own.

        Returns:
            `(B, P)` float32 on the CPU, 1 or 0.
        """
        return self._sample(self.context(features, past), temperature, generator)

    def _sample(self, context, temperature, generator):
        """`sample` from a context `(B, W)`."""
        keys = torch.arange(self.output.out_features)
        notes = torch.zeros(len(context), len(keys))  # (B, P)
        highest = torch.full((len(context), 1), -1)
        while True:
            logits = self.look(context, notes.to(context)).float() / temperature
            heads = torch.bernoulli(torch.sigmoid(logits).cpu(), generator=generator) * (keys > highest)  # (B, P)
            found, lowest = heads.max(1, keepdim=True)  # the first maximum: (B, 1) each
            if not found.any():
                return notes
            notes.scatter_reduce_(1, lowest, found, "amax")  # a finished piece of the batch adds 0
            highest = torch.where(found > 0, lowest, len(keys))

    @torch.no_grad()
    def choose(self, features, past, temperature=1.0, generator=None):
        """Draw the next frame so that the temperature says what is played, and not when.

        At 16 frames a second the likeliest frame is nearly always the one before: divide the logits of `sample` by
        0.8, and the music stands still. Here a frame drawn at temperature 1 says how many keys go down and how many
        come up. Of further frames drawn, one with the same numbers takes its place, chosen with weights
        p ** (1 / temperature - 1). So a low temperature takes the likeliest chord of that size. (With 32
        candidates this is an approximation; at temperature 1 nothing is approximated.)

        Args:
            features, past, temperature, generator: as for `sample`.

        Returns:
            `(B, P)` float32 on the CPU, 1 or 0.
        """
        context = self.context(features, past)  # (B, W)
        first, past = self._sample(context, 1.0, generator), past.cpu()  # (B, P) each
        rows = (first != past).any(1).nonzero()[:, 0]  # (R,): where something changes
        if temperature == 1 or len(rows) == 0:
            return first
        context = context[rows.to(context.device)].repeat(CANDIDATES, 1)  # (N R, W): N candidates for each
        frames = self._sample(context, 1.0, generator)  # (N R, P)
        logits = self._conditionals(frames.to(context.device), context).float().cpu()
        log_p = -F.binary_cross_entropy_with_logits(logits, frames, reduction="none").sum(1).view(CANDIDATES, -1)
        frames = frames.view(CANDIDATES, len(rows), -1)
        sizes, wanted = (
            torch.stack([(some > past[rows]).sum(-1), (some < past[rows]).sum(-1)]) for some in (frames, first[rows])
        )  # (2, N, R) and (2, R): keys that go down, and that come up
        alike = (sizes == wanted.unsqueeze(1)).all(0)  # (N, R)
        weights = torch.where(alike, log_p * (1 / temperature - 1), -torch.inf)
        for i in alike.any(0).nonzero()[:, 0].tolist():  # where none is alike, the first stays
            first[rows[i]] = frames[torch.multinomial(weights[:, i].softmax(0), 1, generator=generator), i]
        return first
