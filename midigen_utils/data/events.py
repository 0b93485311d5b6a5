"""What is in a MIDI file: from bytes to events.

A Standard MIDI File 1.0 is a header and tracks. A track is a list of events: channel messages (a key, a pedal, a
program), meta events (a tempo, the end) and others. Before each stands how many ticks it comes after the last one.
"""

import struct
from array import array
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

import numpy as np

NOTE_OFF, NOTE_ON, CONTROLLER, PROGRAM, PRESSURE, BEND = 0x80, 0x90, 0xB0, 0xC0, 0xD0, 0xE0  # status bytes, channel 0
SYSEX, ESCAPE, META = 0xF0, 0xF7, 0xFF
END_OF_TRACK, TEMPO = 0x2F, 0x51  # kinds of meta events


class Events(NamedTuple):
    """The N channel messages of a file in the order in which they act: by tick, then as in the file; and its T tracks.

    Notebook: 01_data_exploration
    """

    seconds: np.ndarray  #: (N,) float64
    track: np.ndarray  #: (N,) int64, counted from 0
    channel: np.ndarray  #: (N,) int64, 0..15; in a file of type 2, 16 more for each track: its tracks share nothing
    kind: np.ndarray  #: (N,) uint8, the status byte with channel 0, such as 0x90 for a key that is struck
    a: np.ndarray  #: (N,) uint8, 0..127: the first data byte, such as the key
    b: np.ndarray  #: (N,) uint8, 0..127: the second, such as the velocity; 0 for kinds that have one
    end: np.ndarray  #: (T,) float64, seconds
    whole: np.ndarray  #: (T,) bool, whether a track was read to its end


def read_events(data, max_seconds, mended):
    """The channel messages in the bytes of a MIDI file.

    Notebook: 01_data_exploration

    Args:
        data: bytes.
        max_seconds: of each track all up to the first event after this is read; `np.inf` for all of it.
        mended: `Counter`, in which the faults are counted that cost something of the file.

    Returns:
        `Events`.

    Raises:
        ValueError: not a MIDI file, or cut off.
    """
    kind, division, chunks = _find_tracks(data, mended)
    tracks, ticks, seconds, ends = [], [], [], []
    for together in [[chunk] for chunk in chunks] if kind == 2 else [chunks]:  # type 2: tempos for each track
        some, clock = _read_tracks(data, together, division, max_seconds, mended)
        tracks += some
        ticks.append(np.concatenate([track.ticks for track in some]))
        seconds.append(clock.to_seconds(ticks[-1]))
        ends.append(clock.to_seconds(np.array([track.end for track in some])))
    order = np.argsort(np.concatenate(ticks), kind="stable")
    status, place = (
        np.concatenate(column)[order] for column in ([t.statuses for t in tracks], [t.places for t in tracks])
    )
    number = np.repeat(np.arange(len(tracks)), [len(track.ticks) for track in tracks])[order]

    values = np.frombuffer(data, np.uint8)
    kinds, a, b = status & 0xF0, values[place], values[np.minimum(place + 1, len(data) - 1)]
    b = np.where((kinds == PROGRAM) | (kinds == PRESSURE), 0, b)  # these have one data byte
    if wrong := np.count_nonzero(a > 127) + np.count_nonzero(b > 127):
        mended["data bytes above 127 (taken as 127)"] = wrong
    return Events(
        seconds=np.concatenate(seconds)[order],
        track=number,
        channel=(status & 0x0F) + 16 * number * (kind == 2),
        kind=kinds,
        a=np.minimum(a, 127),
        b=np.minimum(b, 127),
        end=np.concatenate(ends),
        whole=np.array([track.whole for track in tracks]),
    )


class _Track(NamedTuple):
    ticks: array  # of each channel message
    statuses: bytearray
    places: array  # where in the file its data bytes are
    tempos: list  # (tick, microseconds per beat)
    end: int  # tick
    whole: bool


class _Clock:
    """Ticks to seconds: 120 beats a minute until a tempo is set. SMPTE time counts frames, and knows no tempo."""

    def __init__(self, division):
        smpte, frames = division >= 0x8000, 256 - (division >> 8)
        self.beat = 0 if smpte else division  # ticks
        per_second = {29: 30 / 1.001}.get(frames, frames) * (division & 0xFF) if smpte else 2 * division
        if not per_second:
            raise ValueError("a beat of no ticks; the file is corrupt")
        self.ticks, self.seconds, self.rates = [0], [0.0], [1 / per_second]  # where a tempo begins; seconds per tick

    def set_tempo(self, tick, microseconds):
        if not microseconds:
            raise ValueError("a beat of no time; the file is corrupt")
        if self.beat:
            self.seconds.append(self.seconds[-1] + (tick - self.ticks[-1]) * self.rates[-1])
            self.ticks.append(tick)
            self.rates.append(microseconds / 1e6 / self.beat)

    def to_seconds(self, ticks):
        if len(self.ticks) == 1:
            return ticks * self.rates[0]
        tempo = np.searchsorted(self.ticks, ticks, side="right") - 1  # of several on one tick the last
        begin, seconds, rate = (np.array(column)[tempo] for column in (self.ticks, self.seconds, self.rates))
        return seconds + (ticks - begin) * rate

    def last_tick(self, seconds):
        tick = self.ticks[-1] + (seconds - self.seconds[-1]) / self.rates[-1]
        return int(min(tick, 2**62)) + 1  # it may lie before `seconds`, unless one more tempo is set


def _find_tracks(data, mended):
    """Type of the file, its division of time, and `(begin, end)` of the bytes of each track."""
    start = data.find(b"MThd") if data[:4] == b"RIFF" and data[8:12] == b"RMID" else 0
    if start < 0 or data[start : start + 4] != b"MThd" or len(data) < start + 14:
        raise ValueError("not a MIDI file: it does not begin like one")
    size, kind, count, division = struct.unpack_from(">IHHH", data, start + 4)
    position, chunks = start + 8 + size, []
    while position + 8 <= len(data):
        name, size = struct.unpack_from(">4sI", data, position)
        if name == b"MTrk":  # other chunks belong to some program
            chunks.append((position + 8, position + 8 + size))
        position += 8 + size
    if not chunks:
        raise ValueError("not a MIDI file, or cut off: it has no tracks")
    if len(chunks) < count:
        mended["tracks fewer than its header says (the others are read)"] = count - len(chunks)
    return kind, division, chunks


def _read_tracks(data, chunks, division, max_seconds, mended):
    """Tracks of one time, as `_Track`s, and their `_Clock`."""
    conductors = [i for i, chunk in enumerate(chunks) if data.find(bytes([META, TEMPO]), *chunk) >= 0]
    limit = max_seconds if len(conductors) == 1 else np.inf  # one of several knows only a part of the tempos
    tracks = {i: _read_track(data, chunks[i], _Clock(division), limit, mended) for i in conductors}
    clock = _Clock(division)
    tempos = chain.from_iterable(track.tempos for track in tracks.values())
    for tick, tempo in sorted(tempos, key=itemgetter(0)):  # those of one tick stay in the order of the file
        clock.set_tempo(tick, tempo)
    for i in set(range(len(chunks))) - tracks.keys():
        tracks[i] = _read_track(data, chunks[i], clock, max_seconds, mended)
    return [tracks[i] for i in range(len(chunks))], clock


def _read_track(data, chunk, clock, max_seconds, mended):
    """A `_Track`, up to its end or to its first event after `max_seconds` of a clock, which its tempos set."""
    ticks, statuses, places, tempos = array("q"), bytearray(), array("q"), []
    tick = status = size = 0
    (position, end), last = chunk, clock.last_tick(max_seconds)
    try:
        while position < end:
            delta = data[position]
            position += 1
            if delta > 127:
                delta, position = _read_number(data, position - 1)
            tick += delta
            if tick > last:
                return _Track(ticks, statuses, places, tempos, tick, False)
            byte = data[position]
            if byte < SYSEX:  # a channel message
                if byte > 127:
                    status, size = byte, 1 if PROGRAM <= byte < BEND else 2
                    position += 1
                elif not status:  # without a status byte, that of the last channel message counts
                    raise ValueError("a track begins in the middle of a message; the file is corrupt")
                ticks.append(tick)
                statuses.append(status)
                places.append(position)
                position += size
            elif byte == META:
                kind = data[position + 1]
                length, position = _read_number(data, position + 2)
                if kind == END_OF_TRACK:
                    return _Track(ticks, statuses, places, tempos, tick, True)
                if kind == TEMPO and length == 3:
                    tempos.append((tick, int.from_bytes(data[position : position + 3], "big")))
                    clock.set_tempo(*tempos[-1])
                    last = clock.last_tick(max_seconds)
                elif kind == TEMPO:
                    mended["tempos of a wrong length (left out)"] += 1
                position += length
            elif byte in (SYSEX, ESCAPE):
                length, position = _read_number(data, position + 1)
                position += length
            else:  # a message for cables
                position += {0xF1: 2, 0xF2: 3, 0xF3: 2}.get(byte, 1)
    except IndexError:
        position = np.inf
    if position > min(end, len(data)):
        raise ValueError("not a MIDI file, or cut off: a track ends in the middle")
    return _Track(ticks, statuses, places, tempos, tick, True)


def _read_number(data, position):
    """A number of one to four bytes, seven bits in each ("variable length"), and the place after it."""
    number = 0
    for place in range(position, position + 4):
        byte = data[place]
        number = number << 7 | byte & 127
        if byte < 128:
            return number, place + 1
    raise ValueError("a number of more than four bytes; the file is corrupt")
