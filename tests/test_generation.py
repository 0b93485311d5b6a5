import inspect

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from midigen_utils.models.generation import generate_from_random_seed, generate_music, generate_random_seed
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba


@pytest.fixture(params=["LSTM", "Mamba"], scope="module")
def model(request):
    torch.manual_seed(0)
    model = MusicLSTM(hidden_size=24) if request.param == "LSTM" else MusicMamba(d_model=32, n_layers=2)
    with torch.no_grad():
        list(model.parameters())[-1].fill_(-3.0)  # the bias of the output: music is sparse
    return model


def test_shape_and_the_seed_part_unchanged(model):
    seed = generate_random_seed(3)
    music = generate_music(model, seed, 50)
    assert music.shape == (64 + 50, 88) and music.dtype == np.float32
    assert np.array_equal(music[:64], seed)
    assert 0 <= music.min() and music.max() <= 1
    assert generate_music(model, seed, 0).shape == (64, 88)
    assert generate_from_random_seed(model, 20).shape == (84, 88)


def test_new_notes_have_the_mean_velocity_of_the_seed(model):
    seed = generate_random_seed(3)
    music = generate_music(model, seed, 100, random_seed=0)
    values = np.unique(music[64:])
    assert values.tolist() == pytest.approx([0, seed[seed > 0].mean()])
    silent = generate_music(model, np.zeros((4, 88)), 100, random_seed=0)
    assert silent.max() == pytest.approx(0.6)


def test_the_same_random_seed_gives_the_same_music_and_another_another(model):
    seed = generate_random_seed(3)
    first, again, other = (generate_music(model, seed, 60, random_seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    torch.manual_seed(5)
    first = generate_music(model, seed, 60)
    torch.manual_seed(5)
    assert np.array_equal(first, generate_music(model, seed, 60))


def test_steps_are_drawn_from_what_the_whole_sequence_predicts(model):
    """The music that stepping gives has, read in one call, exactly the probabilities that it was drawn with."""
    seed = generate_random_seed(3)
    music = torch.from_numpy(generate_music(model, seed, 40, temperature=0.7, random_seed=11) > 0).float()
    model.eval()
    with torch.no_grad():
        logits, _ = model(music[None, :-1])
    uniform = torch.from_numpy(np.random.default_rng(11).random((40, 88)))
    for t in range(64, 104):
        probability = torch.sigmoid(logits[0, t - 1] / 0.7)
        clear = (uniform[t - 64] - probability).abs() > 1e-4
        assert (((uniform[t - 64] < probability).float() == music[t]) | ~clear).all()
    assert clear.float().mean() > 0.9


class InTorch(MusicMamba):
    """A subclass may compute something else: so it steps in torch, with its own `features`."""


class Louder(MusicLSTM):
    def features(self, x, hidden=None):
        features, hidden = super().features(x, hidden)
        return 2 * features, hidden


class Student(nn.Module):
    """A model of somebody else's, with nothing but `forward(x, hidden)`."""

    def __init__(self):
        super().__init__()
        self.gru, self.last = nn.GRU(88, 16, batch_first=True), nn.Linear(16, 88)

    def forward(self, x, hidden=None):
        y, hidden = self.gru(x, hidden)
        return self.last(y), hidden


@pytest.mark.parametrize("make", [Student, lambda: Louder(hidden_size=32), lambda: MusicMamba(d_model=32, ssm="ssd")])
def test_music_is_what_forward_makes_by_hand(make):
    torch.manual_seed(0)
    model, rng, frames, closest = make(), np.random.default_rng(0), [], 1.0
    seed = np.stack([generate_random_seed(i) for i in range(2)])
    with torch.inference_mode():
        logits, hidden = model(torch.from_numpy(seed > 0).float())
        for _ in range(60):
            p, uniform = torch.sigmoid(logits[:, -1]), torch.from_numpy(rng.random((2, 88)))
            closest = min(closest, (uniform - p).abs().min().item())
            frames.append((uniform < p).float())
            logits, hidden = model(frames[-1].unsqueeze(1), hidden)
    assert closest > 1e-6  # no draw so close that rounding could decide it
    assert np.array_equal(
        generate_music(model, seed, 60, random_seed=0)[:, 64:] > 0, torch.stack(frames, 1).numpy() > 0
    )


@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_stepping_in_torch_and_in_numpy_make_the_same_music_with_both_heads(temperature):
    """The path of a GPU, and of a reader's own model: torch gives the features, the numpy heads draw."""
    torch.manual_seed(0)
    ours = MusicMamba(d_model=32, n_layers=2, head="chords", velocity=32)
    theirs = InTorch(**ours.config)
    theirs.load_state_dict(ours.state_dict())
    seeds = np.stack([generate_random_seed(i) for i in range(3)])
    first, second = (generate_music(model, seeds, 50, temperature, random_seed=2) for model in (ours, theirs))
    assert np.array_equal(first, second) and len(np.unique(first[:, 64:])) > 10


def test_the_notes_do_not_depend_on_the_velocity_head():
    torch.manual_seed(0)
    loud = MusicLSTM(hidden_size=16, velocity=32)
    plain = MusicLSTM(hidden_size=16)
    plain.load_state_dict({k: v for k, v in loud.state_dict().items() if not k.startswith("velocity")})
    loud, plain = (generate_music(model, generate_random_seed(0), 40, random_seed=0) > 0 for model in (loud, plain))
    assert np.array_equal(loud, plain)


def test_a_frame_is_computed_on_one_thread_and_their_number_is_restored():
    def blas_threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    meanwhile = []
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        generate_music(
            MusicLSTM(hidden_size=8), generate_random_seed(0), 1, on_frame=lambda _: meanwhile.append(blas_threads())
        )
        assert set(before) <= {2} and set(*meanwhile) <= {1} and blas_threads() == before


def test_temperature_divides_the_logits(model):
    """Cold music is what is likely; hot music comes near to 88 coins."""
    torch.nn.init.constant_(model.output.bias, -1.0)  # most keys are up, as in music
    seed = generate_random_seed(3)
    down = {t: (generate_music(model, seed, 200, t, random_seed=0)[64:] > 0).mean() for t in (0.05, 1.0, 50.0)}
    assert down[0.05] < down[1.0] < down[50.0]
    assert down[50.0] == pytest.approx(0.5, abs=0.05)


def test_several_seeds_at_once(model):
    seeds = np.stack([generate_random_seed(i) for i in range(3)])
    music = generate_music(model, seeds, 10)
    assert music.shape == (3, 74, 88)
    assert np.array_equal(music[:, :64], seeds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"num_frames": -1}, "num_frames"),
        ({"seed_sequence": np.zeros((0, 88))}, "seed"),
        ({"seed_sequence": np.zeros((64, 128))}, "seed"),
        ({"seed_sequence": np.full((64, 88), 2.0)}, r"\[0, 1\]"),
        ({"seed_sequence": np.full((64, 88), np.nan)}, r"\[0, 1\]"),
    ],
)
def test_what_cannot_be_generated_is_an_error(model, change, message):
    arguments = {"seed_sequence": generate_random_seed(0), "num_frames": 4, "temperature": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        generate_music(model, **arguments)


def test_a_training_model_is_still_training_afterwards(model):
    model.train()
    generate_music(model, generate_random_seed(0), 2)
    assert model.training

    def interrupted(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_music(model, generate_random_seed(0), 2, on_frame=interrupted)
    assert model.training


def test_a_model_of_another_keyboard_plays_it():
    torch.manual_seed(0)
    seed = np.eye(8, 49, dtype=np.float32)
    for head in ("keys", "chords"):
        model = MusicLSTM(num_pitches=49, hidden_size=8, head=head, velocity=32)
        assert generate_music(model, seed, 5).shape == (13, 49)
    with pytest.raises(ValueError, match=r"\(frames, 49\)"):
        generate_music(model, generate_random_seed(0), 5)


def test_random_seed_is_a_sparse_pattern_of_the_window_length():
    seed = generate_random_seed()
    assert seed.shape == (64, 88)
    assert 0.005 < (seed > 0).mean() < 0.1
    assert np.array_equal(generate_random_seed(1), generate_random_seed(1))
    assert not np.array_equal(generate_random_seed(1), generate_random_seed(2))
    assert list(inspect.signature(generate_random_seed).parameters) == ["random_seed"]
