"""Notes and pedal out of MIDI files, and notes into them."""

import struct
from typing import NamedTuple

import numpy as np
import pretty_midi
import symusic

from ..files import atomic_write

PIANO_PROGRAMS = range(8)  # General MIDI: acoustic grand to clavinet
SUSTAIN_PEDAL = 64  # controller number; a value of 64 or more is "down"
_END_OF_TRACK = b"\xff\x2f\x00"
# By channel, a note-on of velocity 0 for each of the 128 keys, in running status.
_RELEASES = [bytes([0x90 | c]) + b"\0".join(bytes([key, 0]) for key in range(128)) for c in range(16)]


class Notes(NamedTuple):
    """Notes as four arrays of one length, sorted by onset, then pitch.

    Notebook: 02_piano_roll

    Attributes:
        start: `(N,)` float64, onset in seconds.
        end: `(N,)` float64, end in seconds; the note sounds in `[start, end)`.
        pitch: `(N,)` int64, MIDI note number 0..127 (60 is middle C).
        velocity: `(N,)` int64, 1..127.
    """

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray


def read_notes(midi_path, sustain=True, all_instruments=False):
    """The notes of a MIDI file's piano tracks.

    A key let go while the sustain pedal is down sounds on until the pedal comes
    up or the key is struck again. A key never let go sounds to the end of the file.

    Notebook: 01_data_exploration

    Args:
        midi_path: path of a `.mid` or `.midi` file, type 0, 1 or 2.
        sustain: whether the sustain pedal (controller 64) lengthens notes.
        all_instruments: take every track but the drums, not only pianos
            (General MIDI programs 0 to 7, the default of tracks that name none).

    Returns:
        `Notes`.

    Raises:
        ValueError: not a MIDI file, cut off, or without a piano note; names the file.
    """
    return read_with_duration(midi_path, sustain, all_instruments)[0]


def read_pedal(midi_path):
    """When the sustain pedal is down.

    Notebook: 01_data_exploration

    Args:
        midi_path: path of a MIDI file.

    Returns:
        `(K, 2)` float64: seconds at which the pedal goes down and comes up.

    Raises:
        ValueError: as `read_notes`.
    """
    return read_with_duration(midi_path, sustain=False, all_instruments=False)[2]


def write_midi(notes, output_path, duration, ticks_per_beat=480):
    """Write notes as a MIDI file of one piano track at 120 beats a minute.

    The file lasts `duration`: a pedal-up event and a text mark its end. It is written beside
    `output_path` first and then renamed, so a crash leaves no half file.

    Args:
        notes: `Notes`.
        output_path: where to write; its folder is made.
        duration: seconds.
        ticks_per_beat: resolution; a beat is half a second.

    Returns:
        The `pretty_midi.PrettyMIDI` that was written.
    """
    midi = pretty_midi.PrettyMIDI(resolution=ticks_per_beat, initial_tempo=120)
    piano = pretty_midi.Instrument(program=0, name="Piano")
    piano.notes = [pretty_midi.Note(int(v), int(p), float(s), float(e)) for s, e, p, v in zip(*notes)]
    piano.control_changes = [pretty_midi.ControlChange(SUSTAIN_PEDAL, 0, duration)]
    midi.instruments.append(piano)
    midi.text_events.append(pretty_midi.Text("end", duration))  # pretty_midi forgets the pedal of an empty track
    with atomic_write(output_path) as temporary:
        midi.write(str(temporary))
    return midi


def read_with_duration(midi_path, sustain, all_instruments, until=None):
    """Notes (that start before `until` seconds), duration of the file, and pedal intervals `(K, 2)`."""
    with open(midi_path, "rb") as file:
        data, ticks_per_second = _without_smpte(file.read())
    try:
        score = symusic.Score.from_midi(_release_held_keys(data))
    except Exception as error:
        raise ValueError(f"{midi_path}: not a MIDI file, or cut off ({error})") from None
    tracks = [t for t in score.tracks if not t.is_drum and (all_instruments or t.program in PIANO_PROGRAMS)]
    if not any(len(track.notes) for track in tracks):
        raise ValueError(f"{midi_path}: no piano notes{_what_else([t for t in score.tracks if len(t.notes)])}")

    to_seconds = _tempo_map(midi_path, score.tpq, score.tempos.numpy(), ticks_per_second)
    columns, pedals, last = [], [], 0
    for track in tracks:  # in ticks: whole numbers compare exactly
        notes, controls = track.notes.numpy(), track.controls.numpy()
        start, pitch, velocity = notes["time"].astype(np.int64), notes["pitch"], notes["velocity"]
        end = start + notes["duration"]
        is_pedal = controls["number"] == SUSTAIN_PEDAL
        pedal_time = controls["time"][is_pedal].astype(np.int64)
        if min(start.min(initial=0), end.min(initial=0), pedal_time.min(initial=0)) < 0:
            raise ValueError(f"{midi_path}: times beyond 2**31 ticks; the file is corrupt")
        track_end = max(end.max(initial=0), pedal_time.max(initial=0))
        pedal = _pedal_intervals(pedal_time, controls["value"][is_pedal] >= 64, track_end)
        if until is not None:
            early = to_seconds(start) < until
            start, end, pitch, velocity = start[early], end[early], pitch[early], velocity[early]
        end = _end_at_first_release(start, end, pitch)
        columns.append((start, sustained(end, pedal) if sustain else end, pitch, velocity))
        pedals.append(pedal)
        last = max(last, track_end)

    start, end, pitch, velocity = (np.concatenate(column).astype(np.int64) for column in zip(*columns))
    order = np.argsort(start << 8 | pitch, kind="stable")  # nearly sorted already: this kind is quick then
    notes = Notes(to_seconds(start[order]), to_seconds(end[order]), pitch[order], velocity[order])
    return notes, float(to_seconds(last)), to_seconds(np.concatenate(pedals))


def sustained(end, pedal):
    """Note ends with the pedal: an end while it is down moves to where it comes up.

    Notebook: 02_piano_roll

    Args:
        end: `(N,)` seconds at which keys are let go.
        pedal: `(K, 2)` seconds down and up, in order, as from `read_pedal`.

    Returns:
        `(N,)` seconds. A later strike of the same key still ends the note (`notes_to_roll`).
    """
    if len(pedal) == 0:
        return end
    k = np.searchsorted(pedal[:, 0], end, side="right") - 1  # the last time it went down before the end
    held = (k >= 0) & (end < pedal[k, 1])
    return np.where(held, pedal[k, 1], end)


def _what_else(tracks):
    """Words for a message: what a file without piano notes has, and how to take it."""
    programs = sorted({track.program for track in tracks if not track.is_drum})
    if not programs:
        return ", only drums" if tracks else ""
    one = len(programs) == 1
    found = f"program{'' if one else 's'} {', '.join(map(str, programs))}"
    return f"; it has {found} (`--all-instruments`, or `all_instruments=True`, takes {'it' if one else 'them'})"


def _pedal_intervals(time, down, last):
    """`(K, 2)` times down and up; a pedal that never comes up does so at `last`."""
    edge = np.flatnonzero(down != np.concatenate([[False], down[:-1]]))  # down, up, down, ...
    times = time[edge]
    return (np.append(times, last) if len(times) % 2 else times).reshape(-1, 2)


def _end_at_first_release(start, end, pitch):
    """Ends where a note-off ends every open note of its key, as on a real piano."""
    # symusic pairs the first note-on with the first note-off, so each note-off is some note's end.
    order = np.argsort(pitch.astype(np.uint8), kind="stable")  # by key, then time
    key = pitch[order].astype(np.int64) << 40
    strikes, releases = key + start[order], key + end[order]
    if (releases[:-1] <= strikes[1:]).all():  # no key is struck while it is down
        return end
    releases.sort()
    nearest = np.minimum(np.searchsorted(releases, strikes, side="right"), len(releases) - 1)
    ended = end.copy()
    ended[order] = np.minimum(end[order], releases[nearest] - key)
    return ended


def _tempo_map(midi_path, ticks_per_beat, tempos, ticks_per_second):
    """A function from ticks to seconds: piecewise linear, one piece per tempo."""
    tick, microseconds = tempos["time"], tempos["mspq"]
    if ticks_per_second is not None:  # SMPTE time knows no tempo
        tick, microseconds, ticks_per_beat = [], [], ticks_per_second / 2
    if ticks_per_beat <= 0 or np.min(microseconds, initial=1) <= 0 or np.min(tick, initial=0) < 0:
        raise ValueError(f"{midi_path}: a beat of no ticks or of no time, or beyond 2**31 ticks; the file is corrupt")
    tick = np.concatenate([[0], tick, [2**33]])  # 120 beats a minute until a tempo is set; the last one stays
    seconds_per_tick = np.concatenate([[500_000], microseconds]) / 1e6 / ticks_per_beat
    seconds = np.concatenate([[0.0], np.cumsum(np.diff(tick) * seconds_per_tick)])
    return lambda ticks: np.interp(ticks, tick, seconds)


def _without_smpte(data):
    """The bytes with a plain beat division, and ticks per second if it was SMPTE's, else None."""
    if len(data) < 14 or not data[12] & 0x80:
        return data, None
    frames, ticks = 256 - data[12], data[13]
    ticks_per_second = {29: 30 / 1.001}.get(frames, frames) * ticks  # "29" is drop-frame 29.97
    return data[:12] + struct.pack(">H", 480) + data[14:], ticks_per_second or None


def _release_held_keys(data):
    """The bytes with a note-off for every key before each track's end.

    symusic drops a note that is never let go; these let it go at the end of its track.
    """
    parts, position = [data[:14]], 14
    while data[position : position + 4] == b"MTrk":
        size = int.from_bytes(data[position + 4 : position + 8], "big")
        body = data[position + 8 : position + 8 + size]
        if len(body) < size:  # cut off: symusic says so
            break
        position += 8 + size
        if body.endswith(_END_OF_TRACK):
            channels = [c for c in range(16) if 0x90 | c in body]
            body = b"\0".join([body[:-3] + b"\xff\x01\x00", *(_RELEASES[c] for c in channels), _END_OF_TRACK])
        parts.append(b"MTrk" + struct.pack(">I", len(body)) + body)
    return b"".join(parts) + data[position:]
