import math

import numpy as np
import pytest
import torch

from midigen_utils.learn.metrics import FrameScores, FrameTable, fit_baselines, frame_nll
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
    assert best["threshold"] == scores.best_threshold()
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
