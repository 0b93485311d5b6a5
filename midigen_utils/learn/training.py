"""Training and evaluation."""

import itertools
import math
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from .. import config, files
from ..config import BATCH_SIZE, GRAD_CLIP, LEARNING_RATE, NUM_EPOCHS, SAVE_EVERY, SEQUENCE_LENGTH, STRIDE
from ..data.rolls import RollSplit
from ..models.frame_model import in_eval
from . import parallel
from .dataset import Batches, PieceBatches, SequenceDataset, all_frames, piece_bins
from .metrics import FrameScores, TrainingLoss, predict
from .run import BEST, LAST, Run, check, ctrl_c_between_steps, memory_explained, not_a_number, only_training, stop

WEIGHT_DECAY = 0.1


def fit(
    model,
    rolls,
    epochs=NUM_EPOCHS,
    *,
    steps=None,
    sequence_length=SEQUENCE_LENGTH,
    stride=STRIDE,
    batch_size=BATCH_SIZE,
    learning_rate=LEARNING_RATE,
    weight_decay=WEIGHT_DECAY,
    transpose=0,
    carry_state=False,
    seed=0,
    patience=None,
    resume=False,
    save_every=SAVE_EVERY,
    folder=None,
    device=None,
    on_epoch=None,
    extras=None,
):
    """Train a model to predict the next frame, and keep the best of its epochs.

    After each epoch, and every `save_every` minutes, it writes `last_model.pt` into `folder` (to go on from). After an
    epoch also `best_model.pt` (the lowest validation loss so far) and `history.csv`. The files of an earlier run there
    are kept as `earlier_best_model.pt` and so on. When it ends, the model holds the weights of the last epoch;
    `load_model` gives the best.

    Where `torchrun` has started several processes (see `parallel.init_process_group`) every one of them calls it. Each
    computes its share of every batch, and all get the weights that one process would get. Rank 0 writes and prints.

    Notebook: 03_lstm_baseline, A3_scaling

    Args:
        model: `FrameModel`, such as `MusicMamba`, `MusicLSTM` or one of your own; it is moved to the device.
        rolls: dict with `"train"` and `"validation"`: `RollSplit`s or lists of `(T, P)` arrays or tensors.
        epochs: epochs in all, those before a resume included, default 25.
        steps: steps of optimisation in all, in place of `epochs`; the last epoch ends where they do.
        sequence_length, stride: frames of the training windows, default 64 and 16.
        batch_size: windows of a step, those of all processes together, default 64.
        learning_rate: of AdamW at its highest, default 1e-3; see `learning_rate_at`.
        weight_decay: of AdamW, default 0.1; see `make_optimizer`.
        transpose: move each window by up to so many semitones up or down, at random; default 0.
        carry_state: go along whole pieces (`PieceBatches`; `stride` then means nothing). The state after a window is
            where the next one begins, so the model hears all of the piece before, at the memory of one window.
        seed: of the order of the windows and of torch's random numbers.
        patience: stop after so many epochs without a better validation loss; `None` never does.
        resume: go on from `last_model.pt` with the same settings and data: gives exactly the run that was not
            interrupted. Only `learning_rate`, `epochs`, `steps` and `patience` may be others: then it is another run,
            whose learning rate is that of this place in it.
        save_every: minutes from one checkpoint to the next in the middle of an epoch, default 10; 0 saves after every
            step, `math.inf` after epochs only. The clock of rank 0 counts.
        folder: where to write, default `midi_data/`.
        device: `torch.device`, default `pick_device()`.
        on_epoch: called with the history after each epoch (in rank 0), to draw it, say.
        extras: dict of plain values (text, numbers, lists, dicts) to keep in the checkpoints, such as `corpus` and the
            `midi_config` of the rolls (default `MIDI_CONFIG`).

    Returns:
        The history, a list of one dict an epoch: `epoch`, `train_loss`, `val_loss` (nats per frame), `seconds`
        (of an epoch that was resumed, those since then).

    Raises:
        FileNotFoundError: nothing to resume.
        OSError: nothing can be written into `folder`.
        RuntimeError: the loss is no longer a number, or too little memory: says what to try. Or another training
            writes into `folder`.
        ValueError: before anything is written: no training window or validation frame, rolls that are not as wide as
            the model, values that are no velocities, a setting out of range, no such device, a model that is no
            `FrameModel`, or a checkpoint of another model or run.
    """
    settings = dict(seed=seed, sequence_length=sequence_length, stride=stride, batch_size=batch_size)
    settings |= dict(transpose=transpose, carry_state=carry_state, weight_decay=weight_decay)
    settings |= dict(learning_rate=learning_rate, epochs=epochs, steps=steps, patience=patience)
    check(model, rolls, settings, save_every, extras)
    device, folder = config.pick_device(device), Path(folder or files.MIDI_DATA)
    batches = _make_batches(model, rolls, device, settings)
    steps = steps or epochs * len(batches)
    epochs = -(-steps // len(batches))
    optimizer = make_optimizer(model.to(device), learning_rate, weight_decay)
    run = Run(model, optimizer, device, folder, settings | {"windows": batches.windows}, extras)
    loss_function = parallel.data_parallel(TrainingLoss(model))
    alone = only_training(folder) if parallel.rank() == 0 else nullcontext()
    with alone, ctrl_c_between_steps(folder) as pressed:
        if resume:
            run.restore()
        else:
            config.seed_everything(seed)
            run.keep_earlier()
        if run.epoch * len(batches) + run.step < steps:
            del run.history[run.epoch :]  # the row of an epoch that was cut short, and now goes on
        while len(run.history) < epochs and not _out_of_patience(run.history, patience):
            started = time.perf_counter()
            speed = _train_epoch(run, loss_function, batches, steps, save_every, pressed)
            if parallel.world_size() > 1:  # torchrun waits 30 s after Ctrl-C, a validation may take longer
                run.save(LAST)
            val_loss = evaluate(model, rolls["validation"], device, shared=True)["nll"]
            run.end_epoch(val_loss, time.perf_counter() - started, len(batches))
            if val_loss == min(row["val_loss"] for row in run.history):
                run.save(BEST)
            run.save(LAST)
            if parallel.rank() == 0:
                run.report(speed)
                if on_epoch:
                    on_epoch(run.history)
            if parallel.all_reduce_sum([len(pressed)]).item():
                stop(pressed, f"after epoch {len(run.history)}")
    return run.history


def _train_epoch(run, loss_function, batches, steps, save_every, pressed):
    """Take the steps that are left of an epoch; save every so often, and on Ctrl-C. Returns the frames per second."""
    before = run.epoch * len(batches)
    last = min(len(batches), steps - before)  # in this epoch
    todo = itertools.islice(batches.epoch(run.epoch, first=run.step), max(0, last - run.step))
    title = f"epoch {run.epoch + 1}/{-(-steps // len(batches))}"
    bar = tqdm(todo, desc=title, total=last, initial=run.step, leave=False, disable=parallel.rank() > 0)
    run.model.train()
    seen, started = run.frames, time.perf_counter()
    saved = started
    for batch in bar:
        where = f"in epoch {run.epoch + 1}, step {run.step + 1}"
        rate = learning_rate_at(before + run.step, steps, run.settings["learning_rate"])
        with memory_explained(run.device, where, run.settings["batch_size"]):
            nats, frames = _train_step(run, loss_function, batch, rate, where)
        due = parallel.rank() == 0 and time.perf_counter() - saved >= 60 * save_every
        nats, interrupted, due = parallel.all_reduce_sum([nats, len(pressed), due]).tolist()
        run.nats, run.frames, run.step = run.nats + nats, run.frames + frames, run.step + 1
        bar.set_postfix(nats_per_frame=f"{nats / frames:.3f}")
        if interrupted or due:
            run.save(LAST)
            saved = time.perf_counter()
        if interrupted:
            bar.close()
            stop(pressed, where)
    return (run.frames - seen) / max(time.perf_counter() - started, 1e-9)  # there are clocks that stand still


def _train_step(run, loss_function, batch, rate, where):
    """Take one step of optimisation. Returns the nats of this process's share, and the frames of the whole batch."""
    if len(batch) == 2:  # windows, of which all frames count
        batch = *batch, torch.ones(batch[0].shape[:2], dtype=torch.bool, device=run.device)
    frames = batch[2].sum()
    with config.autocast(run.device):
        loss, nll, run.state = loss_function(*parallel.split_batch(batch), state=run.state)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad()
    # The loss is a sum over this share; processes average their gradients: so this is the mean over the whole batch.
    run.scaler.scale(loss / frames * parallel.world_size()).backward()
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), GRAD_CLIP)
    if not torch.isfinite(loss) or not (run.scaler.is_enabled() or torch.isfinite(norm)):
        raise not_a_number(where, run.settings["learning_rate"])
    run.scaler.step(run.optimizer)  # leaves out a step whose gradients are infinite in float16
    run.scaler.update()
    return nll.item(), frames.item()


def _make_batches(model, rolls, device, settings):
    """The batches of the training split, after a check that rolls and model fit each other."""
    seed, transpose, sequence_length = settings["seed"], settings["transpose"], settings["sequence_length"]
    if settings["carry_state"]:
        batches = data = PieceBatches(rolls["train"], sequence_length, settings["batch_size"], seed, device, transpose)
    else:
        data = SequenceDataset(rolls["train"], sequence_length, settings["stride"])
        batches = Batches(data, settings["batch_size"], seed, device, transpose, velocities=True)
    validation, _, lengths = all_frames(rolls["validation"])
    keys, others, wanted = data.frames.shape[1], validation.shape[1], model.config["num_pitches"]
    if not keys == others == wanted:
        raise ValueError(f"the rolls of train have {keys} keys, those of validation {others}, the model has {wanted}")
    if max(lengths) < 2:
        raise ValueError("no piece of validation has two frames, so there is nothing to score; use longer pieces")
    return batches


def _out_of_patience(history, patience):
    losses = [row["val_loss"] for row in history]
    return bool(losses) and patience is not None and len(losses) > losses.index(min(losses)) + patience


def learning_rate_at(step, steps, highest=LEARNING_RATE):
    """The learning rate of a step: it rises in a straight line, then falls to 0 along half a cosine.

    Notebook: 03_lstm_baseline

    Source: Loshchilov & Hutter, arXiv 1608.03983, without restarts; the rise as in Goyal et al., arXiv 1706.02677.

    Args:
        step, steps: 0 to `steps` - 1, of so many. The first tenth of them, 100 at most, is the rise.
        highest: default 1e-3; the rate is above 0 and at most this.
    """
    rising = (step + 1) / max(1, min(100, steps // 10))
    falling = (1 + math.cos(math.pi * step / steps)) / 2
    return highest * min(rising, falling)


def make_optimizer(model, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY):
    """AdamW that shrinks matrices only: no norm, bias, or parameter marked `_no_weight_decay`.

    Source: Loshchilov & Hutter, arXiv 1711.05101; the exceptions as in the Mamba paper's code.

    Returns:
        `torch.optim.AdamW` with two parameter groups, for the matrices and for the others.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim >= 2 and not getattr(p, "_no_weight_decay", False)]
    chosen = {id(p) for p in decayed}
    others = [p for p in parameters if id(p) not in chosen]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)  # one kernel for all parameters
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused)


@torch.no_grad()
def evaluate(model, rolls, device=None, threshold=None, batch_size=32, chunk=256, shared=False):
    """Score a model's predictions of frames 2..T of every piece, each piece read from its start.

    Notebook: 03_lstm_baseline

    Args:
        model: as for `predict`.
        rolls: `RollSplit` or a list of `(T, P)` arrays or tensors.
        device: `torch.device`, default the CPU; the model is moved there.
        threshold: see `FrameScores.result`.
        batch_size, chunk: pieces side by side, default 32, and frames at a time, default 256; the scores stay alike.
        shared: each of the processes of `torchrun` scores some of the pieces, and all get the scores of the whole.
            Every one of them must call it. Default: this process scores all pieces.

    Returns:
        Dict of `FrameScores.result`: `nll` in nats per frame and so on.

    Raises:
        ValueError: no piece of two frames or more, values that are no velocities, no such device.
    """
    device, scores = config.pick_device(device or "cpu"), FrameScores()
    lengths = rolls.lengths if isinstance(rolls, RollSplit) else [len(roll) for roll in rolls]
    order = [i for i in sorted(range(len(lengths)), key=lambda i: lengths[i]) if lengths[i] > 1]
    if shared:
        order = order[parallel.rank() :: parallel.world_size()]
    with in_eval(model.to(device)):
        for first in range(0, len(order), batch_size):  # of similar lengths, so there is little padding
            group = [piece_bins(rolls, i) > 0 for i in order[first : first + batch_size]]
            frames = nn.utils.rnn.pad_sequence(group, batch_first=True)  # (B, T, P) bool
            ends = torch.tensor([len(piece) for piece in group])[:, None]
            hidden = None
            for t in range(0, frames.shape[1] - 1, chunk):
                window = frames[:, t : t + chunk + 1].to(device).float()
                x, y = window[:, :-1], window[:, 1:]
                valid = torch.arange(t + 1, t + 1 + y.shape[1]) < ends
                logits, nll, _, hidden = predict(model, x, y, hidden)
                scores.add(logits, x, y, valid.to(device), nll)
    if shared:
        scores.all_reduce()
    if scores.count[0] == 0:
        raise ValueError("nothing to evaluate: no piece has two frames")
    return scores.result(threshold)
