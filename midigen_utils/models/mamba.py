"""MusicMamba: a selective state space model that reads a piano roll frame by frame.

Letters, as in the papers (Mamba, arXiv 2312.00752; Mamba-2, arXiv 2405.21060):

| letter | in the code        | what it is                                                       | size here      |
|--------|--------------------|------------------------------------------------------------------|----------------|
| B      | batch              | pieces side by side                                              | 64             |
| T, L   | length             | frames                                                           | 64             |
| P      | num_pitches        | keys                                                             | 88             |
| d      | d_model            | width of the stream between blocks                               | 256            |
| D      | d_inner            | channels inside a block, expand * d_model                        | 512            |
| N      | d_state            | numbers each channel remembers                                   | 16; 64 (ssd)   |
| K      | d_conv             | frames the short convolution sees                                | 4              |
| R      | dt_rank            | numbers Δ is made from                                           | d / 16 = 16    |
| H      | heads              | groups of 64 channels that share one decay (ssd only)            | D / 64 = 8     |
| x      | x                  | input of the scan                                                | (B, T, D)      |
| z      | z                  | gate: how much of each channel is let out                        | (B, T, D)      |
| Δ      | dt                 | step size: 0 ignores this frame, large forgets the past for it   | (B, T, D)      |
| A      | A = -exp(A_log)    | how fast each state fades, below 0                               | (N, D)         |
| B      | B                  | how the input enters the states                                  | (B, T, N)      |
| C      | C                  | how the output is read from the states                           | (B, T, N)      |
| D      | D                  | how much of x goes past the states                               | (D,)           |
| h      | state              | the memory                                                       | (B, N, D)      |

With `ssm="ssd"` Δ is (B, T, H), A and D are (H,), h is (B, H, N, 64). (In `scan.py` P is the channels of a head.)
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .fast_scan import CausalConvolution, selective_scan, ssd_scan
from .frame_model import FrameModel
from .scan import scan_step, ssd_step

HEAD_WIDTH = 64  # channels per head of the SSD form
EPS = 1e-5  # of all norms; torch's default is 1.2e-7
TILE = 1024  # frames, of all pieces together, that a CPU works on at a time


class MusicMamba(FrameModel):
    """Predicts the next frame of a piano roll with a stack of Mamba blocks.

    Notebook: 04_mamba

    Args:
        num_pitches: keys in a frame, default 88.
        d_model: width of the stream between blocks, default 256.
        n_layers: blocks, default 4.
        d_state: numbers each channel remembers; default 16 for `"s6"`, 64 for `"ssd"`.
        d_conv: frames the short convolution sees, default 4.
        expand: channels inside a block per unit of `d_model`, default 2.
        ssm: `"s6"`, the scan of Mamba, or `"ssd"`, the faster one of Mamba-2 (expand * d_model must then be a
            multiple of 64).
        dropout: part of each block's output dropped in training, 0 to 1, default 0.
        head, velocity: as `FrameModel`, default `"keys"` and 0.

    Raises:
        ValueError: `ssm` is neither, or the width does not divide into heads.

    Source:
        Mamba (arXiv 2312.00752), section 3.4; Mamba-2 (arXiv 2405.21060), section 7.
    """

    def __init__(
        self,
        num_pitches=88,
        d_model=256,
        n_layers=4,
        d_state=None,
        d_conv=4,
        expand=2,
        ssm="s6",
        dropout=0.0,
        *,
        head="keys",
        velocity=0,
    ):
        if ssm not in ("s6", "ssd"):
            raise ValueError(f"ssm is {ssm!r}; use 's6' or 'ssd'")
        d_state = d_state or {"s6": 16, "ssd": 64}[ssm]
        sizes = dict(d_model=d_model, n_layers=n_layers, d_state=d_state, d_conv=d_conv, expand=expand)
        heads = dict(head=head, velocity=velocity)
        super().__init__(d_model, num_pitches=num_pitches, **sizes, ssm=ssm, dropout=dropout, **heads)
        block = {"s6": S6Block, "ssd": SSDBlock}[ssm]
        self.embed = nn.Linear(num_pitches, d_model)
        self.embed.weight._no_weight_decay = True
        self.layers = nn.ModuleList(block(d_model, d_state, d_conv, expand) for _ in range(n_layers))
        self.norm = nn.RMSNorm(d_model, eps=EPS)

    def features(self, x, hidden=None):
        """As `FrameModel.features`; `hidden` is for each block `(conv_state, ssm_state)`.

        These are `(B, d_conv - 1, D)` and `(B, N, D)`; with `ssm="ssd"` `(B, d_conv - 1, D + 2 N)` and `(B, H, N, 64)`.
        """
        rows = max(1, TILE // x.shape[1])
        if x.device.type != "cpu" or (x.shape[0] <= rows and x.shape[1] <= TILE):
            return self._tile(x, hidden)
        # On a CPU one tile after another, because the numbers of a tile stay in the cache; a whole batch's would not.
        features, states = [], []
        for start in range(0, x.shape[0], rows):
            group = slice(start, start + rows)
            state = None if hidden is None else [[part[group] for part in layer] for layer in hidden]
            pieces = []
            for piece in x[group].split(TILE, dim=1):
                piece, state = self._tile(piece, state)
                pieces.append(piece)
            features.append(torch.cat(pieces, dim=1))
            states.append(state)
        hidden = tuple(tuple(torch.cat(parts) for parts in zip(*layer)) for layer in zip(*states))
        return torch.cat(features), hidden

    def _tile(self, x, hidden):
        """`features` of a few rows and frames; a single frame goes through the blocks without its time axis."""
        one_frame = x.shape[1] == 1 and hidden is not None
        stream = self.embed(x[:, 0] if one_frame else x).to(self.embed.weight.dtype)  # (B, T, d) or (B, d)
        states = []
        for layer, state in zip(self.layers, hidden or [(None, None)] * len(self.layers), strict=True):
            change, state = layer(stream, state)
            stream = stream + F.dropout(change, self.config["dropout"]) if self.training else stream + change
            states.append(state)
        features = self.norm(stream)
        return features.unsqueeze(1) if one_frame else features, tuple(states)


class S6Block(nn.Module):
    """One block of Mamba: norm, short convolution, selective scan, gate. The residual is added outside.

    Notebook: 04_mamba

    Args: as `MusicMamba`.

    Source:
        Mamba (arXiv 2312.00752), figure 3 and section 3.6 (initialisation). Unlike the authors' code, `out_proj` does
        not start smaller the more blocks there are.
    """

    def __init__(self, d_model, d_state, d_conv, expand):
        super().__init__()
        d_inner, dt_rank = expand * d_model, math.ceil(d_model / 16)
        self.sizes = (dt_rank, d_state, d_state)
        self.norm = nn.RMSNorm(d_model, eps=EPS)
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.conv = CausalConv(d_inner, d_conv)
        self.x_proj = nn.Linear(d_inner, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(dt_rank, d_inner)
        nn.init.uniform_(self.dt_proj.weight, -(dt_rank**-0.5), dt_rank**-0.5)
        self.dt_proj.bias = nn.Parameter(_initial_dt_bias(d_inner))
        # State n fades n times as fast as state 1: each channel remembers on several time scales.
        rates = torch.arange(1.0, d_state + 1).unsqueeze(1).expand(-1, d_inner)  # (N, D)
        self.A_log = nn.Parameter(rates.log())
        self.A_log._no_weight_decay = True
        self.D = nn.Parameter(torch.ones(d_inner))
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def forward(self, stream, state):
        """From a sequence `(B, T, d)` or one frame `(B, d)`, and a state, to the same shape and the next state.

        For one frame the shapes below have no T, and the convolution and the scan take their one-frame forms.
        The state `(None, None)` starts a sequence afresh.
        """
        conv_state, h = state
        conv, scan = (self.conv.step, scan_step) if stream.ndim == 2 else (self.conv, selective_scan)
        x, z = self.in_proj(self.norm(stream)).chunk(2, dim=-1)  # (B, T, D) each
        x, conv_state = conv(x, conv_state)
        x = F.silu(x)  # (B, T, D)
        dt, B, C = self.x_proj(x).split(self.sizes, dim=-1)  # (B, T, R), (B, T, N), (B, T, N)
        dt = F.softplus(self.dt_proj(dt))  # (B, T, D)
        y, h = scan(x, dt, -torch.exp(self.A_log), B, C, h)  # (B, T, D), (B, N, D)
        y = torch.addcmul(y, self.D, x) * F.silu(z)  # (B, T, D)
        return self.out_proj(y), (conv_state, h)


class SSDBlock(nn.Module):
    """One block of Mamba-2: B, C and Δ come straight from the input, and a head of 64 channels shares its decay.

    Notebook: A1_parallel_scan

    Args: as `MusicMamba`.

    Raises:
        ValueError: D is not a multiple of 64.

    Source:
        Mamba-2 (arXiv 2405.21060), section 7 and figure 6.
    """

    def __init__(self, d_model, d_state, d_conv, expand):
        super().__init__()
        d_inner = expand * d_model
        if d_inner % HEAD_WIDTH:
            raise ValueError(f"expand * d_model is {d_inner}; 'ssd' needs a multiple of {HEAD_WIDTH}")
        heads = d_inner // HEAD_WIDTH
        self.sizes = (d_inner, d_inner + 2 * d_state, heads)
        self.scan_sizes = (d_inner, d_state, d_state)
        self.norm = nn.RMSNorm(d_model, eps=EPS)
        self.in_proj = nn.Linear(d_model, sum(self.sizes), bias=False)
        self.conv = CausalConv(d_inner + 2 * d_state, d_conv)
        self.dt_bias = nn.Parameter(_initial_dt_bias(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.gated_norm = nn.RMSNorm(d_inner, eps=EPS)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def forward(self, stream, state):
        """As `S6Block.forward`."""
        conv_state, h = state
        conv, scan = (self.conv.step, ssd_step) if stream.ndim == 2 else (self.conv, ssd_scan)
        z, xBC, dt = self.in_proj(self.norm(stream)).split(self.sizes, dim=-1)  # (B, T, D), (B, T, D+2N), (B, T, H)
        xBC, conv_state = conv(xBC, conv_state)
        x, B, C = F.silu(xBC).split(self.scan_sizes, dim=-1)  # (B, T, D), (B, T, N), (B, T, N)
        x = x.unflatten(-1, (-1, HEAD_WIDTH))  # (B, T, H, 64)
        dt = F.softplus(dt + self.dt_bias)  # (B, T, H)
        y, h = scan(x, dt, -torch.exp(self.A_log), B, C, h)  # (B, T, H, 64), (B, H, N, 64)
        y = torch.addcmul(y, self.D.unsqueeze(1), x).flatten(-2)  # (B, T, D)
        return self.out_proj(self.gated_norm(y * F.silu(z))), (conv_state, h)


class CausalConv(nn.Module):
    """A convolution over the last `d_conv` (K) frames of each of D `channels` by itself, never over a later one.

    Notebook: 04_mamba
    """

    def __init__(self, channels, d_conv):
        super().__init__()
        bound = d_conv**-0.5
        self.weight = nn.Parameter(torch.empty(d_conv, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(self, x, state):
        """From `(B, T, D)` and the K - 1 frames before it (`None`: zeros) to `(B, T, D)` and the last K - 1 frames."""
        pad = (0, 0, len(self.weight) - 1, 0)
        seen = F.pad(x, pad) if state is None else torch.cat([state, x], dim=1)  # (B, K - 1 + T, D)
        return CausalConvolution.apply(seen, self.weight, self.bias), seen[:, x.shape[1] :].clone()

    def step(self, x, state):
        """From one frame `(B, D)` and the K - 1 before it to `(B, D)` and the last K - 1 frames."""
        seen = torch.cat([state, x.unsqueeze(1)], dim=1)  # (B, K, D)
        return (seen * self.weight).sum(1) + self.bias, seen[:, 1:]


def _initial_dt_bias(count):
    """`(count,)` biases that make Δ = softplus(bias) spread evenly over the decades from 0.001 to 0.1.

    As the authors' code does it; section 3.6 of the paper has a plain uniform draw.
    """
    dt = torch.exp(torch.empty(count).uniform_(math.log(0.001), math.log(0.1)))
    return dt + torch.log(-torch.expm1(-dt))  # the inverse of softplus
