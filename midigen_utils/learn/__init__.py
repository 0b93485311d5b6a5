"""Windows, training, scores and checkpoints."""

from .checkpoints import load_checkpoint, load_model, save_checkpoint
from .dataset import Batches, PieceBatches, SequenceDataset
from .metrics import fit_baselines, frame_nll, predict
from .training import evaluate, fit

__all__ = [
    "Batches",
    "PieceBatches",
    "SequenceDataset",
    "evaluate",
    "fit",
    "fit_baselines",
    "frame_nll",
    "load_checkpoint",
    "load_model",
    "predict",
    "save_checkpoint",
]
