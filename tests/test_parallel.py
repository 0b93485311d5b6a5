"""Training in several processes gives what training in one gives."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from test_dataset import some_rolls

from midigen_utils import __main__
from midigen_utils.learn import checkpoints, parallel
from midigen_utils.learn.checkpoints import load_checkpoint
from midigen_utils.learn.metrics import FrameScores
from midigen_utils.learn.training import evaluate, fit
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba

ROOT = Path(__file__).parent.parent
HEADS = {"head": "chords", "velocity": 32}
MODELS = {
    "LSTM": lambda: MusicLSTM(hidden_size=24, **HEADS),
    "Mamba": lambda: MusicMamba(d_model=32, n_layers=2, **HEADS),
    "Mamba-2": lambda: MusicMamba(d_model=32, n_layers=1, ssm="ssd", **HEADS),
    "keys alone": lambda: MusicLSTM(hidden_size=24),
}
CASES = {  # model and settings of a run; batches do not divide evenly, rows hold several pieces
    "chords": ("Mamba", {"batch_size": 7}),
    "keys alone": ("keys alone", {"batch_size": 9}),
    "carried": ("Mamba", {"batch_size": 3, "carry_state": True, "sequence_length": 32, "transpose": 2}),
    "carried, of an LSTM": ("LSTM", {"batch_size": 4, "carry_state": True, "sequence_length": 32}),
}


def new(name, seed=0):
    torch.manual_seed(seed + 1)
    return MODELS[name]()


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def train(model, folder, **options):
    # Adam divides gradients by their size: where one is all rounding, a step is, too. So steps are small here.
    return fit(model, some_rolls(), 2, folder=folder, learning_rate=3e-4, device="cpu", stride=24, **options)


def interrupt(monkeypatch_target, step):
    """Ctrl-C in a step of training: returns what undoes it."""
    real, steps = torch.nn.utils.clip_grad_norm_, []

    def interrupted(*arguments):
        steps.append(1)
        if len(steps) == step:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch_target.clip_grad_norm_ = interrupted
    return real


def lost_in(step):
    """What takes the place of `clip_grad_norm_` and ends training in that step."""
    real, steps = torch.nn.utils.clip_grad_norm_, []

    def lost(*arguments):
        steps.append(1)
        if len(steps) == step:
            raise SystemError("the machine is gone")
        return real(*arguments)

    return lost


def one_of_two(rank, folder):
    """All runs of `CASES`, an interrupted one and one that is lost between two saves, in one of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results = {}
    for name, (model, options) in CASES.items():
        model = new(model, seed=rank)  # the first process's weights are the ones that count
        history = train(model, folder / f"{name} {rank}", **options)
        results[name] = weights(model), [row["val_loss"] for row in history], [row["train_loss"] for row in history]
    model, options = CASES["carried"]
    if rank == 1:  # in one process only
        real = interrupt(torch.nn.utils, 5)
    with pytest.raises(KeyboardInterrupt):
        train(new(model), folder / f"interrupted {rank}", **options)
    if rank == 1:
        torch.nn.utils.clip_grad_norm_ = real
    dist.barrier()
    results["stopped at"] = load_checkpoint(folder / "interrupted 0" / "last_model.pt")["step"]
    dist.barrier()
    resumed = new(model, seed=5)
    train(resumed, folder / f"interrupted {rank}", resume=True, **options)
    results["resumed"] = weights(resumed)
    real, clock = torch.nn.utils.clip_grad_norm_, time.perf_counter
    if rank == 0:
        time.perf_counter = iter(
            range(0, 10**6, 25)
        ).__next__  # each look at it is 25 s later; the other's hardly moves
    with pytest.raises(SystemError):
        torch.nn.utils.clip_grad_norm_ = lost_in(5)
        train(new(model), folder / f"lost {rank}", save_every=1, **options)
    torch.nn.utils.clip_grad_norm_, time.perf_counter = real, clock
    dist.barrier()
    results["saved at"] = load_checkpoint(folder / "lost 0" / "last_model.pt")["step"]
    dist.barrier()
    resumed = new(model, seed=5)
    train(resumed, folder / f"lost {rank}", resume=True, **options)
    results["resumed after a loss"] = weights(resumed)
    rolls = some_rolls()["validation"]
    results["scores"] = evaluate(new("Mamba"), rolls, shared=True)
    results["told"] = (
        parallel.all_gather((rank, "a")),
        parallel.broadcast_from_first(lambda: rank),
        parallel.all_reduce_sum([rank, 1.0]),
    )
    torch.save(results, folder / f"results {rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes that trained together ended with: the folder, and the results of each."""
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(one_of_two, (folder,), nprocs=2)
    return folder, [torch.load(folder / f"results {rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("case", CASES)
def test_one_process_and_two_train_the_same_model(case, two_processes, tmp_path):
    _, (first, second) = two_processes
    name, options = CASES[case]
    model = new(name)
    history = train(model, tmp_path, **options)
    assert torch.equal(first[case][0], second[case][0])
    assert torch.allclose(weights(model), first[case][0], rtol=0, atol=1e-6)
    assert first[case][1] == second[case][1] == pytest.approx([row["val_loss"] for row in history], rel=1e-6)
    assert first[case][2] == second[case][2] == pytest.approx([row["train_loss"] for row in history], rel=1e-6)


def test_only_the_first_process_writes(two_processes):
    folder, _ = two_processes
    for case in CASES:
        names = {"best_model.pt", "last_model.pt", "history.csv", ".training.lock"}
        assert {path.name for path in (folder / f"{case} 0").iterdir()} == names
        assert not (folder / f"{case} 1").exists()


def test_ctrl_c_in_one_of_two_processes_stops_both_in_the_same_step_and_resumes_exactly(two_processes):
    _, (first, second) = two_processes
    assert first["stopped at"] == second["stopped at"] == 5
    assert torch.equal(first["resumed"], first["carried"][0]) and torch.equal(first["resumed"], second["resumed"])


def test_two_processes_save_in_the_middle_of_an_epoch_by_the_clock_of_the_first_and_resume_exactly(two_processes):
    _, (first, second) = two_processes
    assert first["saved at"] == second["saved at"] == 3
    for results in (first, second):
        assert torch.equal(results["resumed after a loss"], first["carried"][0])


def test_processes_score_shares_of_the_pieces_and_all_get_the_scores_of_the_whole(two_processes):
    _, (first, second) = two_processes
    alone = evaluate(new("Mamba"), some_rolls()["validation"])
    assert first["scores"] == second["scores"] == pytest.approx(alone, rel=1e-6)
    assert first["scores"]["frames"] == alone["frames"]


def test_what_processes_tell_each_other(two_processes):
    for results in two_processes[1]:
        values, made, sums = results["told"]
        assert values == [(0, "a"), (1, "a")] and made == 0 and sums.tolist() == [1.0, 2.0]
    assert parallel.all_gather(1) == [1] and parallel.broadcast_from_first(lambda: 2) == 2
    assert parallel.world_size() == 1 and parallel.rank() == 0


def test_shares_are_equal_and_rows_of_zeros_fill_up(monkeypatch):
    x, count = torch.arange(1, 11).view(5, 2), torch.ones(5, dtype=torch.bool)
    assert all(torch.equal(a, b) for a, b in zip(parallel.split_batch([x, count]), (x, count)))  # alone
    monkeypatch.setattr(parallel, "world_size", lambda: 3)
    parts = []
    for rank in range(3):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        parts.append(parallel.split_batch([x, count]))
    assert [part[0].shape for part in parts] == [(2, 2)] * 3
    assert torch.equal(torch.cat([part[0] for part in parts]), torch.cat([x, torch.zeros(1, 2, dtype=torch.long)]))
    assert torch.cat([part[1] for part in parts]).tolist() == [True] * 5 + [False]


def test_scores_alone_need_no_other_process():
    scores = FrameScores()
    scores.add(torch.zeros(1, 3, 88), torch.zeros(1, 3, 88), torch.ones(1, 3, 88))
    before = scores.result()
    scores.all_reduce()
    assert scores.result() == before


WORKER = """
import os, signal, sys
from pathlib import Path

import torch
from midigen_utils import __main__
from midigen_utils.learn import checkpoints
from midigen_utils import files
from midigen_utils.models.lstm import MusicLSTM

torch.set_num_threads(1)
files.MIDI_DATA = Path(sys.argv[1])
checkpoints.MODELS["MusicLSTM"] = lambda **options: MusicLSTM(hidden_size=16, **options)
real, steps = torch.nn.utils.clip_grad_norm_, []


def killed(*arguments):
    steps.append(1)
    if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and len(steps) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)


torch.nn.utils.clip_grad_norm_ = killed
code = __main__.main(sys.argv[2:])
if os.environ["RANK"] == "0":
    print("steps of its last life:", len(steps))
sys.exit(code)
"""


def options_of_a_run(tunes, output):
    arguments = ["train", "--corpus", tunes, "--model", "lstm", "--epochs", "3", "--batch-size", "16"]
    arguments += ["--learning-rate", "3e-4", "--device", "cpu", "--output", output]
    return [str(argument) for argument in arguments]


def torchrun(tmp_path, tunes, *options, **variables):
    """The command line through torchrun, in two processes of which one is killed in its 8th step: the finished one."""
    (tmp_path / "worker.py").write_text(WORKER)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    worker = [tmp_path / "worker.py", tmp_path / "midi_data", *options_of_a_run(tunes, tmp_path / "killed"), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, *launcher, "--monitor-interval", "0.1", *worker]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.slow  # half a minute each
@pytest.mark.parametrize("save_every, steps", [("10", 12), ("0", 11)], ids=["after an epoch", "in an epoch"])
def test_a_killed_worker_is_started_again_and_ends_with_the_weights_of_a_run_that_nothing_disturbed(
    save_every, steps, tunes, tmp_path, midi_data, monkeypatch
):
    monkeypatch.setitem(checkpoints.MODELS, "MusicLSTM", lambda **options: MusicLSTM(hidden_size=16, **options))
    assert __main__.main(options_of_a_run(tunes, tmp_path / "alone")) == 0
    several = torchrun(tmp_path, tunes, "--save-every", save_every, TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1")
    assert several.returncode == 0, several.stderr
    assert "exitcode: -9" in several.stderr  # it was killed
    epochs = re.findall(r"^epoch +(\d)  train .* frames/s$", several.stdout, re.M)
    assert epochs == ["1", "2", "3"]  # printed by one process, none of them twice
    assert several.stdout.count("training pieces") == 2  # in each of its lives
    assert f"steps of its last life: {steps}" in several.stdout
    first, second = (checkpoints.load_checkpoint(tmp_path / name / "last_model.pt") for name in ("alone", "killed"))
    assert first["epoch"] == second["epoch"] == 2
    for name, value in first["model_state_dict"].items():
        assert torch.allclose(value, second["model_state_dict"][name], rtol=0, atol=1e-6), name


def test_restarts_that_torch_would_lead_to_lost_processes_are_refused(monkeypatch):
    for name, value in (("RUN_ID", "none"), ("MAX_RESTARTS", "1"), ("USE_AGENT_STORE", "True")):
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    with pytest.raises(ValueError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        parallel.init_process_group("cpu")


def test_the_command_line_carries_states(tunes, tmp_path, midi_data, monkeypatch):
    monkeypatch.setitem(checkpoints.MODELS, "MusicLSTM", lambda **options: MusicLSTM(hidden_size=8, **options))
    arguments = options_of_a_run(tunes, tmp_path)
    assert __main__.main([*arguments, "--carry-state"]) == 0
    assert checkpoints.load_checkpoint(tmp_path / "last_model.pt")["settings"]["carry_state"] is True
    assert __main__.main([*arguments, "--resume"]) == 1  # refused: the run before carried states
