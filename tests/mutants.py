"""Break the package on purpose, one line at a time, and see which lesson or test notices.

    python tests/mutants.py               # all of them, some minutes each
    python tests/mutants.py temperature   # one

Each mutant is a copy of the repository in a temporary folder with one line changed. A mutant that nobody notices
stays green: then a test is missing, and the exit code is 1.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "build", "generated", "maestro-v3.0.0", "*.egg-info", ".*_cache")
MUTANTS = {  # name: file, what stands there, what takes its place
    "roll one frame late": (
        "data/piano_roll.py",
        "_nearest_edge(notes.start[order], fs)",
        "_nearest_edge(notes.start[order], fs) + 1",
    ),
    "sign of delta": ("models/mamba.py", "dt = F.softplus(self.dt_proj(dt))", "dt = -F.softplus(self.dt_proj(dt))"),
    "target not shifted": ("learn/dataset.py", "window[:, :-1], window[:, 1:]\n", "window[:, :-1], window[:, :-1]\n"),
    "temperature upside down": ("models/numpy_engine.py", "-logits / temperature", "-logits * temperature"),
    "splits leak": ("data/corpus.py", "if piece.split == name]", 'if piece.split in (name, "validation")]'),
}


def failures(folder, *arguments):
    """What fails in a run of pytest on a copy of the repository."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "MIDIGEN_FAST": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", *arguments]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if run.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", run.stdout, re.M)


def noticed_by(name):
    """Notebooks and tests that go red for a mutant: two lists of names."""
    file, old, new = MUTANTS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "midigen"
        shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
        path = folder / "midigen_utils" / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise RuntimeError(f"{file} has {text.count(old)} times, not once: {old}")
        path.write_text(text.replace(old, new), encoding="utf-8")
        shutil.rmtree(folder / "midi_data" / "cache", ignore_errors=True)  # rolls of the package that is whole
        lessons = sorted(str(lesson) for lesson in folder.glob("notebooks/0[1-5]_*.ipynb"))
        cells = failures(folder, "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "600", *lessons)
        tests = failures(folder, "--maxfail=3", "--ignore=tests/test_notebooks.py", "tests")
    notebooks = sorted({re.search(r"(\w+)\.ipynb", cell)[1] for cell in cells})
    return notebooks, [test.split("::")[-1] for test in tests]


def main(names):
    """Print who notices what; 1 if some mutant stays green."""
    green = []
    for name in names or MUTANTS:
        notebooks, tests = noticed_by(name)
        print(f"{name} ({MUTANTS[name][0]}: {MUTANTS[name][2]})")
        print(f"  notebooks: {', '.join(notebooks) or 'none'}")
        print(f"  tests (the first three at most): {', '.join(tests) or 'none'}", flush=True)
        if not notebooks and not tests:
            green.append(name)
    print(f"nobody noticed: {', '.join(green)}" if green else "every mutant was noticed")
    return 1 if green else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
