"""The rolls on disk: complete or absent, whatever happens while they are built."""

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

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data import rolls as cache
from midigen_utils.data import workers
from midigen_utils.data.corpus import SPLITS, load_corpus
from midigen_utils.data.piano_roll import midi_to_bins
from midigen_utils.data.rolls import load_piano_rolls

REPOSITORY = Path(__file__).parent.parent


def contents(rolls):
    return {split: rolls[split].frames.tobytes() for split in SPLITS}


def test_cache_holds_the_rolls_of_the_files(tunes, midi_data):
    rolls, corpus = load_piano_rolls(load_corpus(tunes))
    for split in SPLITS:
        assert [p.path for p in rolls[split].pieces] == [p.path for p in corpus.split(split)]
        for i, piece in enumerate(rolls[split].pieces):
            assert np.array_equal(rolls[split][i] * 32, midi_to_bins(piece.path, MIDI_CONFIG))


def test_processes_build_the_same_cache_as_one(tunes, midi_data):
    one, _ = load_piano_rolls(load_corpus(tunes), workers=1)
    frames = {split: np.array(one[split].frames) for split in SPLITS}
    shutil.rmtree(midi_data / "cache")
    two, _ = load_piano_rolls(load_corpus(tunes), workers=2)
    assert all(np.array_equal(frames[split], two[split].frames) for split in SPLITS)


def test_cache_is_rebuilt_when_a_file_or_the_config_changed_and_only_then(tunes, midi_data):
    def folders():
        return {p.name: p.stat().st_mtime_ns for p in (midi_data / "cache").iterdir()}

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


def test_a_corpus_and_a_part_of_it_have_a_cache_each_and_one_that_is_not_used_goes(tunes, midi_data):
    def folders():
        return {path.name: path.stat().st_mtime_ns for path in (midi_data / "cache").iterdir()}

    whole = load_corpus(tunes)
    part = replace(whole, pieces=whole.pieces[:3])
    sizes = [sum(map(len, load_piano_rolls(corpus)[0].values())) for corpus in (whole, part)]
    both = folders()
    assert sizes == [12, 3] and len(both) == 2
    for path in (midi_data / "cache").glob("*/*"):
        os.utime(path, (time.time() - 8 * 24 * 3600,) * 2)
    for folder in (midi_data / "cache").iterdir():
        os.utime(folder, (time.time() - 8 * 24 * 3600,) * 2)
    both = folders()
    load_piano_rolls(whole)
    assert folders() == both  # neither is built again
    load_piano_rolls(replace(whole, pieces=whole.pieces[:4]))
    assert len(folders()) == 2 and len(folders().keys() & both) == 1  # the one that nobody opened is gone
    load_piano_rolls(whole)
    assert len(folders()) == 2
    with pytest.raises(ValueError, match="tunes has no piece"):
        load_piano_rolls(replace(whole, pieces=()))


def test_a_crash_while_building_leaves_no_cache(tunes, midi_data, monkeypatch):
    calls = []

    def crash(job):
        calls.append(job)
        if len(calls) == 5:
            raise MemoryError
        return real(job)

    real = cache._grid_or_reason
    monkeypatch.setattr(cache, "_grid_or_reason", crash)
    with pytest.raises(MemoryError):
        load_piano_rolls(load_corpus(tunes))
    assert list((midi_data / "cache").iterdir()) == []


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


def test_numbers_of_numpy_in_the_config_are_the_same_numbers(tunes, midi_data):
    numbers = {name: np.int64(value) for name, value in MIDI_CONFIG.items()}
    seconds = [{**MIDI_CONFIG, "max_duration": np.float32(value)} for value in (1.5, 1.25)]
    for config, folders in ((MIDI_CONFIG, 1), (numbers, 1), (seconds[0], 2), (seconds[1], 3)):
        load_piano_rolls(load_corpus(tunes), config)
        assert len(list((midi_data / "cache").iterdir())) == folders


def test_rolls_are_memory_mapped_and_never_written(tunes, midi_data):
    load_piano_rolls(load_corpus(tunes))
    rolls, _ = load_piano_rolls(load_corpus(tunes))
    assert all(isinstance(rolls[split].frames, np.memmap) for split in SPLITS)
    before = contents(rolls)
    rolls["train"].frames[:] = 7  # as torch could, which shares the memory
    assert contents(load_piano_rolls(load_corpus(tunes))[0]) == before


def test_a_new_format_makes_the_cache_stale(tunes, midi_data, monkeypatch):
    load_piano_rolls(load_corpus(tunes))
    names = {path.name for path in (midi_data / "cache").iterdir()}
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    load_piano_rolls(load_corpus(tunes))
    assert {path.name for path in (midi_data / "cache").iterdir()} > names


@pytest.mark.parametrize("damage", ["cut", "gone", "no index", "half an index"])
def test_a_damaged_cache_is_built_again(tunes, midi_data, damage):
    rolls, _ = load_piano_rolls(load_corpus(tunes))
    before = contents(rolls)
    folder = next((midi_data / "cache").iterdir())
    file = folder / ("index.json" if "index" in damage else "train-00000.u8")
    if damage in ("cut", "half an index"):
        os.truncate(file, file.stat().st_size // 2)
    else:
        file.unlink()
    assert contents(load_piano_rolls(load_corpus(tunes))[0]) == before


def test_what_a_killed_build_left_is_removed_when_it_is_surely_dead(tunes, midi_data):
    dead, alive = midi_data / "cache" / ".building-dead", midi_data / "cache" / ".building-alive"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "train.u8").write_bytes(b"half")
        long_ago = time.time() - 4000
        os.utime(folder / "train.u8", (long_ago, long_ago) if folder == dead else None)
        os.utime(folder, (long_ago, long_ago))
    load_piano_rolls(load_corpus(tunes))
    assert not dead.exists() and alive.exists()


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
                load_piano_rolls(corpus, {**config.MIDI_CONFIG, "fs": fs}, workers=1)
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
def test_a_build_killed_at_any_moment_leaves_a_whole_cache_or_none(tunes, midi_data, builder):
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
        halves += len(list((midi_data / "cache").glob(".building-*"))) if (midi_data / "cache").exists() else 0
        for folder in (midi_data / "cache").glob("[!.]*"):
            assert cache._read_index(folder, keys=88) is not None
            whole += 1
        shutil.rmtree(midi_data, ignore_errors=True)
    assert whole > 0 and halves > 0  # else it was never killed in the middle
    rolls, _ = load_piano_rolls(corpus)
    assert all(len(rolls[split]) == len(corpus.split(split)) for split in SPLITS)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
def test_builders_at_the_same_time_do_not_harm_each_other(tunes, midi_data, builder):
    expected = contents(load_piano_rolls(load_corpus(tunes))[0])
    for _ in range(8):
        shutil.rmtree(midi_data)
        builder.stdin.write("4\n")
        builder.stdout.readline()
        assert builder.stdout.readline().split() == ["0"] * 4
        assert [path.name[0] for path in (midi_data / "cache").iterdir()] != ["."]
        assert len(list((midi_data / "cache").iterdir())) == 1
        assert contents(load_piano_rolls(load_corpus(tunes))[0]) == expected


SCRIPT = """
import sys
from pathlib import Path
from midigen_utils import config
from midigen_utils.data.rolls import load_piano_rolls
from midigen_utils.data.corpus import load_corpus
print("once")
files.MIDI_DATA = Path(sys.argv[1])
rolls, corpus = load_piano_rolls(load_corpus(sys.argv[2]), workers=2)
print(sum(len(split) for split in rolls.values()))
"""


def test_a_script_without_a_main_guard_builds_with_two_processes(tunes, midi_data, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    run = [sys.executable, str(tmp_path / "script.py"), str(midi_data), str(tunes)]
    done = subprocess.run(run, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert done.stdout.split() == ["once", "12"], done.stderr
    assert "piano rolls of tunes: 100%" in done.stderr  # the progress bar


def test_where_no_process_can_start_one_builds_alone(tunes, midi_data, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no semaphores here")

    monkeypatch.setattr(workers, "ProcessPoolExecutor", refuse)
    rolls, _ = load_piano_rolls(load_corpus(tunes), workers=2)
    assert sum(len(rolls[split]) for split in SPLITS) == 12


def die_or_square(n):
    import multiprocessing

    if n == 40 and multiprocessing.parent_process() is not None:
        os._exit(1)
    return n * n


def test_a_worker_that_dies_loses_no_result():
    assert list(workers.map_in_processes(die_or_square, list(range(100)), 2)) == [n * n for n in range(100)]


def test_on_windows_no_more_processes_are_asked_for_than_it_allows(monkeypatch):
    asked = []

    def pool(count, **options):
        asked.append(count)
        raise OSError

    monkeypatch.setattr(workers, "ProcessPoolExecutor", pool)
    for system in ("win32", "linux"):
        monkeypatch.setattr(workers.sys, "platform", system)
        assert list(workers.map_in_processes(abs, [-1, -2], 96)) == [1, 2]
    assert asked == [61, 96]


def test_many_jobs_come_back_in_order():
    jobs = list(range(2000))  # more than wait at once
    assert list(workers.map_in_processes(die_or_square, jobs[41:], 2, chunksize=1)) == [n * n for n in jobs[41:]]


BOUNDED = """
import sys
from midigen_utils.data import rolls as cache
from midigen_utils import config
from midigen_utils.data.corpus import load_maestro
def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
def watched(*args):
    roll = draw(*args)
    seen.append(megabytes())
    return roll
files.MIDI_DATA = config.Path(sys.argv[1])
corpus, seen, draw, cache.draw = load_maestro(sys.argv[2]), [megabytes()], cache.draw, watched
rolls, _ = cache.load_piano_rolls(corpus, {**config.MIDI_CONFIG, "max_duration": None}, workers=1)
print(max(seen) - seen[0], sum(r.frames.size for r in rolls.values()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does it")
def test_whole_pieces_are_built_in_bounded_memory(maestro_folder, midi_data):
    run = [sys.executable, "-c", BOUNDED, str(midi_data), str(maestro_folder)]
    done = subprocess.run(run, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    grown, cells = map(float, done.stdout.split())
    assert grown < 60  # MB: a few pieces, never the corpus
    assert cells > 100e6 or grown < cells / 1e6


def test_whole_pieces_in_the_cache_are_those_of_the_files(maestro_folder, midi_data):
    whole = {**MIDI_CONFIG, "max_duration": None}
    corpus = load_corpus(maestro_folder)
    rolls, corpus = load_piano_rolls(corpus, whole)
    assert Counter(p.split for p in corpus.pieces) == {split: len(rolls[split]) for split in SPLITS}
    for split in SPLITS:
        for i in range(0, len(rolls[split]), 40):
            assert np.array_equal(rolls[split][i] * 32, midi_to_bins(rolls[split].pieces[i].path, whole))
