"""Training, memory and generation of the models against peers, side by side, in one run.

    python benchmarks/models.py                  everything (about 15 minutes)
    python benchmarks/models.py --part generate  one part: train, scan or generate

Every candidate runs in a process of its own and computes one step when asked. So they take turns in random
order on the same machine in the same minutes, the peak memory of each is its own, and one can have another
allocator. Medians are over `--rounds`; the spread is the smallest and the largest. Trust the ratios, not the times.
"""

import argparse
import os
import platform
import random
import resource
import subprocess
import sys
import time
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn

from midigen_utils.models import (
    MusicLSTM,
    MusicMamba,
    generate_music,
    scan_loop,
    scan_textbook,
    selective_scan,
    ssd_scan,
)

TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "68719476736"}  # glibc keeps the memory it has
FRAMES = 256  # generated per call
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class MambaPy(nn.Module):
    """The same architecture made of mambapy's blocks."""

    def __init__(self):
        super().__init__()
        from mambapy.mamba import Mamba, MambaConfig

        self.embed = nn.Linear(88, 256)
        self.core = Mamba(MambaConfig(d_model=256, n_layers=4))
        self.output = nn.Linear(256, 88)

    def forward(self, x, hidden=None):
        return self.output(self.core(self.embed(x))), None

    def step(self, x, caches):
        y, caches = self.core.step(self.embed(x), caches)
        return self.output(y), caches

    def fresh(self, batch):
        return [(None, torch.zeros(batch, 512, 3)) for _ in range(4)]


def build(name):
    """The model a candidate's name starts with."""
    torch.manual_seed(0)
    if name.startswith("mambapy"):
        return MambaPy()
    heads = {"head": "chords", "velocity": 32} if name.endswith("both heads") else {}
    return MusicLSTM(**heads) if "LSTM" in name else MusicMamba(ssm="ssd" if "SSD" in name else "s6", **heads)


def training_step(name, batch, length):
    """Forward, loss, backward, AdamW; or, as a lower limit, only the matrix products of its linear layers."""
    model = build(name)
    if name.startswith("matmul-only"):
        weights = [layer.weight.detach() for layer in model.modules() if isinstance(layer, nn.Linear)]
        data = [(w, torch.randn(batch * length, w.shape[1]), torch.randn(batch * length, w.shape[0])) for w in weights]

        def products():
            for weight, x, y_grad in data:
                _ = x @ weight.T, y_grad @ weight, y_grad.T @ x

        return products
    x = (torch.rand(batch, length, 88) < 0.05).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step():
        loss = F.binary_cross_entropy_with_logits(model(x)[0], x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def scan_step(name, batch, length):
    """Forward and backward of the scan alone, D 512, N 16 (SSD: 8 heads of 64, N 64)."""
    torch.manual_seed(0)
    if name == "SSD":
        A, N, shape, dt_shape = -torch.rand(8) * 15 - 1, 64, (batch, length, 8, 64), (batch, length, 8)
        function = ssd_scan
    else:
        A, N, shape, dt_shape = -torch.arange(1.0, 17).repeat(512, 1).T, 16, (batch, length, 512), (batch, length, 512)
        function = {"slabs": selective_scan, "loop": scan_loop, "textbook": scan_textbook}.get(name)
    if name.startswith("mambapy"):
        from mambapy.mamba import MambaBlock, MambaConfig

        block, skip = MambaBlock(MambaConfig(d_model=256, n_layers=1)), torch.zeros(512)

        def function(x, dt, A, B, C):
            return block.selective_scan(x, dt, A.T, B, C, skip), None

    dt = F.softplus(torch.randn(dt_shape) - 3)
    B, C = torch.randn(2, batch, length, N)
    inputs = [tensor.clone().requires_grad_() for tensor in (torch.randn(shape), dt, A, B, C)]
    y_grad = torch.randn(shape)
    return lambda: torch.autograd.grad(function(*inputs)[0], inputs, y_grad)


def generation(name, batch, _):
    """`FRAMES` frames after a seed of 64, each sampled and fed back."""
    model = build(name).eval()
    seed = (torch.rand(batch, 64, 88) < 0.05).float()
    if name.startswith("Music"):
        roll = seed.numpy() if batch > 1 else seed[0].numpy()
        return lambda: generate_music(model, roll, FRAMES)

    @torch.inference_mode()
    def window():  # the last 64 frames again for every frame
        frames = seed
        for _ in range(FRAMES // 64):
            frame = torch.bernoulli(torch.sigmoid(model(frames)[0][:, -1:]))
            frames = torch.cat([frames[:, 1:], frame], dim=1)

    @torch.inference_mode()
    def step():
        frame, state = seed[:, 0], model.fresh(batch)
        for _ in range(FRAMES):
            logits, state = model.step(frame, state)
            frame = torch.bernoulli(torch.sigmoid(logits))

    @torch.inference_mode()
    def library():
        frame, state = seed[:, :1], None
        for _ in range(FRAMES):
            features, state = model.lstm(frame, state)
            frame = torch.bernoulli(torch.sigmoid(model.output(features)))

    return {"window": window, "step": step, "nn.LSTM": library}[name.split()[1]]


PARTS = {"train": training_step, "scan": scan_step, "generate": generation}


def worker(part, name, batch, length, threads, clock):
    """In the child process: compute a step for every line read; print seconds and peak MB above the start."""
    torch.set_num_threads(threads)
    if part == "generate":
        torch.set_grad_enabled(False)
    step = PARTS[part](name.removesuffix(" (tuned allocator)"), batch, length)
    unit = 1024 if sys.platform == "linux" else 1024**2  # ru_maxrss is in KB there, in bytes on a Mac
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in sys.stdin:
        start = CLOCKS[clock]()
        step()
        seconds = CLOCKS[clock]() - start
        print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit, flush=True)


def measure(part, names, batch, length, threads, clock, rounds):
    """`{name: (median s, smallest, largest, peak MB)}`; the candidates take turns, after one step to warm up."""
    children = {}
    for name in names:
        command = [sys.executable, __file__, "--worker", part, name, str(batch), str(length), str(threads), clock]
        environment = {**os.environ, **(TUNED if name.endswith("(tuned allocator)") else {})}
        environment["OMP_NUM_THREADS"] = str(threads)
        pipe = subprocess.PIPE
        children[name] = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
    seconds, peak = {name: [] for name in names}, {}
    shuffle = random.Random(0).sample
    for turn in range(rounds + 1):
        for name in shuffle(names, len(names)):
            children[name].stdin.write("go\n")
            children[name].stdin.flush()
            took, peak[name] = map(float, children[name].stdout.readline().split())
            if turn:
                seconds[name].append(took)
    for child in children.values():
        child.stdin.close()
        child.wait()
    return {name: (median(s), min(s), max(s), peak[name]) for name, s in seconds.items()}


def table(title, results, frames, peer, limits=None):
    """Print one markdown table; `frames` per call (a number, or one per name), speed as a ratio to `peer`."""
    count = frames if isinstance(frames, dict) else dict.fromkeys(results, frames)
    rate = {name: count[name] / seconds[0] for name, seconds in results.items()}
    print(f"\n{title}\n\n| candidate | ms (smallest to largest) | frames/s | x {peer} | of its products | peak MB |")
    print("|---|---|---|---|---|---|")
    for name, (mid, low, high, peak) in sorted(results.items(), key=lambda item: -rate[item[0]]):
        limit = (limits or {}).get(name)
        share = f"{rate[name] / rate[limit]:.0%}" if limit else ""
        print(
            f"| {name} | {mid * 1e3:.0f} ({low * 1e3:.0f} to {high * 1e3:.0f}) | {rate[name]:,.0f} "
            f"| {rate[name] / rate[peer]:.2f} | {share} | {peak:.0f} |",
            flush=True,
        )


def main():
    """Run the parts asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all three")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: for one thread on a busy machine")
    parser.add_argument("--worker", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        part, name, batch, length, threads, clock = options.worker
        return worker(part, name, int(batch), int(length), int(threads), clock)

    parts, run = options.part or list(PARTS), (options.threads, options.clock, options.rounds)
    print(
        f"torch {torch.__version__}, {platform.machine()}, {options.threads} thread(s), {options.clock} time, "
        f"medians of {options.rounds}"
    )
    if "train" in parts:
        limits = {"MusicMamba": "matmul-only", "MusicMamba SSD": "matmul-only SSD"}
        for batch, length in ((64, 64), (8, 1024), (1, 4096)):
            names = [*limits, "MusicLSTM", "mambapy", *limits.values()]
            if batch * length == 4096:  # with more frames it takes 11 GB
                names.append("mambapy (tuned allocator)")
            results = measure("train", names, batch, length, *run)
            table(f"Training step, B {batch}, L {length}", results, batch * length, "mambapy", limits)
    if "scan" in parts:
        for batch, length in ((64, 64), (1, 4096)):
            names = ["slabs", "loop", "SSD", "mambapy", "mambapy (tuned allocator)"]
            results = measure("scan", names, batch, length, *run)
            table(f"Scan alone, forward and backward, B {batch}, L {length}", results, batch * length, "mambapy")
    if "generate" in parts:
        for batch in (1, 16):
            ours = ["MusicMamba", "MusicMamba SSD", "MusicLSTM"]
            names = [*ours, *(f"{name}, both heads" for name in ours)]  # chords, and 32 bins of velocity
            names += ["mambapy step", "mambapy window", "LSTM nn.LSTM per frame", "LSTM window"]
            results = measure("generate", names, batch, 0, *run)
            frames = {name: batch * (FRAMES // 64 if "window" in name else FRAMES) for name in names}
            table(f"Generation with sampling, {batch} stream(s)", results, frames, "mambapy step")


if __name__ == "__main__":
    main()
