"""The Bach corpus: what is in it, how it is played, and that it is never half there."""

import csv
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from midigen_utils import files
from midigen_utils.data import bach, chorale
from midigen_utils.data.midi import read_notes, read_pedal, write_midi
from tools import bach_list

REPOSITORY = Path(__file__).parent.parent
BWV269 = "755fc3481f7d30954605d50d8d574dce240d972cb99c91f05b34caec038845ee"  # of ms of start and end, key, velocity


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """The whole corpus, built once: ``(folder, rows of its csv, scores by work)``."""
    scores = {}

    def read_and_keep(path):
        return scores.setdefault(path.stem, chorale.read_score(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bach, "read_score", read_and_keep)
        folder = bach.build_bach(tmp_path_factory.mktemp("bach") / "bach-chorales")
    return folder, read_csv(folder), scores


@pytest.fixture
def few(monkeypatch):
    """Pin eight works only, so that a build takes half a second."""
    version, rows = bach.read_list()
    rows = rows[100:108]
    monkeypatch.setattr(bach, "read_list", lambda: (version, rows))
    return rows


def read_csv(folder):
    with open(folder / "bach-chorales.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_midi(path):
    """Notes by start, then pitch: a dict of arrays, start and end in seconds."""
    return read_notes(path)._asdict()


def folders(parent):
    return [path.name for path in parent.iterdir() if path.is_dir()]


def fingerprints(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


# ---------------------------------------------------------------- what is in it


def test_corpus_holds_the_four_part_chorales(corpus):
    folder, rows, scores = corpus
    assert len(rows) == 365
    assert len({row["midi_filename"] for row in rows}) == 365
    assert {path.name for path in folder.iterdir()} == {row["midi_filename"] for row in rows} | {"bach-chorales.csv"}
    for notes in scores.values():
        assert {note.part for note in notes} == {0, 1, 2, 3}


def test_csv_has_the_seven_columns_of_maestro(corpus):
    _, rows, _ = corpus
    assert tuple(rows[0]) == bach.COLUMNS
    assert all(row["canonical_composer"] == "Johann Sebastian Bach" for row in rows)
    titles = {row["midi_filename"]: row["canonical_title"] for row in rows}
    assert titles["bwv269.mid"] == "Aus meines Herzens Grunde"
    assert titles["bwv66.6.mid"] == "BWV 66.6"  # music21 knows no title


def test_durations_are_those_of_the_files(corpus):
    folder, rows, _ = corpus
    for row in rows:
        assert abs(float(row["duration"]) - read_midi(folder / row["midi_filename"])["end"].max()) < 0.1
    seconds = np.array([float(row["duration"]) for row in rows])
    assert ((seconds >= 30) & (seconds <= 90)).mean() > 0.85


def test_splits_are_about_80_10_10(corpus):
    _, rows, _ = corpus
    pieces = Counter(row["split"] for row in rows)
    assert set(pieces) == {"train", "validation", "test"}
    for split, share in bach_list.SHARES.items():
        assert abs(pieces[split] / len(rows) - share) < 0.025


def test_no_soprano_is_in_two_splits_at_any_transposition(corpus):
    _, rows, scores = corpus
    whole, opening = defaultdict(set), defaultdict(set)
    for row in rows:
        soprano = [note for note in scores[row["midi_filename"][:-4]] if note.part == 0]
        steps = [b.pitch - a.pitch for a, b in zip(soprano, soprano[1:], strict=False)]
        whole[tuple(steps)].add(row["split"])
        opening[tuple(step for step in steps if step)[:12]].add(row["split"])
    assert len(whole) < len(rows) - 5  # there are such pairs
    assert all(len(splits) == 1 for splits in whole.values())
    assert all(len(splits) == 1 for splits in opening.values())


def test_top_line_of_the_files_is_in_one_split_only(corpus):
    folder, rows, _ = corpus
    lines = defaultdict(set)
    for row in rows:
        notes = read_midi(folder / row["midi_filename"])
        top = [
            pitch
            for start, pitch in zip(notes["start"], notes["pitch"], strict=True)
            if pitch == notes["pitch"][(notes["start"] < start + 0.03) & (notes["end"] > start + 0.03)].max()
        ]
        lines[tuple(np.diff(top)[:20])].add(row["split"])
    assert all(len(splits) == 1 for splits in lines.values())


def test_one_melody_is_in_one_split():
    rows = bach.read_list()[1]
    assert len({(row["melody"], row["split"]) for row in rows}) == len({row["melody"] for row in rows})


def test_a_tune_is_known_again_in_another_key_and_with_ornaments(corpus):
    scores = corpus[2]
    tune = bach_list.tune_of(scores["bwv269"])
    higher = [note._replace(pitch=note.pitch + 5) for note in scores["bwv269"]]
    assert bach_list.same_tune(tune, bach_list.tune_of(higher))
    passion = [bach_list.tune_of(scores[work]) for work in ("bwv244.15", "bwv244.54", "bwv244.62", "bwv270")]
    assert all(bach_list.same_tune(passion[0], other) for other in passion)
    assert not bach_list.same_tune(tune, passion[0])


def test_list_agrees_with_scores_and_files(corpus):
    folder, _, scores = corpus
    for row in bach.read_list()[1]:
        assert row["hash"] == chorale.notes_hash(scores[row["work"]])
        notes = read_midi(folder / f"{row['work']}.mid")
        assert int(row["notes"]) == len(notes["pitch"])
        last_bass = notes["pitch"][notes["end"] > notes["end"].max() - 0.1].min()
        assert bach_list.PITCH_CLASSES[last_bass % 12] == row["final"]


# ---------------------------------------------------------------- how it is played


def test_velocities_vary_within_every_piece(corpus):
    folder, rows, _ = corpus
    for row in rows:
        velocity = read_midi(folder / row["midi_filename"])["velocity"]
        assert velocity.std() > 5 and velocity.min() >= 20 and velocity.max() <= 110


def test_every_note_is_on_the_piano_and_no_key_is_struck_while_down(corpus):
    folder, rows, _ = corpus
    for row in rows:
        notes = read_midi(folder / row["midi_filename"])
        assert notes["pitch"].min() >= 21 and notes["pitch"].max() <= 108
        assert (notes["end"] - notes["start"]).min() > 0.03
        order = np.lexsort((notes["start"], notes["pitch"]))
        pitch, start, end = (notes[name][order] for name in ("pitch", "start", "end"))
        again = pitch[1:] == pitch[:-1]
        assert (start[1:] - end[:-1])[again].min(initial=1) >= 0.009


def test_every_fermata_is_slower_and_softer_than_what_leads_to_it(corpus):
    softer = []
    for work, notes in list(corpus[2].items())[::4]:
        found = chorale.phrases(notes)
        arrive, depart = chorale._clock(notes, found, work)
        strikes = chorale.perform(notes, work)
        for start, fermata, end in found:
            bar = max(start, fermata - 32)
            if fermata - bar < 16:
                continue
            pace, held = (
                (arrive[fermata] - depart[bar]) / (fermata - bar),
                (arrive[end] - depart[fermata]) / (end - fermata),
            )
            assert held > 1.1 * pace, work
            before, under = (
                np.mean([s.velocity for s in strikes if depart[a] <= 1000 * s.start < depart[b]])
                for a, b in ((bar, fermata), (fermata, fermata + 1))
            )
            softer.append(before - under)
    assert len(softer) > 400
    assert np.mean(np.array(softer) > 0) > 0.99 and np.mean(softer) > 8


def test_voices_are_a_few_milliseconds_apart_and_the_soprano_is_louder(corpus):
    spread, louder = [], []
    for work, notes in list(corpus[2].items())[::20]:
        strikes = chorale.perform(notes, work)
        for first in range(len(strikes) - 3):
            chord = strikes[first : first + 4]
            if chord[3].start - chord[0].start <= 15:
                spread.append(chord[3].start - chord[0].start)
                top = max(chord, key=lambda s: s.pitch)
                louder.append(top.velocity - np.mean([s.velocity for s in chord if s is not top]))
    assert len(spread) > 500 and 3 < np.mean(spread) < 15
    assert np.mean(louder) > 4


# ---------------------------------------------------------------- the same on every machine


def test_notes_are_those_of_every_machine(corpus):
    notes = read_notes(corpus[0] / "bwv269.mid")
    rows = [np.rint(1000 * notes.start), np.rint(1000 * notes.end), notes.pitch, notes.velocity]
    assert hashlib.sha256(np.array(rows).astype("<i8").tobytes()).hexdigest() == BWV269


def test_times_are_whole_milliseconds_and_no_pedal_is_pressed(corpus):
    folder, rows, _ = corpus
    for row in rows[::20]:
        notes = read_midi(folder / row["midi_filename"])
        for column in (notes["start"], notes["end"]):
            assert np.abs(1000 * column - np.rint(1000 * column)).max() < 1e-6
        assert len(read_pedal(folder / row["midi_filename"])) == 0


def test_other_notes_are_an_error_that_names_the_work(few, tmp_path):
    few[2] = {**few[2], "hash": "0" * 16}
    few[5] = {**few[5], "work": "bwv9999"}
    with pytest.raises(RuntimeError, match=rf"{few[2]['work']}, bwv9999.*pip install music21=="):
        bach.build_bach(tmp_path / "b")
    assert folders(tmp_path) == []


# ---------------------------------------------------------------- whole or not at all


def test_second_call_returns_at_once(few, tmp_path, monkeypatch):
    folder = bach.build_bach(tmp_path / "b")
    monkeypatch.setattr(bach, "read_score", None)
    assert bach.build_bach(folder) == folder


def test_default_folder_is_below_midi_data_or_the_shared_one(few, tmp_path, monkeypatch):
    monkeypatch.delenv("MIDIGEN_DATA", raising=False)
    monkeypatch.setattr(files, "MIDI_DATA", tmp_path / "midi_data")
    folder = bach.build_bach()
    assert folder == tmp_path / "midi_data" / "bach-chorales"
    folder.rename(tmp_path / "bach-chorales")
    monkeypatch.setenv("MIDIGEN_DATA", str(tmp_path))
    assert bach.build_bach() == tmp_path / "bach-chorales"


def test_interrupted_build_leaves_nothing(few, tmp_path, monkeypatch):
    calls = []

    def interrupt(*args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return write_midi(*args, **options)

    monkeypatch.setattr(bach, "write_midi", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bach.build_bach(tmp_path / "b")
    assert folders(tmp_path) == []


SCRIPT = """
import sys
from midigen_utils.data import bach
version, rows = bach.read_list()
bach.read_list = lambda: (version, rows[:300])
bach.build_bach(sys.argv[1])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_build_is_not_taken_for_whole(few, tmp_path):
    run = [sys.executable, "-c", SCRIPT, str(tmp_path / "b")]
    with subprocess.Popen(run, stderr=subprocess.DEVNULL, cwd=REPOSITORY) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob(".b.tmp/*.mid")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.glob(".b.tmp/*.mid")), "the build had begun"
    assert folders(tmp_path) == [".b.tmp"]
    assert len(read_csv(bach.build_bach(tmp_path / "b"))) == 8
    assert folders(tmp_path) == ["b"]


def test_two_builds_at_once_do_no_harm(few, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        builds = [pool.submit(bach.build_bach, tmp_path / "b") for _ in range(3)]
        assert {build.result() for build in builds} == {tmp_path / "b"}
    assert len(read_csv(tmp_path / "b")) == 8
    assert folders(tmp_path) == ["b"]


def test_damaged_folder_is_built_anew_but_never_a_foreign_one(few, tmp_path):
    folder = bach.build_bach(tmp_path / "b")
    before = fingerprints(folder)
    (folder / f"{few[0]['work']}.mid").unlink()
    assert fingerprints(bach.build_bach(folder)) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "song.mid").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="song.mid"):
        bach.build_bach(tmp_path / "mine")
    assert (tmp_path / "mine" / "song.mid").exists()
