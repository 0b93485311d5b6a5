"""What a model says on top of what it knows: its heads."""

from .chords import ChordHead
from .velocity import VelocityHead

HEADS = ("keys", "chords")


def use_head(model, head=None, velocity=0):
    """Give a model the heads that are asked for, where it has others.

    Args:
        model: `MusicMamba`, `MusicLSTM`, or any module with `feature_size` and a dict `config`.
        head: `"keys"` (88 independent keys: the model's own logits), `"chords"` (a new `ChordHead` as
            `model.chords`), or `None` to leave it as it is.
        velocity: bins of a new `VelocityHead` as `model.velocity`; 0 leaves it as it is.

    Returns:
        `"keys"` or `"chords"`: what the model has now.

    Raises:
        ValueError: another name, or a number of bins that is not 0 or above.
    """
    if head not in (*HEADS, None):
        raise ValueError(f"head is {head!r}; use {' or '.join(map(repr, HEADS))}")
    if velocity < 0:
        raise ValueError(f"velocity is {velocity}; use a number of bins, such as 32, or 0 for none")
    now = "keys" if getattr(model, "chords", None) is None else "chords"
    if head not in (None, now):
        chords = ChordHead(model.feature_size, model.config["num_pitches"]) if head == "chords" else None
        model.chords = chords and chords.to(next(model.parameters()).device)
        model.config["head"] = now = head
    if velocity:
        head = VelocityHead(model.feature_size, velocity, model.config["num_pitches"])
        model.velocity = head.to(next(model.parameters()).device)
        model.config["velocity"] = velocity
    return now
