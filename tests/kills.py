"""Kill processes at random moments while they build rolls, train and write pages: what lies there must be whole.

`python tests/kills.py --each 70 --seed 0`. Every file that has its final name must be one that was written whole;
rolls must be those of the corpus; and a training must lose nothing of what it had saved, and come, killed and resumed
again and again, to the very weights of the run that was never killed.
"""

import argparse
import contextlib
import csv
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from conftest import write_tune  # noqa: E402
from tqdm import tqdm  # noqa: E402

from midigen_utils import files  # noqa: E402
from midigen_utils.config import MIDI_CONFIG  # noqa: E402
from midigen_utils.data.corpus import SPLITS, load_corpus  # noqa: E402
from midigen_utils.data.piano_roll import piano_roll_to_midi  # noqa: E402
from midigen_utils.data.rolls import load_piano_rolls  # noqa: E402
from midigen_utils.learn import run as running  # noqa: E402
from midigen_utils.learn.checkpoints import load_checkpoint  # noqa: E402
from midigen_utils.learn.training import fit  # noqa: E402
from midigen_utils.models.lstm import MusicLSTM  # noqa: E402
from midigen_utils.show.live import live_page  # noqa: E402
from midigen_utils.show.player import player  # noqa: E402
from midigen_utils.show.sound import write_wav  # noqa: E402

EPOCHS = 24  # of the run that is killed, of 4 steps each; it saves after every step


def rolls_contents(folder):
    rolls, _ = load_piano_rolls(load_corpus(folder))
    return {split: (bytes(rolls[split].frames), rolls[split].lengths.tolist()) for split in SPLITS}


class Rolls:
    """A corpus of which one file is touched again and again, so that its rolls are built anew and the old ones go."""

    def __init__(self, folder):
        files.MIDI_DATA, self.folder = folder / "midi_data", folder / "tunes"
        for i in range(8):
            write_tune(self.folder / f"tune {i}.mid", seed=i, seconds=4.0)
        self.expected = rolls_contents(self.folder)

    def work(self, say):
        while True:
            os.utime(self.folder / "tune 0.mid")
            load_piano_rolls(load_corpus(self.folder))
            say("built")

    def check(self, said, ended):
        half = len(list((files.MIDI_DATA / "cache").glob(".*.tmp")))
        assert rolls_contents(self.folder) == self.expected
        os.utime(self.folder / "tune 0.mid")
        assert rolls_contents(self.folder) == self.expected
        assert len(list((files.MIDI_DATA / "cache").glob("tunes-*"))) == 1, "a build leaves rolls that nobody needs"
        return half


class Training:
    """A run that saves after every step, resumed after each kill; one that reaches its end starts again."""

    def __init__(self, folder):
        self.folder, self.saved, self.ends = folder / "run", (0, 0), 0
        piece = np.tile(np.eye(16, 88, 40, dtype=np.float32), (9, 1))
        self.rolls = {"train": [piece] * 4, "validation": [piece[:80]]}
        self.expected = self.fit(folder / "whole", save_every=float("inf"))

    def fit(self, folder, **options):
        torch.manual_seed(0)
        model = MusicLSTM(hidden_size=8)
        steps = {"sequence_length": 64, "stride": 5, "batch_size": 17, "device": "cpu"}
        fit(model, self.rolls, EPOCHS, folder=folder, **steps, **options)
        return model.state_dict()

    def work(self, say):
        save = running.Run.save

        def saved(run, name):
            save(run, name)
            say(f"{run.epoch} {run.step}" if name == running.LAST else "best")

        running.Run.save = saved
        self.fit(self.folder, save_every=0, resume=(self.folder / running.LAST).exists())

    def check(self, said, ended):
        half = len(list(self.folder.glob(".*.tmp")))
        assert half <= 1, "a resumed training leaves what a killed one left"
        places = [tuple(map(int, line.split())) for line in said if line != "best"]
        if "best" in said or self.saved > (1, 0):
            load_checkpoint(self.folder / running.BEST)
        self.saved = max([self.saved, *places])
        if self.saved > (0, 0):
            state = load_checkpoint(self.folder / running.LAST)
            assert (state["epoch"] + 1, state["step"]) >= self.saved, "a saved step was lost"
        if (self.folder / running.HISTORY).exists():
            with open(self.folder / running.HISTORY, encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            assert [int(row["epoch"]) for row in rows] == list(range(len(rows))) and len(rows) >= self.saved[0] - 1
        if ended:
            weights = load_checkpoint(self.folder / running.LAST)["model_state_dict"]
            assert all(torch.equal(weights[name], self.expected[name]) for name in self.expected), "another run"
            self.saved, self.ends = (0, 0), self.ends + 1
            shutil.rmtree(self.folder)
        return half


class Pages:
    """Two takes that are written over each other, as page, live page, MIDI and WAV."""

    def __init__(self, folder):
        self.folder = folder / "pages"
        rng = np.random.default_rng(0)
        self.takes = [(rng.random((160, 88)) > 0.97).astype(np.float32) for _ in range(2)]
        self.model, self.expected = MusicLSTM(hidden_size=32), {}
        for take in self.takes:
            self.write(take)
            for path in self.folder.iterdir():
                self.expected.setdefault(path.name, []).append(path.read_bytes())

    def write(self, take, say=str):
        for name, write in {
            "take.mid": lambda path: piano_roll_to_midi(take, MIDI_CONFIG, path),
            "take.wav": lambda path: write_wav(take.sum(1).repeat(2000).astype(np.float32) / 88, path),
            "live.html": lambda path: live_page(self.model, path, seeds=[("A take", take)]),
            "take.html": lambda path: player(take, title="A take").save(path),
        }.items():
            write(self.folder / name)
            say(name)

    def work(self, say):
        while True:
            for take in self.takes:
                self.write(take, say)

    def check(self, said, ended):
        for name, versions in self.expected.items():
            assert (self.folder / name).read_bytes() in versions, f"{name} is neither the old nor the new one"
        return len(list(self.folder.glob(".*.tmp")))


def child_of(job):
    """Start `job.work` in a process of its own, ready at once; returns its id and where its lines are read."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        job.work(lambda line: os.write(writer, f"{line}\n".encode()))
        os._exit(0)
    except BaseException as error:
        os.write(writer, f"failed: {error!r}\n".encode())
    os._exit(1)


def killed(job, seconds):
    """Let a job work, kill it after some seconds; returns its lines, and whether it had ended by itself."""
    child, reader = child_of(job)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as lines:
        said = lines.read().splitlines()
    assert not any(line.startswith("failed") for line in said), said[-1]
    return said, status == 0


def main():
    """Kill, look, and go on; 1 if anything was not whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=70, help="kills of each kind")
    parser.add_argument("--seed", type=int, default=0, help="other seeds, other moments")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own is shared by forks: a killed one that holds it would stop this process
    rng, faults = random.Random(options.seed), 0
    for kind in (Rolls, Training, Pages):
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                job, half, done = kind(Path(folder)), 0, 0
            for number in range(options.each):
                try:
                    with contextlib.redirect_stderr(io.StringIO()):
                        said, ended = killed(job, rng.uniform(0.02, 2))
                        half, done = half + job.check(said, ended), done + len(said)
                except Exception as error:
                    faults += 1
                    print(f"{kind.__name__}, kill {number}: {type(error).__name__}: {error}", flush=True)
            ends = f", {job.ends} runs to the end, alike" if kind is Training else ""
            print(
                f"{kind.__name__:<9}{options.each:4} kills, {done} pieces of work done, {half} half files seen{ends}",
                flush=True,
            )
    print(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
