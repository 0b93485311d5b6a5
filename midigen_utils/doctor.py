"""What this machine has, and how to get what it lacks."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from . import config, files
from .data.bach import BACH_FOLDER
from .data.corpus import MAESTRO_FOLDER, midi_files
from .show.sound import fluidsynth_missing

PACKAGES = ("torch", "numpy", "pretty_midi", "music21", "matplotlib", "jupyterlab", "ipywidgets", "jupytext")


def report():
    """Versions, device, sound, corpora and disk space, as a `str` of several lines."""
    import torch

    device = config.pick_device()
    autocast = config.autocast(device)
    precision = str(autocast.fast_dtype).removeprefix("torch.") if device.type != "cpu" else "float32"
    there = next(folder for folder in (files.MIDI_DATA, *files.MIDI_DATA.parents) if folder.exists())
    lines = [
        f"Python       {platform.python_version()} on {platform.system()} {platform.machine()}",
        *(f"{package:<12} {_version(package)}" for package in PACKAGES),
        f"device       {device.type}, computes in {precision}, {torch.get_num_threads()} CPU threads",
        f"threads      OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']} (PASSIVE: they sleep while they wait)",
        f"sound        {fluidsynth_missing() or 'FluidSynth'}",
        f"Bach         {_corpus(BACH_FOLDER) or 'built from music21 when first needed'}",
        f"MAESTRO      {_corpus(MAESTRO_FOLDER) or 'not here: python -m midigen_utils data'}",
        f"MIDIGEN_DATA {os.environ.get('MIDIGEN_DATA', 'not set')}",
        f"writes to    {files.MIDI_DATA}, {shutil.disk_usage(there).free / 1e9:.0f} GB free",
    ]
    return "\n".join(lines)


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return f"missing: pip install {package}"


def _corpus(name):
    folder = files.find_data(name)
    return f"{len(list(midi_files(folder)))} files in {folder}" if folder.is_dir() else None
