"""Which network predicts best? The same processor time for each, its own learning rate, the same two heads.

    python benchmarks/arena.py run --contender "MusicMamba SSD" --corpus bach --seed 0 --minutes 5
    python benchmarks/arena.py tune --corpus bach --minutes 1       learning rates, from the highest down
    python benchmarks/arena.py all --corpus bach                    every contender at its best rate, three seeds
    python benchmarks/arena.py table                                docs/results.md from the lines, nothing else

One run is one line of JSON in `benchmarks/runs/`, with everything that made it. Every contender has the chord head
and the velocity head, is trained on one thread for minutes of processor time on windows of 128 frames, transposed by
up to five semitones, and is scored on whole pieces, the state carried along. Rates are chosen on validation, from
the highest down until one is worse than the one above it; test is scored once, at the end of a run. The contest
is scored on validation each time the number of frames learned from reaches a power of two: so contenders are
compared at equal frames, too.
"""

import argparse
import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from budget import Budget, endless, train
from contenders import CONTENDERS

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.corpus import load_corpus
from midigen_utils.data.rolls import load_piano_rolls
from midigen_utils.learn.dataset import Batches, SequenceDataset
from midigen_utils.learn.metrics import TrainingLoss, fit_baselines, predict
from midigen_utils.models.frame_model import in_eval
from midigen_utils.models.velocity import loudness

ROOT = Path(__file__).resolve().parent.parent
LINES = ROOT / "benchmarks" / "runs" / "arena.jsonl"
PAGE = ROOT / "docs" / "results.md"
RATES = (5e-4, 1e-3, 2e-3, 3e-3, 5e-3)
SETTINGS = {"sequence_length": 128, "batch_size": 8, "stride": 16, "transpose": 5, "weight_decay": 0.1}
FIRST_MARK = 2**16  # frames learned from at the first look at validation
COUNTS = ("frames", "changing", "onset", "notes", "struck")
DRAWS = 10_000  # of the bootstrap


@torch.no_grad()
def score(model, rolls):
    """What a model says of pieces, piece by piece.

    Args:
        model: `FrameModel`, or a baseline.
        rolls: `RollSplit`.

    Returns:
        List of a row for each piece: how many frames, frames that change, frames with an onset, notes down, notes
        struck; then the nats of each of the first three, and of the velocities of the notes struck (0 without a
        velocity head).
    """
    rows, head = [], getattr(model, "velocity", None)
    with in_eval(model):
        for i in range(len(rolls)):
            bins = torch.from_numpy(np.asarray(rolls.bins(i)))[None]  # (1, T, P)
            past, now = bins[:, :-1], bins[:, 1:]
            x, y = (past > 0).float(), (now > 0).float()
            _, nll, features, _ = predict(model, x, y)
            nll, struck = nll[0].double(), (past == 0) & (now > 0)
            kinds = torch.stack([torch.ones_like(nll), (x != y).any(-1)[0].double(), struck.any(-1)[0].double()])
            nats = (kinds @ nll).tolist()
            velocity = 0.0
            if head is not None and struck.any():
                logits = head(features, past, loudness(past), struck)
                velocity = torch.nn.functional.cross_entropy(logits, now[struck].long() - 1, reduction="sum").item()
            rows.append([*kinds.sum(1).int().tolist(), int(y.sum()), int(struck.sum()), *nats, velocity])
    return [[round(value, 3) for value in row] for row in rows]


def summary(rows):
    """Nats per frame (all, changing, onset), per note struck, and of a velocity, from rows of `score`."""
    total = np.sum(rows, axis=0)
    counts = dict(zip(COUNTS, total))
    nll, change, onset, velocity = total[len(COUNTS) :]
    return {
        "nll": nll / counts["frames"],
        "nll_change": change / max(counts["changing"], 1),
        "nll_onset": onset / max(counts["onset"], 1),
        "nll_note": nll / max(counts["struck"], 1),
        "velocity": velocity / max(counts["struck"], 1),
    }


def interval(rows, less=None, seed=0):
    """The 95 % interval of nats per frame by bootstrap over pieces, of rows of `score`.

    Less those of other rows of the same pieces, if `less` has some: then what makes a piece hard for both cancels.
    """
    rows = np.array(rows, dtype=np.float64)
    nats = rows[:, len(COUNTS)] - (0 if less is None else np.array(less)[:, len(COUNTS)])
    chosen = np.random.default_rng(seed).integers(len(rows), size=(DRAWS, len(rows)))
    return np.quantile(nats[chosen].sum(1) / rows[chosen, 0].sum(1), [0.025, 0.975])


def run(contender, corpus, seed, minutes, learning_rate, kind, rolls):
    """Train one contender, score it, and append its line. Returns the line.

    Args:
        contender: name in `CONTENDERS`.
        corpus: its name, for the line.
        seed: of the weights and the order of the windows.
        minutes: of processor time.
        learning_rate: of AdamW at its highest.
        kind: `"tune"` scores validation only, `"run"` the test split, too.
        rolls: dict of `RollSplit`.
    """
    torch.manual_seed(seed)
    model = CONTENDERS[contender](head="chords", velocity=MIDI_CONFIG["velocity_bins"])
    dataset = SequenceDataset(rolls["train"], SETTINGS["sequence_length"], SETTINGS["stride"])
    batches = Batches(dataset, SETTINGS["batch_size"], seed=seed, transpose=SETTINGS["transpose"], velocities=True)
    loss_function, source = TrainingLoss(model), endless(batches)

    def next_loss():
        nonlocal steps, frames
        x, y = next(source)
        valid = torch.ones(x.shape[:2], dtype=torch.bool)
        steps, frames = steps + 1, frames + valid.numel()
        return loss_function(x, y, valid)[0] / valid.numel()

    steps = frames = 0
    budget, marks, mark = Budget(minutes), [], FIRST_MARK
    for _ in train(model, next_loss, budget, learning_rate, SETTINGS["weight_decay"]):
        if frames >= mark and kind == "run":
            seconds = round(budget.seconds, 1)
            with budget.paused():
                scores = rounded(summary(score(model, rolls["validation"])))
            marks.append({"frames": frames, "seconds": seconds, "validation": scores})
            mark *= 2
    validation = score(model, rolls["validation"])
    line = {
        "kind": kind,
        "contender": contender,
        "corpus": corpus,
        "pieces": {split: len(rolls[split]) for split in rolls},
        "seed": seed,
        "minutes": minutes,
        "learning_rate": learning_rate,
        **SETTINGS,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps,
        "frames": frames,
        "marks": marks,
        "validation": rounded(summary(validation)),
        "validation_pieces": validation,
    }
    if kind == "run":
        test = score(model, rolls["test"])
        line |= {"test": rounded(summary(test)), "test_pieces": test}
    append(line)
    return line


def rounded(scores):
    """Scores to four digits after the point."""
    return {name: round(float(value), 4) for name, value in scores.items()}


def append(line):
    """Add a line to `benchmarks/runs/arena.jsonl`, with what else made it."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    line |= {
        "commit": commit.stdout.strip(),
        "torch": torch.__version__,
        "midigen": version("midigen-utils"),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
    LINES.parent.mkdir(exist_ok=True)
    with open(LINES, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(
        f"{line['contender']}, rate {line['learning_rate']}: {line['validation']['nll']:.4f} on validation", flush=True
    )


def read_lines():
    """All lines, as dicts; none where there is no file."""
    return [json.loads(text) for text in LINES.read_text(encoding="utf-8").splitlines()] if LINES.exists() else []


def best_rates(lines, corpus):
    """The learning rate with the lowest validation nats per frame of each contender that was tuned on a corpus."""
    found = {}
    for line in lines:
        if line["kind"] == "tune" and line["corpus"] == corpus:
            known = found.get(line["contender"])
            if known is None or line["validation"]["nll"] < known["validation"]["nll"]:
                found[line["contender"]] = line
    return {name: line["learning_rate"] for name, line in found.items()}


def tables(lines):
    """The Markdown of the arena: for each corpus the rates tried, the contest, and the same runs at equal frames."""
    parts = []
    for corpus in sorted({line["corpus"] for line in lines}):
        mine = [line for line in lines if line["corpus"] == corpus]
        names = [name for name in CONTENDERS if any(line["contender"] == name for line in mine)]
        markov = next((line for line in mine if line["kind"] == "baseline"), None)
        parts += [f"### {corpus}: learning rates", "", "Nats per frame on validation after a run at each rate.", ""]
        parts += [*heads("contender", *(f"{rate:g}" for rate in RATES))]
        for name in names:
            tuned = {
                line["learning_rate"]: line for line in mine if (line["kind"], line["contender"]) == ("tune", name)
            }
            if tuned:
                parts.append(row(name, *(f"{tuned[r]['validation']['nll']:.3f}" if r in tuned else "" for r in RATES)))
        contest = {name: [x for x in mine if (x["kind"], x["contender"]) == ("run", name)] for name in names}
        contest = {name: runs for name, runs in contest.items() if runs}
        if contest:
            parts += ["", *contest_table(corpus, contest, markov), "", *frames_table(contest)]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def contest_table(corpus, contest, markov):
    """Test scores of each contender: the mean over seeds, and intervals over pieces of all seeds together.

    "Behind the first" is the interval of the difference to the winner on the same pieces.
    """
    minutes = {run["minutes"] for runs in contest.values() for run in runs}
    yield f"### {corpus}: {', '.join(f'{m:g}' for m in sorted(minutes))} minutes each, test"
    yield ""
    yield from heads(
        "contender",
        "parameters",
        "rate",
        "seeds",
        "frames seen",
        "nats per frame",
        "95 % interval",
        "behind the first",
        "changing",
        "onset",
        "per note",
        "velocity",
    )
    if markov:
        low, high = interval(markov["test_pieces"])
        scores = [markov["test"][name] for name in ("nll_change", "nll_onset", "nll_note")]
        yield row(
            "Markov-1",
            "",
            "",
            "",
            "",
            f"{markov['test']['nll']:.3f}",
            f"{low:.3f} to {high:.3f}",
            "",
            *(f"{value:.3f}" for value in scores),
            "",
        )
    ranked = sorted(contest.items(), key=lambda pair: np.mean([run["test"]["nll"] for run in pair[1]]))
    first = np.mean([run["test_pieces"] for run in ranked[0][1]], axis=0)
    for name, runs in ranked:
        rows = np.mean([run["test_pieces"] for run in runs], axis=0)
        low, high = interval(rows)
        behind = "" if runs is ranked[0][1] else "{:.3f} to {:.3f}".format(*interval(rows, first))
        means = {key: np.mean([run["test"][key] for run in runs]) for key in runs[0]["test"]}
        yield row(
            name,
            f"{runs[0]['parameters']:,}",
            f"{runs[0]['learning_rate']:g}",
            len(runs),
            f"{np.mean([run['frames'] for run in runs]):,.0f}",
            f"{means['nll']:.3f}",
            f"{low:.3f} to {high:.3f}",
            behind,
            *(f"{means[key]:.3f}" for key in ("nll_change", "nll_onset", "nll_note", "velocity")),
        )


def frames_table(contest):
    """Validation at equal frames: at the marks that every contender passed."""
    passed = [{mark["frames"] for mark in run["marks"]} for runs in contest.values() for run in runs]
    common = sorted(set.intersection(*passed))
    yield "The same runs at equal frames: nats per frame on validation, the learning rate not yet fallen."
    yield ""
    yield from heads("contender", *(f"{frames:,}" for frames in common))
    for name, runs in contest.items():
        at = [{mark["frames"]: mark["validation"]["nll"] for mark in run["marks"]} for run in runs]
        yield row(name, *(f"{np.mean([marks[frames] for marks in at]):.3f}" for frames in common))


def heads(*names):
    """The two first lines of a Markdown table."""
    return row(*names), "|" + "---|" * len(names)


def row(*cells):
    """A line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def write_page(page=PAGE):
    """Put the tables between the two marks of a page. Returns the page's text."""
    begin, end = "<!-- arena: made by benchmarks/arena.py table -->\n", "<!-- arena: end -->"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    text = before + begin + "\n" + tables(read_lines()) + "\n" + end + rest.split(end)[1]
    page.write_text(text, encoding="utf-8")
    return text


def baseline(corpus, rolls):
    """The line of Markov-1, once a corpus."""
    if not any((line["kind"], line["corpus"]) == ("baseline", corpus) for line in read_lines()):
        model = fit_baselines(rolls["train"])["Markov-1"]
        line = {"kind": "baseline", "contender": "Markov-1", "corpus": corpus, "learning_rate": None}
        for split in ("validation", "test"):
            rows = score(model, rolls[split])
            line |= {split: rounded(summary(rows)), f"{split}_pieces": rows}
        append(line)


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "tune", "all", "table"))
    parser.add_argument("--contender", choices=CONTENDERS, nargs="+", default=list(CONTENDERS))
    parser.add_argument("--corpus", default="bach", help="bach or maestro")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, help="of processor time a run: 1 to tune, else 5")
    parser.add_argument("--learning-rate", type=float, help="default: the best of tune, for this contender and corpus")
    options = parser.parse_args()
    if options.what == "table":
        write_page()
        return
    torch.set_num_threads(1)
    rolls, _ = load_piano_rolls(load_corpus(options.corpus))
    baseline(options.corpus, rolls)
    if options.what == "tune":
        for name in options.contender:
            last = float("inf")
            for rate in reversed(RATES):  # from the highest down, until one is worse than the one above it
                line = run(name, options.corpus, 0, options.minutes or 1, rate, "tune", rolls)
                if line["validation"]["nll"] > last:
                    break
                last = line["validation"]["nll"]
        return
    done = {(x["contender"], x["seed"]) for x in read_lines() if (x["kind"], x["corpus"]) == ("run", options.corpus)}
    for seed in options.seeds:
        for name in options.contender:
            if options.what == "all" and (name, seed) in done:
                continue
            rate = options.learning_rate or best_rates(read_lines(), options.corpus).get(name)
            if rate is None:
                sys.exit(f"{name} has no learning rate on {options.corpus}: `tune` first, or give --learning-rate")
            run(name, options.corpus, seed, options.minutes or 5, rate, "run", rolls)


if __name__ == "__main__":
    main()
