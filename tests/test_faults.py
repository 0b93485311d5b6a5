"""Full disks, damaged files, Ctrl-C, two trainings at once, NaN, too little memory: nothing is lost, all is said."""

import errno
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import killed_in_a_step, quick, stopped, weights

from midigen_utils import faults
from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data import rolls as cache
from midigen_utils.data.corpus import SPLITS, load_corpus
from midigen_utils.data.rolls import load_piano_rolls
from midigen_utils.learn import checkpoints, training
from midigen_utils.learn.checkpoints import export_model, load_checkpoint, load_model, restore_run, save_checkpoint
from midigen_utils.learn.training import WEIGHT_DECAY, make_optimizer
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba

ROOT = Path(__file__).parent.parent
FULL = Path("/dev/full")
needs_dev_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full, the disk that is always full")


def small(size=8):
    torch.manual_seed(0)
    return MusicLSTM(hidden_size=size)


def save_small(path, **extras):
    model = small()
    save_checkpoint(path, model, make_optimizer(model), 0, 1.0, **extras)
    return path


# ---- the disk ----


@needs_dev_full
def test_a_full_disk_keeps_the_old_checkpoint_and_says_what_to_do(tmp_path):
    path = save_small(tmp_path / "c.pt")
    before = path.read_bytes()
    (tmp_path / f".c.pt.{os.getpid()}.tmp").symlink_to(FULL)  # what is written beside its place meets a full disk
    with pytest.raises(OSError, match=r"c\.pt was not written.*disk is full.*free some space") as error:
        save_small(path)
    assert error.value.errno == errno.ENOSPC
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"] and path.read_bytes() == before


@needs_dev_full
def test_a_full_disk_leaves_no_half_cache_and_says_what_to_do(tunes, midi_data, monkeypatch):
    real = cache._grid_or_reason

    def on_a_full_disk(job):
        building = next((midi_data / "cache").glob(".building-*"))
        for split in SPLITS:
            if not (there := building / f".{split}-00000.u8.{os.getpid()}.tmp").exists():
                there.symlink_to(FULL)
        return real(job)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "_grid_or_reason", on_a_full_disk)
        with pytest.raises(OSError, match="not written.*disk is full"):
            load_piano_rolls(load_corpus(tunes))
    assert list((midi_data / "cache").iterdir()) == []
    assert len(load_piano_rolls(load_corpus(tunes))[0]["train"]) > 0


def read_only(*arguments, **options):
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_read_only_place_is_named_before_any_training(toy_rolls, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", read_only)
    steps = []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *a: steps.append(a))
    with pytest.raises(OSError, match="runs.*was not written.*read-only"):
        quick(small(), toy_rolls, tmp_path / "runs")
    assert steps == []


def test_a_whole_cache_is_read_where_nothing_can_be_written_and_a_new_one_says_why_not(tunes, midi_data, monkeypatch):
    load_piano_rolls(load_corpus(tunes))
    monkeypatch.setattr(Path, "mkdir", read_only)
    load_piano_rolls(load_corpus(tunes))
    with pytest.raises(OSError, match="cache.*read-only for you"):
        load_piano_rolls(load_corpus(tunes), sustain=False)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_without_permission_to_write_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="read-only for you"):
        save_small(tmp_path / "c.pt")
    tmp_path.chmod(0o700)


# ---- checkpoints ----


def flip(path, where):
    data = bytearray(path.read_bytes())
    data[where] ^= 4
    path.write_bytes(data)


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path):
    path = save_small(tmp_path / "c.pt")
    flip(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"c\.pt: damaged, .*data"):
        load_model(path)


def test_a_small_file_cannot_unpack_to_gigabytes(tmp_path):
    path = save_small(tmp_path / "c.pt")
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name) + bytes(10**6))
    with pytest.raises(ValueError, match="packed.pt: damaged"):
        load_model(tmp_path / "packed.pt")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_last_model_is_resumed_from_the_best_one_and_gives_the_same_run(toy_rolls, tmp_path, capsys, damage):
    whole = small()
    quick(whole, toy_rolls, tmp_path / "whole")
    stopped(small(), toy_rolls, tmp_path / "parts")
    last = tmp_path / "parts" / "last_model.pt"
    if damage == "flipped":
        flip(last, last.stat().st_size // 2)
    else:
        os.truncate(last, last.stat().st_size // 2 if damage == "cut" else 0)
    resumed = small()
    history = quick(resumed, toy_rolls, tmp_path / "parts", resume=True)
    assert re.search(r"last_model\.pt: .*Going on from best_model\.pt instead, after epoch 1", capsys.readouterr().out)
    assert len(history) == 2 and torch.equal(weights(whole), weights(resumed))
    assert load_checkpoint(last)["epoch"] == 1


@pytest.mark.parametrize("damage", ["cut", "gone", "both cut"])
def test_without_the_last_model_the_one_before_goes_on_or_else_the_best_and_it_is_said(
    toy_rolls, tmp_path, monkeypatch, capsys, damage
):
    whole, run = small(), tmp_path / "parts"
    expected = quick(whole, toy_rolls, tmp_path / "whole")
    with monkeypatch.context() as patch:
        steps = killed_in_a_step(patch, math.inf)
        quick(small(), toy_rolls, tmp_path / "counted")
    with monkeypatch.context() as patch:
        killed_in_a_step(patch, len(steps) // 2 + 4)
        with pytest.raises(SystemError):
            quick(small(), toy_rolls, run, save_every=0)
    assert load_checkpoint(run / "last_model.pt")["step"] == 3
    if damage == "gone":  # it was stopped between two renames
        (run / "last_model.pt").unlink()
    else:
        for name in ("last_model.pt", "previous_model.pt") if damage == "both cut" else ("last_model.pt",):
            os.truncate(run / name, (run / name).stat().st_size // 2)
    resumed = small()
    history = quick(resumed, toy_rolls, run, resume=True)
    said = {
        "cut": r"last_model\.pt: .*Going on from previous_model\.pt instead, in epoch 2, after step 2\.",
        "gone": r"last_model\.pt is missing\. Going on from previous_model\.pt instead, in epoch 2, after step 2\.",
        "both cut": r"last_model\.pt: .*Going on from best_model\.pt instead, after epoch 1\.",
    }
    assert re.search(said[damage], capsys.readouterr().out)
    assert torch.equal(weights(whole), weights(resumed))
    assert [row["train_loss"] for row in history] == [row["train_loss"] for row in expected]


@pytest.mark.parametrize("damaged", [False, True])
def test_a_crash_between_the_two_renames_of_a_save_loses_nothing(toy_rolls, tmp_path, monkeypatch, damaged):
    quick(small(), toy_rolls, tmp_path, epochs=1, save_every=0)
    last, previous, real = tmp_path / "last_model.pt", tmp_path / "previous_model.pt", os.replace
    before = (previous if damaged else last).read_bytes()
    if damaged:
        os.truncate(last, len(before) // 2)

    def crash(source, target):
        if Path(target).name == "last_model.pt" and Path(source).suffix == ".tmp":
            raise SystemError("the machine is gone")
        real(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(SystemError):
        quick(small(), toy_rolls, tmp_path, resume=True)
    assert previous.read_bytes() == before and not last.exists()
    monkeypatch.setattr(os, "replace", real)
    assert len(quick(small(), toy_rolls, tmp_path, resume=True)) == 2


def test_a_checkpoint_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    path, sizes = save_small(tmp_path / "c.pt"), []
    whole, before = path.stat().st_size, path.stat().st_ino
    monkeypatch.setattr(os, "fsync", lambda file: sizes.append((os.fstat(file).st_size, path.stat().st_ino)))
    save_small(path)
    assert sizes == [(whole, before)] and path.stat().st_ino != before


def test_without_any_whole_checkpoint_resuming_says_to_train_anew(toy_rolls, tmp_path):
    with pytest.raises(FileNotFoundError, match="last_model.pt: nothing to go on from"):
        quick(small(), toy_rolls, tmp_path, resume=True)
    quick(small(), toy_rolls, tmp_path)
    for name in ("last_model.pt", "previous_model.pt", "best_model.pt"):
        os.truncate(tmp_path / name, 1000)
    with pytest.raises(ValueError, match="last_model.pt.*best_model.pt can stand in.*train anew"):
        quick(small(), toy_rolls, tmp_path, resume=True)


def test_what_another_version_wrote_is_named_with_its_version(toy_rolls, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_version", lambda: "9.9")
        save_small(tmp_path / "newer.pt")
        save_small(tmp_path / "last_model.pt")
    state = torch.load(tmp_path / "newer.pt", weights_only=True)
    assert load_model(tmp_path / "newer.pt").config == small().config  # it fits, so it is taken
    torch.save({**state, "model_config": {"rotary": True}}, tmp_path / "newer.pt")
    with pytest.raises(ValueError, match=r"another model \(written by midigen 9\.9, this is .*rotary"):
        load_model(tmp_path / "newer.pt")
    torch.save({**state, "model": "MusicTransformer"}, tmp_path / "newer.pt")
    with pytest.raises(ValueError, match=r"MusicTransformer \(written by midigen 9\.9"):
        load_model(tmp_path / "newer.pt")
    with pytest.raises(ValueError, match=r"not where its training stopped \(written by midigen 9\.9"):
        quick(small(), toy_rolls, tmp_path, resume=True)


def test_a_setting_that_the_other_version_did_not_have_is_named(toy_rolls, tmp_path):
    quick(small(), toy_rolls, tmp_path, epochs=1)
    state = torch.load(tmp_path / "last_model.pt", weights_only=True)
    for change, message in (({"warmup": 3}, "warmup was 3, now None"), ({"seed": None}, "seed was None, now 0")):
        torch.save({**state, "settings": {**state["settings"], **change}}, tmp_path / "last_model.pt")
        with pytest.raises(ValueError, match=message):
            quick(small(), toy_rolls, tmp_path, epochs=2, resume=True)


def test_a_checkpoint_of_a_gpu_loads_on_the_cpu(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:3")
        save_small(tmp_path / "c.pt")
    assert b"cuda:3" in (tmp_path / "c.pt").read_bytes()
    assert {p.device.type for p in load_model(tmp_path / "c.pt").parameters()} == {"cpu"}


def test_a_run_moves_to_a_device_with_a_scaler_and_to_fewer_gpus(toy_rolls, tmp_path, monkeypatch):
    quick(small(), toy_rolls, tmp_path, epochs=1)
    state = load_checkpoint(tmp_path / "last_model.pt")
    assert state["scaler_state_dict"] == {}  # of the CPU, which needs none
    model, seen = small(), []
    scaler = torch.amp.GradScaler("cpu", enabled=True)
    restore_run(model, make_optimizer(model), scaler, state, state["settings"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: seen.append((device, state)))
    for saved, expected in ((["a", "b", "c"], [(0, "a"), (1, "b")]), (["a"], [(0, "a")])):
        seen.clear()
        restore_run(model, make_optimizer(model), scaler, {**state, "cuda_rng_state": saved}, state["settings"])
        assert seen == expected


def rewritten(path, **changes):
    """A checkpoint with other entries, written anew: its check sums are right."""
    torch.save({**torch.load(path, weights_only=True), **changes}, path)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer_state_dict": "none"},
        {"model_state_dict": {"lstm.bias": "none"}},
        {"model_state_dict": [1]},
        {"epoch": "3"},
        {"model": 7},
        {"corpus": 7},
        {"all_instruments": "no"},
        {"model_config": [8]},
        {"midi_config": {"fs": 16}},
        {"midi_config": {**MIDI_CONFIG, "fs": "16"}},
        {"midi_config": {**MIDI_CONFIG, "min_pitch": None}},
    ],
    ids=str,
)
def test_an_entry_of_another_kind_is_one_error_that_names_the_file(tmp_path, changes):
    path = rewritten(save_small(tmp_path / "c.pt"), **changes)
    for read in (load_checkpoint, load_model, lambda path: export_model(path, tmp_path / "small.pt")):
        with pytest.raises(ValueError, match=r"c\.pt: "):
            read(path)


@pytest.mark.parametrize("size", [{"hidden_size": 10**9}, {"num_layers": 10**9}, {"hidden_size": -1}, {"other": 1}])
def test_a_model_of_another_size_than_its_weights_costs_neither_time_nor_memory(tmp_path, size):
    path = rewritten(save_small(tmp_path / "c.pt"), model_config={**small().config, **size})
    started = time.process_time()
    with pytest.raises(ValueError, match="c.pt: weights of another model"):
        load_model(path)
    assert time.process_time() - started < 2


def test_a_small_file_cannot_ask_for_more_memory_than_it_has_numbers_for(tmp_path):
    path = save_small(tmp_path / "c.pt")
    weights, empty = torch.load(path, weights_only=True)["model_state_dict"], torch.zeros(20_000, 0)
    width = {"model": "MusicMamba", "model_state_dict": {**weights, "empty": empty}}
    for changes in (
        {**width, "model_config": {"d_model": 20_000, "expand": 20_000}},  # a layer of 64 TB
        {**width, "model_config": {"d_model": 20_000, "expand": ["s6"]}},
        {"model_config": {**small().config, "velocity": 10**12}},
    ):
        with pytest.raises(ValueError, match="c.pt: weights of another model") as error:
            load_model(rewritten(path, **changes))
        assert "allocate" not in str(error.value)


def test_weights_that_are_one_and_the_same_in_the_file_are_refused(tmp_path):
    path, many = save_small(tmp_path / "c.pt"), MusicLSTM(hidden_size=8, num_layers=50)
    shared = torch.zeros(32 * 88)
    weights = {name: shared[: weight.numel()].view(weight.shape) for name, weight in many.state_dict().items()}
    with pytest.raises(ValueError, match="c.pt: weights of another model.*the same numbers"):
        load_model(rewritten(path, model_config=many.config, model_state_dict=weights))


@pytest.mark.parametrize("options", [{}, {"head": "chords", "velocity": 32}])
def test_every_kind_of_model_can_be_laid_out_without_memory_and_loaded(tmp_path, options):
    models = [MusicLSTM(hidden_size=8, **options)]
    models += [MusicMamba(d_model=64, n_layers=2, ssm=ssm, **options) for ssm in ("s6", "ssd")]
    for model in models:
        save_checkpoint(tmp_path / "c.pt", model, make_optimizer(model), 0, 1.0)
        loaded = load_model(tmp_path / "c.pt")
        assert loaded.config == model.config and torch.equal(weights(loaded), weights(model))


def test_a_run_with_numbers_of_numpy_in_its_config_can_be_read_again(toy_rolls, tmp_path):
    numbers = {name: np.int64(value) for name, value in MIDI_CONFIG.items()}
    quick(small(), toy_rolls, tmp_path, epochs=1, midi_config=numbers)
    assert load_checkpoint(tmp_path / "last_model.pt")["midi_config"] == MIDI_CONFIG


def test_a_file_that_makes_torch_print_its_numbers_is_refused_at_once(tmp_path):
    """Its pickle calls a storage, which is no function: torch names it in its error, number by number."""
    numbers, path = 10**7, tmp_path / "c.pt"
    torch.save({"weights": torch.zeros(numbers)}, tmp_path / "whole.pt")

    def text(word):
        return b"X" + struct.pack("<I", len(word)) + word

    storage = (
        text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") + b"J" + struct.pack("<i", numbers)
    )
    with zipfile.ZipFile(tmp_path / "whole.pt") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            called = b"\x80\x02(" + storage + b"tQ)R."
            target.writestr(name, called if name.endswith("data.pkl") else source.read(name))
    started = time.process_time()
    with pytest.raises(ValueError, match="c.pt: refused"):
        load_checkpoint(path)
    assert time.process_time() - started < 2


def damages_of_a_run(state):
    moments, group = state["optimizer_state_dict"]["state"], state["optimizer_state_dict"]["param_groups"]
    first = {name: value for name, value in moments[0].items() if name != "exp_avg_sq"}
    yield {"optimizer_state_dict": {"state": moments}}
    yield {"optimizer_state_dict": {"state": {**moments, 0: first}, "param_groups": group}}
    yield {"optimizer_state_dict": {"state": {**moments, 0: moments[1]}, "param_groups": group}}
    yield {"history": [{"epoch": 0}]}
    yield {"history": []}
    yield {"epoch": -(10**9)}
    yield {"step": 10**9}
    yield {"total": "3"}
    yield {"rng_state": torch.zeros(3)}
    yield {"model_state_dict": {}}


def test_a_run_whose_parts_do_not_go_together_is_not_resumed(toy_rolls, tmp_path):
    quick(small(), toy_rolls, tmp_path / "run", epochs=1)
    path = tmp_path / "run" / "last_model.pt"
    whole = path.read_bytes()
    for damage in damages_of_a_run(torch.load(path, weights_only=True)):
        rewritten(path, **damage)
        with pytest.raises(ValueError, match="cannot resume: the checkpoint is damaged"):
            quick(small(), toy_rolls, tmp_path / "run", resume=True)
        path.write_bytes(whole)
    assert len(quick(small(), toy_rolls, tmp_path / "run", resume=True)) == 2


def test_how_the_optimiser_works_is_not_taken_from_the_file(toy_rolls, tmp_path):
    quick(small(), toy_rolls, tmp_path, epochs=1)
    state = load_checkpoint(tmp_path / "last_model.pt")
    for group in state["optimizer_state_dict"]["param_groups"]:
        del group["weight_decay"]  # as another version of torch may have it
        group["betas"] = (5.0, 5.0)
    model = small()
    optimizer = make_optimizer(model)
    restore_run(model, optimizer, torch.amp.GradScaler("cpu", enabled=False), state, state["settings"])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [WEIGHT_DECAY, 0.0]
    assert all(group["betas"] == (0.9, 0.999) for group in optimizer.param_groups)
    state["optimizer_state_dict"]["state"][0]["exp_avg"]._backward_hooks = dict  # a class where functions belong
    with pytest.raises(ValueError, match="cannot resume: the checkpoint is damaged"):
        restore_run(model, optimizer, torch.amp.GradScaler("cpu", enabled=False), state, state["settings"])


@pytest.mark.slow
def test_the_fuzzer_reads_every_kind_and_finds_nothing():
    run = [sys.executable, "tests/fuzz.py", "--minutes", "0.5", "--seed", "99"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.findall(r"^(\w+) +(\d+) tried  (\d+) read", done.stdout, re.M)
    assert len(counts) == 4 and all(int(tried) >= int(read) > 0 for _, tried, read in counts)


# ---- the cache ----


@pytest.mark.parametrize(
    "index",
    ["", "[]", "null", "{}", '{"lengths": 3, "skipped": []}', '{"lengths": {"train": [1]}}', "[" * 100_000, "\0"],
)
def test_a_cache_with_a_nonsense_index_is_built_again_and_says_so(tunes, midi_data, capsys, index):
    expected = load_piano_rolls(load_corpus(tunes))[0]["train"].frames.tobytes()
    path = next((midi_data / "cache").glob("*/index.json"))
    path.write_text(index)
    capsys.readouterr()
    assert load_piano_rolls(load_corpus(tunes))[0]["train"].frames.tobytes() == expected
    assert f"The cache {path.parent} is damaged: it is built again." in capsys.readouterr().out
    load_piano_rolls(load_corpus(tunes))
    assert capsys.readouterr().out == ""


def test_lengths_that_were_swapped_do_not_cut_the_pieces_elsewhere(tunes, midi_data):
    before = load_piano_rolls(load_corpus(tunes))[0]["train"].lengths.tolist()
    path = next((midi_data / "cache").glob("*/index.json"))
    index = json.loads(path.read_text())
    index["lengths"]["train"][0] += 5
    index["lengths"]["train"][1] -= 5  # the file has the same size
    path.write_text(json.dumps(index))
    assert load_piano_rolls(load_corpus(tunes))[0]["train"].lengths.tolist() == before


def test_a_clock_that_was_set_back_changes_nothing_and_leaves_nothing(tunes, midi_data, monkeypatch):
    left_over = midi_data / "cache" / ".building-in-the-future"
    left_over.mkdir(parents=True)
    os.utime(left_over, (time.time() + 1e6,) * 2)
    clock = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    first = load_piano_rolls(load_corpus(tunes))[0]["train"].frames.tobytes()
    assert not left_over.exists()
    assert load_piano_rolls(load_corpus(tunes))[0]["train"].frames.tobytes() == first
    assert len(list((midi_data / "cache").iterdir())) == 1


def test_a_clock_that_stands_still_or_runs_backwards_stops_no_training(toy_rolls, tmp_path, monkeypatch):
    for clock in (lambda: 5.0, iter(range(10**6, 0, -1)).__next__):
        monkeypatch.setattr(time, "perf_counter", clock)
        assert len(quick(small(), toy_rolls, tmp_path)) == 2


# ---- Ctrl-C ----

TRAIN = """
import sys, torch
from pathlib import Path
from midigen_utils import config
from midigen_utils.__main__ import main
torch.set_num_threads(1)
files.MIDI_DATA = Path(sys.argv[1])
sys.exit(main(["train", "--start", sys.argv[3], "--corpus", sys.argv[2], "--device", "cpu", "--batch-size", "2",
    "--output", sys.argv[4], *sys.argv[5:]]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_in_a_terminal_saves_and_says_how_to_resume(tunes, midi_data, tmp_path):
    start, run = save_small(tmp_path / "start.pt"), tmp_path / "run"
    command = [sys.executable, "-u", "-c", TRAIN, *map(str, (midi_data, tunes, start, run))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
    with subprocess.Popen([*command, "--epochs", "1000"], **pipes) as process:
        while not (run / "last_model.pt").exists():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "Saved: resume=True (--resume)" in output and "Traceback" not in output
    state = load_checkpoint(run / "last_model.pt")
    at = state["epoch"] + 2  # in which epoch the run goes on
    done = subprocess.run([*command, "--resume", "--epochs", str(at)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(run / "last_model.pt")["epoch"] == at - 1
    names = ["best_model.pt", "history.csv", "last_model.pt", "previous_model.pt"]
    assert sorted(p.name for p in run.iterdir()) == names


CELL = """
import torch
from pathlib import Path
from midigen_utils.learn.checkpoints import load_model
from midigen_utils.learn.training import WEIGHT_DECAY, fit
torch.set_num_threads(1)
rolls = [(torch.rand(200, 88) < 0.05).float().numpy() for _ in range(3)]
fit(load_model({start!r}), {{"train": rolls, "validation": rolls}}, 10**6, batch_size=2, device="cpu", folder={run!r})
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows interrupts kernels in another way")
def test_interrupt_in_a_notebook_saves_and_the_kernel_lives_on(tmp_path):
    manager = pytest.importorskip("jupyter_client.manager")
    start, run = save_small(tmp_path / "start.pt"), tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    kernels, client = manager.start_new_kernel(kernel_name="python3", env=environment)
    try:
        running = client.execute(CELL.format(start=str(start), run=str(run)))
        until = time.monotonic() + 60
        while not (run / "last_model.pt").exists() and time.monotonic() < until:
            time.sleep(0.05)
        kernels.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != running:
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        text = ""
        while (message := client.get_iopub_msg(timeout=10))["msg_type"] != "error":
            text += message["content"].get("text", "")
        assert re.search(r"Interrupted (in|after) epoch \d+.*Saved: resume=True", text)
        load_checkpoint(run / "last_model.pt")
        client.execute_interactive("assert True", timeout=30)
    finally:
        client.stop_channels()
        kernels.shutdown_kernel(now=True)


@pytest.mark.parametrize("in_a_thread", [False, True])
def test_a_keyboard_interrupt_in_the_middle_of_a_step_keeps_the_epoch_before(
    toy_rolls, tmp_path, monkeypatch, capsys, in_a_thread
):
    """As the second Ctrl-C gives it, or somebody who raises it in the thread that trains."""
    real, calls, outcome = torch.nn.utils.clip_grad_norm_, [], []
    steps = []

    def interrupted(*arguments):
        steps.append(1)
        if calls and len(steps) > 40:
            raise KeyboardInterrupt
        return real(*arguments)

    def train():
        try:
            quick(small(), toy_rolls, tmp_path, epochs=9, on_epoch=lambda h: (calls.append(1), steps.extend([1] * 99)))
        except KeyboardInterrupt:
            outcome.append("stopped")

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", interrupted)
    if in_a_thread:
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    else:
        train()
    assert outcome == ["stopped"] and signal.getsignal(signal.SIGINT) is handler
    assert "Interrupted at once" in (said := capsys.readouterr().out) and "--resume" in said
    assert load_checkpoint(tmp_path / "last_model.pt")["epoch"] == 0
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", real)
    assert len(quick(small(), toy_rolls, tmp_path, epochs=9, resume=True)) == 9


# ---- two trainings in one folder ----


def test_a_second_training_in_the_same_folder_is_refused_and_harms_nothing(toy_rolls, tmp_path):
    refused = []

    def second(history):
        if not refused:
            before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
            with pytest.raises(RuntimeError, match="another training writes into.*--output") as error:
                quick(small(), toy_rolls, tmp_path)
            refused.append(error)
            assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
            quick(small(), toy_rolls, tmp_path / "its own")
            shutil.rmtree(tmp_path / "its own")

    assert len(quick(small(), toy_rolls, tmp_path, on_epoch=second)) == 2 and refused
    quick(small(), toy_rolls, tmp_path)  # it has ended: the folder is free
    assert ".training" not in {p.name for p in tmp_path.iterdir()}


HOLD = """
import sys
from pathlib import Path
from midigen_utils.faults import only_training
with only_training(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_a_process_that_was_killed_blocks_nobody(toy_rolls, tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], **pipes) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match="another training"):
            quick(small(), toy_rolls, tmp_path, epochs=1)
        other.kill()
        other.wait()
    assert (tmp_path / ".training").exists()  # it could not tidy up
    quick(small(), toy_rolls, tmp_path, epochs=1)


@pytest.mark.skipif(not faults.fcntl, reason="Windows locks otherwise")
def test_where_the_file_system_knows_no_locks_training_goes_on(toy_rolls, tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(faults.fcntl, "flock", no_locks)
    assert len(quick(small(), toy_rolls, tmp_path)) == 2


# ---- NaN, and too little memory ----


def fails_in_epoch_two(monkeypatch, fail):
    """Let `fail(loss)` happen to the loss of one step of the second epoch; returns the `on_epoch` that arms it."""
    armed, real = [], training.TrainingLoss.forward

    def forward(self, *arguments, **options):
        loss, nll, state = real(self, *arguments, **options)
        if armed:
            armed.append(1)
        return fail(loss) if len(armed) == 4 else loss, nll, state

    monkeypatch.setattr(training.TrainingLoss, "forward", forward)
    return lambda history: armed.append(1)


class GradientOfNaN(torch.autograd.Function):
    @staticmethod
    def forward(context, loss):
        return loss.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * float("nan")


@pytest.mark.parametrize("fail", [lambda loss: loss * float("nan"), GradientOfNaN.apply], ids=["loss", "gradient"])
def test_nan_names_the_step_and_the_epoch_before_stays(toy_rolls, tmp_path, monkeypatch, fail):
    on_epoch = fails_in_epoch_two(monkeypatch, fail)
    with pytest.raises(RuntimeError, match="NaN.*epoch 2, step 3.*learning rate below 0.003.*last_model.pt"):
        quick(small(), toy_rolls, tmp_path, on_epoch=on_epoch)
    state = load_checkpoint(tmp_path / "last_model.pt")
    assert state["epoch"] == 0 and all(torch.isfinite(value).all() for value in state["model_state_dict"].values())


ERRORS = {
    "CUDA": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "MPS": RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    "CPU": RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    "Windows": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 bytes."),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=list(ERRORS))
def test_too_little_memory_names_a_batch_size_to_try_and_the_epoch_before_stays(
    toy_rolls, tmp_path, monkeypatch, error
):
    def fail(loss):
        raise error

    on_epoch = fails_in_epoch_two(monkeypatch, fail)
    with pytest.raises(RuntimeError, match=r"out of memory in epoch 2, step 3.*of 4 .*--batch-size 2.*--accumulate 2"):
        quick(small(), toy_rolls, tmp_path, on_epoch=on_epoch, batch_size=4)
    assert load_checkpoint(tmp_path / "last_model.pt")["epoch"] == 0


def test_other_errors_of_a_step_are_left_as_they_are(toy_rolls, tmp_path, monkeypatch):
    def fail(loss):
        raise RuntimeError("a mistake in the model")

    on_epoch = fails_in_epoch_two(monkeypatch, fail)
    with pytest.raises(RuntimeError, match="^a mistake in the model$"):
        quick(small(), toy_rolls, tmp_path, on_epoch=on_epoch)


def test_a_missing_compiler_is_one_error_that_says_so(toy_rolls, tmp_path, monkeypatch):
    from torch._inductor.exc import InvalidCxxCompiler

    def fail(loss):
        raise InvalidCxxCompiler()

    on_epoch = fails_in_epoch_two(monkeypatch, fail)
    with pytest.raises(RuntimeError, match=r"torch\.compile failed \(No working C\+\+ compiler.*train without compile"):
        quick(small(), toy_rolls, tmp_path, on_epoch=on_epoch)


def test_too_little_memory_is_one_line_on_the_command_line(tunes, midi_data, tmp_path, monkeypatch, capsys):
    from midigen_utils.__main__ import main

    def fail(*arguments, **options):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(training.TrainingLoss, "forward", fail)
    start = save_small(tmp_path / "start.pt")
    assert main(["train", "--start", str(start), "--corpus", str(tunes), "--device", "cpu"]) == 1
    assert "error: cpu is out of memory" in capsys.readouterr().err
