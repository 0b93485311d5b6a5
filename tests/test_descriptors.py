"""Statistics and measures: against hand-worked toys, against muspy, and on whole corpora."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from midigen_utils import files
from midigen_utils.config import MIDI_CONFIG, NUM_PITCHES
from midigen_utils.data import descriptors
from midigen_utils.data.midi import Notes, read_notes, read_pedal
from midigen_utils.data.piano_roll import notes_to_roll, roll_to_notes
from tools import statistics
from tools.statistics import MEASURES

FS = MIDI_CONFIG["fs"]
SHIPPED = files.MAESTRO_STATISTICS


def make_notes(*rows):
    """``Notes`` of (start, end, pitch, velocity)."""
    rows = sorted(rows, key=lambda row: (row[0], row[2]))
    start, end, pitch, velocity = np.array(rows, dtype=float).reshape(-1, 4).T
    return Notes(start, end, pitch.astype(np.int64), velocity.astype(np.int64))


NOTHING = make_notes()
# C4 and E4 together, C4 struck again while it sounds, then A4.
TOY = make_notes((0, 1.5, 60, 10), (0, 0.5, 64, 20), (1, 2, 60, 20), (3, 3.1, 69, 127))


def random_roll(seed):
    """Thin random velocities of 200 to 399 frames, with runs, rests and a last frame that sounds."""
    rng = np.random.default_rng(seed)
    T = int(rng.integers(200, 400))
    roll = np.repeat(rng.random((T // 4 + 1, NUM_PITCHES)) < rng.uniform(0.005, 0.05), 4, axis=0)[:T]
    roll &= rng.random(roll.shape) < 0.9  # some of the runs in pieces
    roll[40:60] = False
    roll[-1, 40] = True
    return roll * np.float32(20 / 32)


def test_histogram_drops_nothing_but_nan():
    counts = statistics.histogram([-5, 0, 0.9, 1, 2.5, 3, 99, np.nan], edges=[0, 1, 2, 3])
    assert counts.tolist() == [3, 1, 3]


def test_note_histograms_of_the_toy():
    assert descriptors.pitch_class_histogram(TOY).tolist() == [2, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]


def test_a_note_ends_where_its_key_is_struck_again():
    assert descriptors.durations(TOY) == pytest.approx([1, 0.5, 1, 0.1])


def test_density_counts_onsets_in_half_open_seconds():
    assert statistics.onsets_per_second(TOY, duration=4.5).tolist() == [2, 1, 0, 1]
    assert statistics.onsets_per_second(TOY, duration=3.0).tolist() == [2, 1, 0]


def test_pedal_rate_is_the_time_it_is_down():
    pedal = np.array([[1.0, 2.0], [3.0, 9.0]])
    assert descriptors.pedal_rate(pedal, 10) == pytest.approx(0.7)
    assert descriptors.pedal_rate(pedal, 4) == pytest.approx(0.5)
    assert descriptors.pedal_rate(np.zeros((0, 2)), 4) == 0


def test_entropy_of_equal_shares_is_the_logarithm_of_their_number():
    assert descriptors.entropy([5] * 12) == pytest.approx(math.log2(12))
    assert descriptors.entropy([0, 7, 0]) == 0
    assert descriptors.entropy([2, 1, 1]) == pytest.approx(1.5)


def test_scale_consistency_knows_scales_and_chromatic_runs():
    d_major = [62, 64, 66, 67, 69, 71, 73]
    e_minor = [64, 66, 67, 69, 71, 72, 74]
    for scale in (d_major, e_minor):
        assert descriptors.scale_consistency(make_notes(*((i, i + 1, p, 64) for i, p in enumerate(scale)))) == 1
    chromatic = make_notes(*((i, i + 1, 60 + i, 64) for i in range(12)))
    assert descriptors.scale_consistency(chromatic) == pytest.approx(7 / 12)


def test_groove_of_a_steady_beat_is_perfect_and_one_moved_onset_shows():
    steady = [(beat / 2, beat / 2 + 0.25, 60, 64) for beat in range(8)]
    assert descriptors.groove_consistency(make_notes(*steady)) == 1
    moved = steady[:7] + [(3.75, 3.8, 60, 64)]  # one onset off, one on, of 32 steps
    assert descriptors.groove_consistency(make_notes(*moved)) == pytest.approx(1 - 2 / 32)


def test_qualified_notes_last_three_frames():
    notes = make_notes(*((i, i + frames / FS, 60, 64) for i, frames in enumerate([1, 2, 3, 4])))
    assert descriptors.qualified_note_rate(notes) == 0.5


def test_measures_of_what_sounds_together_on_a_toy_roll():
    roll = np.zeros((16, NUM_PITCHES))
    roll[0:4, 10] = 0.01
    roll[2:4, 20:22] = 1
    assert descriptors.keys_sounding(roll).tolist() == [1, 1, 3, 3] + [0] * 12
    assert descriptors.polyphony(roll) == 2


@pytest.mark.parametrize("seed", range(10))
def test_measures_agree_with_muspy(seed):
    muspy = pytest.importorskip("muspy", reason="muspy is not installed: pip install muspy")
    roll = random_roll(seed)
    roll = roll[:-1] if len(roll) % 32 == 0 or len(roll) % 8 == 0 else roll  # muspy adds a bar at a bar's end
    roll[-1, 40] = 0.5
    notes = roll_to_notes(roll, MIDI_CONFIG, velocity_threshold=0)
    ticks = np.rint(np.stack([notes.start, notes.end]) * FS).astype(int)
    music = muspy.Music(resolution=8, tracks=[muspy.Track()])
    music.tracks[0].notes = [
        muspy.Note(time=int(on), pitch=int(pitch), duration=int(off - on), velocity=int(velocity))
        for on, off, pitch, velocity in zip(*ticks, notes.pitch, notes.velocity, strict=True)
    ]
    ours = descriptors.describe(roll, MIDI_CONFIG)
    theirs = {
        "pitch_range": muspy.pitch_range(music),
        "num_pitches": muspy.n_pitches_used(music),
        "num_pitch_classes": muspy.n_pitch_classes_used(music),
        "polyphony": muspy.polyphony(music),
        "pitch_class_entropy": muspy.pitch_class_entropy(music),
        "scale_consistency": muspy.scale_consistency(music),
        "groove_consistency": muspy.groove_consistency(music, measure_resolution=32),
    }
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, rel=1e-12)
    assert descriptors.entropy(np.bincount(notes.pitch)) == pytest.approx(muspy.pitch_entropy(music))


def write_performance(path, seconds=4.0):
    """A C major chord held by the pedal, then a key struck twice; returns its path."""
    midi = pretty_midi.PrettyMIDI(initial_tempo=120)
    piano = pretty_midi.Instrument(program=0)
    piano.notes = [pretty_midi.Note(80, pitch, 0.5, 1.0) for pitch in (60, 64, 67)]
    piano.notes += [pretty_midi.Note(40, 72, start, start + 0.25) for start in (2.5, seconds - 0.25)]
    piano.control_changes = [pretty_midi.ControlChange(64, value, time) for value, time in [(127, 0.75), (0, 2.0)]]
    midi.instruments.append(piano)
    midi.write(str(path))
    return path


def test_measures_over_notes_and_over_their_roll_agree(tmp_path):
    path = write_performance(tmp_path / "a.mid")
    notes = read_notes(path)
    assert np.allclose(read_pedal(path), [[0.75, 2.0]])
    assert descriptors.durations(notes) == pytest.approx([1.5, 1.5, 1.5, 0.25, 0.25])
    measures = descriptors.describe(notes_to_roll(notes, MIDI_CONFIG) / 32, MIDI_CONFIG)
    assert measures["note_density"] == 5 / 4
    assert measures["pitch_range"] == descriptors.pitch_range(notes) == 12
    assert measures["pitch_class_entropy"] == descriptors.entropy(descriptors.pitch_class_histogram(notes))
    assert measures["polyphony"] == (24 * 3 + 8) / 32


def test_describe_has_a_histogram_for_every_measure():
    measures = descriptors.describe(random_roll(0), MIDI_CONFIG)
    assert measures.keys() <= MEASURES.keys()
    assert all(math.isfinite(value) for value in measures.values())


def test_silence_is_undefined_and_not_an_error():
    measures = descriptors.describe(np.zeros((64, NUM_PITCHES)), MIDI_CONFIG)
    zero = {name for name, value in measures.items() if value == 0}
    assert zero == {"note_density", "pitch_range", "num_pitches", "num_pitch_classes"}
    assert all(math.isnan(value) for name, value in measures.items() if name not in zero)
    assert len(descriptors.durations(NOTHING)) == 0
    assert statistics.onsets_per_second(NOTHING, duration=2).tolist() == [0, 0]
    assert len(descriptors.describe(np.zeros((0, NUM_PITCHES)), MIDI_CONFIG)) == len(measures)


def test_corpus_statistics_counts_every_note_and_says_what_it_is(tmp_path):
    paths = [write_performance(tmp_path / f"{i}.mid", seconds=4.0 + i) for i in range(3)]
    found = statistics.corpus_statistics({"train": paths[:2], "test": paths[2:]}, "here", "MIT")
    assert found["source"] == "here" and found["licence"] == "MIT"
    assert found["splits"] == {"train": 2, "test": 1} and found["pieces"] == 3
    assert found["notes"] == 15
    counts = {name: np.array(value["counts"]) for name, value in found["histograms"].items()}
    assert counts["pitch"][60 - 21] == 3 and counts["velocity"][40 - 1] == 6
    held = statistics.histogram([0.5] * 9 + [0.25] * 6, MEASURES["duration"][1])
    assert (counts["duration"] == held).all() and (counts["duration_pedal"] != held).any()
    assert counts["keys"].sum() == counts["keys_pedal"].sum() == (4 + 5 + 6) * FS
    assert counts["keys"][3] == 3 * FS / 2  # the keys are held for half a second of the chord's one and a half
    assert counts["keys_pedal"][3] == 3 * FS * 3 / 2
    assert counts["density"].sum() == 4 + 5 + 6
    assert counts["pedal_press"].sum() == counts["pedal_rate"].sum() == counts["polyphony"].sum() == 3


def test_statistics_file_is_the_same_for_any_order_and_is_replaced_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAESTRO_STATISTICS", tmp_path / "out" / "maestro_statistics.json")
    paths = [write_performance(tmp_path / f"{i}.mid", seconds=4.1 + i) for i in range(4)]
    found = statistics.write_statistics({"train": paths})
    written = tmp_path / "out" / "maestro_statistics.json"
    first = written.read_bytes()
    assert json.loads(first) == found
    assert "CC BY-NC-SA" in found["licence"] and "ASAP" not in found["source"]
    statistics.write_statistics({"train": paths[::-1]})
    assert written.read_bytes() == first
    broken = tmp_path / "broken.mid"
    broken.write_bytes(b"no music")
    with pytest.raises(ValueError, match="broken.mid"):
        statistics.write_statistics({"train": [*paths, broken]})
    assert written.read_bytes() == first
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_shipped_statistics_are_small_consistent_and_name_their_source():
    assert SHIPPED.stat().st_size < 30_000
    found = json.loads(SHIPPED.read_text(encoding="utf-8"))
    assert "MAESTRO" in found["source"] and "ASAP" in found["source"]
    assert found["licence"] == "CC BY-NC-SA 4.0"
    assert found["pieces"] == sum(found["splits"].values()) == 459
    total = {name: sum(value["counts"]) for name, value in found["histograms"].items()}
    for name in ("pitch", "pitch_class", "velocity", "duration", "duration_pedal"):
        assert total[name] == found["notes"]
    assert total["inter_onset"] == found["notes"] - found["pieces"]
    assert total["keys"] == total["keys_pedal"] == pytest.approx(found["hours"] * 3600 * FS, rel=1e-3)
    assert all(total[name] == 459 for name, (what, _) in MEASURES.items() if what.startswith(("pieces", "openings")))
    for name, (what, edges) in MEASURES.items():
        one = found["histograms"][name]
        assert one["what"] == what and one["edges"] == edges.tolist()
        assert len(one["edges"]) == len(one["counts"]) + 1


@pytest.mark.slow
def test_shipped_statistics_come_out_of_the_real_files_again(tmp_path):
    folder = Path(os.environ.get("MIDIGEN_DATA", "")) / "maestro-v3.0.0"
    paths = sorted(folder.rglob("*.midi"))
    if len(paths) != 459:
        pytest.skip("needs MIDIGEN_DATA with the 459 performances of MAESTRO that ASAP redistributes")
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    again = statistics.write_statistics({"all": paths}, tmp_path / "again.json")
    assert {**again, "splits": shipped["splits"]} == shipped
