"""Notes and pedal out of MIDI files, and notes into them."""

import warnings
from collections import Counter
from typing import NamedTuple

import numpy as np
import pretty_midi

from ..files import atomic_write
from .events import CONTROLLER, NOTE_ON, PROGRAM, read_events

PIANO_PROGRAMS = range(8)  # General MIDI: acoustic grand to clavinet
SUSTAIN_PEDAL = 64  # controller number; a value of 64 or more is "down"
_SOUND_OFF, _RESET, _NOTES_OFF = 120, 121, 123  # controllers, too
_DRUM_CHANNEL, _DRUM_KIT = 9, 128  # General MIDI's, counted from 0; a number for drums that no program has


class Notes(NamedTuple):
    """Notes as four arrays `(N,)`, sorted by onset, then pitch; note i sounds in `[start[i], end[i])`, in seconds.

    Notebook: 02_piano_roll
    """

    start: np.ndarray  #: float64, seconds
    end: np.ndarray  #: float64, seconds
    pitch: np.ndarray  #: int64, MIDI note number 0..127 (60 is middle C)
    velocity: np.ndarray  #: int64, 1..127


def read_notes(midi_path, sustain=True, all_instruments=False):
    """The notes of a MIDI file's pianos.

    A key let go while the sustain pedal of its channel is down sounds on until the pedal
    comes up. A key struck again ends its old note. A key never let go sounds to the end of
    its track, as does a note under a pedal that never comes up.

    Notebook: 01_data_exploration

    Args:
        midi_path: path of a `.mid` or `.midi` file, type 0, 1 or 2.
        sustain: whether the sustain pedal (controller 64) lengthens notes.
        all_instruments: take everything but the drums, not only pianos (notes struck while General MIDI program 0 to 7
            is set; a channel that sets none is a piano).

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
        `(K, 2)` float64: seconds at which the pedal goes down and comes up, in order. Where the pedals of several piano
        channels overlap, from the first that goes down to the last up.

    Raises:
        ValueError: as `read_notes`.
    """
    return read_with_duration(midi_path, sustain=False, all_instruments=False)[2]


def write_midi(notes, output_path, duration, ticks_per_beat=480):
    """Write notes as a MIDI file of one piano track at 120 beats a minute.

    Args:
        notes: `Notes`.
        output_path: where to write, atomically; its folder is made.
        duration: seconds that the file lasts: a pedal-up event and a text mark its end.
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


def read_with_duration(midi_path, sustain, all_instruments, max_seconds=None):
    """All that a piano roll needs of a MIDI file.

    Args:
        midi_path, sustain, all_instruments: as in `read_notes`.
        max_seconds: leave out notes that start later, and end the others there at the latest: most of a long file
            is then not read. `None`, the default, reads all of it; so does a file whose first note comes later.

    Returns:
        `Notes`; seconds to the end of the longest track, or to where reading stopped; pedal as from `read_pedal`.

    Raises:
        ValueError: as `read_notes`.
    """
    limit, mended = np.inf if max_seconds is None else max_seconds, Counter()
    with open(midi_path, "rb") as file:
        data = file.read()
    try:
        notes, duration, pedal = _read_piece(data, sustain, all_instruments, limit, mended)
    except ValueError as error:
        raise ValueError(f"{midi_path}: {error}") from None
    if mended:
        faults = ", ".join(f"{count} {fault}" for fault, count in mended.items())
        warnings.warn(f"{midi_path} is faulty: {faults}", stacklevel=2)
    if notes.start[0] < limit:
        notes = Notes(*(column[notes.start < limit] for column in notes))
        notes = notes._replace(end=np.minimum(notes.end, limit))
    return notes, duration, pedal


def _read_piece(data, sustain, all_instruments, max_seconds, mended):
    """Notes, duration and pedal from the bytes of a file, read to `max_seconds` or, if that tells too little, whole."""
    events = read_events(data, max_seconds, mended)
    strike, let_go, end, program, pedal = _find_notes(events, sustain)
    taken = program < (_DRUM_KIT if all_instruments else len(PIANO_PROGRAMS))
    channels = events.channel[strike[taken]]
    pedal = pedal[np.isin(events.channel[pedal[:, 0]], channels)]
    strike, let_go, end = strike[taken], let_go[taken], end[taken]
    till = np.maximum(_seconds(events, strike, let_go), _seconds(events, strike, end))
    notes = Notes(events.seconds[strike], till, events.a[strike], events.b[strike])
    endless = end == len(events.kind)
    too_little = not (notes.start < max_seconds).any() or (endless & events.whole[events.track[strike]]).any()
    if too_little and not events.whole.all():
        mended.clear()
        return _read_piece(data, sustain, all_instruments, np.inf, mended)
    if len(strike) == 0:
        others = ", ".join(str(number) for number in sorted(set(program.tolist()) - {_DRUM_KIT}))
        hint = f"; it has program {others} (`--all-instruments`, or `all_instruments=True`, takes all)"
        raise ValueError(f"no piano notes{hint if others else ', only drums' if len(program) else ''}")
    order = np.lexsort((notes.pitch, notes.start))
    notes = Notes(*(column[order].astype(kind) for column, kind in zip(notes, (float, float, int, int))))
    pedal = _union(events.seconds[pedal[:, 0]], _seconds(events, *pedal.T))
    return notes, float(events.end.max()), pedal


def _find_notes(events, sustain):
    """What keys and pedals do.

    Returns:
        The events that strike the M notes, let them go and end them, and their programs, each `(M,)`; `(K, 2)` events
        at which a pedal goes down and comes up. N, the number of events, for one that never comes.
    """
    # All state belongs to a channel, whichever track a message comes from. So each channel gets moments of its own:
    # its beginning, one for each event of the file, and never. Later moments are larger, also within one tick.
    N = len(events.kind)
    begin = (N + 2) * np.arange(1 + events.channel.max(initial=0))
    never = begin + N + 1
    moment = begin[events.channel] + np.arange(1, N + 1)
    control = np.where(events.kind == CONTROLLER, events.a, 128)

    # A key sounds until its next event, be it let go or struck again, or until its channel is silenced.
    keys = np.flatnonzero(events.kind <= NOTE_ON)
    key = 128 * events.channel[keys] + events.a[keys]
    order = np.argsort(key, kind="stable")  # key by key, each in order of time
    keys, key = keys[order], key[order]
    struck = (events.kind[keys] == NOTE_ON) & (events.b[keys] > 0)
    strike = keys[struck]
    channel = events.channel[strike]
    silence = np.sort(np.append(moment[(control == _SOUND_OFF) | (control == _NOTES_OFF)], never))
    silence = silence[np.searchsorted(silence, moment[strike])]
    end = let_go = np.minimum(_next(moment[keys], key, never[events.channel[keys]])[struck], silence)

    # The pedal goes down or comes up where it is not as at its last event.
    move = np.flatnonzero((control == SUSTAIN_PEDAL) | (control == _RESET))
    move = move[np.argsort(events.channel[move], kind="stable")]
    down = (control[move] == SUSTAIN_PEDAL) & (events.b[move] >= 64)
    was_down = np.zeros_like(down)
    was_down[1:] = down[:-1] & (events.channel[move[1:]] == events.channel[move[:-1]])
    move, down = move[down != was_down], down[down != was_down]
    up = _next(moment[move], events.channel[move], never[events.channel[move]])
    pedal = np.stack([moment[move], up], axis=1)[down]
    if sustain:
        struck_again = _next(moment[strike], key[struck], never[channel])
        end = np.minimum(np.minimum(sustained(let_go, pedal), silence), struck_again)

    change = np.flatnonzero(events.kind == PROGRAM)
    since, program = np.append(begin, moment[change]), np.append(np.zeros_like(begin), events.a[change])
    order = np.argsort(since)
    program = program[order][np.searchsorted(since[order], moment[strike]) - 1]
    program[channel % 16 == _DRUM_CHANNEL] = _DRUM_KIT
    return strike, let_go % (N + 2) - 1, end % (N + 2) - 1, program, pedal % (N + 2) - 1


def _next(moment, group, never):
    """For each of some moments the next one of its group, else never; those of a group stand together, in order."""
    return np.append(np.where(group[1:] == group[:-1], moment[1:], never[:-1]), never[-1:])


def _seconds(events, first, last):
    """When something ends that the event `first` begins and `last` ends; if nothing does, with its track."""
    end_of_track = events.end[events.track[first]]
    return np.where(last == len(events.kind), end_of_track, np.append(events.seconds, 0)[last])


def _union(down, up):
    """Intervals in order of their beginning, those that overlap as one."""
    order = np.argsort(down, kind="stable")
    down, up = down[order], np.maximum.accumulate(up[order])
    apart = down[1:] >= up[:-1]
    return np.stack([down[np.append(True, apart)[: len(down)]], up[np.append(apart, True)[: len(up)]]], axis=1)
