"""Bach's four-part chorales, played: the corpus that needs no download.

The scores are in music21's own corpus: 365 chorales by J. S. Bach (public domain), most of them encoded by Margaret
Greentree (jsbchorales.net). music21 is BSD-3-Clause; its ``corpus/license.txt`` says that the corpus is distributed
with the permission of the encoders, and that some encodings may not be used commercially. So no score is copied into
this package: it holds a list of works with a hash of each one's notes, and `build_bach` writes the MIDI files on your
machine (`chorale.py` plays them).

``python -m tools.bach_list`` makes the list anew, for maintainers.
"""

import csv
from importlib import metadata, util
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from .. import files
from .chorale import notes_hash, perform, read_score
from .midi import Notes, write_midi

BACH_FOLDER = "bach-chorales"
#: The columns of MAESTRO's CSV, which every corpus with a list has.
COLUMNS = ("canonical_composer", "canonical_title", "split", "year", "midi_filename", "audio_filename", "duration")
LIST = Path(__file__).with_name("bach_chorales.csv")
YEAR = 1787  # of the last volume of the first printed collection; MAESTRO has the year of the performance here


def read_list():
    """The pinned list of works: ``(version, rows)``, the music21 that it was made with, and a dict per work.

    Its keys are ``work``, ``title``, ``split``, ``melody``, ``final`` (pitch class the bass ends on), ``notes``
    (keys struck) and ``hash`` (of the score's notes).
    """
    with open(LIST, encoding="utf-8", newline="") as file:
        version = file.readline().split()[-1]
        return version, list(csv.DictReader(file))


def score_paths():
    """A dict from Bach's works in music21, such as ``"bwv269"``, to the ``Path`` of the MusicXML.

    Raises:
        FileNotFoundError: this music21 came without its corpus.
    """
    folder = Path(util.find_spec("music21").origin).parent / "corpus" / "bach"  # importing it would take seconds
    paths = {path.stem: path for path in sorted(folder.glob("bwv*")) if path.suffix in (".mxl", ".xml")}
    if not paths:
        advice = "get music21 with its corpus: pip install --force-reinstall music21"
        raise FileNotFoundError(f"no scores in {folder}; {advice}")
    return paths


def build_bach(folder=None):
    """Write the chorales as MIDI files in MAESTRO's layout, once; later calls return at once.

    Args:
        folder: default ``midi_data/bach-chorales``, or that in ``$MIDIGEN_DATA`` if there is one. Written atomically.

    Returns:
        ``Path`` of the folder: ``bwv*.mid`` and ``bach-chorales.csv`` (`COLUMNS`; ``duration`` in seconds).

    Raises:
        RuntimeError: this music21 has other notes than the pinned list; names the works.
        FileExistsError: the folder holds other things.
    """
    version, rows = read_list()
    there = Path(folder) if folder is not None else files.find_data(BACH_FOLDER)
    if _is_complete(there, rows):
        return there
    folder = Path(folder) if folder is not None else files.MIDI_DATA / BACH_FOLDER
    strangers = [path for path in folder.iterdir() if not _is_ours(path)] if folder.exists() else []
    if strangers:
        raise FileExistsError(f"{folder} holds other things ({strangers[0].name}); name another folder, or empty it")
    with files.one_process(folder):
        if not _is_complete(folder, rows):  # another process may have built it just now
            with files.atomic_folder(folder) as temporary:
                _write_works(temporary, version, rows)
    return folder


def _write_works(folder, version, rows):
    paths, lines, different = score_paths(), [], []
    for row in tqdm(rows, desc="Bach chorales", unit="piece"):
        work = row["work"]
        try:
            notes = read_score(paths[work])
        except (KeyError, ValueError):  # no such work, or off the grid
            notes = []
        if notes_hash(notes) != row["hash"]:
            different.append(work)
            continue
        strikes = np.array(perform(notes, work))
        seconds = strikes[:, :2] / 1000
        duration = seconds.max()
        # A tick is a millisecond, so the times are exact.
        write_midi(Notes(*seconds.T, *strikes[:, 2:].T), folder / f"{work}.mid", duration, ticks_per_beat=500)
        lines.append(("Johann Sebastian Bach", row["title"], row["split"], YEAR, f"{work}.mid", "", f"{duration:.3f}"))
    if different:
        raise RuntimeError(
            f"music21 {metadata.version('music21')} has other notes than midigen's list for {len(different)} "
            f"chorale{'s' * (len(different) > 1)}: {', '.join(different[:8])}{' ...' * (len(different) > 8)}. "
            f"The list was made with music21 {version}: pip install music21=={version}"
        )
    with open(folder / f"{BACH_FOLDER}.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *lines])


def _is_ours(path):
    return path.name in (f"{BACH_FOLDER}.csv", ".DS_Store") or (path.name.startswith("bwv") and path.suffix == ".mid")


def _is_complete(folder, rows):
    """Whether the folder holds the pinned works: its csv comes last, and the folder is renamed into place whole."""
    try:
        with open(folder / f"{BACH_FOLDER}.csv", encoding="utf-8", newline="") as file:
            there = [(line["midi_filename"], line["canonical_title"], line["split"]) for line in csv.DictReader(file)]
    except (OSError, KeyError, UnicodeDecodeError):
        return False
    return there == [(f"{row['work']}.mid", row["title"], row["split"]) for row in rows] and all(
        (folder / name).is_file() for name, _, _ in there
    )
