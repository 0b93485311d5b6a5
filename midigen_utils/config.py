"""The constants of the course, where files live, and which device computes."""

import errno
import math
import os
import random
import sys
from contextlib import contextmanager
from pathlib import Path

MIDI_CONFIG = {
    "min_pitch": 21,  # A0, the lowest key of a piano
    "max_pitch": 108,  # C8, the highest
    "fs": 16,  # frames per second
    "velocity_bins": 32,  # loudness steps; 0 is silence
    "max_duration": 60,  # seconds of each piece; None for all of it
}
NUM_PITCHES = 88

SEQUENCE_LENGTH = 64  # frames in a training window: 4 s
STRIDE = 16  # frames from one window to the next: 1 s
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
GRAD_CLIP = 1.0
NUM_EPOCHS = 25
SAVE_EVERY = 10.0  # minutes between checkpoints in the middle of an epoch

_CHECKOUT = Path(__file__).resolve().parent.parent

#: Everything midigen writes goes below this folder: the clone's ``midi_data``,
#: or ``./midi_data`` when the package was installed without its repository.
MIDI_DATA = (_CHECKOUT if (_CHECKOUT / "pyproject.toml").exists() else Path.cwd()) / "midi_data"


def find_data(name):
    """Folder of a corpus: looked for in ``$MIDIGEN_DATA``, then in ``midi_data/``.

    ``MIDIGEN_DATA`` lets a class share one copy of a corpus; it is only read.

    Args:
        name: folder name, such as ``"maestro-v3.0.0"``.

    Returns:
        ``Path`` of the first one that exists, else of where it would be written.
    """
    shared = os.environ.get("MIDIGEN_DATA")
    if shared and (Path(shared) / name).is_dir():
        return Path(shared) / name
    return MIDI_DATA / name


@contextmanager
def written_whole(path):
    """Write a file whole or not at all: beside its place first, then renamed.

    Args:
        path: where the file goes; its folder is made.

    Yields:
        `Path` of a temporary file to write. It takes the place of `path` when the block
        ends well, and is removed when it does not.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            if os.path.lexists(temporary):
                temporary.unlink()


@contextmanager
def disk_errors_explained(path):
    """Say what to do when the block cannot write: the disk is full, or the folder is read-only.

    Args:
        path: what the block writes; it is named.

    Raises:
        OSError: in place of the system's, of the same kind and `errno`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = "the disk is full, or your share of it: free some space and run this again"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            problem = "this place is read-only for you: change its permissions, or take a folder of your own"
            if Path(path).is_file():
                problem += "; or another program has the file open: close it there"
        else:
            raise
        explained = type(error)(f"{path} was not written, what was there is as before; {problem}")
        explained.errno = error.errno
        raise explained from error


def check_config(config):
    """Refuse a ``MIDI_CONFIG`` that cannot describe a piano roll.

    Args:
        config: dict with the five keys of ``MIDI_CONFIG``.

    Returns:
        The same dict.

    Raises:
        ValueError: a key is missing or its value out of range; says which.
    """
    missing = sorted(MIDI_CONFIG.keys() - config.keys())
    if missing:
        raise ValueError(f"config lacks {', '.join(missing)}; start from MIDI_CONFIG and change what you need")
    if not 0 <= config["min_pitch"] <= config["max_pitch"] <= 127:
        raise ValueError("config needs 0 <= min_pitch <= max_pitch <= 127 (MIDI note numbers)")
    if not 1 <= config["fs"] <= 1000 or config["fs"] != int(config["fs"]):
        raise ValueError(f"config['fs'] is {config['fs']!r}; use whole frames per second, 1 to 1000")
    if not 1 <= config["velocity_bins"] <= 127 or config["velocity_bins"] != int(config["velocity_bins"]):
        raise ValueError(f"config['velocity_bins'] is {config['velocity_bins']!r}; use 1 to 127")
    seconds = config["max_duration"]
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"config['max_duration'] is {seconds!r}; use seconds above 0, or None for whole pieces")
    return config


def scaled(full, fast):
    """``full``, or ``fast`` when ``MIDIGEN_FAST=1``: how the tests shrink a notebook.

    Args:
        full: value for a reader.
        fast: value for a quick run of the same cells.

    Returns:
        One of the two.
    """
    return fast if os.environ.get("MIDIGEN_FAST") == "1" else full


def seed_everything(seed):
    """Seed Python's, NumPy's and torch's random numbers.

    Args:
        seed: int, 0 or above.
    """
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def pick_device(name=None):
    """The device to compute on: CUDA, else Apple MPS, else the CPU.

    Args:
        name: ``"cuda"``, ``"mps"`` or ``"cpu"``, or a ``torch.device``, to insist on one; ``None`` picks.

    Returns:
        ``torch.device``.

    Raises:
        ValueError: the device asked for is not there.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name is None:
        name = next(device for device, there in available.items() if there)
    if not available.get(str(name).split(":")[0], False):  # "cuda:1" is a GPU, too
        here = ", ".join(device for device, there in available.items() if there)
        raise ValueError(f"no device {name!r} on this machine; there is: {here}")
    return torch.device(name)


def autocast(device):
    """Mixed precision where it pays: float16 on MPS, bfloat16 on CUDA (float16 before Ampere, as on T4 and V100).

    On a CPU it computes in float32: bfloat16 only pays on CPUs with special
    instructions, and is slower on the others.

    Args:
        device: ``torch.device``.

    Returns:
        A context manager; enter it around forward and loss, not around backward.
    """
    import torch

    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)  # before Ampere it is emulated, and slow
        dtype = torch.bfloat16 if native else torch.float16
        return torch.autocast("cuda", dtype=dtype)
    if device.type == "mps":
        return torch.autocast("mps", dtype=torch.float16)
    return torch.autocast("cpu", enabled=False)


def memory_used(device):
    """The most memory that this process has used so far: on a GPU that of tensors, on a CPU all of it.

    Args:
        device: ``torch.device``.

    Returns:
        Bytes, on MPS those held now, as it keeps no record; ``None`` where nobody tells (Windows without a GPU).
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # a Mac counts bytes, Linux kilobytes
