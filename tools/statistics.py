"""Write `midi_data/maestro_statistics.json` from the MAESTRO at hand: `python -m tools.statistics`."""

import argparse

from midigen_utils import files
from midigen_utils.data.corpus import SPLITS, load_maestro
from midigen_utils.data.descriptors import write_statistics
from tools import run


def main(arguments=None):
    """The command line."""
    argparse.ArgumentParser("python -m tools.statistics", description=__doc__.splitlines()[0]).parse_args(arguments)
    corpus = load_maestro()
    write_statistics({split: [piece.path for piece in corpus.split(split)] for split in SPLITS})
    print(files.MIDI_DATA / "maestro_statistics.json")


if __name__ == "__main__":
    run(main)
