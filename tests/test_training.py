import csv
import errno
import math
import os
import pickle
import shutil
import signal
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from midigen_utils import config
from midigen_utils.learn import parallel, training
from midigen_utils.learn.checkpoints import export_model, load_checkpoint, load_model, save_checkpoint
from midigen_utils.learn.metrics import fit_baselines
from midigen_utils.learn.training import evaluate, fit, learning_rate_at, make_optimizer
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba

SMALL = {"LSTM": lambda: MusicLSTM(hidden_size=48, dropout=0.1), "Mamba": lambda: MusicMamba(d_model=32, n_layers=2)}


@pytest.fixture(params=SMALL)
def new_model(request):
    def make(seed=0):
        torch.manual_seed(seed)
        return SMALL[request.param]()

    return make


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def quick(model, rolls, folder, **options):
    options = {"epochs": 2, "batch_size": 3, "learning_rate": 3e-3, "device": torch.device("cpu"), **options}
    return fit(model, rolls, folder=folder, **options)


def stopped(model, rolls, folder, **options):
    """`quick`, killed after the first epoch."""

    def kill(history):
        raise SystemExit

    with pytest.raises(SystemExit):
        quick(model, rolls, folder, on_epoch=kill, **options)


def test_a_pattern_is_learnt_better_than_by_any_baseline(new_model, toy_rolls, tmp_path):
    model = new_model()
    history = quick(model, toy_rolls, tmp_path, epochs=50, learning_rate=1e-2)
    markov = evaluate(fit_baselines(toy_rolls["train"])["Markov-1"], toy_rolls["validation"])["nll"]
    assert history[-1]["val_loss"] < 0.9 * markov
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_untrained_loss_is_near_88_coins():
    torch.manual_seed(0)
    model = MusicMamba(d_model=32, n_layers=1)
    nll = evaluate(model, [(np.random.default_rng(0).random((50, 88)) < 0.05).astype(np.float32)])["nll"]
    assert 0.5 * 88 * math.log(2) < nll < 1.5 * 88 * math.log(2)


def test_resumed_after_an_epoch_is_the_run_that_was_not_interrupted(new_model, toy_rolls, tmp_path):
    whole = new_model()
    quick(whole, toy_rolls, tmp_path / "whole", epochs=3)
    stopped(new_model(), toy_rolls, tmp_path / "parts", epochs=3)
    torch.manual_seed(999)  # whatever happened in between
    resumed = new_model(seed=5)
    history = quick(resumed, toy_rolls, tmp_path / "parts", epochs=3, resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    assert [row["epoch"] for row in history] == [0, 1, 2]
    best = [load_checkpoint(tmp_path / name / "best_model.pt") for name in ("whole", "parts")]
    assert best[0]["epoch"] == best[1]["epoch"] and best[0]["val_loss"] == best[1]["val_loss"]


def test_resumed_in_the_middle_of_an_epoch_is_the_run_that_was_not_interrupted(
    new_model, toy_rolls, tmp_path, monkeypatch
):
    whole = new_model()
    expected = quick(whole, toy_rolls, tmp_path / "whole", epochs=2)
    real, calls = torch.nn.utils.clip_grad_norm_, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 12:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick(new_model(), toy_rolls, tmp_path / "parts", epochs=2)
    assert load_checkpoint(tmp_path / "parts/last_model.pt")["step"] > 0
    resumed = new_model(seed=5)
    history = quick(resumed, toy_rolls, tmp_path / "parts", epochs=2, resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    assert [r["train_loss"] for r in history] == pytest.approx([r["train_loss"] for r in expected])


def killed_in_a_step(monkeypatch, step):
    """From now on an error ends training in this step, before its weights change: as if it was killed there.

    Returns the list that has one entry for each step.
    """
    real, calls = torch.nn.utils.clip_grad_norm_, []

    def lost(*arguments):
        calls.append(1)
        if len(calls) == step:
            raise SystemError("the machine is gone")
        return real(*arguments)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lost)
    return calls


@pytest.mark.parametrize("carry_state", [False, True])
def test_killed_between_two_saves_of_an_epoch_it_goes_on_to_the_run_that_was_not_interrupted(
    new_model, toy_rolls, tmp_path, monkeypatch, carry_state
):
    options = {"sequence_length": 16, "carry_state": carry_state, "batch_size": 4}
    whole = new_model()
    with monkeypatch.context() as patch:
        steps = killed_in_a_step(patch, math.inf)
        expected = quick(whole, toy_rolls, tmp_path / "whole", save_every=math.inf, **options)
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", iter(range(0, 10**6, 25)).__next__)  # each look at it is 25 s later
        killed_in_a_step(patch, len(steps) // 2 + 7)
        with pytest.raises(SystemError):
            quick(new_model(), toy_rolls, tmp_path / "parts", save_every=1, **options)
    state, before = (load_checkpoint(tmp_path / "parts" / name) for name in ("last_model.pt", "previous_model.pt"))
    assert state["epoch"] == before["epoch"] == 0  # the first; in the second it was lost
    assert (before["step"], state["step"]) == (2, 5)
    torch.manual_seed(999)
    resumed = new_model(seed=5)
    history = quick(resumed, toy_rolls, tmp_path / "parts", resume=True, **options)
    assert torch.equal(weights(whole), weights(resumed))
    assert [r["train_loss"] for r in history] == [r["train_loss"] for r in expected]
    assert [r["val_loss"] for r in history] == [r["val_loss"] for r in expected]


@pytest.mark.slow  # half a minute
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "cl"))), reason="torch.compile needs a compiler")
def test_compiled_steps_give_the_same_weights_and_a_checkpoint_of_the_plain_model(toy_rolls, tmp_path):
    runs = [MusicLSTM(hidden_size=8) for _ in range(2)]
    runs[1].load_state_dict(runs[0].state_dict())
    for model, compile in zip(runs, (False, True)):
        quick(model, toy_rolls, tmp_path / f"{compile}", batch_size=6, epochs=1, compile=compile)
    assert torch.allclose(weights(runs[0]), weights(runs[1]), rtol=0, atol=1e-5)
    assert torch.equal(weights(load_model(tmp_path / "True/last_model.pt")), weights(runs[1]))


def test_how_often_a_run_is_saved_changes_nothing_else(toy_rolls, tmp_path, monkeypatch):
    saved, real = [], training.save_checkpoint
    monkeypatch.setattr(
        training, "save_checkpoint", lambda path, *a, **k: saved.append(path.name) or real(path, *a, **k)
    )
    runs = [MusicLSTM(hidden_size=8, dropout=0.1) for _ in range(2)]
    runs[1].load_state_dict(runs[0].state_dict())
    counts = []
    for model, minutes in zip(runs, (math.inf, 0)):
        saved.clear()
        quick(model, toy_rolls, tmp_path / f"{minutes}", epochs=1, save_every=minutes)
        counts.append(saved.count("last_model.pt"))
    steps = load_checkpoint(tmp_path / "inf/last_model.pt")["settings"]["windows"] / 3
    assert counts == [1, math.ceil(steps) + 1] and torch.equal(weights(runs[0]), weights(runs[1]))
    for minutes in (-1, math.nan):
        with pytest.raises(ValueError, match="save_every is .*; use minutes"):
            quick(runs[0], toy_rolls, tmp_path, save_every=minutes)


def test_ctrl_c_during_the_validation_saves_the_epoch_before_it_stops(toy_rolls, tmp_path, monkeypatch, capsys):
    whole = MusicLSTM(hidden_size=8)
    torch.manual_seed(0)
    start = {name: value.clone() for name, value in whole.state_dict().items()}
    quick(whole, toy_rolls, tmp_path / "whole", epochs=2)
    real = training.evaluate

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    resumed = MusicLSTM(hidden_size=8)
    resumed.load_state_dict(start)
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quick(resumed, toy_rolls, tmp_path / "parts", epochs=2)
    assert "after epoch 1. Saved" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "parts/last_model.pt")["epoch"] == 0
    assert len(quick(resumed, toy_rolls, tmp_path / "parts", epochs=2, resume=True)) == 2
    assert torch.equal(weights(whole), weights(resumed))


@pytest.mark.parametrize("carry_state", [False, True])
def test_several_processes_save_before_the_validation_and_resume_at_it(toy_rolls, tmp_path, monkeypatch, carry_state):
    """torchrun kills what has not ended 30 s after Ctrl-C."""
    options = {"save_every": math.inf, "carry_state": carry_state, "sequence_length": 32}
    several = SimpleNamespace(**{**vars(parallel), "processes": lambda: 2, "averaging_now": lambda *_: nullcontext()})
    monkeypatch.setattr(training, "parallel", several)  # two, for all that `fit` knows
    whole, resumed = (MusicLSTM(hidden_size=8, dropout=0.1) for _ in range(2))
    start = {name: value.clone() for name, value in whole.state_dict().items()}
    expected = quick(whole, toy_rolls, tmp_path / "whole", **options)

    def killed(*arguments, **options):
        raise SystemExit

    resumed.load_state_dict(start)
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate", killed)
        with pytest.raises(SystemExit):
            quick(resumed, toy_rolls, tmp_path / "parts", **options)
    state = load_checkpoint(tmp_path / "parts/last_model.pt")
    assert state["epoch"] == -1 and state["step"] == (5 * 2 if carry_state else math.ceil(4 * 8 / 3))
    with monkeypatch.context() as patch:
        patch.setattr(training, "_of_this_process", lambda carried, *_: carried)
        history = quick(resumed, toy_rolls, tmp_path / "parts", resume=True, **options)
    assert torch.equal(weights(whole), weights(resumed))
    for name in ("epoch", "train_loss", "val_loss"):
        assert [row[name] for row in history] == [row[name] for row in expected]


def test_a_run_that_stopped_after_the_last_step_of_an_epoch_resumes_with_its_validation(
    toy_rolls, tmp_path, monkeypatch
):
    whole, resumed = (MusicLSTM(hidden_size=8, dropout=0.1) for _ in range(2))
    resumed.load_state_dict(whole.state_dict())
    expected = quick(whole, toy_rolls, tmp_path / "whole", save_every=0)

    def killed(*arguments, **options):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate", killed)
        with pytest.raises(SystemExit):
            quick(resumed, toy_rolls, tmp_path / "parts", save_every=0)
    history = quick(resumed, toy_rolls, tmp_path / "parts", save_every=0, resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    assert [row["val_loss"] for row in history] == [row["val_loss"] for row in expected]
    assert [row["train_loss"] for row in history] == [row["train_loss"] for row in expected]


def test_a_history_that_another_program_has_open_stops_no_training(toy_rolls, tmp_path, monkeypatch, capsys):
    real = os.replace

    def locked(source, target):
        if Path(target).name == "history.csv":
            raise PermissionError(errno.EACCES, "Access is denied", str(target))
        return real(source, target)

    (tmp_path / "history.csv").write_text("open in Excel")
    monkeypatch.setattr(training, "keep_earlier_run", lambda folder: None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", locked)
        assert len(quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path)) == 2
    assert "history.csv not written: " in (said := capsys.readouterr().out) and "another program has the file" in said
    assert load_checkpoint(tmp_path / "last_model.pt")["epoch"] == 1
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv", ".pt", ".pt", ".pt"]


def test_a_new_run_keeps_the_files_of_the_one_before_and_extras_are_in_the_checkpoint(toy_rolls, tmp_path):
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=2, extras={"corpus": "toys"})
    before = (tmp_path / "best_model.pt").read_bytes()
    assert load_checkpoint(tmp_path / "best_model.pt")["corpus"] == "toys"
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=1)
    assert (tmp_path / "earlier_best_model.pt").read_bytes() == before
    names = {"best_model.pt", "last_model.pt", "history.csv"}
    earlier = {f"earlier_{name}" for name in (*names, "previous_model.pt")}
    assert {p.name for p in tmp_path.iterdir()} == names | earlier
    assert "corpus" not in load_checkpoint(tmp_path / "best_model.pt")


def test_resuming_with_other_settings_or_data_is_refused_by_name(toy_rolls, tmp_path):
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=1)
    for change, name in (({"seed": 1}, "seed"), ({"batch_size": 4}, "batch_size"), ({"transpose": 2}, "transpose")):
        with pytest.raises(ValueError, match=f"cannot resume with other settings.*{name} was"):
            quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=2, resume=True, **change)
    fewer = {**toy_rolls, "train": toy_rolls["train"][:2]}
    with pytest.raises(ValueError, match="windows was"):
        quick(MusicLSTM(hidden_size=8), fewer, tmp_path, epochs=2, resume=True)


def test_a_resumed_run_takes_a_new_learning_rate(toy_rolls, tmp_path):
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=1)
    before = load_checkpoint(tmp_path / "last_model.pt")["model_state_dict"]
    model = MusicLSTM(hidden_size=8)
    quick(model, toy_rolls, tmp_path, epochs=2, resume=True, learning_rate=0.0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_learning_rate_rises_and_then_falls_to_nothing(toy_rolls, tmp_path, monkeypatch):
    rates = [learning_rate_at(step, 1000, 1e-3) for step in range(1000)]
    assert rates[:90] == sorted(rates[:90]) and rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[0] == pytest.approx(1e-5) and max(rates) == pytest.approx(1e-3, rel=0.05) and 0 < rates[-1] < 1e-8
    assert rates[500] == pytest.approx(5e-4)
    used, real = [], torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self: used.append([g["lr"] for g in self.param_groups]) or real(self)
    )
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path)
    assert used == [[learning_rate_at(step, len(used), 3e-3)] * 2 for step in range(len(used))]


def test_transposed_training_resumes_exactly(toy_rolls, tmp_path):
    whole, resumed = MusicLSTM(hidden_size=8), MusicLSTM(hidden_size=8)
    resumed.load_state_dict(whole.state_dict())
    quick(whole, toy_rolls, tmp_path / "whole", transpose=3)
    stopped(resumed, toy_rolls, tmp_path / "parts", transpose=3)
    quick(resumed, toy_rolls, tmp_path / "parts", transpose=3, resume=True)
    assert torch.equal(weights(whole), weights(resumed))


class Own(torch.nn.Module):
    """A model of one's own, as `evaluate` takes it."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(88, 88)

    def forward(self, x, hidden=None):
        return self.linear(x), None


PIECE = np.eye(100, 88, dtype=np.float32)
WRONG = {  # what is given instead, and what is said
    "no piece": ({"validation": []}, {}, "validation split has no piece"),
    "one frame": ({"validation": [PIECE[:1]] * 3}, {}, "no piece of validation has two frames"),
    "narrow validation": ({"validation": [PIECE[:, :80]]}, {}, "train have 88 keys, those of validation 80"),
    "narrow": ({"train": [PIECE[:, :49]], "validation": [PIECE[:, :49]]}, {}, "have 49 keys.*the model has 88"),
    "NaN": ({"validation": [PIECE, PIECE * np.nan]}, {}, "NaN"),
    "MIDI velocities": ({"validation": [PIECE * 100]}, {}, "to 100.0"),
    "no epoch": ({}, {"epochs": 0}, "epochs is 0; use 1 or more"),
    "no such device": ({}, {"device": "cuda"}, "no device 'cuda' on this machine; there is: .*cpu"),
}


@pytest.mark.parametrize("carry_state", [False, True])
@pytest.mark.parametrize("rolls,options,message", WRONG.values(), ids=list(WRONG))
def test_what_can_only_fail_is_named_before_any_training(
    toy_rolls, tmp_path, monkeypatch, rolls, options, message, carry_state
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "best_model.pt").write_text("of the run before")
    with pytest.raises(ValueError, match=message):
        quick(MusicLSTM(hidden_size=8), {**toy_rolls, **rolls}, tmp_path, carry_state=carry_state, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["best_model.pt"]


def test_the_pair_of_rolls_and_corpus_and_a_model_without_config_are_refused_with_what_to_write(toy_rolls, tmp_path):
    with pytest.raises(ValueError, match=r"`rolls, corpus = load_piano_rolls\(…\)`"):
        quick(MusicLSTM(hidden_size=8), (toy_rolls, "the corpus"), tmp_path)
    with pytest.raises(ValueError, match="this Own has no `config`.*self.config = "):
        quick(Own(), toy_rolls, tmp_path)
    assert list(tmp_path.iterdir()) == []
    own = Own()
    own.config = {"of": "mine"}
    assert len(quick(own, toy_rolls, tmp_path)) == 2


def test_tensors_and_bins_are_validated_like_arrays(toy_rolls):
    torch.manual_seed(0)
    model, (piece,) = MusicLSTM(hidden_size=8), toy_rolls["validation"]
    expected = evaluate(model, [piece, piece[:50]])
    bins = [(32 * roll).astype(np.uint8) for roll in (piece, piece[:50])]
    for same in ([torch.from_numpy(piece), torch.from_numpy(piece[:50])], bins, [np.asfortranarray(b) for b in bins]):
        assert evaluate(model, same) == expected
    assert evaluate(model, torch.from_numpy(piece)[None]) == evaluate(model, [piece])


def test_an_error_in_the_validation_leaves_a_model_in_training(toy_rolls, monkeypatch):
    model = MusicLSTM(hidden_size=8).train()
    with pytest.raises(ValueError):
        evaluate(model, [np.zeros((9, 80))])
    assert model.training


def test_a_gpu_that_emulates_bfloat16_computes_in_float16(monkeypatch):
    for native, dtype in ((False, torch.float16), (True, torch.bfloat16)):
        supported = lambda including_emulation=True, native=native: native or including_emulation  # noqa: E731
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # there is no GPU here
            assert config.autocast(torch.device("cuda")).fast_dtype == dtype


def test_on_epoch_sees_the_history_grow(toy_rolls, tmp_path):
    seen = []
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, on_epoch=lambda history: seen.append(len(history)))
    assert seen == [1, 2]


def test_best_epoch_is_kept_and_history_is_written(new_model, toy_rolls, tmp_path):
    history = quick(new_model(), toy_rolls, tmp_path, epochs=3)
    best = min(history, key=lambda row: row["val_loss"])
    state = load_checkpoint(tmp_path / "best_model.pt")
    assert {"epoch", "model_state_dict", "optimizer_state_dict", "val_loss"} <= state.keys()
    assert (state["epoch"], state["val_loss"]) == (best["epoch"], best["val_loss"])
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in history]
    names = ["best_model.pt", "history.csv", "last_model.pt", "previous_model.pt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_patience_stops_early(toy_rolls, tmp_path):
    model = MusicLSTM(hidden_size=8)
    history = quick(model, toy_rolls, tmp_path, epochs=50, learning_rate=0.0, patience=2)
    assert len(history) == 3  # the first is the best, two are not better


def test_nan_loss_stops_with_an_explanation(toy_rolls, tmp_path):
    model = MusicLSTM(hidden_size=8)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(RuntimeError, match="learning rate below"):
        quick(model, toy_rolls, tmp_path)


def test_gradients_are_clipped_to_one(toy_rolls, tmp_path, monkeypatch):
    norms = []
    real = torch.nn.utils.clip_grad_norm_

    def spy(parameters, max_norm):
        parameters = list(parameters)
        norm = real(parameters, max_norm)
        norms.append((max_norm, torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()))
        return norm

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=1)
    assert norms and all(limit == 1.0 and norm <= 1.0001 for limit, norm in norms)


def test_weight_decay_touches_matrices_only():
    model = MusicMamba(d_model=32, n_layers=1)
    groups = make_optimizer(model).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, free = ({names[id(p)] for p in group["params"]} for group in groups)
    assert groups[0]["weight_decay"] > 0 and groups[1]["weight_decay"] == 0
    assert not any("A_log" in name or name.endswith((".D", "bias")) or "norm" in name for name in decayed)
    assert len(decayed) + len(free) == len(names)
    assert any("proj" in name for name in decayed)


def test_checkpoint_round_trip_gives_the_same_predictions(new_model, tmp_path):
    model = new_model().eval()
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


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_no_checkpoint_is_named(content, tmp_path):
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(ValueError, match="bad.pt"):
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


def test_weights_of_another_model_are_refused(tmp_path, toy_rolls):
    state = {"epoch": 0, "model_state_dict": {"w": torch.zeros(3)}, "optimizer_state_dict": {}, "val_loss": 1.0}
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="another model"):
        load_model(tmp_path / "other.pt")
    torch.save({**state, "model": "Transformer"}, tmp_path / "unknown.pt")
    with pytest.raises(ValueError, match="Transformer"):
        load_model(tmp_path / "unknown.pt")
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=1)
    with pytest.raises(ValueError, match="cannot resume"):
        quick(MusicLSTM(hidden_size=9), toy_rolls, tmp_path, epochs=2, resume=True)


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


def test_checkpoints_hold_plain_data_only(toy_rolls, tmp_path):
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=1)
    state = torch.load(tmp_path / "last_model.pt", weights_only=True)
    assert state["model"] == "MusicLSTM" and state["model_config"]["hidden_size"] == 8
    assert state["midi_config"]["fs"] == 16
    assert training.GRAD_CLIP == 1.0


@pytest.mark.slow
def test_real_performances_are_predicted_better_than_by_markov(maestro_folder, midi_data, tmp_path):
    from midigen_utils.data.corpus import load_maestro
    from midigen_utils.data.rolls import load_piano_rolls

    rolls, _ = load_piano_rolls(load_maestro(maestro_folder), limit=150)
    torch.manual_seed(0)
    model = MusicMamba(d_model=96, n_layers=2)
    quick(model, rolls, tmp_path, epochs=3, batch_size=32, learning_rate=5e-3)
    markov = evaluate(fit_baselines(rolls["train"])["Markov-1"], rolls["validation"])["nll"]
    assert evaluate(model, rolls["validation"])["nll"] < markov
