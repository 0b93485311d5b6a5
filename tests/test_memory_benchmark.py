"""The memory benchmark asks what it says, carries the state as it says, and forgets when it says."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from midigen_utils.learn.dataset import all_frames
from midigen_utils.learn.metrics import frame_nll
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "memory.py"
MODELS = {
    "mamba": lambda: MusicMamba(8, d_model=32, n_layers=2, ssm="ssd"),
    "lstm": lambda: MusicLSTM(8, hidden_size=16),
}


@pytest.fixture(scope="module")
def memory():
    spec = importlib.util.spec_from_file_location("memory", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]().eval()


def pieces(*lengths):
    rng = np.random.default_rng(0)
    return [(rng.random((length, 8)) < 0.3).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("distance", [8, 64])
def test_copying_asks_for_its_symbols_in_their_order(memory, distance):
    x, where, answers = memory.copying(50, distance, torch.Generator().manual_seed(0))
    for row, at, answer in zip(x, where, answers):
        symbols = row[:distance]
        assert symbols[symbols != memory.BLANK].tolist() == answer.tolist()
        assert at.tolist() == list(range(distance, distance + 4)) and (row[at] == memory.MARKER).all()


@pytest.mark.parametrize("distance", [8, 64])
def test_induction_asks_for_what_came_after_the_first_marker(memory, distance):
    x, where, answers = memory.induction(50, distance, torch.Generator().manual_seed(0))
    for row, at, answer in zip(x, where, answers):
        first, second = (row == memory.MARKER).nonzero()[:, 0].tolist()
        assert row[first + 1] == answer and second == at and second - (first + 1) == distance
    assert len(answers.unique()) == memory.SYMBOLS and answers.min() > memory.MARKER


def test_streams_go_on_where_they_stopped_and_say_when_a_piece_begins(memory):
    rolls = pieces(40, 70, 9, 25)
    rolls = [np.pad(roll, ((0, 0), (0, 1)), constant_values=1) for roll in rolls]  # no frame is silent
    firsts = {roll[:17].tobytes() for roll in rolls if len(roll) > 16}
    previous = None
    windows = memory.streams(rolls, 3, 16, torch.Generator().manual_seed(0))
    frames, _, _ = all_frames(rolls)
    whole = (frames > 0).float().unfold(0, 17, 1).transpose(1, 2)  # every stretch of 17 frames
    for _ in range(20):
        x, y, fresh = next(windows)
        assert torch.equal(x[:, 1:], y[:, :-1])
        for row in range(3):
            window = torch.cat([x[row, :1], y[row]])
            if fresh[row]:
                assert window.numpy().tobytes() in firsts
            else:
                assert torch.equal(x[row, 0], previous[row, -1])
                assert (whole == window).all(-1).all(-1).any()
        previous = y


def test_the_state_of_a_new_piece_is_a_fresh_one_and_the_others_go_on(memory, model):
    x = torch.from_numpy(np.stack(pieces(20, 20)))
    _, hidden = model(x[:, :10])
    after, _ = model(x[:, 10:], memory.carry(hidden, torch.tensor([True, False])))
    torch.testing.assert_close(after[0], model(x[:1, 10:])[0][0])
    torch.testing.assert_close(after[1], model(x[1:])[0][0, 10:])


@pytest.mark.parametrize("every", [1, 7, 1000])
def test_resets_equal_reading_each_frame_with_only_the_past_since_the_reset(memory, model, every):
    rolls = pieces(30, 2, 43)
    losses = memory.losses_with_resets(model, rolls, every, rows=4, chunk=5)
    for roll, found in zip(rolls, losses):
        frames = torch.from_numpy(roll)
        literal = []
        for t in range(1, len(frames)):
            reset = (t - 1) // every * every
            logits, _ = model(frames[None, reset:t])
            literal.append(frame_nll(logits[0, -1], frames[t]))
        torch.testing.assert_close(found, torch.stack(literal))


def test_training_learns_and_the_small_models_are_of_one_size(memory):
    for width in (10, 88):
        sizes = [sum(p.numel() for p in memory.build(name, width, 0).parameters()) for name in memory.MODELS]
        assert max(sizes) < 1.05 * min(sizes)
    model = memory.build("MusicLSTM", 88, 0)
    rolls = [np.tile(np.eye(88, dtype=np.float32)[40:44], (40, 1))] * 2
    before = torch.cat(memory.losses_with_resets(model, rolls, 64)).mean()
    memory.train(model, memory.pieces_loss(model, rolls, seed=0), minutes=1 / 60)
    assert torch.cat(memory.losses_with_resets(model, rolls, 64)).mean() < before
