import math

import numpy as np
import pytest
import torch
from test_dataset import some_rolls
from test_parallel import MODELS, new

from midigen_utils.learn.dataset import PieceBatches
from midigen_utils.learn.metrics import FrameScores, FrameTable, TrainingLoss, carry, fit_baselines, frame_nll
from midigen_utils.learn.training import evaluate


@pytest.fixture
def pieces():
    rng = np.random.default_rng(0)
    rolls = []
    for length in (1, 2, 40, 333, 90):
        roll = np.zeros((length, 88), np.float32)
        for key in rng.choice(88, 12, replace=False):
            for start in rng.integers(0, length, 4):
                roll[start : start + rng.integers(1, 9), key] = 0.5
        rolls.append(roll)
    return rolls


def test_frame_nll_is_the_sum_of_minus_log_probabilities_over_keys():
    logits = torch.tensor([[0.3, -2.0, 1.5]])
    target = torch.tensor([[1.0, 0.0, 0.0]])
    p = torch.sigmoid(logits[0])
    by_hand = -math.log(p[0]) - math.log(1 - p[1]) - math.log(1 - p[2])
    assert frame_nll(logits, target).item() == pytest.approx(by_hand, rel=1e-6)
    assert frame_nll(torch.zeros(2, 5, 88), torch.zeros(2, 5, 88)).shape == (2, 5)


def test_scores_are_those_of_one_piece_at_a_time_by_hand(pieces):
    table = fit_baselines(pieces)["Markov-1"]
    nll, change, onset, hits = [], [], [], np.zeros(3)
    for roll in pieces:
        x, y = torch.from_numpy(roll[:-1] > 0).float(), torch.from_numpy(roll[1:] > 0).float()
        if len(x) == 0:
            continue
        logits, _ = table(x[None])
        p = torch.sigmoid(logits[0].double())
        each = -(y * p.log() + (1 - y) * (1 - p).log()).sum(1).numpy()
        nll += each.tolist()
        change += each[(x != y).any(1).numpy()].tolist()
        onset += each[(y > x).any(1).numpy()].tolist()
        called = p > 0.5
        hits += [float((called & (y > 0)).sum()), float(called.sum()), float(y.sum())]
    result = evaluate(table, pieces, threshold=0.5, batch_size=3, chunk=50)
    assert result["nll"] == pytest.approx(np.mean(nll), rel=1e-5)
    assert result["nll_change"] == pytest.approx(np.mean(change), rel=1e-5)
    assert result["nll_onset"] == pytest.approx(np.mean(onset), rel=1e-5)
    assert result["frames"] == len(nll)
    assert result["precision"] == pytest.approx(hits[0] / hits[1])
    assert result["recall"] == pytest.approx(hits[0] / hits[2])
    assert result["f1"] == pytest.approx(2 * hits[0] / (hits[1] + hits[2]))


def test_neither_batch_nor_chunk_changes_the_scores_and_padding_never_counts(pieces):
    from midigen_utils.models.lstm import MusicLSTM

    torch.manual_seed(0)
    model = MusicLSTM(hidden_size=16)
    one = evaluate(model, pieces, batch_size=1, chunk=1000)
    for batch_size, chunk in ((5, 7), (2, 64), (5, 1)):
        other = evaluate(model, pieces, batch_size=batch_size, chunk=chunk)
        assert other == pytest.approx(one, rel=1e-5)


def test_best_threshold_gives_the_highest_f1():
    torch.manual_seed(0)
    y = (torch.rand(1, 500, 88) < 0.1).float()
    scores = FrameScores()
    scores.add(y * 2 - 3 + torch.randn(y.shape), torch.zeros_like(y), y)
    best = scores.result()
    assert all(best["f1"] >= scores.result(t / 100)["f1"] for t in range(1, 100))


def test_copy_last_frame_calls_what_the_last_frame_holds(pieces):
    result = evaluate(fit_baselines(pieces)["copy last frame"], pieces)
    hits, down, called = 0, 0, 0
    for roll in pieces:
        x, y = roll[:-1] > 0, roll[1:] > 0
        hits, down, called = hits + (x & y).sum(), down + y.sum(), called + x.sum()
    assert result["f1"] == pytest.approx(2 * hits / (down + called))


def test_markov_is_the_best_table_on_what_it_was_counted_on(pieces):
    scores = {name: evaluate(table, pieces)["nll"] for name, table in fit_baselines(pieces).items()}
    assert scores["Markov-1"] < scores["copy last frame"] < scores["marginal"]


def test_baselines_do_not_count_from_one_piece_into_the_next():
    down, up = np.ones((50, 88), np.float32), np.zeros((50, 88), np.float32)
    logits = fit_baselines([down, up])["Markov-1"].logits
    assert torch.allclose(logits[1].sigmoid(), torch.tensor(49.5 / 50))  # 49 steps from down, all stay


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(FrameTable(torch.full((2, 88), 0.5)), [np.zeros((1, 88))])


# ---- the loss of training ----


def summed(loss_function, batches, state_is_carried=True):
    """Losses of an epoch, summed: `(loss, nll, frames)`."""
    state, sums = None, torch.zeros(3, dtype=torch.float64)
    for x, y, valid, begins in batches:
        begins = begins if state_is_carried else torch.zeros_like(begins)
        loss, nll, state = loss_function(x, y, valid, begins, state)
        sums += torch.tensor([loss, nll, valid.sum()], dtype=torch.float64)
    return sums


def piece_by_piece(loss_function, rolls):
    """The same, each piece read at once."""
    sums = torch.zeros(3, dtype=torch.float64)
    for roll in rolls:
        bins = torch.from_numpy(np.rint(roll * 32).astype(np.uint8)).unsqueeze(0)
        valid = torch.ones(1, len(roll) - 1, dtype=torch.bool)
        loss, nll, _ = loss_function(bins[:, :-1], bins[:, 1:], valid)
        sums += torch.tensor([loss, nll, valid.sum()], dtype=torch.float64)
    return sums


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("rows", "length"), [(1, 64), (3, 17)])
@torch.no_grad()
def test_the_loss_along_pieces_is_that_of_reading_each_at_once(name, rows, length):
    loss_function, rolls = TrainingLoss(new(name).eval()), some_rolls()["train"]
    sums = summed(loss_function, PieceBatches(rolls, length, rows).epoch(0))
    expected = piece_by_piece(loss_function, rolls)
    assert sums[2] == expected[2] == sum(len(roll) - 1 for roll in rolls)
    assert sums.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    never_reset = summed(loss_function, PieceBatches(rolls, length, rows).epoch(0), state_is_carried=False)
    assert never_reset.tolist() != pytest.approx(expected.tolist(), rel=1e-6)


def test_a_carried_state_has_no_gradient_and_is_zero_where_a_piece_begins():
    rolls = some_rolls()["train"]
    for name in MODELS:
        loss_function = TrainingLoss(new(name))
        x, y, valid, begins = next(PieceBatches(rolls, 20, 3).epoch(0))
        _, _, state = loss_function(x, y, valid, begins)
        hidden, heard = state
        parts = hidden if torch.is_tensor(hidden[0]) else [part for layer in hidden for part in layer]
        assert not any(part.requires_grad for part in (*parts, heard))
        middle = torch.tensor([False, True, False])
        fresh = loss_function(x, y, valid, middle, state)[2]
        at_once = loss_function(x[1:2], y[1:2], valid[1:2], middle[1:2], None)[2]
        for part, expected in zip(flat(fresh), flat(at_once)):
            row = part[:, 1:2] if name in ("LSTM", "keys alone") and part.ndim == 3 else part[1:2]
            assert torch.allclose(row, expected, atol=1e-6)


def flat(state):
    return [state] if torch.is_tensor(state) else [part for some in state for part in flat(some)]


def test_states_of_every_kind_are_carried():
    """One tensor as of a GRU, a tuple of tensors as of an LSTM, tuples for each layer, and none."""
    begins = torch.tensor([False, True])
    ones = torch.ones(3, 2, 5, requires_grad=True)
    expected = torch.ones(3, 2, 5)
    expected[:, 1] = 0
    assert torch.equal(carry(ones, begins), expected) and not carry(ones, begins).requires_grad
    assert all(torch.equal(part, expected) for part in carry((ones, ones), begins))
    (layer,) = carry(((torch.ones(2, 5, 3), torch.ones(2, 4)),), begins)
    assert [part.sum().item() for part in layer] == [15, 4] and layer[0][1].sum() == 0
    assert carry(None, begins) is None
