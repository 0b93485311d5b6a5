"""A corpus as piano rolls on disk: one array of velocity bins per split, memory-mapped."""

import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from . import config
from .config import MIDI_CONFIG, check_config
from .corpus import SPLITS
from .piano_roll import draw, midi_to_grid
from .workers import map_in_processes

FORMAT = 1  # raise it when the files below, or the meaning of a roll, change
MANY = 1500  # files; for fewer, one process is done before others have started


class RollSplit:
    """The piano rolls of one split: a list that lies on disk.

    `rolls[i]` is `(T, P)` float32 in [0, 1], read when asked for; `len(rolls)` pieces.

    Notebook: 02_piano_roll

    Attributes:
        frames: `(F, P)` uint8, memory-mapped: pieces end to end, 0 for silence, else the velocity bin.
        starts: `(N,)` int64, first row of each piece in `frames`.
        lengths: `(N,)` int64, rows of each piece.
        pieces: list of N `Piece`.
        velocity_bins: the bin of velocity 1.0.
    """

    def __init__(self, frames, starts, lengths, pieces, velocity_bins):
        self.frames = frames
        self.starts = np.asarray(starts, dtype=np.int64)
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.pieces = pieces
        self.velocity_bins = velocity_bins

    def __len__(self):
        return len(self.pieces)

    def __getitem__(self, i):
        if not -len(self) <= i < len(self):
            raise IndexError(f"piece {i} of a split of {len(self)} pieces")
        start = self.starts[i]
        return np.divide(self.frames[start : start + self.lengths[i]], self.velocity_bins, dtype=np.float32)

    def spread(self, count):
        """`count` pieces, evenly spread over the split, as a `RollSplit` of its own (no copy)."""
        chosen = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)
        pieces = [self.pieces[i] for i in chosen]
        return RollSplit(self.frames, self.starts[chosen], self.lengths[chosen], pieces, self.velocity_bins)


def load_piano_rolls(corpus, config=MIDI_CONFIG, sustain=True, limit=None, workers=None):
    """The piano rolls of a corpus by split: built once, then memory-mapped.

    The cache lies in `midi_data/cache/`. It is rebuilt when a file, the config or the
    format changed. It is written beside and then renamed: after a crash it is whole or
    absent. A file that cannot be read is left out and named in the corpus that comes back.

    Notebook: 02_piano_roll

    Args:
        corpus: `Corpus`.
        config: `MIDI_CONFIG` or a dict with its keys.
        sustain: whether the pedal lengthens notes.
        limit: take only so many pieces of train, evenly spread, and as large a part of the others; `None` for all.
        workers: processes to build with; default: all cores for large corpora, else one.

    Returns:
        `(rolls, corpus)`: a dict from `"train"`, `"validation"`, `"test"` to `RollSplit`,
        and the corpus without the files that could not be read (they are in `skipped`).

    Raises:
        ValueError: not one file of the corpus could be read.
        OSError: `midi_data` cannot be written, and what to do; a cache that is whole needs no writing.
    """
    check_config(config)
    folder = _cache_folder(corpus, config, sustain)
    keys = config["max_pitch"] - config["min_pitch"] + 1
    while (index := _read_index(folder, keys)) is None:
        _build(corpus, config, sustain, folder, workers)
    corpus = _without_skipped(corpus, index["skipped"])
    rolls = {}
    for split in SPLITS:
        shape = (sum(index["lengths"][split]), keys)
        empty = shape[0] == 0
        # "c": the file is never written, but torch may share the memory.
        frames = np.zeros(shape, np.uint8) if empty else np.memmap(folder / f"{split}.u8", np.uint8, "c", shape=shape)
        lengths = np.array(index["lengths"][split], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        rolls[split] = RollSplit(frames, starts, lengths, corpus.split(split), config["velocity_bins"])
    if limit is not None:
        if limit < 1:
            raise ValueError(f"limit is {limit}; use 1 piece or more, or None for all")
        share = limit / max(len(rolls["train"]), 1)
        rolls = {split: rolls[split].spread(max(1, round(share * len(rolls[split])))) for split in SPLITS}
    return rolls, corpus


def _cache_folder(corpus, midi_config, sustain):
    """A folder whose name changes with whatever the rolls are made from."""
    files = hashlib.sha256()
    for piece in corpus.pieces:
        stat = piece.path.stat()
        line = f"{piece.path.relative_to(corpus.folder).as_posix()}|{piece.split}|{stat.st_size}|{stat.st_mtime_ns}\n"
        files.update(line.encode("utf-8", "surrogateescape"))
    settings = json.dumps([FORMAT, sorted(midi_config.items()), sustain, corpus.all_instruments])
    how = hashlib.sha256(settings.encode()).hexdigest()[:8]
    where = hashlib.sha256(str(corpus.folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return config.MIDI_DATA / "cache" / f"{corpus.name}-{where}-{how}-{files.hexdigest()[:12]}"


def _read_index(folder, keys):
    """The index of a cache; `None` if there is no cache, or not the whole of it."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        sizes = {split: (folder / f"{split}.u8").stat().st_size for split in SPLITS}
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(index, dict) or index.get("sum") != _sum(index):
        return None
    return index if all(sizes[split] == keys * sum(index["lengths"][split]) for split in SPLITS) else None


def _sum(index):
    """A check sum of an index: a length that has changed would cut all pieces after it in wrong places."""
    return zlib.crc32(json.dumps([index.get("lengths"), index.get("skipped")]).encode())


def _build(corpus, midi_config, sustain, folder, workers):
    keys = midi_config["max_pitch"] - midi_config["min_pitch"] + 1
    if folder.exists() and _read_index(folder, keys) is None:  # read again: another process may have built it just now
        print(f"The cache {folder} is damaged: it is built again.")
    _remove_left_overs(folder.parent)
    with config.disk_errors_explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
        try:
            index = _write_rolls(corpus, midi_config, sustain, temporary, workers)
            index["sum"] = _sum(index)
            (temporary / "index.json").write_text(json.dumps(index), encoding="utf-8")
            _publish(temporary, folder, keys)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    for old in folder.parent.glob(glob.escape(folder.name[:-12]) + "*"):  # made from files that have changed since
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)


def _write_rolls(corpus, midi_config, sustain, folder, workers):
    jobs = [(piece.path, midi_config, sustain, corpus.all_instruments) for piece in corpus.pieces]
    if workers is None:
        workers = (os.cpu_count() or 1) if len(jobs) >= MANY else 1
    lengths, skipped = {split: [] for split in SPLITS}, []
    files = {split: open(folder / f"{split}.u8", "wb") for split in SPLITS}
    try:
        # The rolls are drawn here: sending a hundred times as many bytes would take longer than reading the file.
        grids = map_in_processes(_grid_or_reason, jobs, workers, chunksize=16)
        progress = tqdm(corpus.pieces, desc=f"piano rolls of {corpus.name}", unit="file")
        for piece, (grid, reason) in zip(progress, grids):
            if grid is None:
                skipped.append([piece.path.relative_to(corpus.folder).as_posix(), reason])
            else:
                files[piece.split].write(draw(grid, midi_config))
                lengths[piece.split].append(grid.T)
    finally:
        for file in files.values():
            file.close()
    if not any(lengths.values()):
        raise ValueError(f"no file of {corpus.name} could be read; the first: {skipped[0][1]}")
    return {"lengths": lengths, "skipped": skipped}


def _publish(temporary, folder, keys):
    """Rename the finished cache into place; another process may have done so with the same rolls."""
    if folder.exists() and _read_index(folder, keys) is None:
        shutil.rmtree(folder)
    try:
        os.rename(temporary, folder)
    except OSError:
        if _read_index(folder, keys) is None:
            raise


def _remove_left_overs(folder):
    """Remove what builds that were killed have left: a live one writes all the time."""
    for left_over in folder.glob(".building-*"):
        try:
            last_write = max(path.stat().st_mtime for path in [left_over, *left_over.iterdir()])
        except OSError:  # it was renamed or removed at this moment
            continue
        if abs(time.time() - last_write) > 3600:  # or from a time to come: somebody has set the clock back
            shutil.rmtree(left_over, ignore_errors=True)


def _grid_or_reason(job):
    path, midi_config, sustain, all_instruments = job
    try:
        return midi_to_grid(path, midi_config, sustain, all_instruments), None
    except (ValueError, OSError) as error:
        return None, str(error)


def _without_skipped(corpus, skipped):
    reasons = {corpus.folder / name: reason for name, reason in skipped}
    pieces = tuple(piece for piece in corpus.pieces if piece.path not in reasons)
    return replace(corpus, pieces=pieces, skipped=corpus.skipped + tuple(reasons.items()))
