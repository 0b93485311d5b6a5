"""The velocity head: how hard each key is struck."""

import torch
import torch.nn.functional as F
from torch import nn

from ..config import NUM_PITCHES


class VelocityHead(nn.Module):
    """The velocity bin of every key that goes down, given which keys do.

    The model itself reads only which keys are down, so this head is also told how loud they were struck, and how
    loud the last notes were.

    Args:
        feature_size, num_pitches: length D of the model's feature vectors, and keys P in a frame, default 88.
        bins: loudness steps V; 0 is silence and 1..V are velocities.
        width: W, numbers in the head's one layer, default 128.
    """

    def __init__(self, feature_size, bins, num_pitches=NUM_PITCHES, width=128):
        super().__init__()
        self.bins = bins
        self.from_features = nn.Linear(feature_size, width)
        self.from_past = nn.Linear(num_pitches, width, bias=False)
        self.from_struck = nn.Linear(num_pitches, width, bias=False)
        self.from_level = nn.Embedding(bins + 1, width)
        self.from_key = nn.Embedding(num_pitches, width)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, bins)
        for table in (self.from_level, self.from_key):
            table.weight._no_weight_decay = True

    def forward(self, features, past, level, struck):
        """Logits of the velocities of the keys struck.

        Args:
            features: the model's features after the frame before, `(..., D)`.
            past: velocity bins of that frame, `(..., P)` int, 0 where a key is up.
            level: `loudness` of the last notes, `(...)` int64.
            struck: keys that go down now, `(..., P)` bool.

        Returns:
            `(n, V)` for the n keys struck, in the order of `struck.nonzero()`; entry i is about bin i + 1.
        """
        frame = self.from_features(features) + self.from_past(past / self.bins)
        frame = frame + self.from_struck(struck.to(frame.dtype)) + self.from_level(level)  # (..., W)
        *where, key = struck.nonzero(as_tuple=True)
        return self.output(F.silu(self.norm(frame[tuple(where)] + self.from_key(key))))

    def loss(self, features, past, frames, before=None):
        """Cross-entropy of the velocities of all onsets in some windows.

        Args:
            features: `(B, T, D)`.
            past: velocity bins of the frames that gave them, `(B, T, P)`.
            frames: velocity bins of the frames after those, `(B, T, P)`.
            before: what was heard before the first of them, see `loudness`.

        Returns:
            nats of the velocities, summed over the onsets and divided by the number of frames; a scalar tensor.
        """
        struck = (past == 0) & (frames > 0)
        logits = self(features, past, loudness(past, before), struck)
        target = frames[struck].long() - 1
        return F.cross_entropy(logits.float(), target, reduction="sum") / frames[..., 0].numel()


def loudness(bins, before=None):
    """The mean velocity bin of the last notes struck, at every frame.

    Args:
        bins: velocity bins, `(B, T, P)`.
        before: `(B, 1 + P)` int64, the loudness before the first frame and the frame before it; default: nothing was
            heard yet, so all keys down in the first frame count as struck.

    Returns:
        `(B, T)` int64, rounded; 0 before the first note.
    """
    bins = bins.long()
    if before is None:
        before = bins.new_zeros(len(bins), 1 + bins.shape[2])
    earlier = torch.cat([before[:, None, 1:], bins[:, :-1]], dim=1)
    struck = (bins > 0) & (earlier == 0)  # (B, T, P)
    count = struck.sum(2)
    mean = torch.where(count > 0, (2 * (bins * struck).sum(2) + count) // (2 * count.clamp(min=1)), 0)  # (B, T)
    mean, count = torch.cat([before[:, :1], mean], dim=1), F.pad(count, (1, 0), value=1)
    last = torch.where(count > 0, torch.arange(count.shape[1], device=count.device), 0).cummax(1).values
    return mean.gather(1, last)[:, 1:]
