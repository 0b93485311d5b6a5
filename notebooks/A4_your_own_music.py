# %% [markdown]
# # A4 · Your own music: a folder becomes a model
#
# You have a folder of MIDI files: your band, your favourite composer, everything that you have ever written. Can it
# become a model that goes on in that manner? In this notebook you
#
# - look through a folder: what is in it, what has to be left out, and why,
# - ask whether it is fit for training: loudness, pedal, silence, instruments,
# - find copies, also those that the split by hash does not see,
# - find out how much music is enough, and teach your music to a model that already knows another kind,
# - keep the model, and do it all again from a terminal.
#
# You need notebooks 01 and 02, for the training the idea of notebook 03, and no folder: if you name none, the notebook
# makes a small one, good files and bad ones, and throws it away at the end. It runs in about three minutes on two
# processor cores, most of it training.

# %% tags=["nbval-ignore-output"]
import copy
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pretty_midi
import torch

from midigen_utils.config import MIDI_CONFIG, SEQUENCE_LENGTH, scaled
from midigen_utils.data import COLUMNS, SPLITS, Notes, durations, keys_sounding, load_corpus, load_piano_rolls
from midigen_utils.data import midi_to_piano_roll, pedal_rate, piano_roll_to_midi, read_notes, read_pedal, write_midi
from midigen_utils.exercises import check
from midigen_utils.files import MAESTRO_STATISTICS, MIDI_DATA
from midigen_utils.learn import SequenceDataset, evaluate, export_model, fit, fit_baselines, load_model
from midigen_utils.models import MusicMamba, generate_music
from midigen_utils.show import BLUE, GREEN, GREY, ORANGE, PINK, note_name, player, plot_histogram

# %% [markdown]
# ## Settings
#
# `FOLDER` is the line to change: the path of your folder, subfolders included. (On Windows write it with `/`, or put
# an `r` before the quotation mark.) Your folder is only read.

# %% tags=["nbval-ignore-output"]
FOLDER = None  # such as "~/Music/midi"; None makes a small folder of chorales and oddities
COMPOSED = scaled(full=12 * 16, fast=2 * 16)  # rows that the models compose here
LISTED = scaled(full=400, fast=60)  # at most so many chorales are read to compare with
TRAIN_PIECES = scaled(full=None, fast=2)  # of the folder; None takes all
STEPS = scaled(full=70, fast=4)  # of each training
STRIDE, BATCH_SIZE = 64, 8
GENTLE, FRESH = 5e-4, 2e-3  # learning rates at their highest: for a model that knows something, and for a new one

plt.rcParams["figure.dpi"] = 80
workshop = tempfile.TemporaryDirectory(
    prefix="midigen-"
)  # all that is made here, but the model and the music at the end
example = Path(workshop.name) / "my_music"
bach = load_corpus("bach")

# %% [markdown]
# First, what we begin with. This model has heard concert pianists, and nothing else. We give it the first four seconds
# of a chorale, and it goes on, as a pianist. Keep the sound in your ear: after it has read your folder, it goes on
# differently.

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The Mamba taught by pianists goes on from a chorale."}, "image": {"alt": "Player: four seconds of a chorale, and what a model of concert pianists makes of it"}}
pretrained = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
opening = midi_to_piano_roll(bach.pieces[0].path, MIDI_CONFIG)[:SEQUENCE_LENGTH]
music = generate_music(pretrained, opening, COMPOSED, random_seed=1)
player(music, title="A pianist goes on", composer=f"after 4 s of {bach.pieces[0].title}", seed_frames=len(opening))

# %% [markdown]
# ## A folder
#
# Folders found in the wild are untidy. Ours is made to be: one in eleven of the chorales, and nine files that are odd
# in some way. Four of these we write by hand, byte by byte. Notebook 01 read a MIDI file; writing one is the same in
# the other direction: a header, and events, each with its waiting time in ticks. (The time is cut into pieces of 7
# bits. The eighth bit of a byte says whether another piece follows; adding 128 sets it.)


# %%
def midi_file(events, ticks=480):
    """The bytes of a MIDI file of one track. Events: (tick, bytes); a quarter note has 480 ticks."""
    body, now = b"", 0
    for tick, event in sorted(events, key=lambda event: event[0]):
        wait, now = tick - now, tick
        body += bytes([128 | wait >> 14, 128 | wait >> 7 & 127, wait & 127]) + event  # 7 bits in each byte
    body += b"\x00\xff\x2f\x00"  # end of track
    header = b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1]) + ticks.to_bytes(2, "big")
    return header + b"MTrk" + len(body).to_bytes(4, "big") + body


def strike(pitch, tick, length, velocity=80, channel=0):
    """A key goes down at a tick and comes up `length` ticks later: two events."""
    return [(tick, bytes([0x90 | channel, pitch, velocity])), (tick + length, bytes([0x80 | channel, pitch, 0]))]


# %% [markdown]
# A file has 16 channels; channel 9 (counted from 0) is the drums', and a *program change* (byte 0xC0 and the channel)
# says which instrument plays on one of the others. 40 is a violin; 0 to 7 are pianos, a harpsichord and a clavinet,
# and all of these are read as pianos. A *tempo* event (0xFF 0x51) says
# how many microseconds a quarter note takes.

# %%
drums = [event for beat in range(32) for event in strike((36, 42)[beat % 2], 480 * beat, 240, channel=9)]
tune = [79, 76, 72, 74, 77, 74, 71, 67] * 4
violin = [event for beat, pitch in enumerate(tune) for event in strike(pitch, 480 * beat, 470, channel=1)]
piano = [event for bar in range(16) for event in strike((48, 43)[bar % 2], 960 * bar, 940)]
endless = strike(36, 0, 960 * 600)  # 600 s
tempos = [
    (tick, b"\xff\x51\x03" + (60_000_000 // bpm).to_bytes(3, "big"))
    for tick, bpm in ((0, 120), (480 * 8, 40), (480 * 12, 480))
]
steps = [event for beat in range(40) for event in strike(60 + (2 * beat) % 13, 480 * beat, 460)]

# %% [markdown]
# Now all of them into the folder. One chorale comes four times: as it is, as a copy with another name, saved again by
# another program, and five keys higher.

# %%
odd = example / "downloads"
odd.mkdir(parents=True, exist_ok=True)
for piece in bach.pieces[::11]:
    shutil.copy(piece.path, example)
original = example / "bwv227.1.mid"
data, notes = original.read_bytes(), read_notes(original)

shutil.copy(original, odd / "Chorale (1).MID")
write_midi(notes, odd / "saved again.mid", notes.end.max())
write_midi(notes._replace(pitch=notes.pitch + 5), odd / "five higher.mid", notes.end.max())
(odd / "cut off.mid").write_bytes(data[: len(data) // 2])
(odd / "empty.mid").write_bytes(b"")
(odd / "drums.mid").write_bytes(midi_file(drums))
(odd / "violin and piano.mid").write_bytes(midi_file([(0, bytes([0xC1, 40])), *violin, *piano]))
(odd / "endless note.mid").write_bytes(midi_file(endless))
_ = (odd / "three tempos.mid").write_bytes(midi_file(tempos + steps))

# %% [markdown]
# ## What is in the folder
#
# `load_corpus` takes the path of a folder as it takes `"bach"`. It reads every `.mid` and `.midi` file below it, in
# capitals or not, and `load_piano_rolls` draws the tables. A file that cannot be used does not end the work. It is
# left out, and the corpus remembers which and why. Of each file the first 60 s are taken, no more. (If your pieces are
# longer and you want all of them, see `--whole-pieces` below.)

# %% tags=["nbval-ignore-output"]
folder = Path(FOLDER).expanduser() if FOLDER else example
rolls, corpus = load_piano_rolls(load_corpus(folder))


# %% tags=["nbval-check-output"]
def name(path):
    """A file's name within the folder."""
    return path.relative_to(folder).as_posix()


print(f"{len(corpus.pieces)} files can be used, {len(corpus.skipped)} are left out")

# %% tags=["nbval-ignore-output"]
for path, reason in corpus.skipped[:10]:
    print(f"{name(path)}\n    {reason.removeprefix(f'{path}: ')}")

# %% [markdown]
# Read the reasons, all of them, before anything else. A damaged file can be fetched again. "No piano notes, only
# drums" is no damage: there is nothing for a piano in it. A file of violins alone would say "program 40", and you could
# decide to take it; that decision comes below.
#
# Of the usable files we want some numbers each. They are all known from notebook 01: minutes, notes, lowest and
# highest key, how many different velocities, with how much pedal, and, from the roll, how much silence and how many
# keys sound together.


# %%
def facts(path, roll):
    """What one file holds, as numbers; `roll` is its first minute."""
    notes, sounding = read_notes(path, sustain=False), keys_sounding(roll)
    seconds = notes.end.max()
    return {
        "seconds": seconds,
        "notes": len(notes.start),
        "low": notes.pitch.min(),
        "high": notes.pitch.max(),
        "loudness": len(np.unique(notes.velocity)),
        "pedal": pedal_rate(read_pedal(path), seconds),
        "silent": np.mean(sounding == 0),
        "together": sounding.sum() / max((sounding > 0).sum(), 1),
        "longest": durations(notes).max(),
    }


table = {piece.path: facts(piece.path, rolls[s][i]) for s in SPLITS for i, piece in enumerate(rolls[s].pieces)}


# %% tags=["nbval-check-output"]
def show(paths):
    """Print the facts of some files."""
    print("minutes  notes  keys        velocities  pedal  silent  together  file")
    for path in paths:
        f = table[path]
        keys = f"{note_name(f['low'])} to {note_name(f['high'])}"
        print(f"{f['seconds'] / 60:7.2f} {f['notes']:6d}  {keys:<11} {f['loudness']:10d}", end=" ")
        print(f"{f['pedal']:6.0%} {f['silent']:7.0%} {f['together']:9.1f}  {name(path)}")


show(sorted(table)[:5])
seconds, notes = (sum(f[what] for f in table.values()) for what in ("seconds", "notes"))
print(f"\nall: {seconds / 60:.1f} minutes of files, {notes} notes")

# %% [markdown]
# With forty files one can read all lines; with four thousand, only the suspicious ones. So write down what is
# suspicious. The limits below are ours, and generous; what is odd for one kind of music is normal for another.


# %%
def remarks(f):
    """What is odd about a file, in words."""
    speed = f["notes"] / f["seconds"]
    rules = {
        f"plays for {f['seconds']:.0f} s only": f["seconds"] < 10,
        f"{speed:.2f} notes a second": speed < 0.5,
        f"{speed:.0f} notes a second": speed > 25,
        "all notes equally loud": f["loudness"] == 1,
        f"silent for {f['silent']:.0%} of the time": f["silent"] > 0.5,
        f"a note of {f['longest']:.0f} s": f["longest"] > 30,
        "never two keys together": f["together"] == 1,
    }
    return [words for words, suspicious in rules.items() if suspicious]


# %% tags=["nbval-check-output"]
for path, f in table.items():
    if remarks(f):
        print(f"{name(path)}: {', '.join(remarks(f))}")

# %% [markdown]
# The endless note passed the package's door: it is a valid file with a piano note. But its roll is a minute of one
# key. A model that reads it often learns to hold a key down for ever. Nobody but you can say whether such a file
# belongs to your music.
#
# ## Listen
#
# No table replaces this. Listen to a few files as the model will meet them: to the roll, not to the file.

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The first training piece of the folder."}, "image": {"alt": "Player: the beginning of a chorale"}}
first = rolls["train"][0]
player(first[: 30 * 16], title=rolls["train"].pieces[0].title, composer="as the model meets it")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "A training piece with a remark."}, "image": {"alt": "Player: a piece about which the reader of files remarked something"}}
at = next((i for i, p in enumerate(rolls["train"].pieces) if remarks(table[p.path])), 0)
player(rolls["train"][at][: 30 * 16], title=rolls["train"].pieces[at].title, composer="one with a remark")

# %% [markdown]
# ## The tempo is gone
#
# One of our files has three tempos: 120 quarter notes a minute, then 40, then 480. Does the course's reader know? Ticks
# become seconds piece by piece, each with its own tempo. By hand, for the notes at the beats 0, 8, 12 and 39:


# %% tags=["nbval-check-output"]
def seconds_at(beat):
    """When a beat of our file comes: 8 beats at 120 a minute, 4 at 40, the others at 480."""
    return 60 * (min(beat, 8) / 120 + max(0, min(beat, 12) - 8) / 40 + max(0, beat - 12) / 480)


start = read_notes(example / "downloads" / "three tempos.mid").start
for beat in (0, 8, 12, 39):
    print(f"beat {beat:2d}: {start[beat]:7.3f} s; with the first tempo alone it would be {beat / 2:6.3f} s")
assert np.allclose(start, [seconds_at(beat) for beat in range(40)])

# %% [markdown]
# So a roll knows seconds, not beats. If a file says the wrong tempo (some programs write none, and 120 is assumed),
# the music is too slow or too fast for ever after, and only your ear, or a remark on its notes a second, will tell.
#
# ## Beside Bach and MAESTRO
#
# Is your music like what the pretrained model knows? Four distributions: your folder in blue, MAESTRO as an orange
# line, the chorales of the course as a green one.

# %%
every = [read_notes(path, sustain=False) for path in table]
chorales = [read_notes(piece.path, sustain=False) for piece in bach.pieces[:LISTED]]
chorale_rolls = [midi_to_piano_roll(piece.path, MIDI_CONFIG) for piece in bach.pieces[:LISTED]]
maestro = json.loads(MAESTRO_STATISTICS.read_text(encoding="utf-8"))["histograms"]


def of_all(pieces, measure):
    """The values of a measure, of many pieces, end to end."""
    return np.concatenate([measure(notes) for notes in pieces])


def compare(ax, ours, theirs, measure, label, **options):
    """A histogram of ours, and two lines: MAESTRO's counts and those of the chorales."""
    edges, counts = np.array(maestro[measure]["edges"]), maestro[measure]["counts"]
    plot_histogram(ours, edges, label, counts, ("this folder", "MAESTRO"), ax=ax, **options)
    count, _ = np.histogram(theirs, edges)
    ax.stairs(100 * count / count.sum(), edges, color=GREEN, linewidth=1.2, label="Bach")
    ax.legend(frameon=False, fontsize="small")


# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The folder, Bach's chorales and MAESTRO, in four measures."}, "image": {"alt": "Four histograms, each with the folder in blue, the chorales in green and MAESTRO in orange"}}
fig, axes = plt.subplots(2, 2, figsize=(11, 6), layout="constrained")
measures = {
    "pitch": ("key", lambda notes: notes.pitch),
    "velocity": ("velocity", lambda notes: notes.velocity),
    "duration": ("key held (s)", durations),
}
for ax, (measure, (label, values)) in zip(axes.flat, measures.items()):
    ours, theirs = of_all(every, values), of_all(chorales, values)
    compare(ax, ours, theirs, measure, label, note_names=measure == "pitch")
axes[1, 0].set(xscale="log", xlim=(0.01, 20))
ours = of_all([rolls[s][i] for s in SPLITS for i in range(len(rolls[s]))], keys_sounding)
compare(axes[1, 1], ours, of_all(chorale_rolls, keys_sounding), "keys_pedal", "keys that sound together")
_ = axes[1, 1].set(xlim=(-0.5, 16))

# %% [markdown]
# What to see: where blue leaves green, a file is not like a chorale; where it leaves orange, the pretrained model has
# something to learn. Ours is mostly Bach, so blue follows green: a narrow range of keys, no note very loud, lengths in
# a few fixed values, four keys at a time (the bar at one key is the endless note, most of it). Look for *spikes* in a
# folder of your own. All velocities at one number mean that no touch was recorded (typed notes, an organ, a simple
# keyboard); such music teaches no dynamics. (Three of our files are like that, all at 80; they have so few notes that
# only the remarks show it.) Many velocities do not prove a pianist: those of the chorales were made by rule.
#
# And the pedal? How many files have one, and how much of the time are rolls silent?

# %% tags=["nbval-check-output"]
pedal = np.array([f["pedal"] for f in table.values()])
print(f"files with a pedal: {np.mean(pedal > 0):.0%}; rows in silence: {np.mean(ours == 0):.1%}")
print(f"keys together, in rows with sound: {ours[ours > 0].mean():.2f} on average, {ours.max()} at most")

# %% [markdown]
# Without a pedal there is nothing to repair: notes last as long as keys are held. But mixing both kinds in one folder
# gives a model two ideas of how long a note is.
#
# ## Which instruments?
#
# The package takes the piano notes of a file, nothing else: those of General MIDI's programs 0 to 7, and of channels
# that name no program. For which files does that leave notes out? Read each twice and count:

# %% tags=["nbval-check-output"]
partly = []
for path in table:
    some, all_of_them = (read_notes(path, sustain=False, all_instruments=flag) for flag in (False, True))
    if len(some.start) < len(all_of_them.start):
        partly.append(path)
        print(f"{name(path)}: {len(some.start)} of {len(all_of_them.start)} notes are the piano's")
for path in partly[:3]:
    for instrument in pretty_midi.PrettyMIDI(str(path)).instruments:
        kind = "drums" if instrument.is_drum else pretty_midi.program_to_instrument_name(instrument.program)
        print(f"    {kind}: {len(instrument.notes)} notes")

# %% [markdown]
# In our example the melody is missing, and the bass is left. `load_corpus(folder, all_instruments=True)` takes all
# but the drums. (Drums have no pitch: their key numbers mean "bass drum" or "hi-hat".) What changes?

# %% tags=["nbval-check-output"]
wide = load_corpus(folder, all_instruments=True)
split_of = {piece.path: piece.split for piece in corpus.pieces}
moved = [piece for piece in wide.pieces if split_of.get(piece.path, piece.split) != piece.split]
print(f"{len(wide.pieces)} files can be used; {len(moved)} of them in another split than before")
for piece in moved[:5]:
    print(f"    {name(piece.path)}: {split_of[piece.path]}, now {piece.split}")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Only the notes of the piano."}, "image": {"alt": "Player: the piano part of a duo"}}
duo = example / "downloads" / "violin and piano.mid"
player(midi_to_piano_roll(duo, MIDI_CONFIG), title="piano notes only", composer="violin and piano.mid")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "All instruments, played on one piano."}, "image": {"alt": "Player: the same duo, the violin's part on the piano as well"}}
player(midi_to_piano_roll(duo, MIDI_CONFIG, all_instruments=True), title="all instruments, on one piano")

# %% [markdown]
# A roll has one set of 88 keys. The violin is now played on the piano, and where two instruments play the same key at
# the same time, one note is left. For a string quartet or a song that is a fair piano reduction; for a full orchestra
# expect mud. A file may change its split, because the split depends on its notes, and other notes are read now. So
# decide once, and never compare the scores of a corpus read in one way with those of the other.
#
# From here on we stay with pianos.
#
# ## Copies, and the split by hash
#
# A folder that grew over years holds things twice. A copy in `validation` of a piece in `train` is the leak of
# notebook 02: the model is asked what it was told. How does the package split? By *hash*. The notes of a file are
# rounded to a millisecond and turned into one long number; a remainder says where the file goes. The same by hand:


# %%
def fingerprint(path):
    """A number that only files with the same notes share."""
    columns = read_notes(path, sustain=False)
    data = b"".join(column.round(3).astype("<f8").tobytes() for column in columns)
    return hashlib.sha256(data).hexdigest()


def split_by_hash(path):
    """Eight tenths of all fingerprints are train, one is validation, one test."""
    tenth = int(fingerprint(path)[:8], 16) % 10
    return {0: "test", 1: "validation"}.get(tenth, "train")


# Where a split would be empty, the package moves a piece there; where there is a list of splits, it obeys the list.
by_hand = {path: split_by_hash(path) for path in table}
if set(by_hand.values()) == set(SPLITS) and not any(folder.glob("*.csv")):
    assert by_hand == split_of

# %% [markdown]
# That has three merits. It needs no list. A file keeps its split when others are added. And copies fall together,
# whatever they are called. What of the chorale that comes four times?

# %% tags=["nbval-check-output"]
for path in (original, odd / "Chorale (1).MID", odd / "saved again.mid", odd / "five higher.mid"):
    print(f"{fingerprint(path)[:8]}  {split_by_hash(path):<10}  {path.relative_to(example).as_posix()}")

# %% [markdown]
# The copy with another name is found: same notes, same number, same split. The two others are not. Saved by another
# program, the notes moved by less than a millisecond, from one division into ticks to another; that is enough for
# another number. And transposed, nothing agrees. Both have escaped into validation and test. (We chose this chorale
# because its copies do. Chance would leave two of three copies where they belong: quiz, question 2.)
#
# What would stay the same? Sing a melody higher: the *steps* from note to note do not change. So we take the top of
# each onset (notebook 01: notes within 0.05 s are one onset), the steps between the tops (a tone
# repeated is no step), and call every run of eight steps a **word**, as one would compare two texts by the phrases that
# they share.


# %%
def interval_words(notes, length=8):
    """All runs of `length` steps of the top line, in semitones: a set."""
    onsets = np.flatnonzero(np.diff(notes.start, prepend=-np.inf) > 0.05)
    steps = np.diff(np.maximum.reduceat(notes.pitch, onsets))
    steps = steps[steps != 0]
    return {tuple(steps[i : i + length].tolist()) for i in range(len(steps) - length + 1)}


def shared(a, b):
    """How many of the words of the shorter piece the other one has, 0 to 1."""
    return len(a & b) / max(min(len(a), len(b)), 1)


# %% tags=["nbval-check-output"]
words = {path: interval_words(read_notes(path, sustain=False)) for path in table}
pairs = sorted(((shared(words[a], words[b]), a, b) for a, b in combinations(words, 2)), reverse=True)
print(f"{len(pairs)} pairs; {sum(likeness == 0 for likeness, _, _ in pairs)} of them share no word")
for likeness, a, b in pairs[:9]:
    print(f"{likeness:5.0%}  {name(a)}, {name(b)}")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How much any two files have in common; dashed, the limit above which they count as copies."}, "image": {"alt": "Histogram with a tall bar at 0, a few low ones, a wide gap, and some pairs near 1"}}
fig, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
ax.hist([likeness for likeness, _, _ in pairs], np.linspace(0, 1, 41), color=BLUE)
ax.set(xlabel="share of words in common", ylabel="pairs of files", yscale="log")
_ = ax.axvline(0.5, color=ORANGE, linestyle="--")

# %% [markdown]
# What to see: nearly all pairs have nothing in common, and the copies, saved again or higher, everything: between them
# there is a wide empty space, so the limit (dashed, 0.5) needs no fine tuning. Low down, but not at 0, are pairs to
# listen to: bwv4.8 and bwv158.4 are two settings of one hymn, "Christ lag in Todesbanden"; bwv188.6 and bwv84.5 are two
# hymns, which share a stretch of scale by chance. Our top lines do not see all such pairs, because when the melody
# holds a note the top of the next onset belongs to another voice.
#
# Words also find what no hash can: the same piece, *played* twice. Among 13 files of MAESTRO that we put into `FOLDER`
# for a trial were two pianists with one prelude (BWV 889): they shared 85 % of their words, all other pairs 1 % or
# less. But look before you delete: exercises and other files of few words can share them by chance.
#
# Words cost little: a set for each file, and one comparison for each pair. For ten thousand files, 50 million pairs,
# one would look up words in a dictionary and compare only files that share one.
#
# ## A clean folder
#
# We keep one file of each family of copies, and leave out what we do not want. (Here: what has a note of more than
# 30 s. Put your own rule.) Your folder stays as it is: what is kept is copied into another one. (It is gone when the
# notebook ends; put a path of yours for `clean`, and it stays.)

# %% tags=["nbval-check-output"]
unwanted = {path for path, f in table.items() if f["longest"] > 30}
for likeness, a, b in pairs:
    if likeness > 0.5 and not unwanted & {a, b}:
        unwanted.add(max(a, b, key=lambda path: (len(path.parts), name(path))))  # the one deeper in subfolders
kept = [piece for piece in corpus.pieces if piece.path not in unwanted]
print(f"{len(kept)} files kept; not kept: {', '.join(sorted(name(path) for path in unwanted))}")

# %%
clean = Path(workshop.name) / "clean_music"
for piece in kept:
    (clean / name(piece.path)).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(piece.path, clean / name(piece.path))

# %% [markdown]
# Beside the files we put a list that says which file is in which split. It has the seven columns of MAESTRO's CSV.
# Where `load_corpus` finds such a list, it reads the files on it and no others: add a line for each file that you put
# into the folder later, or delete the list.

# %%
rows = []
for piece in load_corpus(clean).pieces:  # split by hash, this once
    file = piece.path.relative_to(clean)
    rows.append(["", piece.title, piece.split, "", file.as_posix(), "", round(table[folder / file]["seconds"], 1)])
with open(clean / "list.csv", "w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([COLUMNS, *rows])  # composer, title, split, year, MIDI file, audio file, seconds

# %% [markdown]
# In the list you can also move a piece by hand: change the word in the column `split`. That is what to do with two
# settings of a tune, or with two performances of a piece: both into one split.

# %% tags=["nbval-check-output"]
cleaned = load_corpus(clean)
for split in SPLITS:
    minutes = sum(piece.duration for piece in cleaned.split(split)) / 60
    print(f"{split:<10} {len(cleaned.split(split)):3d} pieces {minutes:6.1f} minutes")
assert not cleaned.skipped

# %% [markdown]
# Few pieces in validation make a rough ruler. With fewer than ten, do not believe small differences; with none,
# training cannot begin. Three different pieces are the least: one for each split.
#
# ## How much music is enough?
#
# That can be measured: train on a quarter of the pieces, on half, on all of them, each time with the *same number of
# steps*, and score each on the same validation pieces. Only the variety differs: the quarter is seen four times as
# often. We do not start from nothing but from the pretrained model, with small steps (fine-tuning).

# %% tags=["nbval-ignore-output"]
rolls, corpus = load_piano_rolls(cleaned, limit=TRAIN_PIECES)
train, validation = rolls["train"], rolls["validation"]


def learn(start, pieces, learning_rate, folder):
    """Train a copy of a model for about STEPS steps; return its best epoch, and (steps, validation losses)."""
    model = copy.deepcopy(start)
    each = -(-len(SequenceDataset(pieces, stride=STRIDE)) // BATCH_SIZE)  # steps in an epoch
    history = fit(
        model,
        {"train": pieces, "validation": validation},
        max(1, round(STEPS / each)),
        stride=STRIDE,
        batch_size=BATCH_SIZE,
        learning_rate=learning_rate,
        folder=Path(workshop.name) / folder,
    )
    steps = [each * (row["epoch"] + 1) for row in history]
    return load_model(Path(workshop.name) / folder / "best_model.pt"), (steps, [row["val_loss"] for row in history])


# %% tags=["nbval-ignore-output"]
taught, curves, minutes = {}, {}, {}
for part, share in (("a quarter", 4), ("half", 2), ("all", 1)):
    pieces = train.spread(max(1, len(train) // share))
    minutes[part] = pieces.lengths.sum() / 16 / 60
    taught[part], curves[part] = learn(pretrained, pieces, GENTLE, part)

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Validation while the pretrained model is taught by a quarter of the folder, by half of it, and by all of it."}, "image": {"alt": "Three curves from one point: a quarter turns up again after 30 steps, half of the folder ends lower, all of it lowest"}}
before = evaluate(pretrained, validation)["nll"]
markov = evaluate(fit_baselines(train)["Markov-1"], validation)["nll"]
fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for (part, (steps, losses)), colour in zip(curves.items(), (PINK, ORANGE, BLUE)):
    ax.plot(
        [0, *steps], [before, *losses], "o-", color=colour, markersize=3, label=f"{part}: {minutes[part]:.0f} minutes"
    )
ax.set(xlabel="training steps", ylabel="validation (nats per row)")
_ = ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %% tags=["nbval-ignore-output"]
for part, (steps, losses) in curves.items():
    print(f"{part:<9} {minutes[part]:5.1f} minutes, {steps[-1]:3d} steps: ", end="")
    print(f"lowest {min(losses):.3f}, at the end {losses[-1]:.3f} nats per row (before: {before:.3f})")

# %% [markdown]
# What to see: all begin in the same point, the pretrained model, and part soon. A line that turns up again is that of a
# model which begins to know its few pieces by heart; what counts is the lowest point on the way, and `fit` keeps the
# model of that point. Between a half and the whole: if there is a clear step down, more music would help further, so
# go and look for it. If both reach the same depth, more music of this kind is not what is missing.
#
# (In our full run the quarter turned up after some thirty steps, and the whole folder ended lower than the half: more
# chorales may help.)
#
# Is the difference larger than chance? The pieces of validation differ, but each is scored by all three models, each
# at its lowest point; so subtract piece by piece:

# %% tags=["nbval-ignore-output"]
per_piece = {
    part: np.array([evaluate(model, [validation[i]])["nll"] for i in range(len(validation))])
    for part, model in taught.items()
}
for few, more in (("a quarter", "half"), ("half", "all")):
    gain = per_piece[few] - per_piece[more]
    print(f"{more} better than {few}, piece by piece:", *(f"{nats:.3f}" for nats in gain), f" mean {gain.mean():.3f}")

# %% [markdown]
# If all signs agree, believe it, for these pieces and this one run. (In our full run all six do, in both lines.) The
# fewer agree, the more of it may be luck.
#
# ## Start from a model that knows music, or from nothing?
#
# The same folder, the same number of steps; once from the weights that have heard pianists, once from a new model of
# the same shape. The new one gets a higher learning rate, because it has nothing to lose.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
newborn = MusicMamba(**pretrained.config)
at_birth = evaluate(newborn, validation)["nll"]
_, curves["new"] = learn(newborn, train, FRESH, "new")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Fine-tuned from a pretrained model, and trained from nothing; dotted, Markov-1."}, "image": {"alt": "Two falling curves on a logarithmic axis: the pretrained one lies below the dotted line all the way, the other above it"}}
fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for label, curve, first, colour in (
    ("pretrained, then this folder", "all", before, BLUE),
    ("this folder only", "new", at_birth, ORANGE),
):
    steps, losses = curves[curve]
    ax.plot([0, *steps], [first, *losses], "o-", color=colour, label=label)
ax.axhline(markov, color=GREY, linestyle=":", label="Markov-1")
ax.set(xlabel="training steps", ylabel="validation (nats per row)", yscale="log")
ax.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
_ = ax.legend(frameon=False)

# %% tags=["nbval-ignore-output"]
print(f"Markov-1 {markov:.2f}; pretrained {before:.2f}, then taught {curves['all'][1][-1]:.2f}", end="; ")
print(f"new {at_birth:.2f}, then taught {curves['new'][1][-1]:.2f} nats per row")

# %%
assert curves["all"][1][-1] < curves["new"][1][-1]

# %% [markdown]
# What to see: the axis is logarithmic, or the orange line would press the blue one flat. The new model begins by
# learning that most keys are up, and spends its steps on the way to the dotted line, a table of how often each key
# stays and changes. The pretrained one was below that line before it had read one of your files, and needs its steps
# for your *style* alone. (Markov-1 judges 88 keys one by one, the models judge whole chords: part of their lead is
# that.) With hours of music and hours of time the orange line comes down, too. With a folder, begin with what knows
# music.
#
# ## Before and after
#
# Now the ear. A piece of the validation split, from which no model has learned; its first four seconds, and the same
# random numbers. First the real piece, then the model before it read the folder, and after.

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The real continuation."}, "image": {"alt": "Player: a chorale of the validation split"}}
piece, real = rolls["validation"].pieces[0], rolls["validation"][0]
seed = real[:SEQUENCE_LENGTH]
player(real[: SEQUENCE_LENGTH + COMPOSED], title=piece.title, composer="the real one", seed_frames=len(seed))

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Before fine-tuning, after the same seed."}, "image": {"alt": "Player: the pianists' Mamba after the seed of a chorale"}}
player(generate_music(pretrained, seed, COMPOSED, random_seed=1), title="Before", seed_frames=len(seed))

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "After fine-tuning, after the same seed."}, "image": {"alt": "Player: the fine-tuned Mamba after the seed of a chorale"}}
best = load_model(Path(workshop.name) / "all" / "best_model.pt")
after = generate_music(best, seed, COMPOSED, random_seed=1)
player(after, title="After", composer="taught by this folder", seed_frames=len(seed))

# %% [markdown]
# Do four voices move together now? Does it breathe at the ends of phrases? Does a chord stand still at some point? (A
# lower loss does not prevent that: see *When it goes wrong*, and try another `random_seed`.) Does it *recite*?
# Notebook 05 has the measure for that, the longest passage shared with a training piece. The words of this notebook
# are a rough one, and twelve seconds a short sample. How many words of the new music occur in some piece of `train`,
# and how many of those of a real piece of `validation`?

# %% tags=["nbval-ignore-output"]
known = set().union(*(interval_words(read_notes(p.path, sustain=False)) for p in train.pieces))
with tempfile.TemporaryDirectory() as place:
    for title, roll in (
        ("the model, after", after[len(seed) :]),
        (f"real: {piece.title}", real[len(seed) : len(after)]),
    ):
        piano_roll_to_midi(roll, MIDI_CONFIG, Path(place) / "some.mid", velocity_threshold=0)
        some = interval_words(read_notes(Path(place) / "some.mid"))
        print(f"{title}: {len(some & known)} of {len(some)} words are known")

# %% [markdown]
# If there is none: as far as eight steps can tell, the model recites no more than a real chorale does. But some
# dozens of words are few, and a shorter quotation is not seen.
#
# ## Keep it
#
# `fit` has written `best_model.pt`: weights, and what is needed to go on training, three times as much. `export_model`
# keeps the weights, in 16 bits, the settings and the history. It does not know that they began as ours, and what you
# taught them: write that down beside the file.

# %% tags=["nbval-ignore-output"]
size = export_model(Path(workshop.name) / "all" / "best_model.pt", MIDI_DATA / "my_model.pt")
print(f"midi_data/my_model.pt, {size / 1e6:.1f} MB: load_model(MIDI_DATA / 'my_model.pt')")

# %% [markdown]
# ## The same from a terminal
#
# Training that takes an hour is better run from a terminal than from a notebook. These lines do the same kind of
# training, for longer. For `FOLDER` put your **clean** folder, the one with the list, or the copies are back in two
# splits; for `OPTIONS`: `--learning-rate 5e-4 --batch-size 8 --stride 64 --epochs 8 --patience 2` (8 epochs at most;
# after two without progress it ends). Run them in the folder that holds `midi_data`.
#
# ```
# python -m midigen_utils data --corpus FOLDER
# python -m midigen_utils train --corpus FOLDER --start midi_data/pretrained/mamba.pt --output midi_data/mine OPTIONS
# python -m midigen_utils evaluate --checkpoint midi_data/mine/best_model.pt
# python -m midigen_utils generate --checkpoint midi_data/mine/best_model.pt --temperature 0.9 --name first
# ```
#
# `--start` takes the model, its heads and its weights from a checkpoint; without it, a new model. `--all-instruments`,
# `--whole-pieces` (not only the first 60 s of each) and `--transpose 5` (each window moved by another number of
# semitones each time; then you need not collect transposed copies) go with `train`. The checkpoint remembers its
# corpus: `evaluate` scores on it, and `generate` begins with one of its validation pieces. (It remembers the path as
# you wrote it. `data` ends with exit code 1 if a file was left out, and names it, so that a script can notice.) A
# second training into the same folder keeps the first as `earlier_best_model.pt`, a third overwrites that: give each
# its own `--output`. Here are two of the lines, run on few pieces:


# %%
def terminal(line):
    """Run a line of ours and return what it says, with short paths."""
    paths = {"CLEAN": clean, "PRETRAINED": MIDI_DATA / "pretrained" / "mamba.pt"}
    words = [sys.executable, "-m", "midigen_utils", *(str(paths.get(word, word)) for word in line.split())]
    env = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(words, cwd=workshop.name, env=env, capture_output=True, encoding="utf-8")
    wrong = [row for row in done.stderr.splitlines() if row.startswith(("error", "left out"))]
    text = "\n".join([f"exit code {done.returncode}", *wrong, done.stdout])
    return text.replace(f"{MIDI_DATA}{os.sep}", "midi_data/").replace(workshop.name, "")


# %% tags=["nbval-ignore-output"]
few = f"--limit {min(len(train), 6)} --learning-rate 5e-4 --batch-size 8 --stride 64 --epochs 1"
said = terminal(f"train --corpus CLEAN --start PRETRAINED {few} --output mine")
assert said.startswith("exit code 0")
print(said)

# %% tags=["nbval-ignore-output"]
said = terminal("generate --checkpoint mine/best_model.pt --seconds 4 --temperature 0.9 --name your-own-music")
assert said.startswith("exit code 0")
print(said)

# %% [markdown]
# ## What may you train on, and what may you give away?
#
# This is no legal advice, and the law differs between countries. But these questions always come, so ask them early.
#
# - **A piece has layers.** The composition is free some time after its author died (in the European Union 70 years).
#   An arrangement or an edition can be protected on its own. So can the *performance* that a MIDI file records. And the
#   file itself may come under terms: somebody typed it, and a site offers it for personal use only. Bach is free; the
#   encodings of his chorales that we use are given to music21 by permission, and some exclude commercial use.
# - **"Free to download" is no licence.** Look for one; if there is none, ask. Note for each file where it came from. (A
#   column of your own in the list does no harm.)
# - **To train at home and to publish are two things.** Laws have exceptions for mining text and data (in the European
#   Union articles 3 and 4 of Directive 2019/790, with conditions: lawful access and, outside of research, no
#   reservation by the owner). They are about making the copies that mining needs; how far they carry for training is
#   disputed, too. They are not a permission to hand out the files.
# - **A model can recite.** A model of forty pieces by one living composer may play her phrases. Look for copies before
#   you publish what it writes, and say what it was trained on.
# - **The pretrained weights are CC BY-NC-SA 4.0**, as MAESTRO is. Whether, and where, the law sees in a model an
#   adaptation of its training data is disputed. We ask you to treat it so: a model that was fine-tuned from these
#   weights, as `my_model.pt` was, passes on under the same licence, names MAESTRO and ASAP (see
#   `midi_data/pretrained/README.md`), and not for commercial use. If that does not suit you, train from nothing: then
#   only the rights in your own folder count, and MIT for the code.
#
# ## When it goes wrong
#
# - **"No usable MIDI file".** The path is wrong, or the files are not `.mid` or `.midi` (karaoke `.kar`, MuseScore's
#   own files, sound). Print `list(folder.iterdir())`. Export MIDI from the program that made them.
# - **All files left out, "it has program 48".** No piano in any: `all_instruments=True`, `--all-instruments`.
# - **"Not a MIDI file: it does not begin like one", again and again.** Downloads are often error pages in HTML. Open
#   one in a text editor, and fetch it again.
# - **Music too fast or too slow.** The file's tempo is wrong. Compare its notes a second with other files, and listen;
#   set the tempo in a notation program and export again.
# - **"The validation split has no piece".** One different piece only. With two, training runs, but `test` is empty, and
#   nothing is left for a last score. Get three or more, or write a list as above.
# - **Most pieces in one split.** Small numbers: chance. Write a list, and count minutes, not pieces.
# - **Validation suspiciously good.** Copies in two splits: interval words, one split for each family.
# - **Training better every epoch, validation worse.** Too little music for so many steps, as in the quarter above:
#   fewer epochs (`--patience 2`), transposed copies (`--transpose 5`), more music.
# - **It plays silence.** Silent beginnings in the folder, a silent seed, or a low temperature with `head="keys"`: look
#   at *silent*, take another seed, temperature 1.
# - **It holds a key for ever.** Endless notes, or a pedal that never comes up: look at the longest note and the share
#   of the pedal, leave those files out.
# - **All equally loud.** So is the folder (look at *velocities*), or the model has no velocity head.
#
# A folder without any MIDI file, provoked, and what two pieces give:

# %% tags=["nbval-check-output"]
with tempfile.TemporaryDirectory() as place:
    nothing, two = Path(place) / "nothing", Path(place) / "two"
    nothing.mkdir()
    two.mkdir()
    for piece in bach.pieces[:2]:
        shutil.copy(piece.path, two)
    try:
        load_corpus(nothing)
    except ValueError as error:
        print(str(error).replace(place, "").lstrip("/\\"))
    print({split: len(load_corpus(two).split(split)) for split in SPLITS})

# %% [markdown]
# The cleaning up: the temporary folders, and the rolls that were cached for them.

# %%
workshop.cleanup()
for used in (example, clean):
    for cached in (MIDI_DATA / "cache").glob(f"{used.name}-*"):
        shutil.rmtree(cached, ignore_errors=True)

# %% [markdown]
# ## Summary
#
# - `load_corpus(folder)` takes any folder of MIDI files, and says which it left out and why. Valid is not fit: look at
#   velocities, silence, speed, the longest note, and listen.
# - Only piano notes are read, unless you say `all_instruments=True`; then all become one piano.
# - The split by hash puts identical copies together. Files that were saved again or transposed it cannot see; words of
#   eight steps of the top line do.
# - A CSV of seven columns in the folder fixes which file is in which split.
# - A learning curve (a part of the folder, the same steps) says whether more music would help.
# - With minutes of music, start from a pretrained model; its licence passes on.

# %% [markdown]
# ## Quiz
#
# **1.** Your validation loss is far better than on any corpus of the course, after one epoch. What do you suspect, and
# which of this notebook's tools tells you?
#
# <details><summary>Answer</summary>
#
# Copies, or settings of the same tune, in both splits: the model is asked what it was told. The split by hash has put
# only *identical* notes together. Count the interval words that pieces of the two splits share.
#
# </details>
#
# **2.** A piece is in the folder twice, once transposed. How likely do the two land in different splits?
#
# <details><summary>Answer</summary>
#
# Their hashes have nothing to do with each other. They fall together with probability 0.8² + 0.1² + 0.1² = 0.66, and
# apart with 0.34: about one such pair in three is a leak, or a loss.
#
# </details>
#
# **3.** All your files have velocity 64 throughout. Can you train on them? What will the model not learn, and what
# does the pretrained model's velocity head do?
#
# <details><summary>Answer</summary>
#
# Yes: which keys are down does not depend on loudness. But there are no dynamics to learn, and fine-tuning *unlearns*
# them: the velocity head is trained as well, and for your files "always the same" is the right answer.
#
# </details>
#
# **4.** You train on a folder with `all_instruments=True` and score the model with the same folder read without it.
# What is wrong with the score?
#
# <details><summary>Answer</summary>
#
# Two things. The music is another: some notes are missing. And the hashes are of other notes, so a file of the old
# training split may now be in validation. The score is partly one of pieces that the model has read.
#
# </details>
#
# **5.** May you sell an album made with a model that you fine-tuned from the course's weights on your own songs?
#
# <details><summary>Answer</summary>
#
# The songs are yours, the weights are not: they are CC BY-NC-SA, for no commercial use, and we ask you to treat models
# made from them alike. Whether the licence reaches the music that comes out is a question for a lawyer. The way around
# it is to train from nothing, on music that you have the rights to.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Put your code in place of the `...` and run the cell: it says "right" when it is. Give numbers as Python computes
# them, not rounded: 1 part in 10,000 is the most that an answer may be off. Solutions are in the notebook
# [A6_solutions](A6_solutions.ipynb).
#
# **1 (easy).** A folder has 30 different pieces. The hash puts each into validation with probability 0.1. How likely is
# it that the hash alone leaves validation empty? (The package would then move one piece.)

# %%
empty_validation = ...

check("A4.1", empty_validation)

# %% [markdown]
# **2 (easy).** 40 pieces of 60 s, windows of 64 rows, one every 64 rows, 8 windows a step. How many steps has an epoch?
# Mind that each window needs one row more for its target (notebook 02).

# %%
steps_of_an_epoch = ...

check("A4.2", steps_of_an_epoch)

# %% [markdown]
# **3 (easy).** Was a touch recorded? What share of the notes has the commonest velocity?

# %%
played = Notes(np.arange(12) / 4, np.arange(12) / 4 + 0.2, np.arange(60, 72), np.array([64] * 7 + [70, 71, 70, 90, 5]))
commonest_share = ...

check("A4.3", commonest_share, played)

# %% [markdown]
# **4 (medium).** Here is a tempo map: the tick at which each tempo begins, and its quarter notes a minute; a quarter
# note has 480 ticks. At how many seconds is each of the ticks in `ticks`?

# %%
begins, bpm = np.array([0, 1920, 2880]), np.array([120.0, 40.0, 480.0])
ticks = np.array([0, 480, 1920, 2400, 2880, 4800])
seconds = ...

check("A4.4", seconds, ticks, begins, bpm)

# %% [markdown]
# **5 (medium).** Two files, the same notes in the same order, one transposed and in another tempo. By how many
# semitones is the second one higher, and how many times as long does it take? Answer with two numbers. (The
# times are rounded, so they do not agree to the last digit.)

# %%
rng = np.random.default_rng(0)
first_file = Notes(np.arange(50) / 4, np.arange(50) / 4 + 0.2, rng.integers(50, 70, 50), np.full(50, 64))
when = 1.25 * first_file.start + rng.normal(0, 1e-5, 50)
second_file = Notes(when, when + 0.2, first_file.pitch - 3, np.full(50, 64))
higher_and_longer = ...

check("A4.5", higher_and_longer, first_file, second_file)

# %% [markdown]
# **6 (open).** Take a folder of your own. Before you train, write down what you expect: which of the figures will
# differ from MAESTRO's, which files will be left out, whether the learning curve will still fall at the end. Then run
# this notebook with it. What were you wrong about?
#
# ## Next
#
# [A5_judging_music](A5_judging_music.ipynb): how to measure music seriously, to tell whether your model plays like your
# folder. [A6_solutions](A6_solutions.ipynb) has the exercises, solved.
#
# ## References
#
# - Katherine Lee et al., *Deduplicating Training Data Makes Language Models Better*, ACL 2022,
#   [arXiv 2107.06499](https://arxiv.org/abs/2107.06499): copies in a corpus, and what they do.
# - Shyamala Doraisamy and Stefan Rüger, *Robust Polyphonic Music Retrieval with N-grams*, Journal of Intelligent
#   Information Systems 21, 2003: words of intervals.
# - Jason Yosinski et al., *How transferable are features in deep neural networks?*, NeurIPS 2014,
#   [arXiv 1411.1792](https://arxiv.org/abs/1411.1792).
# - Curtis Hawthorne et al., *Enabling Factorized Piano Music Modeling and Generation with the MAESTRO Dataset*,
#   ICLR 2019, [arXiv 1810.12247](https://arxiv.org/abs/1810.12247); licence
#   [CC BY-NC-SA 4.0](https://creativecommons.org/licenses/by-nc-sa/4.0/).
# - Francesco Foscarin et al., *ASAP: a dataset of aligned scores and performances for piano transcription*, ISMIR 2020.
# - Directive (EU) 2019/790 on copyright in the Digital Single Market, articles 3 and 4.
