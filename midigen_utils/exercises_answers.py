"""The right answers of the exercises. Look here only after you have tried.

`ANSWERS` has a function for each exercise: it takes what the exercise starts from, and returns a number or an array.
`check` works without this file, too, for a class whose teacher keeps it: then it records an answer and cannot judge it.
"""

from math import comb

import numpy as np

from .config import bin_to_velocity, velocity_to_bin

MAJOR_SCALE = [0, 2, 4, 5, 7, 9, 11]


def _struck(roll):
    """Where a note begins in a roll `(T, P)`: `(T, P)` bool."""
    sounding = np.pad(roll > 0, ((1, 0), (0, 0)))
    return sounding[1:] & ~sounding[:-1]


def _at_least(right, n, p):
    """The probability of `right` or more of `n` answers, each right with probability `p`."""
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(right, n + 1))


def _enough(n, luck):
    return next(right for right in range(n + 2) if _at_least(right, n, luck) < 0.05)


def _commonest_step(notes):
    chords = np.flatnonzero(np.diff(notes.start, prepend=-1) > 0.05)
    steps = np.diff(np.maximum.reduceat(notes.pitch, chords))
    steps, count = np.unique(steps[steps != 0], return_counts=True)
    return steps[count.argmax()]


def _largest_change():
    velocity, config = np.arange(1, 128), {"velocity_bins": 8}
    return np.abs(bin_to_velocity(velocity_to_bin(velocity, config), config) - velocity).max()


def _f1_of_copying(roll):
    x, y = roll[:-1] > 0, roll[1:] > 0
    change = (x != y).any(axis=1)
    return 2 * (x & y)[change].sum() / (x[change].sum() + y[change].sum())


def _wrong_where_it_changes(roll):
    wrong = (roll[1:] > 0) != (roll[:-1] > 0)
    return wrong[wrong.any(axis=1)].mean()


def _best_scale(roll):
    struck, pitch = _struck(roll).sum(axis=0), np.arange(88) + 21
    return max(struck[np.isin((pitch - root) % 12, MAJOR_SCALE)].sum() for root in range(12)) / struck.sum()


def _frames_down(roll):
    down = np.zeros(np.shape(roll))
    for t, row in enumerate(np.asarray(roll) > 0):
        down[t] = row * (down[t - 1] + 1) if t else row
    return down


def _whole_gradient(leaks, direct):
    whole = np.array(direct, dtype=float)
    for t in range(len(whole) - 2, -1, -1):
        whole[t] += leaks[t + 1] * whole[t + 1]
    return whole


def _entropy(p):
    p = np.ravel(p)
    return -np.sum(p[p > 0] * np.log(p[p > 0]))


def _costs_of_keys(joint):
    known = [0.0, *(_entropy(joint.sum(axis=tuple(range(k, joint.ndim)))) for k in range(1, joint.ndim + 1))]
    return np.diff(known)


def _total_correlation(joint):
    axes = range(joint.ndim)
    alone = [_entropy(joint.sum(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return sum(alone) - _entropy(joint)


def _seconds(ticks, begins, bpm):
    per_tick = 60 / bpm / 480
    at = np.append(0, np.cumsum(np.diff(begins) * per_tick[:-1]))
    k = np.searchsorted(begins, ticks, side="right") - 1
    return at[k] + (ticks - begins[k]) * per_tick[k]


ANSWERS = {
    "01.1": lambda notes: (notes.end - notes.start).max(),
    "01.2": lambda notes: np.isin(notes.pitch % 12, [1, 3, 6, 8, 10]).mean(),
    "01.3": lambda pieces: sum(len(n.start) for n in pieces) / sum(n.end.max() for n in pieces),
    "01.4": lambda notes: (notes.end - notes.start).sum() / (notes.end.max() - notes.start.min()),
    "01.5": _commonest_step,
    "01.6": lambda: 750 / 500 * 60 / 96,
    "01.7": lambda minutes: np.minimum(minutes, 1).sum() / minutes.sum(),
    "01.8": lambda n: n.velocity[n.pitch >= 60].mean() - n.velocity[n.pitch < 60].mean(),
    "01.9": lambda keys, heard: (heard.end - keys.end).sum(),
    "01.10": _wrong_where_it_changes,
    "02.1": lambda roll: (roll == 0).all(axis=1).mean(),
    "02.2": _largest_change,
    "02.3": lambda roll: (len(roll) - 128 - 1) // 32 + 1,
    "02.4": lambda roll: _struck(roll).sum(axis=1),
    "02.5": lambda notes: np.argmax([np.isin((notes.pitch + up) % 12, MAJOR_SCALE).sum() for up in range(-6, 6)]) - 6,
    "02.6": lambda: round(1.6 * 16) - round(0.4 * 16),
    "02.7": lambda: 3600 * 16 * 88,
    "02.8": lambda: (65 - 16) / 65,
    "03.1": lambda: -np.log(0.02),
    "03.2": lambda: 4 * 100 * (88 + 100 + 1 + 1),
    "03.3": lambda: 0.5 ** (1 / 64),
    "03.4": _f1_of_copying,
    "03.5": lambda z, y: np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))),
    "03.6": lambda: np.exp(2.70 - 1.26),
    "03.7": lambda: 1 - 2 / 2**4,
    "03.8": lambda: [3 / 5, 4 / 5],
    "03.9": lambda: 0.4 * np.tanh(0.9 * 2 - 0.5),
    "03.10": lambda: -np.log(0.2 * 0.5 * 0.9),
    "04.1": lambda: 0.5 ** (1 / 16),
    "04.2": lambda: 1 + 4 * 3,
    "04.3": lambda: 6 * (3 + 16) * 2 * 128,
    "04.4": lambda a: [[a[s + 1 : t + 1].prod() if s <= t else 0 for s in range(len(a))] for t in range(len(a))],
    "04.5": lambda a, b: [a[1::2] * a[::2], a[1::2] * b[::2] + b[1::2]],
    "04.6": lambda: np.log(2) / 16,
    "04.7": lambda: (np.exp(-0.8 * np.arange(1, 17)) > 0.01).sum(),
    "05.1": lambda: 0.2**2 / (0.2**2 + 0.8**2),  # halving the temperature squares the odds
    "05.2": lambda: _enough(12, 1 / 3),
    "05.3": lambda roll: (roll == 0).all(axis=1).sum() / 16,
    "05.4": _best_scale,
    "05.5": lambda logits: (p := 1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64)))) * (p >= 0.01),
    "05.6": lambda: 3 * 60 * 16 / 400,
    "05.7": lambda clip: _struck(clip).sum() / _struck(clip).any(axis=1).sum(),
    "A1.1": lambda: 10,
    "A1.2": lambda: 1906,
    "A1.3": lambda: [1, 0],
    "A1.4": _frames_down,
    "A1.5": _whole_gradient,
    "A2.1": lambda: 4 * np.log(2),
    "A2.2": lambda: 2 / 2**8,
    "A2.3": lambda roll: (roll[1:] > 0).sum() + len(roll) - 1,
    "A2.4": _total_correlation,
    "A2.5": _costs_of_keys,
    "A3.1": lambda: 150,  # 9,599 predictions, 64 at a time
    "A3.2": lambda: (3 * 10 + 9 * 4) / 12,
    "A3.3": lambda: 2 * 7 / 8 * 1_797_720 * 4,
    "A3.4": lambda n: (np.arange(n) - np.arange(n - 1)[:, None]) % n,
    "A3.5": lambda: (2 * 20 * 24 * 3600) ** 0.5,
    "A4.1": lambda: 0.9**30,
    "A4.2": lambda: -(-40 * ((60 * 16 - 64 - 1) // 64 + 1) // 8),
    "A4.3": lambda notes: np.bincount(notes.velocity).max() / len(notes.velocity),
    "A4.4": _seconds,
    "A4.5": lambda a, b: [(b.pitch - a.pitch).mean(), np.polyfit(a.start, b.start, 1)[0]],
    "A5.1": lambda: 1 / 2 * 1 + 1 / 4 * 2 + 2 * (1 / 8 * 3),
    "A5.2": lambda: 200 / (1 + 4 * 0.5),
    "A5.3": lambda: 1 - (1 - _at_least(10, 12, 1 / 2)) ** 30,
    "A5.4": lambda roll: roll[_struck(roll)].std(),
    "A5.5": lambda: max(n for n in range(1, 200) if _at_least(_enough(n, 1 / 3), n, 0.6) < 0.8) + 1,
}
