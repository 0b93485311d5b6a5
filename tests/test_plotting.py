"""Figures have units and note names."""

import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from midigen_utils.show import plotting


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def a_roll(seconds=4, seed=0, density=0.01):
    """Random music in the middle octaves, about as dense as real playing."""
    rng = np.random.default_rng(seed)
    roll = np.zeros((seconds * 16, 88), dtype=np.float32)
    for t, p in zip(*np.nonzero(rng.random((seconds * 16, 60)) < density), strict=True):
        roll[t : t + rng.integers(2, 12), p + 15] = rng.integers(1, 33) / 32
    return roll


HISTORY = [{"epoch": e, "train_loss": 9 - e, "val_loss": 9.5 - e + 0.1 * e * e} for e in range(1, 6)]


def test_note_names():
    assert [plotting.note_name(p) for p in (21, 60, 61, 108)] == ["A0", "C4", "C♯4", "C8"]


def test_a_roll_is_drawn_in_seconds_and_note_names():
    roll = np.zeros((32, 88))
    roll[:, 39] = 0.5  # middle C
    fig, ax = plotting.plot_piano_roll(roll, title="Middle C")
    fig.canvas.draw()
    assert ax.get_xlabel() == "time (s)"
    assert ax.get_xlim() == (0, 2)
    assert "C4" in [label.get_text() for label in ax.get_yticklabels()]
    image = ax.images[0]
    left, right, bottom, top = image.get_extent()
    sounding = np.flatnonzero(np.asarray(image.get_array())[:, 0, 3])
    assert (left, right) == (0, 2)
    assert bottom + sounding[0] + 0.5 == 60
    assert ax.get_ylim()[0] < 60 < ax.get_ylim()[1]


def test_louder_is_darker_and_the_seed_has_its_own_colour():
    roll = np.zeros((32, 88))
    roll[:, 40], roll[:, 50] = 1 / 32, 1.0
    _, ax = plotting.plot_piano_roll(roll, seed_frames=8)
    image = np.asarray(ax.images[0].get_array())
    assert 0 < image[40, 20, 3] < image[50, 20, 3] == 1
    assert not np.allclose(image[50, 7, :3], image[50, 8, :3])
    assert {text.get_text() for text in ax.texts} == {"seed", "generated"}


def test_an_axes_given_is_the_one_drawn_on():
    given_fig, given_ax = plt.subplots()
    for draw in (
        lambda ax: plotting.plot_piano_roll(a_roll(), ax=ax),
        lambda ax: plotting.plot_history(HISTORY, ax=ax),
        lambda ax: plotting.plot_histogram([1, 2, 2], [0, 1, 2, 3], "x", [1, 2, 1], ("a", "b"), ax=ax),
    ):
        fig, ax = draw(given_ax)
        assert fig is given_fig and ax is given_ax


def test_an_empty_roll_is_drawn():
    fig, _ = plotting.plot_piano_roll(np.zeros((16, 88)))
    fig.canvas.draw()


def test_a_transposed_roll_is_refused():
    with pytest.raises(ValueError, match="time first"):
        plotting.plot_piano_roll(np.zeros((88, 100)))


def test_two_rolls_share_their_axes():
    low, high = np.zeros((32, 88)), np.zeros((64, 88))
    low[:, 5], high[:, 80] = 1, 1
    _, (first, second) = plotting.plot_two_rolls(low, high, titles=("a", "b"))
    assert first.get_ylim() == second.get_ylim()
    assert first.get_xlim() == second.get_xlim() == (0, 4)


def test_the_training_curve_shows_baselines_and_the_best_epoch():
    _, ax = plotting.plot_history(HISTORY, {"copy the last frame": 7.2})
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "copy the last frame: 7.20" in labels
    assert "best: 7.00" in labels
    assert ax.get_ylabel() == "loss (nats per frame)"


def test_a_history_that_has_not_begun_is_drawn():
    plotting.plot_history([], {"marginal": 9.0})


def test_a_histogram_is_in_percent_and_refuses_a_reference_of_another_size():
    edges = np.arange(59.5, 64)
    _, ax = plotting.plot_histogram([60, 60, 61, 62], edges, "key", [1, 2, 1, 0], ("a", "b"), note_names=True)
    heights = ax.patches[0].get_data().values
    assert heights.tolist() == [50, 25, 25, 0]
    assert ax.get_ylabel() == "share (%)"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["C4"]
    with pytest.raises(ValueError, match="reference counts"):
        plotting.plot_histogram([1], [0, 1, 2], "x", [1, 2, 3], ("a", "b"))


def test_delta_stands_above_its_roll_frame_by_frame():
    roll = a_roll()
    _, (above, below) = plotting.plot_delta(np.full((2, len(roll)), 0.1), roll, labels=("layer 1", "layer 2"))
    assert above.get_xlim() == below.get_xlim()
    assert above.lines[0].get_xdata()[0] == 0.5 / 16
    with pytest.raises(ValueError, match="frames"):
        plotting.plot_delta(np.ones(3), roll)


def test_import_is_light():
    code = (
        "import sys, midigen_utils.show.plotting, midigen_utils.show.player;"
        "print([m for m in ('torch', 'matplotlib', 'IPython') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
