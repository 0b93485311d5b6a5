"""Several processes that train one model together. `torchrun` starts them; a process that is alone needs none of this.

Every process has the whole model and reads its share of every batch; then the gradients are summed over all of them,
and all take the same step. So one process and eight train the same model, up to rounding (and dropout).
"""

import gc
import os
import sys
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist
import torch.nn.functional as F

from .. import config


def join(device=None):
    """Join the processes that `torchrun` started, if it started this one. Only the first of them goes on printing.

    Notebook: A3_scaling

    Args:
        device: `"cuda"`, `"mps"` or `"cpu"`; default the best there is. Each process takes a GPU of its own.

    Returns:
        `torch.device` of this process.

    Raises:
        ValueError: the device asked for is not there, or processes could not be started again.
    """
    device = config.pick_device(device)
    if not dist.is_available() or not dist.is_torchelastic_launched():
        return device
    if os.environ["TORCHELASTIC_MAX_RESTARTS"] != "0" and os.environ["TORCHELASTIC_USE_AGENT_STORE"] == "True":
        raise ValueError(  # github.com/pytorch/pytorch/issues/135712
            "--max-restarts needs TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment (and --standalone or "
            "--rdzv-backend c10d); else new processes are given the addresses of those that were lost"
        )
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    elif int(os.environ["WORLD_SIZE"]) > 1:  # gloo knows no MPS
        device = torch.device("cpu")
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    if rank() > 0:
        sys.stdout = open(os.devnull, "w")
    return device


def leave():
    """The end of what `join` began. After an error it is not called: others may be waiting, and torchrun ends them."""
    if dist.is_available() and dist.is_initialized():
        gc.collect()  # what still holds on to the group, or its threads outlive it and abort the process
        dist.barrier()
        dist.destroy_process_group()


def restarted():
    """Whether `torchrun --max-restarts` started processes anew because one was lost; each machine counts its own."""
    return total([int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))]).item() > 0


def rank():
    """Which of the processes this is, 0 for the first or only one: the one that prints and writes."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def processes():
    """How many train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def first_on_each_machine():
    """The first process of each machine goes through the block before the others, which then find what it made."""
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    if not first:
        total([0.0])
    yield
    if first:
        total([0.0])


def share(batch, parts=1):
    """This process's rows of a batch, in equal parts that are computed one after another.

    Where the rows do not divide evenly, rows of zeros fill up.

    Notebook: A3_scaling

    Args:
        batch: tensors with one row for each window, `(B, ...)`.
        parts: into how many.

    Returns:
        List of `parts` batches, each of `ceil(B / (processes * parts))` rows.
    """
    slots = processes() * parts
    rows = -(-len(batch[0]) // slots)
    full = [F.pad(x, (0, 0) * (x.ndim - 1) + (0, slots * rows - len(x))) for x in batch]
    mine = range(rank() * parts, (rank() + 1) * parts)
    return [[x[slot * rows : (slot + 1) * rows] for x in full] for slot in mine]


def total(numbers):
    """Sums over all processes, the same in each: of a list of numbers, or of a float64 tensor on the CPU."""
    sums = torch.as_tensor(numbers, dtype=torch.float64).clone()
    if processes() > 1:
        dist.all_reduce(sums)
    return sums


def gathered(values):
    """The lists of all processes, one after another, in each of them."""
    if processes() == 1:
        return values
    lists = [None] * processes()
    dist.all_gather_object(lists, values)
    return [value for some in lists for value in some]


def from_first(make):
    """What `make()` gives in the first process, in all of them: so only that one needs the file."""
    value = [make() if rank() == 0 else None]
    if processes() > 1:
        dist.broadcast_object_list(value)
    return value[0]


def averaging(module):
    """The module, whose backward then also averages the gradients over all processes (`DistributedDataParallel`)."""
    if processes() == 1:
        return module
    return torch.nn.parallel.DistributedDataParallel(module)


def averaging_now(module, now):
    """A context for forward and backward of one part of a batch: only that of the last one talks to the others."""
    return nullcontext() if now or processes() == 1 else module.no_sync()
