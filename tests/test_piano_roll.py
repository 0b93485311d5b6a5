import mir_eval
import numpy as np
import pretty_midi
import pytest
from conftest import write_events
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.midi import Notes, read_notes, read_pedal
from midigen_utils.data.piano_roll import (
    bin_to_velocity,
    midi_to_bins,
    midi_to_piano_roll,
    notes_to_roll,
    piano_roll_to_midi,
    roll_to_notes,
    velocity_to_bin,
)

WHOLE = {**MIDI_CONFIG, "max_duration": None}


def notes(*rows):
    """`Notes` from (start, end, pitch, velocity)."""
    start, end, pitch, velocity = (np.array(column) for column in zip(*rows))
    return Notes(start.astype(float), end.astype(float), pitch, velocity)


def test_a_row_is_a_half_open_interval_and_a0_is_column_0():
    roll = notes_to_roll(notes((1 / 16, 3 / 16, 21, 64), (2 / 16, 4 / 16, 108, 64)), MIDI_CONFIG)
    assert roll.shape == (4, 88)
    assert np.flatnonzero(roll[:, 0]).tolist() == [1, 2]
    assert np.flatnonzero(roll[:, 87]).tolist() == [2, 3]


def test_onset_and_end_go_to_the_nearest_edge_of_a_row_and_halves_go_up():
    times = [(1.49, 3.49), (1.5, 3.5), (2.5, 4.5)]  # rows
    roll = notes_to_roll(notes(*((a / 16, b / 16, 60 + i, 64) for i, (a, b) in enumerate(times))), MIDI_CONFIG)
    assert [np.flatnonzero(roll[:, 39 + i]).tolist() for i in range(3)] == [[1, 2], [2, 3], [3, 4]]


def test_legato_notes_never_overlap_and_onsets_and_lengths_are_right_on_average():
    time = (2 * np.arange(480) + np.random.default_rng(0).uniform(0, 1, 480)) / 16  # each note at least a row long
    line = Notes(time[:-1], time[1:], 21 + np.arange(479) % 88, np.full(479, 64))
    roll = notes_to_roll(line, MIDI_CONFIG)
    back = roll_to_notes(roll / 32, MIDI_CONFIG, 0)
    assert np.array_equal(back.pitch, line.pitch) and (roll > 0).sum(1).max() == 1
    assert abs(np.mean(back.start - line.start)) < 0.002
    assert abs(np.mean(back.end - back.start - (line.end - line.start))) < 0.002


def test_every_note_gets_a_frame_however_short():
    roll = notes_to_roll(notes((0.5001, 0.5002, 60, 64)), MIDI_CONFIG)
    assert roll[:, 60 - 21].nonzero()[0].tolist() == [8]


def test_a_restruck_key_stays_two_notes():
    roll = notes_to_roll(notes((0, 1, 60, 64), (0.5, 1, 60, 100)), MIDI_CONFIG)
    back = roll_to_notes(roll / 32, MIDI_CONFIG, 0)
    assert back.start.tolist() == [0, 0.5]
    assert back.end.tolist() == [7 / 16, 1]  # the row before the new onset is silent


def test_a_note_before_a_restrike_is_written_a_quarter_row_longer_and_reads_back_the_same(tmp_path):
    roll = np.zeros((16, 88), np.float32)
    roll[0:7, 39] = roll[8:10, 39] = roll[12:14, 39] = roll[8:16, 50] = 0.5  # a gap of one row, a gap of two
    piano_roll_to_midi(roll, MIDI_CONFIG, tmp_path / "x.mid")
    back = read_notes(tmp_path / "x.mid")
    assert (back.end * 16)[back.pitch == 60].tolist() == pytest.approx([7.25, 10, 14], abs=0.02)  # ticks are whole
    assert np.array_equal(midi_to_piano_roll(tmp_path / "x.mid", MIDI_CONFIG), roll)


def test_of_two_strikes_in_one_row_the_later_one_stands():
    roll = notes_to_roll(notes((0, 0.5, 60, 10), (0.01, 0.5, 60, 120)), MIDI_CONFIG)
    assert set(roll[:, 39]) == {velocity_to_bin(120, MIDI_CONFIG)}


def test_velocity_is_that_of_the_onset_row_and_a_change_strikes_nothing():
    roll = np.zeros((8, 88))
    roll[2:4, 10], roll[4:6, 10] = 0.25, 0.75
    back = roll_to_notes(roll, MIDI_CONFIG, 0)
    assert len(back.start) == 1
    assert back.velocity[0] == bin_to_velocity(8, MIDI_CONFIG)


@pytest.mark.parametrize("bins", [1, 2, 10, 32, 64, 127])
def test_velocity_bins_keep_the_order_and_come_back(bins):
    config = {**MIDI_CONFIG, "velocity_bins": bins}
    velocity = np.arange(1, 128)
    binned = velocity_to_bin(velocity, config)
    assert (np.unique(binned) == np.arange(1, bins + 1)).all()
    assert (np.diff(binned) >= 0).all()
    assert (velocity_to_bin(bin_to_velocity(binned, config), config) == binned).all()
    assert np.abs(bin_to_velocity(binned, config) - velocity).max() <= 127 / bins / 2 + 1


def test_quietest_note_survives_the_round_trip(tmp_path):
    path = write_events(tmp_path / "ppp.mid", [(0, "on", 60, 1), (480, "off", 60, 0)])
    roll = midi_to_piano_roll(path, MIDI_CONFIG)
    assert 0 < roll.max() < 0.05
    piano_roll_to_midi(roll, MIDI_CONFIG, tmp_path / "back.mid", velocity_threshold=0)
    assert len(read_notes(tmp_path / "back.mid").start) == 1


def test_default_threshold_drops_what_is_not_above_three_tenths(tmp_path):
    roll = np.zeros((4, 88), np.float32)
    roll[:, 0], roll[:, 1], roll[:, 2] = 0.3, 0.29, 0.31
    roll[:, 0] = np.float32(0.25)
    midi = piano_roll_to_midi(roll, MIDI_CONFIG, tmp_path / "p.mid")
    assert [note.pitch for note in midi.instruments[0].notes] == [23]


bin_rolls = arrays(np.uint8, st.tuples(st.integers(1, 40), st.just(88)), elements=st.integers(0, 32), fill=st.just(0))


@given(bin_rolls.filter(lambda roll: roll.any()), st.sampled_from([8, 16, 31, 100]))
def test_roll_to_midi_to_roll_keeps_every_key_of_every_row(tmp_path_factory, bins, fs):
    config = {**MIDI_CONFIG, "fs": fs}
    onset_velocity = np.zeros_like(bins)  # one velocity a note: that of its onset, as the codec promises
    for t in range(len(bins)):
        held = (bins[t] > 0) & (bins[t - 1] > 0) if t else np.zeros(88, bool)
        onset_velocity[t] = np.where(held, onset_velocity[t - 1], bins[t])
    path = tmp_path_factory.mktemp("roll") / "r.mid"
    piano_roll_to_midi(bins / 32, config, path, velocity_threshold=0)
    assert np.array_equal(midi_to_bins(path, config), onset_velocity)


@pytest.mark.parametrize("fs", [1, 8, 10, 16, 16.0, 25, 32, 50, 64, 100, 1000])
def test_onsets_are_exact_at_every_frame_rate(tmp_path, fs):
    config = {**MIDI_CONFIG, "fs": fs, "max_duration": None}
    bins = np.zeros((int(7 * fs) + 3, 88), np.uint8)
    bins[::3, 50] = 16
    bins[-1, 50] = 16
    piano_roll_to_midi(bins / 32, config, tmp_path / "r.mid", velocity_threshold=0)
    assert np.array_equal(midi_to_bins(tmp_path / "r.mid", config), bins)


@given(
    st.lists(
        st.tuples(st.floats(0, 90), st.floats(0, 5), st.integers(0, 127), st.integers(1, 127)), min_size=1, max_size=60
    ),
    st.sampled_from([8, 16, 31]),
)
def test_any_notes_give_values_in_range_and_no_strike_is_lost_to_the_row_before(rows, fs):
    rows = sorted((start, start + length, pitch, velocity) for start, length, pitch, velocity in rows)
    config = {**MIDI_CONFIG, "fs": fs, "max_duration": None}
    music = notes(*rows)
    inside = (music.pitch >= 21) & (music.pitch <= 108)
    if not inside.any():
        with pytest.raises(ValueError, match="no notes"):
            notes_to_roll(music, config)
        return
    roll = notes_to_roll(music, config)
    assert roll.dtype == np.uint8 and roll.max() <= 32
    back = roll_to_notes(roll / 32, config, 0)
    wanted = {(int(p), int(np.floor(s * fs + 0.5))) for s, p in zip(music.start[inside], music.pitch[inside])}
    found = set(zip(back.pitch.tolist(), np.rint(back.start * fs).astype(int).tolist()))
    melted = {(p, t) for p, t in wanted if (p, t - 1) in wanted}  # one row after another: two rows of one note
    assert found <= wanted
    assert wanted - found <= melted


def test_pedal_holds_a_note_until_it_comes_up_or_the_key_is_struck(tmp_path):
    events = [(0, "pedal", 0, 100), (0, "on", 60, 64), (240, "off", 60, 0), (0, "on", 62, 64), (240, "off", 62, 0)]
    events += [(960, "on", 62, 64), (1200, "off", 62, 0), (1920, "pedal", 0, 0)]
    path = write_events(tmp_path / "pedal.mid", events)
    roll = midi_to_piano_roll(path, MIDI_CONFIG) > 0
    assert roll[:, 39].sum() == 32  # two seconds
    assert np.flatnonzero(~roll[:, 41]).tolist() == [15]  # re-struck after one second, held to the end
    dry = midi_to_piano_roll(path, MIDI_CONFIG, sustain=False) > 0
    assert dry[:, 39].sum() == 4
    assert read_pedal(path).tolist() == [[0, 2]]


def test_pedal_value_64_is_down_and_63_is_up(tmp_path):
    events = [(0, "on", 60, 64), (0, "pedal", 0, 64), (96, "off", 60, 0), (960, "pedal", 0, 63)]
    assert read_notes(write_events(tmp_path / "p.mid", events)).end[0] == 1.0


def test_pedal_that_never_comes_up_ends_with_the_piece(tmp_path):
    events = [(0, "pedal", 0, 127), (0, "on", 60, 64), (96, "off", 60, 0), (960, "on", 64, 64), (1920, "off", 64, 0)]
    assert read_notes(write_events(tmp_path / "p.mid", events)).end.tolist() == [2.0, 2.0]


def test_first_sixty_seconds_and_the_whole_piece(tmp_path):
    events = [(960 * s, kind, 60, 64) for s in range(0, 120, 2) for kind in ("on",)]
    events += [(960 * s + 480, "off", 60, 0) for s in range(0, 120, 2)]
    path = write_events(tmp_path / "long.mid", events)
    assert midi_to_piano_roll(path, MIDI_CONFIG).shape == (960, 88)
    whole = midi_to_piano_roll(path, WHOLE)
    assert whole.shape == (int(118.5 * 16), 88)
    assert np.array_equal(whole[:960], midi_to_piano_roll(path, MIDI_CONFIG))


def test_empty_roll_is_a_valid_midi_file_of_its_length(tmp_path):
    midi = piano_roll_to_midi(np.zeros((160, 88)), MIDI_CONFIG, tmp_path / "rest.mid")
    assert midi.instruments[0].notes == []
    assert pretty_midi.PrettyMIDI(str(tmp_path / "rest.mid")).get_end_time() == pytest.approx(10)
    assert list(tmp_path.iterdir()) == [tmp_path / "rest.mid"]  # no temporary file stays


@pytest.mark.parametrize(
    ("roll", "message"),
    [
        (np.zeros((88, 200)), "transpose"),
        (np.zeros((10, 128)), r"\(T, 88\)"),
        (np.zeros(88), r"\(T, 88\)"),
        (np.full((10, 88), np.nan), "NaN"),
    ],
)
def test_a_roll_that_is_none_is_refused_in_words(tmp_path, roll, message):
    with pytest.raises(ValueError, match=message):
        piano_roll_to_midi(roll, MIDI_CONFIG, tmp_path / "x.mid")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change", [{"fs": 0}, {"fs": 2.5}, {"velocity_bins": 0}, {"max_duration": -1}, {"min_pitch": 90, "max_pitch": 80}]
)
def test_a_config_out_of_range_is_refused(change):
    with pytest.raises(ValueError, match="config"):
        notes_to_roll(notes((0, 1, 60, 64)), {**MIDI_CONFIG, **change})


def test_notes_are_those_of_pretty_midi_on_real_files(maestro_folder):
    for path in sorted(maestro_folder.glob("*/*.midi"))[::60]:
        midi = pretty_midi.PrettyMIDI(str(path))
        theirs = sorted((n.pitch, n.start, n.end, n.velocity) for i in midi.instruments for n in i.notes)
        ours = read_notes(path, sustain=False)
        ours = sorted(zip(ours.pitch, ours.start, ours.end, ours.velocity))
        assert np.shape(ours) == np.shape(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sustain", [True, False])
def test_cells_are_those_of_pretty_midi_on_real_files(maestro_folder, sustain):
    """At 100 frames a second they differ only at re-strikes. It floors times: half a row later is rounded."""
    for path in sorted(maestro_folder.glob("*/*.midi"))[::120]:
        midi = pretty_midi.PrettyMIDI(str(path))
        for event in midi.instruments[0].control_changes:
            event.time += 0.005
        for note in midi.instruments[0].notes:
            note.start, note.end = note.start + 0.005, note.end + 0.005
        theirs = midi.get_piano_roll(100, pedal_threshold=64 if sustain else None)[21:109].T > 0
        ours = midi_to_piano_roll(path, {**WHOLE, "fs": 100}, sustain) > 0
        rows = min(len(ours), len(theirs))
        ours, theirs = ours[:rows], theirs[:rows]
        few = 0.01 if sustain else 0.001
        assert (theirs & ~ours).sum() < few * theirs.sum()
        assert (ours & ~theirs).sum() < few * ours.sum()


def onset_f1(true, found):
    """mir_eval's onset F1 with a tolerance of one frame; a note that starts and ends at once is given a millisecond."""
    intervals = [np.stack([n.start, np.maximum(n.end, n.start + 1e-3)], axis=1) for n in (true, found)]
    hertz = [440 * 2 ** ((n.pitch - 69) / 12) for n in (true, found)]
    return mir_eval.transcription.precision_recall_f1_overlap(
        intervals[0], hertz[0], intervals[1], hertz[1], onset_tolerance=1 / 16, offset_ratio=None
    )[2]


@pytest.mark.parametrize("sustain", [True, False])
def test_onsets_of_real_performances_survive_the_round_trip(maestro_folder, tmp_path, sustain):
    scores = []
    for path in sorted(maestro_folder.glob("*/*.midi"))[::60]:
        roll = midi_to_piano_roll(path, MIDI_CONFIG, sustain=sustain)
        piano_roll_to_midi(roll, MIDI_CONFIG, tmp_path / "back.mid", velocity_threshold=0)
        true, back = read_notes(path, sustain=sustain), read_notes(tmp_path / "back.mid")
        true = Notes(*(column[true.start < 60] for column in true))
        scores.append(onset_f1(true, back))
    assert np.mean(scores) > 0.998
