"""A judge: a small network that learns to tell made clips from real ones. What it cannot tell apart sounds alike to it.

It sees windows of 8 s as two pictures, keys down and keys struck. Pieces are cut into five folds; it is trained on
four and asked about the fifth, so that it never knows the piece. Its figure is the area under the ROC curve: the
chance that it takes the made one of a made and a real window for the made one. 0.5 is guessing, 1 is always right.

    python benchmarks/judge.py --data FOLDER      its scale: real against real, and real against its sabotages

The figure of a model is printed only if the scale holds: real against other real pieces 0.45 to 0.55, real against
itself with its seconds shuffled at least 0.85. `music.py --judge` prints it below its measures.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.corpus import load_maestro
from midigen_utils.data.rolls import load_piano_rolls

FS = MIDI_CONFIG["fs"]
WINDOW = 8 * FS  # frames
FOLDS, STEPS, BATCH, RATE, SEED = 5, 400, 64, 2e-3, 0
SHIFT = 5  # semitones by which windows are moved in training, the same for both kinds


class Judge(nn.Module):
    """Three convolutions over time and keys, a mean, one number: the logit that a window was made."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 24, (5, 13), stride=(2, 3), padding=(2, 6)),
            nn.SiLU(),
            nn.Conv2d(24, 48, (5, 5), stride=(2, 2), padding=2),
            nn.SiLU(),
            nn.Conv2d(48, 64, (5, 5), stride=(2, 2), padding=2),
            nn.SiLU(),
        )
        self.output = nn.Sequential(nn.Dropout(0.3), nn.Linear(128, 1))

    def forward(self, windows):
        """`(B, 128, 88)` bool, keys down, to `(B,)` logits."""
        struck = windows & ~F.pad(windows, (0, 0, 1, 0))[:, :-1]
        seen = self.layers(torch.stack([windows, struck], dim=1).float()).flatten(2)  # (B, 64, places)
        return self.output(torch.cat([seen.mean(2), seen.amax(2)], dim=1))[:, 0]


def windows_of(clips):
    """Clips `(T, 88)`, one list for each piece, to `(N, 128, 88)` bool windows end to end and their pieces `(N,)`."""
    found = [
        (clip[t : t + WINDOW] > 0, piece)
        for piece, some in enumerate(clips)
        for clip in some
        for t in range(0, len(clip) - WINDOW + 1, WINDOW)
    ]
    return torch.from_numpy(np.stack([window for window, _ in found])), torch.tensor([piece for _, piece in found])


def area_under_curve(made, real):
    """The chance that a score of `made` is above one of `real`, ties counting a half; `(N,)` and `(M,)` arrays."""
    order = np.concatenate([made, real]).argsort(kind="stable")
    values = np.concatenate([made, real])[order]
    ranks = np.arange(1, len(values) + 1, dtype=np.float64)
    _, first, count = np.unique(values, return_index=True, return_counts=True)
    ranks = np.repeat(first + (count + 1) / 2, count)  # equal scores share their mean rank
    above = ranks[np.argsort(order, kind="stable")][: len(made)].sum() - len(made) * (len(made) + 1) / 2
    return above / (len(made) * len(real))


def judge(real, made, seed=SEED):
    """How well a network tells made windows from real ones of pieces that it has not seen.

    Args:
        real, made: lists with one entry for each piece, a list of clips `(T, 88)`: entry i of `made` belongs to the
            piece of entry i of `real` (a continuation of it, say), and both are in one fold.
        seed: of weights, folds and batches, default 0.

    Returns:
        The area under the ROC curve, the mean over five folds.
    """
    windows, pieces = zip(windows_of(real), windows_of(made))
    fold_of = torch.from_numpy(np.random.default_rng(seed).permutation(len(real)) % FOLDS)
    areas = []
    for fold in range(FOLDS):
        known = [some[fold_of[piece] != fold] for some, piece in zip(windows, pieces)]
        asked = [some[fold_of[piece] == fold] for some, piece in zip(windows, pieces)]
        torch.manual_seed(seed)
        network = train(Judge(), *known, torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            scores = [torch.cat([network(part) for part in some.split(256)]).numpy() for some in asked]
        areas.append(area_under_curve(scores[1], scores[0]))
    return float(np.mean(areas))


def train(network, real, made, generator):
    """Train a `Judge` on as many windows of each kind in every batch; both are moved by random semitones."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    answers = torch.cat([torch.zeros(BATCH // 2), torch.ones(BATCH // 2)])
    network.train()
    for _ in range(STEPS):
        drawn = [some[torch.randint(len(some), (BATCH // 2,), generator=generator)] for some in (real, made)]
        shift = int(torch.randint(-SHIFT, SHIFT + 1, (1,), generator=generator))
        batch = torch.cat(drawn).roll(shift, 2)  # what leaves at one end of 88 keys comes in at the other: rarely any
        loss = F.binary_cross_entropy_with_logits(network(batch), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def seconds_shuffled(clip, rng):
    """A clip whose whole seconds stand in another order."""
    seconds = clip[: len(clip) // FS * FS].reshape(-1, FS, clip.shape[1])
    return seconds[rng.permutation(len(seconds))].reshape(-1, clip.shape[1])


def upside_down(clip, rng):
    """A clip mirrored at the middle of the keyboard: the highest key is the lowest."""
    return clip[:, ::-1].copy()


def pitches_shuffled(clip, rng):
    """A clip whose keys stand in another order, so that every rhythm stays and no harmony."""
    return clip[:, rng.permutation(clip.shape[1])]


SABOTAGE = {"seconds shuffled": seconds_shuffled, "upside down": upside_down, "pitches shuffled": pitches_shuffled}


def scale(clips, seed=SEED):
    """What the judge says where the answer is known.

    Args:
        clips: list with one entry for each piece: a list of real clips `(T, 88)`.
        seed: of the sabotage and of the judge, default 0.

    Returns:
        dict from "real, other pieces" and the names of `SABOTAGE` to areas under the curve.
    """
    rng = np.random.default_rng(seed)
    half = len(clips) // 2
    areas = {"real, other pieces": judge(clips[:half], clips[half : 2 * half], seed)}
    for name, spoil in SABOTAGE.items():
        areas[name] = judge(clips, [[spoil(clip, rng) for clip in some] for some in clips], seed)
    return areas


def holds(areas):
    """Whether the scale is good enough to print a model's figure."""
    return 0.45 <= areas["real, other pieces"] <= 0.55 and areas["seconds shuffled"] >= 0.85


def main():
    """Print the scale on the validation split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds maestro-v3.0.0")
    options = parser.parse_args()
    corpus = load_maestro(options.data / "maestro-v3.0.0")
    rolls = load_piano_rolls(corpus, {**MIDI_CONFIG, "max_duration": None})[0]["validation"]
    clips = [
        [rolls[i][t : t + WINDOW] for t in range(0, len(rolls.bins(i)) - WINDOW + 1, WINDOW)] for i in range(len(rolls))
    ]
    clips = [some for some in clips if some]
    print(f"{len(clips)} pieces, {sum(map(len, clips))} windows of {WINDOW // FS} s")
    areas = scale(clips)
    for name, area in areas.items():
        print(f"{name}: {area:.3f}")
    print("the scale holds" if holds(areas) else "the scale does not hold: no figure of a model may be printed")


if __name__ == "__main__":
    main()
