"""Cores and heads beside each other on the course's own corpora, the same processor time each.

    python benchmarks/quality.py --corpus bach --minutes 5
    python benchmarks/quality.py --corpus maestro --minutes 20 --seeds 0 1 2

Every combination is trained for so many minutes of processor time on one thread, so that other work on the machine
weighs less, with the learning rate rising for 100 steps and then falling to 0 along half a cosine. Nats per frame on
a held-out split, on all frames, on those that differ from the one before, and on those where a key goes down; beside
them the error of the velocity head, and the baselines. With several seeds: the mean, and the half range.
"""

import argparse
import platform
import sys
from statistics import mean

import budget
import torch
from budget import Budget, endless

from midigen_utils.config import BATCH_SIZE, LEARNING_RATE, MIDI_CONFIG, SEQUENCE_LENGTH, STRIDE
from midigen_utils.data.corpus import load_corpus
from midigen_utils.data.rolls import load_piano_rolls
from midigen_utils.learn.dataset import Batches, SequenceDataset, piece_bins
from midigen_utils.learn.metrics import TrainingLoss, fit_baselines
from midigen_utils.learn.training import evaluate
from midigen_utils.models.frame_model import in_eval
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba
from midigen_utils.models.velocity import loudness

CORES = {
    "MusicLSTM": MusicLSTM,
    "MusicMamba": MusicMamba,
    "MusicMamba SSD": lambda **options: MusicMamba(ssm="ssd", **options),
}
COLUMNS = ("nll", "nll_change", "nll_onset", "velocity")


def train(model, frames, options, seed):
    """Train for the minutes of `options`. Returns the number of steps."""
    dataset = SequenceDataset(frames, options.sequence_length, options.stride)
    batches = Batches(dataset, options.batch_size, seed=seed, transpose=options.transpose, velocities=True)
    loss_function, windows = TrainingLoss(model), endless(batches)

    def next_loss():
        x, y = next(windows)
        valid = torch.ones(x.shape[:2], dtype=torch.bool)
        return loss_function(x, y, valid)[0] / valid.numel()

    return sum(1 for _ in budget.train(model, next_loss, Budget(options.minutes), options.learning_rate))


@torch.no_grad()
def velocity_scores(model, rolls, train_rolls):
    """How well a model foretells how hard keys are struck, beside two guesses that need no model.

    Args:
        model: `FrameModel` with a `VelocityHead`, on the CPU.
        rolls: `RollSplit` or list of `(T, P)` arrays to score; only keys struck after the first frame count.
        train_rolls: the training split, which gives the median.

    Returns:
        Dict: `nll`, nats per note; mean absolute errors in bins of the median that the model foretells (`error`), of
        repeating the last velocity (`error_last`: the mean of the notes struck last) and of the training split's
        median velocity (`error_median`); `notes`, how many were scored.

    Raises:
        ValueError: the model has no velocity head.
    """
    if model.velocity is None:
        raise ValueError("this model has no velocity head; build it with velocity=32 and train it")
    struck_with = torch.zeros(256, dtype=torch.int64)  # how often each bin
    for piece in (piece_bins(train_rolls, i) for i in range(len(train_rolls))):
        onsets = piece[1:][(piece[:-1] == 0) & (piece[1:] > 0)]
        struck_with += onsets.long().bincount(minlength=256)
    middle = int((struck_with.cumsum(0) < (struck_with.sum() + 1) // 2).sum())
    totals, notes = torch.zeros(4, dtype=torch.float64), 0
    for piece in (piece_bins(rolls, i) for i in range(len(rolls))):
        piece = piece.unsqueeze(0).long()  # (1, T, P)
        past, now = piece[:, :-1], piece[:, 1:]
        struck = (past == 0) & (now > 0)
        if not struck.any():
            continue
        level = loudness(past)
        with in_eval(model):
            features, _ = model.features((past > 0).float())
        log_p = torch.log_softmax(model.velocity(features, past, level, struck), dim=1)  # (n, V)
        truth = now[struck]  # (n,)
        median = (log_p.exp().cumsum(1) < 0.5).sum(1) + 1
        repeated = level[struck.nonzero(as_tuple=True)[:2]]
        repeated = torch.where(repeated > 0, repeated, middle)
        nll = -log_p.gather(1, truth.unsqueeze(1) - 1).sum()
        errors = [(guess - truth).abs().sum() for guess in (median, repeated, torch.full_like(truth, middle))]
        totals += torch.tensor([nll, *errors], dtype=torch.float64)
        notes += len(truth)
    names = ("nll", "error", "error_last", "error_median")
    return {**dict(zip(names, (totals / max(notes, 1)).tolist())), "notes": notes}


def row(name, results):
    """One line of the table: the mean over seeds, and the half range."""
    cells = []
    for column in COLUMNS:
        values = [result[column] for result in results if column in result]
        if not values:
            cells.append("")
            continue
        spread = f" ± {(max(values) - min(values)) / 2:.3f}" if len(values) > 1 else ""
        cells.append(f"{mean(values):.3f}{spread}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main():
    """Print what runs where, then the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", default="bach", help="bach, maestro or a folder of MIDI files")
    parser.add_argument("--cores", nargs="+", choices=CORES, default=list(CORES))
    parser.add_argument("--heads", nargs="+", choices=("keys", "chords"), default=("keys", "chords"))
    parser.add_argument("--minutes", type=float, default=5, help="of processor time, each")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--sequence-length", type=int, default=SEQUENCE_LENGTH)
    parser.add_argument("--stride", type=int, default=STRIDE)
    parser.add_argument("--transpose", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--whole-pieces", action="store_true", help="train on whole pieces, not their first 60 s")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    corpus = load_corpus(options.corpus)
    rolls, _ = load_piano_rolls(corpus)
    frames = rolls["train"]
    if options.whole_pieces:
        frames = load_piano_rolls(corpus, {**MIDI_CONFIG, "max_duration": None})[0]["train"]
    print(f"python {' '.join(sys.argv)}")
    print(f"torch {torch.__version__}, {platform.machine()}, {options.threads} thread(s)\n")
    print(f"| {options.corpus}, {options.split} | all frames | changing | onset | velocity off by (bins) |")
    print("|---|---|---|---|---|")
    for name, model in fit_baselines(rolls["train"]).items():
        row(name, [evaluate(model, rolls[options.split])])
    for core in options.cores:
        for head in options.heads:
            results, steps = [], []
            for seed in options.seeds:
                torch.manual_seed(seed)
                model = CORES[core](head=head, velocity=MIDI_CONFIG["velocity_bins"])
                steps.append(train(model, frames, options, seed))
                guesses = velocity_scores(model, rolls[options.split], rolls["train"])
                results.append({**evaluate(model, rolls[options.split]), "velocity": guesses["error"]})
            row(f"{core}, {head}, {round(mean(steps)):,} steps", results)
    print(f"\nvelocity without a model: {guesses['error_last']:.3f} bins off by repeating the last,")
    print(f"{guesses['error_median']:.3f} by the median of training; {guesses['notes']:,} notes")


if __name__ == "__main__":
    main()
