"""The figure of benchmarks/polyphonic.py is the benchmark's own: every frame 2 .. T of every piece, no padding."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

scipy_io = pytest.importorskip("scipy.io", reason="the benchmark files are read with scipy")

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "polyphonic.py"
spec = importlib.util.spec_from_file_location("polyphonic", SCRIPT)
polyphonic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(polyphonic)


def literal(model, pieces):
    """One piece, one frame, one key at a time, from the very start for every frame; no batch, no padding, no state."""
    total, count = 0.0, 0
    told = torch.zeros(12)
    told[5] = 1  # moved by 0 semitones
    for piece in pieces:
        for t in range(1, len(piece)):
            x = torch.cat([piece[:t], told.expand(t, -1)], dim=1)
            features = model.core.features(x.unsqueeze(0))[0][0, -1]
            for key in range(88):
                known = torch.arange(88) < (key if model.chords else 0)  # independent keys know no other
                notes = torch.where(known, piece[t], 0.0)
                logit = model.head.look(model.head.context(features, piece[t - 1]), notes)[key]
                p = 1 / (1 + math.exp(-float(logit)))
                total -= math.log(p if piece[t, key] else 1 - p)
            count += 1
    return total / count


@pytest.mark.parametrize("head", ["keys", "chords"])
@pytest.mark.parametrize("name", ["lstm", "mamba"])
def test_a_literal_one_piece_at_a_time_evaluation_gives_the_same_figure(name, head):
    torch.manual_seed(3)
    model = polyphonic.Predictor(name, head, 32).eval()
    generator = torch.Generator().manual_seed(4)
    pieces = [(torch.rand(n, 88, generator=generator) < 0.05).float() for n in (2, 9, 1, 14, 5)]
    with torch.no_grad():
        assert polyphonic.evaluate(model, pieces, rows=3, chunk=4) == pytest.approx(literal(model, pieces), abs=5e-5)


def test_training_never_sees_the_test_part_and_keeps_the_best_validation(capsys):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    pieces = [(torch.rand(n, 88, generator=generator) < 0.05).float() for n in (20, 3, 200)]
    splits = {"train": pieces, "validation": pieces[:1]}  # asking for "test" is a KeyError
    model, best, effort = polyphonic.train(polyphonic.Predictor("lstm", "chords", 32), splits, 0.05, 0, sys.stderr)
    printed = [float(line.split()[5]) for line in capsys.readouterr().err.splitlines()]
    assert best == pytest.approx(min(printed), abs=1e-4)
    assert polyphonic.evaluate(model, splits["validation"]) == pytest.approx(best, abs=1e-5)
    assert effort["steps"] > 0


def test_windows_are_moved_only_where_all_notes_stay_on_the_keyboard():
    piece = torch.zeros(300, 88)
    piece[::3, 2], piece[1::3, 85] = 1, 1  # room for -2 to 2
    generator, seen = torch.Generator().manual_seed(0), set()
    for _ in range(20):
        frames, real, shift = polyphonic.draw([piece], torch.ones(1), 128, generator)
        for window, index in zip(frames, shift):
            moved = polyphonic.SHIFTS[int(index)]
            seen.add(moved)
            assert window.any(0).nonzero().flatten().tolist() == [2 + moved, 85 + moved]
    assert seen == {-2, -1, 0, 1, 2}
    assert real.all() and frames.shape == (5, 129, 88)


def test_the_size_is_the_widest_within_the_limit():
    assert polyphonic.count(polyphonic.build("lstm", "chords", 3e5)) <= 3e5
    with pytest.raises(ValueError, match="parameters"):
        polyphonic.build("mamba", "keys", 10)


def test_the_command_prints_one_json_line_with_what_was_asked(tmp_path):
    rng = np.random.default_rng(0)
    data = {}
    for name, count in (("traindata", 4), ("validdata", 2), ("testdata", 2)):
        data[name] = np.empty((1, count), dtype=object)
        for i in range(count):
            data[name][0, i] = (rng.random((30 + i, 88)) < 0.05).astype(np.uint8)
    scipy_io.savemat(tmp_path / "Toy.mat", data)
    command = [sys.executable, str(SCRIPT), "--data", str(tmp_path / "Toy.mat"), "--model", "lstm", "--head", "chords"]
    command += ["--minutes", "0.02", "--seed", "1", "--params", "4e5", "--threads", "1"]
    run = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=True)
    result = json.loads(run.stdout)
    assert result["data"] == "Toy" and result["seed"] == 1 and result["parameters"] <= 4e5
    assert 0 < result["test_nll"] < 88 * math.log(2) * 2 and result["command"].endswith("--threads 1")
    command[3] = str(tmp_path / "missing.mat")
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode != 0 and "missing.mat" in run.stderr and "Traceback" not in run.stderr


def test_two_runs_from_one_seed_draw_the_same_windows():
    pieces = [torch.ones(200, 88), torch.ones(150, 88)]
    weights = torch.tensor([200.0, 150.0])
    first, again = (polyphonic.draw(pieces, weights, 64, torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again))
