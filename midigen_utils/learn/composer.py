"""The composer of the course: a small network that grows from notebook to notebook, at the same seconds of training."""

import itertools
import json
import math
import time

import torch
from torch import nn
from tqdm.auto import tqdm

from .. import files
from ..config import GRAD_CLIP
from .dataset import Batches, SequenceDataset
from .metrics import TrainingLoss
from .training import make_optimizer

SECONDS = 40  # of processor time that each version of the composer is trained for
FOLDER = files.PRETRAINED / "composer"


def train_composer(model, rolls, seconds=SECONDS, *, learning_rate=2e-2, transpose=0, seed=0):
    """Train a network for so many seconds, on windows of 64 frames, eight in a step.

    Seconds of processor time on one thread, so that other work on the machine changes little. The learning rate rises
    for 100 steps, then falls to 0 along half a cosine of the time.

    Notebook: 00_start_here

    Args:
        model: `FrameModel`; trained in place.
        rolls: dict with `"train"`: a `RollSplit` or a list of `(T, P)` arrays.
        seconds: above 0, default 40.
        learning_rate: of AdamW at its highest, default 2e-2.
        transpose: move each window by up to so many semitones, at random; default 0.
        seed: of the order of the windows.

    Returns:
        The model, in `eval` mode.

    Raises:
        ValueError: no window to train on.
    """
    windows = SequenceDataset(rolls["train"])
    batches = Batches(windows, 8, seed=seed, transpose=transpose, velocities=True)
    optimizer, loss_function = make_optimizer(model, learning_rate), TrainingLoss(model)
    endless = itertools.chain.from_iterable(map(batches.epoch, itertools.count()))  # epoch 0, 1, 2, ... without end
    threads, began, done = torch.get_num_threads(), time.process_time(), 0.0
    torch.set_num_threads(1)
    model.train()
    try:
        with tqdm(total=round(seconds), unit="s", leave=False, desc="training") as bar:
            for step, (x, y) in enumerate(endless):
                falling = (1 + math.cos(math.pi * min(done, 1))) / 2
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate * min((step + 1) / 100, falling)
                frames = torch.ones(x.shape[:2], dtype=torch.bool)
                loss = loss_function(x, y, frames)[0] / frames.numel()  # nats per frame
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
                optimizer.step()
                done = (time.process_time() - began) / seconds
                bar.update(min(int(done * bar.total), bar.total) - bar.n)
                if done >= 1:
                    return model.eval()
    finally:
        torch.set_num_threads(threads)


def composer_table(before=None):
    """What the composer of each notebook reached, as `python -m tools.composer` measured it on Bach.

    Notebook: 03_lstm_baseline

    Args:
        before: a version; those from it on are left out. Default all.

    Returns:
        List of dicts: `version`, `change`, `parameters`, `seconds` and `nats`, the nats per frame on validation of
        three seeds.
    """
    rows = json.loads((FOLDER / "composer.json").read_text(encoding="utf-8"))
    return list(itertools.takewhile(lambda row: row["version"] != before, rows))


def print_composers(rows):
    """Print rows of `composer_table`: the mean of the nats per frame, and half the range of the seeds."""
    print(f"{'version':<10} {'what changes':<44} {'parameters':>10} {'seconds':>8} {'nats per frame':>15}")
    for row in rows:
        nats = row["nats"]
        score = f"{sum(nats) / len(nats):.3f} ± {(max(nats) - min(nats)) / 2:.3f}"
        print(f"{row['version']:<10} {row['change']:<44} {row['parameters']:>10,} {row['seconds']:>8g} {score:>15}")
