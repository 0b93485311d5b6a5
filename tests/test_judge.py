"""The judge tells what can be told, never from a piece it knows, and its scale decides whether it may speak."""

import judge
import numpy as np
import pytest


def clips(pieces, chord, seed):
    """Pieces of two windows: every half second a chord, moved by a few keys from piece to piece."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(pieces):
        roll = np.zeros((2 * judge.WINDOW, 88), dtype=np.float32)
        root = rng.integers(30, 45)
        for t in range(0, len(roll), 8):
            roll[t : t + rng.integers(3, 8), root + np.array(chord)] = 0.5
        found.append([roll])
    return found


def test_the_area_is_the_chance_that_the_made_one_scores_higher():
    made, real = np.array([3.0, 1.0, 2.0]), np.array([0.0, 2.0])
    pairs = [(a > b) + 0.5 * (a == b) for a in made for b in real]
    assert judge.area_under_curve(made, real) == pytest.approx(np.mean(pairs))
    assert judge.area_under_curve(made, made) == 0.5


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(judge, "FOLDS", 2)
    monkeypatch.setattr(judge, "STEPS", 25)
    monkeypatch.setattr(judge, "BATCH", 16)


def test_it_tells_major_from_minor_in_pieces_it_has_not_heard(quick):
    assert judge.judge(clips(15, (0, 4, 7), 0), clips(15, (0, 1, 2), 1)) > 0.9


def test_it_cannot_tell_like_from_like(quick):
    assert 0.2 < judge.judge(clips(15, (0, 4, 7), 0), clips(15, (0, 4, 7), 1)) < 0.8


def test_sabotage_keeps_what_it_does_not_touch():
    rng, (clip,) = np.random.default_rng(0), clips(1, (0, 4, 7), 0)[0]
    clip = clip + (rng.random(clip.shape) < 0.01)
    for spoil in judge.SABOTAGE.values():
        spoilt = spoil(clip, np.random.default_rng(1))
        assert spoilt.shape == clip.shape and not np.array_equal(spoilt, clip)
        assert (spoilt > 0).sum() == (clip > 0).sum()
    assert np.array_equal(judge.upside_down(judge.upside_down(clip, rng), rng), clip)
    assert np.array_equal((judge.pitches_shuffled(clip, rng) > 0).sum(1), (clip > 0).sum(1))


@pytest.mark.parametrize(("same", "shuffled", "good"), [(0.5, 0.9, True), (0.6, 0.9, False), (0.5, 0.8, False)])
def test_no_figure_without_a_scale_that_holds(same, shuffled, good):
    assert judge.holds({"real, other pieces": same, "seconds shuffled": shuffled}) is good
