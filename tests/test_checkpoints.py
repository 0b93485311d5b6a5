"""Checkpoints: written whole or not at all, read without running anything, one clear error for all that is wrong."""

import errno
import io
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path

import pytest
import torch
from test_training import SMALL, quick, small, weights

from midigen_utils import config
from midigen_utils.config import MIDI_CONFIG
from midigen_utils.learn import checkpoints
from midigen_utils.learn.checkpoints import export_model, load_checkpoint, load_model, save_checkpoint
from midigen_utils.learn.training import evaluate, make_optimizer
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba

FULL = Path("/dev/full")
needs_dev_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full, the disk that is always full")


def save_small(path, **extras):
    model = small()
    save_checkpoint(path, model, make_optimizer(model), 0, 1.0, **extras)
    return path


@pytest.mark.parametrize("name", SMALL)
def test_checkpoint_round_trip_gives_the_same_predictions(name, tmp_path):
    model = SMALL[name]().eval()
    save_checkpoint(tmp_path / "c.pt", model, make_optimizer(model), 4, 1.5)
    loaded = load_model(tmp_path / "c.pt")
    x = torch.rand(2, 9, 88).round()
    with torch.no_grad():
        assert torch.equal(model(x)[0], loaded(x)[0])
    assert not loaded.training


@pytest.mark.parametrize("build", [MusicLSTM, MusicMamba])
def test_a_file_with_only_the_four_keys_loads(build, tmp_path):
    torch.manual_seed(0)
    model = build()
    state = {
        "epoch": 3,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": torch.optim.Adam(model.parameters()).state_dict(),
        "val_loss": 0.05,
    }
    torch.save(state, tmp_path / "four.pt")
    loaded = load_model(tmp_path / "four.pt")
    assert type(loaded) is build
    assert torch.equal(weights(loaded), weights(model))


class Hostile:
    def __reduce__(self):
        return (print, ("code from a stranger runs",))


def test_a_hostile_pickle_is_refused_and_never_run(tmp_path, capsys):
    four = {"epoch": 0, "model_state_dict": {}, "optimizer_state_dict": Hostile(), "val_loss": 0.0}
    torch.save(four, tmp_path / "hostile.pt")
    with open(tmp_path / "plain.pt", "wb") as file:
        pickle.dump(four, file)
    for name in ("hostile.pt", "plain.pt"):
        with pytest.raises(ValueError, match=name):
            load_model(tmp_path / name)
    assert "stranger" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"# README", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_no_checkpoint_is_named(content, tmp_path):
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(ValueError, match="bad.pt: not a checkpoint"):
        load_model(tmp_path / "bad.pt")
    with pytest.raises(FileNotFoundError, match="make train"):
        load_model(tmp_path / "none.pt")


def test_a_truncated_checkpoint_is_named(tmp_path):
    model = MusicLSTM(hidden_size=8)
    save_checkpoint(tmp_path / "c.pt", model, make_optimizer(model), 0, 1.0)
    data = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="half.pt"):
        load_model(tmp_path / "half.pt")


def test_weights_of_another_model_are_refused(tmp_path):
    state = {"epoch": 0, "model_state_dict": {"w": torch.zeros(3)}, "optimizer_state_dict": {}, "val_loss": 1.0}
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="another model"):
        load_model(tmp_path / "other.pt")
    torch.save({**state, "model": "Transformer"}, tmp_path / "unknown.pt")
    with pytest.raises(ValueError, match="Transformer"):
        load_model(tmp_path / "unknown.pt")


def test_an_exported_checkpoint_is_small_and_plays_and_learns_like_the_one_it_came_from(toy_rolls, tmp_path):
    torch.manual_seed(0)
    model = MusicMamba(d_model=32, n_layers=2, head="chords", velocity=32)
    quick(model, toy_rolls, tmp_path, extras={"corpus": "toys"})
    size = export_model(tmp_path / "best_model.pt", tmp_path / "small.pt")
    assert size < 0.25 * (tmp_path / "best_model.pt").stat().st_size
    small, best = load_model(tmp_path / "small.pt"), load_model(tmp_path / "best_model.pt")
    assert all(p.dtype == torch.float32 for p in small.parameters())
    assert torch.allclose(weights(small), weights(best), rtol=1e-3, atol=1e-5)
    scores = [evaluate(m, toy_rolls["validation"])["nll"] for m in (small, best)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)
    state = load_checkpoint(tmp_path / "small.pt")
    assert state["corpus"] == "toys" and len(state["history"]) == 2 and state["optimizer_state_dict"]["state"] == {}
    make_optimizer(small).load_state_dict(state["optimizer_state_dict"])
    quick(small, toy_rolls, tmp_path / "more", epochs=1)
    with pytest.raises(FileNotFoundError):
        export_model(tmp_path / "none.pt", tmp_path / "other.pt")


def test_a_crash_while_saving_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    model = MusicLSTM(hidden_size=8)
    save_checkpoint(tmp_path / "c.pt", model, make_optimizer(model), 0, 1.0)

    def disk_full(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="disk is full"):
        save_checkpoint(tmp_path / "c.pt", model, make_optimizer(model), 1, 0.5)
    assert load_checkpoint(tmp_path / "c.pt")["epoch"] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


@needs_dev_full
def test_a_full_disk_keeps_the_old_checkpoint_and_says_what_to_do(tmp_path):
    path = save_small(tmp_path / "c.pt")
    before = path.read_bytes()
    (tmp_path / f".c.pt.{os.getpid()}.tmp").symlink_to(FULL)  # what is written beside its place meets a full disk
    with pytest.raises(OSError, match=r"c\.pt was not written.*disk is full.*free some space") as error:
        save_small(path)
    assert error.value.errno == errno.ENOSPC
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"] and path.read_bytes() == before


class FullSoon(io.FileIO):
    """A file on a disk with 2,000 bytes left."""

    def write(self, data):
        if self.tell() + len(data) > 2000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_a_disk_that_fills_up_on_the_way_is_the_same_one_error(tmp_path, monkeypatch):
    path = save_small(tmp_path / "c.pt")
    before = path.read_bytes()
    monkeypatch.setattr(checkpoints, "open", lambda path, mode: FullSoon(path, mode), raising=False)
    with pytest.raises(OSError, match=r"c\.pt was not written.*disk is full.*free some space"):
        save_small(path)
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"] and path.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_without_permission_to_write_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="read-only for you"):
        save_small(tmp_path / "c.pt")
    tmp_path.chmod(0o700)


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


def test_a_checkpoint_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    path, sizes = save_small(tmp_path / "c.pt"), []
    whole, before = path.stat().st_size, path.stat().st_ino
    monkeypatch.setattr(os, "fsync", lambda file: sizes.append((os.fstat(file).st_size, path.stat().st_ino)))
    save_small(path)
    assert sizes == [(whole, before)] and path.stat().st_ino != before


def test_what_another_version_wrote_is_named_with_its_version(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(config, "version", lambda: "9.9")
        save_small(tmp_path / "newer.pt")
    state = torch.load(tmp_path / "newer.pt", weights_only=True)
    assert load_model(tmp_path / "newer.pt").config == small().config  # it fits, so it is taken
    torch.save({**state, "model_config": {"rotary": True}}, tmp_path / "newer.pt")
    with pytest.raises(ValueError, match=r"another model \(written by midigen 9\.9, this is .*rotary"):
        load_model(tmp_path / "newer.pt")
    torch.save({**state, "model": "MusicTransformer"}, tmp_path / "newer.pt")
    with pytest.raises(ValueError, match=r"MusicTransformer \(written by midigen 9\.9"):
        load_model(tmp_path / "newer.pt")


def test_a_checkpoint_of_a_gpu_loads_on_the_cpu(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:3")
        save_small(tmp_path / "c.pt")
    assert b"cuda:3" in (tmp_path / "c.pt").read_bytes()
    assert {p.device.type for p in load_model(tmp_path / "c.pt").parameters()} == {"cpu"}


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


def test_weights_that_are_one_and_the_same_number_in_the_file_are_refused(tmp_path):
    path, wide, shared = save_small(tmp_path / "c.pt"), MusicLSTM(hidden_size=500), torch.zeros(10**5)
    spread = {name: torch.zeros(1).expand(weight.shape) for name, weight in wide.state_dict().items()}
    for same in (spread, {f"weight {i}": shared for i in range(20)}):
        with pytest.raises(ValueError, match="c.pt: .*larger than the file"):
            load_model(rewritten(path, model_config=wide.config, model_state_dict=same))


@pytest.mark.parametrize("options", [{}, {"head": "chords", "velocity": 32}])
def test_every_kind_of_model_can_be_laid_out_without_memory_and_loaded(tmp_path, options):
    models = [MusicLSTM(hidden_size=8, **options)]
    models += [MusicMamba(d_model=64, n_layers=2, ssm=ssm, **options) for ssm in ("s6", "ssd")]
    for model in models:
        save_checkpoint(tmp_path / "c.pt", model, make_optimizer(model), 0, 1.0)
        loaded = load_model(tmp_path / "c.pt")
        assert loaded.config == model.config and torch.equal(weights(loaded), weights(model))


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


@pytest.mark.parametrize("name", ["mamba", "lstm", "midi_data/pretrained/mamba.pt"])
def test_without_a_clone_the_weights_of_pianists_are_missed_in_one_clear_message(
    name, midi_data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match='^.*come with a clone.*licence.*take "bach" instead') as told:
        load_model(name)
    assert len(str(told.value).splitlines()) == 1
