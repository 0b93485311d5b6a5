"""New music from a trained model: one frame at a time, each drawn from the model's prediction."""

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from ..config import NUM_PITCHES, SEQUENCE_LENGTH
from .frame_model import in_eval
from .stepping import linear, stepper
from .velocity import loudness

DEFAULT_VELOCITY = 0.6  # of new notes after a silent seed


@threadpool_limits.wrap(limits=1)  # a frame is too little work to share: threads would wait for each other
def generate_music(model, seed_sequence, num_frames, temperature=1.0, *, head=None, random_seed=None, on_frame=None):
    """Continue a piano roll.

    The model reads the seed in one call, then one frame at a time, so a frame costs the
    same however long the piece grows. With the head `"keys"` each key is drawn by itself with the
    probability `sigmoid(logit / temperature)`, so a low temperature also makes change rare; with
    `"chords"` the frame is drawn as a whole, and the temperature says what is played, not when
    (`ChordHead.choose`). New notes have the velocities that the model's `VelocityHead` draws; without
    one, the seed's mean velocity.

    Notebook: 05_generation_and_playback

    Args:
        model: `MusicMamba` or `MusicLSTM`; it computes where its weights are.
        seed_sequence: `(S, 88)` floats in [0, 1], S frames to continue, or `(B, S, 88)` for B pieces at once. A model
            with another `num_pitches` in its `config` takes and gives so many keys.
        num_frames: frames to add, 0 or more; 16 are a second.
        temperature: above 0; below 1 likelier notes, at 1 as the model was trained, above 1 unlikelier ones.
        head: `"keys"` or `"chords"`; default what the model was trained for.
        random_seed: int for the same music each time (on one machine); default torch's own random numbers.
        on_frame: called after each new frame with their number so far; to stop there it returns `True`.

    Returns:
        `(S + num_frames, 88)` float32 in [0, 1] (with a leading B if the seed has one), fewer frames
        if `on_frame` stopped it; the first S frames are the seed, unchanged.

    Raises:
        ValueError: a temperature of 0 or less, a seed that is empty, of the wrong shape or with values outside [0, 1],
            a head that the model has not.
    """
    roll = np.array(seed_sequence, dtype=np.float32)
    seed = roll[None] if roll.ndim == 2 else roll  # (B, S, P)
    keys = getattr(model, "config", {}).get("num_pitches", NUM_PITCHES)
    if seed.ndim != 3 or seed.shape[1] == 0 or seed.shape[2] != keys:
        raise ValueError(f"a seed has the shape (frames, {keys}), one frame or more; this one has {roll.shape}")
    if not ((seed >= 0) & (seed <= 1)).all():
        raise ValueError("a seed holds velocities in [0, 1]; this one has values outside (or NaN)")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; use a value above 0, such as 0.8")
    heads = ["keys"] if getattr(model, "chords", None) is None else ["keys", "chords"]
    head = head or heads[-1]
    if head not in heads:
        raise ValueError(f"head is {head!r}; this model has {' and '.join(map(repr, heads))}")
    if num_frames < 0:
        raise ValueError(f"num_frames is {num_frames}; use 0 or more")
    generator = None if random_seed is None else torch.Generator().manual_seed(random_seed)
    device = next(model.parameters()).device
    read = getattr(model, "features", model)  # a model without features gives logits
    with in_eval(model):
        with torch.inference_mode():
            features, hidden = read(torch.from_numpy(seed > 0).float().to(device))
            features = features[:, -1].float().cpu().numpy()  # (B, feature_size)
            step, output = stepper(model, hidden), (lambda logits: logits) if read is model else linear(model.output)
        if not np.isfinite(output(features)).all():
            raise ValueError("the model predicts NaN: its training diverged; train it again or load another")
        frames = np.empty((num_frames, len(seed), keys), dtype=np.float32)
        if head == "keys":
            # u < sigmoid(logit / temperature) says the same as logit > temperature * logit(u): ready for all frames.
            limits = torch.rand(frames.shape, generator=generator).logit_().mul_(temperature).numpy()
        strike = _velocities(model, seed, temperature, generator)
        last = (seed[:, -1] > 0).astype(np.float32)  # (B, P)
        for t in tqdm(range(num_frames), "generating", unit="frame", disable=num_frames < 2000, leave=False):
            features = step(last) if t else features
            known = torch.from_numpy(features).to(device)
            if head == "keys":
                last = (output(features) > limits[t]).astype(np.float32)
            else:
                last = model.chords.choose(known, torch.from_numpy(last).to(device), temperature, generator).numpy()
            frames[t] = strike(known, last)
            if on_frame is not None and on_frame(t + 1):
                frames = frames[: t + 1]
                break
    music = np.concatenate([seed, frames.transpose(1, 0, 2)], axis=1)
    return music[0] if roll.ndim == 2 else music


def _velocities(model, seed, temperature, generator):
    """A function of a frame's features `(B, D)` and keys down `(B, P)` to its velocities `(B, P)` in [0, 1]."""
    head = getattr(model, "velocity", None)
    if head is None:  # all as loud as the seed was on average
        mean = seed.sum((1, 2)) / np.maximum((seed > 0).sum((1, 2)), 1)
        mean = np.where(mean > 0, mean, DEFAULT_VELOCITY)[:, None]
        return lambda features, keys: keys * mean
    bins = torch.from_numpy(np.where(seed > 0, np.clip(np.rint(seed * head.bins), 1, head.bins), 0)).long()
    level, bins = loudness(bins)[:, -1], bins[:, -1]  # (B,), (B, P)

    def strike(features, keys):
        nonlocal bins, level
        keys, before = torch.from_numpy(keys), torch.cat([level[:, None], bins], dim=1)
        inputs = (tensor.to(features.device) for tensor in (bins, level, keys))
        new = head.sample(features, *inputs, temperature, generator)
        if (new > bins).any():  # a key was struck
            level = loudness(new[:, None], before)[:, 0]
        bins = new
        return bins.numpy() / head.bins

    return strike


def generate_random_seed(random_seed=None):
    """A random sparse pattern to start from: a few short chords in the middle of the keyboard.

    Notebook: 05_generation_and_playback

    Args:
        random_seed: int for the same pattern each time; default a new one.

    Returns:
        `(64, 88)` float32 in [0, 1].
    """
    rng = np.random.default_rng(random_seed)
    roll = np.zeros((SEQUENCE_LENGTH, NUM_PITCHES), dtype=np.float32)
    for start in range(0, SEQUENCE_LENGTH, 8):  # every half second
        for key in rng.choice(np.arange(27, 63), size=rng.integers(1, 4), replace=False):  # C3 to B5
            roll[start : start + rng.integers(2, 8), key] = rng.integers(12, 25) / 32
    return roll


def held_out_piece(rolls, number):
    """A piece of the test split to start from: no model has learned from it.

    Args:
        rolls: dict with `"test"`, a `RollSplit`.
        number: which piece of the split, counted from 0.

    Returns:
        The roll, `(T, 88)` float32 in [0, 1], and the title.

    Raises:
        ValueError: the split is empty or has no such piece.
    """
    test = rolls["test"]
    if len(test) == 0:
        raise ValueError(
            "the test split is empty, so it has no seed: give `--seed random` or `--seed FILE.mid`, "
            "or use a folder with three different pieces or more"
        )
    if not 0 <= number < len(test):
        raise ValueError(f"--piece {number}: the test split has pieces 0 to {len(test) - 1}")
    piece = test.pieces[number]  # not the corpus's: a limit leaves some out
    return test[number], f"{piece.composer}: {piece.title}".strip(": ")


def generate_from_random_seed(model, num_frames, temperature=1.0, *, random_seed=None):
    """Generate music from `generate_random_seed()`.

    Notebook: 05_generation_and_playback

    Args:
        model, num_frames, temperature, random_seed: as for `generate_music`.

    Returns:
        `(64 + num_frames, 88)` float32 in [0, 1].
    """
    seed = generate_random_seed(random_seed)
    return generate_music(model, seed, num_frames, temperature, random_seed=random_seed)
