"""The network without torch: one frame after another, in numpy alone.

A frame is a few products of a row with a matrix and some thirty operations a layer on a few hundred numbers. Torch
does more before each of them than numpy does: here a frame takes less than half the time. What is the same for every
frame is computed once; states are changed in place. Letters as in `mamba.py`; B streams of music are side by side.

Random numbers come from a function `uniform(n)` that gives n of them in [0, 1), such as `rng.random` of a
`numpy.random.Generator`. Given the same numbers, the same music comes out. They are asked for in this order, that of
the streams and of the keys, low to high: `draw_keys` P a stream; `Chords.sample` look by look, one for each frame that
is not finished; `Chords.choose` those of `sample`, then, where something changes, those of `sample` for `CANDIDATES`
frames a stream and one a stream for the choice; `Velocities.strike` one for each note struck.
"""

import numpy as np

CANDIDATES = 32  # further frames that a temperature other than 1 chooses from


class Mamba:
    """The core of a `MusicMamba`: from a frame to features.

    Notebook: 04_mamba

    Args:
        weights, config: what `FrameModel.weights()` gives.
    """

    def __init__(self, weights, config):
        block = {"s6": S6Block, "ssd": SSDBlock}[config["ssm"]]
        self.embed = Linear(weights, "embed")
        self.blocks = [block(weights, f"layers.{i}.") for i in range(config["n_layers"])]
        self.norm = weights["norm.weight"]

    def step(self, x, states):
        """One frame `(B, P)` float32, 1 or 0, to features `(B, d)`; the states move on."""
        stream = self.embed(x)  # (B, d)
        for block, state in zip(self.blocks, states):
            stream += block.step(stream, state)
        return rms_norm(stream) * self.norm


class S6Block:
    """One block of Mamba, as `mamba.S6Block`.

    Notebook: 04_mamba
    """

    def __init__(self, weights, name):
        self.in_proj = transposed(weights[name + "in_proj.weight"] * weights[name + "norm.weight"])  # (d, 2D)
        self.conv = weights[name + "conv.weight"], weights[name + "conv.bias"]  # (K, C), (C,)
        self.x_proj = transposed(weights[name + "x_proj.weight"])  # (D, R + 2N)
        self.dt_proj = Linear(weights, name + "dt_proj")
        self.A, self.D = -np.exp(weights[name + "A_log"]), weights[name + "D"]  # (N, D), (D,)
        self.out_proj = transposed(weights[name + "out_proj.weight"])  # (D, d)

    def step(self, stream, state):
        """One frame `(B, d)` to what the block adds to it, `(B, d)`."""
        past, h = state
        N, D = self.A.shape
        xz = rms_norm(stream) @ self.in_proj  # (B, 2D)
        x, z = silu(conv_step(xz[:, :D], past, *self.conv)), xz[:, D:]  # (B, D) each
        dtBC = x @ self.x_proj  # (B, R + 2N)
        dt, B, C = dtBC[:, : -2 * N], dtBC[:, -2 * N : -N], dtBC[:, -N:]  # (B, R), (B, N), (B, N)
        dt = softplus(self.dt_proj(dt))  # (B, D)
        h *= np.exp(dt[:, None] * self.A)  # (B, N, D)
        h += np.einsum("bn,bd->bnd", B, dt * x)
        y = (C[:, None] @ h)[:, 0] + self.D * x  # (B, D)
        return (y * silu(z)) @ self.out_proj


class SSDBlock:
    """One block of Mamba-2, as `mamba.SSDBlock`.

    Notebook: A1_parallel_scan
    """

    def __init__(self, weights, name):
        self.in_proj = transposed(weights[name + "in_proj.weight"] * weights[name + "norm.weight"])  # (d, 2D + 2N + H)
        self.conv = weights[name + "conv.weight"], weights[name + "conv.bias"]  # (K, C), (C,)
        self.dt_bias, self.A = weights[name + "dt_bias"], -np.exp(weights[name + "A_log"])  # (H,) each
        self.D = weights[name + "D"][:, None]  # (H, 1)
        self.out_proj = transposed(weights[name + "out_proj.weight"] * weights[name + "gated_norm.weight"])  # (D, d)

    def step(self, stream, state):
        """One frame `(B, d)` to what the block adds to it, `(B, d)`."""
        past, h = state
        D, (H, N) = len(self.out_proj), h.shape[1:3]
        zxBCdt = rms_norm(stream) @ self.in_proj  # (B, 2D + 2N + H)
        z, dt = zxBCdt[:, :D], softplus(zxBCdt[:, -H:] + self.dt_bias)  # (B, D), (B, H)
        xBC = silu(conv_step(zxBCdt[:, D:-H], past, *self.conv))  # (B, D + 2N)
        x, B, C = xBC[:, :D], xBC[:, D : D + N], xBC[:, D + N :]  # (B, D), (B, N), (B, N)
        x = x.reshape(len(x), H, -1)  # (B, H, D / H)
        h *= np.exp(dt * self.A)[:, :, None, None]
        h += np.einsum("bn,bhp->bhnp", B, dt[:, :, None] * x)
        y = (C[:, None, None] @ h)[:, :, 0] + self.D * x  # (B, H, D / H)
        return rms_norm(y.reshape(z.shape) * silu(z)) @ self.out_proj


def conv_step(x, past, weight, bias):
    """One frame `(B, C)` through a `CausalConv`; `past` `(B, K - 1, C)` forgets its oldest frame for this one."""
    y = np.einsum("bkc,kc->bc", past, weight[:-1]) + x * weight[-1] + bias
    past[:, :-1] = past[:, 1:]
    past[:, -1:] = x[:, None]
    return y


class LSTM:
    """The core of a `MusicLSTM`, as `Mamba` is of a `MusicMamba`.

    Notebook: 03_lstm_baseline
    """

    def __init__(self, weights, config):
        self.layers = []
        for i in range(config["num_layers"]):
            w_x, w_h = weights[f"lstm.weight_ih_l{i}"], weights[f"lstm.weight_hh_l{i}"]
            bias = weights[f"lstm.bias_ih_l{i}"] + weights[f"lstm.bias_hh_l{i}"]
            self.layers.append((transposed(np.concatenate([w_x, w_h], axis=1)), bias))

    def step(self, x, states):
        """One frame `(B, P)` float32, 1 or 0, to features `(B, width)`; the states move on."""
        for (weight, bias), h, c in zip(self.layers, *states):  # (in + width, 4 width), (4 width,), (B, width) each
            gates = np.concatenate([x, h], axis=1) @ weight + bias
            take, keep, new, show = np.split(gates, 4, axis=1)  # (B, width) each
            c *= sigmoid(keep)
            c += sigmoid(take) * np.tanh(new)
            x = sigmoid(show) * np.tanh(c)  # output of this layer, input of the next
            h[:] = x
        return x


def draw_keys(logits, temperature, uniform):
    """Draw each key by itself with the probability `sigmoid(logit / temperature)`: logits `(B, P)` to float32 1 or 0.

    Notebook: 05_generation_and_playback
    """
    p = np.exp(-softplus(-logits / temperature))  # the sigmoid, with all digits of a small p
    return (uniform(p.size).reshape(p.shape) < p).astype(np.float32)


class Chords:
    """The chord head, as `chords.ChordHead`: draws whole frames.

    A look gives the probability of every key above the notes found so far. That no key up to k goes down has a
    probability whose logarithm, with the sign turned, is the sum of `softplus(logit)` up to k: a hazard that grows
    from key to key. The next note is where it passes a patience, `-log(1 - u)`: one random number for each look.

    Notebook: A2_chords

    Args:
        weights, name: those of a model; with the name `""` those of a `ChordHead` alone.
    """

    def __init__(self, weights, name="chords."):
        self.from_features = centred(weights[name + "from_features.weight"].T)  # (D, W)
        self.bias = centred(weights[name + "from_features.bias"])
        self.from_past = centred(weights[name + "from_past.weight"].T)  # (P, W)
        self.from_notes = centred(weights[name + "from_notes.weight"].T)  # (P, W)
        self.scale, self.shift = weights[name + "norm.weight"], weights[name + "norm.bias"]
        self.layer, self.output = Linear(weights, name + "layer"), Linear(weights, name + "output")

    def context(self, features, past):
        """What all looks at a frame begin with, `(B, W)`, from `features` `(B, D)` and `past` `(B, P)`."""
        return features @ self.from_features + self.bias + past @ self.from_past

    def look(self, x):
        """Logits `(n, P)` from sums `(n, W)`: a context and a row of `from_notes` for each note found."""
        return self.output(silu(self.layer(silu(rms_norm(x) * self.scale + self.shift))))

    def sample(self, context, uniform, copies=1):
        """Draw frames with exactly the probabilities that `ChordHead.log_prob` gives them.

        Args:
            context: `(B, W)`.
            uniform: function of n to n random numbers in [0, 1).
            copies: frames drawn from each context, default 1. Those that found the same notes share their looks.

        Returns:
            frames: `(B * copies, P)` float32, 1 or 0, the copies of a stream one after another.
            log_p: `(B * copies,)`, the logarithm of the probability of each.
        """
        P, count = len(self.from_notes), len(context) * copies
        keys, frames, log_p = np.arange(P), np.zeros((count, P), np.float32), np.zeros(count)
        going, look = np.arange(count), np.arange(count) // copies  # (m,): frames not finished, the look each one needs
        x, first = context, 0  # of each look: the sum (n, W), and the first key not decided yet (n, 1)
        while len(going):
            logits = self.look(x)  # (n, P)
            hazard = (softplus(logits) * (keys >= first)).cumsum(1, dtype=float)  # (n, P)
            patience = -np.log1p(-uniform(len(going)))  # (m,)
            key = (hazard[look] <= patience[:, None]).sum(1)  # (m,): the next note, P for none
            found = key < P
            log_p[going] -= hazard[look, np.minimum(key, P - 1)]
            going, look, key = going[found], look[found], key[found]
            log_p[going] += logits[look, key]
            frames[going, key] = 1
            after = np.arange(len(going))
            if copies > 1:  # frames of a stream that found the same notes share their next look
                _, one, after = np.unique(look * P + key, return_index=True, return_inverse=True)
                look, key = look[one], key[one]
            x, first, look = x[look] + self.from_notes[key], key[:, None] + 1, after
        return frames, log_p

    def choose(self, features, past, temperature, uniform):
        """Draw the next frame so that the temperature says what is played, and not when.

        At 16 frames a second the likeliest frame is nearly always the one before: divide the logits by 0.8, and the
        music stands still. Here a frame drawn at temperature 1 says how many keys go down and how many come up. It and
        `CANDIDATES` more are drawn; of those that have the same numbers one is taken, with weights
        p ** (1 / temperature - 1). So a low temperature takes the likeliest chord of that size. (With 32 candidates
        this is an approximation; at temperature 1 nothing is approximated.)

        Args:
            features: `(B, D)`, after the last frame.
            past: the last frame, `(B, P)` float32, 1 or 0.
            temperature, uniform: a number above 0; as for `sample`.

        Returns:
            `(B, P)` float32, 1 or 0.
        """
        context = self.context(features, past)  # (B, W)
        frames, log_p = self.sample(context, uniform)
        rows = (frames != past).any(1).nonzero()[0]  # (R,): the streams in which something changes
        if temperature == 1 or len(rows) == 0:
            return frames
        more, more_log_p = self.sample(context[rows], uniform, CANDIDATES)
        some = np.concatenate([frames[rows, None], more.reshape(len(rows), CANDIDATES, -1)], axis=1)  # (R, 33, P)
        log_p = np.concatenate([log_p[rows, None], more_log_p.reshape(len(rows), CANDIDATES)], axis=1)  # (R, 33)
        down, up = (some > past[rows, None]).sum(2), (some < past[rows, None]).sum(2)  # (R, 33) each
        alike = (down == down[:, :1]) & (up == up[:, :1])
        chosen = draw(np.where(alike, log_p * (1 / temperature - 1), -np.inf), uniform)  # (R,)
        frames[rows] = some[np.arange(len(rows)), chosen]
        return frames


class Velocities:
    """The velocity head, as `velocity.VelocityHead`: how hard the keys are struck that go down.

    Args:
        weights, name: as for `Chords`.
    """

    def __init__(self, weights, name="velocity."):
        self.bins = len(weights[name + "output.bias"])  # V
        self.from_features = centred(weights[name + "from_features.weight"].T)  # (D, W)
        self.bias = centred(weights[name + "from_features.bias"])
        self.from_past = centred(weights[name + "from_past.weight"].T) / self.bins  # (P, W)
        self.from_struck = centred(weights[name + "from_struck.weight"].T)  # (P, W)
        self.from_level = centred(weights[name + "from_level.weight"])  # (V + 1, W)
        self.from_key = centred(weights[name + "from_key.weight"])  # (P, W)
        self.scale, self.shift = weights[name + "norm.weight"], weights[name + "norm.bias"]
        self.output = Linear(weights, name + "output")

    def logits(self, features, past, level, struck):
        """Logits `(n, V)` of the velocities of the n keys struck, in the order of `struck.nonzero()`.

        Args:
            features: `(B, D)`.
            past: velocity bins of the last frame, `(B, P)` int, 0 where a key is up.
            level: `(B,)` int, the `velocity.loudness` up to that frame.
            struck: keys that go down now, `(B, P)` bool.
        """
        frame = features @ self.from_features + self.bias + past.astype(np.float32) @ self.from_past  # (B, W)
        frame += struck.astype(np.float32) @ self.from_struck + self.from_level[level]
        row, key = struck.nonzero()
        return self.output(silu(rms_norm(frame[row] + self.from_key[key]) * self.scale + self.shift))

    def strike(self, features, past, level, keys, temperature, uniform):
        """The next frame with velocities: drawn for the keys that go down, unchanged for those held.

        Args:
            features, past, level: as for `logits`.
            keys: keys down in the next frame, `(B, P)`, 1 or 0.
            temperature, uniform: as for `Chords.choose`; logits are divided by the temperature.

        Returns:
            bins: `(B, P)` int.
            level: `(B,)` int, the loudness up to this frame.
        """
        bins = np.where(keys > 0, past, 0)
        struck = (keys > 0) & (past == 0)
        if struck.any():
            bins[struck] = 1 + draw(self.logits(features, past, level, struck) / temperature, uniform)
            count, total = struck.sum(1), (bins * struck).sum(1)  # (B,) each
            level = np.where(count > 0, (2 * total + count) // np.maximum(2 * count, 1), level)  # the mean, rounded
        return bins, level


def draw(logits, uniform):
    """For each row of logits `(n, V)` a number from 0 to V - 1, drawn from their softmax."""
    p = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
    return (p[:, :-1] <= uniform(len(p))[:, None] * p[:, -1:]).sum(1)


class Linear:
    """An `nn.Linear` as a function of rows `(B, in)`."""

    def __init__(self, weights, name):
        self.weight, self.bias = transposed(weights[name + ".weight"]), weights[name + ".bias"]

    def __call__(self, x):
        return x @ self.weight + self.bias


def transposed(weight):
    """A matrix `(out, in)` as `(in, out)`, so that a row times it reads memory in order."""
    return np.ascontiguousarray(weight.T)


def centred(table):
    """Rows `(n, W)`, or one `(W,)`, less their mean: then a layer norm of sums of them has no mean to take away."""
    return np.ascontiguousarray(table - table.mean(axis=-1, keepdims=True))


def rms_norm(x):
    """Vectors `(B, D)` scaled to a root mean square of 1."""
    return x / np.sqrt((x * x).sum(1, keepdims=True) / x.shape[1] + 1e-5)


def sigmoid(x):
    """1 / (1 + e^-x), written so that no large number overflows."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def silu(x):
    """x sigmoid(x)."""
    half = 0.5 * x
    return half + half * np.tanh(half)


def softplus(x):
    """log(1 + e^x), which is x itself from 20 on."""
    return np.maximum(x, np.log1p(np.exp(np.minimum(x, 20))))
