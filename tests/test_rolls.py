"""The rolls on disk: complete or absent, whatever happens while they are built."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import write_tune

from midigen_utils import files
from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data import midi
from midigen_utils.data import rolls as cache
from midigen_utils.data.corpus import SPLITS, load_corpus
from midigen_utils.data.piano_roll import midi_to_bins
from midigen_utils.data.rolls import load_piano_rolls

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def folders(midi_data):
    """A function: the folders of rolls that are there, by name, with the time of their making."""
    return lambda: {path.name: path.stat().st_mtime_ns for path in (midi_data / "cache").iterdir() if path.is_dir()}


def contents(rolls):
    return {split: rolls[split].frames.tobytes() for split in SPLITS}


def test_cache_holds_the_rolls_of_the_files(tunes, midi_data):
    rolls, corpus = load_piano_rolls(load_corpus(tunes))
    for split in SPLITS:
        assert [p.path for p in rolls[split].pieces] == [p.path for p in corpus.split(split)]
        for i, piece in enumerate(rolls[split].pieces):
            assert np.array_equal(rolls[split][i] * 32, midi_to_bins(piece.path, MIDI_CONFIG))


def test_cache_is_rebuilt_when_a_file_or_the_config_changed_and_only_then(tunes, folders):
    load_piano_rolls(load_corpus(tunes))
    first = folders()
    load_piano_rolls(load_corpus(tunes))
    assert folders() == first
    write_tune(tunes / "tune 03.mid", seed=77)
    rolls, corpus = load_piano_rolls(load_corpus(tunes))
    assert len(folders()) == 1 and folders().keys() != first.keys()  # the stale one is gone
    load_piano_rolls(load_corpus(tunes), {**MIDI_CONFIG, "fs": 8})
    load_piano_rolls(load_corpus(tunes), sustain=False)
    assert len(folders()) == 3


def test_the_rolls_of_a_part_leave_those_of_the_whole(tunes, folders):
    corpus = load_corpus(tunes)
    load_piano_rolls(corpus)
    whole = folders()
    load_piano_rolls(replace(corpus, pieces=corpus.pieces[::2]))
    load_piano_rolls(corpus)
    assert len(folders()) == 2 and folders().items() > whole.items()


def test_a_corpus_without_a_piece_is_refused(tunes):
    with pytest.raises(ValueError, match="tunes has no piece"):
        load_piano_rolls(replace(load_corpus(tunes), pieces=()))


@pytest.mark.parametrize("stop", [MemoryError, KeyboardInterrupt])
def test_a_crash_while_building_leaves_no_cache(tunes, folders, monkeypatch, stop):
    calls = []

    def crash(*args):
        calls.append(args)
        if len(calls) == 5:
            raise stop
        return midi_to_bins(*args)

    monkeypatch.setattr(cache, "midi_to_bins", crash)
    with pytest.raises(stop):
        load_piano_rolls(load_corpus(tunes))
    assert folders() == {}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk without space")
def test_a_full_disk_leaves_no_half_cache_and_says_what_to_do(tunes, folders, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(cache, "open", lambda path, mode: open("/dev/full", mode), raising=False)
        with pytest.raises(OSError, match="not written.*disk is full"):
            load_piano_rolls(load_corpus(tunes))
    assert folders() == {}
    assert len(load_piano_rolls(load_corpus(tunes))[0]["train"]) > 0


def test_a_whole_cache_is_read_where_nothing_can_be_written_and_a_new_one_says_why_not(tunes, midi_data, monkeypatch):
    def read_only(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    load_piano_rolls(load_corpus(tunes))
    monkeypatch.setattr(Path, "mkdir", read_only)
    load_piano_rolls(load_corpus(tunes))
    with pytest.raises(OSError, match="cache.*read-only for you"):
        load_piano_rolls(load_corpus(tunes), sustain=False)


def test_a_corpus_of_which_nothing_can_be_read_is_an_error_with_the_first_reason(tunes, folders):
    corpus = load_corpus(tunes)
    for piece in corpus.pieces:
        piece.path.write_bytes(b"no music")
    with pytest.raises(ValueError, match="no file of tunes could be read; the first: .*tune 00.mid"):
        load_piano_rolls(corpus)
    assert folders() == {}


def test_files_that_vanish_or_break_after_the_listing_are_skipped(tunes, midi_data):
    corpus = load_corpus(tunes)
    corpus.pieces[3].path.unlink()
    corpus.pieces[5].path.write_bytes(b"no music")
    for _ in range(2):  # built, then opened
        rolls, found = load_piano_rolls(corpus)
        assert [path.name for path, _ in found.skipped] == ["tune 03.mid", "tune 05.mid"]
        assert len(found.pieces) == sum(map(len, rolls.values())) == 10


def test_a_file_that_could_not_be_opened_for_once_is_read_when_it_can(tunes, folders, monkeypatch):
    expected = contents(load_piano_rolls(load_corpus(tunes))[0])
    shutil.rmtree(files.MIDI_DATA)
    corpus, read = load_corpus(tunes), []

    def away(path, *args, **more):
        if Path(path).name == "tune 05.mid":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return open(path, *args, **more)

    def counted(path, *args):
        read.append(path)
        return midi_to_bins(path, *args)

    monkeypatch.setattr(cache, "midi_to_bins", counted)
    with monkeypatch.context() as patch:
        for module in (cache, midi):
            patch.setattr(module, "open", away, raising=False)
        for _ in range(2):  # while the drive is away nothing is built again
            _, found = load_piano_rolls(corpus)
            assert [path.name for path, _ in found.skipped] == ["tune 05.mid"] and len(read) == 12
    rolls, found = load_piano_rolls(corpus)
    assert len(found.pieces) == 12 and contents(rolls) == expected
    load_piano_rolls(corpus)
    assert len(read) == 24 and len(folders()) == 1


def test_limit_takes_a_spread_share_of_every_split(tunes, midi_data):
    whole, _ = load_piano_rolls(load_corpus(tunes))
    rolls, _ = load_piano_rolls(load_corpus(tunes), limit=4)
    assert len(rolls["train"]) == 4
    assert len(rolls["validation"]) >= 1 and len(rolls["test"]) >= 1
    ends = [whole["train"].pieces[i] for i in (0, -1)]
    assert [rolls["train"].pieces[i] for i in (0, -1)] == ends
    assert np.array_equal(rolls["train"][-1] * 32, midi_to_bins(ends[1].path, MIDI_CONFIG))
    with pytest.raises(ValueError, match=r"limit \(--limit\) is 0; .* leave it out"):
        load_piano_rolls(load_corpus(tunes), limit=0)


def test_a_slice_of_a_split_is_a_split(tunes, midi_data):
    rolls = load_piano_rolls(load_corpus(tunes))[0]["train"]
    for part in (slice(2), slice(1, None), slice(None, None, -1), slice(99, None)):
        assert [p.path for p in rolls[part].pieces] == [p.path for p in rolls.pieces[part]]
        whole = [rolls[i] for i in range(len(rolls))][part]
        assert all(np.array_equal(rolls[part][i], roll) for i, roll in enumerate(whole))


def test_a_name_in_place_of_a_corpus_is_one_error_that_says_what_to_do(tunes):
    for name in ("bach", tunes):
        with pytest.raises(TypeError, match=r"is no Corpus: take load_corpus\('.*'\) first"):
            load_piano_rolls(name)


def test_numbers_of_numpy_in_the_config_are_the_same_numbers(tunes, folders):
    numbers = {name: np.int64(value) for name, value in MIDI_CONFIG.items()}
    seconds = [{**MIDI_CONFIG, "max_duration": np.float32(value)} for value in (1.5, 1.25)]
    for config, count in ((MIDI_CONFIG, 1), (numbers, 1), (seconds[0], 2), (seconds[1], 3)):
        load_piano_rolls(load_corpus(tunes), config)
        assert len(folders()) == count


def test_rolls_are_memory_mapped_and_never_written(tunes, midi_data):
    load_piano_rolls(load_corpus(tunes))
    rolls, _ = load_piano_rolls(load_corpus(tunes))
    assert all(isinstance(rolls[split].frames, np.memmap) for split in SPLITS)
    before = contents(rolls)
    with pytest.raises(ValueError, match="read-only"):
        rolls["train"].frames[:] = 7
    assert contents(load_piano_rolls(load_corpus(tunes))[0]) == before


def test_a_new_format_makes_the_cache_stale(tunes, folders, monkeypatch):
    load_piano_rolls(load_corpus(tunes))
    names = folders().keys()
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    load_piano_rolls(load_corpus(tunes))
    assert folders().keys() > names


def test_a_split_is_a_plain_npy_file_an_empty_one_too(tunes, folders, midi_data):
    corpus = load_corpus(tunes)
    rolls, _ = load_piano_rolls(replace(corpus, pieces=tuple(corpus.split("train"))))
    folder = midi_data / "cache" / next(iter(folders()))
    assert np.array_equal(np.load(folder / "train.npy"), rolls["train"].frames)
    assert np.load(folder / "test.npy").shape == rolls["test"].frames.shape == (0, 88)


@pytest.mark.parametrize("damage", ["cut", "gone", "no index", "half an index"])
def test_a_damaged_cache_is_built_again(tunes, folders, midi_data, damage):
    rolls, _ = load_piano_rolls(load_corpus(tunes))
    before = contents(rolls)
    file = midi_data / "cache" / next(iter(folders())) / ("index.json" if "index" in damage else "train.npy")
    if damage in ("cut", "half an index"):
        os.truncate(file, file.stat().st_size // 2)
    else:
        file.unlink()
    assert contents(load_piano_rolls(load_corpus(tunes))[0]) == before


@pytest.mark.parametrize(
    "index",
    [
        *("", "[]", "null", "{}", "[" * 100_000, "\0"),
        *('{"lengths": 3, "skipped": []}', '{"lengths": {"train": [1]}}', '{"lengths": {"train": [[1]]}}'),
    ],
)
def test_a_cache_with_a_nonsense_index_is_built_again(tunes, midi_data, index):
    expected = contents(load_piano_rolls(load_corpus(tunes))[0])
    path = next((midi_data / "cache").glob("*/index.json"))
    path.write_text(index)
    assert contents(load_piano_rolls(load_corpus(tunes))[0]) == expected


@pytest.mark.parametrize("change", [{"train": []}, {"train": [10**30]}, {"train": [-1, 2]}, {"test": ["x"]}])
def test_lengths_that_do_not_fit_the_pieces_are_built_again(tunes, midi_data, change):
    expected = contents(load_piano_rolls(load_corpus(tunes))[0])
    path = next((midi_data / "cache").glob("*/index.json"))
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "lengths": {**index["lengths"], **change}}))
    assert contents(load_piano_rolls(load_corpus(tunes))[0]) == expected


# A process that has imported everything. For each number that it reads it forks so many builders: one builds cache
# after cache, several build the same one.
BUILDER = """
import os, sys
from pathlib import Path
from midigen_utils import config, files
from midigen_utils.data.rolls import load_piano_rolls
from midigen_utils.data.corpus import load_corpus
files.MIDI_DATA = Path(sys.argv[1])
corpus = load_corpus(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    children = []
    for _ in range(int(line)):
        children.append(os.fork())
        if children[-1] == 0:
            for fs in range(1, 1000) if line == "1\\n" else [16]:
                load_piano_rolls(corpus, {**config.MIDI_CONFIG, "fs": fs})
            os._exit(0)
    print(*children, flush=True)
    print(*(os.waitpid(child, 0)[1] for child in children), flush=True)
"""


@pytest.fixture
def builder(tunes, midi_data):
    run = [sys.executable, "-c", BUILDER, str(midi_data), str(tunes)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(run, cwd=REPOSITORY, text=True, bufsize=1, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither fork nor SIGKILL")
def test_a_build_killed_at_any_moment_leaves_a_whole_cache_or_none(tunes, folders, midi_data, builder):
    rng, corpus, whole, halves = random.Random(0), load_corpus(tunes), 0, 0
    started = time.perf_counter()
    load_piano_rolls(corpus)
    lasted = time.perf_counter() - started  # how long a build takes on this machine; the child makes one after another
    shutil.rmtree(midi_data)
    for _ in range(25):
        builder.stdin.write("1\n")
        child = int(builder.stdout.readline())
        time.sleep(lasted * rng.uniform(0.2, 4))
        os.kill(child, signal.SIGKILL)
        assert builder.stdout.readline() == "9\n"
        for name in folders() if (midi_data / "cache").exists() else ():
            if name.startswith("."):
                halves += 1
            else:
                rows = sum(len(np.load(midi_data / "cache" / name / f"{split}.npy")) for split in SPLITS)
                index = json.loads((midi_data / "cache" / name / "index.json").read_text())
                assert rows == sum(map(sum, index["lengths"].values()))
                whole += 1
        if rng.random() < 0.5:
            shutil.rmtree(midi_data, ignore_errors=True)
    assert whole > 0 and halves > 0  # else it was never killed in the middle
    rolls, _ = load_piano_rolls(corpus)
    assert all(len(rolls[split]) == len(corpus.split(split)) for split in SPLITS)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_a_killed_build_left_is_removed_by_the_next_one(tunes, folders, midi_data, builder):
    builder.stdin.write("1\n")
    child = int(builder.stdout.readline())
    while not list(midi_data.glob("cache/.*-*/train.npy")):
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    builder.stdout.readline()
    left_over = [name for name in folders() if name.startswith(".")]
    if left_over:  # a fast machine may have renamed it meanwhile
        fs = 1 + len(folders()) - len(left_over)
        load_piano_rolls(load_corpus(tunes), {**MIDI_CONFIG, "fs": fs})
        assert [name for name in folders() if name.startswith(".")] == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
def test_builders_at_the_same_time_do_not_harm_each_other(tunes, folders, midi_data, builder):
    expected = contents(load_piano_rolls(load_corpus(tunes))[0])
    for _ in range(8):
        shutil.rmtree(midi_data)
        builder.stdin.write("4\n")
        builder.stdout.readline()
        assert builder.stdout.readline().split() == ["0"] * 4
        assert [name[0] for name in folders()] == ["t"]
        assert contents(load_piano_rolls(load_corpus(tunes))[0]) == expected


SLOW = """
import sys, time
from pathlib import Path
from midigen_utils import files
from midigen_utils.data import rolls
from midigen_utils.data.corpus import load_corpus
files.MIDI_DATA, real = Path(sys.argv[1]), rolls.midi_to_bins
def slow(*args):
    time.sleep(0.05)
    return real(*args)
rolls.midi_to_bins = slow
print(len(rolls.load_piano_rolls(load_corpus(sys.argv[2]))[0]["train"]), flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_another_builder_waits_and_takes_over_when_the_first_is_killed(tunes, folders, midi_data):
    expected = contents(load_piano_rolls(load_corpus(tunes))[0])
    shutil.rmtree(midi_data)
    run = [sys.executable, "-c", SLOW, str(midi_data), str(tunes)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "cwd": REPOSITORY}
    with subprocess.Popen(run, **pipes) as first:
        while not list(midi_data.glob("cache/.*/train.npy")):
            assert first.poll() is None
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGSTOP)  # still there, and holds the lock
        with subprocess.Popen(run, **pipes) as second:
            assert second.stdout.readline().startswith("Another process writes tunes-")
            os.kill(first.pid, signal.SIGKILL)
            said = second.stdout.read()
    assert second.returncode == 0 and int(said) > 0
    assert contents(load_piano_rolls(load_corpus(tunes))[0]) == expected and len(folders()) == 1


BOUNDED = """
import sys
from dataclasses import replace
from pathlib import Path
from midigen_utils import config, files
from midigen_utils.data import rolls
from midigen_utils.data.corpus import load_maestro
def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
def watched(*args):
    roll = read(*args)
    seen.append(megabytes())
    return roll
files.MIDI_DATA = Path(sys.argv[1])
corpus = load_maestro(sys.argv[2])
corpus = replace(corpus, pieces=corpus.pieces[::2])
seen, read, rolls.midi_to_bins = [megabytes()], rolls.midi_to_bins, watched
built, _ = rolls.load_piano_rolls(corpus, {**config.MIDI_CONFIG, "max_duration": None})
print(max(seen) - seen[0], sum(r.frames.size for r in built.values()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does it")
def test_whole_pieces_are_built_in_bounded_memory(maestro_folder, midi_data):
    run = [sys.executable, "-c", BOUNDED, str(midi_data), str(maestro_folder)]
    done = subprocess.run(run, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    grown, cells = map(float, done.stdout.split())
    assert grown < 60  # MB: a few pieces, never the corpus
    assert cells > 90e6 or grown < cells / 1e6


def test_whole_pieces_in_the_cache_are_those_of_the_files(maestro_folder, midi_data):
    whole = {**MIDI_CONFIG, "max_duration": None}
    corpus = load_corpus(maestro_folder)
    some = tuple(piece for split in SPLITS for piece in corpus.split(split)[::6])
    rolls, corpus = load_piano_rolls(replace(corpus, pieces=some), whole)
    assert Counter(p.split for p in corpus.pieces) == {split: len(rolls[split]) for split in SPLITS}
    for split in SPLITS:
        for i in range(0, len(rolls[split]), 10):
            assert np.array_equal(rolls[split][i] * 32, midi_to_bins(rolls[split].pieces[i].path, whole))
