"""Several processes that train one model together. `torchrun` starts them; a process that is alone needs none of this.

Every process has the whole model and reads its share of every batch; then the gradients are averaged over all of them,
and all take the same step. So one process and eight train the same model, up to rounding (and dropout).
"""

import gc
import os
import sys

import torch
import torch.distributed as dist
import torch.nn.functional as F

from .. import config


def init_process_group(device=None):
    """Join the processes that `torchrun` started, if it started this one. Only rank 0 goes on printing.

    Notebook: A3_scaling

    Args and Returns: as `pick_device`; each process takes a GPU of its own.

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


def destroy_process_group():
    """Undo `init_process_group`. Not to be called after an error: others may be waiting, and torchrun ends them."""
    if dist.is_available() and dist.is_initialized():
        gc.collect()  # frees what still refers to the group; else its threads outlive it and abort the process
        dist.barrier()
        dist.destroy_process_group()


def restarted():
    """Whether `torchrun --max-restarts` started processes anew because one was lost; each machine counts its own."""
    return all_reduce_sum([int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))]).item() > 0


def rank():
    """The number of this process, 0 for the first or only one: the one that prints and writes."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size():
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def split_batch(batch):
    """This process's rows of a batch of tensors `(B, ...)`: `ceil(B / world_size)` of each, zeros where there are none.

    Notebook: A3_scaling
    """
    rows = -(-len(batch[0]) // world_size())
    full = [F.pad(x, (0, 0) * (x.ndim - 1) + (0, world_size() * rows - len(x))) for x in batch]
    return [x[rank() * rows : (rank() + 1) * rows] for x in full]


def all_reduce_sum(numbers):
    """Sums over all processes, the same in each: of a list of numbers, or of a float64 tensor on the CPU."""
    sums = torch.as_tensor(numbers, dtype=torch.float64).clone()
    if world_size() > 1:
        dist.all_reduce(sums)
    return sums


def all_gather(value):
    """A list of the values of all processes, in order of rank, in each of them."""
    values = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(values, value)
    return values


def broadcast_from_first(make):
    """What `make()` returns in rank 0, in all processes: so only that one needs the file."""
    value = [make() if rank() == 0 else None]
    if world_size() > 1:
        dist.broadcast_object_list(value)
    return value[0]


def data_parallel(module):
    """The module, whose backward then also averages the gradients over all processes (`DistributedDataParallel`)."""
    return module if world_size() == 1 else torch.nn.parallel.DistributedDataParallel(module)
