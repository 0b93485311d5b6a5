"""The promises of the course: constants, signatures, parameter counts, what importing costs."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from mutants import MUTANTS

import midigen_utils
from midigen_utils import config

ROOT = Path(__file__).parent.parent


def test_constants_of_the_course():
    assert config.MIDI_CONFIG == {
        "min_pitch": 21,
        "max_pitch": 108,
        "fs": 16,
        "velocity_bins": 32,
        "max_duration": 60,
    }
    assert config.NUM_PITCHES == 88
    assert (config.SEQUENCE_LENGTH, config.STRIDE, config.BATCH_SIZE) == (64, 16, 64)
    assert (config.LEARNING_RATE, config.GRAD_CLIP, config.NUM_EPOCHS) == (1e-3, 1.0, 25)


@pytest.mark.parametrize(
    ("name", "positional", "defaults"),
    [
        ("midi_to_piano_roll", ["midi_path", "config"], {}),
        ("piano_roll_to_midi", ["piano_roll", "config", "output_path"], {"velocity_threshold": 0.3}),
        ("generate_music", ["model", "seed_sequence", "num_frames"], {"temperature": 1.0}),
        ("generate_random_seed", [], {}),
        ("generate_from_random_seed", ["model", "num_frames"], {"temperature": 1.0}),
        ("play_piano_roll", ["piano_roll", "config"], {"sample_rate": 22050}),
    ],
)
def test_signatures_that_must_work_exactly_like_this(name, positional, defaults):
    parameters = list(inspect.signature(getattr(midigen_utils, name)).parameters.values())
    required = [p.name for p in parameters if p.default is inspect.Parameter.empty]
    assert required == positional
    after = parameters[len(positional) : len(positional) + len(defaults)]
    assert {p.name: p.default for p in after} == defaults


@pytest.mark.parametrize(("name", "count"), [("MusicMamba", 1_797_720), ("MusicLSTM", 6_268_504)])
def test_models_have_the_promised_size_and_interface(name, count):
    model = getattr(midigen_utils, name)()
    assert sum(p.numel() for p in model.parameters()) == count
    parameters = inspect.signature(model.forward).parameters
    assert list(parameters) == ["x", "hidden"] and parameters["hidden"].default is None


def test_every_public_name_exists_and_is_documented():
    for name in midigen_utils.__all__:
        thing = getattr(midigen_utils, name)
        assert not inspect.ismodule(thing), name
        if callable(thing):
            assert inspect.getdoc(thing), name
    with pytest.raises(AttributeError, match="nonsense"):
        midigen_utils.nonsense  # noqa: B018


def test_the_names_of_the_readme_are_what_it_says():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    space = {}
    exec("from midigen_utils import *", space)
    for name in set(re.findall(r"\b([A-Za-z_]+)\(", "".join(blocks))):
        assert callable(space[name]) and not inspect.ismodule(space[name]), name


def test_the_public_names_are_those_that_notebooks_and_readers_use():
    assert len(midigen_utils.__all__) == len(set(midigen_utils.__all__)) == 60


@pytest.mark.parametrize("module", ["midigen_utils", "midigen_utils.data", "midigen_utils.show"])
def test_torch_begins_at_the_models(module):
    code = f"import sys, {module}; print(sorted(m for m in ('torch', 'music21') if m in sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert output.stdout.strip() == "[]"


def test_on_a_mac_what_metal_lacks_runs_on_the_cpu_for_it_is_said_before_torch_is_imported():
    code = (
        "import os, sys\n"
        "sys.platform = 'darwin'\n"
        "import midigen_utils\n"
        "print(os.environ['PYTORCH_ENABLE_MPS_FALLBACK'], 'torch' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert output.stdout.strip() == "1 False"


BASE = {"config", "files"}
MAY_IMPORT = {  # a folder, or a module at the top of the package: what it may import besides itself
    **{name: BASE for name in ("config", "files", "exercises_answers")},
    "exercises": {*BASE, "exercises_answers"},
    "data": BASE,
    "models": BASE,
    "learn": {*BASE, "data", "models"},
    "show": {*BASE, "data"},
    "apps": {*BASE, "data", "models", "learn", "show"},
    "doctor": {*BASE, "data", "show"},
    "__main__": {*BASE, "exercises", "data", "models", "learn", "show", "apps", "doctor"},
    "__init__": set(),
}


def imports_of(path):
    """The modules of the package that a file imports, anywhere in it: `{"data/midi", ...}`, a folder as `"data"`."""
    package, found = ROOT / "midigen_utils", set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.replace(".", "/") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = path.parents[node.level - 1].relative_to(ROOT).as_posix() if node.level else ""
            base = "/".join(part for part in (start, (node.module or "").replace(".", "/")) if part)
            for alias in node.names:
                inner = f"{base}/{alias.name}"
                there = (ROOT / inner).is_dir() or (ROOT / f"{inner}.py").is_file()
                found.add(inner if there else base)
    return {name.removeprefix("midigen_utils/") for name in found if name.startswith(package.name + "/")}


def test_every_module_imports_only_what_lies_below_it():
    """The direction of the house, and no circle of modules."""
    package, graph = ROOT / "midigen_utils", {}
    for path in package.rglob("*.py"):
        name = path.relative_to(package).with_suffix("").as_posix()
        room, imported = name.split("/")[0], imports_of(path)
        against = {other for other in imported if other.split("/")[0] not in {room, *MAY_IMPORT[room]}}
        assert not against, f"{name} imports {against}"
        graph[name] = {f"{other}/__init__" if (package / other).is_dir() else other for other in imported - {name}}
    assert {name.split("/")[0] for name in graph} <= set(MAY_IMPORT)
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_package_never_imports_the_tools():
    for path in (ROOT / "midigen_utils").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) tools\b", path.read_text(encoding="utf-8"), re.M), path


def test_no_module_is_too_long_to_read():
    for folder in ("midigen_utils", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, path


def test_conda_environment_says_what_pyproject_says():
    lines = (ROOT / "environment.yml").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = [line.strip().removeprefix("- ") for line in lines if line.strip().startswith("- ")]
    assert entries[0] == "conda-forge"
    assert f"python{project['requires-python']}" in entries
    assert any(entry.startswith("fluidsynth") for entry in entries)
    (pip_line,) = [entry for entry in entries if entry.startswith("-e ")]
    extras = re.fullmatch(r"-e \.\[(.*)\]", pip_line)[1].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    # Conda brings Python, pip and a system library; every Python package is named in pyproject alone.
    assert {re.split(r"[<>=; ]", e)[0] for e in entries} <= {"conda-forge", "python", "pip", "pip:", "fluidsynth", "-e"}


def test_dependencies_have_lower_bounds_only_and_the_constraints_meet_them():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert "midigen-utils[site]" in extras["test"], "the tests build the site"
    wanted = project["dependencies"] + extras["site"] + [other for other in extras["test"] if "[site]" not in other]
    pinned = dict(
        line.strip().lower().replace("-", "_").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    for requirement in wanted:
        name, bound = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()
        have = pinned[name.lower().replace("-", "_")]
        as_numbers = [[int(n) for n in re.findall(r"\d+", v)] for v in (bound, have)]
        assert as_numbers[0] <= as_numbers[1], requirement
    assert pinned["torch"] == "2.13.0"


def test_every_mutant_of_make_mutants_finds_its_line_once():
    for file, old, new in MUTANTS.values():
        assert (ROOT / "midigen_utils" / file).read_text(encoding="utf-8").count(old) == 1 and new != old
