# %% [markdown]
# # 05 · Generation and playback: a model that goes on by itself
#
# A trained model says how likely each key is in the next sixteenth of a second. To make music of that, toss a coin for
# each key, call the result the next row, and ask again. In this notebook you
#
# - write that loop, and hear what each of its knobs does: temperature, seed, chords, loudness,
# - see why a minute of music costs per row what a second costs,
# - carry music from a roll to a MIDI file and to your browser,
# - teach the model another style in a few minutes,
# - ask three hard questions: is the music any good, can you tell it from the real thing, and is it copied?
#
# You need notebooks 01 to 04, or at least some Python, numpy and the idea of a neural network; no music theory. It
# runs in about four minutes on two processor cores. If a player is a still picture, run the cells (▶▶ in the toolbar).

# %% tags=["nbval-ignore-output"]
import copy
import json
import os
import tempfile
import time
from math import comb

import matplotlib.pyplot as plt
import numpy as np
import torch

from midigen_utils.apps import blind_test, luck, studio
from midigen_utils.config import MIDI_CONFIG, SEQUENCE_LENGTH, scaled
from midigen_utils.data import MAJOR_SCALE, describe, load_corpus, load_piano_rolls, piano_roll_to_midi
from midigen_utils.data import pitch_class_histogram, read_notes, roll_to_notes
from midigen_utils.exercises import check
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn import evaluate, fit, fit_baselines, load_model
from midigen_utils.models import generate_from_random_seed, generate_music, generate_random_seed
from midigen_utils.show import BLUE, GREEN, GREY, NOTE_NAMES, ORANGE, play_piano_roll, player, plot_piano_roll

# %% [markdown]
# ## Settings
#
# As before: Bach's chorales, or after `make data` MAESTRO.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
PIECE = 7  # which piece of the validation split the model goes on from
CLIP = 12 * 16  # rows that are generated for listening: 12 s
TEMPERATURE = 1.0  # where nothing else is said
SEEDS = scaled(full=12, fast=5)  # pieces that are continued where one is not enough
LONG = scaled(full=24, fast=8)  # seconds over which we ask how long a seed is remembered
FRAMES = scaled(full=1500, fast=300)  # rows that are generated to take the time
TEACH = scaled(full=160, fast=6)  # training pieces from which the model learns the style of CORPUS
JUDGE = scaled(full=35, fast=5)  # validation pieces that tell how well it has learned it
EPOCHS = scaled(full=2, fast=1)  # how often it goes through them
CLIPS = scaled(full=20, fast=8)  # clips of each kind that are compared at the end

rolls, corpus = load_piano_rolls(load_corpus(CORPUS))
piece = corpus.split("validation")[PIECE]
plt.rcParams["figure.dpi"] = 80  # smaller pictures, for a smaller file

# %% [markdown]
# The course comes with a `MusicMamba` and a `MusicLSTM` that were trained for about two hours each on 399 of MAESTRO's
# performances: on pianists. We give the Mamba the first four seconds of a piece that it has never seen and let it go
# on.

# %% tags=["nbval-ignore-output"]
mamba = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
lstm = load_model(MIDI_DATA / "pretrained" / "lstm.pt")

seed = rolls["validation"][PIECE][:SEQUENCE_LENGTH]
music = generate_music(mamba, seed, 20 * 16, TEMPERATURE, random_seed=1)
player(music, title="MusicMamba", composer=f"after 4 s of {piece.title}", seed_frames=len(seed))

# %% [markdown]
# Orange is the seed, blue is new. Everything blue was drawn at random, one row after the other. How?
#
# ## Teacher forcing and free running
#
# In training the model read *real* rows. After each it had to say what comes next, and whatever it said, the next
# thing it read was what had really come. The teacher never lets go of the hand: this is called **teacher forcing**.
# When it generates, it reads what it wrote itself: **free running**. Let us look at both on one piece.


# %%
@torch.inference_mode()  # no gradients: nothing is trained here
def read(model, roll, hidden=None):
    """Logits of the row after each row of `roll` (B, T, 88), and what the model remembers."""
    return model(torch.from_numpy(roll > 0).float(), hidden)


# %%
real = rolls["validation"][PIECE][: SEQUENCE_LENGTH + CLIP]
logits, _ = read(mamba, real[None])  # (1, T, 88)
probability = torch.sigmoid(logits[0]).numpy()  # (T, 88); row t is about row t + 1 of the piece
forced = np.concatenate([real[:1], probability[:-1]])
free = generate_music(mamba, seed, CLIP, TEMPERATURE, random_seed=1)

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(3, 1, figsize=(10, 7), sharex=True, layout="constrained")
keys = np.flatnonzero(real.any(axis=0) | free.any(axis=0)) + 21
shown = {
    "the piece": real,
    "teacher forcing: the probability of each key, the truth known up to the row before": forced * (forced > 0.1),
    "free running: what the model makes of the first 4 s": free,
}
for ax, (title, roll) in zip(axes, shown.items()):
    plot_piano_roll(roll, ax=ax, title=title, pitch_range=(keys[0] - 2, keys[-1] + 2))
    ax.axvline(len(seed) / 16, color=ORANGE, linewidth=1)
    ax.set_xlabel("time (s)" if ax is axes[-1] else "")

# %% [markdown]
# What to see: in the middle, the model seems to know the piece. It does not. It is told the truth sixteen times a
# second, and "the same keys as before" is a good guess; look at the beginnings of notes, where the picture is pale or
# a row late. Below, right of the orange line, nobody corrects it, and it goes its own way.
#
# Its own way need not be a worse way. But it is another piece soon. We count the keys that two rolls have in common,
# second by second, over several pieces: `F1` is 1 when both have the same keys down.


# %%
def held_out(count, frames, split="validation"):
    """The first rows of some pieces of a split that are long enough and do not begin in silence: (B, frames, 88)."""
    chosen = [roll[:frames] for roll in rolls[split] if len(roll) >= frames and roll[:SEQUENCE_LENGTH].any()]
    return np.stack(chosen[:count])


def in_common(a, b):
    """F1 of the keys down in two batches of rolls (B, T, 88), for each second."""
    both, either = ((a > 0) & (b > 0)).sum((0, 2)), (a > 0).sum((0, 2)) + (b > 0).sum((0, 2))
    return 2 * both.reshape(-1, 16).sum(1) / np.maximum(either.reshape(-1, 16).sum(1), 1)


# %%
truth = held_out(SEEDS, SEQUENCE_LENGTH + CLIP)
logits, _ = read(mamba, truth)
one_step = np.concatenate([truth[:, :1], (logits > 0).numpy()[:, :-1]], axis=1)  # logit above 0: more likely than not
alone = generate_music(mamba, truth[:, :SEQUENCE_LENGTH], CLIP, TEMPERATURE, random_seed=0)
others = np.roll(truth, 1, axis=0)

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
second = np.arange(len(truth[0]) // 16) + 0.5
for name, roll, colour in (
    ("teacher forcing", one_step, ORANGE),
    ("free running", alone, BLUE),
    ("another real piece", others, GREY),
):
    ax.plot(second, in_common(truth, roll), "o-", color=colour, markersize=3, label=name)
ax.axvline(len(seed) / 16, color=GREY, linewidth=1, linestyle="--")
ax.set(xlabel="time (s); the seed ends at the dashed line", ylabel="keys in common (F1)", ylim=(0, 1.05))
_ = ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %%
assert in_common(truth, one_step)[-4:].mean() > in_common(truth, alone)[-4:].mean() + 0.1

# %% [markdown]
# What to see: with the teacher the line stays high to the end. Free, it falls from 1 (the seed is the piece) towards
# the grey line: after some seconds what the model plays has no more in common with the piece than another piece has.
# That is no fault: there are many ways to go on. But it means that a model is never *trained* on what it reads when it
# generates, its own rows with its own mistakes, and one odd row can lead to the next. The gap has a name, **exposure
# bias** (Ranzato et al. 2016), and cures that feed the model some of its own rows in training (Bengio et al. 2015). We
# do without.
#
# ## The loop
#
# Here is all of generation. `hidden` is the model's memory from notebook 04: given back, the model goes on where it
# stopped, so after the seed it reads one row at a time.


# %%
@torch.inference_mode()
def go_on(model, seed, num_frames, temperature=1.0, random_seed=0):
    """The keys down in `num_frames` rows after a seed: (num_frames, 88) of True and False."""
    coins = np.random.default_rng(random_seed).random((num_frames, 88))  # numbers between 0 and 1, one for each cell
    x, hidden = torch.from_numpy(seed > 0).float()[None], None  # (1, S, 88): the whole seed at once
    frames = []
    for coin in torch.from_numpy(coins):
        logits, hidden = model(x, hidden)
        frame = coin < torch.sigmoid(logits[0, -1] / temperature)  # (88,): down with exactly this probability
        frames.append(frame)
        x = frame.float()[None, None]  # (1, 1, 88): what was drawn is read next
    return torch.stack(frames).numpy()


# %% [markdown]
# A number between 0 and 1 lies below 0.3 in three of ten cases: so `coin < p` is a coin that shows heads with
# probability `p`. The twin in the package is `generate_music(..., head="keys")`. It draws its coins in the same order,
# row by row and key by key; so from the same random seed both must press the same keys.

# %%
mine = go_on(mamba, seed, 64, TEMPERATURE, random_seed=3)
theirs = generate_music(mamba, seed, 64, TEMPERATURE, head="keys", random_seed=3)
assert np.array_equal(mine, theirs[len(seed) :] > 0)

# %% [markdown]
# What does the package's version add? It goes on from several seeds at once; it computes a single row in numpy, which
# is faster than torch for so little work (`midigen_utils/models/numpy_engine.py`); it knows how hard keys are struck;
# and it can decide a whole chord instead of 88 coins.
#
# ### 88 coins, or one chord?
#
# Each key has a coin of its own. Suppose that a C is as likely next as the B beside it, one *or* the other: two coins
# sometimes give both, and sometimes neither. A chord is one decision. So the pretrained models carry a second head that
# spells the row from the lowest key up: having found one note, it looks again before it goes on to the next. The file
# `midigen_utils/models/chords.py` holds it, and the appendix [A2](A2_chords.ipynb) builds it by hand. Here we listen to
# the same model, first with 88 coins, then chord by chord, as `free` above was drawn already (`head="chords"`, for this
# model the default).

# %% tags=["nbval-ignore-output"]
coins = generate_music(mamba, seed, CLIP, TEMPERATURE, head="keys", random_seed=1)
player(coins, title="88 coins", seed_frames=len(seed))

# %% tags=["nbval-ignore-output"]
player(free, title="A chord as one decision", seed_frames=len(seed))

# %% [markdown]
# To measure what you hear, we count clashes: neighbouring keys struck in the same row. Two neighbours are a *minor
# second*, the harshest of all pairs, and what careless coins would give.


# %%
def clashes(clips):
    """Notes per second, and pairs of neighbouring keys struck together per 100 notes, of clips (B, T, 88)."""
    down = np.pad(clips > 0, ((0, 0), (1, 0), (0, 0)))  # a silent row in front of each
    struck = down[:, 1:] & ~down[:, :-1]
    pairs = struck[..., 1:] & struck[..., :-1]
    return 16 * struck.sum() / (len(clips) * clips.shape[1]), 100 * pairs.sum() / max(struck.sum(), 1)


# %% tags=["nbval-ignore-output"]
begin = truth[:, :SEQUENCE_LENGTH]
by_head = {"real": truth[:, SEQUENCE_LENGTH:]}
for head in ("keys", "chords"):
    both = generate_music(mamba, begin, CLIP, TEMPERATURE, head=head, random_seed=0)
    by_head[head] = both[:, SEQUENCE_LENGTH:]
print("         notes per second  clashes per 100 notes")
for name, some in by_head.items():
    speed, clash = clashes(some)
    print(f"{name:<8} {speed:16.1f} {clash:22.2f}")

# %% [markdown]
# Read the last column: which head is nearer to real music? And the first: coins that do not know of each other also
# let keys flicker, down for a row and up again, and each flicker counts as a note. (The line "real" is of this
# notebook's corpus, and the model learned from pianists: with chorales, do not expect its speed to be theirs.) And a
# word for the coins: the memory of this model was trained for chords, and they read it on the side. From here on
# `generate_music` takes the head that the model was trained for: chords.
#
# ## Temperature
#
# How bold shall the music be? Before the sigmoid the logit can be divided by a **temperature**. What does that do to a
# coin?

# %% tags=["nbval-check-output"]
toy = np.array([0.02, 0.5, 0.95])
logit = np.log(toy / (1 - toy))  # the sigmoid, undone
for temperature in (0.5, 1.0, 1.5):
    print(f"temperature {temperature}:", *(f"{p:8.4f}" for p in 1 / (1 + np.exp(-logit / temperature))))

# %% [markdown]
# At 1 the probabilities are what the model says. Below 1 each is pushed away from a half: the likely becomes almost
# sure, the unlikely almost impossible. Above 1 all move towards a half, and surprises become frequent. At 0.5 the coin
# of 2 in 100 is left with 4 in 10,000.
#
# > **A trap.** In a text every step is a new word, and a low temperature gives careful prose. Here most rows repeat
# > the row before, so "nothing changes" is the likely thing, and the start of a note always has a small probability.
# > With coins, a low temperature forbids exactly that. What do you expect to hear?

# %% tags=["nbval-ignore-output"]
frozen = generate_music(mamba, seed, CLIP, 0.5, head="keys", random_seed=1)
player(frozen, title="88 coins at temperature 0.5", seed_frames=len(seed))

# %% [markdown]
# ### What, and not when
#
# Cold coins do not make careful music. They make time stand still. What we want is another question: *if as many keys
# go down and come up as the model likes, which ones?* So with chords `generate_music` does it in two steps:
#
# 1. draw a row at temperature 1; it says **when** something happens: so many keys go down, so many come up,
# 2. draw 32 more, keep those in which as many do, and take one of them, at low temperatures the most likely: **what**.
#
# A row with probability `p` gets the weight `p ** (1 / temperature - 1)`. Why this exponent? The rows were drawn with
# `p` already, and `p` times that is `p ** (1 / temperature)`: what a temperature does to a coin, but for a whole row.

# %% tags=["nbval-check-output"]
p = np.array([0.6, 0.3, 0.1])  # three rows in which one key goes down
for temperature in (0.5, 1.0, 1.5):
    weight = p * p ** (1 / temperature - 1)
    print(f"temperature {temperature}:", *(f"{share:6.2f}" for share in weight / weight.sum()))

# %% tags=["nbval-ignore-output"]
player(generate_music(mamba, seed, CLIP, 0.5, random_seed=2), title="Chords, 0.5", seed_frames=len(seed))

# %% tags=["nbval-ignore-output"]
player(generate_music(mamba, seed, CLIP, 0.8, random_seed=2), title="Chords, 0.8", seed_frames=len(seed))

# %% tags=["nbval-ignore-output"]
player(generate_music(mamba, seed, CLIP, 1.2, random_seed=2), title="Chords, 1.2", seed_frames=len(seed))

# %% [markdown]
# One clip each is an anecdote. Three numbers, a row of temperatures, both heads, and several seeds. The third number
# asks how much the notes belong together. From its first note, the root, a **major scale** takes the keys 0, 2, 4, 5,
# 7, 9 and 11 higher, and the same in every octave: seven of the twelve kinds of note (*pitch classes*). There are
# twelve such scales, one from each root. We count the share of the notes that lies in one of them, the best.


# %%
def activity(clip):
    """Notes per second, keys down on average, and the share of the notes (in percent) that one scale holds."""
    measures = describe(clip, MIDI_CONFIG)
    return measures["note_density"], (clip > 0).sum(axis=1).mean(), 100 * measures["scale_consistency"]


# %%
temperatures = [0.5, 0.7, 0.8, 0.9, 1.0, 1.2]
measured = {"keys": [], "chords": []}  # (temperatures, seeds, 3) each
for head in measured:
    for temperature in temperatures:
        clips = generate_music(mamba, begin, CLIP, temperature, head=head, random_seed=0)[:, SEQUENCE_LENGTH:]
        measured[head].append([activity(clip) for clip in clips])
of_real = np.array([activity(clip) for clip in by_head["real"]])

maestro = json.loads((MIDI_DATA / "maestro_statistics.json").read_text(encoding="utf-8"))["histograms"]["note_density"]
share = np.cumsum(maestro["counts"]) / sum(maestro["counts"])
pianists = np.interp(0.5, share, maestro["edges"][1:])  # notes per second: half of the pianists play more

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
for i, (ax, label) in enumerate(zip(axes, ("notes per second", "keys down", "notes in the best scale (%)"))):
    for (head, values), colour in zip(measured.items(), (GREY, BLUE)):
        ax.plot(temperatures, np.nanmedian(np.array(values)[:, :, i], axis=1), "o-", color=colour, label=head)
    ax.axhline(np.median(of_real[:, i]), color=ORANGE, linestyle=":", label=f"real ({CORPUS})")
    ax.set(xlabel="temperature", ylabel=label)
axes[0].axhline(pianists, color=GREEN, linestyle="--")
axes[2].plot([], [], color=GREEN, linestyle="--", label="real (MAESTRO)")
for ax in axes[:2]:
    ax.set_ylim(bottom=0)
_ = axes[2].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %%
speed = {head: np.median(np.array(values)[:, :, 0], axis=1) for head, values in measured.items()}
assert speed["keys"][0] < 0.5 * speed["keys"][-1]  # cold coins stand still
assert speed["chords"][0] > 2 * speed["keys"][0]  # cold chords do not

# %% [markdown]
# What to see: follow the grey lines from right to left. The colder the coins, the fewer notes. Now the blue ones:
# they are nearly level in the first picture, so the temperature no longer turns the tempo; and in the third, colder
# music on the whole keeps more to one scale. (Do not read the grey line there: a handful of notes always fits some
# scale. And with chords the temperature also acts on how hard keys are struck.) Guides to generation often say: 0.5 to
# 0.6 for coherent music, 0.8 for a balance, 1.0 and more to be creative. With chords you can read it off the blue lines
# and hear it; with coins it does not hold. And the green line is the tempo of the pianists who taught the model (from
# the statistics of notebook 01): a model that has learned well needs no correction, 1.0 *is* its opinion of music.
# Another cure cuts off what is unlikely and leaves the rest alone (Holtzman et al. 2020); exercise 5 is one.
#
# ## Seeds
#
# A model that has heard nothing has nothing to go on from. The seed sets the scene: who, which tonality, how loud.
# And how fast? We shall see. Five of them: an opening, the same opening three semitones higher, at another tempo, a
# random pattern, and silence. (From the opening itself you have heard it: "A chord as one decision".)

# %%
whole = rolls["validation"][PIECE]
seeds = {
    "the opening": seed,
    "three semitones higher": np.roll(seed, 3, axis=1),  # the top three keys are silent: nothing comes in at the bottom
    "half as fast": np.repeat(whole, 2, axis=0)[:SEQUENCE_LENGTH],
    "random pattern": generate_random_seed(random_seed=0),
    "silence": np.zeros((SEQUENCE_LENGTH, 88), dtype=np.float32),
}
assert not seed[:, -3:].any()
continued = {name: generate_music(mamba, some, CLIP, TEMPERATURE, random_seed=1) for name, some in seeds.items()}

# %% tags=["nbval-ignore-output"]
player(continued["three semitones higher"], title="From three semitones higher", seed_frames=SEQUENCE_LENGTH)

# %% tags=["nbval-ignore-output"]
player(continued["half as fast"], title="From half the tempo", seed_frames=SEQUENCE_LENGTH)

# %% tags=["nbval-ignore-output"]
player(continued["random pattern"], title="From a random pattern", seed_frames=SEQUENCE_LENGTH)

# %% tags=["nbval-ignore-output"]
player(continued["silence"], title="From silence", seed_frames=SEQUENCE_LENGTH)

# %% [markdown]
# `generate_random_seed` scatters a few short chords. It belongs to no style, so what follows is what the model falls
# back on. The two steps in one are `generate_from_random_seed`:

# %%
twice = generate_from_random_seed(mamba, 32, random_seed=0), generate_from_random_seed(mamba, 32, random_seed=0)
assert np.array_equal(*twice) and np.array_equal(twice[0][:64], generate_random_seed(random_seed=0))

# %% [markdown]
# Does the music keep to the tonality of its seed? We look for the major scale that holds most of the seed, and count
# how many of the new notes lie in it, too.


# %%
def in_scale(notes, root):
    """Share of the notes that lie in the major scale on a root, 0 for C up to 11 for B."""
    counts = pitch_class_histogram(notes)
    return counts[(MAJOR_SCALE + root) % 12].sum() / max(counts.sum(), 1)


# %% tags=["nbval-ignore-output"]
print("seed               its scale  seed in it  the rest in it  notes/s: seed  rest")
for name, roll in continued.items():
    first, rest = (roll_to_notes(part, MIDI_CONFIG, 0) for part in (roll[:SEQUENCE_LENGTH], roll[SEQUENCE_LENGTH:]))
    root = max(range(12), key=lambda root: (in_scale(first, root), pitch_class_histogram(first)[root]))
    shares = f"{100 * in_scale(first, root):8.0f} % {100 * in_scale(rest, root):13.0f} %"
    speeds = f"{16 * len(first.start) / SEQUENCE_LENGTH:13.1f} {16 * len(rest.start) / CLIP:5.1f}"
    print(f"{name:<18} {NOTE_NAMES[root]:<9} {shares} {speeds}")

# %% [markdown]
# Read it line by line. (7/12, 58 %, is what keys pressed at random would have. In silence no
# scale fits better than another, and the table names the first, C. Of two scales that fit equally well we take the one
# whose root is heard more often.) Does the slow seed make slow music? (In our run there are about half as many notes a
# second after it as after the opening, but more than after the same opening three semitones higher: a single take says
# little.)
#
# ### How long does a seed last?
#
# Which of the twelve pitch classes sound, and for how long, is a fingerprint of a piece: twelve numbers. We compare
# the fingerprint of the seed with that of every two seconds after it, by the cosine of the angle between them: 1 is
# the same mixture, 0 nothing in common.

# %%
FOLD = np.eye(12)[(np.arange(88) + 21) % 12]  # (88, 12): the pitch class of each key


def likeness(seeds, music):
    """Cosine between the fingerprints of seeds (B, S, 88) and of every two seconds of music: (B, T / 32)."""
    seeds, music = ((some > 0) @ FOLD for some in (seeds, music))  # (B, S, 12), (B, T, 12)
    a, b = seeds.sum(1, keepdims=True), music.reshape(len(music), -1, 32, 12).sum(2)  # (B, 1, 12), (B, T / 32, 12)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.divide((a * b).sum(-1), lengths, out=np.full(lengths.shape, np.nan), where=lengths > 0)


# %%
truth = held_out(SEEDS, SEQUENCE_LENGTH + LONG * 16)
begin, after = truth[:, :SEQUENCE_LENGTH], truth[:, SEQUENCE_LENGTH:]
made = generate_music(mamba, begin, LONG * 16, TEMPERATURE, random_seed=0)[:, SEQUENCE_LENGTH:]
curves = {
    "as the piece goes on": (likeness(begin, after), ORANGE),
    "as the model goes on": (likeness(begin, made), BLUE),
    "other pieces": (likeness(begin, np.roll(after, 1, axis=0)), GREY),
}

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for name, (values, colour) in curves.items():
    ax.plot(
        1 + 2 * np.arange(values.shape[1]), np.nanmean(values, axis=0), "o-", color=colour, markersize=3, label=name
    )
ax.set(xlabel="time after the seed (s)", ylabel="likeness to the seed", ylim=(0, 1))
_ = ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %%
near, far = (np.nanmean(curves[name][0][:, 0]) for name in ("as the model goes on", "other pieces"))
assert near > far - 0.1, "right after the seed the model is no farther from it than another piece is"

# %% [markdown]
# What to see: where the blue line has come down to the grey one, the seed is forgotten, as far as its notes go. In our
# run that is not before the end. Real pieces
# wander as well, but they come home: the orange line says how much of that there is in this corpus. A model can only
# keep what its state holds, and training puts there what helps with the *next* row.
#
# ## What a row costs
#
# How large is that state, and does it grow? It is what `hidden` holds, four layers of it:

# %% tags=["nbval-check-output"]
for rows in (64, 640):
    _, hidden = read(mamba, np.zeros((1, rows, 88)))
    print(rows, "rows read, numbers kept:", sum(part.numel() for layer in hidden for part in layer))

# %% [markdown]
# It does not grow, so neither does the work: read one row, change the state, forget the row. The alternative is to
# read everything again for each new row; a model without a state would have to, or would have to store something for
# every row that it has read. We take the time of both, after a short past and after longer ones.


# %%
def milliseconds(function, *given, repeats=7):
    """How long a call takes: the shortest of some, for other programs can only make it longer."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*given)
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


# %%
pasts, again, step = [16, 64, 256, 1024], [], []
past = np.resize(whole, (1, max(pasts), 88))  # the piece, again and again if it is too short
for rows in pasts:
    _, hidden = read(mamba, past[:, :rows])
    again.append(milliseconds(read, mamba, past[:, :rows]))
    step.append(milliseconds(read, mamba, past[:, -1:], hidden))

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.plot(pasts, again, "o-", color=ORANGE, label="read everything again")
ax.plot(pasts, step, "o-", color=BLUE, label="one row, with hidden")
ax.axhline(1000 / 16, color=GREY, linestyle=":", label="a row lasts 62.5 ms")
ax.set(xscale="log", yscale="log", xlabel="rows so far", ylabel="time for the next row (ms)")
ax.set_xticks(pasts, pasts)
_ = ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %%
assert again[-1] > 4 * step[-1] and step[-1] < 5 * step[0]

# %% [markdown]
# What to see: the orange line climbs with the length of the past (both axes are logarithmic), the blue one stays
# level. Below the dotted line the model is faster than the music. `generate_music` does the blue thing. Its own time
# per row, early and late in a long piece, from the function that it calls after each:

# %% tags=["nbval-ignore-output"]
stamps = []
generate_music(
    mamba, seed, FRAMES, TEMPERATURE, random_seed=0, on_frame=lambda done: stamps.append(time.perf_counter())
)
each = 1000 * np.diff(stamps)
for name, part in (("first", each[:100]), ("last", each[-100:])):
    print(f"{name:<5} 100 rows: {np.median(part):.2f} ms a row, {62.5 / np.median(part):.0f} times as fast as it plays")

# %%
assert min(each[-100:]) < 3 * min(each[:100])

# %% [markdown]
# (Rows with more notes take longer, because the chord head looks once more for every note. That has to do with the
# music, and not with how much of it there is already.)
#
# ## Loud and soft
#
# So far the model decided *which* keys. How hard they are struck is drawn by a third head: whenever a key goes down,
# the velocity head chooses one of 32 steps of loudness, knowing what the model knows, which keys go down together and
# how loud the last notes were. Here are the same notes without its work, all equally loud. Compare with the very first
# player of this notebook.

# %% tags=["nbval-ignore-output"]
flat = (music > 0) * music[music > 0].mean()
player(flat, title="MusicMamba, all equally loud", seed_frames=len(seed))

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(2, 1, figsize=(10, 4), sharex=True, sharey=True, layout="constrained")
for ax, roll, title in zip(axes, (whole, music), (f"{piece.title}, as it goes on", "as the model goes on")):
    notes = roll_to_notes(roll[: len(music)], MIDI_CONFIG, velocity_threshold=0)
    ax.scatter(notes.start, notes.velocity, s=10, c=np.where(notes.start < 4, ORANGE, BLUE))
    ax.set(ylabel="velocity", title=title, ylim=(0, 128))
_ = axes[1].set_xlabel("onset (s)")

# %%
struck = roll_to_notes(music[len(seed) :], MIDI_CONFIG, velocity_threshold=0).velocity
assert len(np.unique(struck)) > 3, "a model with a velocity head plays loud and soft"

# %% [markdown]
# What to see: every dot is a note, orange in the seed. Does the model stay at the loudness that the seed had? Do its
# notes swell and fade together, as a phrase does, or does each jump by itself?
#
# ## From the roll to a file
#
# `piano_roll_to_midi` of notebook 02 writes what we have. Mind its threshold: the default of 0.3 is for tables of
# probabilities. In a generated roll, 0.2 is not "probably not" but "softly":

# %% tags=["nbval-ignore-output"]
for name, roll in (("generated", music), (piece.title, whole)):
    played, kept = (len(roll_to_notes(roll, MIDI_CONFIG, threshold).start) for threshold in (0, 0.3))
    print(f"{played:5d} notes, {played - kept:3d} of them lost at the default threshold: {name}")

# %% [markdown]
# So pass 0. Whatever the course generates goes to the folder `midi_data/generated`; from there any music program can
# open it.

# %% tags=["nbval-check-output"]
path = MIDI_DATA / "generated" / "05_first_sample.mid"
piano_roll_to_midi(music, MIDI_CONFIG, path, velocity_threshold=0)
back = read_notes(path)
there = roll_to_notes(music, MIDI_CONFIG, velocity_threshold=0)
assert np.array_equal(back.pitch, there.pitch) and np.array_equal(back.velocity, there.velocity)
print("written:", path.relative_to(MIDI_DATA.parent).as_posix())

# %% [markdown]
# ### And to your ears
#
# `play_piano_roll` computes samples, with FluidSynth where it is installed and with a small piano of our own
# elsewhere, and puts them into the notebook. Four seconds, at the sample rate of a telephone to save room:

# %% tags=["nbval-ignore-output"]
audio = play_piano_roll(music[:64], MIDI_CONFIG, sample_rate=8000)
audio

# %%
sound, drawn = len(audio._repr_html_()), len(player(music[:64]).html)
print(f"samples {sound // 1000} KB, player {drawn // 1000} KB, for the same 4 s")
assert sound > 3 * drawn

# %% [markdown]
# The `player` that you have used all along sends *notes*; your browser makes the sound when you press play. A minute
# of music adds some kilobytes to it, and a few megabytes to samples. It is one piece of HTML without anything from
# the network: `player(...).save("page.html")` makes a page that you can send to a friend.
#
# ## The same model, another style
#
# The pretrained weights have heard pianists. Chorales are another world: four voices, steady steps, no pedal. Must one
# begin anew? No: much of what the model knows (keys come up again, scales, chords) holds for all music. We take a copy
# and go on training on the pieces of our corpus, with smaller steps than at the start, so that the old knowledge is
# bent and not broken. This is called **fine-tuning**. (With `CORPUS = "maestro"` there is nothing new to learn: the
# same cells go on with the music that the model knows already. Expect a small change, either way.)
#
# How good is it before? As in the notebooks before this, nats per row on the validation split, lower is better.

# %%
few = {"train": rolls["train"].spread(TEACH), "validation": rolls["validation"].spread(JUDGE)}
markov = evaluate(fit_baselines(rolls["train"])["Markov-1"], few["validation"])
before = evaluate(mamba, few["validation"])

# %% tags=["nbval-ignore-output"]
taught = copy.deepcopy(mamba)
with tempfile.TemporaryDirectory() as folder:
    settings = dict(stride=64, batch_size=16, learning_rate=5e-4, folder=folder)
    history = fit(taught, few, EPOCHS, **settings)
after = evaluate(taught, few["validation"])

# %% tags=["nbval-ignore-output"]
print("nats per row on validation    all  where something changes")
for name, scores in (("Markov-1", markov), ("before", before), ("after", after)):
    print(f"{name:<26} {scores['nll']:6.2f} {scores['nll_change']:24.2f}")

# %%
assert after["nll"] < before["nll"] + 0.5

# %% [markdown]
# One caution: Markov-1 is scored as 88 separate coins, the Mamba by its chord head, which knows the lower keys of a row
# while it judges the higher ones. Part of its lead is that. The lines *before* and *after* are scored alike.
#
# Markov-1 looks at one row only, but it knows the right style. Was the pretrained model better than that, before it
# had seen a single piece of the corpus? And after? Now to the ear, from the same seed, with the same random numbers:

# %% tags=["nbval-ignore-output"]
player(free, title="Before", composer="taught by pianists", seed_frames=len(seed))

# %% tags=["nbval-ignore-output"]
learned = generate_music(taught, seed, CLIP, TEMPERATURE, random_seed=1)
player(learned, title="After", composer=f"taught by {CORPUS}", seed_frames=len(seed))

# %% [markdown]
# ## The studio
#
# Enough code: play with it. Choose a model, a beginning, a temperature and a length, press Generate, and compare
# takes. (What you see on a web page is one line of text: run the cell to get the controls.) Nothing in it is more
# than you have seen. Under each take stands the Python that makes the same music, and it is a call that you know:
# `generate_music(model, seed, num_frames, temperature=..., random_seed=...)`.

# %% tags=["nbval-ignore-output"]
models = {"MusicMamba": mamba, f"MusicMamba, taught {CORPUS}": taught, "MusicLSTM": lstm}
studio(models, corpus)

# %% [markdown]
# ## Is the music any good?
#
# The loss says how well a model foretells a real row. It does not say how its own music sounds after ten seconds
# alone. So we measure *music*: how many notes, how many at once, how faithful to a scale, how steady. And we compare
# clips with clips. From the test split, by which no model was trained or chosen, we cut places of a seed and a clip.
# They go in turn to two halves. The models continue the seeds of the second half, and all is compared with the first.

# %%
size = SEQUENCE_LENGTH + CLIP
places = [roll[i : i + size] for roll in rolls["test"] for i in range(0, len(roll) - size + 1, size)]
chosen = np.linspace(0, len(places) - 1, 2 * CLIPS).round().astype(int)
pairs = np.stack([places[i] for i in chosen]).reshape(CLIPS, 2, size, 88)  # neighbours, in the order of time
pairs[1::2] = pairs[1::2, ::-1].copy()  # every other pair turned round: neither half holds all the openings
first, second = pairs[:, 0], pairs[:, 1]  # (CLIPS, size, 88) each
seeds = second[:, :SEQUENCE_LENGTH]

# %%
clips = {"real": first[:, SEQUENCE_LENGTH:], "real, other half": second[:, SEQUENCE_LENGTH:]}
for name, model in {"Mamba, taught": taught, "Mamba, pianists": mamba, "LSTM, pianists": lstm}.items():
    clips[name] = generate_music(model, seeds, CLIP, TEMPERATURE, random_seed=0)[:, SEQUENCE_LENGTH:]
pattern = [[generate_random_seed(3 * i + k) for k in range(3)] for i in range(CLIPS)]
clips["random pattern"] = np.array(pattern).reshape(CLIPS, CLIP, 88)

# %% [markdown]
# The package's `describe` measures a roll. Of its numbers we take six: notes per second; keys down at once; how
# evenly the twelve pitch classes are used, as entropy (3.6 bits: all alike); the share of notes in the best major
# scale; how alike the rhythms of neighbouring stretches of 2 s are ("groove"); the share of notes that last three
# rows or more ("long").

# %%
MEASURES = {
    "note_density": "notes/s",
    "polyphony": "keys down",
    "pitch_class_entropy": "entropy",
    "scale_consistency": "in scale",
    "groove_consistency": "groove",
    "qualified_note_rate": "long notes",
}
values = {}  # name: (CLIPS, measures)
for name, some in clips.items():
    rows = [describe(clip, MIDI_CONFIG) for clip in some]
    values[name] = np.array([[row[measure] for measure in MEASURES] for row in rows])

# %% tags=["nbval-ignore-output"]
print("mean ± spread   ", *(f"{short:>13}" for short in MEASURES.values()))
for name, table in values.items():
    mean, spread = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
    print(f"{name:<16}", *(f"{m:6.2f} ± {s:4.2f}" for m, s in zip(mean, spread)))

# %% [markdown]
# A mean can hide much: a model that writes half its clips silent and half crowded is right on average. So compare
# whole distributions. We draw each as a smooth hill, one small bump for each clip, and ask how much of the area of two
# hills is shared.


# %%
def hill(values, grid):
    """A density: Gaussian bumps at the values, as wide as Scott's rule says. NaN (a silent clip) has no bump."""
    known = values[~np.isnan(values)]
    width = max(known.std() * len(known) ** -0.2, grid[1] - grid[0])
    bumps = np.exp(-0.5 * ((grid[:, None] - known) / width) ** 2)
    return bumps.sum(1) / (len(values) * width * np.sqrt(2 * np.pi))


def overlap(a, b):
    """The area under both hills: 1 for the same distribution, 0 for no value in common."""
    both = np.concatenate([a, b])
    low, high, margin = np.nanmin(both), np.nanmax(both), np.nanstd(both) + 1e-3
    grid = np.linspace(low - 3 * margin, high + 3 * margin, 1000)
    return np.minimum(hill(a, grid), hill(b, grid)).sum() * (grid[1] - grid[0])


# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
colours = {"real": ORANGE, "Mamba, taught": BLUE, "Mamba, pianists": GREEN, "random pattern": GREY}
for ax, (column, label) in zip(axes, ((0, "notes per second"), (3, "share of the notes in the best scale"))):
    everything = np.concatenate([values[name][:, column] for name in colours])
    low, high = np.nanmin(everything), np.nanmax(everything)
    grid = np.linspace(low - 0.2 * (high - low), high + 0.2 * (high - low), 400)
    for name, colour in colours.items():
        ax.plot(grid, hill(values[name][:, column], grid), color=colour, label=name)
    ax.set(xlabel=label, ylabel="density", ylim=(0, None))
_ = axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))

# %% tags=["nbval-ignore-output"]
print("overlap with: real    mean", *(f"{short:>11}" for short in MEASURES.values()))
means = {}
for name in list(clips)[1:]:
    areas = [overlap(a, b) for a, b in zip(values["real"].T, values[name].T)]
    means[name] = np.mean(areas)
    print(f"{name:<18} {means[name]:7.2f}", *(f"{area:11.2f}" for area in areas))

# %%
assert means["real, other half"] > means["random pattern"] + 0.1, "the measures can tell music from a pattern"

# %% [markdown]
# What to see: the line "real, other half" is the ceiling. Real music is compared with other real music, and it does
# not reach 1, because so few clips differ by chance. What reaches this line could not be told from real music *by
# these measures*, one at a time, with so few clips. (And neighbouring clips often come from one piece, which makes
# the two halves more alike.) The last line is the floor, in the mean: in a single column a pattern may be right by
# accident. Where are the models? Did the lesson in the style of the corpus bring the Mamba nearer to the ceiling?
# (The pianists' Mamba plays about as many notes a second as pianists do, and so nearly twice as many as a choir: who
# knows pianists better need not be nearer to Bach.) The two pianists' models had different trainings, so their lines
# do not say which kind of network is better.
#
# These measures are blind to much. A clip with the right density, in the right scale, can still make no sense; so a
# low value says that something is wrong, and a high one says little. `benchmarks/music.py` goes deeper: more clips,
# the distances of Yang and Lerch, and what noise can get away with. Or one listens.
#
# ## Can you tell?
#
# A **blind test** plays clips without a name, and you say who made each. What would count as success? Who cannot hear
# any difference guesses, and is right half of the time, by luck sometimes more. How likely is it to have 8 of 10
# right by luck alone? `comb(10, 8)` is the number of ways to choose which eight; each way has the probability 0.5 for
# each of the ten guesses. Add up those for 8, 9 and 10:

# %% tags=["nbval-check-output"]
by_hand = sum(comb(10, right) * 0.5**right * 0.5 ** (10 - right) for right in (8, 9, 10))
print(f"8 or more of 10 by luck: {by_hand:.4f}, the package says {luck(8, clips=10, choices=2):.4f}")
for right in range(6, 11):
    print(f"{right:2d} or more of 10: {100 * luck(right, 10, 2):5.1f} %")

# %%
assert abs(by_hand - luck(8, 10, 2)) < 1e-12

# %% [markdown]
# Nine of ten is rarely luck. Eight might be. And few guesses prove little the other way, too: who really hears the
# difference seven times in ten gets nine or more of ten in 15 of 100 tests only. The seeds are left out of the
# generated clips, for they are real. Run the cell, listen, press a button after each clip; at the end you see who
# made what, and what luck would have done.

# %% tags=["nbval-ignore-output"]
blind_test({"real": list(clips["real"][:10]), "MusicMamba": list(clips["Mamba, taught"][:10])})

# %% [markdown]
# A test of one listener who knows the model is a game. A serious one asks many people, tells them nothing, and counts
# all of them.
#
# ## Is it copying?
#
# A model that has learned its pieces by heart would be judged well by all of the above. So we look for long stretches
# of its music in the training set. To find them at any pitch, we write a piece as *steps*: from each note struck to the
# next, so many keys up or down. One letter for each step makes a piece a word, and Python finds words in texts.


# %%
def steps(roll):
    """The steps from note to note as a text, one letter each; the same for the piece moved up or down."""
    pitch = roll_to_notes(roll, MIDI_CONFIG, velocity_threshold=0).pitch  # in order of onset, then of pitch
    return "".join(chr(200 + step) for step in np.diff(pitch))


def longest_copy(text, library):
    """How many letters in a row of a text stand somewhere in a library, at most."""
    longest = start = 0
    for end in range(1, len(text) + 1):
        while text[start:end] not in library:
            start += 1
        longest = max(longest, end - start)
    return longest


# %% [markdown]
# A toy first (which five letters does it find?), then a test: a stretch of a training piece, moved up by two keys,
# must be found whole.

# %% tags=["nbval-check-output"]
print(longest_copy("a new word", library="some old words, anew"))

# %%
library = "\n".join(steps(roll) for roll in rolls["train"])  # a line for each piece
stolen = np.roll(rolls["train"][3][:CLIP], 2, axis=1)
assert longest_copy(steps(stolen), library) == len(steps(stolen))

# %% tags=["nbval-ignore-output"]
copied = {name: [longest_copy(steps(clip), library) for clip in some] for name, some in clips.items()}
print("longest run of steps that the training set has    median  longest  notes in a clip")
for name, runs in copied.items():
    notes = np.median([len(steps(clip)) + 1 for clip in clips[name]])
    print(f"{name:<49} {np.median(runs):6.0f} {max(runs):8d} {notes:16.0f}")

# %%
assert np.median(copied["Mamba, taught"]) < 2 * np.median(copied["real"]), "the model recites its training set"

# %% [markdown]
# This finds exact copies only, note for note; a copy with one note changed is two short runs. Read the lines of the
# real clips first. They are from pieces that no model has seen, and even they share runs with
# the training set: cadences, scales, repeated notes belong to everyone. A model copies if its runs are clearly
# *longer* than those. Short training on much music rarely leads there; many epochs on a few pieces do, and exercise 6
# lets you see it. (The pianists' models are compared with the pieces of this corpus. If it is not MAESTRO, they have
# never seen them.)
#
# ## What is still missing
#
# - **Form.** Nothing is stated, developed and brought home; the music goes on until the rows run out.
# - **Themes that come back.** A melody of twenty seconds ago would have to lie in the state, beside all that came
#   since; nothing makes the model keep it there.
# - **Metre.** The grid is in seconds; nobody told the model where a bar begins, and it does not keep one for long.
# - **Phrase endings.** It rarely comes to rest at a chord that sounds like an end, and when it does, it goes on as if
#   not.
# - **Hands.** No rule says that ten fingers must be able to play it.
# - **A reason.** It knows what often follows what. It has nothing that it wants to say.
#
# ## Summary
#
# - To generate, draw a row, read it, draw the next. Training reads real rows (teacher forcing); here it reads its own.
# - A chord is one decision: 88 separate coins cannot know it, a head that spells chords can.
# - Temperature divides the logits of coins, and a low one then forbids changes. For chords the package lets it choose
#   *what* is played, and leaves *when* alone.
# - A seed gives the tonality, and a loudness to begin with; its tempo is hardly kept. It is forgotten as the state
#   forgets.
# - With `hidden`, a row costs the same after a minute as after a second.
# - Rolls of velocities need `velocity_threshold=0`. A player sends notes, not samples.
# - Fine-tuning teaches a model another style in a short time. Judge music by measures, against real music on both
#   sides, by blind listening, and by looking for copies.

# %% [markdown]
# ## Quiz
#
# Answer first, then open.
#
# **1.** In the middle picture, teacher forcing, nearly all of the piece can be seen. Why is that no proof that the
# model knows the piece? Where in the same picture would you look for one?
#
# <details><summary>Answer</summary>
#
# It is told the real row before every answer, and "the same keys as before" is right for most cells. Look at the
# beginnings of notes, where copying does not help: there the picture is pale or a row late.
#
# </details>
#
# **2.** You set the temperature to 0.01 and draw with 88 coins. What do you expect to hear?
#
# <details><summary>Answer</summary>
#
# One chord, held on and on (or silence), and hardly a change. A small temperature makes every key above one half
# certain and every key below it impossible. In nearly every row "as before" is the likely answer for each key, and an
# onset is not, so nothing begins.
#
# </details>
#
# **3.** You change `go_on`: for each new row the model reads all rows so far, with `hidden=None`. The coins are the
# same. Do the notes change? Does the time?
#
# <details><summary>Answer</summary>
#
# The notes stay the same (up to rounding), because `hidden` holds all that the model knows of the rows that it has
# read. The time grows: each row now costs as much as the whole past, and not the same every time.
#
# </details>
#
# **4.** With few clips, "real, other half" reaches an overlap of, say, 0.80, and a model reaches 0.82. Is its music
# better than real music?
#
# <details><summary>Answer</summary>
#
# No. Two halves of real music differ by chance, so a value near this ceiling means only: not told apart by these
# measures. They are blind to much, for instance to whether the music makes sense.
#
# </details>
#
# **5.** Exactly 8 right of 10 happens by luck in 4.4 of 100 tests, which is below 5. Why does the notebook add the
# chances of 9 and 10, and get 5.5?
#
# <details><summary>Answer</summary>
#
# The question is how often luck does *at least* as well. If you call 8 a success, you would call 9 and 10 one, too,
# so all the ways in which luck could have convinced you must be counted.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Put your code in place of the `...` and run the cell: it says "right" when it is. Solutions are in the notebook
# [A6_solutions](A6_solutions.ipynb).
#
# **1 (easy).** A coin: the model gives a key the probability 0.2. What is it at temperature 0.5?

# %%
colder = ...

check("05.1", colder)

# %% [markdown]
# **2 (easy).** In a blind test of 12 clips there are three to choose from: real, Mamba, LSTM. How many must be right,
# at least, so that luck alone does as well in less than 5 % of such tests?

# %%
enough = ...

check("05.2", enough)

# %% [markdown]
# **3 (easy).** How many seconds of `music` are silent?

# %%
silent_seconds = ...

check("05.3", silent_seconds, music)

# %% [markdown]
# **4 (medium).** One of the twelve major scales holds the largest share of the notes of `music`. How large is that
# share? Count it without `describe`.

# %%
share = ...

check("05.4", share, music)

# %% [markdown]
# **5 (medium).** Another cure than a low temperature: leave likely keys as they are and cut off the unlikely. From
# the logits of one row make the probabilities at temperature 1, with all below 0.01 set to 0. Then build it into
# `go_on` and listen.

# %%
row = read(mamba, seed[None])[0][0, -1].numpy()  # (88,): logits of the row after the seed
cut = ...

check("05.5", cut, row)

# %% [markdown]
# **6 (open).** Teach a copy of the model five pieces for thirty epochs and look at the longest copies again. From
# when on does it recite? Do the loss on validation, the measures and your ears notice it, too?
#
# ## Next
#
# You have seen the whole road, from a file to new music. [A6_solutions](A6_solutions.ipynb) has the exercises, solved.
# Side roads: the parallel scan ([A1](A1_parallel_scan.ipynb)), the chord head by hand ([A2](A2_chords.ipynb)), long
# contexts and several processors ([A3](A3_scaling.ipynb)), a model of your own music
# ([A4](A4_your_own_music.ipynb)), and measuring music, seriously ([A5](A5_judging_music.ipynb)).
#
# ## References
#
# - Curtis Hawthorne et al., *Enabling Factorized Piano Music Modeling and Generation with the MAESTRO Dataset*,
#   ICLR 2019, [arXiv 1810.12247](https://arxiv.org/abs/1810.12247).
# - Samy Bengio, Oriol Vinyals, Navdeep Jaitly and Noam Shazeer, *Scheduled Sampling for Sequence Prediction with
#   Recurrent Neural Networks*, NeurIPS 2015, [arXiv 1506.03099](https://arxiv.org/abs/1506.03099).
# - Marc'Aurelio Ranzato et al., *Sequence Level Training with Recurrent Neural Networks*, ICLR 2016,
#   [arXiv 1511.06732](https://arxiv.org/abs/1511.06732).
# - Ari Holtzman et al., *The Curious Case of Neural Text Degeneration*, ICLR 2020,
#   [arXiv 1904.09751](https://arxiv.org/abs/1904.09751): sampling, and what it does to text.
# - Li-Chia Yang and Alexander Lerch, *On the evaluation of generative models in music*, Neural Computing and
#   Applications 32, 2020 (online 2018).
# - Cheng-Zhi Anna Huang et al., *Music Transformer*, ICLR 2019, [arXiv 1809.04281](https://arxiv.org/abs/1809.04281):
#   themes that come back, by attention.
# - Colin Raffel and Daniel Ellis, *Intuitive Analysis, Creation and Manipulation of MIDI Data with pretty_midi*,
#   ISMIR 2014 (late-breaking demo).
# - FluidSynth, a software synthesiser: [fluidsynth.org](https://www.fluidsynth.org).
