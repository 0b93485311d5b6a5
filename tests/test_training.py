import csv
import errno
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_models import MusicGRU

from midigen_utils import config
from midigen_utils.learn import parallel, run, training
from midigen_utils.learn.checkpoints import load_checkpoint, load_model, save_checkpoint
from midigen_utils.learn.metrics import fit_baselines
from midigen_utils.learn.training import evaluate, fit, learning_rate_at, make_optimizer
from midigen_utils.models import generate_music
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba

ROOT = Path(__file__).parent.parent
SMALL = {"LSTM": lambda: MusicLSTM(hidden_size=48, dropout=0.1), "Mamba": lambda: MusicMamba(d_model=32, n_layers=2)}


@pytest.fixture(params=SMALL)
def new_model(request):
    def make(seed=0):
        torch.manual_seed(seed)
        return SMALL[request.param]()

    return make


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def small():
    torch.manual_seed(0)
    return MusicLSTM(hidden_size=8)


def written(folder):
    """Names of the files of a training; that of its lock stays there, hidden."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".training.lock")


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
    state = load_checkpoint(tmp_path / "parts" / "last_model.pt")
    assert state["epoch"] == 0 and state["step"] == 6  # the second save of the second epoch, in which it was lost
    torch.manual_seed(999)
    resumed = new_model(seed=5)
    history = quick(resumed, toy_rolls, tmp_path / "parts", resume=True, **options)
    assert torch.equal(weights(whole), weights(resumed))
    assert [r["train_loss"] for r in history] == [r["train_loss"] for r in expected]
    assert [r["val_loss"] for r in history] == [r["val_loss"] for r in expected]


def test_how_often_a_run_is_saved_changes_nothing_else(toy_rolls, tmp_path, monkeypatch):
    saved, real = [], run.save_checkpoint
    monkeypatch.setattr(run, "save_checkpoint", lambda path, *a, **k: saved.append(path.name) or real(path, *a, **k))
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
    several = SimpleNamespace(**{**vars(parallel), "world_size": lambda: 2})
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
    monkeypatch.setattr(run.Run, "keep_earlier", lambda self: None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", locked)
        assert len(quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path)) == 2
    assert "history.csv not written: " in (said := capsys.readouterr().out) and "another program has the file" in said
    assert load_checkpoint(tmp_path / "last_model.pt")["epoch"] == 1
    assert written(tmp_path) == ["best_model.pt", "history.csv", "last_model.pt"]


def test_a_new_run_keeps_the_files_of_the_one_before_and_extras_are_in_the_checkpoint(toy_rolls, tmp_path):
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=2, extras={"corpus": "toys"})
    before = (tmp_path / "best_model.pt").read_bytes()
    assert load_checkpoint(tmp_path / "best_model.pt")["corpus"] == "toys"
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=1)
    assert (tmp_path / "earlier_best_model.pt").read_bytes() == before
    names = ["best_model.pt", "history.csv", "last_model.pt"]
    assert written(tmp_path) == sorted(names + [f"earlier_{name}" for name in names])
    assert "corpus" not in load_checkpoint(tmp_path / "best_model.pt")


def test_resuming_with_other_settings_or_data_is_refused_by_name(toy_rolls, tmp_path):
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=1)
    for name, other in {"seed": 1, "batch_size": 4, "transpose": 2, "weight_decay": 0.01, "stride": 8}.items():
        with pytest.raises(ValueError, match=f"cannot resume with other settings.*{name} was"):
            quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=2, resume=True, **{name: other})
    fewer = {**toy_rolls, "train": toy_rolls["train"][:2]}
    with pytest.raises(ValueError, match="windows was"):
        quick(MusicLSTM(hidden_size=8), fewer, tmp_path, epochs=2, resume=True)
    with pytest.raises(ValueError, match="cannot resume: .*'hidden_size': 8.*'hidden_size': 9"):
        quick(MusicLSTM(hidden_size=9), toy_rolls, tmp_path, epochs=2, resume=True)


def test_resuming_says_what_is_not_there_or_damaged(toy_rolls, tmp_path):
    with pytest.raises(FileNotFoundError, match="last_model.pt"):
        quick(small(), toy_rolls, tmp_path, resume=True)
    save_checkpoint(tmp_path / "last_model.pt", small(), make_optimizer(small()), 0, 1.0)
    with pytest.raises(ValueError, match="cannot resume: .*last_model.pt .* not where its training stopped"):
        quick(small(), toy_rolls, tmp_path, resume=True)
    quick(small(), toy_rolls, tmp_path, epochs=1)
    os.truncate(tmp_path / "last_model.pt", 1000)
    with pytest.raises(ValueError, match="last_model.pt: .*cut off.* best_model.pt"):
        quick(small(), toy_rolls, tmp_path, resume=True)
    shutil.copy(tmp_path / "best_model.pt", tmp_path / "last_model.pt")
    assert len(quick(small(), toy_rolls, tmp_path, resume=True)) == 2


BROKEN = [  # entries of a checkpoint that do not fit
    *({name: value} for name in ("step", "carried", "settings", "scaler_state_dict", "nats") for value in (None, "x")),
    {"model_state_dict": {}},
    {"optimizer_state_dict": {}},
    {"optimizer_state_dict": {"state": {}, "param_groups": []}},
    {"rng_state": torch.zeros(3)},
    {"carried": []},
    {"carried": ["x"]},
]


@pytest.mark.parametrize("damage", ["missing", "another shape", "step before 0"])
def test_moments_of_the_optimiser_that_do_not_fit_are_named_before_a_step_is_taken(damage, toy_rolls, tmp_path):
    quick(small(), toy_rolls, tmp_path, epochs=1)
    state = torch.load(tmp_path / "last_model.pt", weights_only=True)
    moments = state["optimizer_state_dict"]["state"][0]
    if damage == "missing":
        del moments["exp_avg"]
    elif damage == "another shape":
        moments["exp_avg_sq"] = torch.zeros(3)
    else:
        moments["step"] = torch.tensor(-1.0)
    torch.save(state, tmp_path / "last_model.pt")
    with pytest.raises(ValueError, match="cannot resume: .*last_model.pt is damaged"):
        quick(small(), toy_rolls, tmp_path, epochs=2, resume=True)


def test_whatever_entry_of_a_checkpoint_does_not_fit_resuming_says_so_in_one_clear_error(toy_rolls, tmp_path):
    quick(small(), toy_rolls, tmp_path, epochs=1)
    state = torch.load(tmp_path / "last_model.pt", weights_only=True)
    for changes in BROKEN:
        torch.save({**state, **changes}, tmp_path / "last_model.pt")
        with pytest.raises(ValueError, match="last_model.pt.* To go on from the best epoch, copy best_model.pt"):
            quick(small(), toy_rolls, tmp_path, resume=True)


def test_how_the_optimiser_works_is_not_taken_from_the_file_but_from_version_and_device(toy_rolls, tmp_path):
    quick(small(), toy_rolls, tmp_path, epochs=1)
    path = tmp_path / "last_model.pt"
    state = torch.load(path, weights_only=True)
    for group in state["optimizer_state_dict"]["param_groups"]:
        del group["weight_decay"]  # as another version of torch may have it
        group["fused"] = "on a GPU"
    torch.save(state, path)
    assert len(quick(small(), toy_rolls, tmp_path, resume=True)) == 2
    assert [g["fused"] for g in load_checkpoint(path)["optimizer_state_dict"]["param_groups"]] == [True, True]


def test_a_run_of_a_cpu_goes_on_where_gradients_are_scaled(toy_rolls, tmp_path):
    quick(small(), toy_rolls, tmp_path, epochs=1)
    model, device = small(), torch.device("cpu")
    settings = load_checkpoint(tmp_path / "last_model.pt")["settings"]
    scaled = run.Run(model, make_optimizer(model), device, tmp_path, settings, None)
    scaled.scaler = torch.amp.GradScaler("cpu", enabled=True)  # as for float16
    scaled.restore()
    assert scaled.scaler.state_dict()["scale"] == 2**16


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


@pytest.mark.parametrize("carry_state", [False, True])
def test_a_budget_of_steps_takes_as_many_epochs_as_it_needs_and_ends_where_it_ends(
    toy_rolls, tmp_path, monkeypatch, carry_state
):
    options = {"batch_size": 4, "carry_state": carry_state, "sequence_length": 32}
    each = 5 if carry_state else 8  # steps of an epoch
    budget = 2 * each + 3
    used, real = [], torch.optim.AdamW.step
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", lambda self: used.append(self.param_groups[0]["lr"]) or real(self))
        model = small()
        history = quick(model, toy_rolls, tmp_path / "whole", steps=budget, **options)
    assert used == [learning_rate_at(step, budget, 3e-3) for step in range(budget)]
    assert [row["epoch"] for row in history] == [0, 1, 2] and all(row["train_loss"] < 62 for row in history)
    state = load_checkpoint(tmp_path / "whole/last_model.pt")
    assert (state["epoch"], state["step"], len(state["history"])) == (1, 3, 3)  # two whole epochs
    assert evaluate(load_model(tmp_path / "whole/last_model.pt"), toy_rolls["validation"])["nll"] == pytest.approx(
        history[-1]["val_loss"]
    )
    assert quick(small(), toy_rolls, tmp_path / "whole", steps=budget, resume=True, **options) == history
    resumed = small()
    with monkeypatch.context() as patch:
        killed_in_a_step(patch, budget)
        with pytest.raises(SystemError):
            quick(resumed, toy_rolls, tmp_path / "parts", steps=budget, save_every=0, **options)
    quick(resumed, toy_rolls, tmp_path / "parts", steps=budget, resume=True, **options)
    assert torch.equal(weights(model), weights(resumed))
    longer = quick(model, toy_rolls, tmp_path / "whole", epochs=3, resume=True, **options)  # the third one goes on
    assert [row["epoch"] for row in longer] == [0, 1, 2] and longer[:2] == history[:2] and longer[2] != history[2]
    assert load_checkpoint(tmp_path / "whole/last_model.pt")["epoch"] == 2


def test_transposed_training_resumes_exactly(toy_rolls, tmp_path):
    whole, resumed = MusicLSTM(hidden_size=8), MusicLSTM(hidden_size=8)
    resumed.load_state_dict(whole.state_dict())
    quick(whole, toy_rolls, tmp_path / "whole", transpose=3)
    stopped(resumed, toy_rolls, tmp_path / "parts", transpose=3)
    quick(resumed, toy_rolls, tmp_path / "parts", transpose=3, resume=True)
    assert torch.equal(weights(whole), weights(resumed))


@pytest.mark.parametrize("options", [{}, {"head": "chords", "velocity": 32}])
@pytest.mark.parametrize("carry_state", [False, True])
def test_a_model_of_ones_own_trains_saves_loads_evaluates_and_generates(toy_rolls, tmp_path, options, carry_state):
    torch.manual_seed(0)
    whole, resumed = MusicGRU(**options), MusicGRU(**options)
    resumed.load_state_dict(whole.state_dict())
    settings = {"carry_state": carry_state, "batch_size": 4}
    history = quick(whole, toy_rolls, tmp_path / "whole", **settings)
    stopped(resumed, toy_rolls, tmp_path / "parts", **settings)
    quick(resumed, toy_rolls, tmp_path / "parts", resume=True, **settings)
    assert torch.equal(weights(whole), weights(resumed)) and history[1]["val_loss"] < history[0]["val_loss"]
    with pytest.raises(ValueError, match=r"a checkpoint of MusicGRU.*load_model\(path, model_class=MusicGRU\)"):
        load_model(tmp_path / "whole/best_model.pt")
    with pytest.raises(ValueError, match="weights of another model"):
        load_model(tmp_path / "whole/best_model.pt", model_class=MusicLSTM)
    model = load_model(tmp_path / "whole/last_model.pt", model_class=MusicGRU)
    assert model.config == whole.config and torch.equal(weights(model), weights(whole))
    scores = [evaluate(m, toy_rolls["validation"])["nll"] for m in (model, whole)]
    assert scores[0] == scores[1] == pytest.approx(history[-1]["val_loss"])
    music = generate_music(model, toy_rolls["validation"][0][:64], 64, random_seed=0)
    assert music.shape == (128, 88) and (music[64:] > 0).any()


PIECE = np.eye(100, 88, dtype=np.float32)
WRONG = {  # what is given instead, and what is said
    "no piece": ({"validation": []}, {}, "validation split has no piece"),
    "one frame": ({"validation": [PIECE[:1]] * 3}, {}, "no piece of validation has two frames"),
    "narrow validation": ({"validation": [PIECE[:, :80]]}, {}, "train have 88 keys, those of validation 80"),
    "narrow": ({"train": [PIECE[:, :49]], "validation": [PIECE[:, :49]]}, {}, "have 49 keys.*the model has 88"),
    "NaN": ({"validation": [PIECE, PIECE * np.nan]}, {}, "NaN"),
    "MIDI velocities": ({"validation": [PIECE * 100]}, {}, "to 100.0"),
    "no epoch": ({}, {"epochs": 0}, "epochs is 0; use 1 or more"),
    "no step": ({}, {"steps": 0}, "steps is 0; use 1 or more"),
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


def test_the_pair_of_rolls_and_corpus_and_a_model_of_no_kind_are_refused_with_what_to_write(toy_rolls, tmp_path):
    with pytest.raises(ValueError, match=r"`rolls, corpus = load_piano_rolls\(…\)`"):
        quick(MusicLSTM(hidden_size=8), (toy_rolls, "the corpus"), tmp_path)
    with pytest.raises(ValueError, match="Linear is no FrameModel: derive"):
        quick(torch.nn.Linear(88, 88), toy_rolls, tmp_path)
    for extras in ({"midi_config": {"fs": np.int64(16)}}, {"corpus": Path("tunes")}):
        with pytest.raises(ValueError, match="plain text, numbers"):  # or no checkpoint could be read again
            quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, extras=extras)
    assert list(tmp_path.iterdir()) == []


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
    assert written(tmp_path) == ["best_model.pt", "history.csv", "last_model.pt"]


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


def test_checkpoints_hold_plain_data_only_and_every_setting(toy_rolls, tmp_path):
    quick(MusicLSTM(hidden_size=8), toy_rolls, tmp_path, epochs=1, weight_decay=0.05)
    state = torch.load(tmp_path / "last_model.pt", weights_only=True)
    assert state["model"] == "MusicLSTM" and state["model_config"]["hidden_size"] == 8
    assert state["midi_config"]["fs"] == 16 and isinstance(state["version"], str)
    assert state["settings"] == {
        **{"seed": 0, "sequence_length": 64, "stride": 16, "batch_size": 3, "transpose": 0, "carry_state": False},
        **{"weight_decay": 0.05, "learning_rate": 3e-3, "epochs": 1, "steps": None, "patience": None, "windows": 24},
    }
    assert [g["weight_decay"] for g in state["optimizer_state_dict"]["param_groups"]] == [0.05, 0.0]
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


def test_a_clock_that_stands_still_or_runs_backwards_stops_no_training(toy_rolls, tmp_path, monkeypatch):
    for clock in (lambda: 5.0, iter(range(10**6, 0, -1)).__next__):
        monkeypatch.setattr(time, "perf_counter", clock)
        assert len(quick(small(), toy_rolls, tmp_path)) == 2


def read_only(*arguments, **options):
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_read_only_place_is_named_before_any_training(toy_rolls, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", read_only)
    steps = []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *a: steps.append(a))
    with pytest.raises(OSError, match="runs.*was not written.*read-only"):
        quick(small(), toy_rolls, tmp_path / "runs")
    assert steps == []


# ---- resuming what is damaged ----


def test_a_setting_that_the_other_version_did_not_have_is_named(toy_rolls, tmp_path):
    quick(small(), toy_rolls, tmp_path, epochs=1)
    state = torch.load(tmp_path / "last_model.pt", weights_only=True)
    for change, message in (({"warmup": 3}, "warmup was 3, now None"), ({"seed": None}, "seed was None, now 0")):
        torch.save({**state, "settings": {**state["settings"], **change}}, tmp_path / "last_model.pt")
        with pytest.raises(ValueError, match=message):
            quick(small(), toy_rolls, tmp_path, epochs=2, resume=True)


# ---- Ctrl-C ----


TRAIN = """
import sys, torch
from pathlib import Path
from midigen_utils import files
from midigen_utils.__main__ import main
torch.set_num_threads(1)
files.MIDI_DATA = Path(sys.argv[1])
sys.exit(main(["train", "--start", sys.argv[3], "--corpus", sys.argv[2], "--device", "cpu", "--batch-size", "2",
    "--output", sys.argv[4], *sys.argv[5:]]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_in_a_terminal_saves_and_says_how_to_resume(tunes, midi_data, tmp_path):
    start, run = tmp_path / "start.pt", tmp_path / "run"
    save_checkpoint(start, small(), make_optimizer(small()), 0, 1.0)
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
    assert written(run) == ["best_model.pt", "history.csv", "last_model.pt"]


CELL = """
import torch
from pathlib import Path
from midigen_utils.learn.checkpoints import load_model
from midigen_utils.learn.training import fit
torch.set_num_threads(1)
rolls = [(torch.rand(200, 88) < 0.05).float().numpy() for _ in range(3)]
fit(load_model({start!r}), {{"train": rolls, "validation": rolls}}, 10**6, batch_size=2, device="cpu", folder={run!r})
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows interrupts kernels in another way")
def test_interrupt_in_a_notebook_saves_and_the_kernel_lives_on(tmp_path):
    manager = pytest.importorskip("jupyter_client.manager")
    start, run = tmp_path / "start.pt", tmp_path / "run"
    save_checkpoint(start, small(), make_optimizer(small()), 0, 1.0)
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


HOLD = """
import sys
from pathlib import Path
from midigen_utils.learn.run import only_training
with only_training(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_a_process_that_was_killed_blocks_nobody_and_its_half_file_goes(toy_rolls, tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], **pipes) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match="another training"):
            quick(small(), toy_rolls, tmp_path, epochs=1)
        other.kill()
        other.wait()
    half = tmp_path / f".last_model.pt.{other.pid}.tmp"
    half.write_bytes(b"half a checkpoint")
    quick(small(), toy_rolls, tmp_path, epochs=1)
    assert not half.exists()


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
    with pytest.raises(RuntimeError, match=r"out of memory in epoch 2, step 3.*of 4 .*--batch-size 2"):
        quick(small(), toy_rolls, tmp_path, on_epoch=on_epoch, batch_size=4)
    assert load_checkpoint(tmp_path / "last_model.pt")["epoch"] == 0


def test_other_errors_of_a_step_are_left_as_they_are(toy_rolls, tmp_path, monkeypatch):
    def fail(loss):
        raise RuntimeError("a mistake in the model")

    on_epoch = fails_in_epoch_two(monkeypatch, fail)
    with pytest.raises(RuntimeError, match="^a mistake in the model$"):
        quick(small(), toy_rolls, tmp_path, on_epoch=on_epoch)


def test_too_little_memory_is_one_line_on_the_command_line(tunes, midi_data, tmp_path, monkeypatch, capsys):
    from midigen_utils.__main__ import main

    def fail(*arguments, **options):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(training.TrainingLoss, "forward", fail)
    start = tmp_path / "start.pt"
    save_checkpoint(start, small(), make_optimizer(small()), 0, 1.0)
    assert main(["train", "--start", str(start), "--corpus", str(tunes), "--device", "cpu"]) == 1
    assert "error: cpu is out of memory" in capsys.readouterr().err
