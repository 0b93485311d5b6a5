"""Train every version of the course's composer, and write the states that the notebooks start from.

    python -m tools.composer                    all versions, three seeds each: about half an hour
    python -m tools.composer --version 04 05    these only; the rows of the others stay

Writes `midigen_utils/pretrained/composer/NN.pt` (the first seed, half precision) and `composer.json` (all figures).
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from midigen_utils.config import seed_everything
from midigen_utils.data import load_corpus, load_piano_rolls
from midigen_utils.files import atomic_write
from midigen_utils.learn import evaluate, export_model, make_optimizer, save_checkpoint
from midigen_utils.learn.composer import FOLDER, SECONDS, composer_table, train_composer
from midigen_utils.models import LastFrame, MusicLSTM, MusicMamba

SEEDS = (0, 1, 2)

#: Each version: its name, what it changes, how to make the network, and the settings of its training. The learning
#: rates are the best of 5e-3, 1e-2 and 2e-2 on validation, for each network apart.
VERSIONS = [
    ("00", "the last frame, 88 keys", LastFrame, {"learning_rate": 2e-2}),
    ("02", "00, transposed", LastFrame, {"learning_rate": 2e-2, "transpose": 5}),
    ("03 memory", "00 with a memory: LSTM", lambda: MusicLSTM(88, 192, 1), {"learning_rate": 2e-2}),
    ("03", "and with whole chords", lambda: MusicLSTM(88, 192, 1, head="chords"), {"learning_rate": 2e-2}),
    ("04", "03 with Mamba for LSTM", lambda: MusicMamba(88, 96, 3, ssm="ssd", head="chords"), {"learning_rate": 1e-2}),
    (
        "05",
        "03, loudness, six times as long, transposed",
        lambda: MusicLSTM(88, 192, 1, head="chords", velocity=32),
        {"learning_rate": 2e-2, "transpose": 5, "seconds": 6 * SECONDS},
    ),
]


def new_composer(version, seed=0):
    """The untrained network of a version, such as `"03"`, and the settings of its training, for `train_composer`."""
    make, settings = next((make, settings) for name, _, make, settings in VERSIONS if name == version)
    seed_everything(seed)
    return make(), settings


def main():
    """Train what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [version[0] for version in VERSIONS]
    parser.add_argument("--version", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    rolls, _ = load_piano_rolls(load_corpus("bach"))
    for version, change, _, settings in VERSIONS:
        if version not in options.version:
            continue
        nats = []
        for seed in SEEDS:
            model = train_composer(new_composer(version, seed)[0], rolls, **settings, seed=seed)
            nats.append(round(evaluate(model, rolls["validation"])["nll"], 4))
            print(f"{version}: seed {seed}, {nats[-1]:.3f} nats per frame", flush=True)
            if seed == SEEDS[0]:
                _export(model, FOLDER / f"{version.replace(' ', '-')}.pt", nats[0], settings)
        row = {"version": version, "change": change, "parameters": sum(p.numel() for p in model.parameters())}
        _keep(row | {"seconds": settings.get("seconds", SECONDS), "nats": nats})


def _export(model, path, nats, settings):
    with TemporaryDirectory() as folder:
        whole = Path(folder) / "model.pt"
        save_checkpoint(whole, model, make_optimizer(model), 0, nats, corpus="bach", settings=settings)
        export_model(whole, path)


def _keep(row):
    """Put a row in the place of the version's old one."""
    path = FOLDER / "composer.json"
    rows = {old["version"]: old for old in composer_table()} if path.exists() else {}
    rows[row["version"]] = row
    ordered = [rows[version[0]] for version in VERSIONS if version[0] in rows]
    with atomic_write(path) as temporary:
        temporary.write_text("[\n" + ",\n".join(map(json.dumps, ordered)) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
