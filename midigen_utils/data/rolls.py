"""A corpus as piano rolls on disk: arrays of velocity bins, memory-mapped, in shards of many pieces each."""

import glob
import hashlib
import json
import os
import shutil
import time
import zlib
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import chain, count

import numpy as np
from tqdm.auto import tqdm

from .. import files
from ..config import MIDI_CONFIG, check_config
from ..faults import alone
from ..files import atomic_write
from .corpus import SPLITS
from .piano_roll import draw, midi_to_grid
from .workers import MANY, map_in_processes

FORMAT = 3  # raise it when the files below, or the meaning of a roll, change
WEEK = 7 * 24 * 3600  # seconds
SHARD = 2**15  # files of the corpus that make one shard: a minute's work, and few enough to map all shards at once


class RollSplit:
    """The piano rolls of one split: a list that lies on disk.

    `rolls[i]` is `(T, P)` float32 in [0, 1], read when asked for, `rolls[a:b]` a `RollSplit`; `len(rolls)` pieces.

    Attributes:
        shards: list of `(F, P)` uint8, memory-mapped: pieces end to end, 0 for silence, else the velocity bin. A small
            corpus has one. No piece lies in two.
        starts: `(N,)` int64, first row of each piece; the rows of all shards are numbered through.
        lengths: `(N,)` int64, rows of each piece.
        pieces: list of N `Piece`.
        velocity_bins: the bin of velocity 1.0.
    """

    def __init__(self, shards, starts, lengths, pieces, velocity_bins):
        self.shards = shards
        self.starts = np.asarray(starts, dtype=np.int64)
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.pieces = pieces
        self.velocity_bins = velocity_bins
        self._ends = np.cumsum([len(shard) for shard in shards])

    def __len__(self):
        return len(self.pieces)

    def __getitem__(self, i):
        if not isinstance(i, (slice, np.ndarray)):
            return np.divide(self.bins(i), self.velocity_bins, dtype=np.float32)
        starts, lengths, pieces = self.starts[i], self.lengths[i], [self.pieces[k] for k in np.arange(len(self))[i]]
        return RollSplit(self.shards, starts, lengths, pieces, self.velocity_bins)

    def bins(self, i):
        """Piece `i` as it lies on disk, `(T, P)` uint8 velocity bins: nothing is copied."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"piece {i} of a split of {len(self)} pieces")
        k = np.searchsorted(self._ends[:-1], self.starts[i], side="right")
        start = self.starts[i] - (self._ends[k - 1] if k else 0)
        return self.shards[k][start : start + self.lengths[i]]

    @property
    def frames(self):
        """All rows, `(F, P)`, if they lie in one shard."""
        if len(self.shards) > 1:
            raise ValueError(
                f"these rolls lie in {len(self.shards)} shards, which together may not fit into memory; "
                "take them piece by piece, rolls.bins(i), or shard by shard, rolls.shards"
            )
        return self.shards[0]

    def spread(self, count):
        """`count` pieces, evenly spread over the split, as a `RollSplit` of its own (no copy)."""
        return self[np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)]


def load_piano_rolls(corpus, config=MIDI_CONFIG, sustain=True, limit=None, workers=None):
    """The piano rolls of a corpus by split: built once, then memory-mapped.

    The cache lies in `midi_data/cache/`. It is rebuilt when a file, the config or the format changed; that of other
    pieces of the same folder is kept for a week after its last use. It is written beside and then renamed: after a
    crash it is whole or absent. A large corpus is cut into shards of 32,768 files, and a build that was interrupted
    goes on after the last whole one. While one process builds, others that want the same wait for it. A file that
    cannot be read is left out and named in the corpus that comes back; if that was the system's fault (a network
    drive, a permission) it is tried again at the next call.

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
        TypeError: `corpus` is a name or a folder; `load_corpus` makes a `Corpus` of it.
        ValueError: the corpus has no piece, or not one that could be read.
        OSError: `midi_data` cannot be written, and what to do; a cache that is whole needs no writing.
    """
    check_config(config)
    if isinstance(corpus, (str, os.PathLike)):
        raise TypeError(f"{str(corpus)!r} is no Corpus: take load_corpus({str(corpus)!r}) first")
    if not corpus.pieces:
        raise ValueError(f"the corpus {corpus.name} has no piece")
    folder = _cache_folder(corpus, config, sustain)
    keys = config["max_pitch"] - config["min_pitch"] + 1
    index = _read_index(folder, keys)
    if index and _taken_back(corpus, folder, keys, index["skipped"]):
        index = None
    while index is None:
        _build(corpus, config, sustain, folder, workers)
        index = _read_index(folder, keys)
    with suppress(OSError):
        os.utime(folder / "index.json")  # it is in use
    corpus = _without_skipped(corpus, index["skipped"])
    rolls = {}
    for split in SPLITS:
        # "c": the files are never written, but torch may share the memory.
        shards = [np.memmap(path, np.uint8, "c", shape=(rows, keys)) for path, rows in _shards(index, folder, split)]
        lengths = np.array(index["lengths"][split], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        shards = shards or [np.zeros((0, keys), np.uint8)]
        rolls[split] = RollSplit(shards, starts, lengths, corpus.split(split), config["velocity_bins"])
    if limit is not None:
        if limit < 1:
            raise ValueError(f"limit (--limit) is {limit}; use 1 piece or more, or leave it out for all")
        share = limit / max(len(rolls["train"]), 1)
        rolls = {split: rolls[split].spread(max(1, round(share * len(rolls[split])))) for split in SPLITS}
    return rolls, corpus


def _cache_folder(corpus, midi_config, sustain):
    """A folder whose name changes with whatever the rolls are made from."""
    names, listed, inside = hashlib.sha256(), hashlib.sha256(), len(str(corpus.folder / "x")) - 1
    for piece in corpus.pieces:
        stat, name = os.stat(piece.path), str(piece.path)[inside:].encode("utf-8", "surrogateescape")
        names.update(name + b"\n")
        listed.update(name + f"|{piece.split}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
    settings = [FORMAT, SHARD, sorted(midi_config.items()), sustain, corpus.all_instruments]
    settings = json.dumps(settings, default=lambda number: number.item())
    how = hashlib.sha256(settings.encode()).hexdigest()[:8]
    where = hashlib.sha256(str(corpus.folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return files.MIDI_DATA / "cache" / f"{corpus.name}-{where}-{how}-{names.hexdigest()[:8]}-{listed.hexdigest()[:12]}"


def _shards(index, folder, split):
    """`(path, rows)` of each shard of a split; `index` may be that of all shards or of one."""
    first = 0
    for number, pieces, _ in index["shards"][split]:
        yield folder / f"{split}-{number:05}.u8", sum(index["lengths"][split][first : first + pieces])
        first += pieces


def _read_index(folder, keys, name="index.json"):
    """The index of a cache, or of one of its shards; `None` if it is not there, or not the whole of what it names."""
    try:
        index = json.loads((folder / name).read_text(encoding="utf-8"))
        if not isinstance(index, dict) or index.get("sum") != _sum(index):
            return None
        sizes = [(path.stat().st_size, rows) for split in SPLITS for path, rows in _shards(index, folder, split)]
    except (OSError, ValueError, RecursionError):
        return None
    return index if all(size == keys * rows for size, rows in sizes) else None


def _sum(index):
    """A check sum of an index: a length that has changed would cut all pieces after it in wrong places."""
    return zlib.crc32(json.dumps([index.get(name) for name in ("lengths", "skipped", "shards")]).encode())


def _taken_back(corpus, folder, keys, skipped):
    """Whether a file that the system could not read, and now can, had its shards taken back, to be built again."""
    failed = {name for name, _, lasting in skipped if not lasting}
    back = 0
    for name in failed:
        with suppress(OSError):
            back += len((corpus.folder / name).read_bytes())
    if not back:
        return False
    try:
        with alone(folder.with_name(f".lock-{folder.name}")):
            index = _read_index(folder, keys)
            if index and index["skipped"] == skipped:
                for path in folder.glob("[0-9]*.json"):
                    shard = _read_index(folder, keys, path.name)
                    if shard is None or failed.intersection(name for name, *_ in shard["skipped"]):
                        path.unlink()
                os.rename(folder, folder.with_name(f".building-{folder.name}"))
    except OSError as error:  # another process is about it; or nothing can be written here, and all stays as it is
        return isinstance(error, BlockingIOError)
    return True


def _build(corpus, midi_config, sustain, folder, workers):
    """Build a cache, or wait until another process has built it."""
    keys = midi_config["max_pitch"] - midi_config["min_pitch"] + 1
    building = folder.with_name(f".building-{folder.name}")
    with files.disk_errors_explained(folder):
        for attempt in count():
            try:
                with alone(folder.with_name(f".lock-{folder.name}")):
                    if _read_index(folder, keys) is None:  # read again: another process may have built it just now
                        _build_alone(corpus, midi_config, sustain, folder, building, keys, workers)
                break
            except BlockingIOError:
                if attempt == 5:
                    print("Another process builds these rolls: waiting for it.", flush=True)
                time.sleep(0.2)
    for old in folder.parent.glob(glob.escape(folder.name[:-21]) + "*"):  # made from files that have changed since,
        if old != folder and (old.name[:-12] == folder.name[:-12] or _idle(old) > WEEK):  # or from other ones
            shutil.rmtree(old, ignore_errors=True)


def _build_alone(corpus, midi_config, sustain, folder, building, keys, workers):
    if folder.exists():
        print(f"The cache {folder} is damaged: it is built again.")
        if not building.exists():
            os.rename(folder, building)  # the shards that are whole are kept
    _remove_left_overs(folder.parent, building)
    building.mkdir(exist_ok=True)
    try:
        index = _write_shards(corpus, midi_config, sustain, building, keys, workers)
        _write_index(building / "index.json", index)
        if folder.exists() and _read_index(folder, keys) is None:
            shutil.rmtree(folder)
        os.rename(building, folder)
    except OSError:  # where locks do not work, two may build the same and one is done first
        if _read_index(folder, keys) is None:
            raise
        shutil.rmtree(building, ignore_errors=True)
    finally:
        if not any(building.glob("[0-9]*.json")):  # else the next build goes on from there
            shutil.rmtree(building, ignore_errors=True)


def _write_shards(corpus, midi_config, sustain, building, keys, workers):
    """Write the shards that are not there yet; returns the index of all."""
    pieces = corpus.pieces
    for left_over in building.glob(".*.tmp"):
        left_over.unlink()
    whole = {number: _read_shard(building, number, keys) for number in range(-(-len(pieces) // SHARD))}
    todo = [number for number, index in whole.items() if index is None]
    parts = {number: pieces[number * SHARD : (number + 1) * SHARD] for number in todo}
    left = sum(map(len, parts.values()))
    if left < len(pieces):
        print(f"The build of these rolls goes on after {len(pieces) - left:,} of {len(pieces):,} files.")
    if workers is None:
        workers = (os.cpu_count() or 1) if left >= MANY else 1
    jobs = ((piece.path, midi_config, sustain, corpus.all_instruments) for n in todo for piece in parts[n])
    # The rolls are drawn here: sending a hundred times as many bytes would take longer than reading the file.
    grids = map_in_processes(_grid_or_reason, jobs, workers, chunksize=16)
    with tqdm(total=len(pieces), initial=len(pieces) - left, desc=f"piano rolls of {corpus.name}", unit="file") as bar:
        for number in todo:
            whole[number] = _write_shard(corpus, midi_config, parts[number], grids, building, number, bar)
    indices = [whole[number] for number in sorted(whole)]
    skipped = [pair for index in indices for pair in index["skipped"]]
    if len(skipped) == len(pieces):
        shutil.rmtree(building)
        raise ValueError(f"no file of {corpus.name} could be read; the first: {skipped[0][1]}")
    lengths = {split: list(chain(*(index["lengths"][split] for index in indices))) for split in SPLITS}
    shards = {split: list(chain(*(index["shards"][split] for index in indices))) for split in SPLITS}
    return {"lengths": lengths, "shards": shards, "skipped": skipped}


def _write_shard(corpus, midi_config, pieces, grids, building, number, progress):
    """Write one shard of each split; returns their index, which is written last: with it the shard counts as there."""
    lengths, sums, skipped, files = {split: [] for split in SPLITS}, dict.fromkeys(SPLITS, 0), [], {}
    with ExitStack() as stack:
        for piece, (grid, *reason) in zip(pieces, grids):
            progress.update()
            if grid is None:
                skipped.append([piece.path.relative_to(corpus.folder).as_posix(), *reason])
                continue
            split, roll = piece.split, draw(grid, midi_config)
            if split not in files:
                temporary = stack.enter_context(atomic_write(building / f"{split}-{number:05}.u8"))
                files[split] = stack.enter_context(open(temporary, "wb"))
            files[split].write(roll)
            lengths[split].append(grid.T)
            sums[split] = zlib.crc32(roll, sums[split])
    shards = {split: [[number, len(lengths[split]), sums[split]]] if lengths[split] else [] for split in SPLITS}
    return _write_index(building / f"{number:05}.json", {"lengths": lengths, "shards": shards, "skipped": skipped})


def _write_index(path, index):
    index["sum"] = _sum(index)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(index), encoding="utf-8")
    return index


def _read_shard(building, number, keys):
    """The index of a shard that an earlier build has written; `None` if it is not there, or one byte is another."""
    index = _read_index(building, keys, f"{number:05}.json")
    for split in SPLITS if index else ():
        for (path, _), (_, _, checksum) in zip(_shards(index, building, split), index["shards"][split]):
            if _checksum(path) != checksum:
                return None
    return index


def _checksum(path):
    value = 0
    with open(path, "rb") as file:
        while block := file.read(2**22):
            value = zlib.crc32(block, value)
    return value


def _remove_left_overs(folder, building):
    """Remove what killed builds of other corpora have left: a live one writes all the time, or may go on for a week."""
    for left_over in folder.glob(".building-*"):
        if left_over != building and _idle(left_over) > (WEEK if any(left_over.glob("*.json")) else 3600):
            shutil.rmtree(left_over, ignore_errors=True)


def _idle(folder):
    """Seconds since a cache was written or opened; or to a time to come: somebody has set the clock back."""
    try:
        return abs(time.time() - max(path.stat().st_mtime for path in [folder, *folder.iterdir()]))
    except OSError:  # it was renamed or removed at this moment
        return 0


def _grid_or_reason(job):
    """The grid of a file, or `None`; why it cannot be read; whether that will be so the next time."""
    path, midi_config, sustain, all_instruments = job
    try:
        return midi_to_grid(path, midi_config, sustain, all_instruments), None, True
    except (ValueError, OSError) as error:
        return None, str(error), isinstance(error, ValueError)


def _without_skipped(corpus, skipped):
    reasons = {corpus.folder / name: reason for name, reason, _ in skipped}
    pieces = tuple(piece for piece in corpus.pieces if piece.path not in reasons)
    return replace(corpus, pieces=pieces, skipped=corpus.skipped + tuple(reasons.items()))
