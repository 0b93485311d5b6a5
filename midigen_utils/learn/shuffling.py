"""A random order of numbers, and random draws for them, that can be asked for anywhere, in little memory."""

import torch

LISTED = 2**22  # so many numbers are shuffled as a list, which takes 32 MB
ROUNDS = 8


def order(count, generator):
    """A random order of `range(count)`, each number once.

    Up to 4 million numbers it is a list (`torch.randperm`): simple, and every order is possible. For a corpus of a
    million pieces, that is tens of millions of windows, the list would be half a gigabyte, and written anew for each
    epoch. So there the order is computed where it is asked for (`scrambled`), from a few keys, in no memory at all.

    Args:
        count: int, 1 or more.
        generator: `torch.Generator`, from which all chance comes.

    Returns:
        A function from places in the order, `(n,)` int64 tensor, to the numbers there.
    """
    if count <= LISTED:
        return torch.randperm(count, generator=generator).__getitem__
    keys = torch.randint(2**62, (ROUNDS,), generator=generator).tolist()
    return lambda places: scrambled(places, count, keys)


def draws(count, highest, generator):
    """Whole numbers from `-highest` to `highest`, drawn evenly, one for each of `count` places; as in `order`."""
    if count <= LISTED:
        return torch.randint(-highest, highest + 1, (count,), generator=generator).__getitem__
    key = torch.randint(2**62, (1,), generator=generator).item()
    return lambda places: _mixed(places, key) % (2 * highest + 1) - highest


def scrambled(places, count, keys):
    """A bijection of `range(count)` that looks like chance: a Feistel network with cycle walking.

    A number is cut into a left and a right half of bits. In each round the halves change places, and to one of them
    the other one, mixed with a key, is added by exclusive or: that can be undone, whatever the mixing does, so no two
    numbers meet. What falls outside `range(count)` goes through it again until it falls inside.

    Source: Luby & Rackoff, SIAM Journal on Computing 17(2), 1988; Black & Rogaway, CT-RSA 2002 (cycle walking);
    Mitchell et al., arXiv 2106.06161 (for shuffling).

    Args:
        places: `(n,)` int64 tensor of numbers from 0 to `count` - 1.
        count: int, 1 to 2**60.
        keys: ints, one for each round.

    Returns:
        `(n,)` int64 tensor.
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    ones = 2**half - 1
    left, right = places >> half, places & ones
    for key in keys:
        left, right = right, left ^ (_mixed(right, key) & ones)
    numbers = left << half | right
    outside = numbers >= count
    if outside.any():
        numbers[outside] = scrambled(numbers[outside], count, keys)
    return numbers


def _mixed(x, key):
    """31 bits that depend on all bits of `x` and `key`; the constants are splitmix64's, as signed numbers."""
    x = (x ^ key) * -7046029254386353131
    x = (x ^ (x >> 30)) * -4658895280553007687
    return (x ^ (x >> 31)) >> 32 & 0x7FFFFFFF
