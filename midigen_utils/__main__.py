"""`python -m midigen_utils <verb>`: everything that make does, on any system."""

import argparse
import os
import sys
from pathlib import Path

from . import config, files
from .config import BATCH_SIZE, LEARNING_RATE, MIDI_CONFIG, NUM_EPOCHS, SAVE_EVERY, SEQUENCE_LENGTH, STRIDE

MODEL_NAMES = {"mamba": "MusicMamba", "lstm": "MusicLSTM"}
FIT_OPTIONS = (  # of `train`, with the names and meanings that they have in `fit`
    "steps batch_size learning_rate weight_decay sequence_length stride transpose carry_state seed patience save_every"
)


def main(arguments=None):
    """Run one verb.

    Args:
        arguments: list of words, default those of the command line.

    Returns:
        The exit code: 0 when all went well, 1 with a message when not.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def data(options):
    """Get a corpus and build its piano rolls; 1 if a file had to be left out."""
    from .data.download import download_maestro

    if options.corpus == "maestro":
        download_maestro()
    rolls, corpus = _load(options, _midi_config(options))
    for split, part in rolls.items():
        seconds, pieces = part.lengths.sum() / MIDI_CONFIG["fs"], "piece " if len(part) == 1 else "pieces"
        unit, length = ("hours", 3600) if seconds >= 3600 else ("minutes", 60) if seconds >= 60 else ("seconds", 1)
        print(f"{split:<11}{len(part):6} {pieces}  {seconds / length:7.1f} {unit} of piano roll")
    return 1 if corpus.skipped else 0


def train(options):
    """Train a model; keep the best epoch in `<output>/best_model.pt`. With `torchrun -m` in several processes."""
    from .learn import checkpoints, parallel, training
    from .learn.metrics import fit_baselines

    device, midi_config = parallel.init_process_group(options.device), _midi_config(options)
    with parallel.local_rank_zero_first():
        rolls, _ = _load(options, midi_config)
    folder = options.output or files.MIDI_DATA
    config.seed_everything(options.seed)
    if options.start:
        model = checkpoints.load_model(options.start)
        name, head = type(model).__name__, model.config["head"]
        if MODEL_NAMES.get(options.model, name) != name or (options.head or head) != head:
            taken = f"model and head from the checkpoint ({name}, {head})"
            raise ValueError(f"--start takes {taken}: leave --model and --head out")
    else:
        new = checkpoints.MODELS[MODEL_NAMES[options.model or "mamba"]]
        model = new(head=options.head or "keys", velocity=midi_config["velocity_bins"])
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{type(model).__name__}, head {model.config['head']}, {parameters:,} parameters, on {device.type}")
    print(f"training pieces: {len(rolls['train'])}")
    _need_pieces(rolls, "train", "validation")
    baseline = training.evaluate(fit_baselines(rolls["train"])["Markov-1"], rolls["validation"])["nll"]
    print(f"to beat: per-key Markov-1, validation {baseline:.3f} nats per frame")
    begun = parallel.restarted() and parallel.broadcast_from_first((folder / "last_model.pt").is_file)
    training.fit(
        model,
        rolls,
        options.epochs,
        **{name: getattr(options, name) for name in FIT_OPTIONS.split()},
        resume=options.resume or begun,
        folder=folder,
        device=device,
        extras={
            "midi_config": midi_config,
            "corpus": options.corpus,
            "all_instruments": options.all_instruments,
        },
    )
    parallel.destroy_process_group()
    if options.epochs > 0:
        print(f"best model: {folder / 'best_model.pt'}")


def generate(options):
    """Continue a held-out piece, a MIDI file or a random pattern; write MIDI, WAV, PNG and a page."""
    from .data.piano_roll import midi_to_piano_roll
    from .learn.checkpoints import load_model
    from .models.generation import generate_music, generate_random_seed, held_out_piece
    from .show.export import unused, write_music

    if options.seed not in ("corpus", "random") and not Path(options.seed).is_file():
        raise FileNotFoundError(f"--seed {options.seed}: no such file; give corpus, random or the path of a MIDI file")
    checkpoint, midi_config = _read_as_trained(options, needs_corpus=options.seed == "corpus")
    model = load_model(checkpoint, config.pick_device(options.device))
    fs = midi_config["fs"]
    frames = round(options.seed_seconds * fs)
    if options.seed == "random":
        seed, title = generate_random_seed(options.random_seed), "A random seed"
    elif options.seed == "corpus":
        seed, title = held_out_piece(_load(options, midi_config)[0], options.piece)
    else:
        title = Path(options.seed).stem
        seed = midi_to_piano_roll(options.seed, midi_config, all_instruments=options.all_instruments)
    seed = seed[:frames]
    if len(seed) == 0:
        raise ValueError("the seed has no frame; give --seed-seconds more than 0")
    roll = generate_music(
        model, seed, round(options.seconds * fs), options.temperature, random_seed=options.random_seed
    )
    if len(seed) < frames:
        print(f"the seed is shorter than {options.seed_seconds:g} s: it has {len(seed) / fs:g} s")
    name = f"{files.slug(options.name or title)}-t{options.temperature:g}-r{options.random_seed}"
    write_music(roll, midi_config, unused(files.MIDI_DATA / "generated" / name), title, len(seed))


def evaluate(options):
    """Print a checkpoint's scores beside the baselines', on the same frames."""
    from .learn.checkpoints import load_model
    from .learn.metrics import fit_baselines, velocity_scores
    from .learn.training import evaluate as score

    checkpoint, midi_config = _read_as_trained(options)
    rolls, _ = _load(options, midi_config)
    _need_pieces(rolls, "train", "validation", options.split)
    device = config.pick_device(options.device)
    trained = load_model(checkpoint)
    models = {**fit_baselines(rolls["train"]), checkpoint: trained}
    print(f"{options.corpus}, {options.split}: {len(rolls[options.split])} pieces; nats per frame; F1 at the")
    print("threshold that is best on validation\n")
    print("| model | NLL | NLL, changing frames | NLL, onset frames | precision | recall | F1 |")
    print("|---|---|---|---|---|---|---|")
    for name, model in models.items():
        threshold = score(model, rolls["validation"], device)["threshold"]
        result = score(model, rolls[options.split], device, threshold)
        columns = ("nll", "nll_change", "nll_onset", "precision", "recall", "f1")
        print(f"| {name} | " + " | ".join(f"{result[column]:.3f}" for column in columns) + " |")
    if trained.velocity:
        scores = velocity_scores(trained.cpu(), rolls[options.split], rolls["train"])
        print(f"\nvelocity: {scores['nll']:.3f} nats per note. Bins that the guess is off, of {trained.velocity.bins}:")
        print(
            f"model {scores['error']:.2f}, the last velocity again {scores['error_last']:.2f}, "
            f"the median of training {scores['error_median']:.2f}"
        )


def export(options):
    """Write the weights of a checkpoint in half precision, without what only training needs: small enough to share."""
    from .learn.checkpoints import export_model

    size = export_model(options.checkpoint or files.MIDI_DATA / "best_model.pt", options.output)
    print(f"{options.output}: {size / 1e6:.1f} MB")


def demo(options):
    """Music of a trained model first; then the whole road once: corpus, training, generation, sound."""
    from .learn.checkpoints import load_model
    from .learn.metrics import fit_baselines
    from .learn.training import evaluate as score
    from .learn.training import fit
    from .models.generation import generate_from_random_seed, generate_music, held_out_piece
    from .models.mamba import MusicMamba
    from .show.export import write_music

    pianist = files.MIDI_DATA / "pretrained" / "mamba.pt"
    if pianist.exists():  # not in a package without its repository
        print("First, what longer training gives: a MusicMamba that has read performances of MAESTRO goes on from 4 s")
        print("of chords drawn by lot.")
        roll = generate_from_random_seed(load_model(pianist), 40 * MIDI_CONFIG["fs"], temperature=0.9, random_seed=0)
        name = files.MIDI_DATA / "generated" / "pretrained"
        write_music(roll, MIDI_CONFIG, name, "The pretrained MusicMamba", SEQUENCE_LENGTH)
        print("Listen to it while a new one learns, from nothing:\n")
    print("1 of 4  The corpus: Bach's chorales, from the scores that come with music21.")
    rolls, _ = _load(options, MIDI_CONFIG)
    print("2 of 4  Training a MusicMamba to predict the next sixteenth of a second: one epoch.")
    baseline = score(fit_baselines(rolls["train"])["Markov-1"], rolls["validation"])["nll"]
    print(f"        To beat: {baseline:.2f} nats per frame, by a table of how often each key stays or goes down.")
    config.seed_everything(0)
    folder = files.MIDI_DATA / "demo"
    fit(MusicMamba(), rolls, epochs=1, batch_size=32, learning_rate=3e-3, folder=folder)
    print("3 of 4  Composing 30 s from the first 4 s of a chorale that it has never seen.")
    seed, title = held_out_piece(rolls, 0)
    model = load_model(folder / "best_model.pt", config.pick_device())
    roll = generate_music(model, seed[:SEQUENCE_LENGTH], 30 * MIDI_CONFIG["fs"], temperature=0.8, random_seed=0)
    print("4 of 4  Writing it as MIDI, sound, picture and page.")
    write_music(roll, MIDI_CONFIG, files.MIDI_DATA / "generated" / "demo", title, SEQUENCE_LENGTH)
    print("\nNext: `make notebooks` opens them. `make data` downloads MAESTRO (58 MB), real piano performances;")
    print("`make train` trains on them for longer, and then sounds better than these first minutes of learning.")


def doctor(options):
    """Print what this machine has and what it lacks."""
    from .doctor import report

    print(report())


def _read_as_trained(options, needs_corpus=True):
    """A checkpoint's path and `MIDI_CONFIG`. Its corpus and instruments become the options, if no corpus is named.

    With other instruments, files change their notes and so their split.
    """
    from .learn.checkpoints import load_checkpoint

    checkpoint = options.checkpoint or files.MIDI_DATA / "best_model.pt"
    state = load_checkpoint(checkpoint)
    if options.corpus is None:
        options.corpus = state.get("corpus", "bach")
        options.all_instruments |= state.get("all_instruments", False)
        by_name = options.corpus in ("bach", "maestro")
        if needs_corpus and not by_name and not Path(options.corpus).expanduser().is_dir():
            trained_on = f"{options.corpus}, the folder on which this checkpoint was trained,"
            raise FileNotFoundError(f"{trained_on} is not here: give `--corpus FOLDER`")
    return checkpoint, state["midi_config"]


def _load(options, midi_config):
    """Rolls and corpus; prints each file that was left out, and why."""
    from .data.corpus import load_corpus
    from .data.rolls import load_piano_rolls

    corpus = load_corpus(options.corpus, options.all_instruments)
    rolls, corpus = load_piano_rolls(corpus, midi_config, limit=options.limit)
    for path, reason in corpus.skipped if os.environ.get("RANK", "0") == "0" else ():
        print(f"left out: {reason if str(path) in reason else f'{path}: {reason}'}", file=sys.stderr)
    return rolls, corpus


def _need_pieces(rolls, *splits):
    for split in splits:
        if len(rolls[split]) == 0:
            raise ValueError(f"the {split} split is empty: a corpus needs three different pieces or more")


def _midi_config(options):
    return {**MIDI_CONFIG, "max_duration": None} if options.whole_pieces else MIDI_CONFIG


def _parser():
    parser = argparse.ArgumentParser("python -m midigen_utils", description="From MIDI files to music of your own.")
    verbs = parser.add_subparsers(required=True, metavar="verb")

    def verb(run):
        sub = verbs.add_parser(run.__name__, help=run.__doc__.splitlines()[0], description=run.__doc__)
        sub.set_defaults(run=run)
        return sub

    def corpus_verb(run, corpus="bach", default=None):
        sub = verb(run)
        text = f"bach, maestro or a folder of MIDI files (default {default or corpus})"
        sub.add_argument("--corpus", default=None if default else corpus, help=text)
        sub.add_argument("--all-instruments", action="store_true", help="take all tracks but drums, not only pianos")
        sub.add_argument("--limit", type=int, help="so many training pieces only, for a quick try (such as 50)")
        return sub

    def number(sub, name, kind, default, text):
        sub.add_argument(f"--{name}", type=kind, default=default, help=f"{text} (default {default})")

    for run, corpus in ((data, "maestro"), (train, "bach")):
        sub = corpus_verb(run, corpus)
        sub.add_argument("--whole-pieces", action="store_true", help="all of each piece, not its first 60 s")
    sub.add_argument("--model", choices=MODEL_NAMES, help="(default mamba)")
    sub.add_argument("--head", choices=("keys", "chords"), help="what a frame is (default keys)")
    sub.add_argument("--start", type=Path, help="checkpoint to start from: its model, heads and weights")
    number(sub, "epochs", int, NUM_EPOCHS, "epochs in all")
    sub.add_argument("--steps", type=int, help="steps of optimisation in all, in place of epochs")
    number(sub, "batch-size", int, BATCH_SIZE, "windows of a step, of all processes together")
    number(sub, "learning-rate", float, LEARNING_RATE, "of AdamW")
    number(sub, "weight-decay", float, 0.1, "of AdamW")
    number(sub, "sequence-length", int, SEQUENCE_LENGTH, "frames of a window")
    number(sub, "stride", int, STRIDE, "frames between windows")
    number(sub, "transpose", int, 0, "move windows by up to so many semitones, at random")
    sub.add_argument("--carry-state", action="store_true", help="go along whole pieces, the state carried")
    number(sub, "seed", int, 0, "of all random numbers")
    sub.add_argument("--patience", type=int, help="stop after so many epochs without a better validation loss")
    sub.add_argument("--resume", action="store_true", help="go on from last_model.pt")
    number(sub, "save-every", float, SAVE_EVERY, "minutes between checkpoints in the middle of an epoch")
    sub.add_argument("--output", type=Path, help="folder to write into (default midi_data)")
    sub.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    sub = corpus_verb(generate, default="what the model was trained on")
    sub.add_argument("--checkpoint", type=Path, help="(default midi_data/best_model.pt)")
    sub.add_argument("--seed", default="corpus", help="corpus, random, or the path of a MIDI file (default corpus)")
    number(sub, "piece", int, 0, "which piece of the test split is the seed")
    number(sub, "seed-seconds", float, 4.0, "how much of the seed the model is given")
    number(sub, "seconds", float, 30.0, "how much to compose")
    number(sub, "temperature", float, 0.8, "above 0; higher is more surprising")
    number(sub, "random-seed", int, 0, "another one gives another take")
    sub.add_argument("--name", help="of the files in midi_data/generated (default: the seed's title)")
    sub.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    sub = corpus_verb(evaluate, default="what the model was trained on")
    sub.add_argument("--checkpoint", type=Path, help="(default midi_data/best_model.pt)")
    sub.add_argument("--split", choices=("train", "validation", "test"), default="validation")
    sub.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    sub = verb(export)
    sub.add_argument("--checkpoint", type=Path, help="(default midi_data/best_model.pt)")
    sub.add_argument("--output", type=Path, required=True, help="such as midi_data/pretrained/mamba.pt")
    verb(demo).set_defaults(corpus="bach", all_instruments=False, limit=None)
    verb(doctor)
    return parser


if __name__ == "__main__":
    sys.exit(main())
