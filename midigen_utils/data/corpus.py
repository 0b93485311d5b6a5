"""Corpora of MIDI files: MAESTRO, the Bach chorales, a folder of your own. One shape for all."""

import csv
import hashlib
import io
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from .. import files
from .bach import build_bach
from .midi import read_notes
from .workers import MANY, map_in_processes

SPLITS = ("train", "validation", "test")
MAESTRO_FOLDER = "maestro-v3.0.0"
BACH_FOLDER = "bach-chorales"
PART = 2**15  # files after which it is written down what was found in them
COLUMNS = ("canonical_composer", "canonical_title", "split", "year", "midi_filename", "audio_filename", "duration")


@dataclass(frozen=True, slots=True)  # slots: there may be a million of them
class Piece:
    """One MIDI file of a corpus.

    Attributes:
        path: `Path` of the MIDI file.
        split: `"train"`, `"validation"` or `"test"`.
        composer, title: text; empty when unknown.
        year: of the performance, or `None`.
        duration: seconds; 0.0 when the metadata does not say.
    """

    path: Path
    split: str
    composer: str = ""
    title: str = ""
    year: int | None = None
    duration: float = 0.0


@dataclass(frozen=True)
class Corpus:
    """A named list of pieces in three splits, and the files that could not be read.

    Notebook: 01_data_exploration

    Attributes:
        name: short name, used for the folder of its cache.
        folder: `Path` of its files.
        pieces: tuple of `Piece`.
        skipped: tuple of `(path, reason)`: files left out, and why.
        all_instruments: whether its rolls take all tracks but drums, not only pianos.
    """

    name: str
    folder: Path
    pieces: tuple
    skipped: tuple = ()
    all_instruments: bool = False

    def split(self, name):
        """The pieces of one split, in the corpus's order.

        Args:
            name: `"train"`, `"validation"` or `"test"`.

        Returns:
            List of `Piece`.

        Raises:
            ValueError: another name.
        """
        if name not in SPLITS:
            raise ValueError(f"no split {name!r}; the splits are {', '.join(SPLITS)}")
        return [piece for piece in self.pieces if piece.split == name]


def load_corpus(name_or_folder="bach", all_instruments=False):
    """A corpus by name, or a folder of MIDI files as one.

    Notebook: 01_data_exploration

    Args:
        name_or_folder: `"bach"`, `"maestro"`, or the path of a folder. A folder that
            holds MAESTRO's CSV, or one like it, is read by it; any other is searched for MIDI files.
        all_instruments: take all tracks but drums of each file, not only pianos.

    Returns:
        `Corpus`.

    Raises:
        FileNotFoundError: it is not there; says how to get it.
        ValueError: its metadata cannot be read, or it holds no usable MIDI file.
    """
    if name_or_folder == "bach":
        return load_maestro(build_bach(), name="bach")
    if name_or_folder == "maestro":
        return load_maestro()
    folder = Path(name_or_folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; a corpus is 'bach', 'maestro' or a folder of MIDI files")
    if _metadata_file(folder):
        return load_maestro(folder, folder.resolve().name, all_instruments)
    return load_folder(folder, all_instruments)


def load_maestro(folder=None, name="maestro", all_instruments=False):
    """A corpus in MAESTRO's layout: a CSV of seven columns beside its MIDI files.

    Source: Hawthorne et al., ICLR 2019, arXiv 1810.12247.

    Notebook: 01_data_exploration

    Args:
        folder: default `maestro-v3.0.0` below `$MIDIGEN_DATA` or `midi_data/`.
        name: name of the corpus.
        all_instruments: take all tracks but drums of each file, not only pianos.

    Returns:
        `Corpus` with the official splits. Listed paths that are missing are in `skipped`; how many MIDI files of the
        folder are not listed, and so not read, is printed.

    Raises:
        FileNotFoundError: no such folder, or no CSV in it.
        ValueError: the CSV is not UTF-8, lacks a column, a row cannot be understood, or names a file outside the
            folder.
    """
    folder = Path(folder) if folder else files.find_data(MAESTRO_FOLDER)
    table = _metadata_file(folder)
    if table is None:
        raise FileNotFoundError(
            f"no MAESTRO in {folder}: run `python -m midigen_utils data` to download it (58 MB), "
            "or set MIDIGEN_DATA to the folder that holds maestro-v3.0.0"
        )
    pieces, skipped = [], []
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{table}: not UTF-8 text; save it with that encoding") from None
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restval=""))
    except csv.Error as error:
        raise ValueError(f"{table}: not a CSV file ({error})") from None
    missing = [column for column in COLUMNS if not rows or column not in rows[0]]
    if missing and ";" in text.partition("\n")[0]:
        raise ValueError(f"{table}, line 1: the columns must be separated by commas; this line has semicolons")
    if missing:
        raise ValueError(f"{table}: no row, or no column {', '.join(missing)}; a list has all columns of MAESTRO's CSV")
    for number, row in enumerate(rows, start=2):
        if row["split"] not in SPLITS:
            raise ValueError(f"{table}, line {number}: split is {row['split'][:80]!r}; use train, validation or test")
        if not row["midi_filename"]:
            raise ValueError(f"{table}, line {number}: no midi_filename")
        path = folder / row["midi_filename"]
        try:
            inside = path.resolve().is_relative_to(folder.resolve())  # wherever symbolic links lead, too
            there = inside and path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long for a name, a zero byte, a loop of links
            raise ValueError(
                f"{table}, line {number}: {row['midi_filename'][:80]!r} is no file name: {error}"
            ) from None
        if not inside:
            raise ValueError(f"{table}, line {number}: {row['midi_filename']!r} lies outside the folder")
        if not there:
            skipped.append((path, "listed in the CSV but missing"))
            continue
        try:
            year, duration = int(row["year"]) if row["year"] else None, float(row["duration"] or 0)
        except ValueError as error:
            raise ValueError(f"{table}, line {number}: {error}") from None
        pieces.append(Piece(path, row["split"], row["canonical_composer"], row["canonical_title"], year, duration))
    if not pieces:
        raise ValueError(f"{table}: none of its {len(skipped)} files is in {folder}")
    listed = {piece.path for piece in pieces}
    others = sum(path not in listed for path in _midi_files(folder))
    if others:
        noun, are, were = ("file", "is", "was") if others == 1 else ("files", "are", "were")
        print(f"{others} MIDI {noun} in the folder {are} not on its list {table.name} and {were} not read")
    return Corpus(name, folder, tuple(pieces), tuple(skipped), all_instruments)


def load_folder(folder, all_instruments=False):
    """A folder of your own MIDI files, searched with its subfolders, as a corpus.

    About 80/10/10 of the files are train, validation and test, decided by a hash of
    each file's notes: copies of a piece land in one split, and a file keeps its split
    when others are added (but for the few that fill a split that would be empty: from
    three different pieces on, none is).

    Notebook: A4_your_own_music

    Args:
        folder: path.
        all_instruments: take all tracks but drums, not only pianos.

    Returns:
        `Corpus`; unreadable files are in `skipped` with the reason.

    Raises:
        ValueError: no usable MIDI file.
    """
    folder = Path(folder)
    paths = sorted(_midi_files(folder))
    pieces, skipped = [], []
    for path, (value, reason, _) in zip(paths, _hashes(folder, paths, all_instruments)):
        if value is None:
            skipped.append((path, reason))
        else:
            pieces.append((path, value))
    if not pieces:
        raise ValueError(f"{folder}: no usable MIDI file" + (f"; {skipped[0][1]}" if skipped else " (.mid, .midi)"))
    split_of = {value: _split_by_hash(value) for value in sorted({value for _, value in pieces})}
    for empty in (split for split in SPLITS if split not in split_of.values()):
        largest = max(SPLITS, key=list(split_of.values()).count)
        spare = [value for value, split in split_of.items() if split == largest]
        if len(spare) > 1 or empty == "train":
            split_of[spare[0]] = empty
    pieces = tuple(Piece(path, split_of[value], title=path.stem) for path, value in pieces)
    return Corpus(folder.resolve().name, folder, pieces, tuple(skipped), all_instruments)


def _midi_files(folder):
    return (path for path in folder.rglob("*") if path.suffix.lower() in (".mid", ".midi") and path.is_file())


def _hashes(folder, paths, all_instruments):
    """Of each file the hash of its notes, or `None`; why they cannot be read; whether that will be so the next time.

    Many files are read by several processes. Every 32,768 of them the hashes are written down, by name, size and time
    of the last change, so the next listing, or one after an interruption, reads the others only.
    """
    bar = dict(desc="reading MIDI files", unit="file", total=len(paths), disable=len(paths) < 100)
    if len(paths) < MANY:
        yield from tqdm((_hash_or_reason((path, all_instruments)) for path in paths), **bar)
        return
    where = hashlib.sha256(f"{folder.resolve()}|{all_instruments}".encode("utf-8", "surrogateescape")).hexdigest()[:8]
    kept, known = files.MIDI_DATA / "cache" / f"{folder.resolve().name}-{where}-notes", {}
    for part in kept.glob("*.json"):
        with suppress(OSError, ValueError, TypeError, RecursionError):
            known.update(json.loads(part.read_text(encoding="utf-8")))
    prefix = len(str(folder / "x")) - 1

    def key(path):
        stat = path.stat()
        return f"{stat.st_size}|{stat.st_mtime_ns}|{str(path)[prefix:]}"

    keys = [key(path) for path in paths]
    new = [(path, key) for path, key in zip(paths, keys) if key not in known]
    workers = (os.cpu_count() or 1) if len(new) >= MANY else 1
    read = map_in_processes(_hash_or_reason, ((path, all_instruments) for path, _ in new), workers, chunksize=16)
    read = iter(tqdm(read, initial=len(paths) - len(new), **bar))
    for first in range(0, len(new), PART):
        found = {key: result for (_, key), result in zip(new[first : first + PART], read)}
        known.update(found)
        lasting = {key: result for key, result in found.items() if result[2]}
        with suppress(OSError):  # a place where nothing can be written: they are read again the next time
            with files.atomic_write(kept / f"{len(list(kept.glob('*.json'))):05}.json") as temporary:
                temporary.write_text(json.dumps(lasting), encoding="utf-8")
    for key in keys:
        yield known[key]


def _hash_or_reason(job):
    path, all_instruments = job
    try:
        notes = read_notes(path, sustain=False, all_instruments=all_instruments)
    except (ValueError, OSError) as error:
        return None, str(error), isinstance(error, ValueError)
    events = b"".join(column.round(3).astype("<f8").tobytes() for column in notes)
    return hashlib.sha256(events).hexdigest()[:16], None, True


def _split_by_hash(value):
    tenth = int(value[:8], 16) % 10
    return "test" if tenth == 0 else "validation" if tenth == 1 else "train"


def _metadata_file(folder):
    """The CSV of a folder in MAESTRO's layout, or `None`."""
    for path in sorted(path for path in folder.glob("*.csv") if path.is_file()):
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            if "midi_filename" in file.readline(10_000):
                return path
    return None
