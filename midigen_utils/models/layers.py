"""The two small layers of a Mamba block: a short convolution and a norm. Their gradients are written out by hand."""

import torch
import torch.nn.functional as F
from torch import nn


class CausalConv(nn.Module):
    """A convolution over the last K frames of each channel on its own; it never sees a later frame.

    Notebook: 04_mamba

    Args:
        channels: D.
        d_conv: frames K.
    """

    def __init__(self, channels, d_conv):
        super().__init__()
        bound = d_conv**-0.5
        self.weight = nn.Parameter(torch.empty(d_conv, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(self, x, state):
        """`(B, T, D)` and the K - 1 frames before it, or `None` for silence, to `(B, T, D)` and the last K - 1."""
        if state is None:
            seen = F.pad(x, (0, 0, len(self.weight) - 1, 0))  # (B, K - 1 + T, D)
        else:
            seen = torch.cat([state, x], dim=1)
        return _Conv.apply(seen, self.weight, self.bias), seen[:, x.shape[1] :].clone()

    def step(self, x, state):
        """One frame: `(B, D)` to `(B, D)`, and the last K - 1 frames."""
        seen = torch.cat([state, x.unsqueeze(1)], dim=1)  # (B, K, D)
        return (seen * self.weight).sum(1) + self.bias, seen[:, 1:]


class _Conv(torch.autograd.Function):
    """y[t] = bias + sum over k of weight[k] seen[t + k]. By hand: autograd would add up one full tensor per k."""

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


class RMSNorm(nn.Module):
    """Scales each vector to a root mean square of 1, then by a learned weight.

    Args:
        width: length of the vectors.

    Source:
        Zhang and Sennrich 2019, arXiv 1910.07467.
    """

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return _Normalise.apply(x, self.weight)


class _Normalise(torch.autograd.Function):
    """y = weight x / rms(x). By hand: autograd would go over x twice as often."""

    @staticmethod
    def forward(ctx, x, weight):
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)  # of each vector, (..., 1)
        scale = torch.rsqrt(length.square() / x.shape[-1] + 1e-5)
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx, y_grad):
        x, weight, scale = ctx.saved_tensors
        unit, grad = x * scale, y_grad * weight
        weight_grad = (y_grad * unit).flatten(0, -2).sum(0)
        along = (grad * unit).mean(-1, keepdim=True)  # the part that would only change the length
        return grad.addcmul_(unit, along, value=-1).mul_(scale), weight_grad
