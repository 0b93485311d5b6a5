"""The chord head is a probability: exact, causal from low to high, and played as it is written."""

import itertools

import numpy as np
import pytest
import torch

from midigen_utils.learn.checkpoints import load_checkpoint, load_model
from midigen_utils.learn.metrics import predict
from midigen_utils.learn.training import evaluate, fit
from midigen_utils.models.chords import ChordHead
from midigen_utils.models.generation import generate_music, generate_random_seed
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba
from midigen_utils.models.numpy_engine import Chords


def lively_head(feature_size=5, num_pitches=88, seed=0):
    """A head whose logits are large and depend on everything, as after training."""
    torch.manual_seed(seed)
    head = ChordHead(feature_size, num_pitches, width=16)
    with torch.no_grad():
        head.output.weight.normal_(std=0.6)
        head.output.bias.normal_(-0.5)
    return head.eval()


def some_frames(batch, length, num_pitches=88, seed=1):
    generator = torch.Generator().manual_seed(seed)
    past, frames = (torch.rand(2, batch, length, num_pitches, generator=generator) < 0.1).float()
    return frames, past


def one_key_at_a_time(head, frame, features, past):
    """The chain rule read literally: for each key, a look with the notes below it, and nothing shared."""
    total = 0.0
    for key in range(len(frame)):
        notes = torch.where(torch.arange(len(frame)) < key, frame, 0.0)
        logit = head.look(head.context(features, past), notes)[key]
        total += torch.distributions.Bernoulli(logits=logit).log_prob(frame[key]).item()
    return total


def test_log_prob_equals_the_chain_rule_read_literally():
    head = lively_head()
    frames, past = some_frames(2, 3)
    frames[0, 1] = 0  # silence
    frames[1, 2] = 1  # every key
    features = torch.randn(2, 3, 5)
    with torch.no_grad():
        log_prob = head.log_prob(frames, features, past)
        for b, t in itertools.product(range(2), range(3)):
            literal = one_key_at_a_time(head, frames[b, t], features[b, t], past[b, t])
            assert log_prob[b, t].item() == pytest.approx(literal, abs=1e-4)


def test_probabilities_of_all_frames_of_six_keys_sum_to_one():
    head = lively_head(num_pitches=6)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))  # (64, 6)
    features, past = torch.randn(1, 1, 5).expand(64, 1, 5), torch.ones(64, 1, 6)
    with torch.no_grad():
        total = head.log_prob(every.unsqueeze(1), features, past).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


def test_a_key_changes_no_conditional_at_or_below_it_and_no_earlier_frame():
    torch.manual_seed(0)
    model, head = MusicMamba(d_model=16, n_layers=2).eval(), lively_head(16)
    piece = (torch.rand(1, 12, 88) < 0.1).float()

    def conditionals(piece):
        features, _ = model.features(piece[:, :-1])
        return head.conditionals(piece[:, 1:], features, piece[:, :-1])[0]  # (11, 88): frames 1 .. 11

    with torch.no_grad():
        before = conditionals(piece)
        for t, key in ((4, 0), (4, 30), (7, 61), (11, 87)):
            flipped = piece.clone()
            flipped[0, t, key] = 1 - flipped[0, t, key]
            after = conditionals(flipped)
            torch.testing.assert_close(after[: t - 1], before[: t - 1], rtol=0, atol=1e-5)
            torch.testing.assert_close(after[t - 1, : key + 1], before[t - 1, : key + 1], rtol=0, atol=1e-5)
            if key < 87:
                assert (after[t - 1, key + 1 :] - before[t - 1, key + 1 :]).abs().max() > 1e-3


def test_gradients_reach_every_parameter_and_a_few_steps_learn_that_a_chord_is_one_decision():
    """C E G or D F A, never a mixture: independent keys stop at 6 ln 2 = 4.2 nats, the truth is ln 2 = 0.69."""
    torch.manual_seed(0)
    head = ChordHead(4, num_pitches=12, width=32)
    chords = torch.zeros(2, 12)
    chords[0, [0, 4, 7]] = chords[1, [2, 5, 9]] = 1
    frames = chords[torch.randint(2, (64, 1))]  # (64, 1, 12)
    features, past = torch.zeros(64, 1, 4), torch.zeros(64, 1, 12)
    past[:, :, 3] = 1
    features += 1
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for step in range(60):
        loss = -head.log_prob(frames, features, past).mean()
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
        optimizer.step()
    assert loss.item() < 0.8


def test_every_shape_that_does_not_fit_is_an_error_in_words():
    head = lively_head()
    frames, past = some_frames(1, 4)
    with pytest.raises(ValueError, match="expected"):
        head.log_prob(frames, torch.zeros(1, 3, 5), past)
    with pytest.raises(ValueError, match="expected"):
        head.log_prob(frames, torch.zeros(1, 4, 5), past[:, :3])


SMALL = {
    "lstm": lambda **options: MusicLSTM(hidden_size=24, num_layers=1, **options),
    "mamba": lambda **options: MusicMamba(d_model=32, n_layers=1, **options),
}


def two_chords(pieces=6, length=200):
    """Rolls in which C E G and D F A take turns at random, a quarter of a second each."""
    rng, chords = np.random.default_rng(0), np.zeros((2, 88), np.uint8)
    chords[0, [39, 43, 46]] = chords[1, [41, 44, 48]] = 20
    rolls = [chords[rng.integers(2, size=length // 4).repeat(4)] for _ in range(pieces)]
    return {"train": rolls[:-2], "validation": rolls[-2:]}


@pytest.mark.parametrize("name", SMALL)
def test_fit_with_the_chord_head_learns_what_independent_keys_cannot(name, tmp_path):
    rolls, best = two_chords(), {}
    for head in ("keys", "chords"):
        torch.manual_seed(0)
        settings = dict(batch_size=8, learning_rate=1e-2, folder=tmp_path / head, device="cpu")
        history = fit(SMALL[name](head=head), rolls, 12, **settings)
        best[head] = min(row["val_loss"] for row in history)
        state = load_checkpoint(tmp_path / head / "best_model.pt")
        assert state["model_config"]["head"] == head
        model = load_model(tmp_path / head / "best_model.pt")
        assert evaluate(model, rolls["validation"])["nll"] == pytest.approx(best[head], abs=1e-4)
        assert (model.chords is not None) == (head == "chords")
    assert best["chords"] < 0.6 * best["keys"]
    seed = rolls["validation"][0][:64] / 32
    played = generate_music(model, seed, 200, random_seed=0)[64:] > 0
    chords = {tuple(row.nonzero()[0].tolist()) for row in played}
    common = sum(tuple(row.nonzero()[0].tolist()) in {(39, 43, 46), (41, 44, 48)} for row in played)
    assert common > 190, chords


@pytest.mark.parametrize("name", SMALL)
def test_generated_frames_are_those_that_stepping_through_the_head_draws(name):
    """Stepping in numpy and reading the finished piece in one call give the same chords from the same numbers."""
    torch.manual_seed(0)
    model = SMALL[name](head="chords").eval()
    model.chords.output.bias.data.fill_(-2)
    seed = generate_random_seed(0)
    music = torch.from_numpy(generate_music(model, seed, 30, temperature=0.9, random_seed=4) > 0).float()
    with torch.no_grad():
        features, _ = model.features(music[None, :-1])
    rng, chords = np.random.default_rng(4), Chords(model.weights()[0])
    for t in range(64, 94):
        drawn = chords.choose(features[:, t - 1].numpy(), music[None, t - 1].numpy(), 0.9, rng.random)
        assert np.array_equal(drawn[0], music[t])


def test_a_chord_model_can_also_play_its_keys_and_a_key_model_says_that_it_has_no_chords():
    torch.manual_seed(0)
    seed = generate_random_seed(0)
    model = SMALL["lstm"](head="chords")
    keys = generate_music(model, seed, 20, head="keys", random_seed=1)
    assert keys.shape == (84, 88) and not np.array_equal(keys, generate_music(model, seed, 20, random_seed=1))
    with pytest.raises(ValueError, match="this model has 'keys'"):
        generate_music(SMALL["lstm"](), seed, 20, head="chords")
    with pytest.raises(ValueError, match="'keys' or 'chords'"):
        MusicMamba(d_model=32, head="notes")
    assert generate_music(model, np.stack([seed, seed]), 20, random_seed=1).shape == (2, 84, 88)


def test_the_logits_beside_the_chords_take_no_part_in_what_the_model_learns():
    torch.manual_seed(0)
    model = SMALL["mamba"](head="chords")
    frames, past = some_frames(2, 8)
    logits, nll, _, _ = predict(model, past, frames)
    grads = torch.autograd.grad(logits.sum(), list(model.embed.parameters()), allow_unused=True)
    assert grads == (None, None)
    assert torch.equal(logits, model(past)[0])
    assert torch.allclose(nll, -model.chords.log_prob(frames, model.features(past)[0], past))
