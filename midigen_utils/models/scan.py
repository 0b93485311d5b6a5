"""The selective scan, the recurrence inside Mamba, in the forms that are easy to read.

For each channel d and each of its N states n, with a step size Δ chosen by the input:

    h[t] = exp(Δ[t] A) h[t-1] + Δ[t] B[t] x[t]          the state forgets, then takes in
    y[t] = sum over n of C[t] h[t]                      what is read from it

| function         | where       | what it is                                                           |
|------------------|-------------|----------------------------------------------------------------------|
| `scan_textbook`  | here        | the formula as a loop; training takes time proportional to L squared |
| `scan_loop`      | here        | the same loop; training takes time proportional to L                 |
| `scan_step`      | here        | one frame                                                            |
| `ssd_step`       | here        | one frame of Mamba-2, where a head of channels shares one decay      |
| `selective_scan` | `fast_scan` | what `MusicMamba` trains with: the loop, in slabs that fit the cache |
| `ssd_scan`       | `fast_scan` | the same for `ssm="ssd"`: the loop, as products of matrices          |

All take a state and return one, so each can continue where another stopped.
The state is `(B, N, D)`. Channels come last because a CPU computes several neighbours along the last axis at once.
"""

import torch


def scan_textbook(x, dt, A, B, C, h=None):
    """The selective scan as the paper writes it: slow, but easy to read, and what the others are tested against.

    For every `decay[:, t]` the backward pass makes a zero tensor as large as `decay`, so training takes time
    proportional to the square of the length.

    Notebook: 04_mamba

    Args:
        x: input, `(B, L, D)`.
        dt: step size Δ, `(B, L, D)`, above 0.
        A: decay rates, `(N, D)`, below 0, in 1 / (unit of Δ).
        B: how the input enters the state, `(B, L, N)`.
        C: how the output is read from the state, `(B, L, N)`.
        h: state before the first frame, `(B, N, D)`; default zeros.

    Returns:
        y: `(B, L, D)`.
        h: state after the last frame, `(B, N, D)`.

    Source:
        Mamba (arXiv 2312.00752), equation 2 and algorithm 2, discretised as the authors' code does it: equation 4
        for A, and Δ B in place of zero-order hold for B.
    """
    h = initial_state(x, A, h)
    decay = torch.exp(dt.unsqueeze(2) * A)  # (B, L, N, D)
    inflow = B.unsqueeze(3) * (dt * x).unsqueeze(2)  # (B, L, N, D)
    y = []
    for t in range(x.shape[1]):
        h = decay[:, t] * h + inflow[:, t]  # (B, N, D)
        y.append((C[:, t].unsqueeze(2) * h).sum(1))  # (B, D)
    return torch.stack(y, dim=1), h


def scan_loop(x, dt, A, B, C, h=None):
    """The selective scan as a plain loop over frames, which trains in time proportional to the length.

    `unbind` takes all frames apart at once, so the backward pass puts their gradients together once. And nothing
    of size L * N * D is made before the loop.

    Notebook: A1_parallel_scan

    Args and Returns: as `scan_textbook`.
    """
    h = initial_state(x, A, h)
    y = []
    for x_t, dt_t, B_t, C_t in zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1)):
        y_t, h = scan_step(x_t, dt_t, A, B_t, C_t, h)
        y.append(y_t)
    return torch.stack(y, dim=1), h


def scan_step(x, dt, A, B, C, h):
    """One frame of the selective scan.

    Notebook: 04_mamba

    Args and Returns: as `scan_textbook`, without the axis L; the state passed in is left as it was.
    """
    decay = torch.exp(dt.unsqueeze(1) * A)  # (B, N, D)
    h = decay * h + B.unsqueeze(2) * (dt * x).unsqueeze(1)  # (B, N, D)
    return (C.unsqueeze(1) @ h).squeeze(1), h


def ssd_step(x, dt, A, B, C, h):
    """One frame of the scan of Mamba-2.

    Notebook: A1_parallel_scan

    Args and Returns: as `ssd_scan`, without the axis L; the state passed in is left as it was.
    """
    decay = torch.exp(dt * A)[..., None, None]  # (B, H, 1, 1)
    h = decay * h + B[:, None, :, None] * (dt.unsqueeze(2) * x).unsqueeze(2)  # (B, H, N, P)
    return (C[:, None, None] @ h).squeeze(2), h


def initial_state(x, A, h):
    """The state before the first frame, `(B, N, D)`: `h`, or zeros if it is `None`."""
    return x.new_zeros(x.shape[0], *A.shape, dtype=A.dtype) if h is None else h
