"""The training loop that the benchmarks share: as many steps as fit into a budget of processor time."""

import itertools
import math
import time
from contextlib import contextmanager

from torch import nn

from midigen_utils.config import GRAD_CLIP
from midigen_utils.learn.training import make_optimizer

WARM_UP = 100, 0.05  # the learning rate rises in so many steps, or in this part of the budget if that ends first


class Budget:
    """Minutes of a clock, of which pauses do not count.

    Args:
        minutes: of training.
        clock: seconds so far; default processor time, so that other work on the machine weighs less.
    """

    def __init__(self, minutes, clock=time.process_time):
        self.minutes, self.clock, self.begin = minutes, clock, clock()

    @property
    def seconds(self):
        """Seconds used so far."""
        return self.clock() - self.begin

    @property
    def part(self):
        """Part of the budget used so far, 0 to above 1."""
        return self.seconds / (60 * self.minutes)

    @contextmanager
    def paused(self):
        """The block is free of charge: an evaluation, say."""
        begin = self.clock()
        yield
        self.begin += self.clock() - begin


def train(model, next_loss, budget, learning_rate, weight_decay=0.1):
    """Train a model until its budget is used up: the learning rate rises, then falls to 0 along half a cosine.

    Args:
        model: `nn.Module`.
        next_loss: gives the loss of the next batch, a scalar tensor.
        budget: `Budget`.
        learning_rate: of AdamW at its highest.
        weight_decay: of the matrices, default 0.1.

    Yields:
        The optimiser after each step, so that the caller may look in; a number sent back scales the learning rate
        from then on.
    """
    with budget.paused():
        optimizer, steps, scale = make_optimizer(model, learning_rate, weight_decay), 0, 1.0
    while (part := budget.part) < 1 or steps == 0:
        rise, fall = max((steps + 1) / WARM_UP[0], part / WARM_UP[1]), (1 + math.cos(math.pi * min(part, 1))) / 2
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * scale * min(rise, fall)
        model.train()
        loss = next_loss()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        optimizer.step()
        steps += 1
        scale = (yield optimizer) or scale


def endless(batches):
    """The batches of epoch after epoch, from `Batches`."""
    for epoch in itertools.count():
        yield from batches.epoch(epoch)
