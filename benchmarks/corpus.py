"""From MIDI files to batches: ours beside pretty_midi and torch's DataLoader, on the same files in one run.

    python benchmarks/corpus.py --data FOLDER                         some minutes
    python benchmarks/corpus.py --data FOLDER --sample 8 --rounds 1   a quick look

FOLDER holds maestro-v3.0.0. The candidates take turns; medians over the rounds, with the smallest and the largest.
On one core it is CPU time that counts, so that other work on the machine weighs less. Trust the ratios.
"""

import argparse
import contextlib
import io
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pretty_midi

from midigen_utils import config, files
from midigen_utils.data import rolls as cache
from midigen_utils.data.corpus import SPLITS, load_maestro
from midigen_utils.data.midi import read_notes
from midigen_utils.data.piano_roll import midi_to_bins
from midigen_utils.data.rolls import load_piano_rolls

CLIPPED = config.MIDI_CONFIG
WHOLE = {**CLIPPED, "max_duration": None}


def build(corpus, midi_config):
    """Build the cache of a corpus in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        files.MIDI_DATA = Path(folder)
        load_piano_rolls(corpus, midi_config)


def each(function, corpus, *arguments):
    for piece in corpus.pieces:
        function(piece.path, *arguments)


def with_pretty_midi(path, fs=CLIPPED["fs"]):
    return pretty_midi.PrettyMIDI(str(path)).get_piano_roll(fs, pedal_threshold=64)


def take_turns(candidates, rounds, clock):
    """Seconds of each candidate in each round: `{name: [seconds, ...]}`; a first, unmeasured round warms up."""
    seconds = {name: [] for name in candidates}
    for name, run in candidates.items():
        if name != "pretty_midi":
            run()
    for _ in range(rounds):
        for name, run in candidates.items():
            started = clock()
            run()
            seconds[name].append(clock() - started)
    return seconds


def show(name, rates, unit, ratios=None):
    line = f"  {name:<52} {median(rates):>9.1f} {unit:<9} ({min(rates):.1f} to {max(rates):.1f})"
    print(line + (f"  {median(ratios):>6.1f} x ({min(ratios):.1f} to {max(ratios):.1f})" if ratios else ""), flush=True)


def one_core(corpus, rounds):
    print(f"{len(corpus.pieces)} files, one process, CPU time; pretty_midi: parse and get_piano_roll with the pedal")
    candidates = {
        "pretty_midi": partial(each, with_pretty_midi, corpus),
        "midigen, notes of whole pieces": partial(each, read_notes, corpus),
        "midigen, rolls of whole pieces": partial(each, midi_to_bins, corpus, WHOLE),
        "midigen, rolls of whole pieces, written": partial(build, corpus, WHOLE),
        "midigen, rolls of the first 60 s": partial(each, midi_to_bins, corpus, CLIPPED),
        "midigen, rolls of the first 60 s, written": partial(build, corpus, CLIPPED),
    }
    seconds = take_turns(candidates, rounds, time.process_time)
    for name, times in seconds.items():
        ratios = [peer / mine for peer, mine in zip(seconds["pretty_midi"], times)]
        show(name, [len(corpus.pieces) / t for t in times], "files/s", ratios)


def whole_pieces(options):
    """Peak memory of a build of whole pieces, in a process of its own."""
    print("\nwhole pieces, all files, cache written")
    command = [sys.executable, __file__, "--data", str(options.data), "--peak"]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="", flush=True)


def peak(corpus):
    used, read = [], cache.midi_to_bins

    def watched(*args):
        roll = read(*args)
        used.append(psutil.Process().memory_info().rss / 1e6)
        return roll

    import psutil

    before, cache.midi_to_bins = psutil.Process().memory_info().rss / 1e6, watched
    with tempfile.TemporaryDirectory() as folder:
        files.MIDI_DATA = Path(folder)
        rolls, corpus = load_piano_rolls(corpus, WHOLE)
        cells = sum(rolls[split].frames.size for split in SPLITS)
        hours = sum(len(rolls[split].frames) for split in SPLITS) / WHOLE["fs"] / 3600
        print(f"  {len(corpus.pieces)} pieces, {hours:.1f} hours: {cells / 1e6:.0f} MB as uint8, ", end="")
        print(f"{4 * cells / 1e6:.0f} MB if it were float32; longest {max(rolls['train'].lengths) / 16 / 60:.0f} min")
        print(f"  memory: {before:.0f} MB before the build, {max(used):.0f} MB at most in it")


def opening(corpus, rounds):
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        files.MIDI_DATA = Path(folder)
        load_piano_rolls(corpus, WHOLE)
        seconds = take_turns({"open": lambda: load_piano_rolls(corpus, WHOLE)}, 4 * rounds, time.perf_counter)["open"]
    print(
        f"\nopening the cache of whole pieces ({len(corpus.pieces)} files are looked at for changes, nothing is copied)"
    )
    show("memory-mapped", [1000 * t for t in seconds], "ms")


def batches(corpus, rounds):
    import torch

    from midigen_utils.learn.dataset import Batches, SequenceDataset

    torch.set_num_threads(1)

    class Windows(torch.utils.data.Dataset):
        """What a first version of a course would do: a list of float32 arrays, one window an item."""

        def __init__(self, rolls):
            self.rolls = [(roll > 0).astype(np.float32) for roll in rolls]
            self.index = [(i, s) for i, roll in enumerate(self.rolls) for s in range(0, len(roll) - 64, 16)]

        def __len__(self):
            return len(self.index)

        def __getitem__(self, i):
            piece, start = self.index[i]
            window = torch.from_numpy(self.rolls[piece][start : start + 65])
            return window[:-1], window[1:]

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        files.MIDI_DATA = Path(folder)
        rolls = load_piano_rolls(corpus, CLIPPED)[0]["train"]
        dataset = SequenceDataset(rolls)
        loader = torch.utils.data.DataLoader(Windows([rolls[i] for i in range(len(rolls))]), 64, shuffle=True)
        candidates = {"DataLoader over a list of float32 arrays": loader}
        for transpose in (0, 6):
            candidates[f"Batches, transpose={transpose}"] = Batches(dataset, 64, transpose=transpose)

        def epoch(source):
            for _ in source.epoch(0) if isinstance(source, Batches) else source:
                pass

        runs = {name: partial(epoch, source) for name, source in candidates.items()}
        seconds = take_turns(runs, rounds, time.process_time)
    print(f"\nan epoch of {len(loader)} batches of 64 windows, one thread, CPU time")
    for name, times in seconds.items():
        ratios = [peer / mine for peer, mine in zip(seconds["DataLoader over a list of float32 arrays"], times)]
        show(name, [len(loader) / t for t in times], "batches/s", ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds maestro-v3.0.0")
    parser.add_argument("--sample", type=int, default=40, help="files of the comparison with pretty_midi, default 40")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    corpus = load_maestro(options.data / "maestro-v3.0.0")
    if options.peak:
        peak(corpus)
        return
    chosen = np.linspace(0, len(corpus.pieces) - 1, min(options.sample, len(corpus.pieces))).round().astype(int)
    one_core(replace(corpus, pieces=tuple(corpus.pieces[i] for i in chosen)), options.rounds)
    whole_pieces(options)
    opening(corpus, options.rounds)
    batches(corpus, options.rounds)


if __name__ == "__main__":
    main()
