"""`python -m midigen_utils <verb>`: everything that make does, on any system."""

import argparse
import math
import os
import sys
import webbrowser
from pathlib import Path

from . import config, files
from .config import BATCH_SIZE, LEARNING_RATE, MIDI_CONFIG, NUM_EPOCHS, SAVE_EVERY, SEQUENCE_LENGTH, STRIDE

MODEL_NAMES = {"mamba": "MusicMamba", "lstm": "MusicLSTM"}
FIT_OPTIONS = (  # of `train`, with the names, meanings and defaults that they have in `fit`
    "epochs steps batch_size learning_rate weight_decay sequence_length stride transpose carry_state seed patience "
    "save_every"
).split()


def main(arguments=None):
    """Run one verb of a list of words, default the command line. Returns the exit code: 0, or 1 after a message."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def data(options):
    """Get a corpus and write its piano rolls to midi_data/cache; the exit code is 1 if a file had to be left out."""
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
    """Train a model and write its best epoch to `<output>/best_model.pt`; `torchrun -m` trains in several processes."""
    from .learn import parallel, training
    from .learn.metrics import fit_baselines

    device, midi_config = parallel.init_process_group(options.device), _midi_config(options)
    rolls, _ = _load(options, midi_config)
    folder = options.output or files.MIDI_DATA
    config.seed_everything(options.seed)
    model = _model_to_train(options, midi_config)
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
        **{name: getattr(options, name) for name in FIT_OPTIONS},
        resume=options.resume or begun,
        folder=folder,
        device=device,
        extras={"midi_config": midi_config, "corpus": options.corpus, "all_instruments": options.all_instruments},
    )
    parallel.destroy_process_group()
    print(f"best model: {folder / 'best_model.pt'}")


def _model_to_train(options, midi_config):
    """A new model, or that of the checkpoint to start from; the other options must not contradict the checkpoint."""
    from . import models
    from .learn.checkpoints import load_model

    if options.start is None:
        if options.ssm and options.model == "lstm":
            raise ValueError("--ssm is an option of the model mamba: leave it out")
        form = {"head": options.head or "keys"} | ({"ssm": options.ssm} if options.ssm else {})
        return getattr(models, MODEL_NAMES[options.model or "mamba"])(**form, velocity=midi_config["velocity_bins"])
    model = load_model(options.start)
    has = {"model": type(model).__name__, "head": model.config["head"], "ssm": model.config.get("ssm")}
    asked = {"model": MODEL_NAMES.get(options.model), "head": options.head, "ssm": options.ssm}
    if any(asked[name] not in (None, has[name]) for name in asked):
        taken = ", ".join(filter(None, has.values()))
        raise ValueError(f"--start takes the model from the checkpoint ({taken}): leave --model, --head and --ssm out")
    return model


def generate(options):
    """Compose from a beginning; write the music as MIDI, WAV, PNG and a page to midi_data/generated."""
    from .learn.checkpoints import load_model
    from .models import generate_music
    from .show.export import unused, write_music

    if options.begin not in ("corpus", "random") and not Path(options.begin).is_file():
        raise FileNotFoundError(f"--begin {options.begin}: no such file; give corpus, random or a MIDI file")
    checkpoint, midi_config = _read_as_trained(options, needs_corpus=options.begin == "corpus")
    model = load_model(checkpoint, config.pick_device(options.device))
    fs = midi_config["fs"]
    beginning, title = _beginning(options, midi_config)
    beginning, new = beginning[: max(1, round(options.begin_seconds * fs))], round(options.seconds * fs)
    roll = generate_music(model, beginning, new, options.temperature, random_seed=options.seed)
    name = files.slug(options.name) if options.name else f"{files.slug(title)}-t{options.temperature:g}-r{options.seed}"
    made = f"{type(model).__name__} ({checkpoint.stem}) after {title}"
    how = f"temperature {options.temperature:g}, random number {options.seed}"
    write_music(roll, midi_config, unused(files.MIDI_DATA / "generated" / name), f"{made}, {how}", len(beginning))


def _beginning(options, midi_config):
    """The roll that `--begin` names, and its title."""
    from .data import midi_to_piano_roll
    from .models import generate_random_seed

    if options.begin == "random":
        return generate_random_seed(options.seed), "A random pattern"
    if options.begin == "corpus":
        rolls, _ = _load(options, midi_config)
        part = rolls["validation"]  # no model was trained on it
        if len(part) == 0:
            raise ValueError("the validation split is empty: give `--begin random` or `--begin FILE.mid` instead")
        if not 0 <= options.piece < len(part):
            raise ValueError(f"--piece {options.piece}: the validation split has pieces 0 to {len(part) - 1}")
        piece = part.pieces[options.piece]  # not the corpus's: a limit leaves some out
        return part[options.piece], f"{piece.composer}: {piece.title}".strip(": ")
    roll = midi_to_piano_roll(options.begin, midi_config, all_instruments=options.all_instruments)
    first = int(roll.any(axis=1).argmax())
    if first > 0:
        print(f"{options.begin} begins with {first / midi_config['fs']:g} s of silence; taken from its first note on")
    return roll[first:], files.title_of(options.begin)


def evaluate(options):
    """Print a table: a checkpoint's scores beside those of the baselines; writes only rolls, to midi_data/cache."""
    from .learn.checkpoints import load_model
    from .learn.metrics import fit_baselines
    from .learn.training import evaluate as score

    checkpoint, midi_config = _read_as_trained(options)
    rolls, _ = _load(options, midi_config)
    _need_pieces(rolls, "train", "validation", options.split)
    device = config.pick_device(options.device)
    models = {**fit_baselines(rolls["train"]), checkpoint: load_model(checkpoint)}
    print(f"{options.corpus}, {options.split}: {len(rolls[options.split])} pieces; nats per frame; F1 at the")
    print("threshold that is best on validation\n")
    print("| model | NLL | NLL, changing frames | NLL, onset frames | precision | recall | F1 |")
    print("|---|---|---|---|---|---|---|")
    for name, model in models.items():
        threshold = score(model, rolls["validation"], device)["threshold"]
        result = score(model, rolls[options.split], device, threshold)
        columns = ("nll", "nll_change", "nll_onset", "precision", "recall", "f1")
        print(f"| {name} | " + " | ".join(f"{result[column]:.3f}" for column in columns) + " |")


def export(options):
    """Write a checkpoint to share to `<output>`: weights in half precision, nothing that only training needs."""
    from .learn.checkpoints import export_model

    size = export_model(options.checkpoint or files.MIDI_DATA / "best_model.pt", options.output)
    print(f"{options.output}: {size / 1e6:.1f} MB")


def live(options):
    """Write midi_data/generated/live.html, a page on which your network, else Bach's, plays with whoever opens it."""
    from .data import load_corpus, midi_to_piano_roll
    from .learn.checkpoints import load_model
    from .show.live import live_page

    mine, beginning = files.MIDI_DATA / "best_model.pt", {**MIDI_CONFIG, "max_duration": 8}
    model = load_model(options.checkpoint or (mine if mine.is_file() else "bach"))
    seeds = [(p.title, midi_to_piano_roll(p.path, beginning)) for p in load_corpus("bach").split("validation")[:3]]
    path = live_page(model, options.output or files.MIDI_DATA / "generated" / "live.html", seeds=seeds)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB. Open it in a browser, or send it to a friend")
    _open(path)


def demo(options):
    """Compose, train, compose again, in commands that it prints; writes to midi_data/generated and midi_data/demo."""
    generated, folder = files.MIDI_DATA / "generated", files.MIDI_DATA / "demo"
    first = "generate --seconds 24 --seed 8 --name bach --checkpoint", "bach"  # the best of twelve takes
    then = "train --ssm ssd --head chords --epochs 2 --stride 64 --batch-size 16 --learning-rate 5e-3 --output", folder
    last = "generate --seconds 24 --name demo --checkpoint", folder / "best_model.pt"
    walk = {
        "What longer training gives: a network taught by Bach goes on from 4 s of a chorale new to it.": first,
        "Now a new one learns from nothing, in two epochs of Bach's chorales. Listen to the first meanwhile.": then,
        "It goes on from the same 4 s.": last,
    }
    for what, (words, path) in walk.items():
        print(f"\n{what}\n\n    python -m midigen_utils {words} {path}\n", flush=True)
        if code := main([*words.split(), str(path)]):
            return code
        if words.startswith("generate"):
            _open(max(generated.glob("*.html"), key=os.path.getmtime))
    print("\nNext: `make notebooks` opens them. `make data` downloads MAESTRO (58 MB), real piano performances;")
    print("`make train` trains on them for longer, and then sounds better than these first minutes of learning.")


def _open(page):
    """Show a page in the browser of whoever sits in front of this terminal, if there is one."""
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32")):
        webbrowser.open(page.resolve().as_uri())


def doctor(options):
    """Print what this machine has and what it lacks; writes nothing."""
    from .doctor import report

    print(report())


def _read_as_trained(options, needs_corpus=True):
    """A checkpoint's path and `MIDI_CONFIG`. Its corpus and instruments become the options, if no corpus is named.

    With other instruments, files change their notes and so their split.
    """
    from .learn.checkpoints import load_checkpoint

    checkpoint = options.checkpoint or files.MIDI_DATA / "best_model.pt"
    if not options.checkpoint and not checkpoint.exists():
        checkpoint = Path("bach")
        print("No model of yours yet (`make train`): taking the one that comes with the course, trained on Bach.")
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
    parser.add_argument("--version", action="version", version=f"midigen-utils {config.version()}")
    verbs = parser.add_subparsers(required=True, metavar="verb")

    def verb(run):
        sub = verbs.add_parser(run.__name__, help=run.__doc__.splitlines()[0], description=run.__doc__)
        sub.set_defaults(run=run)
        return sub

    trained_on = "what the model was trained on"
    checkpoint = {"type": Path, "help": "a file, or bach, mamba or lstm (default midi_data/best_model.pt, else bach)"}
    for run, corpus in ((data, "maestro"), (train, "bach"), (generate, None), (evaluate, None)):
        sub = verb(run)
        text = f"bach, maestro or a folder of MIDI files (default {corpus or trained_on})"
        sub.add_argument("--corpus", default=corpus, help=text)
        sub.add_argument("--all-instruments", action="store_true", help="take all tracks but drums, not only pianos")
        _number(sub, "limit", int, None, "so many training pieces only, for a quick try (such as 50)")
        if run in (data, train):
            sub.add_argument("--whole-pieces", action="store_true", help="all of each piece, not its first 60 s")
        if run in (generate, evaluate):
            sub.add_argument("--checkpoint", **checkpoint)
        if run is not data:
            sub.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
        if run is train:
            _add_train_options(sub)
        if run is generate:
            _add_generate_options(sub)
        if run is evaluate:
            sub.add_argument("--split", choices=("train", "validation", "test"), default="validation")
    share = verb(export)
    share.add_argument("--checkpoint", type=Path, help="default midi_data/best_model.pt")
    share.add_argument("--output", type=Path, required=True, help="such as midi_data/pretrained/mamba.pt")
    play = verb(live)
    play.add_argument("--checkpoint", type=Path, help="default midi_data/best_model.pt, else bach")
    play.add_argument("--output", type=Path, help="default midi_data/generated/live.html")
    verb(demo)
    verb(doctor)
    return parser


def _add_train_options(sub):
    sub.add_argument("--model", choices=MODEL_NAMES, help="(default mamba)")
    sub.add_argument("--head", choices=("keys", "chords"), help="how a frame is predicted (default keys)")
    sub.add_argument("--ssm", choices=("s6", "ssd"), help="form of the mamba: Mamba or Mamba-2 (default s6)")
    sub.add_argument("--start", type=Path, help="checkpoint to start from: its model, heads and weights")
    _number(sub, "epochs", int, NUM_EPOCHS, "epochs in all")
    _number(sub, "steps", int, None, "steps of optimisation in all, in place of epochs")
    _number(sub, "batch-size", int, BATCH_SIZE, "windows of a step, of all processes together")
    _number(sub, "learning-rate", float, LEARNING_RATE, "of AdamW")
    _number(sub, "weight-decay", float, 0.1, "of AdamW", zero=True)
    _number(sub, "sequence-length", int, SEQUENCE_LENGTH, "frames of a window")
    _number(sub, "stride", int, STRIDE, "frames between windows")
    _number(sub, "transpose", int, 0, "move windows by up to so many semitones, at random", zero=True)
    sub.add_argument("--carry-state", action="store_true", help="go along whole pieces, the state carried")
    _number(sub, "seed", int, 0, "of all random numbers", zero=True)
    _number(sub, "patience", int, None, "stop after so many epochs without a better validation loss")
    sub.add_argument("--resume", action="store_true", help="go on from last_model.pt")
    _number(sub, "save-every", float, SAVE_EVERY, "minutes between checkpoints in the middle of an epoch", zero=True)
    sub.add_argument("--output", type=Path, help="folder to write into (default midi_data)")


def _add_generate_options(sub):
    sub.add_argument("--begin", default="corpus", help="corpus, random, or the path of a MIDI file (default corpus)")
    _number(sub, "piece", int, 0, "which piece of the corpus's validation split to begin from", zero=True)
    _number(sub, "begin-seconds", float, 4.0, "how much of the beginning the model is given")
    _number(sub, "seconds", float, 30.0, "how much to compose")
    _number(sub, "temperature", float, 0.8, "above 0; higher is more surprising")
    _number(sub, "seed", int, 0, "of all random numbers: another one gives another take", zero=True)
    sub.add_argument("--random-seed", dest="seed", type=int, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    sub.add_argument("--name", help="of the files in midi_data/generated (default: the title of the beginning)")


def _number(sub, name, kind, default, text, zero=False):
    """An option that takes a finite number above 0, or 0 where that has a meaning; refuses others before any work."""

    def number(word):
        value = kind(word)
        if not (0 < value < math.inf or (zero and value == 0)):
            raise argparse.ArgumentTypeError(f"{word}: give a number {'of 0 or more' if zero else 'above 0'}")
        return value

    number.__name__ = kind.__name__  # argparse names it where a word is no number at all
    text += "" if default is None else f" (default {default})"
    sub.add_argument(f"--{name}", type=number, default=default, help=text)


if __name__ == "__main__":
    sys.exit(main())
