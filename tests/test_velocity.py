"""The velocity head: what it is asked, what it learns, and that generated music has dynamics."""

import math

import numpy as np
import pytest
import torch

from midigen_utils.learn.checkpoints import load_model
from midigen_utils.learn.dataset import Batches, SequenceDataset, all_frames
from midigen_utils.learn.training import fit
from midigen_utils.models.generation import generate_music
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba
from midigen_utils.models.velocity import VelocityHead, loudness


def literal_loudness(bins):
    """Frame by frame: the mean of what was struck last, rounded half up."""
    last, levels = 0, []
    for t in range(len(bins)):
        struck = [int(v) for k, v in enumerate(bins[t]) if v and not (t and bins[t - 1][k])]
        if struck:
            last = math.floor(sum(struck) / len(struck) + 0.5)
        levels.append(last)
    return levels


def test_loudness_is_the_mean_of_the_notes_struck_last_and_goes_on_where_it_stopped():
    generator = torch.Generator().manual_seed(0)
    bins = torch.randint(1, 33, (3, 40, 5), generator=generator) * (torch.rand(3, 40, 5, generator=generator) < 0.15)
    levels = loudness(bins)
    assert levels.tolist() == [literal_loudness(piece.tolist()) for piece in bins]
    before = torch.cat([levels[:, 24:25], bins[:, 24]], dim=1)
    assert torch.equal(loudness(bins[:, 25:], before), levels[:, 25:])


def test_only_keys_that_go_down_are_judged():
    head = VelocityHead(4, 32)
    past, frames = torch.zeros(2, 1, 3, 88, dtype=torch.uint8)
    past[0, 1, 40] = frames[0, 1, 40] = 7  # held
    frames[0, 2, 50], frames[0, 2, 51] = 32, 1  # struck
    features = torch.randn(1, 3, 4)
    struck = (past == 0) & (frames > 0)
    logits = head(features, past, loudness(past), struck)
    assert logits.shape == (2, 32)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([31, 0]), reduction="sum") / 3
    assert torch.allclose(head.loss(features, past, frames), expected)
    assert head.loss(features, past, past).item() == 0  # no onset: nothing, and no NaN


def steady_pieces(pieces=66, length=104):
    """A note of four frames after another, each piece as loud throughout as it starts: high notes six bins louder."""
    rng, rolls = np.random.default_rng(0), []
    for _ in range(pieces):
        roll, level = np.zeros((length, 88), np.uint8), rng.integers(4, 24)
        for t in range(0, length - 3, 4):
            key = rng.integers(20, 60)
            roll[t : t + 4, key] = level + 6 * (key >= 40)
        rolls.append(roll)
    return {"train": rolls[:-2], "validation": rolls[-2:]}


@torch.no_grad()
def errors_in_bins(model, rolls, middle):
    """Mean errors of the median that a model foretells, of the mean of the notes struck last, and of `middle`."""
    errors = []
    for piece in (torch.from_numpy(roll.astype(np.int64))[None] for roll in rolls):  # (1, T, P)
        past, now = piece[:, :-1], piece[:, 1:]
        struck, level = (past == 0) & (now > 0), loudness(past)
        p = model.velocity(model.features((past > 0).float())[0], past, level, struck).softmax(1)  # (n, V)
        last = level[struck.nonzero(as_tuple=True)[:2]]
        guesses = (p.cumsum(1) < 0.5).sum(1) + 1, torch.where(last > 0, last, middle), torch.full_like(last, middle)
        errors.append(torch.stack([(guess - now[struck]).abs().float() for guess in guesses]))
    return torch.cat(errors, dim=1).mean(1).tolist()


@pytest.mark.parametrize("build", [MusicLSTM, MusicMamba])
def test_training_beats_repeating_the_last_velocity_and_generated_music_has_dynamics(build, tmp_path):
    torch.manual_seed(0)
    rolls = steady_pieces()
    small = dict(hidden_size=24, num_layers=1) if build is MusicLSTM else dict(d_model=32, n_layers=1)
    model = build(**small, velocity=32)
    fit(model, rolls, 20, batch_size=8, learning_rate=1e-2, folder=tmp_path, device="cpu")
    struck = np.concatenate([roll[roll > 0] for roll in rolls["train"]])
    foretold, repeated, middle = errors_in_bins(model.eval(), rolls["validation"], int(np.median(struck)))
    assert foretold < 0.7 * min(repeated, middle)
    model = load_model(tmp_path / "last_model.pt")
    seed = rolls["validation"][0][:64] / 32
    music = generate_music(model, seed, 160, random_seed=0)
    again = generate_music(model, seed, 160, random_seed=0)
    assert np.array_equal(music, again) and np.array_equal(music[:64], seed.astype(np.float32))
    played = np.rint(music[64:] * 32)
    held = (played[1:] > 0) & (played[:-1] > 0)
    assert np.array_equal(played[1:][held], played[:-1][held])  # a velocity stays as long as its note
    assert len(np.unique(played)) > 3
    by_level = sorted(rolls["train"], key=lambda roll: roll.max())

    def goes_on(pieces):
        takes = [generate_music(model, roll[:64] / 32, 64, random_seed=i)[64:] for i, roll in enumerate(pieces)]
        return 32 * np.mean([music[music > 0].mean() for music in takes])

    assert goes_on(by_level[-16:]) - goes_on(by_level[:16]) > 2  # louder after a louder beginning


def test_a_head_of_no_bins_is_refused():
    with pytest.raises(ValueError, match="0 for none"):
        MusicLSTM(hidden_size=8, velocity=-1)


def test_batches_give_velocity_bins_when_asked_and_the_same_windows_otherwise():
    rolls = steady_pieces()["train"]
    dataset = SequenceDataset(rolls)
    keys = next(Batches(dataset, 4, seed=1, transpose=3).epoch(0))
    bins = next(Batches(dataset, 4, seed=1, transpose=3, velocities=True).epoch(0))
    assert all(torch.equal(k, (b > 0).float()) for k, b in zip(keys, bins)) and bins[0].max() > 1
    frames, _, _ = all_frames([roll / 32 for roll in rolls])
    assert torch.equal(frames, all_frames(rolls)[0])
