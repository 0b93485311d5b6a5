"""New music from a trained model: one frame at a time, each drawn from the model's prediction."""

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from ..config import NUM_PITCHES, SEQUENCE_LENGTH, value_to_bin
from .frame_model import FrameModel, in_eval
from .lstm import MusicLSTM
from .mamba import MusicMamba
from .numpy_engine import LSTM, Chords, Linear, Mamba, Velocities, draw_keys
from .velocity import loudness

DEFAULT_VELOCITY = 0.6  # of new notes after a silent seed


def generate_music(model, seed_sequence, num_frames, temperature=1.0, *, head=None, random_seed=None, on_frame=None):
    """Continue a piano roll.

    The model reads the seed in one call, then one frame at a time, so a frame costs the same however long the piece
    grows. A `MusicMamba` or `MusicLSTM` on a CPU steps in numpy (`numpy_engine`), any other model in torch where its
    weights are; the frames are drawn in numpy always. With the head `"keys"` each key is drawn by itself with the
    probability `sigmoid(logit / temperature)`, so a low temperature also makes change rare; with `"chords"` the frame
    is drawn as a whole, and the temperature says what is played, not when (`Chords.choose`). New notes have the
    velocities that the model's `VelocityHead` gives them; without one, the seed's mean velocity.

    Notebook: 05_generation_and_playback

    Args:
        model: a `FrameModel`, or any module with `forward(x, hidden)` to logits and the next hidden state.
        seed_sequence: `(S, 88)` floats in [0, 1], S frames to continue, or `(B, S, 88)` for B pieces at once. A model
            with another `num_pitches` in its `config` takes and gives so many keys.
        num_frames: frames to add, 0 or more; 16 are a second.
        temperature: above 0; below 1 likelier notes, at 1 as the model was trained, above 1 unlikelier ones.
        head: `"keys"` or `"chords"`; default what the model was trained for.
        random_seed: int for the same music each time (on one machine); default a new one, drawn by torch.
        on_frame: called after each new frame with their number so far.

    Returns:
        `(S + num_frames, 88)` float32 in [0, 1] (with a leading B if the seed has one); the first S frames are the
        seed, unchanged.

    Raises:
        ValueError: a temperature of 0 or less or infinite, a seed that is empty, of the wrong shape or with values
            outside [0, 1], a head that the model has not.
    """
    roll = np.array(seed_sequence, dtype=np.float32)
    seed = roll[None] if roll.ndim == 2 else roll  # (B, S, P)
    keys = getattr(model, "config", {}).get("num_pitches", NUM_PITCHES)
    if seed.ndim != 3 or seed.shape[1] == 0 or seed.shape[2] != keys:
        raise ValueError(f"a seed has the shape (frames, {keys}), one frame or more; this one has {roll.shape}")
    if not ((seed >= 0) & (seed <= 1)).all():
        raise ValueError("a seed holds velocities in [0, 1]; this one has values outside (or NaN)")
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature}; use a value above 0, such as 0.8")
    if num_frames < 0:
        raise ValueError(f"num_frames is {num_frames}; use 0 or more")
    weights, config = model.weights() if isinstance(model, FrameModel) else ({}, {})
    heads = ["keys", "chords"] if config.get("head") == "chords" else ["keys"]
    head = head or heads[-1]
    if head not in heads:
        raise ValueError(f"head is {head!r}; this model has {' and '.join(map(repr, heads))}")
    output = Linear(weights, "output") if weights else (lambda logits: logits)
    chords = Chords(weights) if head == "chords" else None
    velocity = Velocities(weights) if config.get("velocity") else None
    random_seed = int(torch.randint(2**62, ())) if random_seed is None else random_seed
    rng = np.random.default_rng(random_seed)
    # Velocities have random numbers of their own: the notes are the same with and without them.
    strike = _velocities(velocity, seed, temperature, rng.spawn(1)[0].random)
    frames = np.empty((num_frames, len(seed), keys), dtype=np.float32)
    # On one thread: a frame is too little work to share, and threads would wait for each other.
    with in_eval(model), torch.inference_mode(), threadpool_limits(1):
        features, step = _read(model, weights, config, (seed > 0).astype(np.float32))  # (B, D)
        if not np.isfinite(output(features)).all():
            raise ValueError("the model predicts NaN: its training diverged; train it again or load another")
        last = (seed[:, -1] > 0).astype(np.float32)  # (B, P)
        for t in tqdm(range(num_frames), "generating", unit="frame", delay=5, leave=False):
            features = step(last) if t else features
            if chords:
                last = chords.choose(features, last, temperature, rng.random)
            else:
                last = draw_keys(output(features), temperature, rng.random)
            frames[t] = strike(features, last)
            if on_frame is not None:
                on_frame(t + 1)
    music = np.concatenate([seed, frames.transpose(1, 0, 2)], axis=1)
    return music[0] if roll.ndim == 2 else music


def _read(model, weights, config, seed):
    """Read the keys `(B, S, P)` of a seed: the features after it, `(B, D)`, and `step(x)`, which reads a frame more."""
    device = next(model.parameters()).device
    read = model.features if isinstance(model, FrameModel) else model  # a model without features gives logits
    features, hidden = read(torch.from_numpy(seed).to(device))
    core = {MusicMamba: Mamba, MusicLSTM: LSTM}.get(type(model)) if device.type == "cpu" else None
    if core:
        core, states = core(weights, config), [[part.numpy().copy() for part in layer] for layer in hidden]

    def step(x):
        nonlocal hidden
        if core:
            return core.step(x, states)
        features, hidden = read(torch.from_numpy(x).unsqueeze(1).to(device), hidden)
        return features[:, -1].float().cpu().numpy()

    return features[:, -1].float().cpu().numpy(), step


def _velocities(head, seed, temperature, uniform):
    """A function of a frame's features `(B, D)` and keys down `(B, P)` to its velocities `(B, P)` in [0, 1]."""
    if head is None:  # all as loud as the seed was on average
        mean = seed.sum((1, 2)) / np.maximum((seed > 0).sum((1, 2)), 1)
        mean = np.where(mean > 0, mean, DEFAULT_VELOCITY)[:, None]
        return lambda features, keys: keys * mean
    bins = value_to_bin(seed, head.bins)  # (B, S, P)
    level, bins = loudness(torch.from_numpy(bins))[:, -1].numpy(), bins[:, -1]  # (B,), (B, P)

    def strike(features, keys):
        nonlocal bins, level
        bins, level = head.strike(features, bins, level, keys, temperature, uniform)
        return bins / head.bins

    return strike


def generate_random_seed(random_seed=None):
    """A random sparse pattern to start from, `(64, 88)` float32 in [0, 1]: short chords in the middle of the keyboard.

    Notebook: 05_generation_and_playback

    Args:
        random_seed: int for the same pattern each time; default a new one.
    """
    rng = np.random.default_rng(random_seed)
    roll = np.zeros((SEQUENCE_LENGTH, NUM_PITCHES), dtype=np.float32)
    for start in range(0, SEQUENCE_LENGTH, 8):  # every half second
        for key in rng.choice(np.arange(27, 63), size=rng.integers(1, 4), replace=False):  # C3 to B5
            roll[start : start + rng.integers(2, 8), key] = rng.integers(12, 25) / 32
    return roll


def generate_from_random_seed(model, num_frames, temperature=1.0, *, random_seed=None):
    """Music from `generate_random_seed()`, `(64 + num_frames, 88)` float32 in [0, 1].

    Notebook: 05_generation_and_playback

    Args and Raises: as for `generate_music`.
    """
    seed = generate_random_seed(random_seed)
    return generate_music(model, seed, num_frames, temperature, random_seed=random_seed)
