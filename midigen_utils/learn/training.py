"""Training and evaluation."""

import csv
import math
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from .. import config, faults, files
from ..config import BATCH_SIZE, GRAD_CLIP, LEARNING_RATE, MIDI_CONFIG, NUM_EPOCHS, SAVE_EVERY, SEQUENCE_LENGTH, STRIDE
from ..models.frame_model import in_eval
from ..models.scan import leave_out_of_compiling
from . import parallel
from .checkpoints import BEST, LAST, PREVIOUS, keep_earlier_run, load_last, restore_run, run_state, save_checkpoint
from .dataset import Batches, PieceBatches, SequenceDataset, all_shards, piece_bins
from .metrics import FrameScores, TrainingLoss, predict

WEIGHT_DECAY = 0.1


def fit(
    model,
    rolls,
    epochs=NUM_EPOCHS,
    *,
    sequence_length=SEQUENCE_LENGTH,
    stride=STRIDE,
    batch_size=BATCH_SIZE,
    learning_rate=LEARNING_RATE,
    transpose=0,
    carry_state=False,
    accumulate=1,
    compile=False,
    seed=0,
    patience=None,
    resume=False,
    save_every=SAVE_EVERY,
    folder=None,
    device=None,
    midi_config=MIDI_CONFIG,
    extras=None,
    on_epoch=None,
):
    """Train a model to predict the next frame, and keep the best of its epochs.

    After each epoch, and every `save_every` minutes, it writes into `folder`: `last_model.pt` (to go on from; the one
    before becomes `previous_model.pt`). After an epoch also `best_model.pt` (the lowest validation loss so far) and
    `history.csv`. The files of an earlier run there are kept as `earlier_best_model.pt` and so on. When it ends, the
    model holds the weights of the last epoch; `load_model` gives the best.

    Where `torchrun` has started several processes (see `parallel.join`) every one of them calls it. Each computes
    its share of every batch, and all get the weights that one process would get. The first one writes and prints.

    Notebook: 03_lstm_baseline, A3_scaling

    Args:
        model: `MusicMamba`, `MusicLSTM`, or one like them with a dict `config`; it is moved to the device.
        rolls: dict with `"train"` and `"validation"`: `RollSplit`s or lists of `(T, P)` arrays or tensors.
        epochs: epochs in all, those before a resume included, default 25.
        sequence_length, stride: frames of the training windows, default 64 and 16.
        batch_size: windows of a step, those of all processes together, default 64.
        learning_rate: of AdamW at its highest, default 1e-3; see `learning_rate_at`.
        transpose: move each window by up to so many semitones up or down, at random; default 0.
        carry_state: go along whole pieces (`PieceBatches`; `stride` then means nothing). The state after a window is
            where the next one begins, so the model hears all of the piece before, at the memory of one window.
        accumulate: compute each batch in so many parts, one after another, default 1. The same weights, for less
            memory and a little more time.
        compile: train with `torch.compile`, default `False`; the same weights up to rounding. Off, for it begins with
            minutes of compiling, and again for a smaller last batch. A step on one CPU thread then took, of the plain
            one: MusicMamba 0.99 (its scan is left out), with `ssm="ssd"` 0.91, MusicLSTM the same within noise.
        seed: of the order of the windows and of torch's random numbers.
        patience: stop after so many epochs without a better validation loss; `None` never does.
        resume: go on from `last_model.pt` (if it is damaged from `previous_model.pt`, else from `best_model.pt`) with
            the same settings and data: gives exactly the run that was not interrupted. Only `learning_rate`, `epochs`
            and `patience` may be others: then it is another run, whose learning rate is that of this place in it.
        save_every: minutes from one checkpoint to the next in the middle of an epoch, default 10; 0 saves after every
            step, `math.inf` after epochs only. The clock of the first process counts.
        folder: where to write, default `midi_data/`.
        device: `torch.device`, default `pick_device()`.
        midi_config: the `MIDI_CONFIG` of the rolls, kept in the checkpoint.
        extras: dict of plain values (text, numbers, lists) to keep in the checkpoints, such as the corpus.
        on_epoch: called with the history after each epoch (in the first process), to draw it, say.

    Returns:
        The history, a list of one dict an epoch: `epoch`, `train_loss`, `val_loss` (nats per frame), `seconds`
        (of an epoch that was resumed, those since then).

    Raises:
        FileNotFoundError: nothing to resume.
        OSError: nothing can be written into `folder`.
        RuntimeError: the loss is no longer a number, too little memory, or no compiler: says what to try. Or another
            training writes into `folder`.
        ValueError: before anything is written: no training window or validation frame, rolls that are not as wide as
            the model, values that are no velocities, a setting out of range, no such device, a model without `config`,
            or a checkpoint of another model or run.
    """
    faults.check_run(model, rolls, epochs, accumulate, save_every)
    folder = Path(folder) if folder else files.MIDI_DATA
    device = config.pick_device(device)
    model.to(device)
    if carry_state:
        batches = PieceBatches(rolls["train"], sequence_length, batch_size, seed, device, transpose)
    else:
        dataset = SequenceDataset(rolls["train"], sequence_length, stride)
        batches = Batches(dataset, batch_size, seed=seed, device=device, transpose=transpose, velocities=True)
    validation, _, lengths = all_shards(rolls["validation"])
    faults.check_rolls(model, batches.shards if carry_state else dataset.shards, validation, lengths)
    optimizer = make_optimizer(model, learning_rate)
    loss_function = TrainingLoss(model)
    if compile:
        leave_out_of_compiling()
        loss_function.compile()
    loss_function = parallel.averaging(loss_function)
    scaler = torch.amp.GradScaler(device.type, enabled=config.autocast(device).fast_dtype == torch.float16)
    history, epoch, step, total, states = [], 0, 0, 0.0, [None] * accumulate
    settings = {
        "seed": seed,
        "batch_size": batch_size,
        "sequence_length": sequence_length,
        "stride": stride,
        "transpose": transpose,
        "carry_state": carry_state,
        "windows": batches.windows,
    }

    def save(name, epoch, step=0, total=0.0, states=()):
        carried = parallel.gathered([_moved(state, "cpu") for state in states])
        if parallel.rank() == 0:
            state = {**(extras or {}), **run_state(scaler, history, step, total, carried, settings, midi_config)}
            val_loss = history[-1]["val_loss"] if history else math.inf
            previous = folder / PREVIOUS if name == LAST else None
            save_checkpoint(folder / name, model, optimizer, epoch, val_loss, previous, **state)

    alone = faults.only_training(folder) if parallel.rank() == 0 else nullcontext()
    with alone, faults.ctrl_c_between_steps(folder) as pressed:
        if resume:
            state = parallel.from_first(lambda: load_last(folder))
            restore_run(model, optimizer, scaler, state, settings)
            history, epoch, step, total = state["history"], state["epoch"] + 1, state["step"], state["total"]
            if state.get("carried"):
                states = _of_this_process(state["carried"], accumulate, device)
        else:
            config.seed_everything(seed)
            if parallel.rank() == 0:
                keep_earlier_run(folder)
        saved = time.perf_counter()
        while epoch < epochs and not _out_of_patience(history, patience):
            started, seen = time.perf_counter(), 0
            model.train()
            bar = dict(desc=f"epoch {epoch + 1}/{epochs}", leave=False, disable=parallel.rank() > 0)
            progress = tqdm(batches.epoch(epoch, first=step), total=len(batches), initial=step, **bar)
            for batch in progress:
                if not carry_state:
                    batch = *batch, torch.ones(batch[0].shape[:2], dtype=torch.bool, device=device)  # all frames count
                    states = [None] * accumulate
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate_at(epoch * len(batches) + step, epochs * len(batches), learning_rate)
                optimizer.zero_grad()
                nats, frames = 0.0, batch[2].sum()
                memory = faults.memory_explained(device, epoch, step, batch_size, accumulate)
                with memory, faults.compiler_explained():
                    for i, part in enumerate(parallel.share(batch, accumulate)):
                        with config.autocast(device), parallel.averaging_now(loss_function, i == accumulate - 1):
                            loss, nll, states[i] = loss_function(*part, state=states[i])
                        if not torch.isfinite(loss):
                            raise RuntimeError(faults.not_a_number(epoch, step, learning_rate))
                        # The sum over this part's frames becomes its share of the mean over the batch.
                        scaler.scale(loss / frames * parallel.processes()).backward()
                        nats += nll.item()
                    scaler.unscale_(optimizer)
                    norm = nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
                    if not scaler.is_enabled() and not torch.isfinite(norm):  # with a scaler such a step is left out
                        raise RuntimeError(faults.not_a_number(epoch, step, learning_rate))
                    scaler.step(optimizer)
                    scaler.update()
                due = parallel.rank() == 0 and time.perf_counter() - saved >= 60 * save_every
                nats, stop, due = parallel.total([nats, len(pressed), due]).tolist()
                total, step, seen = total + nats, step + 1, seen + frames.item()
                progress.set_postfix(nats_per_frame=f"{nats / frames.item():.3f}")
                if stop or due:
                    save(LAST, epoch - 1, step, total, states if carry_state else ())
                    saved = time.perf_counter()
                if stop:
                    progress.close()
                    faults.stop(pressed, f"in epoch {epoch + 1}, step {step}")
            speed = seen / max(time.perf_counter() - started, 1e-9)  # there are clocks that stand still
            if parallel.processes() > 1:  # torchrun waits 30 s after Ctrl-C, a validation may take longer
                save(LAST, epoch - 1, step, total, states if carry_state else ())
            val_loss = evaluate(model, rolls["validation"], device, shared=True)["nll"]
            if not math.isfinite(val_loss):
                raise RuntimeError(faults.not_a_number(epoch, step, learning_rate))
            seconds, train_loss = time.perf_counter() - started, total / batches.predicted
            history.append(dict(epoch=epoch, train_loss=train_loss, val_loss=val_loss, seconds=round(seconds, 2)))
            if val_loss == min(row["val_loss"] for row in history):
                save(BEST, epoch)
            save(LAST, epoch)
            saved = time.perf_counter()
            if parallel.rank() == 0:
                used = config.memory_used(device)
                tqdm.write(
                    f"epoch {epoch + 1:3d}  train {train_loss:.3f}  validation {val_loss:.3f} nats per frame"
                    f"  {seconds:.0f} s, {speed:,.0f} frames/s" + (f", {used / 1e9:.1f} GB" if used else "")
                )
                try:
                    _write_history(folder / "history.csv", history)
                except OSError as error:  # Excel has it open, say: the next epoch writes all of it
                    tqdm.write(f"history.csv not written: {error}")
                if on_epoch:
                    on_epoch(history)
            epoch, step, total, states = epoch + 1, 0, 0.0, [None] * accumulate
            if parallel.total([len(pressed)]).item():
                faults.stop(pressed, f"after epoch {epoch}")
    return history


def _moved(state, device):
    """A state, whatever its tuples, on a device."""
    return state.to(device) if torch.is_tensor(state) else tuple(_moved(part, device) for part in state)


def _of_this_process(carried, accumulate, device):
    """The states of this process's parts of the batches, from those of all."""
    if len(carried) != parallel.processes() * accumulate:
        raise ValueError(
            f"cannot resume: the batches were cut into {len(carried)} parts, now {parallel.processes() * accumulate}; "
            "in the middle of an epoch with carried states processes x accumulate must be as before"
        )
    first = parallel.rank() * accumulate
    return [_moved(state, device) for state in carried[first : first + accumulate]]


def learning_rate_at(step, steps, highest=LEARNING_RATE):
    """The learning rate of a step: it rises in a straight line, then falls to 0 along half a cosine.

    Notebook: 03_lstm_baseline

    Source: Loshchilov & Hutter, arXiv 1608.03983, without restarts; the rise as in Goyal et al., arXiv 1706.02677.

    Args:
        step: 0 to `steps` - 1.
        steps: of the whole training. The first tenth of them, 100 at most, is the rise.
        highest: default 1e-3.

    Returns:
        Learning rate, above 0 and at most `highest`.
    """
    rising = (step + 1) / max(1, min(100, steps // 10))
    falling = (1 + math.cos(math.pi * step / steps)) / 2
    return highest * min(rising, falling)


def make_optimizer(model, learning_rate=LEARNING_RATE):
    """AdamW that shrinks matrices only: no norm, bias, or parameter marked `_no_weight_decay`.

    Source: Loshchilov & Hutter, arXiv 1711.05101; the exceptions as in the Mamba paper's code.

    Args:
        model: `nn.Module`.
        learning_rate: default 1e-3.

    Returns:
        `torch.optim.AdamW` with two parameter groups.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.ndim >= 2 and not getattr(p, "_no_weight_decay", False)]
    chosen = {id(p) for p in decayed}
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if id(p) not in chosen], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)  # one kernel for all parameters
    return torch.optim.AdamW(groups, lr=learning_rate, fused=fused)


@torch.no_grad()
def evaluate(model, rolls, device=None, threshold=None, batch_size=32, chunk=256, shared=False):
    """Score a model's predictions of frames 2..T of every piece, each piece read from its start.

    Notebook: 03_lstm_baseline

    Args:
        model: anything with `forward(x, hidden=None) -> (logits, hidden)`.
        rolls: `RollSplit` or a list of `(T, P)` arrays or tensors.
        device: `torch.device`, default the CPU; the model is moved there.
        threshold: see `FrameScores.result`.
        batch_size: pieces side by side, default 32.
        chunk: frames at a time, the state carried from one to the next, default 256. Neither changes the scores.
        shared: each of the processes of `torchrun` scores some of the pieces, and all get the scores of the whole.
            Every one of them must call it. Default: this process scores all pieces.

    Returns:
        Dict of `FrameScores.result`: `nll` in nats per frame and so on.

    Raises:
        ValueError: no piece of two frames or more, values that are no velocities, no such device.
    """
    device, scores = config.pick_device(device or "cpu"), FrameScores()
    lengths = rolls.lengths if hasattr(rolls, "lengths") else [len(roll) for roll in rolls]
    order = [i for i in sorted(range(len(lengths)), key=lambda i: lengths[i]) if lengths[i] > 1]
    if shared:
        order = order[parallel.rank() :: parallel.processes()]
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
        scores.share()
    if scores.count[0] == 0:
        raise ValueError("nothing to evaluate: no piece has two frames")
    return scores.result(threshold)


def _out_of_patience(history, patience):
    if patience is None or not history:
        return False
    best = min(history, key=lambda row: row["val_loss"])["epoch"]
    return history[-1]["epoch"] - best >= patience


def _write_history(path, history):
    with files.atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, history[0].keys())
        writer.writeheader()
        writer.writerows(history)
