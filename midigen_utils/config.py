"""The constants of the course, velocity bins, and which device computes."""

import importlib.metadata
import math
import os
import random

import numpy as np

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


def check_config(config):
    """Refuse a dict that cannot stand for ``MIDI_CONFIG``; returns it otherwise.

    Raises:
        ValueError: one of the five keys is missing or its value out of range; says which.
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


def velocity_to_bin(velocity, config):
    """MIDI velocities 1..127, int or int array, to bins 1..velocity_bins of (nearly) equal width, same shape."""
    return 1 + (velocity - 1) * config["velocity_bins"] // 127


def bin_to_velocity(bins, config):
    """The velocity 1..127 in the middle of each bin 1..velocity_bins: `velocity_to_bin` gives the bin back."""
    return 1 + (2 * bins - 1) * 127 // (2 * config["velocity_bins"])


def value_to_bin(values, velocity_bins=MIDI_CONFIG["velocity_bins"]):
    """The values of a roll, floats in [0, 1] of any shape, to int64 bins 0..velocity_bins (the bin of 1.0; default 32).

    0 stays 0, every other value gets a bin above 0.
    """
    return np.where(values > 0, np.clip(np.rint(values * velocity_bins), 1, velocity_bins), 0).astype(np.int64)


def count_keys(config):
    """The number of keys P of a roll: `max_pitch - min_pitch + 1`."""
    return config["max_pitch"] - config["min_pitch"] + 1


def scaled(full, fast):
    """The value ``full`` for a reader, or ``fast`` when ``MIDIGEN_FAST=1``: how the tests shrink a notebook."""
    return fast if os.environ.get("MIDIGEN_FAST") == "1" else full


def version():
    """The installed version of midigen; "unknown" in a clone that was never installed."""
    try:
        return importlib.metadata.version("midigen-utils")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def seed_everything(seed):
    """Seed Python's, NumPy's and torch's random numbers with an int, 0 or above."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def pick_device(name=None):
    """The ``torch.device`` to compute on: CUDA, else Apple MPS, else the CPU.

    Args:
        name: ``"cuda"``, ``"mps"`` or ``"cpu"``, or a ``torch.device``, to insist on one; ``None`` picks.

    Raises:
        ValueError: the device asked for is not there.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    here = [device for device, there in available.items() if there]
    name = here[0] if name is None else name
    if str(name).split(":")[0] not in here:  # "cuda:1" is a GPU, too
        raise ValueError(f"no device {name!r} on this machine; there is: {', '.join(here)}")
    return torch.device(name)


def autocast(device):
    """Mixed precision on a ``torch.device``: a context manager for forward and loss, not for backward.

    float16 on MPS, bfloat16 on CUDA (float16 before Ampere, as on T4 and V100), float32 on a CPU: bfloat16 only pays
    on CPUs with special instructions, and is slower on the others.
    """
    import torch

    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)  # before Ampere it is emulated, and slow
        return torch.autocast("cuda", dtype=torch.bfloat16 if native else torch.float16)
    if device.type == "mps":
        return torch.autocast("mps", dtype=torch.float16)
    return torch.autocast("cpu", enabled=False)
