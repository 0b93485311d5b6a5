"""Anybody's MIDI files: whatever is in them, a roll comes out, or one error that names the file."""

import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import mido
import numpy as np
import pytest
from conftest import write_events
from hypothesis import given, settings
from hypothesis import strategies as st

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.midi import read_notes, read_pedal
from midigen_utils.data.piano_roll import MAX_CELLS, midi_to_bins, midi_to_piano_roll

WHOLE = {**MIDI_CONFIG, "max_duration": None}
REPOSITORY = Path(__file__).parent.parent
NAMES = ["a.mid", "Étude № 3, «Übung» (копия) 練習.MIDI", "two  spaces and a ' quote.mid", "-x.mid", "%s{0}.midi"]


@st.composite
def files(draw):
    """A valid MIDI file: its tracks as `(tick, message)`, its type, division and name."""
    kind = draw(st.sampled_from([0, 1, 1, 2]))
    ticks_per_beat = draw(st.sampled_from([1, 24, 96, 480, 960, 32767]))
    smpte = draw(st.sampled_from([None, None, None, (24, 4), (25, 40), (29, 80), (30, 100)]))
    tracks = []
    for number in range(1 if kind == 0 else draw(st.integers(1, 3))):
        events = []
        channels = draw(st.lists(st.sampled_from([0, 1, 2, 9, 15]), min_size=1, max_size=3, unique=True))
        for channel in channels:
            if draw(st.booleans()):
                events.append((0, mido.Message("program_change", channel=channel, program=draw(st.integers(0, 9)))))
            for key in draw(st.lists(st.integers(0, 127), max_size=5, unique=True)):
                for _ in range(draw(st.integers(1, 3))):  # they may overlap
                    start, length = draw(st.integers(0, 3000)), draw(st.sampled_from([0, 0, 1, 7, 100, 2000]))
                    velocity = draw(st.integers(1, 127))
                    events.append((start, mido.Message("note_on", channel=channel, note=key, velocity=velocity)))
                    off = draw(st.sampled_from(["note_off", "note_on"]))  # velocity 0: running status
                    events.append((start + length, mido.Message(off, channel=channel, note=key, velocity=0)))
            for tick in draw(st.lists(st.integers(0, 4000), max_size=4)):
                value = draw(st.integers(0, 127))
                events.append((tick, mido.Message("control_change", channel=channel, control=64, value=value)))
        if number == 0:
            for tick in draw(st.lists(st.integers(0, 3000), max_size=4)):
                tempo = draw(st.sampled_from([1, 2000, 250_000, 500_001, 16_777_215]))
                events.append((tick, mido.MetaMessage("set_tempo", tempo=tempo)))
        if draw(st.booleans()):
            events.append((0, mido.MetaMessage("track_name", name="Flügel")))  # latin-1: no valid UTF-8
            events.append((50, mido.Message("sysex", data=(1, 2, 3))))
        tracks.append(sorted(events, key=lambda event: event[0]))
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


def strikes(ticks_per_beat, smpte, tracks):
    """Pitch, second and velocity of each note of the pianos, counted out event by event."""
    tempos = sorted(
        ((tick, m.tempo) for events in tracks for tick, m in events if m.type == "set_tempo"), key=lambda t: t[0]
    )

    def seconds(tick):
        if smpte:
            return tick / ({29: 30 / 1.001}.get(smpte[0], smpte[0]) * smpte[1])
        total, last, tempo = 0.0, 0, 500_000
        for at, new in tempos:
            if at <= tick:
                total, last, tempo = total + (at - last) * tempo, at, new
        return (total + (tick - last) * tempo) / 1e6 / ticks_per_beat

    found = []
    for events in tracks:
        program = {}
        for tick, m in events:
            if m.type == "program_change":
                program[m.channel] = m.program
            elif m.type == "note_on" and m.velocity and m.channel != 9 and program.get(m.channel, 0) < 8:
                found.append((m.note, seconds(tick), m.velocity))
    return sorted(found)


@settings(deadline=None)
@given(files())
def test_every_strike_of_a_valid_file_is_in_its_notes_and_in_its_roll(tmp_path_factory, file):
    kind, ticks_per_beat, smpte, tracks, name = file
    path = tmp_path_factory.mktemp("own") / name
    save(path, kind, ticks_per_beat, smpte, tracks)
    wanted = strikes(ticks_per_beat, smpte, tracks)
    if not wanted:
        with pytest.raises(ValueError, match="no piano notes"):
            read_notes(path)
        return
    dry, held = read_notes(path, sustain=False), read_notes(path)
    for notes in (dry, held):
        found = sorted(zip(notes.pitch.tolist(), notes.start.tolist(), notes.velocity.tolist()))
        assert [(p, v) for p, _, v in found] == [(p, v) for p, _, v in wanted]
        assert np.allclose([s for _, s, _ in found], [s for _, s, _ in wanted], atol=1e-6)
        assert (np.diff(notes.start) >= 0).all() and (notes.end >= notes.start).all()
    assert (held.end >= dry.end).all()
    assert (np.diff(read_pedal(path), axis=1) >= 0).all()
    early = [(p, int(s * 16 + 0.5)) for p, s, _ in wanted if 21 <= p <= 108 and s * 16 + 0.5 < 960]
    for sustain in (True, False):
        if not early:
            with pytest.raises(ValueError, match="no (piano )?notes"):
                midi_to_piano_roll(path, MIDI_CONFIG, sustain)
            continue
        roll = midi_to_piano_roll(path, MIDI_CONFIG, sustain)
        assert roll.dtype == np.float32 and roll.shape[1] == 88 and len(roll) <= 960
        assert roll.min() >= 0 and roll.max() <= 1
        assert all(roll[row, pitch - 21] > 0 for pitch, row in early)


def test_a_key_never_let_go_sounds_to_the_end_of_its_file(tmp_path):
    events = [(0, "on", 60, 64), (100, "on", 62, 70), (200, "off", 62, 0), (960, "pedal", 0, 0)]
    assert read_notes(write_events(tmp_path / "x.mid", events)).end.tolist() == pytest.approx([1.0, 200 / 960])


def test_a_file_of_type_2_gives_all_its_tracks(tmp_path):
    note = [(0, mido.Message("note_on", note=60, velocity=9)), (480, mido.Message("note_off", note=60))]
    high = [(tick, message.copy(note=72)) for tick, message in note]
    save(tmp_path / "x.mid", 2, 480, None, [note, high])
    assert read_notes(tmp_path / "x.mid").pitch.tolist() == [60, 72]


def midi_bytes(body, division=480):
    chunk = body + b"\0\xff\x2f\0"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, division) + b"MTrk" + struct.pack(">I", len(chunk)) + chunk


NOTE, LATEST = b"\0\x90\x3c\x40\x60\x80\x3c\0", b"\xff\xff\xff\x7f"  # a short note; the largest step in time
WAIT = LATEST + b"\xb0\x01\x01"
HELD = b"".join(bytes([0, 0x90, key, 64]) for key in range(21, 109))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (midi_bytes(NOTE + 9 * WAIT + NOTE), r"2\*\*31 ticks"),
        (midi_bytes(NOTE + 9 * (LATEST + b"\xff\x51\x03\x07\xa1\x20")), r"2\*\*31 ticks"),
        (midi_bytes(b"\0\xff\x51\x03\0\0\0" + NOTE), "tempo|time"),
        (midi_bytes(NOTE, division=0), "no ticks"),
        (midi_bytes(b"\0\x90\x3c\xf0\0\x80\x3c\0"), "not a MIDI file"),
        (midi_bytes(NOTE)[:-9], "cut off"),
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
            "no piano notes; it has program 48 (`--all-instruments`, or `all_instruments=True`, takes it)",
        ),
        (
            STRINGS + NOTE + CHOIR + NOTE,
            "it has programs 48, 52 (`--all-instruments`, or `all_instruments=True`, takes them)",
        ),
    ],
    ids=["drums alone", "strings and drums", "strings and choir"],
)
def test_a_file_without_a_piano_names_what_would_take_it_if_anything_does(tmp_path, body, message):
    (tmp_path / "x.mid").write_bytes(midi_bytes(body))
    with pytest.raises(ValueError) as error:
        read_notes(tmp_path / "x.mid")
    assert message in str(error.value)


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
        return noise if rng.random() < 0.3 else midi_bytes(noise, rng.choice([480, 0, 0x8000, 0xE728]))
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


def test_a_wounded_file_gives_a_roll_or_one_error_with_its_path(tmp_path):
    for number in range(1000):
        check(number, tmp_path / "x.mid")


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
from test_midi_files import check
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
