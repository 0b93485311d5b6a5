"""Make the list of Bach's works anew from the music21 that is installed: `python -m tools.bach_list`."""

import argparse
import csv
import difflib
import hashlib
from collections import Counter
from itertools import combinations

import music21
from music21.corpus.chorales import ChoraleListRKBWV

from midigen_utils.data.bach import LIST, score_paths
from midigen_utils.data.chorale import BEAT, notes_hash, perform, read_score
from midigen_utils.files import atomic_write
from tools import run

PITCH_CLASSES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def tune_of(notes):
    """The soprano without ornaments: its notes on the beat, repeats left out.

    Args:
        notes: list of `ScoreNote`.

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


def main(arguments=None):
    """Make ``bach_chorales.csv`` anew from the installed music21: after it, every split may be another.

    Works with one tune (`same_tune`, or one title) form a melody and go to one split. Melodies of more than
    six pieces go first, the rest in the order of a hash, each to the split that lacks most pieces of its share:
    so the large ones are all in train, and no tune outweighs the others in validation or test.
    """
    argparse.ArgumentParser("python -m tools.bach_list", description=__doc__.splitlines()[0]).parse_args(arguments)
    titles = {f"bwv{entry['bwv']}": entry["title"] for entry in ChoraleListRKBWV().byRiemenschneider.values()}
    paths = score_paths()
    scores = {work: notes for work, path in paths.items() if (notes := read_score(path))}
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
    with atomic_write(LIST) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(f"# made by python -m tools.bach_list with music21 {music21.__version__}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["work", "title", "split", "melody", "final", "notes", "hash"])
        for work, notes in scores.items():
            last_bass = max((note.onset, -note.pitch, note.pitch) for note in notes if note.part == 3)[2]
            title = titles.get(work, f"BWV {work[3:]}").replace("’", "'")
            final, struck = PITCH_CLASSES[last_bass % 12], len(perform(notes, work))
            writer.writerow([work, title, split[melody[work]], melody[work], final, struck, notes_hash(notes)])


if __name__ == "__main__":
    run(main)
