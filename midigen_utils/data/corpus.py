"""Corpora of MIDI files: MAESTRO, the Bach chorales, a folder of your own. One shape for all."""

import csv
import hashlib
import io
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from .. import files
from .bach import COLUMNS, build_bach
from .midi import read_notes

SPLITS = ("train", "validation", "test")
MAESTRO_FOLDER = "maestro-v3.0.0"
MANY = 100  # files of a folder, from which on its listing is remembered
READER = 1  # raise it when `read_notes` finds other notes, so that no old hash is taken for one of these


@dataclass(frozen=True, slots=True)  # slots: there may be a million of them
class Piece:
    """One MIDI file of a corpus."""

    path: Path
    split: str  #: "train", "validation" or "test"
    composer: str = ""  #: empty when unknown, as is the title
    title: str = ""
    year: int | None = None  #: of the performance
    duration: float = 0.0  #: seconds; 0.0 when the metadata does not say


@dataclass(frozen=True)
class Corpus:
    """A named list of pieces in three splits, and the files that could not be read.

    Notebook: 01_data_exploration
    """

    name: str  #: short; the folder of its cache is called so
    folder: Path
    pieces: tuple  #: of `Piece`
    skipped: tuple = ()  #: of `(path, reason)`: files left out, and why
    all_instruments: bool = False  #: whether its rolls take all tracks but drums, not only pianos

    def split(self, name):
        """List of the `Piece`s of the split `"train"`, `"validation"` or `"test"`; ValueError for another name."""
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
        name, all_instruments: of the corpus, and as for `load_corpus`.

    Returns:
        `Corpus` with the official splits. Listed paths that are missing are in `skipped`; how many MIDI files of the
        folder are not listed, and so not read, is printed.

    Raises:
        FileNotFoundError: no such folder, or no CSV in it.
        ValueError: the CSV is not UTF-8, lacks a column, or has a row that `_listed_file` refuses; says which.
    """
    folder = Path(folder) if folder else files.find_data(MAESTRO_FOLDER)
    table = _metadata_file(folder)
    if table is None:
        raise FileNotFoundError(
            f"no MAESTRO in {folder}: run `python -m midigen_utils data` to download it (58 MB), "
            "or set MIDIGEN_DATA to the folder that holds maestro-v3.0.0"
        )
    pieces, skipped = [], []
    for number, row in enumerate(_rows(table), start=2):
        try:
            path, there = _listed_file(folder, row)
            year, duration = int(row["year"]) if row["year"] else None, float(row["duration"] or 0)
        except (OSError, ValueError, RuntimeError) as error:
            raise ValueError(f"{table}, line {number}: {error}") from None
        if there:
            pieces.append(Piece(path, row["split"], row["canonical_composer"], row["canonical_title"], year, duration))
        else:
            skipped.append((path, "listed in the CSV but missing"))
    if not pieces:
        raise ValueError(f"{table}: none of its {len(skipped)} files is in {folder}")
    if others := len(set(midi_files(folder)) - {piece.path for piece in pieces}):
        print(f"MIDI files in the folder that are not on its list {table.name}, and so not read: {others}")
    return Corpus(name, folder, tuple(pieces), tuple(skipped), all_instruments)


def load_folder(folder, all_instruments=False):
    """A folder of your own MIDI files, searched with its subfolders, as a corpus.

    About 80/10/10 of the files are train, validation and test, decided by a hash of each file's notes: copies of a
    piece land in one split, and a file keeps its split when others are added (but for the few that fill a split that
    would be empty: from three different pieces on, none is).

    Notebook: A4_your_own_music

    Args:
        folder, all_instruments: a path, and as for `load_corpus`.

    Returns:
        `Corpus`; unreadable files are in `skipped` with the reason.

    Raises:
        ValueError: no usable MIDI file.
    """
    folder = Path(folder)
    found = _hashes(folder, all_instruments)
    skipped = tuple((path, reason) for path, (value, reason) in found.items() if value is None)
    hashes = {path: value for path, (value, _) in found.items() if value is not None}
    if not hashes:
        raise ValueError(f"{folder}: no usable MIDI file" + (f"; {skipped[0][1]}" if skipped else " (.mid, .midi)"))
    split_of = {value: _split_by_hash(value) for value in sorted(set(hashes.values()))}
    for empty in (split for split in SPLITS if split not in split_of.values()):
        largest = max(SPLITS, key=list(split_of.values()).count)
        spare = [value for value, split in split_of.items() if split == largest]
        if len(spare) > 1 or empty == "train":
            split_of[spare[0]] = empty
    pieces = tuple(Piece(path, split_of[value], title=files.title_of(path)) for path, value in hashes.items())
    return Corpus(folder.resolve().name, folder, pieces, skipped, all_instruments)


def midi_files(folder):
    """The MIDI files of a folder and its subfolders: an iterator of `Path`.

    What a Mac adds to a zip, `__MACOSX` and `._name.mid`, only looks like MIDI files and is left out.
    """
    for path in folder.rglob("*"):
        looks_like_one = path.suffix.lower() in (".mid", ".midi") and not path.name.startswith("._")
        if looks_like_one and "__MACOSX" not in path.relative_to(folder).parts and path.is_file():
            yield path


def _rows(table):
    """The rows of a CSV with `COLUMNS`, each a dict; an error that says what is wrong with the file."""
    try:
        text = table.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restval=""))
    except UnicodeDecodeError:
        raise ValueError(f"{table}: not UTF-8 text; save it with that encoding") from None
    except csv.Error as error:
        raise ValueError(f"{table}: not a CSV file ({error})") from None
    missing = [column for column in COLUMNS if not rows or column not in rows[0]]
    if missing and ";" in text.partition("\n")[0]:
        raise ValueError(f"{table}, line 1: the columns must be separated by commas; this line has semicolons")
    if missing:
        raise ValueError(f"{table}: no row, or no column {', '.join(missing)}; a list has all columns of MAESTRO's CSV")
    return rows


def _listed_file(folder, row):
    """Path of the file that a row of a table names, and whether it is there; it must lie in the folder.

    Raises:
        ValueError: another split, no file name, or one outside the folder.
        OSError, RuntimeError: what the row names can be no file (too long a name, a loop of links).
    """
    name = row["midi_filename"]
    if row["split"] not in SPLITS:
        raise ValueError(f"split is {row['split'][:80]!r}; use train, validation or test")
    if not name:
        raise ValueError("no midi_filename")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):  # wherever symbolic links lead, too
        raise ValueError(f"{name!r} lies outside the folder")
    return path, path.is_file()


def _hashes(folder, all_instruments):
    """A dict from each MIDI file of a folder to `(hash of its notes, None)`, or `(None, why it cannot be read)`.

    What was found in a large folder is remembered, by name, size and time of the last change: the next listing reads
    the other files only.
    """
    paths, found, known, remembered = sorted(midi_files(folder)), {}, {}, {}
    where = hashlib.sha256(f"{READER}|{folder.resolve()}|{all_instruments}".encode("utf-8", "surrogateescape"))
    memory = files.MIDI_DATA / "cache" / f"{folder.resolve().name}-{where.hexdigest()[:12]}-notes.json"
    with suppress(OSError, ValueError):
        known = dict(json.loads(memory.read_text(encoding="utf-8")))
    try:
        for path in tqdm(paths, desc="reading MIDI files", unit="file", delay=1):
            try:
                stat = path.stat()
                key = f"{path.relative_to(folder)}|{stat.st_size}|{stat.st_mtime_ns}"
                found[path] = remembered[key] = known.get(key) or (_hash(path, all_instruments), None)
            except ValueError as error:
                found[path] = remembered[key] = (None, str(error))
            except OSError as error:  # the system's fault: it may be read the next time
                found[path] = (None, str(error))
    finally:  # after Ctrl-C, too
        if len(paths) >= MANY and remembered.keys() - known.keys():
            with suppress(OSError), files.atomic_write(memory) as temporary:  # else they are read again
                temporary.write_text(json.dumps(known | remembered), encoding="utf-8")
    return found


def _hash(path, all_instruments):
    notes = read_notes(path, sustain=False, all_instruments=all_instruments)
    events = b"".join(column.round(3).astype("<f8").tobytes() for column in notes)
    return hashlib.sha256(events).hexdigest()[:16]


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
