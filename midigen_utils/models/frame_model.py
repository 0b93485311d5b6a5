"""What every model of frames shares."""

from contextlib import contextmanager


@contextmanager
def in_eval(model):
    """A model without dropout; after the block, even if it failed or was interrupted, it trains on if it did before."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
