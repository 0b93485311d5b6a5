"""Bach's four-part chorales, played: the corpus that needs no download.

The scores are in music21's own corpus: 365 chorales by J. S. Bach (public domain),
most of them encoded by Margaret Greentree (jsbchorales.net). music21 is BSD-3-Clause;
its ``corpus/license.txt`` says that the corpus is distributed with the permission of
the encoders, and that some encodings may not be used commercially. So no score is
copied into this package: it holds a list of works with a hash of each one's notes,
and `build_bach` writes the MIDI files on your machine (`chorale.py` plays them).

``python -m midigen_utils.data.bach`` makes the list anew, for maintainers.
"""

import csv
import difflib
import hashlib
import os
import shutil
import tempfile
import time
from collections import Counter
from functools import partial
from itertools import combinations
from pathlib import Path

from tqdm.auto import tqdm

from .. import files
from .chorale import BEAT, midi_bytes, notes_hash, perform, read_score
from .workers import map_in_processes

NAME = "bach-chorales"
LIST = Path(__file__).with_name("bach_chorales.csv")
COLUMNS = ("canonical_composer", "canonical_title", "split", "year", "midi_filename", "audio_filename", "duration")
YEAR = 1787  # of the last volume of the first printed collection; MAESTRO has the year of the performance here
PITCH_CLASSES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def read_list():
    """The pinned list of works.

    Returns:
        ``(version, rows)``: the music21 that it was made with, and a dict per work with
        ``work``, ``title``, ``split``, ``melody``, ``final`` (pitch class the bass ends on),
        ``notes`` (keys struck) and ``hash`` (of the score's notes).
    """
    with open(LIST, encoding="utf-8", newline="") as file:
        version = file.readline().split()[-1]
        return version, list(csv.DictReader(file))


def score_paths():
    """Where music21 keeps its scores of Bach.

    Returns:
        dict from work, such as ``"bwv269"``, to ``Path`` (the MusicXML, where there are more encodings).

    Raises:
        FileNotFoundError: this music21 came without its corpus.
    """
    import music21

    folder = Path(music21.__file__).parent / "corpus" / "bach"
    paths = {path.stem: path for path in sorted(folder.glob("bwv*")) if path.suffix in (".mxl", ".xml")}
    if not paths:
        raise FileNotFoundError(
            f"no scores in {folder}; get music21 with its corpus: pip install --force-reinstall music21"
        )
    return paths


def build_bach(folder=None, workers=None, progress=True):
    """Write the chorales as MIDI files in MAESTRO's layout, once; later calls return at once.

    Args:
        folder: where to; ``None`` is ``midi_data/bach-chorales`` (or, where it is there already, the
            one in ``$MIDIGEN_DATA``). It appears whole or not at all.
        workers: processes; ``None`` is one per core, at most four.
        progress: show a bar.

    Returns:
        ``Path`` of the folder: ``bwv*.mid`` and ``bach-chorales.csv`` (`COLUMNS`; ``duration`` in seconds).

    Raises:
        RuntimeError: this music21 has other notes than the pinned list; names the works.
        FileExistsError: the folder holds other things.
    """
    version, rows = read_list()
    there = Path(folder) if folder is not None else files.find_data(NAME)
    if _is_complete(there, rows):
        return there
    folder = Path(folder) if folder is not None else files.MIDI_DATA / NAME
    strangers = [path for path in folder.iterdir() if not _is_ours(path)] if folder.exists() else []
    if strangers:
        raise FileExistsError(f"{folder} holds other things ({strangers[0].name}); name another folder, or empty it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left_over in folder.parent.glob(f".{NAME}-*"):  # by a build that was killed, if it is an hour old
        if time.time() - left_over.stat().st_mtime > 3600:
            shutil.rmtree(left_over, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=folder.parent))
    try:
        new = scratch / "new"
        new.mkdir()
        paths = score_paths()
        jobs = [(row, paths.get(row["work"])) for row in rows]
        manifest = []
        workers = workers or min(4, os.cpu_count() or 1)
        with tqdm(total=len(jobs), desc="Bach chorales", unit="piece", disable=not progress) as bar:
            for line in map_in_processes(partial(_write_work, new), jobs, workers):
                manifest.append(line)
                bar.update()
        different = [row["work"] for row, line in zip(rows, manifest) if line is None]
        if different:
            import music21

            raise RuntimeError(
                f"music21 {music21.__version__} has other notes than midigen's list for {len(different)} "
                f"chorale{'s' * (len(different) > 1)}: {', '.join(different[:8])}{' ...' * (len(different) > 8)}. "
                f"The list was made with music21 {version}: pip install music21=={version}"
            )
        with open(new / f"{NAME}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([COLUMNS, *manifest])
        _publish(new, folder, scratch / "old", rows)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _write_work(folder, job):
    """Perform one work into ``folder``; its row of the csv, or None when its notes are not the pinned ones."""
    row, path = job
    try:
        notes = read_score(path) if path else []
    except ValueError:  # off the grid: other notes, too
        return None
    if notes_hash(notes) != row["hash"]:
        return None
    strikes = perform(notes, row["work"])
    (folder / f"{row['work']}.mid").write_bytes(midi_bytes(strikes))
    seconds = f"{max(strike.end for strike in strikes) / 1000:.3f}"
    return "Johann Sebastian Bach", row["title"], row["split"], YEAR, f"{row['work']}.mid", "", seconds


def _is_ours(path):
    return path.name in (f"{NAME}.csv", ".DS_Store") or (path.name.startswith("bwv") and path.suffix == ".mid")


def _is_complete(folder, rows):
    """Whether the folder holds the pinned works: its csv comes last, and the folder is renamed into place whole."""
    try:
        with open(folder / f"{NAME}.csv", encoding="utf-8", newline="") as file:
            there = [(line["midi_filename"], line["canonical_title"], line["split"]) for line in csv.DictReader(file)]
    except (OSError, KeyError, UnicodeDecodeError):
        return False
    return there == [(f"{row['work']}.mid", row["title"], row["split"]) for row in rows] and all(
        (folder / name).is_file() for name, _, _ in there
    )


def _publish(new, folder, old, rows):
    """Rename the finished folder into place; another process may do the same at this moment."""
    os.chmod(new, 0o755)
    for last_try in (False, True):
        try:
            if folder.exists():
                os.replace(folder, old)
            os.replace(new, folder)
            return
        except OSError:
            if _is_complete(folder, rows):
                return
            if last_try:
                raise


# ---------------------------------------------------------------- for maintainers: the list


def tune_of(notes):
    """The soprano without ornaments: its notes on the beat, repeats left out.

    Args:
        notes: list of `chorale.ScoreNote`.

    Returns:
        list of phrases, each a list of MIDI pitches.
    """
    tune = [[]]
    for note in notes:
        if note.part == 0:
            if note.onset % BEAT == 0 and tune[-1][-1:] != [note.pitch]:
                tune[-1].append(note.pitch)
            if note.fermata:
                tune.append([])
    return [phrase for phrase in tune if phrase]


def same_tune(a, b):
    """Whether two tunes share two phrases, or 14 steps in a row, or are three quarters alike; in any key.

    Args:
        a, b: what `tune_of` returned.

    Returns:
        bool.
    """
    phrases = [[_steps(phrase) for phrase in tune] for tune in (a, b)]
    long = [{phrase for phrase in tune if len(phrase) >= 4} for tune in phrases]
    lines = [_steps([pitch for phrase in tune for pitch in phrase]) for tune in (a, b)]
    runs = [{line[i : i + 14] for i in range(len(line) - 13)} for line in lines]
    if len(long[0] & long[1]) >= 2 or runs[0] & runs[1]:
        return True
    marked = [[step for phrase in tune for step in (*phrase, None)] for tune in phrases]
    matcher = difflib.SequenceMatcher(None, *marked, autojunk=False)
    return all(ratio() >= 0.76 for ratio in (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio))


def _steps(pitches):
    """Semitones from each note to the next, where it moves."""
    return tuple(b - a for a, b in zip(pitches, pitches[1:]) if a != b)


def write_list():
    """Make ``bach_chorales.csv`` anew from the installed music21: after it, every split may be another.

    Works with one tune (`same_tune`, or one title) form a melody and go to one split. Melodies of more than
    six pieces go first, the rest in the order of a hash, each to the split that lacks most pieces of its share:
    so the large ones are all in train, and no tune outweighs the others in validation or test.
    """
    import music21
    from music21.corpus.chorales import ChoraleListRKBWV

    titles = {f"bwv{entry['bwv']}": entry["title"] for entry in ChoraleListRKBWV().byRiemenschneider.values()}
    paths = score_paths()
    read = map_in_processes(read_score, list(paths.values()), 2)
    scores = {work: notes for work, notes in zip(paths, read) if notes}
    tunes = {work: tune_of(notes) for work, notes in scores.items()}
    letters = {work: "".join(filter(str.isalpha, titles.get(work, ""))) or work for work in scores}
    melody = {work: work for work in scores}
    for a, b in combinations(scores, 2):
        if melody[a] != melody[b] and (letters[a] == letters[b] or same_tune(tunes[a], tunes[b])):
            old, new = melody[b], melody[a]
            melody = {work: new if name == old else name for work, name in melody.items()}

    sizes, pieces, split = Counter(melody.values()), Counter(), {}
    for name in sorted(sizes, key=lambda name: (sizes[name] <= 6, hashlib.sha256(name.encode()).hexdigest())):
        split[name] = max(SHARES, key=lambda s: SHARES[s] * len(scores) - pieces[s])
        pieces[split[name]] += sizes[name]
    new = LIST.with_suffix(".tmp")
    with open(new, "w", encoding="utf-8", newline="") as file:
        file.write(f"# made by python -m midigen_utils.data.bach with music21 {music21.__version__}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["work", "title", "split", "melody", "final", "notes", "hash"])
        for work, notes in scores.items():
            last_bass = max((note.onset, -note.pitch, note.pitch) for note in notes if note.part == 3)[2]
            title = titles.get(work, f"BWV {work[3:]}").replace("’", "'")
            final, struck = PITCH_CLASSES[last_bass % 12], len(perform(notes, work))
            writer.writerow([work, title, split[melody[work]], melody[work], final, struck, notes_hash(notes)])
    os.replace(new, LIST)


if __name__ == "__main__":
    # The module by its name: other processes cannot find functions of __main__.
    from . import bach

    bach.write_list()
