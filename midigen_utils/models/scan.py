"""The selective scan, the recurrence inside Mamba, in its equal forms.

For each channel d and each of its N states n, with a step size Δ chosen by the input:

    h[t] = exp(Δ[t] A) h[t-1] + Δ[t] B[t] x[t]          the state forgets, then takes in
    y[t] = sum over n of C[t] h[t]                      what is read from it

| function         | what it is                                                                     |
|------------------|--------------------------------------------------------------------------------|
| `scan_textbook`  | the loop as the formula has it; its backward takes time L squared              |
| `scan_loop`      | the same loop, written so that backward takes time L                           |
| `selective_scan` | the loop in slabs that fit the cache; keeps one state of each, computes the    |
|                  | others again                                                                   |
| `scan_step`      | one frame                                                                      |
| `ssd_scan`       | Mamba-2: one decay per head turns the loop into matrix products                |
| `ssd_step`       | one frame of it                                                                |

All take a state and return one, so any of them continues where another stopped.
The state is `(B, N, D)`: channels last, because that is the axis a CPU computes several of at once.
"""

import math

import torch
import torch.nn.functional as F

LOG2_E = math.log2(math.e)  # exp(v) = exp2(v log2 e), and torch's exp2 is nearly twice as fast as its exp on a CPU


def scan_textbook(x, dt, A, B, C, h=None):
    """The selective scan as the paper writes it. Slow: for reading, and to check the others against.

    Every `decay[:, t]` in the loop costs the backward pass a zero tensor of the size of `decay`, so training
    takes time and memory traffic proportional to the square of the length.

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
    h = _start(x, A, h)
    decay = torch.exp(dt.unsqueeze(2) * A)  # (B, L, N, D)
    inflow = B.unsqueeze(3) * (dt * x).unsqueeze(2)  # (B, L, N, D)
    y = []
    for t in range(x.shape[1]):
        h = decay[:, t] * h + inflow[:, t]  # (B, N, D)
        y.append((C[:, t].unsqueeze(2) * h).sum(1))  # (B, D)
    return torch.stack(y, dim=1), h


def scan_loop(x, dt, A, B, C, h=None):
    """The selective scan as a plain loop over frames that trains in time proportional to the length.

    `unbind` cuts all frames at once, so that backward joins their gradients once; and nothing of size
    L * N * D is built before the loop.

    Notebook: A1_parallel_scan

    Args and Returns: as `scan_textbook`.
    """
    h = _start(x, A, h)
    y = []
    for x_t, dt_t, B_t, C_t in zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1)):
        y_t, h = scan_step(x_t, dt_t, A, B_t, C_t, h)
        y.append(y_t)
    return torch.stack(y, dim=1), h


def scan_step(x, dt, A, B, C, h):
    """One frame of the selective scan.

    Notebook: 04_mamba

    Args:
        x: input, `(B, D)`.
        dt: step size Δ, `(B, D)`.
        A: decay rates, `(N, D)`.
        B: `(B, N)`.
        C: `(B, N)`.
        h: state, `(B, N, D)`.

    Returns:
        y: `(B, D)`.
        h: the new state, `(B, N, D)`; the one passed in is left as it was.
    """
    decay = torch.exp2((dt * LOG2_E).unsqueeze(1) * A)  # (B, N, D): exp(Δ A)
    inflow = B.unsqueeze(2) * (dt * x).unsqueeze(1)  # (B, N, D)
    h = torch.addcmul(inflow, decay, h)  # (B, N, D)
    return torch.bmm(C.unsqueeze(1), h).squeeze(1), h


def selective_scan(x, dt, A, B, C, h=None):
    """The selective scan, fast and with little memory: what the model trains with.

    Two things make the loop slow: everything it computes goes through main memory, and backward needs every
    state it passed. Here the sequence is cut into slabs small enough for the cache; only the state at the
    start of each slab is kept, and backward computes the states inside a slab again. It computes in float32
    whatever autocast says.

    Notebook: A1_parallel_scan

    Args and Returns: as `scan_textbook`.

    Source:
        Mamba (arXiv 2312.00752), section 3.3.2: recomputation, and states that stay in fast memory.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, dt, A, B, C = (_full_precision(tensor) for tensor in (x, dt, A, B, C))
        return _SlabScan.apply(x, dt, A, B, C, _start(x, A, h))


class _SlabScan(torch.autograd.Function):
    """Forward keeps the inputs and one state per slab; backward walks the slabs from the last to the first."""

    @staticmethod
    def forward(ctx, x, dt, A, B, C, h):
        rows, steps = _slab_shape(x, A)
        y, last = torch.empty_like(x), torch.empty_like(h)
        starts = []  # the state before each slab
        decay, states = h.new_empty(2, rows, steps, *A.shape).unbind()
        inflow = dt * x  # (B, L, D)
        for b in _cuts(x.shape[0], rows):
            state = h[b]
            for t in _cuts(x.shape[1], steps):
                starts.append(state)
                a, s = _fill(decay, states, state, dt[b, t], A, B[b, t], inflow[b, t])
                y[b, t] = (C[b, t].unsqueeze(2) @ s).squeeze(2)
                state = s[:, -1].clone()
            last[b] = state
        ctx.save_for_backward(x, dt, A, B, C, *starts)
        return y, last

    @staticmethod
    def backward(ctx, y_grad, last_grad):
        x, dt, A, B, C, *starts = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            return _SlabScan.gradients(x, dt, A, B, C, starts, y_grad.to(x.dtype), last_grad)

    @staticmethod
    def gradients(x, dt, A, B, C, starts, y_grad, last_grad):
        rows, steps = _slab_shape(x, A)
        inflow = dt * x  # (B, L, D)
        inflow_grad, dt_grad, B_grad, C_grad = (torch.empty_like(tensor) for tensor in (x, dt, B, C))
        A_grad, h_grad = torch.zeros_like(A), torch.empty_like(last_grad)
        decay, states, grads = last_grad.new_empty(3, rows, steps, *A.shape).unbind()
        for b in reversed(_cuts(x.shape[0], rows)):
            carry = last_grad[b]  # what the frames after this slab ask of its last state
            for t in reversed(_cuts(x.shape[1], steps)):
                start = starts.pop()
                a, s = _fill(decay, states, start, dt[b, t], A, B[b, t], inflow[b, t])
                g = grads[: a.shape[0], : a.shape[1]]
                torch.mul(C[b, t].unsqueeze(3), y_grad[b, t].unsqueeze(2), out=g)
                for decay_t, grad_t in zip(reversed(a.unbind(1)), reversed(g.unbind(1))):
                    grad_t += carry
                    carry = decay_t.mul_(grad_t)  # (rows, N, D)
                C_grad[b, t] = (y_grad[b, t].unsqueeze(2) @ s.transpose(2, 3)).squeeze(2)
                B_grad[b, t] = (inflow[b, t].unsqueeze(2) @ g.transpose(2, 3)).squeeze(2)
                inflow_grad[b, t] = (B[b, t].unsqueeze(2) @ g).squeeze(2)
                carry = a[:, 0].clone()
                a[:, 0] *= start
                a[:, 1:] *= s[:, :-1]  # now the gradient of the exponent, Δ A
                A_grad += torch.mul(a, dt[b, t].unsqueeze(2), out=s).sum((0, 1))
                dt_grad[b, t] = a.mul_(A).sum(2)
            h_grad[b] = carry
        dt_grad.addcmul_(inflow_grad, x)
        return inflow_grad.mul_(dt), dt_grad, A_grad, B_grad, C_grad, h_grad


def leave_out_of_compiling():
    """`torch.compile` would write out the loop over the frames, which takes it many minutes: it is to pass by here."""
    _SlabScan.apply = torch.compiler.disable(_SlabScan.apply)


def _fill(decay, states, h, dt, A, B, inflow):
    """The decays and the states of one slab, `(rows, steps, N, D)` each, written into the two buffers."""
    rows, steps, _ = dt.shape
    decay, states = decay[:rows, :steps], states[:rows, :steps]
    torch.mul((dt * LOG2_E).unsqueeze(2), A, out=decay).exp2_()
    torch.mul(B.unsqueeze(3), inflow.unsqueeze(2), out=states)
    for decay_t, state_t in zip(decay.unbind(1), states.unbind(1)):
        h = state_t.addcmul_(decay_t, h)
    return decay, states


def _slab_shape(x, A):
    """Rows of the batch and frames per slab: 2 MB a buffer on a CPU, 512 MB elsewhere (few, large launches)."""
    elements = 2**19 if x.device.type == "cpu" else 2**27
    frames = max(1, elements // A.numel())
    steps = min(x.shape[1], max(8, frames // x.shape[0]))
    return min(x.shape[0], max(1, frames // steps)), steps


def _cuts(length, size):
    """Slices of `size` that cover `length`; the last may be shorter."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def _start(x, A, h):
    """The state to start from, `(B, N, D)`: `h`, or zeros."""
    return x.new_zeros(x.shape[0], *A.shape, dtype=A.dtype) if h is None else h


def _full_precision(tensor):
    """float16 and bfloat16 made float32: a recurrence adds up its rounding errors."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def ssd_scan(x, dt, A, B, C, h=None, chunk=64):
    """The scan of Mamba-2: one decay per head of P channels, so that a chunk of frames is a few matrix products.

    Inside a chunk, frame j reaches frame i >= j with weight (C_i . B_j) Δ_j times the decay between them: an
    attention matrix without softmax. From chunk to chunk one state is handed on. It computes in float32
    whatever autocast says.

    Notebook: A1_parallel_scan

    Args:
        x: input, `(B, L, H, P)`: H heads of P channels.
        dt: step size Δ, `(B, L, H)`, above 0.
        A: decay rate of each head, `(H,)`, below 0.
        B: how the input enters the state, `(B, L, N)`, shared by the heads.
        C: how the output is read from the state, `(B, L, N)`.
        h: state before the first frame, `(B, H, N, P)`; default zeros.
        chunk: frames per chunk, default 64.

    Returns:
        y: `(B, L, H, P)`.
        h: state after the last frame, `(B, H, N, P)`.

    Source:
        Mamba-2 (arXiv 2405.21060), section 6, listing 1.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, dt, A, B, C = (_full_precision(tensor) for tensor in (x, dt, A, B, C))
        batch, length, heads, width = x.shape
        size = min(chunk, length)
        count = -(-length // size)
        pad = count * size - length  # frames with Δ = 0 neither fade the state nor add to it
        if pad:
            x, dt = F.pad(x, (0, 0, 0, 0, 0, pad)), F.pad(dt, (0, 0, 0, pad))
            B, C = F.pad(B, (0, 0, 0, pad)), F.pad(C, (0, 0, 0, pad))

        dt = dt.view(batch, count, size, heads).transpose(2, 3)  # (B, K, H, Q): K chunks of Q frames
        x = x.reshape(batch, count, size, heads, width).transpose(2, 3).contiguous()  # (B, K, H, Q, P)
        x = x * dt.unsqueeze(4)
        B = B.view(batch, count, 1, size, -1)  # (B, K, 1, Q, N)
        C = C.view(batch, count, 1, size, -1)  # (B, K, 1, Q, N)
        exponent = dt * A.unsqueeze(1)  # (B, K, H, Q)
        between, since_start = _Decays.apply(exponent)  # (B, K, H, Q, Q), (B, K, H, Q)
        y = ((C @ B.transpose(3, 4)) * between) @ x  # (B, K, H, Q, P)

        until_end = between[..., -1, :].unsqueeze(4)  # (B, K, H, Q, 1)
        added = B.transpose(3, 4) @ (x * until_end)  # (B, K, H, N, P): what each chunk leaves in the state
        if h is None and count == 1:
            h = added[:, 0]  # nothing came before
        else:
            since_start = since_start.unsqueeze(4)  # (B, K, H, Q, 1)
            h = torch.zeros_like(added[:, 0]) if h is None else h
            starts = []
            for kept, new in zip(since_start[..., -1:, :].unbind(1), added.unbind(1)):
                starts.append(h)
                h = kept * h + new  # (B, H, N, P)
            y = y + (C @ torch.stack(starts, dim=1)) * since_start
        return y.transpose(2, 3).reshape(batch, count * size, heads, width)[:, :length], h


class _Decays(torch.autograd.Function):
    """Exponents `(..., Q)` to the decays from frame j to frame i, `(..., Q, Q)` at [i, j], 0 where j is later than i,
    and to those from the start of the chunk, `(..., Q)`.

    The exponents at j < t <= i add up to their running sum at i less that at j. A difference of large sums would lose
    digits, so whole 64ths and the rest are summed apart: the sums of the 64ths are exact.
    """

    @staticmethod
    def forward(ctx, exponent):
        size = exponent.shape[-1]
        exponent = exponent * LOG2_E
        coarse = exponent.mul(64).round().div(64)
        coarse, fine = coarse.cumsum(-1).view(-1, size), (exponent - coarse).cumsum(-1).view(-1, size)
        never = fine.new_full((size, size), -torch.inf).triu(1)
        differences = _differences if exponent.device.type == "cpu" else _plain_differences
        between = differences(coarse, fine, never).exp2().view(*exponent.shape, size)
        since_start = (coarse + fine).exp2().view(exponent.shape)
        ctx.save_for_backward(between, since_start)
        return between, since_start

    @staticmethod
    def backward(ctx, between_grad, since_grad):
        between, since_start = ctx.saved_tensors
        pairs = between_grad.mul(between).tril_(-1)  # a frame's decay to itself is 1, whatever the exponents are
        ask = pairs.sum(-1) - pairs.sum(-2) + since_grad * since_start
        return ask.flip(-1).cumsum(-1).flip(-1)  # an exponent has its part in the sums at all later frames


def _differences(coarse, fine, never):
    """Running sums `(..., Q)` in two parts to their differences `(..., Q, Q)`, plus `never`; as one matrix product."""
    one = torch.ones_like(fine)
    at_i = torch.stack([coarse, one, fine, one], dim=2)  # (..., Q, 4)
    at_j = torch.stack([one, -coarse, one, -fine], dim=1)  # (..., 4, Q)
    return torch.baddbmm(never, at_i, at_j)


def _plain_differences(coarse, fine, never):
    """The same without a product: a GPU may cut what goes into one to the 10 bits of TF32."""
    return (coarse.unsqueeze(2) - coarse.unsqueeze(1)) + (fine.unsqueeze(2) - fine.unsqueeze(1)) + never


def ssd_step(x, dt, A, B, C, h):
    """One frame of `ssd_scan`.

    Notebook: A1_parallel_scan

    Args:
        x: input, `(B, H, P)`.
        dt: step size Δ, `(B, H)`.
        A: decay rate of each head, `(H,)`.
        B: `(B, N)`.
        C: `(B, N)`.
        h: state, `(B, H, N, P)`.

    Returns:
        y: `(B, H, P)`.
        h: the new state, `(B, H, N, P)`; the one passed in is left as it was.
    """
    decay = torch.exp(dt * A)[..., None, None]  # (B, H, 1, 1)
    inflow = B[:, None, :, None] * (dt.unsqueeze(2) * x).unsqueeze(2)  # (B, H, N, P)
    h = torch.addcmul(inflow, decay, h)  # (B, H, N, P)
    return (C[:, None, None] @ h).squeeze(2), h
