"""From a thousand files to a million: listing, building, opening and training, on performances made for it.

    python benchmarks/scale.py --folder TMP                                    1,000, 10,000 and 100,000 files
    python benchmarks/scale.py --folder TMP --files 200 2000 --seconds 10      a quick look

The performances are random notes as dense as MAESTRO's (9.1 a second in the first minutes), in folders of
1,000 files. Every measurement is a process of its own, so that its peak memory is its own; pages of mapped files,
which the system takes back when it needs them, are counted apart. Each size needs some 90 kB of disk a file at 60 s,
and is removed before the next.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from midigen_utils import config, files  # noqa: E402
from midigen_utils.data import rolls as cache
from midigen_utils.data.corpus import SPLITS, Piece, load_folder  # noqa: E402
from midigen_utils.data.rolls import load_piano_rolls  # noqa: E402

NOTES_A_SECOND = 9.1
MILLION = 1_200_000  # Aria-MIDI
HEADER = b"MThd" + (6).to_bytes(4, "big") + (0).to_bytes(2, "big") + (1).to_bytes(2, "big") + (480).to_bytes(2, "big")


def performance(seed, seconds):
    """The bytes of a MIDI file of random notes: 960 ticks are a second, a note lasts 0.1 to 0.8 s."""
    rng = np.random.default_rng(seed)
    count = max(1, round(NOTES_A_SECOND * seconds))
    on = np.sort(rng.integers(0, seconds * 960, count))
    off = on + rng.integers(96, 768, count)
    pitch, velocity = rng.normal(64, 12, count).round().clip(21, 108).astype(int), rng.integers(30, 100, count)
    time = np.concatenate([on, off])
    order = np.argsort(time, kind="stable")
    wait = np.diff(time[order], prepend=0)
    track = np.zeros((2 * count, 5), np.uint8)  # each event: two bytes of time, 0x90, pitch, velocity or 0
    track[:, 0], track[:, 1], track[:, 2] = wait >> 7 | 0x80, wait & 0x7F, 0x90
    track[:, 3], track[:, 4] = np.tile(pitch, 2)[order], np.concatenate([velocity, np.zeros(count, int)])[order]
    body = track.tobytes() + b"\0\xff\x2f\0"
    return HEADER + b"MTrk" + len(body).to_bytes(4, "big") + body


def write_performances(folder, files, seconds):
    for i in range(files):
        path = folder / f"{i // 1000:04}" / f"performance {i:07}.mid"
        if i % 1000 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(performance(i, seconds))


# ---- what a process measures: each prints one line of JSON ----


def peak():
    """Peak megabytes of this process: all, and without mapped files (as Linux counts them)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes = {name: int(status[name].split()[0]) for name in ("VmHWM", "RssAnon", "RssFile")}
    return {"peak": kilobytes["VmHWM"] / 1e3, "anon": kilobytes["RssAnon"] / 1e3, "mapped": kilobytes["RssFile"] / 1e3}


def listing(folder, workers):
    started = time.perf_counter()
    corpus = load_folder(folder)
    return {"seconds": time.perf_counter() - started, "files": len(corpus.pieces), **peak()}


def building(folder, workers):
    corpus = load_folder(folder)
    before, started = peak(), time.perf_counter()
    rolls, _ = load_piano_rolls(corpus, workers=workers)
    seconds, after = time.perf_counter() - started, peak()
    frames = sum(int(split.lengths.sum()) for split in rolls.values())
    shards = sum(len(rolls[split].shards) for split in SPLITS)
    return {"seconds": seconds, "frames": frames, "shards": shards, "grown": after["peak"] - before["peak"], **after}


def killed(folder, workers):
    """A build that is killed after three fifths of its files, as nobody can catch it."""
    corpus, drawn, draw = load_folder(folder), [], cache.draw

    def counted(*arguments):
        drawn.append(1)
        if len(drawn) > 0.6 * len(corpus.pieces):
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(*arguments)

    cache.draw = counted
    load_piano_rolls(corpus, workers=workers)


def opening(folder, workers):
    corpus = load_folder(folder)
    started = time.perf_counter()
    load_piano_rolls(corpus)
    return {"seconds": time.perf_counter() - started}


def batches(folder, workers):
    return batches_of(load_piano_rolls(load_folder(folder))[0]["train"])


def million(folder, workers):
    """Batches of 1.2 million pieces of 60 s, in files that are holes: the system gives zeros and takes no disk."""
    folder.mkdir(parents=True, exist_ok=True)
    before = peak()["anon"]
    names = [Path(f"{folder}/{i // 1000:04}/performance {i:07}.mid") for i in range(MILLION)]
    pieces = [Piece(name, "train", title=name.stem) for name in names]
    shards, left = [], MILLION
    while left:
        count = min(left, cache.SHARD)
        with open(folder / f"train-{len(shards):05}.u8", "wb") as file:
            file.truncate(count * 960 * 88)
        shards.append(np.memmap(file.name, np.uint8, "c", shape=(count * 960, 88)))
        left -= count
    rolls = cache.RollSplit(shards, np.arange(MILLION) * 960, np.full(MILLION, 960), pieces, 32)
    pieces_take = peak()["anon"] - before
    return {"pieces": pieces_take, "shards": len(shards), **batches_of(rolls, 50)}


def batches_of(rolls, most=2000):
    import torch

    from midigen_utils.learn.dataset import Batches, SequenceDataset

    torch.set_num_threads(1)
    before, started = peak(), time.perf_counter()
    source = Batches(SequenceDataset(rolls), transpose=5, velocities=True)
    setup, started = time.perf_counter() - started, time.perf_counter()
    epoch = source.epoch(0)
    next(epoch)
    first, used = time.perf_counter() - started, peak()["anon"] - before["anon"]
    places, result = torch.arange(64), {}
    for name in ("first", "again"):  # the first time, pages come from the disk or the system's cache of it
        started, count = time.perf_counter(), 0
        for _ in source.epoch(1):
            count += 1
            if count == most:
                break
        result[name] = 1e6 * (time.perf_counter() - started) / count
    started = time.perf_counter()
    for _ in range(200):
        source.dataset.starts_of(places)
    result |= {"lookup": 1e6 * (time.perf_counter() - started) / 200, "setup": setup, "first_batch": first}
    return {**result, "windows": source.windows, "used": used, **peak()}


JOBS = {job.__name__: job for job in (listing, building, killed, opening, batches, million)}


def measured(job, folder, midi_data, workers=None):
    """What a process of its own measures, and what it said."""
    command = [sys.executable, __file__, "--job", job, "--folder", str(folder), "--midi-data", str(midi_data)]
    command += ["--shard", str(cache.SHARD)] + (["--workers", str(workers)] if workers else [])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == -signal.SIGKILL and job == "killed":
        return None
    if done.returncode:
        raise RuntimeError(done.stderr)
    said = next((line for line in done.stdout.splitlines() if "goes on after" in line), "")
    result = {**json.loads(done.stdout.splitlines()[-1]), "said": said}
    print(f"  {job}: {result}", file=sys.stderr, flush=True)
    return result


def one_size(files, seconds, folder):
    """All figures of one size, as a dict."""
    corpus, midi_data = folder / "performances", folder / "midi_data"
    started = time.perf_counter()
    write_performances(corpus, files, seconds)
    print(f"{files:,} files of {seconds} s written in {time.perf_counter() - started:.0f} s", flush=True)
    result = {"files": files, "midi": sum(p.stat().st_size for p in corpus.rglob("*.mid"))}
    for name in ("list", "list_again"):
        result[name] = measured("listing", corpus, midi_data)
    for workers in (1, 2):
        shutil.rmtree(next(iter(midi_data.glob("cache/performances-*[!s]")), "no such folder"), ignore_errors=True)
        result[f"build_{workers}"] = measured("building", corpus, midi_data, workers)
    result["open"] = measured("opening", corpus, midi_data)
    result["batches"] = measured("batches", corpus, midi_data)
    if files > cache.SHARD:
        shutil.rmtree(next(midi_data.glob("cache/performances-*[!s]")))
        measured("killed", corpus, midi_data, workers=1)
        result["resumed"] = measured("building", corpus, midi_data, 1)
    shutil.rmtree(corpus)
    shutil.rmtree(midi_data)
    return result


# ---- the table ----


def rows(result):
    """Name and text of each figure of one size."""
    files, build, batch = result["files"], result["build_1"], result["batches"]
    hours = build["frames"] / config.MIDI_CONFIG["fs"] / 3600
    yield "listed, files/s", f"{files / result['list']['seconds']:,.0f}"
    yield "listed again, files/s", f"{files / result['list_again']['seconds']:,.0f}"
    yield "peak memory of the listing, MB", f"{result['list']['peak']:,.0f}"
    for workers in (1, 2):
        rate = files / result[f"build_{workers}"]["seconds"]
        yield f"built, {workers} process{'es' * (workers > 1)}, files/s", f"{rate:,.0f}"
    yield "hours of music", f"{hours:,.0f}"
    yield "bytes per hour of music, rolls", f"{build['frames'] * 88 / hours:,.0f}"
    yield "bytes per hour of music, MIDI", f"{result['midi'] / hours:,.0f}"
    yield "files of rolls", f"{build['shards']}"
    yield "peak memory of the build, MB", f"{build['peak']:,.0f}"
    yield "of that, more than before it, MB", f"{build['grown']:,.0f}"
    yield "cache opened in, s", f"{result['open']['seconds']:.2f}"
    yield "windows", f"{batch['windows']:,}"
    yield "dataset made in, ms", f"{1e3 * batch['setup']:.1f}"
    yield "first batch after, ms", f"{1e3 * batch['first_batch']:.1f}"
    yield "memory of dataset and order, MB", f"{batch['used']:.0f}"
    yield "a batch, first epoch, us", f"{batch['first']:.0f}"
    yield "a batch, again, us", f"{batch['again']:.0f}"
    yield "of that, looking up its windows, us", f"{batch['lookup']:.0f}"
    yield "memory of the process, without mapped files, MB", f"{batch['anon']:,.0f}"
    yield "mapped pages of files, MB", f"{batch['mapped']:,.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where a temporary folder is made, and removed")
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--seconds", type=int, default=60, help="length of a performance, default 60")
    for hidden in ("--job", "--midi-data", "--workers", "--shard"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        files.MIDI_DATA, cache.SHARD = Path(options.midi_data), int(options.shard)
        workers = int(options.workers) if options.workers else None
        print(json.dumps(JOBS[options.job](options.folder, workers)))
        return
    needed = max(options.files) * options.seconds * 1500
    if shutil.disk_usage(options.folder).free < 1.2 * needed:
        parser.error(f"needs {needed / 1e9:.0f} GB in {options.folder}; take another --folder, or fewer --seconds")
    with tempfile.TemporaryDirectory(prefix="scale-", dir=options.folder) as folder:
        results = [one_size(files, options.seconds, Path(folder)) for files in options.files]
        largest = measured("million", Path(folder) / "holes", Path(folder))
    show(results)
    print(f"\nnot projected: batches of {MILLION:,} pieces, {largest['windows']:,} windows, {largest['shards']} shards")
    print(f"  list of the pieces {largest['pieces']:,.0f} MB, dataset and order {largest['used']:.0f} MB")
    print(f"  made in {1e3 * largest['setup']:.0f} ms, first batch after {1e3 * largest['first_batch']:.0f} ms")
    print(f"  then {largest['again']:.0f} us a batch, {largest['lookup']:.0f} of them to look up its windows")


def show(results):
    print("\n| | " + " | ".join(f"{result['files']:,} files" for result in results) + " |")
    print("|---" * (len(results) + 1) + "|")
    for row in zip(*(rows(result) for result in results)):
        print(f"| {row[0][0]} | " + " | ".join(text for _, text in row) + " |")
    for result in results:
        if "resumed" in result:
            whole, rest = result["build_1"]["seconds"], result["resumed"]["seconds"]
            print(f"\n{result['files']:,} files, killed after three fifths. {result['resumed']['said']}", end=" ")
            print(f"That took {rest:.0f} s; the whole, {whole:.0f} s.")
    if len(results) > 1:
        small, large = results[-2], results[-1]
        step = large["files"] - small["files"]
        print(f"\nper file, from {small['files']:,} to {large['files']:,}, and for {MILLION:,}:")
        for name, at, key in PROJECTED:
            each = (large[at][key] - small[at][key]) / step
            total = large[at][key] + each * (MILLION - large["files"])
            unit = "MB" if key not in ("seconds", "setup") else "s"
            print(f"  {name:<45} {1e6 * each:>10,.1f} {'bytes' if unit == 'MB' else 'us':<6} {total:>10,.1f} {unit}")
        size = large["build_1"]["frames"] * 88 / large["files"] * MILLION
        print(f"  {'rolls on disk':<45} {size / MILLION:>10,.0f} bytes  {size / 1e9:>10,.1f} GB")


PROJECTED = [
    ("listing, time", "list", "seconds"),
    ("listing again, time", "list_again", "seconds"),
    ("listing, peak memory", "list", "peak"),
    ("building with one process, time", "build_1", "seconds"),
    ("building with two processes, time", "build_2", "seconds"),
    ("building, peak memory (with the listing's)", "build_1", "peak"),
    ("opening, time", "open", "seconds"),
    ("dataset, time", "batches", "setup"),
    ("dataset and order, memory", "batches", "used"),
    ("training process without mapped files", "batches", "anon"),
]


if __name__ == "__main__":
    main()
