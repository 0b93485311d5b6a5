# %% [markdown]
# # A5 · Judging music: measures, their ceiling, the blind test
#
# Is the music any good? Notebook 05 asked it and gave three answers in a few cells: measures, a blind test, a search
# for copies. This appendix takes the instruments apart. In it you
#
# - compute eight measures by hand, and find out what each of them cannot notice,
# - spoil real music in nine ways and see which instrument raises an alarm, and which stays silent,
# - compute the overlap area of Yang and Lerch, its ceiling, its floor, and an interval that is not too narrow,
# - let a model judge music by its likelihood, and see what it likes too much,
# - look for collapses and for copies, also for copies with one note changed,
# - plan a blind test: how many guesses, how many listeners, what to report.
#
# You need notebook 05, a little statistics (mean, standard deviation, correlation, the toss of many coins) and no
# music theory. Without statistics read *Which is which?*, *Eight measures by hand*, *The bench*, *A measure as a
# listener*, all figures, and *In a class*, and pass over the code. It runs in about two minutes on two processor
# cores. Use it before you compare two models of your own, or believe a paper.

# %% tags=["nbval-ignore-output"]
import os
import runpy
from math import comb

import matplotlib.pyplot as plt
import numpy as np
import torch

from midigen_utils.apps import blind_test, luck
from midigen_utils.config import MIDI_CONFIG, SEQUENCE_LENGTH, scaled
from midigen_utils.data import MAJOR_SCALE, Notes, describe, load_corpus, load_piano_rolls, notes_to_roll, roll_to_notes
from midigen_utils.exercises import check
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn import load_model, predict
from midigen_utils.models import generate_music
from midigen_utils.show import BLUE, GREEN, GREY, NOTE_NAMES, ORANGE, PINK, player

# %% [markdown]
# ## Settings
#
# As before: Bach's chorales, or after `make data` MAESTRO.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
CLIP = 12 * 16  # rows of a clip: 12 s
PIECES = scaled(full=80, fast=20)  # held-out pieces from which clips are cut
JUDGED = scaled(full=40, fast=6)  # clips of each kind that the models write, or judge by likelihood
SIZES = scaled(full=(5, 10, 20, 40, 80), fast=(5, 10))  # clips of a set, where we ask how much their number matters
REPEATS = scaled(full=12, fast=3)  # how often such a set is drawn
DRAWS = scaled(full=1000, fast=200)  # of what is resampled and cheap
STUDIES = scaled(full=2000, fast=300)  # listening studies that are simulated

rolls, corpus = load_piano_rolls(load_corpus(CORPUS))
mamba = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
lstm = load_model(MIDI_DATA / "pretrained" / "lstm.pt")
plt.rcParams["figure.dpi"] = 80  # smaller pictures, for a smaller file

# %% [markdown]
# ## Which is which?
#
# Three clips of twelve seconds. One is **real**. One was **generated**: the pretrained `MusicMamba` read four seconds
# of a real piece and went on. One is real and **shuffled**: every note begins and ends where it did, but the pitches
# were dealt anew among the notes. The numbers of the pieces stand in the cell, so that you hear what we heard: change
# them. The order was drawn.
#
# Two functions will be needed all along: from a roll to its notes, and back.


# %%
def notes_of(clip):
    """The notes of a roll (T, 88)."""
    return roll_to_notes(clip, MIDI_CONFIG, velocity_threshold=0)


def draw(notes, frames=CLIP):
    """Notes as a roll (frames, 88), values in [0, 1]. Where two notes want one key at one time, the later one wins."""
    return notes_to_roll(notes, MIDI_CONFIG, frames / 16)[:frames].astype(np.float32) / MIDI_CONFIG["velocity_bins"]


def shuffle_pitches(clip, rng):
    notes = notes_of(clip)
    return draw(notes._replace(pitch=rng.permutation(notes.pitch)))


# %%
after_seed = slice(SEQUENCE_LENGTH, SEQUENCE_LENGTH + CLIP)
trio = [
    ("real", rolls["validation"][13][after_seed]),
    ("generated", generate_music(mamba, rolls["validation"][7][:SEQUENCE_LENGTH], CLIP, random_seed=1)[after_seed]),
    ("shuffled", shuffle_pitches(rolls["validation"][14][after_seed], np.random.default_rng(0))),
]
trio = [trio[i] for i in np.random.default_rng(8).permutation(3)]

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Clip 1: real, spoilt, or made?"}, "image": {"alt": "Player: the first of three clips to tell apart"}}
player(trio[0][1], title="Clip 1")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Clip 2: real, spoilt, or made?"}, "image": {"alt": "Player: the second of three clips to tell apart"}}
player(trio[1][1], title="Clip 2")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Clip 3: real, spoilt, or made?"}, "image": {"alt": "Player: the third of three clips to tell apart"}}
player(trio[2][1], title="Clip 3")

# %% [markdown]
# Write your answer down, and by what you knew it. One of the three should be easy. The solution stands below, after the
# measures have had their turn.
#
# ## What a measure is for
#
# Nobody can listen to a thousand clips after every change of a model. A **measure** turns a clip into a number, so that
# two heaps of clips can be compared while we sleep. It can do three things:
#
# - **raise an alarm**: half as many notes as real music has, or twice as many, is a fault, whatever else is right,
# - **say where**: in the pitches, in the rhythm, in how many keys sound together,
# - **follow a change**: is tonight's model nearer to real music than yesterday's?
#
# It cannot say that music is good. A measure looks at one property and is blind to all others. So do not only ask what
# it sees. What would have to happen to the music for it *not* to notice?
#
# ## Eight measures by hand
#
# Four seconds of music, eight notes, small enough for pencil and paper. Each note is its MIDI pitch, its first row, and
# the row after its last (16 rows are a second):

# %% tags=["nbval-check-output"]
TOY = [(60, 0, 16), (64, 0, 16), (67, 0, 8), (66, 8, 10), (67, 16, 32), (60, 32, 48), (65, 32, 48), (69, 40, 48)]
toy = np.zeros((64, 88), dtype=np.float32)
for pitch, on, off in TOY:
    toy[on:off, pitch - 21] = 0.5
    print(f"{NOTE_NAMES[pitch % 12]:<2} rows {on:2d} to {off - 1:2d}: {'.' * on}{'#' * (off - on)}")
pitches, on, off = np.array(TOY).T

# %% [markdown]
# **Note density** is notes per second. **Polyphony** is how many keys are down at once, on average over the rows in
# which any is. **Note length** is a mean over notes, in seconds.

# %%
by_hand = {"note_density": 8 / 4}
rows_with_sound = 48  # rows 0 to 47: the last second is silent
by_hand["polyphony"] = (off - on).sum() / rows_with_sound
by_hand["note_length"] = (off - on).mean() / 16

# %% [markdown]
# **Pitch-class entropy** asks how evenly the twelve pitch classes are used: each with the share `p` adds
# `p log2(1 / p)`. Here C and G have two notes of eight; E, F, F♯ and A have one. **Scale consistency** is the share of
# the notes in the best of the twelve major scales. In C major all but the F♯ are.

# %%
by_hand["pitch_class_entropy"] = 2 * (1 / 4 * 2) + 4 * (1 / 8 * 3)  # log2(4) is 2, log2(8) is 3
by_hand["scale_consistency"] = 7 / 8

# %% [markdown]
# **Inter-onset interval**: seconds from one row in which something begins to the next such row. Here something begins
# in the rows 0, 8, 16, 32 and 40. **Qualified notes** are those of three rows or more: the F♯ is too short. A clip in
# which keys flicker has few of them.

# %%
by_hand["inter_onset"] = np.mean([8, 8, 16, 8]) / 16
by_hand["qualified_note_rate"] = 7 / 8

# %% [markdown]
# **Groove** asks whether the rhythm of one bar is like that of the next. A performance has no bar lines, so windows of
# two seconds, 32 rows, stand for bars. Each row of a window has an onset or has none; count the rows in which
# neighbouring windows agree. The first window has onsets in its rows 0, 8 and 16, the second in its rows 0 and 8.

# %%
by_hand["groove_consistency"] = 1 - 1 / 32

# %% [markdown]
# The package's `describe` has six of these; the benchmark `benchmarks/music.py`, which compares models by them, adds
# the other two. `runpy` loads that file without printing its tables. Both must agree with our pencil:

# %%
benchmark = runpy.run_path(str(MIDI_DATA.parent / "benchmarks" / "music.py"))
MEASURES = benchmark["MEASURES"]
described, measured = describe(toy, MIDI_CONFIG), benchmark["measure"]([toy])
for name, value in by_hand.items():
    assert np.isclose(measured[name][0, 0], value) and np.isclose(described.get(name, value), value), name
assert set(by_hand) == set(MEASURES) and len(set(described) & set(MEASURES)) == 6

# %% [markdown]
# ### Each has a catch
#
# *Scale consistency needs notes.* A few notes fit some scale, whatever they are. Below, notes are drawn with all twelve
# pitch classes alike, which is the opposite of a scale:

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(0)
distance = np.arange(12)[:, None] - np.arange(12)  # from each of 12 roots to each of 12 pitch classes
in_scale = np.isin(distance % 12, MAJOR_SCALE)  # (12 classes, 12 roots)
for count in (3, 6, 12, 50, 1000):
    classes = rng.integers(12, size=(500, count))  # 500 clips of so many notes
    share = in_scale[classes].mean(1).max(1)  # (500,): of the best root
    print(f"{count:5d} random notes: scale consistency {share.mean():.2f}")

# %% [markdown]
# What to see: it takes many notes until the number comes down to 7/12 = 0.58. A model that plays six notes in a clip
# looks tonal. So do not compare this measure between sets of very different density. (Entropy has a similar catch: six
# notes cannot use twelve pitch classes.)
#
# *Scale consistency prefers major.* A piece in minor raises its seventh note at cadences, and no major scale that fits
# the other notes has that one. So minor music gets a lower number, without being less tonal.
#
# *Groove needs the right window.* A machine that strikes every half second has the groove 1. The same machine a little
# slower is as steady, and the windows of two seconds no longer fit it:

# %% tags=["nbval-check-output"]
for step in (8, 9, 10, 12, 16):
    metronome = np.zeros((CLIP, 88))
    metronome[::step, 40] = 0.5  # a note of one row, every `step` rows
    print(f"a stroke every {step / 16:.2f} s: groove {describe(metronome, MIDI_CONFIG)['groove_consistency']:.3f}")

# %% [markdown]
# And rows without an onset agree with each other, so all music with long notes scores high.
#
# *Some measures say nearly the same.* Where four voices sound nearly always, as in chorales, long notes are few notes:
# density and note length go together. Entropy and scale are related, too. Eight measures are not eight witnesses.
#
# ## The bench
#
# Now to real music. From held-out pieces, with which no model was trained, we cut places of a seed (4 s) and a clip
# (12 s). The **pieces** are dealt to two halves, A and B: a piece lies in one of them, with all its clips. A stays as
# it is. B is what we do things to.


# %%
def cut(pieces):
    """All places of `(number, roll)` pieces, (N, 64 + CLIP, 88), and for each the number of its piece, (N,)."""
    size, places, owner = SEQUENCE_LENGTH + CLIP, [], []
    for number, roll in pieces:
        for start in range(0, len(roll) - size + 1, size):
            place = roll[start : start + size]
            if place[:SEQUENCE_LENGTH].any() and place[SEQUENCE_LENGTH:].any():  # not silent
                places.append(place)
                owner.append(number)
    return np.stack(places), np.array(owner)


# %% tags=["nbval-ignore-output"]
held_out = [rolls[split].spread(PIECES // 2) for split in ("validation", "test")]
pieces = [split[i] for split in held_out for i in range(len(split))]
order = np.random.default_rng(0).permutation(len(pieces))
(places_a, owner_a), (places_b, owner_b) = (cut([(i, pieces[i]) for i in half]) for half in (order[::2], order[1::2]))
seeds, A, B = places_b[:, :SEQUENCE_LENGTH], places_a[:, SEQUENCE_LENGTH:], places_b[:, SEQUENCE_LENGTH:]
print(f"A: {len(A)} clips of {len(np.unique(owner_a))} pieces; B: {len(B)} clips of {len(np.unique(owner_b))} pieces")

# %% [markdown]
# From notes to a roll and back must change no key, or we would be measuring our own tools:

# %%
assert all(np.array_equal(draw(notes_of(clip)) > 0, clip > 0) for clip in B)

# %% [markdown]
# ### Sabotage
#
# Here is a workshop for spoiling music. We have `shuffle_pitches` already. Three more that touch pitches:


# %%
def moved(clip, keys):
    """A clip so many keys higher, or lower where there is no room above."""
    return np.roll(clip, -keys if clip[:, -keys:].any() else keys, axis=1)


def turn_upside_down(clip, rng):
    return clip[:, ::-1]  # the lowest key becomes the highest: what rose falls, and the bass is on top


def half_a_key_up(clip, rng):
    notes = notes_of(clip)
    return draw(notes._replace(pitch=np.minimum(notes.pitch + (rng.random(len(notes.pitch)) < 0.5), 108)))


def add_wrong_notes(clip, rng):
    """One note in ten gets a companion on the key above it."""
    notes = notes_of(clip)
    chosen = rng.random(len(notes.pitch)) < 0.1
    extra = Notes(*(field[chosen] for field in notes))
    extra = extra._replace(pitch=np.minimum(extra.pitch + 1, 108))
    return draw(Notes(*(np.concatenate(both) for both in zip(notes, extra))))


# %% [markdown]
# And three that touch time. Seconds are shuffled note by note: a note moves with the second in which it begins, and
# keeps its length. (If one cuts the *roll* into seconds instead, every long note is cut in two, and the density gives
# it away. A measure that notices that has noticed the scissors.)


# %%
def shuffle_seconds(clip, rng):
    notes, seconds = notes_of(clip), len(clip) // 16
    second = notes.start.astype(int)
    move = rng.permutation(seconds)[second] - second
    return draw(notes._replace(start=notes.start + move, end=np.minimum(notes.end + move, seconds)))


def play_backwards(clip, rng):
    return clip[::-1]


def come_in_late(clip, rng):
    """Every note begins 0, 1 or 2 rows late, each by its own dice, but keeps at least one row."""
    notes = notes_of(clip)
    late = notes.start + rng.integers(0, 3, len(notes.start)) / 16
    return draw(notes._replace(start=np.minimum(late, notes.end - 1 / 16)))


# %% [markdown]
# Two more: *another piece after 6 s* joins the first half of a clip to the second half of one from another piece, and
# *all equally loud* takes every dynamic away. *Three keys up* is no sabotage: it moves everything by the same interval,
# and hardly a listener minds. Whoever notices *that* raises a false alarm, and the line *untouched* shows how much
# comes from chance.

# %%
rng = np.random.default_rng(1)
sets = {"untouched": B, "three keys up": np.stack([moved(clip, 3) for clip in B])}
SABOTAGE = {
    "pitches shuffled": shuffle_pitches,
    "half of the notes a key up": half_a_key_up,
    "wrong notes added": add_wrong_notes,
    "upside down": turn_upside_down,
    "seconds shuffled": shuffle_seconds,
    "backwards": play_backwards,
    "notes come in late": come_in_late,
}
for name, spoil in SABOTAGE.items():
    sets[name] = np.stack([spoil(clip, rng) for clip in B])
elsewhere = [rng.choice(np.flatnonzero(owner_b != number)) for number in owner_b]  # a clip of another piece
sets["another piece after 6 s"] = np.concatenate([B[:, : CLIP // 2], B[elsewhere, CLIP // 2 :]], axis=1)
sets["all equally loud"] = (B > 0) * np.float32(0.6)

# %% [markdown]
# Hear two of them. Does it take a musician to notice?

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "A real clip whose seconds have changed places."}, "image": {"alt": "Player: real music in an order that makes no sense"}}
player(sets["seconds shuffled"][4], title="Seconds shuffled")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "A real clip, the keyboard upside down."}, "image": {"alt": "Player: real music whose bass has become its treble"}}
player(sets["upside down"][4], title="Upside down")

# %% [markdown]
# Beside the spoilt clips we want what models write: the Mamba, the LSTM, and the Mamba as 88 coins at temperature 0.5,
# of which notebook 05 says that they make time stand still. All three continue seeds of half B. And **noise**: every
# key in every row is a coin by itself, as often down as it is in training.

# %%
judged = np.linspace(0, len(B) - 1, min(JUDGED, len(B))).round().astype(int)
for name, model, settings in (
    ("Mamba", mamba, {}),
    ("LSTM", lstm, {}),
    ("Mamba, cold coins", mamba, {"temperature": 0.5, "head": "keys"}),
):
    sets[name] = generate_music(model, seeds[judged], CLIP, random_seed=0, **settings)[:, SEQUENCE_LENGTH:]
some = rolls["train"].spread(60)
some = np.concatenate([some[i] > 0 for i in range(len(some))])  # (rows, 88)
coins = np.random.default_rng(2).random((len(judged), CLIP, 88))
sets["noise"] = (coins < some.mean(0)) * np.float32(0.6)

# %% [markdown]
# ## A measure as a listener
#
# How do we say that a measure "notices"? Give it the test that a person would get: **two clips, one real, one spoilt;
# which is the spoilt one?** A measure can only answer by its number: always "the one with the higher number", or always
# the lower. We ask it about every pair of a clip of A and a clip of the other set. Who cannot tell is right in 50 of
# 100 pairs. Who is right in fewer has the sign wrong, and would be as good turned round: so the better of the two
# counts.


# %%
def higher(a, b):
    """Share of the pairs of a value of a (N,) and one of b (M,) in which b is higher; a tie is half, NaN left out."""
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    return np.mean((b > a[:, None]) + 0.5 * (b == a[:, None]))


def pairs_right(a, b):
    """In how many of 100 pairs a listener is right who goes by this number."""
    return 100 * max(higher(a, b), 1 - higher(a, b))


# %% [markdown]
# Real 1 and 2, spoilt 1 and 3: of the four pairs, 3 > 1 and 3 > 2 are higher, 1 and 1 is a tie, and 1 and 2 is lower.

# %%
assert higher(np.array([1.0, 2.0]), np.array([1.0, 3.0])) == (1 + 1 + 0.5 + 0) / 4

# %% [markdown]
# This number is the **area under the ROC curve**, and the statistic of Mann and Whitney. Its charm for us: later it can
# be compared with people, who answer the same question.
#
# All measures of all sets, a row for each clip:


# %%
def all_measures(clips):
    """The eight measures of each clip, (N, 8)."""
    table = benchmark["measure"](clips)
    return np.concatenate([table[name] for name in MEASURES], axis=1)


of_a, values = all_measures(A), {name: all_measures(clips) for name, clips in sets.items()}

# %% [markdown]
# How good does chance look? Deal the real pieces to two halves again and again. Both halves are real, so every success
# is luck. (We deal pieces, not clips: clips of one piece are alike, and that makes luck larger. More on that below.)

# %%
every_real, owner = np.concatenate([of_a, values["untouched"]]), np.concatenate([owner_a, owner_b])


def luck_level(table, owner, rng):
    """What 95 of 100 numbers of pairs right do not exceed, between two halves of the real pieces."""
    numbers = []
    for _ in range(DRAWS // 5):
        half = np.isin(owner, rng.permutation(np.unique(owner))[::2])
        numbers += [pairs_right(a, b) for a, b in zip(table[half].T, table[~half].T)]
    return np.quantile(numbers, 0.95)


chance = luck_level(every_real, owner, np.random.default_rng(3))  # one level for all eight


# %%
def heat_map(table, columns, level):
    """Pairs right of 100, {set: (columns,)}, as a picture; what is not above the level of its column is grey."""
    fig, ax = plt.subplots(figsize=(1.05 * len(columns) + 2, 0.34 * len(table) + 1), layout="constrained")
    numbers, level = np.array(list(table.values())), np.broadcast_to(level, len(columns))
    ax.imshow(np.where(numbers > level, numbers, 50), cmap="Blues", vmin=50, vmax=130, aspect="auto")
    for (row, column), number in np.ndenumerate(numbers):
        ax.text(
            column, row, f"{number:.0f}", ha="center", va="center", color="black" if number > level[column] else GREY
        )
    ax.set_xticks(range(len(columns)), [name.replace("_", "\n") for name in columns], fontsize=8)
    ax.set_yticks(range(len(table)), table)
    ax.xaxis.tick_top()
    for line in (1.5, 3.5 + len(SABOTAGE)):
        ax.axhline(line, color=GREY, linewidth=1)
    return fig, ax


# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "In how many of 100 pairs each measure finds the spoilt or made clip; grey is luck."}, "image": {"alt": "Table of numbers with a row for each kind of clip and a column for each of eight measures; some rows are all grey"}}
right = {name: [pairs_right(a, b) for a, b in zip(of_a.T, table.T)] for name, table in values.items()}
fig, ax = heat_map(right, MEASURES, chance)
print(f"between two halves of real music, 95 of 100 such numbers are {chance:.1f} or less")

# %% [markdown]
# What to see: each number says in how many of 100 pairs the measure finds the spoilt (or the made) clip; 50 is
# guessing. Grey is what chance does as well. Read it line by line.
#
# - *Upside down* and *all equally loud*: **nobody**. The numbers are those of *untouched*, digit by digit. To these
#   eight, a piece with its bass on top, or without any dynamics, is the original.
# - *Seconds shuffled*, a piece without any direction: little for so great a damage.
# - *Notes come in late*: all that is about rhythm notices.
# - *Half of the notes a key up*, *wrong notes*, *another piece*: entropy and scale see them, and the rhythm measures
#   do not, as it should be. (*Wrong notes* come on top, so polyphony counts them. *Another piece* cuts long notes at
#   the seam, and the short ones show in *qualified notes*: there a measure has noticed our scissors.)
# - Some alarms come **through a side door**. Deal pitches anew, and now and then two voices get one key at one time,
#   and one of them is lost. If the corpus is Bach, four voices sound nearly always, and polyphony notices the missing
#   one. It noticed a collision. Note density, which has lost a note, is at the edge of chance, the other six are within
#   it, and none knows that the melody is gone. *Backwards*, beginnings become ends; voices that begin a row apart need
#   not end a row apart. Rhythm can notice that, and not that time runs the wrong way. (Such doors depend on the corpus.
#   With MAESTRO, where keys come and go as they like, most of them are closed: run it, and see which alarms are left.)
# - The lines at the bottom: every measure tells what the LSTM writes from this corpus, two of them barely, and all but
#   polyphony what the Mamba writes. The pretrained models learned from pianists, and if the corpus is Bach, much of
#   this is a difference of *style*. (Their sets are smaller, and luck is a little larger there.)
#
# Why is upside down invisible? Polyphony, density and rhythm do not know high from low. Entropy asks how many notes a
# pitch class has, and not which it is. And the notes of a major scale, turned round, are the notes of another major
# scale. (The lowest key, 21, becomes the highest, 108; so key p becomes 129 - p.)

# %% tags=["nbval-check-output"]
turned = set(((129 - MAJOR_SCALE) % 12).tolist())
for root in range(12):
    if set(((MAJOR_SCALE + root) % 12).tolist()) == turned:
        print("C major upside down has the notes of the major scale on", NOTE_NAMES[root])

# %%
for name in ("three keys up", "upside down", "all equally loud"):
    assert np.allclose(values[name], values["untouched"]), name
no_order = [MEASURES.index(name) for name in ("polyphony", "note_density", "scale_consistency", "pitch_class_entropy")]
assert np.allclose(values["backwards"][:, no_order], values["untouched"][:, no_order])

# %% [markdown]
# ### The three clips
#
# Now the measures have their turn at the opening question. Where does each of the three lie among the real clips: how
# many of 100 clips of A have a lower value?

# %% tags=["nbval-ignore-output"]
print(f"{'':<14}", *(f"{name.replace('_', ' ')[:12]:>12}" for name in MEASURES))
for number, (_, clip) in enumerate(trio, start=1):
    ranks = [100 * higher(column, value) for column, value in zip(of_a.T, all_measures([clip]).T)]
    print(f"clip {number:<9}", *(f"{rank:12.0f}" for rank in ranks))

# %% [markdown]
# Numbers near 0 or 100 are unusual for this corpus. From this table alone, which would you call real? And which clip is
# it?

# %% tags=["nbval-ignore-output"]
print(*(f"clip {number} was {name}" for number, (name, _) in enumerate(trio, start=1)), sep="; ")

# %% [markdown]
# If the corpus is Bach, the generated clip is a pianist among chorales, and several of its numbers lie at an end. Much
# of that may be style, and by itself it proves no lack of quality. But did the shuffled clip, which you probably knew
# after two seconds, raise an alarm in entropy or scale, the two that are about *pitches*? A measure is a modest
# listener.
#
# ## Overlap area
#
# Papers compare sets, not clips. A much used way is that of Yang and Lerch (2020): look at **distances**. How far are
# real clips from each other (*within*)? How far are made clips from real ones (*between*)? If the made ones were
# real, both would be distributed alike. Draw each heap of distances as a hill, and take the area that the two hills
# share.
#
# The hill is a **kernel density**: one small bump at every value, as wide as Scott's rule says, the standard deviation
# times `n ** -0.2`.


# %%
def hill(values, grid, width):
    """Height of a sum of bumps at the points of a grid (G,); the area under it is 1."""
    bumps = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2)
    return bumps.sum(1) / (len(values) * width * np.sqrt(2 * np.pi))


def overlap_area(a, b, points=500):
    """The area that the hills of two heaps of numbers share, 0 to 1, both on one grid that holds their tails."""
    widths = [values.std(ddof=1) * len(values) ** -0.2 for values in (a, b)]
    both, tail = np.concatenate([a, b]), 4 * max(widths)
    grid = np.linspace(both.min() - tail, both.max() + tail, points)
    step = grid[1] - grid[0]
    p, q = (hill(values, grid, max(width, step)) for values, width in zip((a, b), widths))
    return np.minimum(p, q).sum() * step


# %% [markdown]
# Now within and between. Within, each clip is compared with all *others*: the distance of a clip to itself is 0, and
# left in, it would add a spike that the made clips cannot have.


# %%
def within(a):
    """Distances of each of (N,) numbers to all others: (N (N - 1),)."""
    return np.abs(a[:, None] - a)[~np.eye(len(a), dtype=bool)]


def between(a, b):
    """Distances of each of (N,) numbers to each of (M,): (N M,)."""
    return np.abs(a[:, None] - b).ravel()


def areas(a, b, points=200):
    """Overlap area of each measure, (8,), of a real set (N, 8) and another one (M, 8); NaN overlaps with nothing."""
    columns = [(p[~np.isnan(p)], q[~np.isnan(q)]) for p, q in zip(a.T, b.T)]
    return np.array([overlap_area(within(p), between(p, q), points) * len(q) / len(b) for p, q in columns])


# %% [markdown]
# The twin is the benchmark's `compare`:

# %%
theirs = benchmark["compare"](benchmark["measure"](A[::2]), benchmark["measure"](B[::2]))
ours = areas(of_a[::2], values["untouched"][::2], points=500)
assert np.allclose(ours, [theirs[name] for name in MEASURES])

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Distances of clips in two measures: real to real, and others to real."}, "image": {"alt": "Two pictures of four hills: the two of real music lie on each other, the Mamba's is lower and wider, the noise far to the right"}}
fig, axes = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
for ax, m, unit in zip(axes, ("note_length", "pitch_class_entropy"), ("note length (s)", "entropy (bits)")):
    column, grid = MEASURES.index(m), np.linspace(-0.5, 3, 300) * of_a[:, MEASURES.index(m)].std() * 2
    heaps = {"real, within A": (within(of_a[:, column]), ORANGE)}
    for name, colour in (("untouched", GREY), ("Mamba", BLUE), ("noise", PINK)):
        heaps[f"{name}, to A"] = between(of_a[:, column], values[name][:, column]), colour
    for name, (heap, colour) in heaps.items():
        ax.plot(grid, hill(heap, grid, heap.std(ddof=1) * len(heap) ** -0.2), color=colour, label=name)
    ax.set(xlabel=f"distance in {unit}", ylabel="density", ylim=(0, None))
_ = axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %% [markdown]
# What to see: the orange hill is real music among itself, the grey one other real music seen from it. Where they part,
# it is by chance. How far to the right are the others? (Distances are never below 0, but the bumps leak there. Both
# hills leak, so it hardly matters.)
#
# ### Why one common grid
#
# A trap that has been published: take each density on a grid of its own, and compare the two arrays point by point.
# They are alike when the *shapes* are alike, wherever those lie. (The first code of these measures, mgeval, computes
# its KL distance in this way; and its overlap it takes from the smallest value to the largest, which cuts the tails.)
# Two sets that have nothing in common, and one set compared with itself:

# %% tags=["nbval-check-output"]
near, far = np.linspace(0, 1, 40), np.linspace(10, 11, 40)
width = near.std(ddof=1) * 40**-0.2
p, q = (hill(heap, np.linspace(heap.min(), heap.max(), 200), width) for heap in (near, far))
step = 1 / 199
print(f"nothing in common: two grids {np.minimum(p, q).sum() * step:.2f}, one grid {overlap_area(near, far):.2f}")
print(f"the same set: without tails {p.sum() * step:.2f}, with tails {overlap_area(near, near):.2f}")

# %% [markdown]
# ### What the overlap of distances forgives
#
# Suppose that a model writes the same average clip over and over. How bad is that, by overlap area? Take real values
# from a bell curve, and a "model" whose every value is the average:

# %% tags=["nbval-check-output"]
bell, average = np.random.default_rng(0).normal(size=300), np.zeros(300)
print(f"overlap of distances:            {overlap_area(within(bell), between(bell, average)):.2f}")
print(f"overlap of the values themselves: {overlap_area(bell, average):.2f}")

# %% [markdown]
# By distances, a fine mark for a model that knows one piece. That is why Yang and Lerch also look at the distances
# *within the made set*: here all of them are 0. Whoever prints one number of this method should print the other, too,
# or the overlap of the values, as notebook 05 does.
#
# ### The ceiling, the floor, and how many clips
#
# What is a good overlap? Nobody can be more real than real: so the overlap of real with *other* real music is the
# **ceiling**, and noise is the **floor**. The ceiling depends on how many clips there are, because a small heap makes
# an uneven hill. Does the floor? We draw sets of several sizes, again and again, and take the mean over the eight
# measures.


# %%
def curve(table, sizes, rng):
    """Mean overlap area of clips drawn from A and as many drawn from (N, 8): (sizes, REPEATS)."""

    def drawn(some, n):
        return some[rng.permutation(len(some))[:n]]

    return np.array([[areas(drawn(of_a, n), drawn(table, n)).mean() for _ in range(REPEATS)] for n in sizes])


# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Overlap with real music by number of clips; the bands are the range over repeated draws."}, "image": {"alt": "Three curves with bands: real music rises towards 1, the Mamba stays near 0.4, noise below 0.2"}}
rng, curves = np.random.default_rng(4), {}
fig, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
for name, colour in (("untouched", ORANGE), ("Mamba", BLUE), ("noise", GREY)):
    sizes = [n for n in SIZES if n <= len(values[name])]
    curves[name] = curve(values[name], sizes, rng)
    ax.plot(sizes, curves[name].mean(1), "o-", color=colour, label="real (ceiling)" if name == "untouched" else name)
    ax.fill_between(sizes, curves[name].min(1), curves[name].max(1), color=colour, alpha=0.15, linewidth=0)
ax.set(xscale="log", xlabel="clips of each set", ylabel="overlap area, mean of 8", ylim=(0, 1))
ax.set_xticks(SIZES, SIZES)
ax.minorticks_off()
_ = ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %%
ceiling = curves["untouched"].mean(1)  # (sizes,)
assert ceiling[-1] > ceiling[0], "more clips, a higher ceiling"
assert ceiling[0] > curves["noise"].mean(1)[0]

# %% [markdown]
# What to see: lines are means, bands go from the lowest to the highest of the repetitions. The ceiling *rises* with the
# number of clips: real music compared with few clips of real music gets what looks like a poor mark. So an overlap from
# 10 clips must be held against a ceiling from 10 clips; a paper that gives neither the number of clips nor a ceiling
# has given no number. And look at the width of the bands on the left: with few clips, two runs of *the same* comparison
# differ by more than many claims of progress. (On the right they shrink for another reason as well: all sets are drawn
# from the same clips, and a set of nearly all of them is nearly always the same.)
#
# With all clips, which sabotages does the overlap notice?

# %% tags=["nbval-ignore-output"]
print("set                          mean overlap  of the ceiling  lowest measure")
overlaps = {name: areas(of_a, table) for name, table in values.items()}
for name, area in overlaps.items():
    share = area.mean() / overlaps["untouched"].mean()
    print(f"{name:<28} {area.mean():12.2f} {100 * share:13.0f} %  {area.min():.2f} {MEASURES[area.argmin()]}")

# %%
assert np.isclose(overlaps["upside down"].mean(), overlaps["untouched"].mean())

# %% [markdown]
# The overlap is built on the measures, so it inherits their blindness: *upside down* reaches 100 % of the ceiling. A
# mean over eight hides, too: one measure that screams among seven that are content costs an eighth at most. Print the
# lowest one beside it. (The models' sets have fewer clips than B: by the last figure that costs a little by itself.)
#
# ## How sure? The bootstrap
#
# How many decimals of such a table mean anything? The **bootstrap** answers without a formula: pretend that your clips
# are the world, draw as many of them *with replacement*, compute the mean again, a thousand times; where the middle
# 95 % of the results lie is an interval.
#
# But draw what? The clips are not independent: those of one piece have its tempo and its manner in common. If you draw
# clips, you pretend to have so many independent ones. Draw **pieces** instead, and each brings all its clips.


# %%
def interval(table, groups, rng):
    """Interval of the mean of each column of (N, K), drawing groups (N,) with replacement: (2, K)."""
    rows = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    drawn = [np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))]) for _ in range(DRAWS)]
    return np.quantile([table[chosen].mean(0) for chosen in drawn], [0.025, 0.975], axis=0)


# %% [markdown]
# If every clip is called a group of its own, the same function draws clips. The real clips of both halves, both ways:

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(5)
of_clips, of_pieces = interval(every_real, np.arange(len(owner)), rng), interval(every_real, owner, rng)
wider = (of_pieces[1] - of_pieces[0]) / (of_clips[1] - of_clips[0])
print(f"{len(owner)} clips of {len(np.unique(owner))} pieces       mean     by clips          by pieces       wider")
for i, name in enumerate(MEASURES):
    by_clip, by_piece = ("{:.3f} to {:.3f}".format(*both[:, i]) for both in (of_clips, of_pieces))
    print(f"{name:<22} {every_real[:, i].mean():10.3f}  {by_clip:>16}  {by_piece:>16}  {wider[i]:6.2f}")

# %% [markdown]
# What to see: the last column, how many times wider the honest interval is. Where it is near 1, clips of one piece are
# hardly more alike than others; where it is clearly more, the measure is a property of the *piece* (its tempo, say),
# and drawing clips pretends to know more than it does. Here a piece gives two or three clips; cut each into twenty, and
# it is worse. A rule of thumb: if a piece gives `m` clips, and the correlation between clips of one piece is `r`, then
# `n` clips are worth `n / (1 + (m - 1) r)` independent ones.
#
# Which interval is right? That can be tested where the truth is known. Make a world in which the true mean is 0: 20
# pieces, 5 clips each, correlation 0.6. How often does the "95 % interval" contain the 0?

# %% tags=["nbval-ignore-output"]
rng, held, worlds = np.random.default_rng(6), {"clips": 0, "pieces": 0}, DRAWS // 2
for _ in range(worlds):
    world = np.sqrt(0.6) * rng.normal(size=(20, 1)) + np.sqrt(0.4) * rng.normal(size=(20, 5))  # (pieces, clips)
    for name, units in (("clips", world.ravel()), ("pieces", world.mean(1))):
        means = units[rng.integers(len(units), size=(300, len(units)))].mean(1)
        low, high = np.quantile(means, [0.025, 0.975])
        held[name] += int(low < 0 < high)
for name, count in held.items():
    print(f"drawing {name:<6}: the interval holds the truth in {100 * count / worlds:.0f} of 100 worlds")

# %%
assert held["pieces"] > held["clips"] + 0.05 * worlds

# %% [markdown]
# By clips, "95 %" is wrong far more often than one time in twenty. By pieces it is nearly what it says (a little less:
# twenty pieces are few). The same holds for a model's clips: two that continue seeds of one piece are relatives. And
# for models there is a second thing to draw: the **training run**. Two runs with different random seeds are two models;
# an interval over clips of one run says nothing about the next run.
#
# ## The likelihood as a judge
#
# A measure looks at one property. A model of music looks at everything that it has learned: how surprised is it by a
# clip? That is the NLL of notebook 03, in nats per row. Now the judge is one model, and any clip can stand before it.
# It reads each clip alone, without a seed.


# %%
@torch.inference_mode()
def surprise(judge, clips):
    """Mean nats per row of each clip (N, T, 88), from its second row on: (N,)."""
    frames = torch.from_numpy(np.ascontiguousarray(clips) > 0).float()
    return predict(judge, frames[:, :-1], frames[:, 1:]).nll.mean(1).numpy()


def as_many(clips):
    """Of a set as large as B those that are judged; the models' sets as they are."""
    return clips[judged] if len(clips) == len(B) else clips


# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The same table with a ninth column: how surprised the Mamba is."}, "image": {"alt": "Table of numbers; in the ninth column some rows are coloured that were grey before"}}
nats = {name: surprise(mamba, as_many(clips)) for name, clips in sets.items()}
judged_a = np.linspace(0, len(A) - 1, len(judged)).round().astype(int)
nats_a = surprise(mamba, A[judged_a])
both, owners = np.concatenate([nats_a, nats["untouched"]]), np.concatenate([owner_a[judged_a], owner_b[judged]])
chance_here = luck_level(both[:, None], owners, np.random.default_rng(3))  # fewer clips: more luck
with_judge = {name: [*right[name], pairs_right(nats_a, nats[name])] for name in sets}
fig, ax = heat_map(with_judge, [*MEASURES, "NLL of\nthe Mamba"], [*[chance] * 8, chance_here])
print(f"luck of the last column: {chance_here:.0f} or less in 95 of 100 cases")

# %% [markdown]
# What to see: the last column. (This judge reads fewer clips, so luck takes it further; grey allows for that.) Look for
# lines in which it is coloured and the eight others are grey or know it through a side door: *seconds shuffled*,
# *backwards*, *pitches shuffled*, and, by little, *upside down*, which none of the eight sees. Nobody has told it about
# direction; it has learned what follows what. And look for
# the opposite: wrong notes and notes a key up, which entropy and scale find better than it does. No instrument is best
# at everything. *All equally loud* gets past this judge, too: it reads which keys are down, `clips > 0`, and nothing
# else.
#
# Pairs of *different* pieces are a hard test, because some pieces surprise more than others. There is an easier one
# where both versions exist: does the *same* clip surprise more when it is spoilt?

# %% tags=["nbval-ignore-output"]
print("of 100 clips, more surprising than untouched (alike counts as half); nats per row more")
more = {name: nats[name] - nats["untouched"] for name, clips in sets.items() if len(clips) == len(B)}
for name in list(more)[1:]:
    print(
        f"{name:<28} {100 * (np.mean(more[name] > 0) + np.mean(more[name] == 0) / 2):10.0f} {more[name].mean():+24.2f}"
    )

# %%
for name in ("seconds shuffled", "notes come in late", "pitches shuffled"):
    assert np.mean(more[name] > 0) > 0.7, name

# %% [markdown]
# Now *upside down* is plain, beside *three keys up*, the line of false alarms. (Is *another piece after 6 s*? One seam
# in twelve seconds is lost in a mean over all rows.) Pairs like these take the differences between pieces away, and a
# judge needs few clips. It is a good way to test a *judge*; for music that a
# model made there is no untouched version.
#
# ### It likes its own best
#
# So why not rank models by it? Let both models judge both models' music. Along a line the judge stays the same:

# %% tags=["nbval-ignore-output"]
contest = ("untouched", "Mamba", "LSTM", "Mamba, cold coins", "noise")
verdicts = {"Mamba": nats, "LSTM": {name: surprise(lstm, as_many(sets[name])) for name in contest}}
print(f"{'nats per row; judge':<20}", *(f"{name:>18}" for name in contest))
for judge, verdict in verdicts.items():
    print(f"{judge:<20}", *(f"{verdict[name].mean():18.2f}" for name in contest))

# %%
for maker, other in (("Mamba", "LSTM"), ("LSTM", "Mamba")):
    assert verdicts[maker][maker].mean() < verdicts[other][maker].mean()

# %% [markdown]
# Go *down* the columns *Mamba* and *LSTM*: the judge who wrote the music is less surprised by it than the other. On
# average that is to be expected: nobody foretells what a model writes better than the model itself. (As a theorem it
# holds for a judge that has also read the seed. Ours has not.) Now compare these two columns *along* a line, as a
# ranking would. Each judge puts its own music before the other's, the Mamba by a small margin. (No theorem says so;
# with other clips, or with few, as in a fast run, its line can turn round.) Whoever chooses the judge has a good part
# in choosing the winner. So never let a model, or a sibling trained on the same data, sit in judgement on itself; and
# a third model may be nearer to one side, too.
#
# Then look at *cold coins*. They stand still, and both judges love them: nothing is less surprising than nothing. A low
# NLL of *made* music is no merit. What should it be? About as surprising as the judge expects to be surprised: its own
# free music at temperature 1 shows how much that is.

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How surprised the Mamba is by each clip; dashed, the mean of its own."}, "image": {"alt": "Four rows of points: real clips, and what three models made"}}
fig, ax = plt.subplots(figsize=(9, 2.6), layout="constrained")
for row, (name, colour) in enumerate(zip(contest[:4], (ORANGE, BLUE, GREEN, PINK))):
    jitter = np.random.default_rng(row).uniform(-0.15, 0.15, len(nats[name]))
    ax.scatter(nats[name], row + jitter, s=12, color=colour, alpha=0.7)
ax.axvline(nats["Mamba"].mean(), color=BLUE, linewidth=1, linestyle="--")
ax.set_yticks(range(4), ["real", *contest[1:4]])
ax.invert_yaxis()
_ = ax.set(xlabel="surprise of the Mamba (nats per row)", xlim=(0, None))

# %%
assert nats["Mamba, cold coins"].mean() < 0.5 * nats["untouched"].mean()

# %% [markdown]
# What to see: a dot is a clip, the dashed line the mean of the judge's own music. Far to the right is strange, and far
# to the left is *dull*. Likelihood and the look of samples need not agree (Theis et al. 2016). (If the corpus is Bach,
# real music lies left of the line: chorales move more slowly and more regularly than the pianists from whom this judge
# learned, so there is less to be surprised by. Nats per row cannot be compared between styles or tempi.) Models of
# language have the same trap: a text of the highest likelihood repeats itself (Holtzman et al. 2020).
#
# ## Collapse by number
#
# Dull can be counted. A clip has **collapsed** if nothing changes for 8 s (silence included), or if for 4 s more keys
# are down in every row than in 99.9 % of the rows of training. For both we need the longest stretch of yes in a row of
# yes and no:


# %%
def longest_run(flags):
    """How many True in a row there are at most in (T,) bool."""
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def collapses(clip, most_keys):
    """Whether a clip (T, 88) stands still for 8 s, and whether it is crowded for 4 s."""
    down = clip > 0
    still = longest_run((down[1:] == down[:-1]).all(1)) + 1 >= 8 * 16
    return still, longest_run(down.sum(1) > most_keys) >= 4 * 16


# %%
most_keys = np.quantile(some.sum(1), 0.999)
fallen = {name: np.array([collapses(clip, most_keys) for clip in sets[name]]) for name in contest}  # (N, 2) each
for name in contest:
    assert np.array_equal(fallen[name], [benchmark["collapses"](clip, most_keys) for clip in sets[name]])

# %% tags=["nbval-ignore-output"]
print(f"of 100 clips             still  crowded (more than {most_keys:.0f} keys)")
for name, flags in fallen.items():
    print(f"{name:<24} {100 * flags[:, 0].mean():5.0f} {100 * flags[:, 1].mean():8.0f}")

# %% [markdown]
# Such a count is crude, and it has what fine measures lack: everybody understands it, and no mean can hide it. A model
# whose average is perfect and whose every tenth clip is dead cannot be played in public. Report the share and the
# definition. (A zero among 40 clips does not mean never. If 7 in 100 collapsed, forty clips would show none in one case
# of twenty: `0.93 ** 40` is 0.05. Rule of thumb: below `3 / n`.)
#
# ## Copies, also with a note changed
#
# A model that recites its training set passes all of the above. Notebook 05 looked for the longest exact copy and said
# what that misses: a copy with one note changed is two short runs. Here we look at windows of 12 notes in the order in
# which they begin. A window is **copied** if some training piece has it, at any height. It is **copied but for one
# note** if it is found after one note has been left out, the same one in both.
#
# Searching 12 notes in a list of many thousand windows is slow; searching one *number* in a sorted list is fast. So
# each window becomes a number: its steps from the first note, times fixed odd weights, added up in 64 bits. That two
# different windows get the same number is next to impossible.

# %%
NOTES = 12
WEIGHTS = np.random.default_rng(7).integers(1 << 62, size=(NOTES, NOTES)) * 2 + 1  # a row for every note left out


def windows(roll):
    """The pitches of every NOTES notes in a row, (W, NOTES)."""
    pitch = np.asarray(notes_of(roll).pitch, dtype=np.int64)
    return np.lib.stride_tricks.sliding_window_view(pitch, NOTES) if len(pitch) >= NOTES else np.empty((0, NOTES), int)


def exact(w):
    """A number for each window, the same at every height: (W, 1)."""
    return ((w - w[:, :1]) @ WEIGHTS[0])[:, None]


def but_for_one(w):
    """A number for each window and each note left out of it: (W, NOTES)."""
    columns = []
    for k in range(NOTES):
        rest = np.delete(w, k, axis=1)
        columns.append((rest - rest[:, :1]) @ WEIGHTS[k, 1:] + WEIGHTS[k, 0])
    return np.stack(columns, axis=1)


# %%
train = np.concatenate([windows(rolls["train"][i]) for i in range(len(rolls["train"]))])
library = {key: np.unique(key(train)) for key in (exact, but_for_one)}


def copy_rate(clips, key):
    """Percent of the windows of some clips that training has."""
    w = np.concatenate([windows(clip) for clip in clips])
    return 100 * np.isin(key(w), library[key]).any(1).mean()


# %% [markdown]
# An instrument that finds nothing must first show that it can find something. So here are three **thieves**: one plays
# training pieces two keys higher, the second changes one note in every twelve besides, the third one in every six. The
# benchmark's own search, which wants the same onsets in the same rows over a whole second, reads along.

# %%
rng = np.random.default_rng(9)
stolen = [moved(rolls["train"][i][:CLIP], 2) for i in range(0, 60, 3)]


def disguise(clip, every):
    """One note of so many gets another pitch."""
    notes = notes_of(clip)
    change = (np.arange(len(notes.pitch)) % every == 5) * rng.choice([-2, -1, 1, 2], len(notes.pitch))
    return draw(notes._replace(pitch=notes.pitch + change))


suspects = {"real, held out": B, "Mamba": sets["Mamba"], "LSTM": sets["LSTM"]}
suspects["thief"] = stolen
for every in (12, 6):
    suspects[f"thief, 1 note in {every} changed"] = [disguise(clip, every) for clip in stolen]
known = np.unique(np.concatenate([benchmark["window_hashes"](rolls["train"][i]) for i in range(len(rolls["train"]))]))

# %% tags=["nbval-ignore-output"]
rates = {name: [copy_rate(clips, key) for key in library] for name, clips in suspects.items()}
print("percent of windows in training     exact  but for one note  benchmark")
for name, (same, nearly) in rates.items():
    found, looked = benchmark["count_copies"](suspects[name], known)
    print(f"{name:<30} {same:9.1f} {nearly:17.1f} {100 * found / max(looked, 1):10.1f}")

# %%
same, nearly = rates["thief, 1 note in 12 changed"]
assert rates["thief"][0] == 100 and nearly > 2 * same

# %% [markdown]
# What to see: one changed note in twelve lies in every window, and that is enough to fool the exact search completely.
# The tolerant one sees through it. Change one in six, and it is fooled as well: every tolerance has an end, and a thief
# who knows it. Tolerance also has a price: the line of *held-out* music rises with it. Cadences and scales belong to
# everyone, and with one note free there are more of them. What counts is a model's rate *above that line*. (If the
# corpus is Bach, the pretrained models never saw these training pieces, so theirs is no proof of virtue.) And no search
# of this kind finds a stolen *idea*.
#
# ## The blind test as statistics
#
# At last, ears. Notebook 05 has the test, `blind_test`, and the arithmetic of luck. What is left is to plan a test that
# can succeed.
#
# ### How many guesses?
#
# Say that fewer than 5 in 100 guessers may get through. For `n` guesses between two there is a number of right ones
# that luck reaches so rarely. The **power** is how often somebody gets there who does hear something, and is right 7
# times in 10. Both are sums over the binomial distribution:


# %%
def at_least(right, n, p):
    """How likely `right` or more of n guesses are right, if each is with the probability p."""
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(right, n + 1))


def needed(n, p=0.5):
    """How many of n must be right so that luck does as well in less than 5 of 100 tests."""
    return next(right for right in range(n + 2) if at_least(right, n, p) < 0.05)


def power(n, p):
    """How often who is right with the probability p reaches the needed number."""
    return at_least(needed(n), n, p)


assert np.isclose(at_least(8, 10, 0.5), luck(8, clips=10, choices=2))

# %% tags=["nbval-check-output"]
print("guesses  right ones needed  power, if right 7 in 10")
for n in (10, 20, 40, 60):
    print(f"{n:7d} {needed(n):18d} {power(n, 0.7):24.2f}")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "How likely a real difference is found, by number of guesses; dotted, 0.8."}, "image": {"alt": "Four saw-toothed curves that rise towards 1, the easier the difference the sooner"}}
fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for p, colour in ((0.9, GREEN), (0.8, PINK), (0.7, BLUE), (0.6, ORANGE)):
    ax.plot(range(4, 181), [power(n, p) for n in range(4, 181)], color=colour, label=f"right {10 * p:.0f} in 10")
ax.axhline(0.8, color=GREY, linestyle=":")
ax.set(xlabel="guesses", ylabel="power", ylim=(0, 1.02))
_ = ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %% tags=["nbval-check-output"]
for p in (0.9, 0.8, 0.7, 0.6):
    enough = max(n for n in range(1, 200) if power(n, p) < 0.8) + 1
    print(f"right {10 * p:.0f} in 10: the power is 0.8 or more from {enough:3d} guesses on")

# %% [markdown]
# What to see: the dotted line is the usual demand, four chances in five. The curves are saws, because the needed number
# jumps by one now and then. A listener who is right 7 in 10 needs some forty guesses; with ten, the test fails in six
# cases of seven *although she hears it*. The nearer the music comes to real, the more guesses it takes to show a
# difference: at 6 in 10 it is 169. So "listeners could not tell our music from Bach" is cheap to have: who asks few
# people few questions will get it. Ask for the power before you believe it.
#
# ### What ten guesses say
#
# Report what the data leave open. For each possible skill `p`: would our result be a surprise? Those for which it would
# not are an interval (that of Clopper and Pearson):


# %% tags=["nbval-check-output"]
def plausible(right, n):
    """Lowest and highest skill p for which neither so many right guesses nor so few are rarer than 2.5 %."""
    skills = np.linspace(0, 1, 1001)
    fits = [p for p in skills if at_least(right, n, p) >= 0.025 and 1 - at_least(right + 1, n, p) >= 0.025]
    return fits[0], fits[-1]


for right_ones, n in ((5, 10), (7, 10), (28, 40), (280, 400)):
    low, high = plausible(right_ones, n)
    print(f"{right_ones:3d} of {n:3d} right: a skill between {100 * low:.0f} and {100 * high:.0f} in 100")

# %% [markdown]
# Five of ten right is what a guesser gets. It also fits somebody who is right eight times in ten. *No difference was
# found* is not *there is no difference*; only a narrow interval around 50 says that.
#
# ### Several listeners
#
# Are ten listeners with ten guesses each a hundred guesses? Three traps.
#
# **1. Many tries.** The best of many guessers looks like an expert. In a class of 20, ten guesses each:

# %% tags=["nbval-check-output"]
for right_ones in (8, 9, 10):
    one_of_20 = 1 - (1 - at_least(right_ones, 10, 0.5)) ** 20
    print(f"one guesser or more has {right_ones:2d} or more of 10 right: in {100 * one_of_20:2.0f} of 100 classes")

# %% [markdown]
# So decide before the test whose result counts. Praising the best afterwards proves nothing.
#
# **2. A mean of unlike people.** Nine guessers with 45 right of 90, and one who is always right, make 55 of 100:

# %% tags=["nbval-check-output"]
print(f"luck has 55 or more of 100 right in {100 * at_least(55, 100, 0.5):.0f} of 100 tests")
print(f"luck has 10 of 10 right in {100 * at_least(10, 10, 0.5):.1f} of 100 tests, one of ten guessers in 1.0")
assert round(100 * (1 - (1 - 0.5**10) ** 10), 1) == 1.0

# %% [markdown]
# Pooled, the expert disappears, and with her the fact that the difference *can* be heard. Show a dot for every
# listener.
#
# **3. The same clips for all.** This one is the worst. Suppose that nobody hears any difference. But some clips *sound*
# real to everybody (slow, soft, with a nice ending), whoever made them. If everyone hears the same ten clips, then all
# are right together and wrong together (Clark 1973 on words in experiments). We simulate such studies, and count how
# often the pooled test calls luck a difference:


# %%
def studies(same_clips, rng, count=STUDIES, listeners=10, clips=10):
    """Answers (count, L, clips) of people who hear no difference, and who made the clips, (count, 1 or L, clips)."""
    shape = (count, 1 if same_clips else listeners, clips)
    made = rng.random(shape) < 0.5  # by the model
    sounds_made = rng.normal(size=shape)  # how artificial a clip seems to everyone, whoever made it
    return sounds_made + rng.normal(size=(count, listeners, clips)) > 0, made


# %% tags=["nbval-ignore-output"]
alarms = {}
for same_clips, name in ((False, "clips of their own for each"), (True, "the same ten clips for all")):
    said, made = studies(same_clips, np.random.default_rng(10))
    alarms[name] = np.mean((said == made).sum((1, 2)) >= needed(100))
    print(f'{name:<28}: a difference is "found" in {100 * alarms[name]:4.1f} of 100 studies')

# %%
assert alarms["the same ten clips for all"] > 2 * alarms["clips of their own for each"]

# %% [markdown]
# The test promises 5 at most. With the same clips for all, a hundred guesses are not a hundred tosses of a coin: the
# coin is tossed ten times, once for every clip. There are two cures. **Give everyone other clips**: cut the lists into
# parts, and give each listener one. (`random_seed` of `blind_test` is not enough. A test is as long as the shortest
# list, so two listeners with the same two lists have about half of their clips in common.) Or **let chance act on
# clips**: keep all answers, draw anew who made what, and see how often that fits the answers as well as the truth does.
# (The truth counts as one of the draws: else a p of 0 could come out, and nothing is that certain.)


# %%
def permutation_p(said, made, rng, draws=400):
    """How often a draw of who made each clip (C,) fits the answers (L, C) as well as the truth, which is one draw."""
    votes, listeners = said.sum(0), len(said)  # (C,): how many said "made"

    def right(makers):
        return np.where(makers, votes, listeners - votes).sum(-1)

    return (1 + np.sum(right(rng.random((draws, len(made))) < 0.5) >= right(made))) / (1 + draws)


# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(11)
said, made = studies(True, rng)
p_values = np.array([permutation_p(said[i], made[i, 0], rng) for i in range(STUDIES)])
print(f'with chance acting on clips: a difference is "found" in {100 * np.mean(p_values < 0.05):.1f} of 100 studies')

# %%
assert np.mean(p_values < 0.05) < 0.09 and p_values.min() > 0

# %% [markdown]
# It is the bootstrap's lesson again: count what was drawn independently. And a result about ten clips is a result about
# *those ten clips*.
#
# ### In a class
#
# 1. Before anybody listens, write down: the question, how many listeners and clips, whose result counts, what would
#    count as success. Generate the clips once, of each kind as many as listeners times guesses; **do not choose among
#    them**, and leave the seeds out.
# 2. Make everything alike that is not the question: length, player, loudness.
# 3. Everyone gets a number and runs the cell with it. No talking, no second hearing after a guess.
# 4. Collect `test.guesses`, a list of pairs (who made it, what was said).
#
# The cell of listener 1, ten guesses. Our 40 clips of each kind (`JUDGED`) are enough for four listeners. It needs a
# running notebook; a press on a button is a guess. (If the corpus is Bach, this test asks *chorale or pianist?*, and
# that is easy. For *real or made?* take a model of the same style, Bach's network or yours of A4.)

# %% tags=["nbval-ignore-output"]
listener, guesses = 1, 10
own = slice(guesses * (listener - 1), guesses * listener)  # which clips nobody else hears
test = blind_test({"real": list(B[judged][own]), "MusicMamba": list(sets["Mamba"][own])}, random_seed=listener)
test

# %% [markdown]
# Then report: how many listeners, and who they are (do they play? do they know the model?); how many clips of how many
# pieces, and how they were chosen; how many right **per listener** and per clip; real called real and made called made,
# separately (who says "made" every time is right half of the time, too); the interval; and what the test could have
# found, its power.
#
# ### A questionnaire
#
# Right or wrong says *whether* there is a difference, and not which. If you ask more, ask little, and ask it of real
# and made clips alike, mixed and without names:
#
# > 1. How much did you like this clip? (1 not at all ... 5 very much)
# > 2. Does the music go somewhere, or does it wander? (1 wanders ... 5 goes somewhere)
# > 3. Did anything sound wrong? At about which second?
# > 4. Have you heard this piece before? (yes, no, not sure)
# > 5. After all clips: do you play an instrument, and for how many years?
#
# The marks of the real clips are the ceiling, here too: do not expect a 5 from everybody. Question 3 is the one that
# helps you to mend the model. Question 4 decides which answers you may use.
#
# ## Reading a paper
#
# A checklist for the section "Evaluation". A missing answer is an answer.
#
# | ask | because |
# |---|---|
# | Are the splits by piece, or by window? | windows of one piece in train and test: memory passes for skill |
# | Were model, temperature or stopping chosen on the test split? | then it is no test any more |
# | How many training runs, with which spread? | the random seed alone moves results |
# | Which temperature and cut-off, for each model? | one model tuned and the others not is a contest of tuning |
# | Were samples chosen? By whom? | the best of a hundred says little about the next one |
# | How many clips, how long, from how many pieces? | the ceiling and the interval depend on it |
# | Is there a ceiling (real against real) and a floor? | a number alone cannot be read |
# | Loss: nats or bits; per row, note or token? Padding in the mean? | else two losses cannot be compared |
# | Can the measures see what is claimed? | "better structure", shown by pitch-class entropy |
# | Was there a search for copies, and what does held-out music score? | held-out music has some, too |
# | Listeners: how many, who, blind, the same clips for all, which power? | this notebook |
# | Which failures are shown? | everyone has some |
#
# ## Summary
#
# - A measure raises alarms and says where; a good value proves little. Ask what it cannot notice.
# - Spoil real music and see: upside down, or without dynamics, it passes all eight measures. Some alarms come through a
#   side door.
# - Overlap area: one common grid with tails, a ceiling of real against real with *the same number of clips*, a floor,
#   the lowest measure beside the mean. Overlap of distances forgives a model that always writes the average.
# - For an interval draw pieces, not clips. Say what was drawn independently, and how many of it.
# - The likelihood sees order and direction. Its judge is partial to its own music, and loves dullness.
# - Count collapses and copies. An instrument that finds nothing must show that it can find a thief.
# - A blind test with ten guesses finds little. Plan forty for a listener who is right 7 in 10, other clips for
#   everyone, and an interval in the report.
#
# ## Quiz

# %% [markdown]
# **1.** A paper reports an overlap area of 0.82 for its model, from 20 clips, and 0.90 for "real against real", from
# 2,000 clips. Why is that unfair to the model?
#
# <details><summary>Answer</summary>
#
# The ceiling rises with the number of clips. Real music from 20 clips would not reach 0.90 either; the ceiling must be
# computed with 20 clips.
#
# </details>
#
# **2.** All eight measures of a model lie within the range of real music. Which of these may still be true: it plays
# every piece backwards; all notes are equally loud; it plays twice as many notes?
#
# <details><summary>Answer</summary>
#
# The first two. No measure of the eight reads loudness, and none knows the direction of time (at most it notices that
# beginnings and ends of notes are spread differently). Twice as many notes is what the density is there for.
#
# </details>
#
# **3.** Model X has an NLL of 2.1 nats per row on *its own* music, model Y has 2.6 on its own. Does X write better
# music?
#
# <details><summary>Answer</summary>
#
# It does not follow. It says that X expects less surprise, and duller music has less of it: cold coins that stand still
# have the lowest NLL of all. Compare the NLL on *real, held-out* music.
#
# </details>
#
# **4.** You cut 10 held-out pieces into 30 clips each and draw 300 clips for a bootstrap. What is wrong with the
# interval?
#
# <details><summary>Answer</summary>
#
# It is too narrow. Clips of one piece are alike, so these are hardly 300 independent ones. Draw the 10 pieces, each
# with all its clips; and ten are few.
#
# </details>
#
# **5.** Ten listeners hear the same ten clips, and together 62 of 100 guesses are right. Luck has 62 or more of 100 in
# 1 of 100 tests. Is the difference shown?
#
# <details><summary>Answer</summary>
#
# Not by this. The listeners heard the same clips, so their guesses are not independent: a few clips that sound real to
# everybody are enough for such a result. Draw anew who made each clip (a permutation test), or give everyone other
# clips.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Put your code in place of the `...` and run the cell: it says "right" when it is. Give numbers as Python computes
# them, not rounded: 1 part in 10,000 is the most that an answer may be off. Solutions are in the notebook
# [A6_solutions](A6_solutions.ipynb).
#
# **1 (easy).** Eight notes: four C, two E, one G, one B. What is their pitch-class entropy, in bits?

# %%
bits = ...

check("A5.1", bits)

# %% [markdown]
# **2 (easy).** You have 200 clips, 5 of each of 40 pieces, and the correlation between clips of one piece is 0.5. How
# many independent clips are they worth, by the rule of thumb?

# %%
worth = ...

check("A5.2", worth)

# %% [markdown]
# **3 (easy).** In a class of 30 nobody hears a difference; each makes 12 guesses between two. How likely is it that at
# least one of them has 10 or more right?

# %%
likely = ...

check("A5.3", likely)

# %% [markdown]
# **4 (medium).** A measure that notices *all equally loud*: the standard deviation of the loudness of the notes, as the
# values of a roll in the rows in which notes begin (numpy's `std`, which divides by n). Compute it for `some_clip`, as
# one number. (A note begins where a key is down and was not in the row before; before the first row there is silence.)
# Then put it to `sets`.

# %%
some_clip = B[0]
spread_of_loudness = ...

check("A5.4", spread_of_loudness, some_clip)

# %% [markdown]
# **5 (medium).** In a blind test with *three* choices (real, Mamba, LSTM) luck is right once in three. A listener is
# right 6 times in 10. From how many guesses on has her test always a power of 0.8 or more? (As before, luck must
# reach the needed number in less than 5 of 100 tests.)

# %%
enough_guesses = ...

check("A5.5", enough_guesses)

# %% [markdown]
# **6 (open).** Invent a measure that notices *upside down*, or *seconds shuffled*. (What does a bass do that a melody
# does not? What happens at the end of a phrase?) Put it as a ninth column into the table. Does it stay silent at *three
# keys up*? And what will it be blind to?
#
# ## Next
#
# [05_generation_and_playback](05_generation_and_playback.ipynb) has the studio in which you make clips for a test of
# your own, and `benchmarks/music.py` the tables for whole sets of models. [A6_solutions](A6_solutions.ipynb) has the
# exercises, solved.
#
# ## References
#
# - Li-Chia Yang and Alexander Lerch, *On the evaluation of generative models in music*, Neural Computing and
#   Applications 32, 2020 (online 2018): the overlap area. Its first code:
#   [mgeval](https://github.com/RichardYang40148/mgeval).
# - Shih-Lun Wu and Yi-Hsuan Yang, *The Jazz Transformer on the Front Line*, ISMIR 2020,
#   [arXiv 2008.01307](https://arxiv.org/abs/2008.01307): entropy and grooving similarity.
# - Olof Mogren, *C-RNN-GAN*, 2016, [arXiv 1611.09904](https://arxiv.org/abs/1611.09904): scale consistency. Hao-Wen
#   Dong et al., *MuseGAN*, AAAI 2018, [arXiv 1709.06298](https://arxiv.org/abs/1709.06298): qualified notes. Hao-Wen
#   Dong et al., *MusPy*, ISMIR 2020, [arXiv 2008.01951](https://arxiv.org/abs/2008.01951): a library of such measures.
# - Lucas Theis, Aäron van den Oord and Matthias Bethge, *A note on the evaluation of generative models*, ICLR 2016,
#   [arXiv 1511.01844](https://arxiv.org/abs/1511.01844): likelihood and the look of samples can disagree.
# - Ari Holtzman et al., *The Curious Case of Neural Text Degeneration*, ICLR 2020,
#   [arXiv 1904.09751](https://arxiv.org/abs/1904.09751): the likeliest text repeats itself.
# - Bradley Efron, *Bootstrap Methods: Another Look at the Jackknife*, The Annals of Statistics 7, 1979.
# - C. J. Clopper and E. S. Pearson, *The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial*,
#   Biometrika 26, 1934.
# - Herbert H. Clark, *The Language-as-Fixed-Effect Fallacy*, Journal of Verbal Learning and Verbal Behavior 12, 1973:
#   why the same items for all are a trap.
