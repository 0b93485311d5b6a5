"""A four-part chorale, from the score in MusicXML to a performance at the piano.

Scores carry no dynamics and no timing, so each chorale is *performed* by fixed rules: fermatas end phrases (slowing,
fading, a breath), a phrase swells and falls back, the soprano is a little louder and leads, the voices are some
milliseconds apart. All in whole numbers, so that every machine plays the same notes.
"""

import hashlib
import re
import zipfile
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

BEAT = 8  # score time is counted in 32nd notes, eight to a quarter
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}  # above C
PART_VELOCITY = (8, 0, -1, 3)  # soprano, alto, tenor, bass
PART_DELAY = (0, 5, 7, 3)  # ms: the melody leads


class ScoreNote(NamedTuple):
    """One note of a score, ties joined: part 0 (soprano) to 3, times in 32nd notes, MIDI pitch, 1 with a fermata."""

    part: int
    onset: int
    duration: int
    pitch: int
    fermata: int


class Strike(NamedTuple):
    """One key going down and up: ``[start, end)`` in ms, MIDI pitch, velocity 1..127."""

    start: int
    end: int
    pitch: int
    velocity: int


def read_score(path):
    """Notes of one four-part score in MusicXML; grace notes and ornaments are left out.

    Args:
        path: file of music21's corpus, such as ``.../bach/bwv269.mxl`` (a zip of XML), or plain XML.

    Returns:
        list of `ScoreNote`, by part, then onset; empty unless there are exactly four parts.

    Raises:
        ValueError: a note is off the grid of 32nd notes.
    """
    parts = _xml(Path(path)).findall("part")
    notes = []
    for part, stream in enumerate(parts if len(parts) == 4 else ()):
        open_ties = {}  # pitch -> index of the note that a tie goes on from
        for onset, duration, element in _events(stream):
            key = element.find("pitch")
            if key is None:  # a rest
                continue
            if onset != int(onset) or duration != int(duration):
                raise ValueError(f"{path}: a note at {onset / BEAT} quarters is off the grid of 32nd notes")
            pitch = 12 * (int(key.findtext("octave")) + 1) + SEMITONES[key.findtext("step")]
            pitch += int(key.findtext("alter", 0))
            fermata = int(element.find("notations/fermata") is not None)
            note = ScoreNote(part, int(onset), int(duration), pitch, fermata)
            index = open_ties.pop(pitch, None)
            if index is not None and notes[index].onset + notes[index].duration == onset:
                first = notes[index]
                notes[index] = first._replace(duration=first.duration + note.duration, fermata=first.fermata | fermata)
            else:
                index = len(notes)
                notes.append(note)
            if any(tie.get("type") == "start" for tie in element.findall("tie")):
                open_ties[pitch] = index
    return sorted(notes)


def _xml(path):
    if path.suffix != ".mxl":
        return ElementTree.parse(path).getroot()
    with zipfile.ZipFile(path) as file:
        score = next(name for name in file.namelist() if re.match(r"[^/]+\.(music)?xml$", name))
        return ElementTree.fromstring(file.read(score))


def _events(part):
    """`(onset, duration, element)` of the notes and rests of a part in MusicXML, in 32nd notes from its beginning."""
    start, divisions = 0, 1
    for measure in part.findall("measure"):
        now = onset = longest = start
        for element in measure:
            divisions = int(element.findtext("divisions", divisions))
            duration = Fraction(element.findtext("duration", "0")) * BEAT / divisions
            if element.tag == "backup":  # a second voice begins
                now -= duration
            elif element.tag == "forward":
                now += duration
            elif element.tag == "note" and element.find("grace") is None:
                if element.find("chord") is None:
                    onset, now = now, now + duration
                longest = max(longest, now)
                yield onset, duration, element
        start = longest


def notes_hash(notes):
    """Sixteen hex digits of a SHA-256 that change when any `ScoreNote` of a list does."""
    return hashlib.sha256("\n".join(" ".join(map(str, note)) for note in notes).encode()).hexdigest()[:16]


def phrases(notes):
    """Phrases of a list of `ScoreNote`, each ending with a fermata and the last one with the piece.

    A phrase is ``(start, fermata, end)`` in 32nd notes: the fermata sounds in ``[fermata, end)``.
    """
    soprano = [note for note in notes if note.part == 0]
    total = max(note.onset + note.duration for note in notes)
    held = {note.onset for note in notes if note.fermata}
    # A fermata of any voice counts for the soprano note above it: inner voices may still move.
    ends = {}
    for note in soprano:
        end = note.onset + note.duration
        if note is soprano[-1]:
            ends[total] = note.onset
        elif note.fermata or any(note.onset <= onset < end for onset in held):
            ends[end] = note.onset
    found = []
    for end, fermata in sorted(ends.items()):
        if found and end - found[-1][2] < 2 * BEAT:  # an ornament under one fermata, no phrase of its own
            found[-1] = (*found[-1][:2], end)
        else:
            found.append((found[-1][2] if found else 0, fermata, end))
    return found


def _dice(sides, *what):
    """A number in ``[0, sides)`` that is always the same for the same ``what``."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:4], "big") % sides


def _clock(notes, found, work):
    """When each 32nd note of the score comes: ``(arrive, depart)`` in microseconds, a breath of silence between."""
    soprano = Counter(note.duration for note in notes if note.part == 0)
    beat = 2 * BEAT if soprano.most_common(1)[0][0] >= 2 * BEAT else BEAT
    unit = 60_000_000 // (66 + _dice(19, work, "tempo")) // beat
    arrive, depart = [0], [0]
    for start, fermata, end in found:
        last = end == found[-1][2]
        slowing = (4 if last else 2) * beat
        for t in range(start, end):
            if t >= fermata:  # at most a beat is added, however long the written note
                stretch = 1000 + 1000 * min((end - fermata) // 2, beat) // (end - fermata) + 300 * last
            else:  # the phrase starts broad, flows, and slows into its fermata
                broad = 60 * abs(2 * (t - start) - (fermata - start)) // (fermata - start)
                stretch = 970 + broad + 250 * max(0, t - (fermata - slowing)) // slowing
            arrive.append(depart[-1] + unit * stretch // 1000)
            depart.append(arrive[-1])
        depart[-1] += unit * beat * (30 + _dice(16, work, "breath", end)) // 100
    return arrive, depart


def perform(notes, work):
    """Play a score: tempo, phrases that swell, slow and breathe, a leading soprano, voices a few ms apart.

    Args:
        notes, work: list of `ScoreNote`; str that seeds the small irregularities, such as ``"bwv269"``.

    Returns:
        list of `Strike`, by start, then pitch; one key is never struck while it is down.
    """
    found = phrases(notes)
    arrive, depart = _clock(notes, found, work)
    voices = [[note.pitch for note in notes if note.part == part] for part in range(4)]
    mean_pitch = [sum(pitches) // max(len(pitches), 1) for pitches in voices]
    keys = {}  # pitch -> [[score onset, start, end, velocity], ...]
    for part, onset, duration, pitch, _ in notes:
        start, fermata, end = next(phrase for phrase in found if onset < phrase[2])
        length, position = fermata - start, onset - start
        swell = 72 * position * (length - position) // length**2 if 0 <= position < length else 0  # 0, 18, 0
        velocity = 50 + swell + PART_VELOCITY[part] + _dice(15, work, "level", start) - 7 + _dice(7, work, onset, part)
        velocity += max(-6, min(6, (pitch - mean_pitch[part]) // 2))  # rising lines grow
        velocity -= 3 * (onset % BEAT != 0)  # off the beat
        velocity -= (8 if end < found[-1][2] else 12) * (onset >= fermata)
        late = PART_DELAY[part] + _dice(8, work, "late", onset, part)
        down = (depart[onset] + 500) // 1000 + late
        up = (arrive[onset + duration] + 500) // 1000 - 10 - _dice(20, work, "up", onset, part)
        keys.setdefault(pitch, []).append([onset, down, up, max(1, min(127, velocity))])

    strikes = []
    for pitch, presses in keys.items():
        merged = []
        for onset, down, up, velocity in sorted(presses):
            before = merged[-1] if merged else None
            if before and before[0] == onset:  # two voices on one key: one note
                merged[-1] = [onset, min(before[1], down), max(before[2], up), max(before[3], velocity)]
            else:
                if before:  # the key must come up before it is struck again; who held it, holds on
                    up = max(up, before[2])
                    before[2] = min(before[2], down - min(60, (down - before[1]) // 8))
                merged.append([onset, down, up, velocity])
        strikes += [Strike(down, up, pitch, velocity) for _, down, up, velocity in merged]
    return sorted(strikes, key=lambda strike: (strike.start, strike.pitch))
