"""What can stop a training, and what is said then: wrong input, Ctrl-C, a second one, too little memory, NaN."""

import errno
import os
import signal
import threading
from contextlib import ExitStack, contextmanager, suppress

from . import files

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


def check_run(model, rolls, epochs, accumulate, save_every):
    """Refuse arguments of `fit` with which a training can only fail later.

    Raises:
        ValueError: says which, and what to give.
    """
    if not hasattr(rolls, "keys") or not {"train", "validation"} <= set(rolls.keys()):
        raise ValueError(
            'rolls is a dict with "train" and "validation", such as load_piano_rolls returns together with the corpus: '
            "`rolls, corpus = load_piano_rolls(…)`"
        )
    for split in ("train", "validation"):
        if len(rolls[split]) == 0:
            raise ValueError(f"the {split} split has no piece; training needs one in train and one in validation")
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; use 1 or more")
    if accumulate < 1:
        raise ValueError(f"accumulate is {accumulate}; use 1 part or more")
    if not save_every >= 0:
        raise ValueError(f"save_every is {save_every}; use minutes, 0 or more (inf saves after epochs only)")
    if not isinstance(getattr(model, "config", None), dict):
        raise ValueError(
            f"this {type(model).__name__} has no `config`, the dict of its arguments that a checkpoint keeps: "
            "set it in __init__, `self.config = {…}`"
        )


def check_rolls(model, shards, validation, lengths):
    """Refuse rolls that do not fit a model, or each other, before anything is written.

    Args:
        model: with a dict `config`; if that names no `num_pitches`, any width will do.
        shards, validation: of `all_shards`, of train and of validation.
        lengths: of the pieces of validation.

    Raises:
        ValueError: other widths, or no frame of validation that could be predicted.
    """
    keys, others = shards[0].shape[1], validation[0].shape[1]
    wanted = model.config.get("num_pitches", keys)
    if not keys == others == wanted:
        raise ValueError(f"the rolls of train have {keys} keys, those of validation {others}, the model has {wanted}")
    if max(lengths) < 2:
        raise ValueError("no piece of validation has two frames, so there is nothing to score; use longer pieces")


@contextmanager
def ctrl_c_between_steps(folder):
    """A list that is no longer empty once Ctrl-C was pressed, so that no step or validation is left half done.

    A second Ctrl-C stops at once. In a thread, which no Ctrl-C reaches, so does the first `KeyboardInterrupt`
    that somebody sends. Then nothing is saved: the weights may be in the middle of a step.

    Args:
        folder: where the training saves.
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
            there = (folder / "last_model.pt").is_file()
            print("Interrupted at once: what came after the last save is lost. " + (HOW_TO_RESUME if there else ""))
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


HOW_TO_RESUME = "resume=True (--resume) goes on from last_model.pt."


def stop(pressed, where):
    """End a training whose state has just been saved."""
    pressed.append("saved")
    print(f"Interrupted {where}. Saved: {HOW_TO_RESUME}")
    raise KeyboardInterrupt


@contextmanager
def only_training(folder):
    """Let one training at a time write into a folder; the system lifts the lock when a process ends, however it ends.

    Args:
        folder: `Path`; it is made, so a place where nothing can be written is named before hours of training.

    Raises:
        RuntimeError: another training, of this process or another one, writes there.
        OSError: nothing can be written there.
    """
    with ExitStack() as stack:
        try:
            with files.disk_errors_explained(folder / ".training"):
                stack.enter_context(alone(folder / ".training"))
        except BlockingIOError:
            raise RuntimeError(
                f"another training writes into {folder}: wait for it or stop it, "
                "or give this one a folder of its own (folder=, --output)"
            ) from None
        yield


@contextmanager
def alone(path):
    """Hold the lock of a file, which is made for it and removed after the block. Where there are no locks, hold none.

    Args:
        path: `Path`; its folder is made.

    Raises:
        BlockingIOError: another process, or this one, holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            if fcntl and os.fstat(file.fileno()).st_nlink == 0:  # removed by its owner while it was opened here
                raise BlockingIOError(errno.EAGAIN, "its owner ends at this moment")
        except OSError as error:
            if error.errno in TAKEN:
                raise BlockingIOError(errno.EAGAIN, f"another process holds {path}") from None
            # a file system without locks: go on without
        try:
            yield
        finally:
            if fcntl:
                path.unlink(missing_ok=True)
    if not fcntl:  # Windows removes no file that is open; one that another process opened just now stays
        with suppress(OSError):
            path.unlink()


@contextmanager
def memory_explained(device, epoch, step, batch_size, accumulate):
    """Say what to try when a step needs more memory than the device has.

    Raises:
        RuntimeError: in place of the device's (CUDA, MPS and the CPU each have their own).
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not isinstance(error, MemoryError) and not any(
            words in str(error) for words in ("out of memory", "allocate memory", "not enough memory")
        ):
            raise
        tries = [f"accumulate={2 * accumulate} (--accumulate {2 * accumulate}), which gives the same weights"]
        if batch_size > 1:
            tries.insert(0, f"batch_size={batch_size // 2} (--batch-size {batch_size // 2})")
        raise RuntimeError(
            f"{device.type} is out of memory in epoch {epoch + 1}, step {step + 1}, with batches of {batch_size} "
            f"windows. Try {', or '.join(tries)}. In a notebook restart the kernel first: it still holds the memory. "
            + KEPT
        ) from error


@contextmanager
def compiler_explained():
    """Say what `torch.compile` lacks, in place of its long trace.

    Raises:
        RuntimeError: in place of those of torch's compiler.
    """
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RuntimeError(
            f"torch.compile failed ({reason[:200]}). It needs a C++ compiler (g++, clang++ or cl) on a CPU, and Triton "
            "on a GPU: install it, or train without compile (--compile), which gives the same weights up to rounding"
        ) from None


KEPT = "The weights that were saved last, if any were, are in last_model.pt."


def not_a_number(epoch, step, learning_rate):
    """What to say when the loss or the gradient is NaN or infinite."""
    return (
        f"the loss is NaN or infinite in epoch {epoch + 1}, step {step + 1}: training has diverged. Try a learning "
        f"rate below {learning_rate:g}, check that the rolls hold no NaN, and that the loss is computed from logits. "
        + KEPT
    )
