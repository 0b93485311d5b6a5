"""A corpus as piano rolls on disk: one memory-mapped array of velocity bins per split."""

import hashlib
import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib import format as npy
from tqdm.auto import tqdm

from .. import files
from ..config import MIDI_CONFIG, check_config, count_keys
from .corpus import SPLITS
from .piano_roll import midi_to_bins

FORMAT = 5  # raise it when the files below, or the meaning of a roll, change


@dataclass(repr=False, eq=False)
class RollSplit:
    """The piano rolls of one split: a list that lies on disk.

    `rolls[i]` is `(T, P)` float32 in [0, 1], read when asked for, `rolls[a:b]` a `RollSplit`; `len(rolls)` pieces.
    """

    frames: np.ndarray  #: (F, P) uint8, memory-mapped: pieces end to end, 0 for silence, else the velocity bin
    starts: np.ndarray  #: (N,) int64, first row of each piece
    lengths: np.ndarray  #: (N,) int64, rows of each piece
    pieces: list  #: of N `Piece`
    velocity_bins: int  #: the bin of velocity 1.0

    def __len__(self):
        return len(self.pieces)

    def __getitem__(self, i):
        if not isinstance(i, (slice, np.ndarray)):
            return np.divide(self.bins(i), self.velocity_bins, dtype=np.float32)
        pieces = [self.pieces[k] for k in np.arange(len(self))[i]]
        return RollSplit(self.frames, self.starts[i], self.lengths[i], pieces, self.velocity_bins)

    def bins(self, i):
        """Piece `i` as it lies on disk, `(T, P)` uint8 velocity bins: nothing is copied."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"piece {i} of a split of {len(self)} pieces")
        return self.frames[self.starts[i] : self.starts[i] + self.lengths[i]]

    def spread(self, count):
        """`count` pieces, evenly spread over the split, as a `RollSplit` of its own (no copy)."""
        return self[np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)]


def load_piano_rolls(corpus, config=MIDI_CONFIG, sustain=True, limit=None):
    """The piano rolls of a corpus by split: built once, then memory-mapped.

    They lie in a folder of `midi_data/cache/`. When files changed, those of the same names, config and format are
    built anew and the old ones removed. While one process builds, others that want the same wait for it.

    Notebook: 02_piano_roll

    Args:
        corpus: `Corpus`.
        config: `MIDI_CONFIG` or a dict with its keys.
        sustain: whether the pedal lengthens notes.
        limit: take only so many pieces of train, evenly spread, and as large a part of the others; `None` for all.

    Returns:
        `(rolls, corpus)`: a dict from `"train"`, `"validation"`, `"test"` to `RollSplit`,
        and the corpus without the files that could not be read (they are in `skipped`).

    Raises:
        TypeError: `corpus` is a name or a folder; `load_corpus` makes a `Corpus` of it.
        ValueError: the corpus has no piece, or not one that could be read.
        OSError: `midi_data` cannot be written, and what to do; rolls that are there need no writing.
    """
    check_config(config)
    if isinstance(corpus, (str, os.PathLike)):
        raise TypeError(f"{str(corpus)!r} is no Corpus: take load_corpus({str(corpus)!r}) first")
    if not corpus.pieces:
        raise ValueError(f"the corpus {corpus.name} has no piece")
    if limit is not None and limit < 1:
        raise ValueError(f"limit (--limit) is {limit}; use 1 piece or more, or leave it out for all")
    which, state = _keys(corpus, config, sustain)
    family = files.MIDI_DATA / "cache" / f"{corpus.name}-{which}"
    folder = family.with_name(f"{family.name}-{state}")
    opened = _open(folder, corpus, config)
    if opened is None:
        with files.one_process(family):
            opened = _open(folder, corpus, config)  # another process may have built them just now
            if opened is None:
                _build(folder, corpus, config, sustain)
                for old in folder.parent.glob(f"*{which}-*"):  # of files that changed, or left by a killed build
                    if old != folder:
                        shutil.rmtree(old, ignore_errors=True)
                opened = _open(folder, corpus, config)
    rolls, corpus = opened
    if limit is not None:
        share = limit / max(len(rolls["train"]), 1)
        rolls = {split: rolls[split].spread(max(1, round(share * len(rolls[split])))) for split in SPLITS}
    return rolls, corpus


def _keys(corpus, config, sustain):
    """Two hashes: of which files make which rolls, and of the state and split of each file."""
    names = [os.path.relpath(piece.path, corpus.folder) for piece in corpus.pieces]
    which = [FORMAT, str(corpus.folder.resolve()), names, sorted(config.items()), sustain, corpus.all_instruments]
    state = [(piece.split, *_stamp(piece.path)) for piece in corpus.pieces]
    texts = (json.dumps(what, default=lambda number: number.item()) for what in (which, state))
    return [hashlib.sha256(text.encode()).hexdigest()[:12] for text in texts]


def _stamp(path):
    try:
        with open(path, "rb") as file:  # one that cannot be opened today has another stamp when it can
            stat = os.fstat(file.fileno())
        return stat.st_size, stat.st_mtime_ns
    except OSError as error:
        return -1, error.errno


def _open(folder, corpus, config):
    """`(rolls, corpus)` of `load_piano_rolls`; `None` if they are not there or not whole."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        # Read only: of a map that may be written, Linux refuses more than there is memory.
        frames = {split: np.load(folder / f"{split}.npy", mmap_mode="r", allow_pickle=False) for split in SPLITS}
        lengths = {split: np.array(index["lengths"][split], dtype=np.int64) for split in SPLITS}
        reasons = {corpus.pieces[i].path: reason for i, reason in index["skipped"]}
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return None
    pieces = tuple(piece for piece in corpus.pieces if piece.path not in reasons)
    corpus, rolls = replace(corpus, pieces=pieces, skipped=corpus.skipped + tuple(reasons.items())), {}
    for split, rows in lengths.items():
        pieces, shape = corpus.split(split), (rows.sum(), count_keys(config))
        if rows.shape != (len(pieces),) or rows.min(initial=1) < 1 or frames[split].shape != shape:
            return None
        rolls[split] = RollSplit(frames[split], np.cumsum(rows) - rows, rows, pieces, config["velocity_bins"])
    return rolls, corpus


def _build(folder, corpus, config, sustain):
    """Write the rolls of a corpus, a piece at a time: memory stays flat, however large the corpus is."""
    lengths, skipped = {split: [] for split in SPLITS}, []
    with files.atomic_folder(folder) as temporary, ExitStack() as stack:
        arrays = {split: stack.enter_context(open(temporary / f"{split}.npy", "wb")) for split in SPLITS}
        for split in SPLITS:
            _write_header(arrays[split], 0, config)  # its place; the rows are known at the end
        for i, piece in enumerate(tqdm(corpus.pieces, desc=f"piano rolls of {corpus.name}", unit="file")):
            try:
                roll = midi_to_bins(piece.path, config, sustain, corpus.all_instruments)
            except (ValueError, OSError) as error:
                skipped.append((i, str(error)))
                continue
            arrays[piece.split].write(roll)
            lengths[piece.split].append(len(roll))
        if len(skipped) == len(corpus.pieces):
            raise ValueError(f"no file of {corpus.name} could be read; the first: {skipped[0][1]}")
        for split in SPLITS:
            arrays[split].seek(0)
            _write_header(arrays[split], sum(lengths[split]), config)
        index = json.dumps({"lengths": lengths, "skipped": skipped})
        (temporary / "index.json").write_text(index, encoding="utf-8")


def _write_header(file, rows, config):
    """The beginning of a `.npy` file; numpy leaves room in it for any number of rows."""
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (rows, count_keys(config))})
