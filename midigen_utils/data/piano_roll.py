"""MIDI files to piano rolls and back.

A piano roll here is an array `(T, P)`, time first: row `t` covers the seconds `[t / fs, (t + 1) / fs)`, column `p` is
MIDI note `min_pitch + p`, a value is the velocity in (0, 1], and 0 is silence. (`pretty_midi`'s own rolls are
`(128, T)`.) A `config` is `MIDI_CONFIG` or a dict with its keys.
"""

import numpy as np

from ..config import bin_to_velocity, check_config, count_keys, value_to_bin, velocity_to_bin
from .midi import Notes, read_with_duration, write_midi

MAX_CELLS = 2**25  # 6 hours of 88 keys at 16 frames/s: a longer roll is a corrupt file


def midi_to_piano_roll(midi_path, config, sustain=True, all_instruments=False):
    """A MIDI file as a piano roll.

    Notebook: 02_piano_roll

    Args:
        midi_path, sustain, all_instruments: as in `read_notes`.
        config: see above.

    Returns:
        `(T, P)` float32, values `bin / velocity_bins` in [0, 1]; T is the length of the file, at most `max_duration`
        seconds, in frames.

    Raises:
        ValueError: the file has no notes for these keys, or is no MIDI file.
    """
    bins = midi_to_bins(midi_path, config, sustain, all_instruments)
    return np.divide(bins, config["velocity_bins"], dtype=np.float32)


def midi_to_bins(midi_path, config, sustain=True, all_instruments=False):
    """As `midi_to_piano_roll`, in the whole numbers of the cache.

    Returns:
        `(T, P)` uint8: 0 for silence, else the velocity bin 1..velocity_bins.
    """
    seconds = check_config(config)["max_duration"]
    if seconds is not None:
        seconds += 1 / config["fs"]  # a strike in the first row that is left out may still end a note
    notes, duration, _ = read_with_duration(midi_path, sustain, all_instruments, seconds)
    try:
        return notes_to_roll(notes, config, duration)
    except ValueError as error:
        raise ValueError(f"{midi_path}: {error}") from None


def notes_to_roll(notes, config, duration=0.0):
    """Draw notes into a roll of velocity bins.

    Onset and end are rounded to the nearest edge of a row, halves up: neither comes earlier or later on average. A note
    fills the rows between, and at least one. A key struck again while it sounds ends the old note; the row before the
    new onset is cleared, if the old note has two rows or more, so that two notes stay two. Of two strikes in one row
    the later one stands. Notes outside the config's keys are left out.

    Notebook: 02_piano_roll

    Args:
        notes: `Notes`.
        config: see above.
        duration: seconds the roll lasts at least (rests at the end), default 0.

    Returns:
        `(T, P)` uint8: 0 for silence, else the velocity bin 1..velocity_bins.

    Raises:
        ValueError: no note within the keys and `max_duration`, or a roll too long.
    """
    check_config(config)
    fs, low, high = config["fs"], config["min_pitch"], config["max_pitch"]
    longest = np.inf if config["max_duration"] is None else round(config["max_duration"] * fs)

    # Sorted by key, then time, so that a note's successor on its key is next to it.
    order = np.lexsort((notes.start, notes.pitch.astype(np.uint8)))
    order = order[(notes.pitch[order] >= low) & (notes.pitch[order] <= high)]
    if len(order) == 0:
        raise ValueError(f"no notes between MIDI notes {low} and {high} in the part that is read")
    key = notes.pitch[order] - low
    on = _nearest_edge(notes.start[order], fs)  # first row
    off = np.maximum(on + 1, _nearest_edge(notes.end[order], fs))  # row after the last
    T = int(min(longest, max(off.max(), _nearest_edge(duration, fs))))
    if T * count_keys(config) > MAX_CELLS:
        raise ValueError(f"lasts {T / fs / 3600:.0f} hours: probably a corrupt file (or set max_duration)")

    struck_again = np.append((key[1:] == key[:-1]) & (on[1:] <= off[:-1]), False)
    next_on = np.append(on[1:], 0)
    gap = np.where(next_on - on >= 2, 1, 0)  # a silent row before the new onset
    off = np.minimum(np.where(struck_again, next_on - gap, off), T)

    kept = on < T
    if not kept.any():
        first = f"the first one begins at {notes.start[order].min():.1f} s"
        advice = "`--whole-pieces`, or None for `max_duration` in the config, reads all of a piece"
        raise ValueError(f"no notes in the first {config['max_duration']} s: {first} ({advice})")
    kept &= off > on
    on, off, key = on[kept], off[kept], key[kept]
    bins = velocity_to_bin(notes.velocity[order[kept]], config).astype(np.uint8)
    # No two notes share a cell, so a key's velocity is the sum of all that its onsets added and its ends took away.
    change = np.zeros((T + 1, count_keys(config)), dtype=np.uint8)
    change[on, key] += bins
    change[off, key] -= bins  # below 0 it wraps around, and so does the sum
    return change.cumsum(axis=0, dtype=np.uint8)[:T]


def roll_to_notes(piano_roll, config, velocity_threshold=0.3):
    """The notes of a roll: each run of rows above the threshold in a column is one.

    Notebook: 02_piano_roll

    Args:
        piano_roll, config: `(T, P)` floats in [0, 1], and see above.
        velocity_threshold: in [0, 1); a cell sounds where its value is **above** it. The default 0.3 is for rolls of
            probabilities. Use 0 for real and for generated rolls: their quiet notes lie below 0.3.

    Returns:
        `Notes`; the velocity is that of the onset row.

    Raises:
        ValueError: wrong shape, NaN, or a threshold out of range.
    """
    check_config(config)
    low, fs, keys = config["min_pitch"], config["fs"], count_keys(config)
    roll = np.asarray(piano_roll, dtype=np.float64)
    if roll.ndim != 2 or roll.shape[1] != keys:
        advice = ": transpose it" if roll.ndim == 2 and len(roll) == keys else ""
        raise ValueError(f"a piano roll has the shape (T, {keys}), time first; this one has {roll.shape}{advice}")
    if not np.isfinite(roll).all():
        raise ValueError("the piano roll holds NaN or infinite values: did training diverge?")
    if not 0 <= velocity_threshold < 1:
        raise ValueError(f"velocity_threshold is {velocity_threshold}; use 0 to just below 1")
    sounding = np.pad(roll > velocity_threshold, ((1, 1), (0, 0))).T.astype(np.int8)  # (P, T + 2)
    change = np.diff(sounding, axis=1)  # (P, T + 1): 1 at an onset, -1 after a last row
    key, on = np.nonzero(change == 1)
    _, off = np.nonzero(change == -1)  # one end to each onset, in the same order
    order = np.lexsort((key, on))
    key, on, off = key[order], on[order], off[order]
    bins = value_to_bin(roll[on, key], config["velocity_bins"])
    return Notes(on / fs, off / fs, key + low, bin_to_velocity(bins, config))


def piano_roll_to_midi(piano_roll, config, output_path, velocity_threshold=0.3):
    """Write a piano roll as a MIDI file of one piano track.

    Onsets lie exactly on the edges of rows, so `midi_to_piano_roll` gives the same keys in the same rows. The file
    lasts as long as the roll, rests at the end included. A note whose key is struck again after one silent row lasts a
    quarter of that row longer.

    Notebook: 02_piano_roll

    Args:
        piano_roll, config, velocity_threshold: as in `roll_to_notes`.
        output_path: where to write; its folder is made.

    Returns:
        The `pretty_midi.PrettyMIDI` that was written.

    Raises:
        ValueError: as `roll_to_notes`.
    """
    notes = roll_to_notes(piano_roll, config, velocity_threshold)
    fs = config["fs"]
    # One silent row between two notes of a key is often the one that `notes_to_roll` cleared: the old note gets a
    # quarter of it back. On real performances with the pedal, F1 of onsets and ends is then 0.966, else 0.958.
    order = np.lexsort((notes.start, notes.pitch))
    start, end, pitch = notes.start[order], notes.end[order], notes.pitch[order]
    parted = (pitch[1:] == pitch[:-1]) & (np.rint((start[1:] - end[:-1]) * fs) == 1)
    notes.end[order[:-1][parted]] += 0.25 / fs
    # A row lasts a whole number of ticks: no onset is rounded. Four at least: pretty_midi ends a file one tick later.
    return write_midi(notes, output_path, len(piano_roll) / fs, ticks_per_beat=int(fs * max(2, -(-240 // fs))))


def _nearest_edge(seconds, fs):
    """The row whose beginning is nearest to a time; halves go up, as `np.rint` does only for odd rows."""
    return np.floor(seconds * fs + 0.5).astype(np.int64)
