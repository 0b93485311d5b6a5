"""A training run: where it stands, how it is saved and resumed, and what can stop it."""

import csv
import io
import math
import os
import signal
import threading
from contextlib import contextmanager

import filelock
import torch
from tqdm.auto import tqdm

from .. import config, files
from ..models.frame_model import FrameModel
from . import parallel
from .checkpoints import load_checkpoint, save_checkpoint

LAST, BEST, HISTORY = "last_model.pt", "best_model.pt", "history.csv"
MAY_CHANGE = ("learning_rate", "epochs", "steps", "patience")  # settings that a resumed run may have others of
HOW_TO_RESUME = f"resume=True (--resume) goes on from {LAST}."
PLACE = {"settings": dict, "history": list, "step": int, "nats": (int, float), "frames": int, "carried": list}
PLACE |= {"scaler_state_dict": dict, "rng_state": torch.Tensor}  # what a checkpoint has to hold to go on from
KEPT = f"The weights that were saved last, if any were, are in {LAST}."


class Run:
    """Where a training stands, and what a checkpoint needs to go on from there; its arguments are those of `fit`.

    Attributes:
        scaler: `torch.amp.GradScaler`, at work where autocast computes in float16.
        history: the rows of the epochs so far.
        epoch, step: the epoch in progress, counted from 0, and how many of its steps are done.
        nats, frames: summed over the frames that were seen in this epoch.
        state: the model's state, carried from the batch before; `None` where it is not carried.
    """

    def __init__(self, model, optimizer, device, folder, settings, extras):
        self.model, self.optimizer, self.device, self.folder = model, optimizer, device, folder
        self.settings, self.extras = settings, {"midi_config": dict(config.MIDI_CONFIG), **(extras or {})}
        half = config.autocast(device).fast_dtype == torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)
        self.history, self.state = [], None
        self.epoch = self.step = self.nats = self.frames = 0

    def end_epoch(self, val_loss, seconds, steps):
        """Add the row of an epoch; the next one begins, if all `steps` of this one were taken."""
        if not math.isfinite(val_loss):
            raise not_a_number(f"in the validation of epoch {self.epoch + 1}", self.settings["learning_rate"])
        row = {"epoch": self.epoch, "train_loss": self.nats / self.frames, "val_loss": val_loss}
        self.history.append({**row, "seconds": round(seconds, 2)})
        if self.step == steps:
            self.epoch, self.step, self.nats, self.frames, self.state = self.epoch + 1, 0, 0.0, 0, None

    def save(self, name):
        """Write a checkpoint, from rank 0. Every process has to call it."""
        carried = parallel.all_gather(_moved(self.state, "cpu"))
        if parallel.rank() > 0:
            return
        place = {"history": self.history, "step": self.step, "nats": self.nats, "frames": self.frames}
        place |= {"carried": carried, "scaler_state_dict": self.scaler.state_dict(), "rng_state": torch.get_rng_state()}
        if self.device.type == "cuda":
            place["cuda_rng_state"] = torch.cuda.get_rng_state(self.device)
        if self.device.type == "mps":
            place["mps_rng_state"] = torch.mps.get_rng_state()
        val_loss = self.history[-1]["val_loss"] if self.history else math.inf
        extras = {**self.extras, "settings": self.settings, **place}
        save_checkpoint(self.folder / name, self.model, self.optimizer, self.epoch - 1, val_loss, **extras)

    def restore(self):
        """Go back to where `last_model.pt` was saved.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, of another model, of other settings, or of no run of `fit`.
        """
        path, instead = self.folder / LAST, f"To go on from the best epoch, copy {BEST} to {LAST}"
        try:
            state = parallel.broadcast_from_first(lambda: load_checkpoint(path))
        except ValueError as error:
            raise ValueError(f"{error}. {instead}") from None
        theirs, ours = (state.get("model"), state.get("model_config")), (type(self.model).__name__, self.model.config)
        if theirs != ours:
            raise ValueError(f"cannot resume: {path} is of {theirs[0]}{theirs[1]}, the model is {ours[0]}{ours[1]}")
        if any(not isinstance(state.get(name), kind) for name, kind in PLACE.items()) or not state["carried"]:
            raise ValueError(f"cannot resume: {path} holds a model, but not where its training stopped. {instead}")
        before = state["settings"]
        other = [
            f"{name} was {before.get(name)}, now {self.settings.get(name)}"
            for name in before | self.settings
            if name not in MAY_CHANGE and before.get(name) != self.settings.get(name)
        ]
        if other:
            raise ValueError(f"cannot resume with other settings or data ({'; '.join(other)}): use those of before")
        carried = state["carried"]
        if len(carried) != parallel.world_size() and carried[0] is not None:
            raise ValueError(
                f"cannot resume: {len(carried)} processes carried states, now there are {parallel.world_size()}; "
                "in the middle of an epoch with carried states take as many as before"
            )
        try:
            self._go_to(state)
        except Exception as error:  # whatever the entries of a damaged file lead to
            raise ValueError(f"cannot resume: {path} is damaged ({type(error).__name__}). {instead}") from error

    def _go_to(self, state):
        self.model.load_state_dict(state["model_state_dict"])
        groups = [{name: value for name, value in g.items() if name != "params"} for g in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer_state_dict"])
        for group, own in zip(self.optimizer.param_groups, groups):  # of this device and version, not the file's
            group.update(own)
        for weight, moments in self.optimizer.state.items():  # else the first step would fail, or train on nonsense
            if not moments["exp_avg"].shape == moments["exp_avg_sq"].shape == weight.shape or moments["step"] < 0:
                raise ValueError("moments of other weights")
        self.scaler.load_state_dict(state["scaler_state_dict"] or self.scaler.state_dict())  # the CPU saves none
        self.state = _moved(state["carried"][parallel.rank() % len(state["carried"])], self.device)
        self.history, self.epoch, self.step = state["history"], state["epoch"] + 1, state["step"]
        self.nats, self.frames = state["nats"], state["frames"]
        torch.set_rng_state(state["rng_state"])
        if self.device.type == "cuda" and "cuda_rng_state" in state:
            torch.cuda.set_rng_state(state["cuda_rng_state"], self.device)
        if self.device.type == "mps" and "mps_rng_state" in state:
            torch.mps.set_rng_state(state["mps_rng_state"])

    def report(self, speed):
        """Print a line about the last epoch and write the history, from rank 0."""
        row = self.history[-1]
        tqdm.write(
            f"epoch {row['epoch'] + 1:3d}  train {row['train_loss']:.3f}  validation {row['val_loss']:.3f} nats per "
            f"frame  {row['seconds']:.0f} s, {speed:,.0f} frames/s"
        )
        try:
            with files.atomic_write(self.folder / HISTORY) as path, open(path, "w", newline="", encoding="utf-8") as f:
                writer = csv.DictWriter(f, row.keys())
                writer.writeheader()
                writer.writerows(self.history)
        except OSError as error:  # Excel has it open, say: the next epoch writes all of it
            tqdm.write(f"{HISTORY} not written: {error}")

    def keep_earlier(self):
        """Give the files of an earlier run in the folder another name (those of the run before it are replaced)."""
        there = [name for name in (BEST, LAST, HISTORY) if (self.folder / name).is_file()]
        if there and parallel.rank() == 0:
            for name in there:
                os.replace(self.folder / name, self.folder / f"earlier_{name}")
            print(f"{self.folder}: the files of the earlier run are kept as earlier_{there[0]} and so on")


def check(model, rolls, settings, save_every, extras):
    """Refuse arguments of `fit` with which a training can only fail later, with `ValueError`."""
    if not isinstance(model, FrameModel):
        raise ValueError(f"{type(model).__name__} is no FrameModel: derive it from midigen_utils.models.FrameModel")
    if not hasattr(rolls, "keys") or not {"train", "validation"} <= set(rolls.keys()):
        raise ValueError(
            'rolls is a dict with "train" and "validation", such as load_piano_rolls returns together with the corpus: '
            "`rolls, corpus = load_piano_rolls(…)`"
        )
    for split in ("train", "validation"):
        if len(rolls[split]) == 0:
            raise ValueError(f"the {split} split has no piece; training needs one in train and one in validation")
    for name in ("epochs", "steps"):
        if settings[name] is not None and settings[name] < 1:
            raise ValueError(f"{name} is {settings[name]}; use 1 or more")
    if not save_every >= 0:
        raise ValueError(f"save_every is {save_every}; use minutes, 0 or more (inf saves after epochs only)")
    file = io.BytesIO()
    try:
        torch.save([model.config, extras, settings], file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception as error:  # numbers of numpy, for one
        raise ValueError(
            "the model's config, the settings and extras go into checkpoints, which hold plain text, numbers, lists "
            f"and dicts only ({type(error).__name__}); int(…) and float(…) make plain numbers of those of numpy"
        ) from None


@contextmanager
def only_training(folder):
    """Let one training at a time write into a folder; the system lifts the lock when a process ends, however it ends.

    Raises:
        RuntimeError: another training, of this process or another one, writes there.
        OSError: nothing can be written there, which is so said before hours of training.
    """
    try:
        with files.disk_errors_explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(folder / ".training.lock").acquire(timeout=0)
    except filelock.Timeout:
        raise RuntimeError(
            f"another training writes into {folder}: wait for it or stop it, "
            "or give this one a folder of its own (folder=, --output)"
        ) from None
    with lock:
        for left_over in [path for name in (BEST, LAST, HISTORY) for path in folder.glob(f".{name}.*.tmp")]:
            left_over.unlink()  # half written, by a training that was killed
        yield


@contextmanager
def ctrl_c_between_steps(folder):
    """A list that becomes non-empty on Ctrl-C, so that no step or validation is left half done.

    A second Ctrl-C stops at once, and so does a `KeyboardInterrupt` raised in a thread, which Ctrl-C does not reach.
    Then nothing is saved: the weights may be in the middle of a step.
    """
    pressed = []

    def note(signal_number, frame):
        if pressed:
            raise KeyboardInterrupt
        pressed.append("once")

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, note) if main else None
    try:
        yield pressed
    except KeyboardInterrupt:
        if "saved" not in pressed:
            there = (folder / LAST).is_file()
            print("Interrupted at once: what came after the last save is lost. " + (HOW_TO_RESUME if there else ""))
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


def stop(pressed, where):
    """End a training whose state has just been saved."""
    pressed.append("saved")
    print(f"Interrupted {where}. Saved: {HOW_TO_RESUME}")
    raise KeyboardInterrupt


@contextmanager
def memory_explained(device, where, batch_size):
    """Say what to try when a step needs more memory than the device has (each kind has its own words for that)."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        said = "out of memory" if isinstance(error, MemoryError) else str(error)
        if not any(words in said for words in ("out of memory", "allocate memory", "not enough memory")):
            raise
        half = batch_size // 2
        smaller = f"batch_size={half} (--batch-size {half})" if half else "a smaller model"
        raise RuntimeError(
            f"{device.type} is out of memory {where}, with batches of {batch_size} windows. Try {smaller}. In a "
            f"notebook restart the kernel first: it still holds the memory. {KEPT}"
        ) from error


def not_a_number(where, learning_rate):
    """The error to raise when the loss or the gradient is NaN or infinite."""
    return RuntimeError(
        f"the loss is NaN or infinite {where}: training has diverged. Try a learning rate below {learning_rate:g}, "
        f"check that the rolls hold no NaN, and that the loss is computed from logits. {KEPT}"
    )


def _moved(state, device):
    """A state, whatever its tuples, on a device."""
    if isinstance(state, tuple):
        return tuple(_moved(part, device) for part in state)
    return None if state is None else state.to(device)
