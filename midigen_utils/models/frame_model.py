"""What every network of the course has in common: frames in, logits of the next frame out, and two optional heads."""

from contextlib import contextmanager

from torch import nn

from ..config import NUM_PITCHES
from .chords import ChordHead
from .velocity import VelocityHead


class FrameModel(nn.Module):
    """A network that reads a piano roll frame by frame and predicts the next frame.

    `MusicLSTM` and `MusicMamba` derive from it, and so can a network of your own:

        class MusicGRU(FrameModel):
            def __init__(self, num_pitches=88, width=256, head="keys", velocity=0):
                super().__init__(width, num_pitches=num_pitches, head=head, velocity=velocity, width=width)
                self.gru = nn.GRU(num_pitches, width, batch_first=True)

            def features(self, x, hidden=None):
                return self.gru(x, hidden)

    `fit`, `evaluate`, `generate_music`, `save_checkpoint` and `load_model(path, model_class=MusicGRU)` then treat yours
    as they treat ours. What it has to do:

    - Call `super().__init__` first, with the length of a feature vector, `num_pitches`, `head`, `velocity`, and by name
      every other argument of your `__init__`: together they are the `config` from which a checkpoint builds the model.
    - Leave the names `output`, `chords` and `velocity` to this class.
    - Define `features`. Its `hidden` is one tensor or a tuple of tensors `(layers, B, ...)`, as `nn.GRU` and `nn.LSTM`
      have it; or for each layer a tuple of tensors `(B, ...)`; or `None` for a network without memory.

    Notebook: 03_lstm_baseline

    Args:
        feature_size: D, length of a feature vector.
        num_pitches: keys P in a frame, default 88.
        head: `"keys"`, each key by itself (the default), or `"chords"`, whole frames by a `ChordHead`.
        velocity: bins of a `VelocityHead`, default 0 for none.
        config: the other arguments of the subclass, numbers or text.

    Attributes:
        config: all arguments as a plain dict; `type(model)(**model.config)` builds the same model.
        feature_size: D.
        output: linear layer from features to logits, `(..., D)` to `(..., P)`.
        chords: `ChordHead` or `None`.
        velocity: `VelocityHead` or `None`.

    Raises:
        ValueError: another head, or a number of bins below 0.
    """

    def __init__(self, feature_size, *, num_pitches=NUM_PITCHES, head="keys", velocity=0, **config):
        super().__init__()
        if head not in ("keys", "chords"):
            raise ValueError(f"head is {head!r}; use 'keys' or 'chords'")
        if velocity < 0:
            raise ValueError(f"velocity is {velocity}; use a number of bins, such as 32, or 0 for none")
        self.config = {"num_pitches": num_pitches, **config, "head": head, "velocity": velocity}
        self.feature_size = feature_size
        self.output = nn.Linear(feature_size, num_pitches)
        self.chords = ChordHead(feature_size, num_pitches) if head == "chords" else None
        self.velocity = VelocityHead(feature_size, velocity, num_pitches) if velocity else None

    def forward(self, x, hidden=None):
        """Logits of the next frame, for every frame.

        Args:
            x: frames, `(B, T, num_pitches)`, 1 where a key is down and 0 elsewhere.
            hidden: what an earlier call returned, to go on where it stopped; default a fresh start.

        Returns:
            logits: `(B, T, num_pitches)`; `logits[:, t]` are about frame t + 1. `sigmoid` makes probabilities.
            hidden: the state after the last frame.

        Raises:
            ValueError: `x` has another shape.
        """
        self.check(x)
        features, hidden = self.features(x, hidden)
        return self.output(features), hidden

    def features(self, x, hidden=None):
        """What the network knows after each frame; a subclass says how.

        Args:
            x, hidden: as for `forward`.

        Returns:
            features: `(B, T, feature_size)`, those at t made from frames up to t only.
            hidden: the state after the last frame.
        """
        raise NotImplementedError(f"{type(self).__name__} has no features(x, hidden): see the docstring of FrameModel")

    def check(self, x):
        """Refuse frames of another shape than `(B, T, num_pitches)`, with `ValueError`."""
        keys = self.config["num_pitches"]
        if x.ndim != 3 or x.shape[1] == 0 or x.shape[2] != keys:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (B, T, {keys}): batch, at least one frame, keys")

    def weights(self):
        """Copies of all weights as numpy arrays, for whatever runs the network without torch.

        Returns:
            weights: dict from the names of `state_dict()` to float32 arrays.
            config: `config` and `"model"`, the name of the class.
        """
        arrays = {name: weight.float().cpu().numpy().copy() for name, weight in self.state_dict().items()}
        return arrays, {**self.config, "model": type(self).__name__}


@contextmanager
def in_eval(model):
    """Switches dropout off inside the block, and restores training mode after it, even if it failed."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
