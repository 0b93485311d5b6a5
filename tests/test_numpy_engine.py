"""The network without torch computes what the models compute, and draws what they predict."""

import itertools
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.piano_roll import midi_to_piano_roll
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn.checkpoints import load_model
from midigen_utils.models import numpy_engine
from midigen_utils.models.chords import ChordHead
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba
from midigen_utils.models.numpy_engine import (
    CANDIDATES,
    LSTM,
    Chords,
    Linear,
    Mamba,
    Velocities,
    draw,
    draw_keys,
    sigmoid,
    silu,
    softplus,
)
from midigen_utils.models.velocity import VelocityHead, loudness

SMALL = {
    "lstm": lambda **heads: MusicLSTM(hidden_size=32, **heads),
    "s6": lambda **heads: MusicMamba(d_model=32, n_layers=2, d_conv=3, d_state=5, **heads),
    "ssd": lambda **heads: MusicMamba(d_model=64, n_layers=2, ssm="ssd", d_state=5, **heads),
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


def core_of(model):
    return (Mamba if isinstance(model, MusicMamba) else LSTM)(*model.weights())


def silence(model, batch):
    """The states before the first frame: zeros, of the shapes that they have after one."""
    with torch.inference_mode():
        _, hidden = model.features(torch.zeros(batch, 1, 88))
    return [[np.zeros_like(part) for part in layer] for layer in hidden]


def alone(kind, head):
    """A head of its own in numpy."""
    return kind({name: weight.numpy().copy() for name, weight in head.state_dict().items()}, name="")


def random_frames(batch, length):
    return (torch.rand(batch, length, 88, generator=torch.Generator().manual_seed(1)) < 0.05).float()


# ---------------------------------------------------------------- the cores


def assert_steps_equal_features(model, frames, seed):
    """Step through all frames but the first `seed`, and compare with one call for all."""
    core = core_of(model)
    states = silence(model, len(frames))
    with torch.inference_mode():
        right, _ = model.features(frames)
        if seed:
            _, hidden = model.features(frames[:, :seed])
            states = [[part.numpy().copy() for part in layer] for layer in hidden]
    for t in range(seed, frames.shape[1]):
        features = core.step(frames[:, t].numpy(), states)
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
def test_a_step_changes_neither_the_frame_passed_in_nor_what_the_last_one_returned_nor_the_model(name):
    model, frame = build(SMALL[name]), np.ones((2, 88), dtype=np.float32)
    before = {key: weight.clone() for key, weight in model.state_dict().items()}
    core = core_of(model)
    states = silence(model, 2)
    first = core.step(np.zeros((2, 88), dtype=np.float32), states)
    kept = first.copy()
    core.step(frame, states)
    assert np.array_equal(first, kept) and (frame == 1).all()
    assert all(torch.equal(before[key], weight) for key, weight in model.state_dict().items())


@pytest.mark.parametrize("kind", SMALL)
def test_large_biases_saturate_without_a_warning_or_nan(kind):
    model = build(SMALL[kind])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "A_log" not in name:
                parameter.mul_(3000)  # biases of hundreds: exp of them is infinite in float32
        core, hidden = core_of(model), None
        states = silence(model, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for frame in random_frames(1, 20)[0].numpy():
                features = core.step(frame[None], states)
                right, hidden = model.features(torch.from_numpy(frame)[None, None], hidden)
                np.testing.assert_allclose(features, right[:, 0], atol=1e-4 * right.abs().max().item(), rtol=0)


# ---------------------------------------------------------------- the heads


def lively_head(feature_size=5, num_pitches=88, seed=0):
    """A chord head whose logits are large and depend on everything, as after training."""
    torch.manual_seed(seed)
    head = ChordHead(feature_size, num_pitches, width=16)
    with torch.no_grad():
        head.output.weight.normal_(std=0.6)
        head.output.bias.normal_(-0.5)
        head.norm.weight.normal_(1, 0.3)
        head.norm.bias.normal_(0, 0.3)
    return head.eval()


EVERY = np.array(list(itertools.product([0.0, 1.0], repeat=6)), dtype=np.float32)  # (64, 6): all frames of six keys
PLACE = 2 ** np.arange(5, -1, -1)


def given(draws=1):
    """Features `(draws, 5)` and a last frame `(draws, 6)`, all rows the same."""
    rng = np.random.default_rng(5)
    features, past = rng.standard_normal((1, 5)), np.array([[1.0, 0, 1, 0, 0, 0]])
    return features.repeat(draws, 0).astype(np.float32), past.repeat(draws, 0).astype(np.float32)


def all_log_probs(head):
    """The log probability of `EVERY` frame after `given()`, from torch."""
    features, past = (torch.from_numpy(some)[:, None] for some in given(64))
    with torch.no_grad():
        return head.log_prob(torch.from_numpy(EVERY)[:, None], features, past)[:, 0].double().numpy()


def chi_square(drawn, p):
    """Of drawn frames `(N, 6)` against the probabilities `(64,)` of `EVERY`."""
    counts, expected = np.bincount(drawn.astype(int) @ PLACE, minlength=64), p * len(drawn)
    return ((counts - expected) ** 2 / np.maximum(expected, 1)).sum()


@pytest.mark.parametrize("shared", [False, True], ids=["streams", "copies"])
def test_chords_are_drawn_as_often_as_they_are_probable_and_know_how_probable_they_are(shared):
    head = lively_head(num_pitches=6)
    chords, log_p = alone(Chords, head), all_log_probs(head)
    draws, rng = 20_000, np.random.default_rng(0)
    if shared:
        drawn, theirs = chords.sample(chords.context(*given()), rng.random, copies=draws)
    else:
        drawn, theirs = chords.sample(chords.context(*given(draws)), rng.random)
    assert chi_square(drawn, np.exp(log_p)) < 110  # 63 degrees of freedom: above 110 once in 5,000 tries
    np.testing.assert_allclose(theirs, log_p[drawn.astype(int) @ PLACE], atol=1e-4)
    entropy, deviation = -(np.exp(log_p) * log_p).sum(), theirs.std() / draws**0.5
    assert abs(theirs.mean() + entropy) < 4 * deviation
    assert np.array_equal(np.unique(drawn), [0, 1])


@pytest.fixture(scope="module", params=["mamba", "lstm"])
def pretrained(request):
    """A pretrained model, its numpy twin, and what torch knows along 64 frames of real music."""
    model = load_model(MIDI_DATA / "pretrained" / f"{request.param}.pt", "cpu").eval()
    x = torch.from_numpy(np.load(Path(__file__).parent / "data" / "pretrained_logits.npz")["x"]).float()  # (1, 64, 88)
    with torch.no_grad():
        return model, x, model.features(x)[0]


def test_real_music_gives_the_features_of_torch(pretrained):
    model, x, features = pretrained
    core = core_of(model)
    states = silence(model, 1)
    ours = np.concatenate([core.step(x[:, t].numpy(), states) for t in range(x.shape[1])])
    np.testing.assert_allclose(ours, features[0], atol=1e-5 * features.abs().max().item(), rtol=0)


@pytest.mark.parametrize("name", ["mamba", "lstm"])
def test_a_performance_gives_the_features_of_torch(name, maestro_folder):
    path = sorted(maestro_folder.glob("*/*.mid*"))[0]
    roll = midi_to_piano_roll(path, MIDI_CONFIG)[None, :480] > 0
    assert_steps_equal_features(load_model(MIDI_DATA / "pretrained" / f"{name}.pt"), torch.from_numpy(roll).float(), 0)


@pytest.mark.parametrize("copies", [1, 3])
def test_after_every_frame_of_real_music_a_chord_is_as_probable_as_torch_says(pretrained, copies):
    model, x, features = pretrained
    chords = Chords(model.weights()[0])
    context = chords.context(features[0].numpy(), x[0].numpy())
    drawn, log_p = chords.sample(context, np.random.default_rng(0).random, copies)
    assert (drawn.reshape(-1, copies, 88) != x[0, :, None].numpy()).any(-1).mean() > 0.2  # it is not only held notes
    for i in range(copies):
        with torch.no_grad():
            right = model.chords.log_prob(torch.from_numpy(drawn[i::copies])[None], features, x)[0]
        np.testing.assert_allclose(log_p[i::copies], right, atol=1e-4)


def test_velocities_of_real_music_are_as_probable_as_torch_says(pretrained):
    model, x, features = pretrained
    bins = x.long() * torch.randint(1, 33, (88,), generator=torch.Generator().manual_seed(0))  # each key its own
    past, features, struck = bins[:, :-1], features[:, :-1], (bins[:, :-1] == 0) & (bins[:, 1:] > 0)
    level = loudness(past)
    with torch.no_grad():
        right = model.velocity(features, past, level, struck).log_softmax(1)
    head = Velocities(model.weights()[0])
    logits = head.logits(*(some[0].numpy() for some in (features, past, level, struck)))
    assert len(logits) > 20
    np.testing.assert_allclose(torch.from_numpy(logits).log_softmax(1), right, atol=1e-4)


def test_the_temperature_of_choose_says_what_is_played_and_not_when():
    chords, (features, past) = alone(Chords, lively_head(num_pitches=6)), given(4000)
    again, _ = chords.sample(chords.context(features, past), np.random.default_rng(0).random)
    frames = {t: chords.choose(features, past, t, np.random.default_rng(0).random) for t in (0.4, 1.0, 2.5)}
    assert np.array_equal(frames[1.0], again)
    likely = []
    for some in frames.values():
        down, up = (some > past).sum(1), (some < past).sum(1)
        assert np.array_equal(down, (again > past).sum(1)) and np.array_equal(up, (again < past).sum(1))
        counts = np.unique(some[(down == 1) & (up == 1)], axis=0, return_counts=True)[1]
        likely.append(counts.max() / counts.sum())  # share of the commonest way to change two keys
    assert likely[0] > likely[1] + 0.05 and likely[1] > likely[2] + 0.03


def test_choose_weighs_the_frames_that_move_as_many_keys_with_a_power_of_their_probability():
    head = lively_head(num_pitches=6)
    chords, p, (_, past), draws = alone(Chords, head), np.exp(all_log_probs(head)), given(), 20_000
    kinds = np.stack([(EVERY > past).sum(1), (EVERY < past).sum(1)], axis=1)
    aim = np.zeros(64)
    for kind in np.unique(kinds, axis=0):
        alike = (kinds == kind).all(1)
        aim[alike] = p[alike].sum() * p[alike] ** 2 / (p[alike] ** 2).sum()
    drawn = chords.choose(*given(draws), 0.5, np.random.default_rng(0).random)
    frequency = np.bincount(drawn.astype(int) @ PLACE, minlength=64) / draws
    assert abs(frequency - aim).sum() < 0.35 * abs(p - aim).sum()  # of 32 candidates, not of all frames


def test_keys_are_drawn_with_the_sigmoid_of_their_logits_by_the_temperature():
    logits, draws = np.array([[-12.0, -3, 0, 1, 30, -200]], dtype=np.float32), 200_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        down = draw_keys(logits.repeat(draws, 0), 2.0, np.random.default_rng(0).random)
    p = torch.sigmoid(torch.from_numpy(logits[0]).double() / 2).numpy()
    assert (abs(down.mean(0, dtype=float) - p) <= 4.5 * np.sqrt(p * (1 - p) / draws) + 1e-6).all()
    assert down.dtype == np.float32


def test_velocities_are_drawn_for_struck_keys_and_kept_for_held_ones():
    torch.manual_seed(0)
    head = VelocityHead(4, 32)
    features, level = torch.randn(1, 4), np.array([9])
    past, keys = np.zeros((1, 88), int), np.zeros((1, 88), np.float32)
    past[0, 10], past[0, 20] = 9, 5
    keys[0, 10] = keys[0, 60] = 1
    draws, rng = 20_000, np.random.default_rng(0)
    many = [some.repeat(draws, 0) for some in (features.numpy(), past, level, keys)]
    bins, levels = alone(Velocities, head).strike(*many, 0.7, rng.random)
    assert (bins[:, 10] == 9).all() and np.array_equal(np.unique(bins.nonzero()[1]), [10, 60])
    assert np.array_equal(levels, bins[:, 60])
    struck = torch.from_numpy((keys > 0) & (past == 0))
    with torch.no_grad():
        p = (head(features, torch.from_numpy(past), torch.from_numpy(level), struck) / 0.7).softmax(1)[0].numpy()
    counts = np.bincount(bins[:, 60], minlength=33)
    assert counts[0] == 0 and ((counts[1:] - draws * p) ** 2 / (draws * p)).sum() < 70  # 31 degrees of freedom


def test_the_loudness_goes_on_as_torch_counts_it():
    head, rng = alone(Velocities, VelocityHead(4, 32)), np.random.default_rng(0)
    bins, level = np.zeros((3, 88), int), np.zeros(3, int)
    piece, levels = [bins], [level]
    for _ in range(60):
        keys = np.where(rng.random((3, 88)) < 0.02, 1, (bins > 0) & (rng.random((3, 88)) < 0.7)).astype(np.float32)
        bins, level = head.strike(np.ones((3, 4), np.float32), bins, level, keys, 1.0, rng.random)
        piece.append(bins)
        levels.append(level)
    assert np.array_equal(np.stack(levels, 1), loudness(torch.from_numpy(np.stack(piece, 1))))


def test_random_numbers_are_asked_for_in_the_order_that_is_written_down():
    """Whoever repeats the engine elsewhere replays them: chords look by look, then candidates, then the choice."""
    chords, (features, past), asked = alone(Chords, lively_head(num_pitches=6)), given(3), []
    rng = np.random.default_rng(0)

    def uniform(n):
        asked.append(n)
        return rng.random(n)

    frames, _ = chords.sample(chords.context(features, past), uniform)
    notes = frames.sum(1)
    assert (
        asked == [(notes >= look).sum() for look in range(int(notes.max()) + 1) if (notes >= look).any()][: len(asked)]
    )
    first, rng = len(asked), np.random.default_rng(0)
    asked.clear()
    chords.choose(features, past, 0.5, uniform)
    changed = (frames != past).any(1).sum()
    assert asked[first] == CANDIDATES * changed and asked[-1] == changed


# ---------------------------------------------------------------- small functions


def test_draw_has_the_frequencies_of_the_softmax_and_never_a_row_that_is_ruled_out():
    logits = np.array([[0.0, 1.0, -np.inf, 2.0]], dtype=np.float32)
    drawn = draw(logits.repeat(20_000, 0), np.random.default_rng(0).random)
    p = torch.from_numpy(logits[0]).softmax(0).numpy()
    assert abs(np.bincount(drawn, minlength=4) / 20_000 - p).max() < 0.02 and 2 not in drawn
    assert draw(logits, lambda n: np.full(n, 1 - 2**-53)) == [3]  # the largest number that there is


def test_linear_and_the_curves_are_those_of_torch_at_both_ends():
    layer, rows = nn.Linear(7, 3), torch.randn(5, 7)
    ours = Linear({"a.weight": layer.weight.detach().numpy(), "a.bias": layer.bias.detach().numpy()}, "a")
    np.testing.assert_allclose(ours(rows.numpy()), layer(rows).detach(), rtol=1e-5, atol=1e-6)
    x = np.array([-1000, -80, -10, -1e-3, 0, 1, 19.9, 20.1, 100, 1000], dtype=np.float32)
    for mine, theirs in ((softplus, nn.functional.softplus), (sigmoid, torch.sigmoid), (silu, nn.functional.silu)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            y = mine(x)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, theirs(torch.from_numpy(x)), rtol=1e-6, atol=1e-7 * (mine is not softplus) * 10)


def test_the_engine_needs_no_torch():
    code = (
        "import sys, importlib.util as u; sys.modules['torch'] = None\n"
        f"spec = u.spec_from_file_location('engine', {numpy_engine.__file__!r})\n"
        "spec.loader.exec_module(u.module_from_spec(spec))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_chords_of_one_stream_take_a_millisecond_or_two():
    """Real music asks for 16 frames a second, the judges of the course for thousands."""
    chords, rng = alone(Chords, ChordHead(256)), np.random.default_rng(0)
    features, past = rng.standard_normal((1, 256)).astype(np.float32), (rng.random((1, 88)) < 0.05).astype(np.float32)
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(20):
            chords.choose(features, past, 1.0, rng.random)
        best = min(best, time.process_time() - start)
    assert best / 20 < 2e-3
