"""How a score is read and played: ties, unisons, repeated notes, fermatas."""

import numpy as np

from midigen_utils.data import chorale
from midigen_utils.data.chorale import ScoreNote


def chords(*beats):
    """A score of four voices, a chord per quarter; ``beats`` are ``(root, fermata)``."""
    return sorted(
        ScoreNote(part, 8 * t, 8, root + interval, fermata)
        for t, (root, fermata) in enumerate(beats)
        for part, interval in enumerate((12, 7, 4, -12))
    )


def test_fermata_is_heard_in_the_strikes():
    score = chords(*[(60, 0), (62, 0), (64, 0), (60, 1)] * 3)
    strikes = chorale.perform(score, "toy")
    starts = np.array([min(s.start for s in strikes[i : i + 4]) for i in range(0, len(strikes), 4)])
    ends = np.array([max(s.end for s in strikes[i : i + 4]) for i in range(0, len(strikes), 4)])
    beats = np.diff(starts)
    assert len(starts) == 12
    assert (ends - starts)[3] > 1.2 * beats[0]  # held
    assert starts[4] - ends[3] > 150  # a breath, in ms
    assert (ends - starts)[11] > (ends - starts)[3]  # the last one longest
    velocity = np.array([s.velocity for s in strikes]).reshape(-1, 4).mean(axis=1)
    assert velocity[3] < velocity[1] and velocity[3] < velocity[2]


def test_two_voices_on_one_key_are_one_note():
    score = [ScoreNote(part, 0, 16, pitch, 0) for part, pitch in enumerate((72, 60, 60, 48))]
    assert sorted(s.pitch for s in chorale.perform(score, "toy")) == [48, 60, 72]


def test_repeated_note_is_struck_again_and_a_held_key_stays_held():
    repeated = [ScoreNote(0, 0, 8, 72, 0), ScoreNote(0, 8, 8, 72, 0)]
    first, second = chorale.perform(repeated, "toy")
    assert 20 <= second.start - first.end <= 80
    crossing = [ScoreNote(0, 0, 32, 72, 0), ScoreNote(1, 8, 8, 72, 0)]
    first, second = chorale.perform(crossing, "toy")
    assert first.end < second.start and second.end > 2 * second.start  # to the end of the whole note


def test_tied_notes_are_one_note_with_the_fermata_of_any(tmp_path):
    from music21 import expressions, note, stream, tie

    parts = []
    for pitch in ("C5", "G4", "E4", "C3"):
        head, tail = note.Note(pitch, quarterLength=4), note.Note(pitch, quarterLength=2)
        head.tie, tail.tie = tie.Tie("start"), tie.Tie("stop")
        tail.expressions.append(expressions.Fermata())
        part = stream.Part()
        part.append([stream.Measure([head], number=1), stream.Measure([tail], number=2)])
        parts.append(part)
    path = stream.Score(parts).write("musicxml", tmp_path / "tied.musicxml")
    expected = [ScoreNote(part, 0, 48, pitch, 1) for part, pitch in enumerate((72, 67, 64, 48))]
    assert chorale.read_score(path) == expected


def test_chorale_without_fermatas_is_one_phrase():
    assert chorale.phrases(chords(*[(60, 0)] * 8)) == [(0, 56, 64)]
