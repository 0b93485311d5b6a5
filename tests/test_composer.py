"""The composer of the course: trained for seconds, stored small, told in one table."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch

from midigen_utils.learn import composer_table, evaluate, load_model, print_composers, train_composer
from midigen_utils.learn.composer import FOLDER
from midigen_utils.models import LastFrame
from tools.composer import VERSIONS, new_composer


@pytest.fixture
def rolls():
    rng = np.random.default_rng(0)
    steps = np.repeat(rng.integers(20, 60, size=(4, 40)), 4, axis=1)  # (4, 160): one key at a time, four frames long
    pieces = [np.eye(88, dtype=np.float32)[row] for row in steps]
    return {"train": pieces[:3], "validation": pieces[3:]}


def test_a_second_of_training_lowers_the_likelihood_and_leaves_torch_as_it_was(rolls):
    model, settings = new_composer("00")
    before, threads = evaluate(model, rolls["validation"])["nll"], torch.get_num_threads()
    train_composer(model, rolls, **(settings | {"seconds": 1}))
    assert evaluate(model, rolls["validation"])["nll"] < before / 2
    assert torch.get_num_threads() == threads and not model.training


def test_the_last_frame_has_no_memory():
    model, x = LastFrame(width=8), (torch.rand(2, 6, 88) < 0.1).float()
    logits, hidden = model(x)
    assert hidden is None
    assert torch.allclose(model(x[:, 4:])[0], logits[:, 4:], atol=1e-6)


@pytest.mark.parametrize("version", [version[0] for version in VERSIONS])
def test_every_version_is_small_and_stored_as_the_network_it_says(version):
    path = FOLDER / f"{version.replace(' ', '-')}.pt"
    assert path.stat().st_size < 1e6
    stored, (made, _) = load_model(f"composer/{path.stem}"), new_composer(version)
    assert type(stored) is type(made) and stored.config == made.config
    assert sum(p.numel() for p in stored.parameters()) < 0.5e6


def test_the_table_has_a_row_for_every_version_in_order_and_stops_where_it_is_asked_to():
    rows = composer_table()
    assert [row["version"] for row in rows] == [version[0] for version in VERSIONS]
    assert all(len(row["nats"]) == 3 for row in rows)
    assert [row["version"] for row in composer_table(before="03 memory")] == ["00", "02"]
    text = io.StringIO()
    with redirect_stdout(text):
        print_composers([{"version": "00", "change": "x", "parameters": 1000, "seconds": 40, "nats": [1.0, 2.0, 1.5]}])
    assert "1.500 ± 0.500" in text.getvalue()


def test_a_name_loads_what_comes_with_the_course_and_an_unknown_name_says_what_to_do():
    assert isinstance(load_model("composer/00"), LastFrame)
    with pytest.raises(FileNotFoundError, match="composer/99"):
        load_model("composer/99")
