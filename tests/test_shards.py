"""A corpus in many shards is the same corpus: its rolls, its batches; and a build goes on where it stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_tune
from hypothesis import given
from hypothesis import strategies as st

from midigen_utils.data import corpus
from midigen_utils.data import rolls as cache
from midigen_utils.data.corpus import SPLITS, load_corpus, load_folder
from midigen_utils.data.rolls import load_piano_rolls
from midigen_utils.learn import shards, shuffling
from midigen_utils.learn.dataset import Batches, PieceBatches, SequenceDataset, all_frames
from midigen_utils.learn.metrics import fit_baselines
from midigen_utils.learn.shuffling import draws, order, scrambled
from midigen_utils.learn.training import fit
from midigen_utils.models.lstm import MusicLSTM

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import scale  # noqa: E402

ROOT = Path(__file__).parent.parent
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does it")


@pytest.fixture
def pieces(tmp_path):
    """A folder of 20 pieces of several lengths, and a file that is none."""
    for i in range(20):
        write_tune(tmp_path / "tunes" / f"tune {i:02d}.mid", seed=i, seconds=4.5 + i % 7)
    (tmp_path / "tunes" / "tune 07b.mid").write_text("a letter")
    return tmp_path / "tunes"


@pytest.fixture
def whole_and_cut(pieces, midi_data, monkeypatch):
    """The rolls of the same corpus in one shard and in seven."""
    whole, _ = load_piano_rolls(load_corpus(pieces))
    monkeypatch.setattr(cache, "SHARD", 3)
    cut, _ = load_piano_rolls(load_corpus(pieces))
    assert len(whole["train"].shards) == 1 and len(cut["train"].shards) > 3
    return whole, cut


def equal(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second)
    return all(torch.equal(a, b) for one, two in zip(first, second) for a, b in zip(one, two))


def test_rolls_do_not_depend_on_the_shards(whole_and_cut):
    whole, cut = whole_and_cut
    for split in SPLITS:
        one, many = whole[split], cut[split]
        assert [p.path for p in one.pieces] == [p.path for p in many.pieces] and len(one) == len(many)
        assert one.lengths.tolist() == many.lengths.tolist() and one.starts.tolist() == many.starts.tolist()
        assert all(np.array_equal(one[i], many[i]) for i in range(-len(one), len(one)))
        assert np.array_equal(one.frames, np.concatenate(many.shards))
        assert all(isinstance(shard, np.memmap) for shard in many.shards)
    some, same = whole["train"].spread(4), cut["train"].spread(4)
    assert all(np.array_equal(some[i], same[i]) for i in range(4))


def test_rolls_in_many_shards_are_not_put_together_by_mistake(whole_and_cut):
    with pytest.raises(ValueError, match="lie in . shards.*piece by piece"):
        all_frames(whole_and_cut[1]["train"])


@pytest.mark.parametrize("transpose", [0, 4])
def test_batches_do_not_depend_on_the_shards(whole_and_cut, transpose):
    whole, cut = ([rolls["train"], rolls["train"].spread(5)] for rolls in whole_and_cut)
    for one, many in zip(whole, cut):
        options = dict(seed=3, transpose=transpose, velocities=True)
        one_batches, many_batches = (Batches(SequenceDataset(rolls), 7, **options) for rolls in (one, many))
        assert equal(one_batches.epoch(1), many_batches.epoch(1))
        assert equal(one_batches.epoch(1, first=3), many_batches.epoch(1, first=3))
        along = [PieceBatches(rolls, 16, 3, seed=3, transpose=transpose) for rolls in (one, many)]
        assert equal(along[0].epoch(2), along[1].epoch(2))
        assert equal(along[0].epoch(2, first=4), list(along[1].epoch(2))[4:])
    loss = [fit_baselines(rolls["train"])["Markov-1"].logits for rolls in whole_and_cut]
    assert torch.equal(*loss)


@pytest.mark.parametrize("carry_state", [False, True])
def test_training_does_not_depend_on_the_shards(whole_and_cut, tmp_path, carry_state):
    histories = []
    for name, rolls in zip(("whole", "cut"), whole_and_cut):
        torch.manual_seed(0)
        options = dict(batch_size=5, transpose=2, carry_state=carry_state, device="cpu", folder=tmp_path / name)
        histories.append(fit(MusicLSTM(hidden_size=8), rolls, 2, **options))
    losses = [[(row["train_loss"], row["val_loss"]) for row in history] for history in histories]
    assert losses[0] == losses[1]


def test_the_order_of_a_small_corpus_is_the_one_it_always_was(toy_rolls):
    """Starts of all windows in a list, shuffled, then one interval for each: what runs have seen so far."""
    dataset = SequenceDataset(toy_rolls["train"], 64, 5)
    starts = torch.cat([torch.arange(160 * i, 160 * i + 160 - 64, 5) for i in range(4)])
    generator = torch.Generator().manual_seed(7 * 1_000_003 + 2)
    order = starts[torch.randperm(len(starts), generator=generator)].split(6)
    semitones = torch.randint(-3, 4, (len(starts),), generator=generator).split(6)
    expected = [dataset.windows(a, b, True) for a, b in zip(order, semitones)]
    batches = Batches(dataset, 6, seed=7, transpose=3, velocities=True)
    assert torch.equal(dataset.starts, starts) and len(batches) == len(expected)
    assert equal(batches.epoch(2), [(window[:, :-1], window[:, 1:]) for window in expected])


# ---- the order of a large corpus ----


@given(st.integers(1, 5000), st.integers(0, 2**32))
def test_a_scrambled_order_has_each_number_once(count, seed):
    keys = torch.randint(2**62, (shuffling.ROUNDS,), generator=torch.Generator().manual_seed(seed)).tolist()
    numbers = scrambled(torch.arange(count), count, keys)
    assert torch.equal(numbers.sort()[0], torch.arange(count))


def test_a_scrambled_order_can_be_asked_for_anywhere_and_looks_like_chance():
    count, bins = 68_000_000, 50
    number_at = order(count, torch.Generator().manual_seed(5))
    again, other = (order(count, torch.Generator().manual_seed(seed)) for seed in (5, 6))
    places = torch.arange(30_000_000, 30_050_000)
    numbers = number_at(places)
    assert torch.equal(numbers[700:], again(places[700:])) and (numbers != other(places)).float().mean() > 0.999
    assert numbers.min() >= 0 and numbers.max() < count and len(numbers.unique()) == len(numbers)
    for value in (numbers, numbers.diff() % count, numbers[::2] - numbers[1::2] + count):
        seen = torch.histc(value.double() % count, bins, 0, count)
        chi_squared = ((seen - len(value) / bins) ** 2 / (len(value) / bins)).sum()
        assert 20 < chi_squared < 100  # 49 degrees of freedom: 1 in 100,000 lies outside
    correlation = torch.corrcoef(torch.stack([numbers[:-1], numbers[1:]]).double())[0, 1]
    assert abs(correlation) < 0.02
    from_pieces = [len((batch // 57).unique()) for batch in numbers.split(64)[:-1]]
    assert np.mean(from_pieces) > 63.9  # 57 windows a piece: a batch comes from as many pieces as it has windows


def test_intervals_of_a_large_corpus_are_drawn_evenly():
    drawn_at = draws(68_000_000, 3, torch.Generator().manual_seed(1))
    drawn = drawn_at(torch.arange(10_000_000, 10_070_000))
    assert torch.equal(drawn[500:510], drawn_at(torch.arange(10_000_500, 10_000_510)))
    assert drawn.unique().tolist() == list(range(-3, 4))
    assert (drawn + 3).bincount().float().std() < 400  # 10,000 of each


def test_an_epoch_in_the_order_of_a_large_corpus_is_exact_and_can_be_resumed(whole_and_cut, monkeypatch):
    plain = Batches(SequenceDataset(whole_and_cut[0]["train"], stride=3), 8, shuffle=False)
    monkeypatch.setattr(shuffling, "LISTED", 10)
    monkeypatch.setattr("midigen_utils.learn.dataset.BLOCK", 4)
    batches = Batches(SequenceDataset(whole_and_cut[1]["train"], stride=3), 8, seed=1)
    windows = [torch.cat([x for x, _ in source.epoch(0)]).flatten(1) for source in (plain, batches)]
    assert not torch.equal(*windows)
    assert sorted(map(bytes, windows[0].byte().numpy())) == sorted(map(bytes, windows[1].byte().numpy()))
    assert equal(list(batches.epoch(3))[5:], batches.epoch(3, first=5))
    moved = Batches(SequenceDataset(whole_and_cut[1]["train"], stride=3), 8, seed=1, transpose=2)
    assert equal(list(moved.epoch(3))[5:], moved.epoch(3, first=5))


def test_a_dataset_takes_memory_for_pieces_not_for_windows():
    class Long:  # a split of three pieces of a hundred million frames, none of which is read
        shards = [np.lib.stride_tricks.as_strided(np.zeros(88, np.uint8), (3 * 10**8, 88), (0, 1))]
        starts, lengths = np.arange(3) * 10**8, np.full(3, 10**8)

        def __len__(self):
            return 3

    dataset = SequenceDataset(Long(), stride=1)
    assert len(dataset) == 3 * (10**8 - 64)
    held = [value for value in vars(dataset).values() if torch.is_tensor(value)]
    assert sum(value.numel() for value in held) < 20
    last = torch.tensor([len(dataset) - 1, 0, 10**8 - 65, 10**8 - 64])
    assert dataset.starts_of(last).tolist() == [3 * 10**8 - 65, 0, 10**8 - 65, 10**8]


def test_shards_are_one_tensor_on_a_device_if_they_are_small_enough(monkeypatch):
    parts = [torch.zeros(5, 88, dtype=torch.uint8), torch.zeros(7, 88, dtype=torch.uint8)]
    assert [part.shape for part in shards.on_device(parts, "meta")] == [(12, 88)]
    assert shards.on_device(parts, "cpu") is parts
    monkeypatch.setattr(shards, "ON_DEVICE", 12 * 88 - 1)
    assert shards.on_device(parts, "meta") is parts


# ---- a build that is interrupted ----


def built(folder, monkeypatch, fail_at=None):
    """Build with shards of three; the names of the files that were read."""
    read, real = [], cache._grid_or_reason

    def watched(job):
        if len(read) == fail_at:
            raise MemoryError
        read.append(job[0].name)
        return real(job)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "SHARD", 3)
        patch.setattr(cache, "_grid_or_reason", watched)
        try:
            rolls, _ = load_piano_rolls(load_corpus(folder))
        except MemoryError:
            return read
        return read, {split: [rolls[split].bins(i).tobytes() for i in range(len(rolls[split]))] for split in SPLITS}


def test_a_build_goes_on_after_the_last_whole_shard(pieces, midi_data, monkeypatch, capsys):
    expected = built(pieces, monkeypatch)[1]
    cache.shutil.rmtree(midi_data)
    assert len(built(pieces, monkeypatch, fail_at=11)) == 11
    assert [p.name[:9] for p in (midi_data / "cache").iterdir()] == [".building"]
    capsys.readouterr()
    read, rolls = built(pieces, monkeypatch)
    assert "goes on after 9 of 20 files" in capsys.readouterr().out
    assert len(read) == 11 and rolls == expected
    assert len(list((midi_data / "cache").iterdir())) == 1
    assert built(pieces, monkeypatch) == ([], expected)


@pytest.mark.parametrize("damage", ["a bit", "cut", "gone", "index"])
def test_of_a_damaged_cache_only_the_damaged_shard_is_built_again(pieces, midi_data, monkeypatch, damage):
    _, expected = built(pieces, monkeypatch)
    folder = next((midi_data / "cache").iterdir())
    shard = sorted(folder.glob("train-*.u8"))[1]
    if damage in ("a bit", "index"):
        (folder / "index.json").unlink()  # a bit of a shard is noticed when a build goes on, not at each opening
    if damage == "a bit":
        data = bytearray(shard.read_bytes())
        data[1000] ^= 1
        shard.write_bytes(data)
    elif damage == "cut":
        os.truncate(shard, shard.stat().st_size // 2)
    elif damage == "gone":
        shard.unlink()
    read, rolls = built(pieces, monkeypatch)
    assert rolls == expected and len(read) == (0 if damage == "index" else 3)


def test_a_left_over_with_whole_shards_is_kept_a_week(pieces, midi_data):
    for name, days in (("young", 3), ("old", 8)):
        folder = midi_data / "cache" / f".building-{name}"
        folder.mkdir(parents=True)
        (folder / "00000.json").write_text("{}")
        for path in (folder / "00000.json", folder):
            os.utime(path, (time.time() - days * 24 * 3600,) * 2)
    load_piano_rolls(load_corpus(pieces))
    assert [p.name for p in (midi_data / "cache").glob(".*")] == [".building-young"]


@pytest.mark.parametrize("cut", [False, True])
def test_a_file_that_could_not_be_read_for_once_is_read_the_next_time(pieces, midi_data, monkeypatch, cut):
    expected = built(pieces, monkeypatch)[1]
    cache.shutil.rmtree(midi_data)
    broken, tried = True, []

    def watched(read):
        def read_if_plugged_in(path, *args):
            tried.extend([path.name] * bool(args))  # as a roll
            if path.name == "tune 05.mid" and broken:
                raise OSError(5, "Input/output error", str(path))
            return read(path, *args)

        return read_if_plugged_in

    monkeypatch.setattr(cache, "SHARD", 3 if cut else 32)
    monkeypatch.setattr(cache, "midi_to_grid", watched(cache.midi_to_grid))
    monkeypatch.setattr(Path, "read_bytes", watched(Path.read_bytes))
    for files in (20, 0):  # while the drive is away nothing is built again
        tried.clear()
        _, found = load_piano_rolls(load_corpus(pieces))
        assert [path.name for path, _ in found.skipped] == ["tune 07b.mid", "tune 05.mid"]
        assert len(found.pieces) == 19 and len(tried) == files
    broken = False
    rolls, found = load_piano_rolls(load_corpus(pieces))
    assert len(found.pieces) == 20 and len(tried) == (3 if cut else 20)
    assert {split: [rolls[split].bins(i).tobytes() for i in range(len(rolls[split]))] for split in SPLITS} == expected
    tried.clear()
    load_piano_rolls(load_corpus(pieces))
    assert tried == [] and len(list((midi_data / "cache").iterdir())) == 1


KILLED = """
import sys, time
from pathlib import Path
from midigen_utils.data import rolls as cache
from midigen_utils import files
from midigen_utils.data.corpus import load_corpus
files.MIDI_DATA, cache.SHARD, real = Path(sys.argv[1]), 3, cache._grid_or_reason
def slow(job):
    time.sleep(0.05)
    return real(job)
cache._grid_or_reason = slow
print(len(cache.load_piano_rolls(load_corpus(sys.argv[2]), workers=1)[0]["train"]), flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_another_builder_waits_and_takes_over_when_the_first_is_killed(pieces, midi_data, monkeypatch):
    expected = built(pieces, monkeypatch)[1]
    cache.shutil.rmtree(midi_data)
    run = [sys.executable, "-c", KILLED, str(midi_data), str(pieces)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "cwd": ROOT}
    with subprocess.Popen(run, **pipes) as first:
        while not list(midi_data.glob("cache/.building-*/00001.json")):
            assert first.poll() is None
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGSTOP)  # still there, and holds the lock
        with subprocess.Popen(run, **pipes) as second:
            assert second.stdout.readline() == "Another process builds these rolls: waiting for it.\n"
            os.kill(first.pid, signal.SIGKILL)
            said = second.stdout.read()
    assert "goes on after" in said and second.returncode == 0
    assert built(pieces, monkeypatch) == ([], expected)
    assert len(list((midi_data / "cache").iterdir())) == 1


# ---- the listing of many files ----


def test_a_large_folder_is_listed_as_a_small_one_and_only_what_changed_is_read_again(pieces, midi_data, monkeypatch):
    small, read, real = load_folder(pieces), [], corpus._hash_or_reason
    assert not midi_data.exists()
    monkeypatch.setattr(corpus, "MANY", 10)
    monkeypatch.setattr(corpus, "PART", 6)
    assert load_folder(pieces) == small  # by processes
    assert len(list(midi_data.glob("cache/*/*.json"))) == 4
    monkeypatch.setattr(corpus, "_hash_or_reason", lambda job: read.append(job[0].name) or real(job))
    monkeypatch.setattr(corpus, "MANY", 21)  # one process for a few changes
    monkeypatch.setattr(corpus.os, "cpu_count", lambda: 1)
    assert load_folder(pieces) == small and read == []
    write_tune(pieces / "tune 03.mid", seed=300)
    assert len(load_folder(pieces).pieces) == 20 and read == ["tune 03.mid"]
    kept = next(midi_data.glob("cache/*/00000.json"))
    kept.write_text(kept.read_text()[:50])  # damaged: what it knew is read again
    assert len(load_folder(pieces).pieces) == 20 and len(read) == 6


def test_a_listing_that_cannot_be_kept_is_one_all_the_same(pieces, midi_data, monkeypatch):
    monkeypatch.setattr(corpus, "MANY", 10)
    midi_data.parent.mkdir(exist_ok=True)
    midi_data.write_text("a file, where a folder should be")
    assert len(load_folder(pieces).pieces) == 20


# ---- benchmarks/scale.py ----


def test_the_benchmark_writes_performances_that_can_be_read(tmp_path, midi_data):
    scale.write_performances(tmp_path / "p", 20, 20)
    first = (tmp_path / "p" / "0000" / "performance 0000003.mid").read_bytes()
    assert first == scale.performance(3, 20) != scale.performance(4, 20)
    rolls, found = load_piano_rolls(load_folder(tmp_path / "p"))
    assert len(found.pieces) == 20 and not found.skipped
    assert all(310 < length < 340 for split in SPLITS for length in rolls[split].lengths)


@needs_linux
def test_the_benchmark_measures_in_a_process(tmp_path, midi_data):
    scale.write_performances(tmp_path / "p", 20, 20)
    assert scale.listing(tmp_path / "p", 1)["files"] == 20
    assert scale.building(tmp_path / "p", 1)["shards"] == 3
    assert scale.opening(tmp_path / "p", 1)["seconds"] > 0
    assert scale.batches(tmp_path / "p", 1)["windows"] >= 16 * 10


@pytest.mark.slow
@needs_linux
def test_the_benchmark_prints_its_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cache, "SHARD", 8)
    result = scale.one_size(24, 20, tmp_path / "24")
    scale.show([result, {**result, "files": 48}])
    out = capsys.readouterr().out
    assert "| built, 1 process, files/s |" in out and "| bytes per hour of music, rolls | 5,068,800 |" in out
    assert "24 files, killed after three fifths. The build of these rolls goes on after 8 of 24 files." in out
    assert "rolls on disk" in out
    assert not list((tmp_path / "24").iterdir())
