"""The scans that `MusicMamba` trains with: the same functions as in `scan.py`, arranged for speed and little memory."""

import math

import torch
import torch.nn.functional as F

from .scan import initial_state

LOG2_E = math.log2(math.e)  # exp(v) = exp2(v log2 e), and torch's exp2 is nearly twice as fast as its exp on a CPU


def selective_scan(x, dt, A, B, C, h=None):
    """The selective scan, fast and with little memory: what `MusicMamba` trains with.

    Two things make the plain loop slow: all that it computes passes through main memory, and the backward pass
    needs every state on the way. Here the sequence is cut into slabs that fit into the processor's cache. Only
    the state before each slab is kept, and the backward pass computes the others again. It computes in float32,
    under autocast too.

    Notebook: A1_parallel_scan

    Args and Returns: as `scan_textbook`.

    Source:
        Mamba (arXiv 2312.00752), section 3.3.2: recomputation, and states that stay in fast memory.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, dt, A, B, C = (_full_precision(tensor) for tensor in (x, dt, A, B, C))
        return _SlabScan.apply(x, dt, A, B, C, initial_state(x, A, h))


class _SlabScan(torch.autograd.Function):
    """Keeps the inputs and one state per slab; its backward pass takes the slabs from the last to the first."""

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
            carry = last_grad[b]  # gradient of the last state of this slab
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
                a[:, 0] *= start  # a is now decay times gradient; times the state before, the gradient of Δ A
                a[:, 1:] *= s[:, :-1]
                A_grad += torch.mul(a, dt[b, t].unsqueeze(2), out=s).sum((0, 1))
                dt_grad[b, t] = a.mul_(A).sum(2)
            h_grad[b] = carry
        dt_grad.addcmul_(inflow_grad, x)
        return inflow_grad.mul_(dt), dt_grad, A_grad, B_grad, C_grad, h_grad


def _fill(decay, states, h, dt, A, B, inflow):
    """The decays and the states of one slab, `(rows, steps, N, D)` each, written into two buffers."""
    rows, steps, _ = dt.shape
    decay, states = decay[:rows, :steps], states[:rows, :steps]
    torch.mul((dt * LOG2_E).unsqueeze(2), A, out=decay).exp2_()
    torch.mul(B.unsqueeze(3), inflow.unsqueeze(2), out=states)
    for decay_t, state_t in zip(decay.unbind(1), states.unbind(1)):
        h = state_t.addcmul_(decay_t, h)
    return decay, states


def _slab_shape(x, A):
    """Rows of the batch and frames in a slab: buffers of 2 MB on a CPU, of 512 MB on a GPU, where launches cost."""
    elements = 2**19 if x.device.type == "cpu" else 2**27
    frames = max(1, elements // A.numel())
    steps = min(x.shape[1], max(8, frames // x.shape[0]))
    return min(x.shape[0], max(1, frames // steps)), steps


def _cuts(length, size):
    """Slices of `size` that cover `length`; the last may be shorter."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def ssd_scan(x, dt, A, B, C, h=None, chunk=64):
    """The scan of Mamba-2: a head of P channels shares one decay, so a chunk of frames is a few matrix products.

    Inside a chunk, frame j reaches frame i >= j with the weight (C_i . B_j) Δ_j times the decay between them: an
    attention matrix without softmax. From chunk to chunk one state is passed on. It computes in float32, under
    autocast too.

    Notebook: A1_parallel_scan

    Args:
        x: input, `(B, L, H, P)`: H heads of P channels.
        dt, A: step size Δ, `(B, L, H)`, above 0, and decay rate of each head, `(H,)`, below 0.
        B, C: how the input enters the state and how the output is read from it, `(B, L, N)`, shared by the heads.
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
    """From exponents `(..., Q)` to the decays between frames, `(..., Q, Q)`, and those since the start, `(..., Q)`.

    Entry [i, j] is the decay from frame j to frame i, 0 where j is later: exp of the sum of the exponents at
    j < t <= i, which is the running sum at i minus that at j. A difference of large sums would lose digits.
    So each exponent is split into whole 64ths, whose sums are exact, and a small rest, summed separately.
    """

    @staticmethod
    def forward(ctx, exponent):
        size = exponent.shape[-1]
        exponent = exponent * LOG2_E
        coarse = exponent.mul(64).round().div(64)
        coarse, fine = coarse.cumsum(-1).view(-1, size), (exponent - coarse).cumsum(-1).view(-1, size)
        never = fine.new_full((size, size), -torch.inf).triu(1)
        # Not as one product of matrices, whose inputs a GPU may round to the 10 bits of TF32.
        between = (coarse.unsqueeze(2) - coarse.unsqueeze(1)) + (fine.unsqueeze(2) - fine.unsqueeze(1)) + never
        between = between.exp2_().view(*exponent.shape, size)
        since_start = (coarse + fine).exp2().view(exponent.shape)
        ctx.save_for_backward(between, since_start)
        return between, since_start

    @staticmethod
    def backward(ctx, between_grad, since_grad):
        between, since_start = ctx.saved_tensors
        pairs = between_grad.mul(between).tril_(-1)  # [i, i] is always 1
        sums_grad = pairs.sum(-1) - pairs.sum(-2) + since_grad * since_start
        return sums_grad.flip(-1).cumsum(-1).flip(-1)  # each exponent is in the running sums of all later frames


class CausalConvolution(torch.autograd.Function):
    """y[t] = bias + sum over k of weight[k] seen[t + k], for each channel by itself.

    From `seen` `(B, K - 1 + T, D)`, `weight` `(K, D)` and `bias` `(D,)` to `(B, T, D)`. The backward pass is written
    out because autograd's makes a zero tensor as large as `seen` for each k: a training step of SSD took 9 to 13 %
    longer.
    """

    @staticmethod
    def forward(ctx, seen, weight, bias):
        ctx.save_for_backward(seen, weight)
        y = torch.addcmul(bias, seen[:, : seen.shape[1] - len(weight) + 1], weight[0])  # (B, T, D)
        for k in range(1, len(weight)):
            y.addcmul_(seen[:, k : k + y.shape[1]], weight[k])
        return y

    @staticmethod
    def backward(ctx, y_grad):
        seen, weight = ctx.saved_tensors
        seen_grad, weight_grad = torch.zeros_like(seen), torch.empty_like(weight)
        for k in range(len(weight)):
            window = slice(k, k + y_grad.shape[1])
            seen_grad[:, window].addcmul_(y_grad, weight[k])
            weight_grad[k] = (y_grad * seen[:, window]).sum((0, 1))
        return seen_grad, weight_grad, y_grad.sum((0, 1))


def _full_precision(tensor):
    """float16 and bfloat16 to float32: in a recurrence rounding errors add up."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
