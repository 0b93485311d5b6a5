"""One frame of a model in numpy: what generation on a CPU spends its time on.

A frame is a few products of a row with a matrix and, for each layer, some thirty operations on a few hundred
numbers. For these numpy takes less than half the time of torch, which does more before each of them. What is the
same for every frame is computed once, and the states are changed in place. The letters are those of `mamba.py`.
"""

import numpy as np
import torch

from .lstm import MusicLSTM
from .mamba import HEAD_WIDTH, MusicMamba


def stepper(model, hidden):
    """Go on, a frame at a time, where a model stopped.

    A `MusicMamba` or `MusicLSTM` on a CPU steps in numpy; any other model, or device, in torch.

    Notebook: 05_generation_and_playback

    Args:
        model: `MusicMamba`, `MusicLSTM`, or a module with `forward(x, hidden)` like theirs. Its weights are copied:
            train it further and the step stays as it is.
        hidden: what the model returned last, for B pieces; it is copied.

    Returns:
        `step(x)`: from a frame `(B, num_pitches)` float32, 1 where a key is down, to `(B, feature_size)`, what
        `model.features` gives for it (for a model without `features`: its logits).
    """
    build = {MusicMamba: mamba_step, MusicLSTM: lstm_step}.get(type(model))
    device = next(model.parameters()).device
    if build and device.type == "cpu":
        return build(model, hidden)
    read = getattr(model, "features", model)

    @torch.inference_mode()
    def step(x):
        nonlocal hidden
        features, hidden = read(torch.from_numpy(x).unsqueeze(1).to(device), hidden)
        return features[:, 0].float().cpu().numpy()

    return step


def mamba_step(model, hidden):
    """`stepper` for a `MusicMamba` on a CPU.

    Notebook: 05_generation_and_playback
    """
    embed, norm = linear(model.embed), array(model.norm.weight)
    block = {"s6": s6_step, "ssd": ssd_step}[model.config["ssm"]]
    blocks = [block(layer, *state) for layer, state in zip(model.layers, hidden)]

    @np.errstate(over="ignore")  # silu of a very negative number: exp gives infinity, and x / infinity is right
    def step(x):
        stream = embed(x)  # (B, d)
        for block in blocks:
            stream += block(stream)
        return rms_norm(stream) * norm

    return step


def s6_step(block, past, h):
    """One frame of an `S6Block`, from `(B, d)` to `(B, d)`, after the states `past` and `h`.

    Notebook: 05_generation_and_playback
    """
    in_proj = array((block.in_proj.weight * block.norm.weight).T)  # (d, 2D), with the norm's weight in it
    x_proj, dt_proj, out_proj = array(block.x_proj.weight.T), linear(block.dt_proj), array(block.out_proj.weight.T)
    D, A = array(block.D), array(-torch.exp(block.A_log))  # (D,), (N, D)
    conv, h, (R, N, _), width = conv_step(block.conv, past), array(h), block.sizes, len(D)
    room = np.empty_like(h)  # memory for whatever is as large as the state

    def step(stream):
        nonlocal h
        xz = rms_norm(stream) @ in_proj  # (B, 2D)
        x, z = silu(conv(xz[:, :width])), xz[:, width:]  # (B, D) each
        dtBC = x @ x_proj  # (B, R + 2N)
        dt, B, C = dtBC[:, :R], dtBC[:, R : R + N], dtBC[:, R + N :]  # (B, R), (B, N), (B, N)
        dt = softplus(dt_proj(dt))  # (B, D)
        np.multiply(dt[:, None], A, out=room)  # (B, N, D)
        h *= np.exp(room, out=room)
        h += np.einsum("bn,bd->bnd", B, dt * x, out=room)
        y = (C[:, None] @ h)[:, 0] + D * x  # (B, D)
        return (y * silu(z)) @ out_proj  # (B, d)

    return step


def ssd_step(block, past, h):
    """One frame of an `SSDBlock`, as `s6_step`.

    Notebook: A1_parallel_scan
    """
    in_proj = array((block.in_proj.weight * block.norm.weight).T)  # (d, 2D + 2N + H)
    out_proj = array((block.out_proj.weight * block.gated_norm.weight).T)  # (D, d)
    dt_bias, D, A = array(block.dt_bias), array(block.D.repeat_interleave(HEAD_WIDTH)), array(-torch.exp(block.A_log))
    conv, h, (width, N, _) = conv_step(block.conv, past), array(h.transpose(1, 2).flatten(2)), block.scan_sizes
    room = np.empty_like(h)  # (B, N, D): the heads side by side

    def step(stream):
        nonlocal h
        zxBCdt = rms_norm(stream) @ in_proj  # (B, 2D + 2N + H)
        z, dt = zxBCdt[:, :width], softplus(zxBCdt[:, -len(A) :] + dt_bias)  # (B, D), (B, H)
        xBC = silu(conv(zxBCdt[:, width : -len(A)]))  # (B, D + 2N)
        x, B, C = xBC[:, :width], xBC[:, width : width + N], xBC[:, width + N :]  # (B, D), (B, N), (B, N)
        decay, dt = (v.repeat(HEAD_WIDTH, axis=1) for v in (np.exp(dt * A), dt))  # (B, D), (B, D)
        h *= decay[:, None]
        h += np.einsum("bn,bd->bnd", B, dt * x, out=room)
        y = (C[:, None] @ h)[:, 0] + D * x  # (B, D)
        return rms_norm(y * silu(z)) @ out_proj  # (B, d)

    return step


def conv_step(conv, past):
    """One frame of a `CausalConv`, from `(B, D)` to `(B, D)`, after the K - 1 frames `past`."""
    weight, bias, past = array(conv.weight), array(conv.bias), array(past)
    seen = np.concatenate([past[:, :1], past], axis=1)  # (B, K, D): what the first step pushes out, then `past`

    def step(x):
        seen[:, :-1] = seen[:, 1:]
        seen[:, -1] = x
        return np.einsum("bkd,kd->bd", seen, weight) + bias

    return step


def lstm_step(model, hidden):
    """`stepper` for a `MusicLSTM` on a CPU.

    `nn.LSTM` called for one frame makes the CPU library rearrange all weights each time.

    Notebook: 05_generation_and_playback
    """
    width, layers = model.feature_size, []
    for (w_x, w_h, b_x, b_h), h, c in zip(model.lstm.all_weights, *hidden):
        layers.append((array(torch.cat([w_x, w_h], dim=1).T), array(b_x + b_h), array(h), array(c)))

    @np.errstate(over="ignore")  # as in `mamba_step`
    def step(x):
        for weight, bias, h, c in layers:  # (input + width, 4 * width), (4 * width,), (B, width), (B, width)
            gates = np.concatenate([x, h], axis=1) @ weight + bias
            take, keep, new, show = (gates[:, i : i + width] for i in range(0, 4 * width, width))  # (B, width) each
            c *= sigmoid(keep)
            c += sigmoid(take) * np.tanh(new)
            x = sigmoid(show) * np.tanh(c)  # output of this layer, input of the next
            h[:] = x
        return x

    return step


def linear(layer):
    """An `nn.Linear` as a function of rows `(B, in)`."""
    weight, bias = array(layer.weight.T), array(layer.bias)
    return lambda x: x @ weight + bias


def rms_norm(x):
    """Vectors `(B, D)` scaled to a root mean square of 1."""
    return x / np.sqrt((x * x).sum(1, keepdims=True) / x.shape[1] + 1e-5)


def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


def silu(x):
    """x sigmoid(x)."""
    return x / (1 + np.exp(-x))


def softplus(x):
    """log(1 + e^x), which is x itself from 20 on."""
    return np.maximum(x, np.log1p(np.exp(np.minimum(x, 20))))


def array(tensor):
    """A float32 copy of a tensor, its last axis contiguous: so a row times a matrix reads memory in order."""
    return tensor.detach().float().cpu().clone(memory_format=torch.contiguous_format).numpy()
