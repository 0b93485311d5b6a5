"""Wound real files and read them: whatever comes back but a result or the documented errors is a finding.

`python tests/fuzz.py --minutes 10 --seed 0`; a finding names the command that repeats it.

An input is made from its kind and number alone. It is read in a process of its own with little memory;
one that answers nothing within 10 seconds is a hang.
"""

import argparse
import contextlib
import functools
import io
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS, MEMORY = 10, 2 << 30
WHOLE = {"max_duration": None}


# ---- wounds ----


def wounded(data, rng, other=b""):
    """Bytes with a few wounds: flipped bits, a cut, a splice from elsewhere, two parts swapped, a length changed."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        i, n, what = rng.randrange(len(data) + 1), rng.choice([1, 2, 4, 16, 300]), rng.randrange(7)
        if what < 2 and data:
            data[min(i, len(data) - 1)] ^= 1 << rng.randrange(8)
        elif what == 2:
            del data[i : i + (n if rng.random() < 0.7 else len(data))]
        elif what == 3:
            source = other or data
            j = rng.randrange(len(source) + 1)
            data[i : i + rng.choice([0, n])] = source[j : j + n]
        elif what == 4:
            j = rng.randrange(len(data) + 1)
            data[i : i + n], data[j : j + n] = data[j : j + n], data[i : i + n]
        elif what == 5:
            number = rng.choice([0, 1, 127, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, len(data), rng.randrange(2**32)])
            data[i : i + 4] = struct.pack(rng.choice("<>") + "I", number)
        else:
            data[i:i] = bytes(rng.choice(b'\0\1\x7f\x80\xff\n\r",;[]{}-9') for _ in range(rng.choice([1, 3])))
    return bytes(data)


def wounded_zip(data, rng):
    """A zip file whose check sums are right, but one of its parts is wounded: what a stranger could send."""
    output = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(output, "w") as target:
        names = source.namelist()
        pickled = next(name for name in names if name.endswith("data.pkl"))
        hurt = pickled if rng.random() < 0.8 else rng.choice(names)
        for name in names:
            target.writestr(name, wounded(source.read(name), rng) if name == hurt else source.read(name))
    return output.getvalue()


# ---- what is wounded, and its readers ----


class Readers:
    """The valid files, made once a process, and how each kind is wounded and read."""

    def __init__(self, folder):
        import torch

        sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
        from conftest import write_tune
        from test_midi import SEEDS

        from midigen_utils import config, files
        from midigen_utils.data import bach, corpus, midi, piano_roll
        from midigen_utils.data import rolls as cache
        from midigen_utils.learn import checkpoints, training
        from midigen_utils.models.lstm import MusicLSTM
        from midigen_utils.models.mamba import MusicMamba

        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        self.bach, self.cache, self.checkpoints, self.config = bach, cache, checkpoints, config
        self.corpus, self.midi, self.piano_roll = corpus, midi, piano_roll
        self.folder = folder
        chorales = sorted(bach.build_bach().glob("*.mid"))
        self.midis = [path.read_bytes() for path in chorales[::8]]
        self.midis += [
            header + b"".join(b"MTrk" + struct.pack(">I", len(body)) + body for body in bodies)
            for header, bodies in SEEDS
        ]
        for i in range(5):
            path = write_tune(folder / "tunes" / "2004" / f"tune{i}.mid", seed=i)
            self.midis.append(path.read_bytes())
        rows = [
            f'"Bach, J. S.","Étude ""{i}""",{corpus.SPLITS[i % 3]},2004,2004/tune{i}.mid,2004/tune{i}.wav,12.0'
            for i in range(5)
        ]
        self.csv = "\n".join([",".join(corpus.COLUMNS), *rows, ""]).encode()
        (folder / "tunes" / "m.csv").write_bytes(self.csv)
        files.MIDI_DATA = folder / "midi_data"
        rolls, _ = cache.load_piano_rolls(corpus.load_maestro(folder / "tunes"))
        self.lengths = {split: rolls[split].lengths.tolist() for split in corpus.SPLITS}
        self.frames = {split: bytes(rolls[split].frames) for split in corpus.SPLITS}
        self.index = next((folder / "midi_data" / "cache").glob("*/index.json"))
        self.index_bytes = self.index.read_bytes()
        self.states, two = [], {"train": [rolls["train"][0]], "validation": [rolls["validation"][0]]}
        self.fit = functools.partial(training.fit, rolls=two, device="cpu", batch_size=4)
        for new in (lambda: MusicLSTM(hidden_size=4), lambda: MusicMamba(d_model=16, n_layers=1, head="chords")):
            self.fit(new(), steps=3, carry_state=bool(self.states), folder=folder / "run")
            self.states.append((new, (folder / "run" / "last_model.pt").read_bytes()))

    def midi_file(self, rng):
        path = self.folder / "x.mid"
        path.write_bytes(wounded(rng.choice(self.midis), rng, rng.choice(self.midis)))
        config = {**self.config.MIDI_CONFIG, **(WHOLE if rng.random() < 0.5 else {})}
        done = [
            _read(path, lambda: self.piano_roll.midi_to_bins(path, config, all_instruments=rng.random() < 0.5)),
            _read(path, lambda: self.midi.read_notes(path)),
            _read(path, lambda: self.midi.read_pedal(path)),
        ]
        return any(done)

    def checkpoint(self, rng):
        which = rng.randrange(len(self.states))
        new, data = self.states[which]
        run = self.folder / "wounded"
        run.mkdir(exist_ok=True)
        path = run / "last_model.pt"
        path.write_bytes(wounded_zip(data, rng) if rng.random() < 0.7 else wounded(data, rng))
        loaded = _read(path, lambda: self.checkpoints.load_checkpoint(path))
        _read(path, lambda: self.checkpoints.load_model(path))
        _read(path, lambda: self.checkpoints.export_model(path, run / "small.pt"))
        try:  # one more step, and its validation
            _read(None, lambda: self.fit(new(), steps=4, carry_state=bool(which), resume=True, folder=run))
        except RuntimeError as error:
            if "NaN" not in str(error):
                raise
        for left in run.iterdir():
            left.unlink()
        return loaded

    def metadata(self, rng):
        folder = self.folder / "tunes"
        (folder / "m.csv").write_bytes(wounded(self.csv, rng))

        def read():
            corpus = self.corpus.load_corpus(folder)
            inside = all(piece.path.resolve().is_relative_to(folder.resolve()) for piece in corpus.pieces)
            assert inside, "a piece outside the folder"
            assert all(isinstance(text, str) for piece in corpus.pieces for text in (piece.composer, piece.title))

        return _read(None, read)

    def cache_index(self, rng):
        (self.folder / "tunes" / "m.csv").write_bytes(self.csv)
        self.index.parent.mkdir(exist_ok=True)
        self.index.write_bytes(wounded(self.index_bytes, rng))
        rolls, _ = self.cache.load_piano_rolls(self.corpus.load_maestro(self.folder / "tunes"))
        assert {split: rolls[split].lengths.tolist() for split in rolls} == self.lengths, "other lengths, unnoticed"
        assert {split: bytes(rolls[split].frames) for split in rolls} == self.frames, "other rolls, unnoticed"
        return self.index.read_bytes() == self.index_bytes

    kinds = {"midi": midi_file, "checkpoint": checkpoint, "metadata": metadata, "cache": cache_index}


def _read(path, read):
    """Whether it was read; `False` for a documented error, which must name the file."""
    try:
        read()
    except ValueError as error:
        if "allocate" in str(error) or "MemoryError" in str(error):
            raise MemoryError(str(error)) from error
        if path is not None:
            assert str(path) in str(error), f"the message does not name the file: {error}"
        if type(error) in (UnicodeDecodeError, UnicodeEncodeError, json.JSONDecodeError):
            raise AssertionError(f"an error of Python, not a message: {error!r}") from error
        return False
    return True


# ---- two processes ----


def work():
    """Read `kind number` from each line of the input; answer with a line of JSON."""
    with tempfile.TemporaryDirectory() as folder, open(os.dup(1), "w", buffering=1) as answer:
        os.dup2(2, 1)  # what the package prints is no answer
        readers = Readers(Path(folder))
        with contextlib.suppress(ImportError):  # Windows
            import resource

            used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096 if sys.platform == "linux" else 0
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
        print(json.dumps("ready"), file=answer)
        for line in sys.stdin:
            kind, number = line.split()
            try:
                result = ["read" if readers.kinds[kind](readers, random.Random(f"{kind} {number}")) else "refused", ""]
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)
                inside = [frame for frame in where if "midigen_utils" in frame.filename] or where
                spot = f"{Path(inside[-1].filename).name}:{inside[-1].lineno}"
                result = ["finding", f"{type(error).__name__} at {spot}: {str(error)[:300]}"]
            print(json.dumps(result), file=answer)


class Worker:
    """The process that reads; a new one after each that died or hung."""

    def __init__(self):
        command = [sys.executable, __file__, "--worker"]
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=ROOT
        )
        if self.answer(300) != "ready":
            self.errors.seek(0)
            raise SystemExit(f"the reading process does not start:\n{self.errors.read().decode()[-3000:]}")

    def answer(self, seconds):
        """The next line, or `None` when it does not come in time or the process is gone."""
        late = threading.Timer(seconds, self.process.kill)
        late.start()
        line = self.process.stdout.readline()
        late.cancel()
        return json.loads(line) if line else None

    def read(self, kind, number):
        started = time.monotonic()
        self.process.stdin.write(f"{kind} {number}\n")
        self.process.stdin.flush()
        if (answer := self.answer(SECONDS)) is not None:
            return answer
        ended = f"died with {self.process.wait()}"
        return ["finding", f"hang: over {SECONDS} s" if time.monotonic() - started > SECONDS - 0.5 else ended]

    def end(self):
        self.process.stdin.close()
        self.process.wait(300)


def main():
    """Fuzz for some minutes; 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="other seeds, other wounds")
    parser.add_argument("--kinds", nargs="*", choices=Readers.kinds, default=list(Readers.kinds))
    parser.add_argument("--repeat", help="one input again, such as midi:17")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work()
    worker = Worker()
    if options.repeat:
        kind, number = options.repeat.split(":")
        print(*worker.read(kind, number))
        return worker.end()
    counts = {kind: {"read": 0, "refused": 0, "finding": 0} for kind in options.kinds}
    until, number, seen = time.monotonic() + 60 * options.minutes, options.seed * 10**9, {}
    while time.monotonic() < until:
        for kind in options.kinds:
            outcome, text = worker.read(kind, number)
            counts[kind][outcome] += 1
            if outcome == "finding":
                spot = (kind, text.split(": ")[0])
                seen[spot] = seen.get(spot, 0) + 1
                if seen[spot] == 1:
                    print(f"{kind}: {text}\n  again: python tests/fuzz.py --repeat {kind}:{number}", flush=True)
                if worker.process.poll() is not None:
                    worker = Worker()
        number += 1
    for kind, count in counts.items():
        print(f"{kind:<11}{sum(count.values()):8} tried  " + "  ".join(f"{n} {name}" for name, n in count.items()))
    for (kind, spot), times in seen.items():
        print(f"{times:6} x {kind}: {spot}")
    worker.end()
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())
