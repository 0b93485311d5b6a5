"""The networks that meet in the arena: ours, and peers built from torch's own layers. All are `FrameModel`s.

Each has about 1.8 million parameters with its heads, but the full-size MusicLSTM (6.3 million) and the network
without memory, which has none to spend them on.
"""

import torch
import torch.nn.functional as F
from torch import nn

from midigen_utils.models.frame_model import FrameModel
from midigen_utils.models.last_frame import LastFrame
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba


class CausalTransformer(FrameModel):
    """A Transformer whose frame t attends to itself and to the frames before it, at most `context` of them.

    It is trained on windows no longer than `context`. A longer piece is read in chunks of half of that, each after
    the half before it; the state that is handed on is that half.
    """

    def __init__(self, width=192, layers=4, attention_heads=8, context=128, dropout=0.1, **heads):
        super().__init__(
            width,
            width=width,
            layers=layers,
            attention_heads=attention_heads,
            context=context,
            dropout=dropout,
            **heads,
        )
        self.embed = nn.Linear(self.config["num_pitches"], width)
        self.position = nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(
            width, attention_heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def features(self, x, hidden=None):
        """`x` `(B, T, P)` and the last half context of frames before it, to `(B, T, width)` and the same after it."""
        if hidden is None and x.shape[1] <= self.config["context"]:
            return self._attend(x), x[:, -(self.config["context"] // 2) :]
        half, features = self.config["context"] // 2, []
        past = x[:, :0] if hidden is None else hidden
        for chunk in x.split(half, dim=1):
            seen = torch.cat([past, chunk], dim=1)
            features.append(self._attend(seen)[:, past.shape[1] :])
            past = seen[:, -half:]
        return torch.cat(features, dim=1), past

    def _attend(self, x):
        length = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=x.device)
        return self.encoder(self.embed(x) + self.position.weight[:length], mask=mask, is_causal=True)


class MinGRU(FrameModel):
    """A GRU whose gates see the input alone, so that a scan in parallel computes it.

    Source: Feng et al. 2024, arXiv 2410.01201, section 3.1 and appendix B (the scan in logarithms).
    """

    def __init__(self, width=264, layers=8, **heads):
        super().__init__(width, width=width, layers=layers, **heads)
        self.embed = nn.Linear(self.config["num_pitches"], width)
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(layers))
        self.gates = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(layers))
        self.mixers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def features(self, x, hidden=None):
        """`x` `(B, T, P)` and a state `(B, width)` for each layer, to `(B, T, width)` and the new states."""
        x, states = self.embed(x), []
        for i, (norm, gates, mixer) in enumerate(zip(self.norms, self.gates, self.mixers)):
            z, new = gates(norm(x)).chunk(2, dim=-1)  # (B, T, width) each
            log_new = torch.where(new >= 0, torch.log(F.relu(new) + 0.5), -F.softplus(-new))  # log of g(new) > 0
            start = torch.zeros_like(log_new[:, :1]) - 0.693 if hidden is None else hidden[i].log()[:, None]
            keep = -F.softplus(z).cumsum(1)  # log of the product of all (1 - z) so far
            inflow = torch.cat([start, log_new - F.softplus(-z) - keep], dim=1)
            h = (keep + inflow.logcumsumexp(1)[:, 1:]).exp()  # (B, T, width)
            states.append(h[:, -1])
            x = x + mixer(h)
        return x, states


CONTENDERS = {
    "MusicLSTM": MusicLSTM,
    "MusicLSTM small": lambda **heads: MusicLSTM(hidden_size=352, **heads),
    "MusicMamba S6": MusicMamba,
    "MusicMamba SSD": lambda **heads: MusicMamba(ssm="ssd", **heads),
    "Transformer": CausalTransformer,
    "minGRU": MinGRU,
    "last frame": LastFrame,
}
