"""Frames that lie in several tensors, one for each file of the cache, read as if they were one."""

import torch

ON_DEVICE = 2**31  # bytes of frames that are copied to a GPU; of more than that, only the batches


def from_shards(shards, starts, take):
    """Rows of several shards as if they were one tensor.

    Args:
        shards: list of `(F, P)` tensors.
        starts: `(B,)` int64 tensor, numbers of frames, counted through all shards.
        take: `take(frames, starts)` gives `(B, T, P)` for one shard.

    Returns:
        `(B, T, P)`, in the order of `starts`.
    """
    if len(shards) == 1:
        return take(shards[0], starts)
    ends = torch.tensor([len(shard) for shard in shards]).cumsum(0)
    k, order = torch.searchsorted(ends, starts.contiguous(), right=True).sort()
    parts, first = [], 0
    for shard, count in zip(*(x.tolist() for x in k.unique_consecutive(return_counts=True))):
        begin = ends[shard] - len(shards[shard])
        parts.append(take(shards[shard], starts[order[first : first + count]] - begin))
        first += count
    taken = torch.cat(parts)
    return torch.empty_like(taken).index_copy_(0, order, taken)


def rows(frames, starts, T):
    """`(B, T, P)`: T frames from each start; after the last one it goes on for ever."""
    at = (starts[:, None] + torch.arange(T, device=starts.device)).flatten()
    # Frame by frame: of a view whose rows overlap, MPS would first make a copy, T times as large as all frames.
    return frames.index_select(0, at.clamp_(max=len(frames) - 1)).view(len(starts), T, -1)


def on_device(shards, device):
    """The shards as one tensor on a GPU, if they are no more than 2 GiB; else as they are, in the computer's memory."""
    size = sum(shard.numel() for shard in shards)
    if torch.device(device).type == "cpu" or size > ON_DEVICE:
        return shards
    return [torch.cat([shard.to(device) for shard in shards]) if len(shards) > 1 else shards[0].to(device)]


def transposed(window, semitones):
    """`(B, T, P)` moved up by `(B,)` semitones each; what leaves the keyboard is left out."""
    _, T, P = window.shape
    key = torch.arange(P, device=window.device) - semitones[:, None]  # (B, P): where each key comes from
    inside = (key >= 0) & (key < P)
    return window.gather(2, key.clamp(0, P - 1)[:, None].expand(-1, T, -1)).mul_(inside[:, None])
