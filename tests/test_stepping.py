"""Stepping in numpy is what the models compute, frame by frame, and what generation draws from."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from midigen_utils.models.generation import generate_music, generate_random_seed
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba
from midigen_utils.models.stepping import linear, softplus, stepper

SMALL = {
    "lstm": lambda: MusicLSTM(hidden_size=32),
    "s6": lambda: MusicMamba(d_model=32, n_layers=2, d_conv=3, d_state=5),
    "ssd": lambda: MusicMamba(d_model=64, n_layers=2, ssm="ssd", d_state=5),
}
FULL = {"lstm": MusicLSTM, "s6": MusicMamba, "ssd": lambda: MusicMamba(ssm="ssd")}


def build(make):
    """A model whose every weight is its own: a weight of ones or zeros that is left out would not show."""
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * parameter.abs().mean() * torch.randn_like(parameter) + 0.01
    return model


def random_frames(batch, length):
    return (torch.rand(batch, length, 88, generator=torch.Generator().manual_seed(1)) < 0.05).float()


def zeros_like(hidden):
    return [[torch.zeros_like(part) for part in layer] for layer in hidden]


def assert_steps_equal_features(model, frames, seed):
    """Step through all frames but the first `seed`, and compare with one call for all."""
    with torch.inference_mode():
        right, _ = model.features(frames)
        _, hidden = model.features(frames[:, : max(seed, 1)])
    step = stepper(model, hidden if seed else zeros_like(hidden))
    for t in range(seed, frames.shape[1]):
        features = step(frames[:, t].numpy())
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, right[:, t], atol=1e-5 * right.abs().max().item(), rtol=0)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("seed", [0, 1, 64], ids=["fresh", "one frame", "seed"])
def test_steps_equal_features_for_hundreds_of_frames(name, batch, seed):
    assert_steps_equal_features(build(SMALL[name]), random_frames(batch, 364), seed)


@pytest.mark.parametrize("name", FULL)
def test_full_size_models_step_as_they_read(name):
    assert_steps_equal_features(build(FULL[name]), random_frames(2, 100), 64)


@pytest.mark.parametrize("name", SMALL)
def test_the_hidden_state_and_the_frame_passed_in_are_left_as_they_were(name):
    model, frame = build(SMALL[name]), np.ones((2, 88), dtype=np.float32)
    with torch.no_grad():
        _, hidden = model(random_frames(2, 5))
    before = [part.clone() for layer in hidden for part in layer]
    first = stepper(model, hidden)(frame)
    again = stepper(model, hidden)(frame)
    assert np.array_equal(first, again) and (frame == 1).all()
    assert all(torch.equal(part, old) for part, old in zip([p for layer in hidden for p in layer], before))


@pytest.mark.parametrize("name", SMALL)
def test_what_a_step_returned_is_not_changed_by_the_next(name):
    model = build(SMALL[name])
    step = stepper(model, model(random_frames(1, 5))[1])
    first = step(np.zeros((1, 88), dtype=np.float32))
    kept = first.copy()
    step(np.ones((1, 88), dtype=np.float32))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("kind", SMALL)
def test_large_biases_saturate_without_a_warning_or_nan(kind):
    model = build(SMALL[kind])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "A_log" not in name:
                parameter.mul_(3000)  # biases of hundreds: exp of them is infinite in float32
        _, hidden = model(random_frames(1, 5))
        step = stepper(model, hidden)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for frame in random_frames(1, 20)[0].numpy():
                features = step(frame[None])
                right, hidden = model.features(torch.from_numpy(frame)[None, None], hidden)
                np.testing.assert_allclose(features, right[:, 0], atol=1e-4 * right.abs().max().item(), rtol=0)


def music_by_hand(model, seed, num_frames, random_seed):
    """The keys of `generate_music`, from the model's own `forward`, and how clear the closest draw was."""
    generator, frames, closest = torch.Generator().manual_seed(random_seed), [], 1.0
    with torch.inference_mode():
        logits, hidden = model(torch.from_numpy(seed > 0).float()[None])
        for _ in range(num_frames):
            probability = torch.sigmoid(logits[:, -1])
            u = torch.rand(probability.shape, generator=generator)
            closest = min(closest, (u - probability).abs().min().item())
            frames.append((u < probability).float())
            logits, hidden = model(frames[-1].unsqueeze(1), hidden)
    return torch.cat(frames).numpy(), closest


class Student(nn.Module):
    """A model of somebody else's, with nothing but `forward(x, hidden)`."""

    def __init__(self):
        super().__init__()
        self.gru, self.last = nn.GRU(88, 16, batch_first=True), nn.Linear(16, 88)

    def forward(self, x, hidden=None):
        y, hidden = self.gru(x, hidden)
        return self.last(y), hidden


class Louder(MusicLSTM):
    """A subclass may compute something else, so it must not step as its parent."""

    def features(self, x, hidden=None):
        features, hidden = super().features(x, hidden)
        return 2 * features, hidden


@pytest.mark.parametrize("make", [*SMALL.values(), Student, lambda: Louder(hidden_size=32)])
def test_music_is_what_forward_makes_by_hand(make):
    model, seed = build(make), generate_random_seed(3)
    right, closest = music_by_hand(model, seed, 60, random_seed=0)
    assert closest > 1e-6  # no draw so close that rounding could decide it
    assert np.array_equal(generate_music(model, seed, 60, random_seed=0)[64:] > 0, right > 0)


def test_linear_is_that_of_torch():
    layer, x = nn.Linear(7, 3), torch.randn(5, 7)
    np.testing.assert_allclose(linear(layer)(x.numpy()), layer(x).detach(), rtol=1e-5, atol=1e-6)


def test_softplus_is_that_of_torch_at_both_ends():
    x = np.array([-80, -10, -1e-3, 0, 1, 19.9, 20.1, 100, 1000], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = softplus(x)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, nn.functional.softplus(torch.from_numpy(x)), rtol=1e-6)
