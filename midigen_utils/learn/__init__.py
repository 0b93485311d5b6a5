"""Windows, training, scores and checkpoints."""

from .checkpoints import export_model, load_checkpoint, load_model, save_checkpoint
from .composer import composer_table, print_composers, train_composer
from .dataset import Batches, PieceBatches, SequenceDataset
from .metrics import TrainingLoss, carry, fit_baselines, frame_nll, predict
from .training import evaluate, fit, learning_rate_at, make_optimizer
