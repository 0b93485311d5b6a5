"""Anybody's MIDI files: whatever is in them, a roll comes out, or one error that names the file."""

import os
import random
import struct
import subprocess
import sys
import time
import warnings
from itertools import chain
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data import bach
from midigen_utils.data.midi import read_notes, read_pedal, read_with_duration
from midigen_utils.data.piano_roll import MAX_CELLS, midi_to_bins, midi_to_piano_roll

WHOLE = {**MIDI_CONFIG, "max_duration": None}
REPOSITORY = Path(__file__).parent.parent
NAMES = ["a.mid", "Étude № 3, «Übung» (копия) 練習.MIDI", "two  spaces and a ' quote.mid", "-x.mid", "%s{0}.midi"]

# ---- the smallest files, byte by byte, from the specification: 480 ticks a beat, 120 beats a minute, key 60 ----


def number(value):
    """A number as MIDI files write it: seven bits a byte, the eighth says that more follow."""
    return bytes([value >> shift & 127 | 128 for shift in (21, 14, 7) if value >> shift] + [value & 127])


def at(*events):
    """Track bytes of events `(tick, bytes)`, in this order."""
    ticks = [0, *(tick for tick, _ in events)]
    return b"".join(number(tick - last) + event for last, (tick, event) in zip(ticks, events))


def on(key=60, velocity=64, channel=0):
    return bytes([0x90 | channel, key, velocity])


def off(key=60, channel=0):
    return bytes([0x80 | channel, key, 0])


def control(controller, value=0, channel=0):
    return bytes([0xB0 | channel, controller, value])


def program(number, channel=0):
    return bytes([0xC0 | channel, number])


def tempo(microseconds):
    return b"\xff\x51\x03" + microseconds.to_bytes(3, "big")


DOWN, UP, END = control(64, 127), control(64, 0), b"\xff\x2f\x00"
NOTE = at((0, on()), (480, off()))  # half a second


def chunk(body, name=b"MTrk"):
    return name + struct.pack(">I", len(body)) + body


def midi_bytes(*tracks, kind=1, division=480, count=None):
    """A file of tracks, each with its End of Track at its last event."""
    header = struct.pack(">HHH", kind, len(tracks) if count is None else count, division)
    return chunk(header, b"MThd") + b"".join(chunk(track + b"\0" + END) for track in tracks)


@pytest.fixture
def notes_of(tmp_path):
    """A function: the notes of a file of these bytes, `(key, start, end)` in order of start."""

    def read(data, **options):
        (tmp_path / "x.mid").write_bytes(data)
        notes = read_notes(tmp_path / "x.mid", **options)
        return list(zip(notes.pitch.tolist(), notes.start.tolist(), notes.end.tolist()))

    return read


@pytest.fixture
def pedal_of(tmp_path):
    def read(data):
        (tmp_path / "x.mid").write_bytes(data)
        return read_pedal(tmp_path / "x.mid").tolist()

    return read


# Rule 1: messages of one tick act in the order of the file.


def test_a_key_let_go_just_before_the_pedal_comes_down_is_not_held_by_it(notes_of):
    track = at((0, on(60)), (480, off(60)), (480, DOWN), (480, on(62)), (960, off(62)), (1440, UP))
    assert notes_of(midi_bytes(track)) == [(60, 0, 0.5), (62, 0.5, 1.5)]


def test_a_key_let_go_just_after_the_pedal_comes_down_is_held_by_it(notes_of):
    track = at((0, on(60)), (480, DOWN), (480, off(60)), (1440, UP))
    assert notes_of(midi_bytes(track)) == [(60, 0, 1.5)]


def test_a_pedal_that_comes_up_and_down_on_one_tick_lets_the_notes_before_end(notes_of, pedal_of):
    data = midi_bytes(at((0, DOWN), (0, on(60)), (240, off(60)), (480, UP), (480, DOWN), (960, UP)))
    assert notes_of(data) == [(60, 0, 0.5)]
    assert pedal_of(data) == [[0, 0.5], [0.5, 1]]


def test_a_release_and_a_strike_on_one_tick_are_two_notes_in_either_order(notes_of):
    first_off = at((0, on()), (480, off()), (480, on()), (960, off()))
    assert notes_of(midi_bytes(first_off)) == [(60, 0, 0.5), (60, 0.5, 1)]
    first_on = at((0, on()), (480, on()), (480, off()))  # the new note is let go where it is struck
    assert notes_of(midi_bytes(first_on)) == [(60, 0, 0.5), (60, 0.5, 0.5)]


def test_tracks_act_in_the_order_of_the_file_on_one_tick(notes_of):
    strings, piano = at((0, program(48))), at((0, on()), (480, off()))
    with pytest.raises(ValueError, match="program 48"):
        notes_of(midi_bytes(strings, piano))
    assert notes_of(midi_bytes(piano, strings)) == [(60, 0, 0.5)]


# Rule 2: state belongs to the channel, whichever track and program it comes from.


def test_a_pedal_on_another_track_of_the_channel_holds(notes_of):
    assert notes_of(midi_bytes(at((0, DOWN), (960, UP)), NOTE)) == [(60, 0, 1)]
    assert notes_of(midi_bytes(NOTE, at((0, DOWN), (960, UP)))) == [(60, 0, 1)]


def test_a_pedal_of_another_channel_does_not_hold(notes_of):
    assert notes_of(midi_bytes(at((0, control(64, 127, channel=1))) + NOTE)) == [(60, 0, 0.5)]


def test_a_pedal_that_comes_up_after_a_program_change_comes_up(notes_of):
    track = at((0, on()), (0, DOWN), (240, off()), (480, program(48)), (960, UP), (1920, off(61)))
    assert notes_of(midi_bytes(track)) == [(60, 0, 1)]


def test_a_key_held_over_a_program_change_is_let_go_by_its_release(notes_of):
    assert notes_of(midi_bytes(at((0, on()), (240, program(48)), (480, off()), (960, UP)))) == [(60, 0, 0.5)]


def test_a_program_set_on_another_track_makes_the_channel_a_violin(notes_of):
    with pytest.raises(ValueError, match="program 40"):
        notes_of(midi_bytes(at((0, program(40))), NOTE))
    assert notes_of(midi_bytes(at((0, program(40))), NOTE), all_instruments=True) == [(60, 0, 0.5)]


def test_a_note_is_of_the_program_in_force_when_it_is_struck(notes_of):
    track = at((0, on(60)), (0, program(40)), (0, on(62)), (480, off(60)), (480, off(62)), (480, program(0)))
    assert notes_of(midi_bytes(track + at((0, on(64)), (480, off(64))))) == [(60, 0, 0.5), (64, 0.5, 1)]


def test_a_program_change_on_the_channel_of_drums_makes_no_piano(notes_of):
    with pytest.raises(ValueError, match="only drums"):
        notes_of(midi_bytes(at((0, program(0, 9)), (0, on(60, 64, 9)), (480, off(60, 9)))), all_instruments=True)


# Rule 3: a strike ends the note of its key that still sounds, a release with nothing sounding is ignored.


def test_no_strike_is_lost_and_a_second_one_ends_the_first(notes_of):
    track = at((0, on()), (480, on()), (960, off()), (1440, on()), (1920, on()), (2400, off()), (2880, on()))
    five = [(60, 0, 0.5), (60, 0.5, 1), (60, 1.5, 2), (60, 2, 2.5), (60, 3, 3.5)]
    assert notes_of(midi_bytes(track + at((480, off())))) == five


def test_a_release_with_nothing_sounding_is_ignored(notes_of):
    assert notes_of(midi_bytes(at((0, off()), (0, on()), (480, off()), (960, off())))) == [(60, 0, 0.5)]


def test_a_strike_ends_a_note_that_only_the_pedal_holds(notes_of):
    track = at((0, DOWN), (0, on()), (240, off()), (480, on()), (720, off()), (960, UP))
    assert notes_of(midi_bytes(track)) == [(60, 0, 0.5), (60, 0.5, 1)]
    assert notes_of(midi_bytes(track), sustain=False) == [(60, 0, 0.25), (60, 0.5, 0.75)]


def test_one_key_on_two_channels_is_two_strings(notes_of):
    track = at((0, on()), (240, on(60, 64, 1)), (480, off()), (960, off(60, 1)))
    assert notes_of(midi_bytes(track)) == [(60, 0, 0.5), (60, 0.25, 1)]


def test_a_strike_of_velocity_0_is_a_release_and_running_status_goes_on(notes_of):
    assert notes_of(midi_bytes(b"\0\x90\x3c\x40" + number(480) + b"\x3c\0")) == [(60, 0, 0.5)]


# Rule 4: tempo.


def test_of_several_tempos_on_one_tick_the_last_in_the_file_counts(notes_of):
    slow, fast = tempo(1_000_000), tempo(250_000)
    assert notes_of(midi_bytes(at((0, slow), (0, fast)) + NOTE)) == [(60, 0, 0.25)]
    assert notes_of(midi_bytes(at((0, fast)), at((0, slow)) + NOTE)) == [(60, 0, 1)]
    assert notes_of(midi_bytes(at((0, slow)), at((0, fast)) + NOTE)) == [(60, 0, 0.25)]
    assert notes_of(midi_bytes(at((240, slow)), at((0, fast)) + NOTE)) == [(60, 0, 0.125 + 0.5)]


def test_a_tempo_on_the_last_track_counts_for_all(notes_of):
    assert notes_of(midi_bytes(NOTE, at((240, tempo(1_000_000))))) == [(60, 0, 0.75)]


def test_tracks_of_a_type_2_file_share_neither_tempos_nor_state(notes_of):
    slow, plain = at((0, tempo(1_000_000)), (0, DOWN)) + NOTE + at((480, UP)), at((0, on(72)), (480, off(72)))
    assert notes_of(midi_bytes(slow, plain, kind=2)) == [(60, 0, 2), (72, 0, 0.5)]


@pytest.mark.parametrize("length", [0, 2, 4])
def test_a_tempo_of_a_wrong_length_is_left_out_and_named(notes_of, length):
    with pytest.warns(UserWarning, match=r"x\.mid.*1 tempo.* of a wrong length"):
        found = notes_of(midi_bytes(at((0, b"\xff\x51" + bytes([length]) + b"\x0f\x42\x40\x00"[:length])) + NOTE))
    assert found == [(60, 0, 0.5)]


def test_a_division_of_no_ticks_is_refused(notes_of):
    for division in (0, 0xE700, 0xE200):  # no ticks per beat, and none per frame
        with pytest.raises(ValueError, match="no ticks"):
            notes_of(midi_bytes(NOTE, division=division))


def test_smpte_time_counts_frames_and_knows_no_tempo(notes_of):
    for frames, per_second in ((24, 24), (25, 25), (29, 30 / 1.001), (30, 30)):
        data = midi_bytes(at((0, tempo(1))) + NOTE, division=(256 - frames) << 8 | 10)
        assert notes_of(data)[0][2] == pytest.approx(48 / per_second)


# Rule 5: ends.


def test_a_key_never_let_go_sounds_to_the_end_of_its_track(notes_of):
    assert notes_of(midi_bytes(at((0, on()), (480, UP)), at((1920, UP)))) == [(60, 0, 0.5)]
    assert notes_of(midi_bytes(at((0, on())) + number(960) + END, at((1920, UP)))) == [(60, 0, 1)]


def test_a_note_under_a_pedal_that_never_comes_up_sounds_to_the_end_of_its_track(notes_of, pedal_of):
    data = midi_bytes(at((0, on()), (0, DOWN), (240, off()), (960, off())), at((1920, UP[:1] + b"\7\0")))
    assert notes_of(data) == [(60, 0, 1)]
    assert pedal_of(data) == [[0, 1]]


def test_bytes_after_end_of_track_a_missing_one_and_unknown_chunks_do_no_harm(notes_of):
    header = chunk(struct.pack(">HHH", 1, 2, 480), b"MThd")
    after = chunk(NOTE + b"\0" + END + b"\0\x90\x40\x40 and more")
    missing = chunk(at((0, on(62)), (480, off(62))))
    unknown = chunk(b"\0\x90\x50\x40", b"XFIH")
    assert notes_of(header + after + unknown + missing) == [(60, 0, 0.5), (62, 0, 0.5)]


def test_a_file_lasts_to_its_last_event_silence_included(tmp_path):
    (tmp_path / "x.mid").write_bytes(midi_bytes(NOTE, number(4800) + b"\xff\x01\0"))
    assert midi_to_piano_roll(tmp_path / "x.mid", MIDI_CONFIG).shape == (80, 88)
    (tmp_path / "x.mid").write_bytes(midi_bytes(NOTE + number(480)[:-1] + number(480)[-1:] + END))
    assert read_with_duration(tmp_path / "x.mid", True, False)[1] == 1


# Rule 6: channel mode messages.


@pytest.mark.parametrize("controller", [120, 123])
def test_all_notes_off_and_all_sound_off_end_the_notes_of_their_channel(notes_of, controller):
    track = at((0, on()), (0, on(62, 64, 1)), (480, control(controller)), (960, off()), (960, off(62, 1)))
    assert notes_of(midi_bytes(track)) == [(60, 0, 0.5), (62, 0, 1)]
    held = at((0, on()), (0, DOWN), (240, off()), (480, control(controller)), (960, UP))
    assert notes_of(midi_bytes(held)) == [(60, 0, 0.5)]


def test_reset_all_controllers_lifts_the_pedal(notes_of, pedal_of):
    data = midi_bytes(at((0, on()), (0, DOWN), (240, off()), (480, control(121)), (960, UP)))
    assert notes_of(data) == [(60, 0, 0.5)]
    assert pedal_of(data) == [[0, 0.5]]


# Rule 7: what is no channel message is skipped by its length.


@pytest.mark.parametrize(
    "event",
    [
        b"\xf0\x03\x01\x02\xf7",
        b"\xf0\x02\x01\x02\x00\xf7\x06\x01\x02\x03\x04\x05\xf7",  # in two packets
        b"\xf7\x01\xf8",
        b"\xf7\x00",
        b"\xf0\x81\x00" + bytes(128),  # a length of two bytes
        b"\xff\x01\x03abc",
        b"\xff\x7f\x02\x90\x3c",
        b"\xf8",
        b"\xfe",
        b"\xf6",
        b"\xf1\x01",
        b"\xf2\x01\x02",
        b"\xf3\x01",
    ],
)
def test_other_events_shift_no_time_and_running_status_goes_on_after_them(notes_of, event):
    track = at((0, on()), (240, event)) + number(240) + b"\x3c\0"  # a release in running status
    assert notes_of(midi_bytes(track)) == [(60, 0, 0.5)]


# Rule 8: wrappers and counts; data bytes above 127.


def test_riff_wrappers_long_headers_and_wrong_track_counts_are_read(notes_of):
    plain = midi_bytes(NOTE)
    riff = b"RIFF" + struct.pack("<I", len(plain) + 12) + b"RMIDdata" + struct.pack("<I", len(plain)) + plain
    long = chunk(struct.pack(">HHH", 1, 1, 480) + b"more", b"MThd") + plain[14:]
    for data in (riff, long, midi_bytes(NOTE, count=0), midi_bytes(at((0, tempo(500_000))), NOTE, count=1)):
        assert notes_of(data) == [(60, 0, 0.5)]
    with pytest.warns(UserWarning, match=r"x\.mid.* 2 tracks fewer"):
        assert notes_of(midi_bytes(NOTE, count=3)) == [(60, 0, 0.5)]


def test_data_bytes_above_127_are_clipped_and_said_once_a_file(notes_of, tmp_path):
    data = midi_bytes(at((0, on(60, 200)), (480, off()), (480, b"\xb0\xff\x01")))
    with pytest.warns(UserWarning, match=r"x\.mid.* 2 data bytes above 127") as said:
        assert notes_of(data) == [(60, 0, 0.5)]
    assert len(said) == 1
    with pytest.warns(UserWarning):
        assert read_notes(tmp_path / "x.mid").velocity.tolist() == [127]


def test_a_good_file_is_read_without_a_word(notes_of):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notes_of(midi_bytes(NOTE))


# Rule 9: the pedal.


def test_the_pedal_is_in_order_and_merged_over_tracks_and_channels(pedal_of):
    late, early = at((960, DOWN), (1440, UP)), at((0, DOWN), (480, UP))
    assert pedal_of(midi_bytes(late, early, NOTE)) == [[0, 0.5], [1, 1.5]]
    other = at((240, on(60, 64, 1)), (240, control(64, 127, 1)), (720, control(64, 0, 1)), (720, off(60, 1)))
    assert pedal_of(midi_bytes(late, early, NOTE, other)) == [[0, 0.75], [1, 1.5]]


# Rule 10: a piece that begins late.


def test_a_first_note_after_the_part_that_is_read_is_told_as_that(tmp_path):
    (tmp_path / "x.mid").write_bytes(midi_bytes(at((96_000, on()), (96_480, off()))))
    with pytest.raises(ValueError, match=r"x\.mid.*first 60 s.*begins at 100\.0 s.*--whole-pieces"):
        midi_to_piano_roll(tmp_path / "x.mid", MIDI_CONFIG)
    assert midi_to_piano_roll(tmp_path / "x.mid", WHOLE)[1600:, 39].all()


# ---- any file ----


@st.composite
def files(draw):
    """A valid MIDI file: its tracks as `(tick, message)`, its type, division and name."""
    kind = draw(st.sampled_from([0, 1, 1, 2]))
    ticks_per_beat = draw(st.sampled_from([1, 24, 96, 480, 960, 32767]))
    smpte = draw(st.sampled_from([None, None, None, (24, 4), (25, 40), (29, 80), (30, 100)]))
    tracks = []
    ticks, channels = st.integers(0, 3000), st.sampled_from([0, 0, 1, 9, 15])
    for _ in range(1 if kind == 0 else draw(st.integers(1, 3))):
        events = []
        for channel in draw(st.lists(channels, min_size=1, max_size=3, unique=True)):
            for key in draw(st.lists(st.integers(58, 62) | st.integers(0, 127), max_size=5, unique=True)):
                for _ in range(draw(st.integers(1, 3))):  # they may overlap
                    start, length = draw(ticks), draw(st.sampled_from([0, 0, 1, 7, 100, 2000]))
                    velocity = draw(st.integers(1, 127))
                    events.append((start, mido.Message("note_on", channel=channel, note=key, velocity=velocity)))
                    off = draw(st.sampled_from(["note_off", "note_on", None]))  # velocity 0: running status
                    if off:
                        events.append((start + length, mido.Message(off, channel=channel, note=key, velocity=0)))
            for tick in draw(st.lists(ticks, max_size=2)):
                new = draw(st.integers(0, 9))
                events.append((tick, mido.Message("program_change", channel=channel, program=new)))
            for tick in draw(st.lists(st.integers(0, 4000), max_size=4)):
                controller = draw(st.sampled_from([64, 64, 64, 64, 7, 120, 121, 123]))
                message = {"control": controller, "value": draw(st.integers(0, 127))}
                events.append((tick, mido.Message("control_change", channel=channel, **message)))
        for tick in draw(st.lists(ticks, max_size=3)):
            new = draw(st.sampled_from([1, 2000, 250_000, 500_001, 16_777_215]))
            events.append((tick, mido.MetaMessage("set_tempo", tempo=new)))
        if draw(st.booleans()):
            events.append((0, mido.MetaMessage("track_name", name="Flügel")))  # latin-1: no valid UTF-8
            events.append((50, mido.Message("sysex", data=(1, 2, 3))))
        events.append((draw(st.integers(2000, 9000)), mido.MetaMessage("end_of_track")))
        events.sort(key=lambda event: (event[0], event[1].type == "end_of_track"))
        end = next(i for i, (_, message) in enumerate(events) if message.type == "end_of_track")
        tracks.append(events[: end + 1])
    return kind, ticks_per_beat, smpte, tracks, draw(st.sampled_from(NAMES))


def save(path, kind, ticks_per_beat, smpte, tracks):
    midi = mido.MidiFile(type=kind, ticks_per_beat=ticks_per_beat)
    for events in tracks:
        midi.tracks.append(mido.MidiTrack())
        now = 0
        for tick, message in events:
            midi.tracks[-1].append(message.copy(time=tick - now))
            now = tick
    midi.save(path)
    if smpte:  # which mido cannot write
        data = path.read_bytes()
        path.write_bytes(data[:12] + bytes([256 - smpte[0], smpte[1]]) + data[14:])


def played(kind, ticks_per_beat, smpte, tracks, sustain):
    """What a piano does, event by event: `(key, start, end, velocity)` of each note. A second reading of the rules."""
    if kind == 2:
        return sorted(chain(*(played(0, ticks_per_beat, smpte, [track], sustain) for track in tracks)))
    merged = [(tick, number, message) for number, events in enumerate(tracks) for tick, message in events]
    merged.sort(key=lambda event: event[0])
    notes, sounding, held, down, program = [], {}, set(), set(), {}
    last, seconds, per_tick = 0, 0.0, 0.5 / ticks_per_beat
    if smpte:
        per_tick = 1 / ({29: 30 / 1.001}.get(smpte[0], smpte[0]) * smpte[1])
    track_end = [0.0] * len(tracks)

    def stop(channel, keys):
        for key in keys:
            sounding.pop((channel, key))[2] = seconds
            held.discard((channel, key))

    for tick, number, m in merged:
        last, seconds = tick, seconds + (tick - last) * per_tick
        if m.type == "end_of_track":
            track_end[number] = seconds
        elif m.type == "set_tempo" and not smpte:
            per_tick = m.tempo / 1e6 / ticks_per_beat
        elif m.type == "program_change":
            program[m.channel] = m.program
        elif m.type == "note_on" and m.velocity:
            if (m.channel, m.note) in sounding:
                stop(m.channel, [m.note])
            note = [m.note, seconds, None, m.velocity, number, seconds]
            sounding[m.channel, m.note] = note
            if m.channel != 9 and program.get(m.channel, 0) < 8:
                notes.append(note)
        elif m.type in ("note_on", "note_off") and (m.channel, m.note) in sounding:
            if sustain and m.channel in down:
                if (m.channel, m.note) not in held:
                    sounding[m.channel, m.note][5] = seconds
                held.add((m.channel, m.note))
            else:
                stop(m.channel, [m.note])
        elif m.type == "control_change" and m.control in (120, 123):
            stop(m.channel, [key for channel, key in sounding if channel == m.channel])
        elif m.type == "control_change" and m.control in (64, 121):
            if m.control == 64 and m.value >= 64:
                down.add(m.channel)
            else:
                down.discard(m.channel)
                stop(m.channel, [key for channel, key in held if channel == m.channel])
    return sorted((k, s, max(track_end[n], let_go) if e is None else e, v) for k, s, e, v, n, let_go in notes)


def rows_of(notes):
    return sorted(zip(notes.pitch.tolist(), notes.start.tolist(), notes.end.tolist(), notes.velocity.tolist()))


@settings(deadline=None, max_examples=100)
@given(files())
def test_notes_and_rolls_of_any_valid_file_are_those_of_a_second_reading(tmp_path_factory, file):
    kind, ticks_per_beat, smpte, tracks, name = file
    path = tmp_path_factory.mktemp("own") / name
    save(path, kind, ticks_per_beat, smpte, tracks)
    if not played(*file[:4], True):
        with pytest.raises(ValueError, match="no piano notes"):
            read_notes(path)
        return
    for sustain in (True, False):
        wanted, notes = played(*file[:4], sustain), read_notes(path, sustain)
        found = rows_of(notes)
        assert np.allclose([w[:3] for w in wanted], [f[:3] for f in found], rtol=0, atol=1e-6)
        assert sorted((key, velocity) for key, _, _, velocity in wanted) == sorted((f[0], f[3]) for f in found)
        assert (np.diff(notes.start) >= 0).all() and (notes.end >= notes.start).all()
        early = [(p, int(s * 16 + 0.5)) for p, s, _, _ in found if 21 <= p <= 108 and s * 16 + 0.5 < 960]
        if not early:
            with pytest.raises(ValueError, match="no (piano )?notes"):
                midi_to_piano_roll(path, MIDI_CONFIG, sustain)
            continue
        roll = midi_to_piano_roll(path, MIDI_CONFIG, sustain)
        assert roll.dtype == np.float32 and roll.shape[1] == 88 and len(roll) <= 960
        assert roll.min() >= 0 and roll.max() <= 1
        assert all(roll[row, pitch - 21] > 0 for pitch, row in early)
    assert (np.diff(read_pedal(path), axis=1) >= 0).all() and (np.diff(read_pedal(path)[:, 0]) >= 0).all()


@settings(deadline=None, max_examples=100)
@given(files(), st.sampled_from([0.05, 0.5, 3, 20]))
def test_the_first_seconds_read_alone_are_those_of_the_whole_file(tmp_path_factory, file, seconds):
    path = tmp_path_factory.mktemp("part") / "x.mid"
    save(path, *file[:4])
    try:
        whole = midi_to_bins(path, {**WHOLE, "fs": 32})
        part = midi_to_bins(path, {**MIDI_CONFIG, "fs": 32, "max_duration": seconds})
    except ValueError:  # no note, none so early, or hours
        return
    assert np.array_equal(part, whole[: len(part)])
    assert len(part) == min(len(whole), round(32 * seconds))


def as_one_track(midi):
    return mido.MidiFile(type=0, ticks_per_beat=midi.ticks_per_beat, tracks=[mido.merge_tracks(midi.tracks)])


def one_track_a_channel(midi):
    """Every track in up to 17: one for each channel and one for the rest, all of the same length."""
    tracks = []
    for track in midi.tracks:
        now, parts = 0, {}
        for message in track:
            now += message.time
            channel = getattr(message, "channel", None)
            if message.type != "end_of_track":
                parts.setdefault(channel, []).append((now, message))
        for events in parts.values():
            ticks = [0, *(tick for tick, _ in events)]
            moved = [message.copy(time=tick - last) for last, (tick, message) in zip(ticks, events)]
            tracks.append(mido.MidiTrack([*moved, mido.MetaMessage("end_of_track", time=now - events[-1][0])]))
    return mido.MidiFile(type=1, ticks_per_beat=midi.ticks_per_beat, tracks=tracks)


def assert_merging_and_splitting_change_nothing(path, folder):
    midi = mido.MidiFile(path)
    for change in (as_one_track, one_track_a_channel):
        change(midi).save(folder / "changed.mid")
        for sustain in (True, False):
            before, after = read_notes(path, sustain), read_notes(folder / "changed.mid", sustain)
            assert all(np.array_equal(*columns) for columns in zip(before, after))
        assert np.array_equal(read_pedal(path), read_pedal(folder / "changed.mid"))


def test_merging_and_splitting_tracks_changes_no_note_of_a_chorale(tmp_path, monkeypatch):
    version, rows = bach.read_list()
    monkeypatch.setattr(bach, "read_list", lambda: (version, rows[:5]))
    for path in bach.build_bach(tmp_path / "bach").glob("*.mid"):
        assert_merging_and_splitting_change_nothing(path, tmp_path)


def test_merging_and_splitting_tracks_changes_no_note_of_a_performance(maestro_folder, tmp_path):
    for path in sorted(maestro_folder.glob("*/*.midi"))[::153]:
        assert_merging_and_splitting_change_nothing(path, tmp_path)


# ---- corrupt files ----

LATEST = b"\xff\xff\xff\x7f"  # the largest step in time
WAIT = LATEST + b"\xb0\x01\x01"
HELD = b"".join(bytes([0, 0x90, key, 64]) for key in range(21, 109))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (midi_bytes(NOTE + 9 * WAIT + NOTE), "hours"),
        (midi_bytes(NOTE + 9 * (LATEST + b"\xff\x51\x03\x07\xa1\x20")), "hours"),
        (midi_bytes(b"\0\xff\x51\x03\0\0\0" + NOTE), "no time"),
        (midi_bytes(NOTE, division=0), "no ticks"),
        (midi_bytes(b"\0\x3c\x40" + NOTE), "begins in the middle of a message"),
        (midi_bytes(b"\x80\x80\x80\x80\x00\x90\x3c\x40" + NOTE), "more than four bytes"),
        (midi_bytes(b"\0\xf0\x7f\x00" + NOTE), "cut off"),
        (midi_bytes(NOTE)[:-6], "cut off"),
        (midi_bytes(NOTE)[:-4], "cut off"),
        (midi_bytes(NOTE)[:20], "cut off"),
        (b"", "not a MIDI file"),
        (b"MThd", "not a MIDI file"),
        (b"RIFF" + bytes(100), "not a MIDI file"),
        (midi_bytes(b""), "no piano notes"),
        (midi_bytes(HELD + WAIT), "hours"),
    ],
)
def test_a_corrupt_file_is_one_error_that_names_it_and_says_what_is_wrong(tmp_path, data, message):
    path = tmp_path / "böse file.mid"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        midi_to_piano_roll(path, WHOLE)
    assert str(path) in str(error.value)


STRINGS, CHOIR = (bytes([0, 0xC0, program]) for program in (48, 52))  # program changes
ON_DRUMS = b"\0\x99\x24\x40\x60\x89\x24\0"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (ON_DRUMS, "no piano notes, only drums"),
        (
            STRINGS + NOTE + ON_DRUMS,
            "no piano notes; it has program 48 (`--all-instruments`, or `all_instruments=True`, takes all)",
        ),
        (
            STRINGS + NOTE + CHOIR + NOTE,
            "it has program 48, 52 (`--all-instruments`, or `all_instruments=True`, takes all)",
        ),
    ],
    ids=["drums alone", "strings and drums", "strings and choir"],
)
def test_a_file_without_a_piano_names_what_would_take_it_if_anything_does(tmp_path, body, message):
    (tmp_path / "x.mid").write_bytes(midi_bytes(body))
    with pytest.raises(ValueError) as error:
        read_notes(tmp_path / "x.mid")
    assert message in str(error.value)


@pytest.mark.parametrize("kind", [1, 2])
def test_the_time_for_very_many_tracks_grows_with_their_number_only(tmp_path, kind):
    (tmp_path / "x.mid").write_bytes(midi_bytes(*[NOTE] * 2**13, kind=kind))
    started = time.process_time()
    assert len(read_notes(tmp_path / "x.mid").start) == 2**13
    assert time.process_time() - started < 3


HOSTILE = """
import os, resource, sys, time
from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.piano_roll import midi_to_piano_roll
resource.setrlimit(resource.RLIMIT_AS, (int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGESIZE") + 400 * 2**20,) * 2)
for path in sys.argv[1:]:
    started = time.process_time()
    try:
        print(midi_to_piano_roll(path, {**MIDI_CONFIG, "max_duration": None}).shape[0], end=" ")
    except ValueError as error:
        print("refused", end=" ")
    print(time.process_time() - started)
"""  # noqa: E501


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_a_kilobyte_cannot_ask_for_gigabytes(tmp_path):
    longest = MAX_CELLS // 88 // 16 * 960 - 960  # ticks that still make a roll
    steps = [longest // 40] * 40
    wait = b"".join(bytes([0x80 | s >> 14, 0x80 | s >> 7 & 127, s & 127]) + b"\xb0\x01\x01" for s in steps)
    bodies = [HELD + wait, 2 * HELD + wait, HELD + WAIT, 8 * WAIT + NOTE, HELD + b"\0\xff\x51\x03\0\0\1" + WAIT]
    paths = [tmp_path / f"{i}.mid" for i in range(len(bodies))]
    for path, body in zip(paths, bodies):
        path.write_bytes(midi_bytes(body))
        assert path.stat().st_size < 1500
    run = [sys.executable, "-c", HOSTILE, *map(str, paths)]
    done = subprocess.run(run, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    results = [line.split() for line in done.stdout.splitlines()]
    assert len(results) == len(bodies) and all(float(seconds) < 2 for _, seconds in results)
    assert int(results[0][0]) > 0.9 * MAX_CELLS / 88  # the largest roll that is allowed was drawn
    assert results[2][0] == results[3][0] == "refused"


def seed_files():
    """A few valid files with every kind of event: header and tracks."""
    found = []
    for kind, tracks in ((0, 1), (1, 3), (2, 2)):
        for division in (b"\x01\xe0", b"\xe7\x28", b"\0\x60"):
            bodies = []
            for number in range(tracks):
                rng = random.Random(number)
                track = b"\0\xff\x03\x03abc\0\xff\x51\x03\x06\x1a\x80\0\xff\x58\x04\3\2\x18\x08\0\xff\x59\2\xfd\0"
                track += b"\0\xf0\x03\1\2\xf7\0\xe0\0\x40" + bytes([0, 0xC0 | number, number, 0, 0xD0, 9])
                for i in range(12):
                    key = rng.randrange(21, 109)
                    track += bytes([rng.randrange(100), 0x90 | number, key, rng.randrange(1, 128)])
                    track += bytes([5, 0xB0 | number, 64, rng.randrange(128)]) * (i % 3 == 0)
                    track += b"\x82" + bytes([rng.randrange(128), 0x80 | number, key, 0])
                bodies.append(track + b"\0\xff\x2f\0")
            found.append((b"MThd" + struct.pack(">IHH", 6, kind, tracks) + division, bodies))
    return found


SEEDS = seed_files()
WILD = [0, 1, 3, 0x20, 0x2F, 0x40, 0x51, 0x54, 0x58, 0x7F, 0x80, 0x81, 0x90, 0xB0, 0xC0, 0xF0, 0xF7, 0xF8, 0xFE, 0xFF]


def fuzzed(number):
    """The bytes of case `number`: random, or a valid file with some wounds."""
    rng = random.Random(number)
    if rng.random() < 0.1:
        noise = bytes(rng.randrange(256) for _ in range(rng.randrange(400)))
        return noise if rng.random() < 0.3 else midi_bytes(noise, division=rng.choice([480, 0, 0x8000, 0xE728]))
    header, bodies = rng.choice(SEEDS)
    if rng.random() < 0.7:  # wounds in one track; the lengths stay right
        hurt = rng.randrange(len(bodies))
        bodies = [wounded(body, rng) if i == hurt else body for i, body in enumerate(bodies)]
        return header + b"".join(b"MTrk" + struct.pack(">I", len(body)) + body for body in bodies)
    return wounded(header + b"".join(b"MTrk" + struct.pack(">I", len(body)) + body for body in bodies), rng)


def wounded(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 10, 40])):
        i, what = rng.randrange(len(data) + 1), rng.random()
        if what < 0.5:
            data[i : i + 1] = bytes([rng.choice(WILD) if what < 0.3 else rng.randrange(256)])
        elif what < 0.65:
            del data[i : i + rng.choice([1, 1, 2, 4, 50])]
        elif what < 0.8:
            data[i:i] = bytes(rng.choice(WILD) for _ in range(rng.choice([1, 2, 4])))
        elif what < 0.85:
            del data[i:]
        elif what < 0.92:
            data[i:i] = data[i // 2 : i // 2 + rng.randrange(40)]
        else:
            data[i : i + 4] = struct.pack(">I", rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(data)]))
    return bytes(data)


def check(number, path):
    """Case `number` gives a roll, or one error with the path in it, soon."""
    path.write_bytes(fuzzed(number))
    started = time.process_time()
    try:
        roll = midi_to_bins(path, WHOLE if number % 2 else MIDI_CONFIG, sustain=number % 3 > 0)
        assert roll.ndim == 2 and len(roll) > 0 and roll.max() <= 32, number
    except ValueError as error:
        assert str(path) in str(error), number
    assert time.process_time() - started < 2, number


@pytest.mark.filterwarnings("ignore:.*is faulty")
def test_a_wounded_file_gives_a_roll_or_one_error_with_its_path(tmp_path):
    for number in range(1000):
        check(number, tmp_path / "x.mid")


@pytest.mark.filterwarnings("ignore:.*is faulty")
def test_the_wounds_are_of_all_kinds(tmp_path):
    """Else the test above protects nothing: some files must still be read, and some must fail."""
    outcomes = {"roll": 0}
    for number in range(300):
        (tmp_path / "x.mid").write_bytes(fuzzed(number))
        try:
            midi_to_bins(tmp_path / "x.mid", MIDI_CONFIG)
            outcomes["roll"] += 1
        except ValueError as error:
            reason = str(error).split(":")[1][:12]
            outcomes[reason] = outcomes.get(reason, 0) + 1
    assert outcomes["roll"] > 30 and len(outcomes) >= 3 and max(outcomes.values()) < 270


LONG = """
import resource, sys
from pathlib import Path
sys.path.insert(0, "tests")
from test_midi import check
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30,) * 2)
first, path = int(sys.argv[1]), Path(sys.argv[2])
for number in range(first, first + 20_000):
    check(number, path)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="memory cannot be limited so on Windows")
@pytest.mark.parametrize("first", [10_000, 30_000, 50_000])
def test_sixty_thousand_wounded_files_in_a_process_with_little_memory(tmp_path, first):
    run = [sys.executable, "-c", LONG, str(first), str(tmp_path / "x.mid")]
    done = subprocess.run(run, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
