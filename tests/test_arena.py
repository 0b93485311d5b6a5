"""The arena is fair: every contender is causal, scored on the same frames, and each printed number has its line."""

import itertools
import json

import arena
import budget
import numpy as np
import pytest
import torch
from contenders import CONTENDERS, CausalTransformer, LastFrame, MinGRU

from midigen_utils.learn.training import evaluate

SMALL = {
    "Transformer": lambda **heads: CausalTransformer(width=16, layers=2, attention_heads=2, context=16, **heads),
    "minGRU": lambda **heads: MinGRU(width=12, layers=2, **heads),
    "last frame": lambda **heads: LastFrame(width=12, **heads),
}


@pytest.fixture(params=SMALL)
def model(request):
    torch.manual_seed(0)
    return SMALL[request.param](head="chords", velocity=32).eval()


@pytest.fixture
def pieces():
    rng = np.random.default_rng(0)
    return [(rng.random((length, 88)) < 0.05) * rng.integers(1, 33, (length, 88)) for length in (40, 23)]


def frames(length):
    return (torch.rand(2, length, 88, generator=torch.Generator().manual_seed(1)) < 0.1).float()


@torch.no_grad()
def test_no_contender_sees_a_frame_before_it_is_due(model):
    x = frames(40)
    changed = x.clone()
    changed[:, 25:] = 1 - changed[:, 25:]
    before, after = (model.features(some)[0] for some in (x, changed))
    assert torch.allclose(before[:, :25], after[:, :25], atol=1e-5)
    assert not torch.allclose(before[:, 25:], after[:, 25:], atol=1e-3)


@torch.no_grad()
def test_a_long_piece_is_the_same_read_in_chunks_that_the_state_joins(model):
    x = frames(48)
    whole, hidden, parts = model.features(x)[0], None, []
    for chunk in x.split(8, dim=1):  # half of the Transformer's context
        part, hidden = model.features(chunk, hidden)
        parts.append(part)
    assert torch.allclose(whole, torch.cat(parts, 1), atol=1e-5)


@torch.no_grad()
def test_mingru_in_parallel_is_its_own_loop():
    torch.manual_seed(0)
    model, x = MinGRU(width=12, layers=1).eval(), frames(20)
    z, new = model.gates[0](model.norms[0](model.embed(x))).chunk(2, dim=-1)
    g = torch.where(new >= 0, new + 0.5, torch.sigmoid(new))
    h, states = torch.full((2, 12), 0.5), []
    for t in range(20):
        h = (1 - z[:, t].sigmoid()) * h + z[:, t].sigmoid() * g[:, t]
        states.append(h)
    expected = model.embed(x) + model.mixers[0](torch.stack(states, 1))
    assert torch.allclose(model.features(x)[0], expected, atol=1e-4)


def test_contenders_of_one_size_differ_by_less_than_a_tenth():
    sizes = {
        name: sum(p.numel() for p in make(head="chords", velocity=32).parameters()) for name, make in CONTENDERS.items()
    }
    matched = [sizes[name] for name in sizes if name not in ("MusicLSTM", "last frame")]
    assert max(matched) < 1.1 * min(matched), sizes


def test_the_score_of_pieces_is_that_of_evaluate(model, pieces):
    rolls = [piece.astype(np.uint8) for piece in pieces]

    class Split(list):
        def bins(self, i):
            return self[i]

    summary, expected = arena.summary(arena.score(model, Split(rolls))), evaluate(model, rolls)
    for name in ("nll", "nll_change", "nll_onset"):
        assert summary[name] == pytest.approx(expected[name], abs=2e-3)


def test_a_budget_pays_for_steps_and_not_for_pauses():
    clock = itertools.count()
    spent = budget.Budget(1, lambda: next(clock))
    with spent.paused():
        for _ in range(100):
            next(clock)
    assert spent.seconds < 10


def test_training_ends_with_its_budget_and_a_rate_of_nearly_0():
    clock = itertools.count(step=0.01)
    model = torch.nn.Linear(2, 2)
    x = torch.ones(1, 2)
    rates = [
        optimizer.param_groups[0]["lr"]
        for optimizer in budget.train(
            model, lambda: model(x).square().sum(), budget.Budget(1 / 15, lambda: next(clock)), 0.1
        )
    ]
    assert len(rates) > 100 and max(rates) <= 0.1
    assert rates[-1] < 1e-3 * max(rates) and np.argmax(rates) > 10


def line(contender, kind="run", rate=1e-3, nll=1.0, seed=0):
    pieces = [[10, 5, 4, 20, 6, 10 * nll, 6 * nll, 5 * nll, 9.0], [20, 5, 4, 20, 6, 20 * nll, 6 * nll, 5 * nll, 9.0]]
    scores = arena.rounded(arena.summary(pieces))
    return {
        "kind": kind, "contender": contender, "corpus": "bach", "seed": seed, "minutes": 5, "learning_rate": rate,
        "parameters": 1234, "frames": 5000, "marks": [{"frames": 1000, "validation": {"nll": nll + 1}}],
        "validation": scores, "test": scores, "test_pieces": pieces,
    }  # fmt: skip


def test_the_best_rate_is_chosen_on_validation_for_each_contender():
    lines = [line("minGRU", "tune", rate, nll) for rate, nll in ((1e-3, 2.0), (3e-3, 1.5), (5e-3, 1.7))]
    assert arena.best_rates(lines, "bach") == {"minGRU": 3e-3}
    assert arena.best_rates(lines, "maestro") == {}


def test_the_table_names_the_winner_first_and_means_over_seeds():
    lines = [line("minGRU", nll=1.0), line("minGRU", nll=2.0, seed=1), line("MusicMamba SSD", nll=1.25)]
    rows = [row for row in arena.tables(lines).splitlines() if row.startswith(("| minGRU", "| MusicMamba SSD"))]
    assert rows[0].startswith("| MusicMamba SSD | 1,234 | 0.001 | 1 |") and "| 1.250 |" in rows[0]
    assert "| 2 |" in rows[1] and "| 1.500 |" in rows[1]


def test_the_interval_holds_the_mean_and_shrinks_to_it_where_pieces_agree():
    rng = np.random.default_rng(0)
    rows = [[100, 1, 1, 1, 1, 100 * value, 0, 0, 0] for value in rng.normal(2, 0.5, 40)]
    low, high = arena.interval(rows)
    assert low < np.mean([row[5] / 100 for row in rows]) < high < low + 0.5
    assert arena.interval([[100, 1, 1, 1, 1, 150, 0, 0, 0]] * 9) == pytest.approx([1.5, 1.5])


def test_what_is_hard_for_both_cancels_in_the_interval_of_a_difference():
    rng = np.random.default_rng(0)
    rows = np.zeros((30, 9))
    rows[:, 0], rows[:, len(arena.COUNTS)] = 100, rng.uniform(50, 300, 30)
    worse = rows.copy()
    worse[:, len(arena.COUNTS)] += 20
    assert np.allclose(arena.interval(worse, rows), 0.2)
    low, high = arena.interval(rows)
    assert high - low > 0.3


def test_every_number_of_the_page_comes_from_a_line():
    text = arena.PAGE.read_text(encoding="utf-8")
    assert arena.tables(arena.read_lines()) in text
    for known in arena.read_lines():
        assert json.loads(json.dumps(known)) == known
