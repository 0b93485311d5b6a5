"""LastFrame: a network without memory. What the others do better is what memory is worth."""

from torch import nn

from .frame_model import FrameModel


class LastFrame(FrameModel):
    """Predicts the next frame of a piano roll from the last one alone.

    Unlike Markov-1, which looks at each key by itself, it sees all keys of that frame.

    Notebook: 00_start_here

    Args:
        width: numbers in each of the two layers between the frame and the features, default 256.
        num_pitches, head, velocity: as `FrameModel`.
    """

    def __init__(self, width=256, *, num_pitches=88, head="keys", velocity=0):
        super().__init__(width, num_pitches=num_pitches, head=head, velocity=velocity, width=width)
        self.layers = nn.Sequential(nn.Linear(num_pitches, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def features(self, x, hidden=None):
        """`x` `(B, T, P)` to features `(B, T, width)`, and `None`: there is no state to hand on."""
        return self.layers(x), None
