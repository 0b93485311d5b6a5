"""The weights that come with the course: they load, they are small, and they play."""

from pathlib import Path

import numpy as np
import pytest
import torch

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.corpus import load_corpus
from midigen_utils.data.rolls import load_piano_rolls
from midigen_utils.files import MIDI_DATA, PRETRAINED, find_data
from midigen_utils.learn.checkpoints import load_checkpoint, load_model
from midigen_utils.learn.metrics import fit_baselines
from midigen_utils.learn.training import evaluate, make_optimizer
from midigen_utils.models.generation import generate_from_random_seed, generate_music

FOLDER = MIDI_DATA / "pretrained"
NAMES = {"mamba": "MusicMamba", "lstm": "MusicLSTM"}


@pytest.mark.parametrize("name", NAMES)
def test_the_checkpoint_names_its_model_and_its_corpus_and_can_be_trained_further(name):
    state = load_checkpoint(FOLDER / f"{name}.pt")
    assert (state["model"], state["corpus"]) == (NAMES[name], "maestro")
    assert state["val_loss"] == min(row["val_loss"] for row in state["history"])
    model = load_model(FOLDER / f"{name}.pt")
    assert model.chords is not None and model.velocity.bins == MIDI_CONFIG["velocity_bins"]
    make_optimizer(model).load_state_dict(state["optimizer_state_dict"])


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_chord_likelihoods_are_those_stored_when_the_files_were_made(name):
    stored = np.load(Path(__file__).parent / "data" / "pretrained_logits.npz")
    model, x = load_model(FOLDER / f"{name}.pt"), torch.from_numpy(stored["x"]).float()
    with torch.no_grad():
        logits, _ = model(x)
        features, _ = model.features(x[:, :-1])
        nll = -model.chords.log_prob(x[:, 1:], features, x[:, :-1])
    np.testing.assert_allclose(logits.numpy(), stored[f"{name}_logits"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(nll.numpy(), stored[f"{name}_chord_nll"], rtol=1e-5, atol=1e-5)


def test_both_files_together_are_below_20_mb():
    assert sum((FOLDER / f"{name}.pt").stat().st_size for name in NAMES) < 20e6


@pytest.mark.parametrize("name", NAMES)
def test_music_from_a_random_seed_neither_stands_still_nor_is_flat(name):
    music = generate_from_random_seed(load_model(FOLDER / f"{name}.pt"), 20 * 16, random_seed=1)[64:]
    struck = (music[1:] > 0) & (music[:-1] == 0)
    assert 1 < struck.sum() / 20 < 30  # onsets a second
    assert 1 < (music > 0).sum(1).mean() < 20  # keys down
    assert len(np.unique(music[1:][struck])) > 5  # velocities


@pytest.mark.parametrize("name", NAMES)
def test_they_predict_real_performances_better_than_markov(name):
    if not find_data("maestro-v3.0.0").is_dir():
        pytest.skip("MAESTRO is not here (MIDIGEN_DATA, or make data)")
    rolls, _ = load_piano_rolls(load_corpus("maestro"))
    some = [rolls["validation"][i] for i in range(0, len(rolls["validation"]), 6)]
    markov = evaluate(fit_baselines(rolls["train"])["Markov-1"], some)
    scores = evaluate(load_model(FOLDER / f"{name}.pt"), some)
    assert scores["nll"] < 0.9 * markov["nll"] and scores["nll_onset"] < 0.9 * markov["nll_onset"]


def test_bachs_network_comes_with_the_package_and_needs_a_third_of_markovs_nats_on_chorales_it_has_not_read():
    assert (PRETRAINED / "bach.pt").stat().st_size < 5e6
    rolls, _ = load_piano_rolls(load_corpus("bach"))
    some = [rolls["validation"][i] for i in range(0, len(rolls["validation"]), 4)]
    markov = evaluate(fit_baselines(rolls["train"])["Markov-1"], some)["nll"]
    assert evaluate(load_model("bach"), some)["nll"] < 0.34 * markov


def test_bachs_network_plays_four_voices():
    rolls, _ = load_piano_rolls(load_corpus("bach"))
    music = generate_music(load_model("bach"), rolls["validation"][0][:64], 20 * 16, 0.8, random_seed=0)[64:] > 0
    struck = music[1:] & ~music[:-1]
    assert 3 < music.sum(1).mean() < 4.5  # keys down
    assert 1.8 < struck.sum() / struck.any(1).sum() < 3.5  # struck together
