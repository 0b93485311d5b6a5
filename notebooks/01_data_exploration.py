# %% [markdown]
# # 01 · Data exploration: what a performance looks like to a computer
#
# A pianist plays for a minute. What is left of it in a file, and what must a program learn that is to go on in the
# same manner? In this notebook you
#
# - hear a piece and see it,
# - look into a MIDI file by hand: events, not sound,
# - look at a whole corpus: how long, which keys, how loud, how many at once,
# - meet the sustain pedal, and find out what makes this data hard.
#
# You need some Python and no theory of music. It runs in less than a minute. If the player below is a still
# picture, run the cells (▶▶ in the toolbar): a notebook that you have not run yourself may not play sound.

# %% tags=["nbval-ignore-output"]
import json
import os
import struct

import matplotlib.pyplot as plt
import numpy as np
import pretty_midi

from midigen_utils.config import MIDI_CONFIG, scaled
from midigen_utils.data import SPLITS, Notes, durations, keys_sounding, load_corpus, midi_to_piano_roll, notes_to_roll
from midigen_utils.data import read_notes, read_pedal, sustained
from midigen_utils.exercises import check, finding
from midigen_utils.files import MAESTRO_STATISTICS, MIDI_DATA
from midigen_utils.show import figure, note_name, player, plot_histogram, plot_two_rolls

# %% [markdown]
# ## Settings
#
# Everything below runs on chorales by Bach, which come with this course's packages: no download. After `make data`
# you can put `"maestro"` here, 1,276 real performances by virtuosos, and run the notebook again.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
PIECE = 7  # which piece of the validation split is looked at closely
FILES = scaled(full=400, fast=60)  # at most so many training files are read for the histograms

corpus = load_corpus(CORPUS)
piece = corpus.split("validation")[PIECE]

# %% [markdown]
# Here it is. Press play and watch: time runs to the right, high notes are at the top, and the darker a note, the
# harder its key was struck.

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The piece of this notebook: a chorale by Bach, performed by rule."}, "image": {"alt": "Player: four voices that move together, mostly in quarter notes"}}
player(piece.path, title=piece.title, composer=piece.composer)

# %% tags=["nbval-ignore-output"]
figure("road", here="01")

# %% [markdown]
# A piano roll is a score and a keyboard in one: each key of the piano has a line, and each note is as long as it
# sounds.

# %% tags=["nbval-ignore-output"]
figure("keyboard_score_roll")

# %% [markdown]
# ## Events, not sound
#
# How large is the file that this came from, and how large would a recording be?

# %%
size = piece.path.stat().st_size
recording = int(piece.duration) * 44_100 * 2 * 2  # seconds x samples x 2 channels x 2 bytes
print(f"{size:,} bytes; a CD recording as long: {recording:,} bytes, {recording // size:,} times as much")

# %% [markdown]
# A MIDI file holds no sound. It says what the player *did*: which key went down, when, how hard, and when it came up
# again. The first 14 bytes are a header: four letters, a length of four bytes, and three numbers of two bytes each.
# (`>4sIHHH` says that to `unpack`.)

# %% tags=["nbval-check-output"]
data = piece.path.read_bytes()
letters, length, kind, tracks, ticks = struct.unpack(">4sIHHH", data[:14])
print(letters, "format", kind, "tracks", tracks, "ticks per quarter note", ticks)

# %% [markdown]
# After it come events. Each has a waiting time since the one before, counted in ticks, and then what happened. The
# byte 0x90 says that a key goes down; the next two say which, and how hard.

# %% tags=["nbval-ignore-output"]
figure("midi_event")

# %% [markdown]
# The drawing counts 480 ticks to a quarter note, as many files do; ours has 500. The quarter note of a performed file
# is a unit of time, not the one in the score: here it lasts half a second, and the quarter notes that you hear last
# about 0.8 s. The first such event of our piece:

# %% tags=["nbval-check-output"]
at = data.index(0x90)
wait, what, key, velocity = data[at - 1 : at + 3]
print(f"wait {wait} ticks; event {what:#x}: key {key} down with velocity {velocity}")

# %% [markdown]
# A wait longer than 127 ticks takes more than one byte; we looked at the last of them. The rest we leave to a library,
# `pretty_midi`, which also turns ticks into seconds.

# %% tags=["nbval-check-output"]
midi = pretty_midi.PrettyMIDI(str(piece.path))
for instrument in midi.instruments:
    name = pretty_midi.program_to_instrument_name(instrument.program)
    print(f"{name}: {len(instrument.notes)} notes, {len(instrument.control_changes)} pedal and other changes")

# %% [markdown]
# Ten notes, in the order in which they start. *Pitch* is the number of the key (60 is the C in the middle of the
# keyboard, one more is one key to the right), *velocity* says how hard it was struck, from 1 to 127.

# %% tags=["nbval-check-output"]
played = sorted((note for i in midi.instruments for note in i.notes), key=lambda note: (note.start, note.pitch))
print("start    end      pitch  name  velocity")
for note in played[:10]:
    print(f"{note.start:6.3f}  {note.end:6.3f}  {note.pitch:6d}  {note_name(note.pitch):4s}  {note.velocity:6d}")

# %% [markdown]
# The first four notes begin within 5 thousandths of a second: a chord of four voices. They do not begin at *exactly*
# the same time, and the velocities differ by up to 11, because people play like that. These files pretend: Bach's
# scores say nothing about loudness or touch, so they are *performed by rule*. Phrases swell and fade, the melody is on
# average a little louder, and the timing spreads by some milliseconds. MAESTRO's files are real performances, recorded
# from the keys of a concert grand.
#
# **Exercise 01.6 (easy).** An event waits 750 ticks. A quarter note has 500 ticks, and there are 96 quarter notes in a
# minute. How many seconds is the wait?

# %%
seconds = ...

check("01.6", seconds)

# %% [markdown]
# ### A name for every key
#
# Twelve keys make an octave, and the names start again. So the name is a remainder and the octave a quotient:

# %% tags=["nbval-check-output"]
NAMES = "C C♯ D D♯ E F F♯ G G♯ A A♯ B".split()
for pitch in (21, 60, 61, 69, 108):
    print(pitch, NAMES[pitch % 12] + str(pitch // 12 - 1))

# %% [markdown]
# 21 and 108 are the lowest and the highest key of a piano: 88 keys in all. A♯ and B♭ are one key of the piano. MIDI
# knows keys and not spelling, so the course names every black key as a sharp, also where a score has a flat.
#
# `note_name` of the package does the same, and the cell below makes sure. You will see such a **twin check** after
# everything that is taught here and then kept in the package.

# %%
assert all(note_name(pitch) == NAMES[pitch % 12] + str(pitch // 12 - 1) for pitch in range(128))

# %% [markdown]
# ## The same notes as arrays
#
# Loops over note objects are slow and long to write. `read_notes` gives four arrays instead: start and end in
# seconds, pitch, velocity. It goes through the bytes itself, in a loop that begins as we did above
# (`midigen_utils/data/midi.py`), and much faster than `pretty_midi`; so let us see that both say the same.

# %% tags=["nbval-check-output"]
notes = read_notes(piece.path, sustain=False)
print([field for field in notes._fields], "shape of each:", notes.start.shape)

# %%
assert len(notes.start) == len(played)
assert np.allclose(notes.start, [note.start for note in played], atol=1e-3)
assert np.array_equal(notes.pitch, [note.pitch for note in played])
assert np.array_equal(notes.velocity, [note.velocity for note in played])

# %% [markdown]
# **Exercise 01.1 (easy).** What is the longest note of our piece, in seconds? Put your code in place of the `...` and
# run the cell: it says "right" when it is, and otherwise what may be wrong. The numbers of exercises do not follow the
# page. `hint("01.1")` opens a hint.

# %%
longest = ...

check("01.1", longest, notes)

# %% [markdown]
# ## The corpus
#
# One piece shows what a file holds; what is *usual* only many pieces show. They come in three **splits**: the model
# learns from `train`; `validation` tells us when to stop and which settings are better; `test` is looked at once, at
# the end: for the networks that come with the course, in `docs/results.md`. The notebooks use `validation`.

# %% tags=["nbval-check-output"]
print("split       pieces   hours  longest (min)")
for split in SPLITS:
    lengths = [p.duration for p in corpus.split(split)]
    print(f"{split:<10} {len(lengths):7d} {sum(lengths) / 3600:7.2f} {max(lengths) / 60:14.1f}")

# %% [markdown]
# Who composed them, and how many pieces each?

# %% tags=["nbval-check-output"]
composers, counts = np.unique([p.composer for p in corpus.pieces], return_counts=True)
for i in np.argsort(-counts)[:8]:
    print(f"{counts[i]:5d}  {composers[i]}")

# %% [markdown]
# > **A trap.** If a piece sits in two splits, a model can recite it and look clever. MAESTRO's official splits keep
# > all performances of a piece together. Bach set the same hymn tunes again and again; so here the splits keep all
# > settings of a *tune* together. Titles are the least one can check:

# %%
titles = {split: {(p.composer, p.title) for p in corpus.split(split)} for split in SPLITS}
assert not titles["train"] & titles["validation"] and not titles["train"] & titles["test"]
assert not titles["validation"] & titles["test"]

# %% [markdown]
# How long are the pieces, and how does Bach compare with concert pianists? Counts from 459 performances of MAESTRO come
# with the course, so you can compare without the files. In all histograms that follow, bars are our corpus and the line
# is MAESTRO.

# %%
maestro = json.loads(MAESTRO_STATISTICS.read_text(encoding="utf-8"))["histograms"]


def compare(values, measure, label, **options):
    """A histogram of our values, and MAESTRO's counts in the same bins as a line."""
    edges, counts = maestro[measure]["edges"], maestro[measure]["counts"]
    return plot_histogram(values, edges, label, counts, (CORPUS, "MAESTRO"), **options)


def of_pianists(measure, share):
    """The value below which a share of MAESTRO's counts lies."""
    counts = np.cumsum(maestro[measure]["counts"])
    return np.interp(share, counts / counts[-1], maestro[measure]["edges"][1:])


# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How long pieces are: chorales as bars, MAESTRO's performances as a line."}, "image": {"alt": "Histogram: the chorales pile up below two minutes, the line of MAESTRO reaches far to the right"}}
minutes = np.array([p.duration / 60 for p in corpus.pieces])
fig, ax = compare(minutes, "piece_length", "length (minutes)")
finding(
    2 * np.median(minutes) < of_pianists("piece_length", 0.5),
    f"median length: {np.median(minutes):.2f} minutes here, {of_pianists('piece_length', 0.5):.2f} in MAESTRO",
)

# %% [markdown]
# **Finding.** A chorale takes 0.78 minutes and a concert piece 4.25, in the median. This course reads the first minute
# of each piece unless it is told otherwise, so it hears nearly all of Bach and the openings of MAESTRO.
#
# **Exercise 01.7 (easy).** `minutes` has the length of each piece. What share of all this music is read if a piece
# counts with its first minute only?

# %%
share_read = ...

check("01.7", share_read, minutes)

# %% [markdown]
# ## Which keys
#
# Now we read many files and put their notes end to end.

# %%
files = [p.path for p in corpus.split("train")[:FILES]]
every = [read_notes(path, sustain=False) for path in files]
together = Notes(*(np.concatenate(field) for field in zip(*every)))

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How often each key is struck; C is marked in each octave."}, "image": {"alt": "Histogram over the keyboard: bars in the middle with gaps like a comb, a smooth and wider line"}}
fig, ax = compare(together.pitch, "pitch", "key", note_names=True)
assert 21 <= together.pitch.min() and together.pitch.max() <= 108
ends = np.percentile(together.pitch, [1, 99]), [of_pianists("pitch", share) for share in (0.01, 0.99)]
for name, (low, high) in zip((CORPUS, "MAESTRO"), ends):
    print(f"{name}: 98 in 100 notes lie between {note_name(round(low))} and {note_name(round(high))}")
finding(ends[0][1] - ends[0][0] < ends[1][1] - ends[1][0] - 12, "Bach's range is narrower by more than an octave")

# %% [markdown]
# The middle of the keyboard does most of the work. Four singers, from G2 to E5, have about half the range of ten
# fingers, so a model that knew nothing else would already gain by guessing middle keys.
#
# The bars stand like the teeth of a comb, and MAESTRO's line does not. A piece keeps to the seven notes of a scale and
# leaves the other five of each octave nearly alone. Chorales are written in few scales: with the tuning of the organs
# of that time, those with many sharps or flats were avoided. So the same teeth are short in most of them. How short?

# %% tags=["nbval-ignore-output"]
classes = np.bincount(together.pitch % 12, minlength=12) / len(together.pitch)
print("  ".join(f"{name} {100 * share:.1f} %" for name, share in zip(NAMES, classes)))
finding(classes.max() > 3 * classes.min(), f"the commonest is {classes.max() / classes.min():.1f} times the rarest")

# %% [markdown]
# **Finding.** D, the commonest of the twelve, is struck 4.8 times as often as G♯. A model that is shown every piece in
# all twelve transpositions cannot learn this comb by heart; notebook 02 tries that.
#
# **Exercise 01.2 (easy).** What share of the notes of `together` are on black keys? (C♯, D♯, F♯, G♯, A♯: the remainders
# 1, 3, 6, 8 and 10.)

# %%
black = ...

check("01.2", black, together)

# %% [markdown]
# ## How loud

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How hard notes are struck."}, "image": {"alt": "Histogram of velocities: a narrow hill of bars in the middle of a broad line"}}
fig, ax = compare(together.velocity, "velocity", "velocity")
ours = np.percentile(together.velocity, 99) - np.percentile(together.velocity, 1)
theirs = of_pianists("velocity", 0.99) - of_pianists("velocity", 0.01)
finding(ours < 0.75 * theirs, f"98 in 100 velocities span {ours:.0f} steps here, {theirs:.0f} in MAESTRO, of 127")

# %% [markdown]
# Pianists span 83 of the 127 steps, our performed chorales 47. A model of Bach will learn no thunder.
#
# **Exercise 01.8 (easy).** By how many steps of velocity are the notes of `together` from pitch 60 upwards louder, in
# the mean, than those below?

# %%
louder = ...

check("01.8", louder, together)

# %% [markdown]
# ## How long, and how soon the next
#
# <details><summary>Predict first: what part of the notes begins less than a twentieth of a second after the note
# before?</summary>
#
# Nearly two thirds. If all four voices always moved together it would be three quarters, because three notes of four
# follow another at once; but often only one or two voices move.
#
# </details>

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Left, how long keys are held; right, how soon the next note begins. Both axes are logarithmic."}, "image": {"alt": "Two histograms: left, narrow spikes over a smooth line; right, one hill below 0.05 seconds and one near 0.4"}}
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3))
gaps = np.concatenate([np.diff(some.start) for some in every])
held = np.concatenate([durations(some) for some in every])
compare(held, "duration", "key held (s)", ax=left)
compare(gaps, "inter_onset", "to the next onset (s)", ax=right)
for ax in (left, right):
    ax.set(xscale="log", xlim=(0.003, 10))
close = gaps < 0.05
between = np.median(gaps[~close])
print(
    f"{100 * close.mean():.1f} % of the notes begin within 0.05 s of the note before; the others after {between:.2f} s"
)

# %% [markdown]
# On the left, chorales move in a few fixed note values, the spikes, and pianists in all lengths. On the right there are
# two hills. The first lies below 0.05 s and holds 64.2 % of the notes: they belong to the chord of the note before.
# The second lies around 0.42 s, half a beat later: mostly eighth notes. So the onset of a chord is a small cloud and
# not a point. How wide is the cloud?

# %% tags=["nbval-ignore-output"]
spread = []
for some in every:
    first = np.flatnonzero(np.r_[True, np.diff(some.start) >= 0.05])  # the notes that open a chord
    last = np.r_[first[1:], len(some.start)] - 1
    spread.append((some.start[last] - some.start[first])[last > first])
spread = 1000 * np.concatenate(spread)
print(f"{len(spread):,} chords; from first to last onset {np.median(spread):.0f} ms in the median")
finding(np.percentile(spread, 95) < 1000 / 16, f"95 in 100 within {np.percentile(spread, 95):.0f} ms")

# %% [markdown]
# **Finding.** "Together" means within 7 ms in the median, and within 12 ms for 95 chords in 100. The grid of the next
# notebook has a frame for each sixteenth of a second, which is several times as long: a chord will mostly fall into
# one frame, and now and then across the edge of two. This is how our rules of performance are; pianists take more
# time, above all where they roll a chord.
#
# **Exercise 01.3 (easy).** How many notes a second are played in the files of `every`: all notes, over the sum of the
# times at which the pieces' last notes end?

# %%
notes_per_second = ...

check("01.3", notes_per_second, every)

# %% [markdown]
# **Exercise 01.5 (medium).** Which step do the tops of the onsets take most often, in semitones (keys, black and
# white)? Notes that start within 0.05 s of the note before belong to the same chord; its top is the highest of those.
# Leave out steps of 0. The tops are nearly the melody. Where the melody holds a note and another voice moves, they are
# not: look for leaps that nobody could sing.

# %%
step = ...

check("01.5", step, notes)

# %% [markdown]
# ## How many at once
#
# How many keys are down at a time? Go through all starts and ends in order of time and keep a count: a start adds
# one, an end takes one away.


# %%
def keys_over_time(notes):
    """Times at which the number of keys down changes, and the number from then on."""
    times = np.concatenate([notes.start, notes.end])
    change = np.concatenate([np.ones(len(notes.start)), -np.ones(len(notes.end))])
    order = np.argsort(times, kind="stable")
    return times[order], change[order].cumsum()


# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How many keys are down in the first fifteen seconds."}, "image": {"alt": "A step curve that stays at four and drops for moments"}}
notes = read_notes(piece.path, sustain=False)
times, count = keys_over_time(notes)
fig, ax = plt.subplots(figsize=(9, 2.2))
ax.step(times, count, where="post")
_ = ax.set(xlabel="time (s)", ylabel="keys down", title=piece.title, xlim=(0, 15))

# %% [markdown]
# A chorale has four voices, so the count is four, and it falls for a moment wherever a voice goes on to its next note.
# Between phrases everybody breathes. At the very end it is zero, because every key that went down came up again.

# %%
assert count[-1] == 0 and count.min() >= 0

# %% [markdown]
# **Exercise 01.4 (medium).** How many keys of our piece are down on average, from its first event to its last? Weigh
# each entry of `count` with the time until the next.

# %%
mean_keys = ...

check("01.4", mean_keys, notes)

# %% [markdown]
# ## The sustain pedal
#
# A piano has one more trick. While the right pedal is down, a string goes on sounding after its key was let go. In
# the file that is a stream of *control changes*, number 64, with a value from 0 (up) to 127 (down); from 64 on the
# pedal counts as down. In our chorales it never goes down (the files have one pedal-up, which marks their end), so
# here is a tiny piece: three short notes, and the pedal down from 0.1 s to 2 s.

# %% tags=["nbval-check-output"]
three = Notes(
    start=np.array([0.0, 0.5, 1.0]),
    end=np.array([0.3, 0.8, 1.3]),
    pitch=np.array([60, 64, 67]),
    velocity=np.array([80, 70, 60]),
)
pedal = np.array([[0.1, 2.0]])  # when it goes down, when it comes up
print("keys let go at", three.end, "but heard until", sustained(three.end, pedal))

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Three notes, as the keys are held and as they are heard with the pedal down."}, "image": {"alt": "Two piano rolls: left, three short bars one after the other; right, the same bars, all lasting to second 2"}}
with_pedal = three._replace(end=sustained(three.end, pedal))
dry, wet = (notes_to_roll(n, MIDI_CONFIG, duration=2.5) / MIDI_CONFIG["velocity_bins"] for n in (three, with_pedal))
fig, ax = plot_two_rolls(dry, wet, titles=("keys", "what is heard"))

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Three short notes."}, "image": {"alt": "Player: three short notes, one after the other"}}
player(dry, title="without the pedal")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The same with the pedal: a chord grows."}, "image": {"alt": "Player: three notes that go on sounding together"}}
player(wet, title="with the pedal")

# %% [markdown]
# Three notes have become a chord. How much of this is there in real playing?

# %%
edges, pieces = (np.array(maestro["pedal_rate"][name]) for name in ("edges", "counts"))
mostly = pieces[edges[:-1] >= 0.5].sum() / pieces.sum()
print(f"MAESTRO: in {100 * mostly:.0f} % of the pieces the pedal is down more than half of the time")
print("our piece: pressed", len(read_pedal(piece.path)), "times")

# %% [markdown]
# In more than half of MAESTRO's performances the pedal is down more than half of the time. A file without its pedal
# would be another piece of music.
#
# From here on, a note lasts as long as it is *heard*: until key and pedal are both up, or the key is struck again.
#
# **Exercise 01.9 (easy).** How many seconds of sound does the pedal add to the three notes, in all?

# %%
added = ...

check("01.9", added, three, with_pedal)

# %% [markdown]
# ## What a model must learn
#
# The next notebook turns notes into a **piano roll**: a table with a row, called a *frame*, for every sixteenth of a
# second and a column for each of the 88 keys. A first look, to know what we are up against:

# %% tags=["nbval-check-output"]
roll = midi_to_piano_roll(piece.path, MIDI_CONFIG)
print("frames, keys:", roll.shape)
print(f"cells that sound: {100 * np.mean(roll > 0):.1f} %")
same = (roll[1:] > 0) == (roll[:-1] > 0)
print(f"cells like those one frame before: {100 * same.mean():.1f} %")
print(f"frames exactly like the frame before: {100 * same.all(axis=1).mean():.1f} %")

# %% [markdown]
# - **Sparse**: nearly all cells are empty. "Nothing sounds" is right for more than nine cells in ten, and worthless.
# - **Repetitive**: "the same as before" is right for nearly every cell. Whatever we build must beat *that*.
# - **The moments that matter are rare**: the frames in which something changes are the music.
#
# And how full is a frame?

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How many keys sound in a frame."}, "image": {"alt": "Histogram: one tall bar at four, and a broad line that reaches beyond ten"}}
rolls = [midi_to_piano_roll(path, MIDI_CONFIG) for path in files[:100]]
sounding = np.concatenate([keys_sounding(r) for r in rolls])
fig, ax = compare(sounding, "keys_pedal", "keys that sound")
_ = ax.set(xlim=(-0.5, 20))
four = np.mean(sounding == 4)
finding(four > 0.7, f"exactly four keys sound in {100 * four:.1f} % of the frames")

# %%
(MIDI_DATA / "generated").mkdir(parents=True, exist_ok=True)
fig.savefig(MIDI_DATA / "generated" / "01_keys_that_sound.png")  # yours to keep

# %% [markdown]
# **Finding.** Four voices give four keys: exactly four sound in 82.4 % of the frames. Pianists with a pedal reach ten
# and more, and the count changes all the time. With 88 keys there are 2⁸⁸ different frames, more than any table can
# hold, so we need a model that has learned what goes with what.
#
# **Exercise 01.10 (medium).** Look only at the frames of `roll` that differ from the frame before. What share of their
# cells is wrong if you say "the same as before"?

# %%
wrong = ...

check("01.10", wrong, roll)

# %% [markdown]
# ## Is anything wrong with the data?
#
# Before a model sees a corpus, look for what should never be in it.

# %%
for path, some in zip(files, every):
    assert len(some.start) > 0, f"{path}: no notes"
    assert (some.end > some.start).all(), f"{path}: a note that ends before it starts"
    assert (some.velocity >= 1).all() and (some.velocity <= 127).all(), f"{path}: velocity"
    assert (np.diff(some.start) >= 0).all(), f"{path}: not in order of time"
assert not corpus.skipped, "files were left out: look at corpus.skipped"
print(f"{len(files)} files, {len(together.start):,} notes: nothing wrong found")

# %% [markdown]
# ## Summary
#
# - A MIDI file lists what a player did: key, time, velocity, pedal. It is thousands of times smaller than a recording.
# - `read_notes` gives four arrays; `load_corpus` gives pieces in three splits that share no piece.
# - Music is sparse and repetitive: few keys at a time, and most frames are like the frame before.
# - Chords are clouds of onsets, and the pedal makes notes last longer than keys are held.
# - Bach's chorales are regular; MAESTRO's performances are not. The figures showed how much.

# %% [markdown]
# ## Quiz
#
# Answer first, then open.
#
# **1.** You open one of these files on two computers. On one it sounds like a concert grand, on the other like a toy.
# Is one of the files damaged?
#
# <details><summary>Answer</summary>
#
# No. A MIDI file holds no sound. It says which key went down, when, how hard, and when it came up; each computer
# makes a sound of its own from that.
#
# </details>
#
# **2.** In the figure of the gaps, most notes follow the one before within a few hundredths of a second. Do the
# players strike dozens of chords a second?
#
# <details><summary>Answer</summary>
#
# No. Most of these gaps lie *inside* a chord: its notes begin nearly, but not exactly, together. The time from one
# chord to the next is in the longer gaps, further to the right.
#
# </details>
#
# **3.** In the tiny piece the pedal is down from 0.1 s to 2 s, and the first note, let go at 0.3 s, is heard to the
# end of that. Until when would it be heard if its key were let go at 0.05 s?
#
# <details><summary>Answer</summary>
#
# Until 0.05 s. At that moment key and pedal are both up, so the note is over. A pedal that goes down later holds what
# still sounds, and brings nothing back.
#
# </details>
#
# **4.** One program says "silent" for every cell of the next frame, another says "the same as before". Which of them is
# right in more cells? What would each play, if its answers were the music?
#
# <details><summary>Answer</summary>
#
# The second: in our chorale 99 cells in 100 are like the one before, and 96 in 100 are empty. The first would play
# nothing. The second would hold its first chord for ever. Both miss the rare frames in which something changes, and
# those are the music.
#
# </details>
#
# **5.** Someone deals the files of MAESTRO out to the three splits by lot. No file is in two splits. Why may a model
# look cleverer than it is?
#
# <details><summary>Answer</summary>
#
# The same piece may have been played by several pianists. One performance lands in `train` and another in
# `validation`, and the model can recite what it has learned by heart. So all performances of a piece, or all settings
# of a hymn tune, must stay together.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Exercises 01.1 to 01.10 stand above; their solutions are in the notebook [A6_solutions](A6_solutions.ipynb). One is
# left:
#
# **Open.** Put the files of a composer or a style that you like into a folder and run this notebook with
# `CORPUS = "path/to/folder"`. Which of the figures differ most from MAESTRO's, and can you hear why?
#
# ## Next
#
# `02_piano_roll`: from notes to a table of numbers and back, what is lost on the way, and how to lose less.
#
# ## References
#
# - Curtis Hawthorne et al., *Enabling Factorized Piano Music Modeling and Generation with the MAESTRO Dataset*,
#   ICLR 2019, [arXiv 1810.12247](https://arxiv.org/abs/1810.12247).
# - Michael Cuthbert and Christopher Ariza, *music21: A Toolkit for Computer-Aided Musicology*, ISMIR 2010.
# - Colin Raffel and Daniel Ellis, *Intuitive Analysis, Creation and Manipulation of MIDI Data with pretty_midi*,
#   ISMIR 2014 (late-breaking demo).
# - Meinard Müller, *Fundamentals of Music Processing*, Springer 2015, chapter 1; notebooks at
#   [audiolabs-erlangen.de/FMP](https://www.audiolabs-erlangen.de/FMP).
