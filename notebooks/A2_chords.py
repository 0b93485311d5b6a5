# %% [markdown]
# # A2 · Chords: a frame as one decision
#
# A network that tosses 88 coins a frame, one for each key, makes no chords, because a chord is not 88 decisions.
# Notebook 03 built a head that makes them; this appendix goes deeper. You
#
# - see on a piano of six keys what coins lose, in nats, and count the mixtures that they play,
# - measure on real frames how much the lower keys say about a key, without any network,
# - build the chord head by hand: some lines of torch that look, find a note, and look again,
# - prove that it is a probability, and that drawing from it is what it says,
# - train the same small network twice, with coins and with chords, and compare nats and music,
# - find our place in a table of published results.
#
# You need notebooks 03 and 05 (nats, logits, the training loop, free running). No music theory. It takes two
# to three minutes on two free CPU cores (the run shown took longer), and most of them are training.

# %% tags=["nbval-ignore-output"]
import itertools
import math
import os
import tempfile
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from midigen_utils.config import SEQUENCE_LENGTH, scaled
from midigen_utils.data import load_corpus, load_piano_rolls
from midigen_utils.exercises import check
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn import evaluate, fit, fit_baselines, frame_nll, load_model
from midigen_utils.models import ChordHead, MusicLSTM, generate_music
from midigen_utils.models.numpy_engine import CANDIDATES, Chords
from midigen_utils.show import BLUE, GREY, ORANGE, note_name, player

# %% [markdown]
# ## Settings
#
# As before: Bach's chorales, or after `make data` MAESTRO.

# %% tags=["nbval-ignore-output"]
CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
CHORALES = CORPUS == "bach"  # some of what we say holds for chorales, and is checked there only
PIECE = 7  # which piece of the validation split is looked at closely
CLIP = scaled(full=192, fast=64)  # frames of music that models compose
TRAIN_PIECES = scaled(full=290, fast=24)  # at most so many
TEST_PIECES = scaled(full=35, fast=4)  # of the validation split, to score the models on
COUNT_STEPS = scaled(full=150, fast=30)  # of the model that only knows intervals
EPOCHS = scaled(full={"coins": 5, "chords": 2}, fast={"coins": 5, "chords": 3})  # coins get more
MARGIN = scaled(full=1.0, fast=0.5)  # nats on onset frames by which chords must beat coins
NEARER = scaled(full=1.05, fast=0.2)  # chords must play so many times the coins' share of known shapes
SEEDS = scaled(full=12, fast=4)  # pieces that both models continue
DRAWS = 20_000  # frames drawn where frequencies are compared

torch.manual_seed(0)
rolls, corpus = load_piano_rolls(load_corpus(CORPUS))
train = [rolls["train"][i] for i in range(min(TRAIN_PIECES, len(rolls["train"])))]
validation = [rolls["validation"][i] for i in range(min(TEST_PIECES, len(rolls["validation"])))]
roll = rolls["validation"][PIECE]
plt.rcParams["figure.dpi"] = 80  # smaller pictures, for a smaller file

# %% [markdown]
# First, listen. One Mamba, trained on pianists (MAESTRO; its weights come with the course), the same four seconds to
# begin with, the same random seed. Before: 88 coins a frame.

# %% tags=["nbval-ignore-output"]
pretrained = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
seed = roll[:SEQUENCE_LENGTH]
coins = generate_music(pretrained, seed, CLIP, head="keys", random_seed=2)
player(coins, title="MusicMamba, 88 coins", seed_frames=len(seed))

# %% [markdown]
# And after: each frame is one decision.

# %% tags=["nbval-ignore-output"]
chords = generate_music(pretrained, seed, CLIP, head="chords", random_seed=2)
player(chords, title="MusicMamba, chords", seed_frames=len(seed))

# %% [markdown]
# What to see: orange is given, blue is the model's. With coins, there are four times as many blue notes, many of
# them far away from all others. With chords, most notes last, and there are voices to follow. (The memory of this model
# was trained for chords, and the coins learned to read it on the side. Below we train both in the same way.)
#
# ## Two chords on six keys
#
# To see what is wrong with coins, make the piano small: the six white keys C D E F G A. And the music, too: every
# frame is C E G or D F A, each as likely as the other. There are 2⁶ = 64 possible frames; two of them are music.

# %% tags=["nbval-check-output"]
KEYS = "CDEFGA"
FRAMES = np.array(list(itertools.product([0, 1], repeat=6)))  # (64, 6): every frame there is
PLACE = 2 ** np.arange(5, -1, -1)  # a frame @ PLACE is its row in FRAMES


def name(frame):
    """A frame of six keys as text."""
    return " ".join(key if down else "." for key, down in zip(KEYS, frame))


music = np.array([[1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1]])
table = np.zeros(64)  # the probability of every frame
table[music @ PLACE] = 0.5
for row in np.flatnonzero(table):
    print(f"row {row}: {name(FRAMES[row])}  {table[row]}")

# %% [markdown]
# ### The best coins there are
#
# A model with a coin for each key has six numbers to choose. Its loss is a sum over keys, and each coin appears in one
# term only: so every key can be served for itself, and the best coin of a key shows how often the key is down. Let
# gradient descent find it, from a random start:

# %% tags=["nbval-check-output"]
target, weight = torch.tensor(FRAMES).float(), torch.tensor(table).float()
logits = torch.randn(6, generator=torch.Generator().manual_seed(0)).requires_grad_()
for _ in range(200):
    loss = (weight * frame_nll(logits.expand(64, 6), target)).sum()  # nats per frame
    (slope,) = torch.autograd.grad(loss, logits)
    with torch.no_grad():
        logits -= slope
print("coins", torch.sigmoid(logits).numpy(force=True).round(3), "frequencies", table @ FRAMES)
print(f"loss {loss:.3f} nats; 6 log 2 = {6 * math.log(2):.3f}")

# %% [markdown]
# Every key gets one half, and every answer is right: each key *is* down in half of the frames. The loss is that of six
# fair coins. (If the two chords shared a key, that one would cost nothing: the loss is at most 6 log 2.) Now let the
# best coins play:

# %% tags=["nbval-check-output"]
drawn = np.random.default_rng(0).random((10_000, 6)) < table @ FRAMES  # coins
count = np.bincount(drawn @ PLACE, minlength=64)
print("different frames played:", (count > 0).sum(), "of 64")
for row in np.flatnonzero(table):
    print(f"{name(FRAMES[row])}: {count[row]} of 10,000")
print(f"mixtures: {100 * count[table == 0].sum() / 10_000:.1f} %; expected {100 * 62 / 64:.1f} %")

# %% [markdown]
# Only 3 frames in 100 are one of the two chords. All others are mixtures that were never heard. No training mends
# this: the coins are perfect already.
#
# ### The price of independence
#
# How many nats does a frame need at least? A fair choice between two chords is one toss: log 2. That is the
# **entropy** of the frame, $H = -\sum_y p(y) \log p(y)$: the loss of a model that knows everything there is to know.


# %% tags=["nbval-check-output"]
def entropy(p):
    """Nats of a distribution: an array of probabilities that sum to 1, of any shape."""
    p = np.ravel(p)
    return -np.sum(p[p > 0] * np.log(p[p > 0]))


def coin_entropies(table):
    """Entropy of each key by itself, (6,)."""
    return np.array([entropy([p, 1 - p]) for p in table @ FRAMES])


alone, together = coin_entropies(table).sum(), entropy(table)
print(f"six keys, each by itself {alone:.3f} nats; the frame as a whole {together:.3f}; gap {alone - together:.3f}")

# %% [markdown]
# The gap, here 5 log 2, is called the **total correlation**: the sum of what the keys cost one by one, less what they
# cost together. It is never below 0, and 0 only if the keys have nothing to do with each other. It is what a model of
# coins pays for each frame at least, whatever its size. The same number, as the distance from the coins to the truth
# (*Kullback-Leibler divergence*): the mean of log p - log q over the frames that are heard, where q is what the coins
# give to a frame.

# %%
p_key = table @ FRAMES  # (6,)
q = np.where(FRAMES == 1, p_key, 1 - p_key).prod(axis=1)  # (64,): six coins
heard = table > 0
assert np.isclose(np.sum(table[heard] * np.log(table[heard] / q[heard])), alone - together)

# %% [markdown]
# ## One key after the other
#
# Must a model then have a number for each of 2⁸⁸ frames? No. The **chain rule** of probability lets us go through a
# frame key by key, if each key may know those before it:
#
# $$p(y \mid \text{past}) = \prod_{k=1}^{88} p(y_k \mid y_1 \dots y_{k-1}, \text{past})$$
#
# Nothing is lost: it is the same probability, spelled. To check, take a piano of six keys on which all 64 frames have
# some probability, and compute each factor by counting: of the frames that agree with y on the keys so far, the share
# that agrees on the next key, too.


# %%
def chain(table, order):
    """The factor of each key for each frame, (64, 6), keys decided in some order."""
    agree, factors = np.ones((64, 64)), np.empty((64, 6))  # agree[f, g]: are frames f and g alike so far?
    for key in order:
        still = agree * (FRAMES[:, None, key] == FRAMES[None, :, key])
        factors[:, key] = (still @ table) / (agree @ table)
        agree = still
    return factors


some_table = np.random.default_rng(0).dirichlet(np.ones(64))
for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3]):
    assert np.allclose(chain(some_table, order).prod(axis=1), some_table)

# %% [markdown]
# Any order gives the same product. Ours is from the lowest key to the highest: the bass comes first, and music is
# often thought of from there. For a *learned* model the order does matter, because some conditionals are easier to
# learn than others.
#
# What does each key of our two chords cost, when it knows the ones below?

# %% tags=["nbval-check-output"]
music_table = table + 1e-12  # chain divides by the probabilities
nats = -np.log(chain(music_table / music_table.sum(), range(6)))  # (64, 6)
print("nats of   ", *(f"{key:>6}" for key in KEYS))
for row in np.flatnonzero(table):
    print(name(FRAMES[row]), *(f"{abs(value):6.3f}" for value in nats[row]))

# %% [markdown]
# The first key tosses the one coin there is. After that everything is known: log 2 in all, and the other five are
# free.
#
# ## On real frames
#
# Is real music like that? Before we build a network, we count. When several keys are struck in one frame, how far
# apart are neighbours? Beside it, the same pieces as coins would play them: in the frames in which something is
# struck, each key is struck as often as in the piece, but the frames are shuffled, for each key by itself.


# %%
def struck(roll):
    """Which keys go down in each frame, (T - 1, 88) bool, in frames where one does."""
    onset = (roll[1:] > 0) & (roll[:-1] == 0)
    return onset[onset.any(axis=1)]


def intervals(onset):
    """Distance in semitones from each struck key to the next lower one struck in the same frame."""
    frame, key = np.nonzero(onset)
    return np.diff(key)[np.diff(frame) == 0]


rng = np.random.default_rng(0)
onsets = [struck(some) for some in train]
real = np.concatenate([intervals(some) for some in onsets])
shuffled = np.concatenate([intervals(rng.permuted(some, axis=0)) for some in onsets])

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(9, 3), layout="constrained")
steps = np.arange(1, 25)
for some, shift, colour, label in ((real, -0.2, BLUE, "real"), (shuffled, 0.2, GREY, "coins")):
    ax.bar(steps + shift, 100 * np.bincount(some, minlength=99)[1:25] / len(some), 0.4, color=colour, label=label)
ax.set(xlabel="semitones to the next lower key struck in the same frame", ylabel="share (%)")
ax.set_xticks([1, 3, 4, 5, 7, 8, 9, 12, 16, 19, 24])
_ = ax.legend(frameon=False)
for label, some in (("real", real), ("coins", shuffled)):
    print(f"{label:<6} 1 or 2 semitones apart: {100 * np.isin(some, [1, 2]).mean():4.1f} %")

# %%
harsh, by_chance = (np.isin(some, [1, 2]).mean() for some in (real, shuffled))
assert harsh < by_chance / 2 or not CHORALES

# %% [markdown]
# What to see: in chorales neighbours avoid 1 and 2 semitones, the harsh distances, and like 3, 4, 5, 7, 8, 9 and 12.
# (Only keys that are struck together count. A suspension, where one voice is held while another moves against it, is
# not in this figure.) The
# coins know which keys this piece uses and how often, so they are not without taste; but what sounds together is left
# to chance, and chance likes small distances. The printed lines count the harsh ones. (Pianists are less shy of them:
# at MAESTRO's speed two notes of a scale often fall into one frame.)
#
# ### What the lower keys are worth
#
# Now in nats. We take Markov-1 of notebook 03 (each key knows whether it was down one frame ago) and let it see more,
# in three steps:
#
# 1. its neighbours *one frame ago*,
# 2. whether any lower key of *this* frame has moved (was struck, or released),
# 3. *which* lower keys of this frame are held, struck and released.
#
# The neighbours are seen **by distance**: a weight for "3 semitones above a key that is struck", the same wherever on
# the keyboard it happens. Two tables of weights: one for keys that were up, one for keys that were down.

# %%
REACH = 24  # semitones that a key can see
DISTANCE = torch.arange(88)[None] - torch.arange(88)[:, None]  # (88, 88): how far key [1] lies above key [0]


def by_distance(weights, lower_only=False):
    """Weights of each distance (2, 2 REACH + 1) as weights from each key to each key, (2, 88, 88)."""
    seen = (DISTANCE.abs() <= REACH) & ((DISTANCE > 0) | (not lower_only))
    return weights[:, DISTANCE.clamp(-REACH, REACH) + REACH] * seen


class Neighbours(nn.Module):
    """Logits of a frame y from the frame before, x, and from the lower keys of y. `sees` is 0 to 3, as above."""

    def __init__(self, markov, sees):
        super().__init__()
        self.own, self.sees = nn.Parameter(markov.clone()), sees  # (2, 88): keys that were up, that were down
        self.past = nn.Parameter(torch.zeros(2, 2 * REACH + 1))
        self.moved = nn.Parameter(torch.zeros(2, 2))
        self.which = nn.Parameter(torch.zeros(3, 2, 2 * REACH + 1))

    def forward(self, x, y):  # (F, 88) each
        struck, released, held = y * (1 - x), x * (1 - y), x * y
        z = self.own[:, None]  # (2, 1, 88)
        if self.sees >= 1:
            z = z + x @ by_distance(self.past)  # (2, F, 88)
        if self.sees >= 2:
            for weight, some in zip(self.moved, (struck, released)):
                z = z + weight[:, None, None] * ((some.cumsum(1) - some) > 0)  # did a lower key do it?
        if self.sees >= 3:
            for weights, some in zip(self.which, (held, struck, released)):
                z = z + some @ by_distance(weights, lower_only=True)
        return torch.where(x > 0, z[1], z[0])


# %% [markdown]
# `cumsum(1) - some` counts the keys below. It will come back. No key sees itself or a higher one, so the product over
# keys is a probability of the frame, as the chain rule wants. Markov-1 is counted; the other three start from it and
# are trained on the same frames:


# %%
def pairs(rolls):
    """All frames but the last of each piece, and the frame after each: (F, 88) of 0.0 and 1.0, twice."""
    down = [torch.from_numpy(some > 0) for some in rolls]
    return torch.cat([d[:-1] for d in down]).float(), torch.cat([d[1:] for d in down]).float()


def train_neighbours(model, x, y, steps=COUNT_STEPS):
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)  # ever smaller steps
        some = torch.randint(len(x), (1024,), generator=generator)
        loss = frame_nll(model(x[some], y[some]), y[some]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


# %%
markov = fit_baselines(train)["Markov-1"]
x, y = pairs(train)
x_val, y_val = pairs(validation)
change, onset = (x_val != y_val).any(1), (y_val > x_val).any(1)


def three(nats):
    """Means over all frames, over those that change, over those with an onset."""
    return [nats.mean().item(), nats[change].mean().item(), nats[onset].mean().item()]


# %% tags=["nbval-ignore-output"]
NAMES = ("its own past (Markov-1)", "+ its neighbours' past", "+ has a lower key moved?", "+ which lower keys?")
scores = []
print(f"{'nats per frame':<26} {'all':>6} {'change':>7} {'onset':>6}")
for sees, label in enumerate(NAMES):
    model = Neighbours(markov.logits, sees)
    if sees:
        train_neighbours(model, x, y)
    with torch.no_grad():
        scores.append(three(frame_nll(model(x_val, y_val), y_val)))
    print(f"{label:<26} {scores[-1][0]:6.2f} {scores[-1][1]:7.2f} {scores[-1][2]:6.2f}")

# %%
assert math.isclose(scores[0][0], evaluate(markov, validation)["nll"], rel_tol=1e-3)
assert scores[3][2] < scores[2][2] < scores[1][2] < scores[0][2], "each step tells something about onsets"

# %% [markdown]
# Read it from the top. What the neighbours did one frame ago helps already. The two steps after that need no better
# memory of the past, only the lower keys of the frame itself. The first of them says **when**: in a chorale voices
# move together, and a key that knows that a lower one has moved expects to move. The second says **what**: which notes
# go with those below. A model of coins cannot have either.
#
# What did it learn about distances? The weights of a key that was up, for lower keys that are struck now:

# %% tags=["nbval-ignore-output"]
weights = model.which[1, 0, REACH + 1 :].detach()
fig, ax = plt.subplots(figsize=(9, 3), layout="constrained")
ax.bar(range(1, REACH + 1), weights, color=np.where(weights > 0, BLUE, ORANGE))
ax.axhline(0, color=GREY, linewidth=0.8)
ax.set(xlabel="semitones above a key that is struck in the same frame", ylabel="weight (on the logit)")
_ = ax.set_xticks(range(1, REACH + 1))

# %% [markdown]
# What to see: below 0 the struck key forbids, above 0 it invites. Look at 1, 11, 13 and 23 semitones (the sharp
# dissonances), at 2, 10 and 14 (milder ones), and at 7 to 9, 15, 16 and 19 (fifths and sixths, thirds and a fifth an
# octave up). That is a short course in harmony, and no rule of it was given. (A weight is what a distance adds to all
# the other evidence: thirds, 3 and 4, are common, but that a lower key has moved and what sounded before speak for
# them already.)
#
# This model adds one number for each lower key. A chord is more than the sum of its pairs, and a memory more than one
# frame. So we let a network look.
#
# ## The chord head by hand
#
# ### One look
#
# The core of a model, Mamba or LSTM, turns the past into a row of numbers for each frame: its `features`, `(D,)`. A
# **look** takes the features, the frame before, and the notes of this frame that were found so far, and gives the
# logits of all 88 keys. It is a small network: three linear layers, added up; a norm; two more layers. (`LayerNorm`
# brings a row of numbers to mean 0 and size 1; `silu(v)` is v times sigmoid(v), a soft bend.)


# %%
class Look(nn.Module):
    def __init__(self, feature_size, num_pitches=88, width=256):
        super().__init__()
        self.from_features = nn.Linear(feature_size, width)
        self.from_past = nn.Linear(num_pitches, width, bias=False)
        self.from_notes = nn.Linear(num_pitches, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.layer = nn.Linear(width, width)
        self.output = nn.Linear(width, num_pitches)

    def context(self, features, past):  # (..., D), (..., P): what all looks at a frame share
        return self.from_features(features) + self.from_past(past)  # (..., W)

    def look(self, context, notes):  # (..., W), (..., P)
        x = F.silu(self.norm(context + self.from_notes(notes)))
        return self.output(F.silu(self.layer(x)))  # (..., P): logits


# %% [markdown]
# The pretrained Mamba has such a head, `pretrained.chords`. We copy its weights, and take the features of a real
# piece:

# %% tags=["nbval-check-output"]
head = Look(pretrained.feature_size)
print(head.load_state_dict(pretrained.chords.state_dict()))

# %%
piece = torch.from_numpy(roll > 0).float()  # (T, 88)
past, frames = piece[:96], piece[1:97]  # (F, 88) each: a frame, and the frame to predict
with torch.no_grad():
    features = pretrained.features(past[None])[0][0]  # (F, D)

# %% [markdown]
# ### The chain rule, read aloud
#
# For each key: look, with the notes below it; ask the coin of this key; note what it says about what really came.


# %%
def log_prob_by_key(head, frame, features, past):
    """Log probability of one frame (P,): a look for each key."""
    total, keys = 0.0, torch.arange(len(frame))
    for key in range(len(frame)):
        notes = torch.where(keys < key, frame, 0.0)  # the notes below this key
        logit = head.look(head.context(features, past), notes)[key]
        total = total - F.binary_cross_entropy_with_logits(logit, frame[key])
    return total


# %% [markdown]
# Is this what the package computes? Its head takes `(B, T, P)`, all frames at once.

# %%
with torch.no_grad():
    theirs = pretrained.chords.log_prob(frames[None], features[None], past[None])[0]  # (F,)
    ours = torch.stack([log_prob_by_key(head, *given) for given in zip(frames, features, past)])
assert torch.allclose(ours, theirs, atol=1e-3)

# %% [markdown]
# ### n + 1 looks are enough
#
# 88 looks a frame are too many. But most of them are the same look! It depends on the notes found so far, and between
# two notes nothing new is found. So a frame of n notes takes n + 1 looks: each answers for all keys up to the next
# note, that one included, and the last one for the rest of the keyboard.

# %% tags=["nbval-check-output"]
frame = music[0]
below = frame.cumsum() - frame  # (6,): how many notes lie below each key
print("frame           ", name(frame))
print("notes below     ", *below)
for rank in range(frame.sum() + 1):
    known, asked = frame * (below < rank), below == rank
    print(f"look {rank}: knows    {name(known)}   answers for {name(asked)}")

# %% [markdown]
# "Notes below" is also the number of the look that answers for a key. That one line, `cumsum - frame`, is the heart
# of it. How many looks do real frames need?

# %% tags=["nbval-ignore-output"]
looks = 1 + y_val.sum(1)
print(f"notes in a frame {y_val.sum(1).mean():.2f}, looks {looks.mean():.2f}, at most {int(looks.max())}, not 88")

# %% [markdown]
# ### All looks of all frames at once
#
# In training the frames are known. So all looks can be made side by side, and no look waits for another: a key's
# answer must know the true notes below, not those that the model would have found. (That is teacher forcing again,
# within a frame.) R is the largest number of looks in the batch:


# %%
def conditionals(head, frames, features, past):
    """Logits of each key given the keys below it: (F, P), (F, D), (F, P) to (F, P)."""
    below = (frames.cumsum(1) - frames).long()  # (F, P): the look that answers for each key
    ranks = torch.arange(int(frames.sum(1).max()) + 1)  # (R,)
    notes = frames * (below < ranks[:, None, None])  # (R, F, P): the notes that each look knows
    logits = head.look(head.context(features, past), notes)  # (R, F, P): all keys from all looks
    return logits.gather(0, below[None])[0]  # (F, P): each key from the look that is its own


def log_prob(head, frames, features, past):
    """Log probability of frames, (F,)."""
    return -frame_nll(conditionals(head, frames, features, past), frames)


# %% [markdown]
# `gather(0, below)` picks from R layers of logits, for each frame and key, the layer `below`. The twin check: the same
# logits as the package's, the same log probabilities as both before.

# %%
with torch.no_grad():
    logits_twin = pretrained.chords.conditionals(frames[None], features[None], past[None])[0]
    assert torch.allclose(conditionals(head, frames, features, past), logits_twin, atol=1e-3)
    assert torch.allclose(log_prob(head, frames, features, past), theirs, atol=1e-3)

# %% [markdown]
# One difference: ours makes R looks at *every* frame, also at those with fewer notes. The package makes n + 1 for
# each (`repeat_interleave` in `chords.py`), which pays in large batches in which few frames have many notes. How long
# does each take for 16 frames?


# %% tags=["nbval-ignore-output"]
def milliseconds(work):
    """The shortest of three times."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


given = frames[:16], features[:16], past[:16]
with torch.no_grad():
    loop = milliseconds(lambda: [log_prob_by_key(head, *one) for one in zip(*given)])
    at_once = milliseconds(lambda: log_prob(head, *given))
    package = milliseconds(lambda: pretrained.chords.log_prob(*(some[None] for some in given)))
print(f"16 frames: a look for each key {loop:.0f} ms, ours {at_once:.1f} ms, the package {package:.1f} ms")

# %% [markdown]
# The first makes 16 times 88 small looks, one by one; the others some large ones. Nearly all of the difference is that.
#
# ## Is it a probability?
#
# A probability of frames must sum to 1 over *all* frames. For 88 keys nobody can add that up; for six it is 64
# numbers. We take a head that was never trained, with large weights, so that it has strong opinions, and ask for every
# frame of our small piano.

# %% tags=["nbval-check-output"]
torch.manual_seed(1)
tiny = ChordHead(feature_size=5, num_pitches=6, width=16).eval()
nn.init.normal_(tiny.output.weight, std=0.6)
nn.init.normal_(tiny.output.bias, mean=-0.5)
EVERY = torch.tensor(FRAMES).float()  # (64, 6)
known, before = torch.randn(5), torch.tensor([1.0, 0, 1, 0, 1, 0])  # features, and C E G in the frame before
with torch.no_grad():
    p = log_prob(tiny, EVERY, known.expand(64, -1), before.expand(64, -1)).exp().numpy()
print(f"{len(p)} probabilities, all above 0: {(p > 0).all()}; their sum is {p.sum():.5f}")

# %%
assert abs(p.sum() - 1) < 1e-5

# %% [markdown]
# Nothing was normalised. The sum comes out because every factor is a coin, and a coin's two sides sum to 1.
#
# That holds only if no key sees itself or a higher one. To check it, flip a key and see whose answer changes:

# %%
with torch.no_grad():
    answers = conditionals(head, frames, features, past)  # (F, 88)
    for key in (0, 30, 45, 87):
        flipped = frames.clone()
        flipped[:, key] = 1 - flipped[:, key]
        moved = (conditionals(head, flipped, features, past) - answers).abs()  # (F, 88)
        assert moved[:, : key + 1].max() < 1e-3, "a key at or below it has noticed"
        assert key == 87 or moved[:, key + 1 :].max() > 0.1, "no key above it has noticed"

# %% [markdown]
# ## Drawing a frame
#
# With a look we have the coins of all keys, but those above the next note are of no use: they do not know that note
# yet. So:
#
# 1. look, and toss the coins of all keys above the highest note found,
# 2. keep the lowest one that shows heads, throw the others away,
# 3. look again, until no coin shows heads.
#
# Is that fair? That key k is the next note means: all coins between the last note and k show tails, and k's shows
# heads. If the last note is key j, that has the probability $(1 - p_{j+1}) \cdots (1 - p_{k-1}) \, p_k$, all from one
# look: the factors of the chain rule. The coins above k were tossed for nothing, and nobody looked at them.


# %%
@torch.no_grad()
def draw(head, features, past, generator):
    """One frame (1, P), after features (1, D) and the frame before (1, P)."""
    context, notes, highest = head.context(features, past), torch.zeros_like(past), -1
    while True:
        coins = torch.bernoulli(torch.sigmoid(head.look(context, notes)), generator=generator)  # (1, P)
        found = [key for key in coins[0].nonzero()[:, 0].tolist() if key > highest]
        if not found:
            return notes
        highest = found[0]  # the lowest of them
        notes[0, highest] = 1


# %% [markdown]
# One random number for each look will do. That the next note is key k *or a lower one* has the probability
# $1 - (1 - p_{j+1}) \cdots (1 - p_k)$, which grows from key to key. Draw a number between 0 and 1: the next note is the
# first key at which this probability passes it, and if none does, the frame is finished.


# %%
@torch.no_grad()
def draw_by_one_number(head, features, past, uniform):
    """As `draw`; `uniform(n)` gives n random numbers between 0 and 1."""
    context, notes, highest = head.context(features, past), torch.zeros_like(past), -1
    while True:
        p = torch.sigmoid(head.look(context, notes))[0].double()  # (P,)
        p[: highest + 1] = 0  # decided already
        reached = 1 - (1 - p).cumprod(0)  # (P,): that a note has come by then
        found = (reached > uniform(1)[0]).nonzero()[:, 0].tolist()
        if not found:
            return notes
        highest = found[0]
        notes[0, highest] = 1


# %% [markdown]
# The package draws in this way, and without torch: `Chords` of `models/numpy_engine.py` takes the weights of a head as
# numpy arrays. The twin check: with the same random numbers it draws the same frames.


# %%
def in_numpy(head):
    """A chord head as the package plays it."""
    return Chords({name: weight.numpy() for name, weight in head.state_dict().items()}, name="")


played = in_numpy(pretrained.chords)
context = played.context(features.numpy(), past.numpy())  # (F, W)
for t in range(20):
    ours = draw_by_one_number(head, features[t : t + 1], past[t : t + 1], np.random.default_rng(t).random)
    theirs, _ = played.sample(context[t : t + 1], np.random.default_rng(t).random)
    assert np.array_equal(ours, theirs)

# %% [markdown]
# And does it draw with the right probabilities? Of the tiny head all 64 are known. Draw 20,000 frames side by side, and
# compare.


# %%
def sample(head, features, past, count, random_seed):
    """So many frames, each drawn after features (D,) and the frame before (P,): (count, P) of 0 and 1."""
    played = in_numpy(head)
    context = played.context(features[None].numpy(), past[None].numpy())  # (1, W)
    frames, _ = played.sample(context, np.random.default_rng(random_seed).random, copies=count)
    return frames.astype(int)


frequency = np.bincount(sample(tiny, known, before, DRAWS, random_seed=1) @ PLACE, minlength=64) / DRAWS
deviation = (frequency - p) / np.sqrt(p * (1 - p) / DRAWS)  # in standard errors
chi_square = (DRAWS * (frequency - p) ** 2 / p).sum()
assert np.abs(deviation[p > 1e-3]).max() < 4.5 and chi_square < 120

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
ax.plot([1e-5, 1], [1e-5, 1], color=GREY, linewidth=0.8)
ax.plot(p, np.maximum(frequency, 1e-5), "o", color=BLUE, markersize=4)
ax.set(xscale="log", yscale="log", xlabel="probability that the head gives", ylabel="share of 20,000 frames drawn")
print(f"chi-square {chi_square:.0f}, largest deviation {np.abs(deviation[p > 1e-3]).max():.1f} standard errors")

# %% [markdown]
# What to see: 64 points on the line; rare frames scatter, because few of them were drawn. (Chi-square adds up the
# squared deviations. With 64 frames it should be near 63; above 110 it is once in 5,000 times.)
#
# ## It learns the two chords
#
# Back to C E G or D F A. A small head and some hundred steps:


# %%
def learn(frames, past, steps=200):
    """Train a head on frames (N, 6) that follow one frame `past` (6,). Nothing else is known: features are 0."""
    torch.manual_seed(0)
    head = ChordHead(feature_size=1, num_pitches=6, width=32)
    given = torch.zeros(len(frames), 1), past.expand(len(frames), -1)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = -log_prob(head, frames, *given).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.eval(), loss.item()


nothing = torch.zeros(6)
toy, loss = learn(torch.tensor(music).float(), nothing)

# %% tags=["nbval-check-output"]
drawn = sample(toy, torch.zeros(1), nothing, 1000, random_seed=0)
is_music = (drawn[:, None] == music).all(2).any(1)
print(f"loss {loss:.2f} nats, log 2 = {math.log(2):.2f}")
print(f"more than 980 of 1,000 frames are one of the two chords: {is_music.sum() > 980}")

# %% [markdown]
# The coins needed 4.16 nats and played 97 % mixtures. What does the head say at each look?

# %% tags=["nbval-ignore-output"]
print("notes found    ", *(f"{key:>5}" for key in KEYS))
for found in ([0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0]):
    with torch.no_grad():
        coin = torch.sigmoid(toy.look(toy.context(torch.zeros(1), nothing), torch.tensor(found).float()))
    highest = max((key for key in range(6) if found[key]), default=-1)
    print(f"{name(found)}    ", *(f"{v:5.2f}" if key > highest else "    ." for key, v in enumerate(coin.tolist())))

# %% [markdown]
# Read the first line from the left, as the chain rule does. C: one half. D: one, that is, *if C did not come*, D must.
# (The keys above D in this line are never asked: by then a note has been found.) With C found, D is out and E is sure.
#
# ## On Bach: coins against chords
#
# Now with real music and a real memory: a small LSTM and on top of it a head, trained together, twice. To be fair, the
# opponent should differ in one thing only. So our **coins** are the same head, with the same two layers and the same
# view of the past; but it never hears which notes were found. (The weights that would read them are 0 and stay so.) One
# look, 88 coins.


# %%
class CoinHead(ChordHead):
    """A chord head that ignores the notes found so far: so its keys are independent coins."""

    def __init__(self, *sizes, **named):
        super().__init__(*sizes, **named)
        nn.init.zeros_(self.from_notes.weight).requires_grad_(False)

    def conditionals(self, frames, features, past):
        return self.look(self.context(features, past), torch.zeros_like(past))  # one look will do


# %% [markdown]
# (Everything else is inherited. Drawing with it looks again after each note, and gets the same probabilities: a longer
# way to toss 88 coins.) The chords make n + 1 looks a frame, so a step of theirs takes longer.
# To be fair in that, too, the coins go through the music five times, the chords twice.

# %% tags=["nbval-ignore-output"]
data = {"train": train, "validation": validation[:4]}
models, seconds = {}, {}
for kind, Head in (("coins", CoinHead), ("chords", ChordHead)):
    torch.manual_seed(0)
    models[kind] = MusicLSTM(hidden_size=128, num_layers=1, head="chords")
    models[kind].chords = Head(models[kind].feature_size, width=128)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settings = dict(batch_size=8, stride=64, learning_rate=5e-3, folder=folder, device="cpu")
        fit(models[kind], data, EPOCHS[kind], **settings)
    seconds[kind] = time.perf_counter() - start

# %% tags=["nbval-ignore-output"]
print(f"{'nats per frame':<26} {'all':>6} {'change':>7} {'onset':>6} {'weights':>9} {'seconds':>8}")
for label, row in zip(NAMES, scores):
    print(f"{label:<26} {row[0]:6.2f} {row[1]:7.2f} {row[2]:6.2f}")
trained = {}
for kind, model in models.items():
    trained[kind] = evaluate(model, validation)
    row = [trained[kind][which] for which in ("nll", "nll_change", "nll_onset")]
    size = sum(w.numel() for w in model.parameters())
    print(f"{'LSTM, ' + kind:<26} {row[0]:6.2f} {row[1]:7.2f} {row[2]:6.2f} {size:9,d} {seconds[kind]:8.0f}")
gap, at_onsets = (trained["coins"][which] - trained["chords"][which] for which in ("nll", "nll_onset"))
share = onset.float().mean().item()
print(f"{100 * share:.0f} % of the frames have an onset; of the gap, {100 * share * at_onsets / gap:.0f} % lies there")

# %%
if CHORALES:
    assert trained["chords"]["nll_onset"] < trained["coins"]["nll_onset"] - MARGIN
    assert scores[3][0] < trained["coins"]["nll"] + 0.2, "intervals alone are worth as much as a memory with coins"

# %% [markdown]
# Compare the last two lines. They have the same memory and the same layers, and the coins had more steps; the last
# column says how much time each had. What is left between them is the price of independence, as far as so small a
# training shows it: one seed, one learning rate. The line below says where it is paid: where something begins,
# mostly. Then compare the coins with the line above them. A model without any memory, with a few hundred weights,
# which sees the lower keys, needs 1.62 nats per frame; the LSTM, which does not see them, needs 1.68. At
# onsets its memory does help: 9.24 nats against 9.54.
#
# Is it the same for all music? The same cells on MAESTRO (`MIDIGEN_CORPUS=maestro`, 290 performances, their first 60 s,
# one run) gave 4.47 nats with coins and 4.17 with chords, at onsets 8.44 and 8.06. At onsets the gap is smaller:
# pianists play runs and broken chords, 1.65 keys struck together on average where Bach's choir has 2.68 (you will see
# that figure below), so there is less to agree about.
#
# What does the head do at each look? We take the frame of a real piece in which most keys are struck. On top stand the
# coins of the one model, below the looks of the other, which is told the true notes one after the other.


# %%
@torch.no_grad()
def rows_of_coins(roll, t):
    """Probabilities of the keys of frame t, 88 each: those of the coins, then those of each look of the chords."""
    x, frame = torch.from_numpy(roll[None, :t] > 0).float(), torch.from_numpy(roll[t] > 0).float()
    rows = []
    for kind, model in models.items():
        context = model.chords.context(model.features(x)[0][0, -1], x[0, -1])  # (W,)
        below, looks = frame.cumsum(0) - frame, 1 + (int(frame.sum()) if kind == "chords" else 0)
        for rank in range(looks):
            p = torch.sigmoid(model.chords.look(context, frame * (below < rank)))
            over = torch.arange(88) > (frame * (below < rank)).nonzero().max() if rank else torch.ones(88)
            rows.append((f"chords, look {rank}" if kind == "chords" else "coins", (p * over).numpy()))
    return rows


# %% tags=["nbval-ignore-output"]
down = (roll[1:] > 0) & (roll[:-1] == 0)
t = 1 + SEQUENCE_LENGTH + down[SEQUENCE_LENGTH:].sum(1).argmax()
true, rows = np.flatnonzero(roll[t]), rows_of_coins(roll, t)
fig, axes = plt.subplots(len(rows), 1, figsize=(9, 1 + 0.8 * len(rows)), sharex=True, layout="constrained")
for ax, (label, p) in zip(axes, rows):
    ax.bar(range(88), p, color=GREY if label == "coins" else BLUE)
    for keys, colour in ((np.flatnonzero(roll[t - 1]), GREY), (true, ORANGE)):
        ax.plot(keys, np.full(len(keys), 1.15), "v", color=colour, markersize=5, clip_on=False)
    ax.set(ylim=(0, 1.05), yticks=[0, 1], xlim=(true[0] - 6, true[-1] + 6))
    ax.set_ylabel(label, rotation=0, ha="right", va="center")
axes[-1].set_xticks(true, [note_name(key + 21) for key in true])
_ = axes[-1].set_xlabel("key; triangles: orange, this frame; grey, the frame before")

# %% [markdown]
# What to see: the bars are probabilities, the orange triangles what the piece plays, the grey ones what sounded
# before. The coins bet on the grey ones. Most frames stay as they are, and no coin can know that this one does not.
# Look 0 bets on the old bass, too. (Its bars further right hold only if no key to their left comes.) Each note that is
# found changes the bars above it. Told that the bass has moved, do the next looks still bet on the other old keys?
# Compare the bars below the grey triangles row by row: which lose most of what they had to new keys, and which stay the
# favourites? A small bar below an orange triangle is a surprise.
#
# Both go on from the same seed:

# %% tags=["nbval-ignore-output"]
made = generate_music(models["coins"], seed, CLIP, random_seed=0)
player(made, title="Small LSTM, 88 coins", seed_frames=len(seed))

# %% tags=["nbval-ignore-output"]
made = generate_music(models["chords"], seed, CLIP, random_seed=0)
player(made, title="Small LSTM, chords", seed_frames=len(seed))

# %% [markdown]
# Neither is Bach, after so short a training. But how do their *chords* compare? Three measures over several seeds,
# beside real pieces: how many keys are struck together; how many pairs of neighbouring keys (a semitone apart) are
# struck at once, per 100 notes; and of the frames in which something is struck and three keys or more sound, the share
# whose shape (the distances from the lowest key) occurs anywhere in the training pieces.


# %%
def shapes(rolls):
    """The shape of each frame with an onset and three keys or more: a list of tuples of distances."""
    found = []
    for some in rolls:
        for before, now in zip(some[:-1] > 0, some[1:] > 0):
            if (now & ~before).any() and now.sum() >= 3:
                keys = np.flatnonzero(now)
                found.append(tuple(keys - keys[0]))
    return found


def chord_measures(rolls, known):
    """Keys struck together, clashes per 100 notes, and the share of shapes that are known, in percent."""
    onset = np.concatenate([struck(some) for some in rolls])
    clashes = (onset[:, 1:] & onset[:, :-1]).sum()
    return onset.sum(1).mean(), 100 * clashes / onset.sum(), 100 * np.mean([shape in known for shape in shapes(rolls)])


# %% tags=["nbval-ignore-output"]
known_shapes = set(shapes(train))
long_enough = [some for some in rolls["validation"] if len(some) >= SEQUENCE_LENGTH + CLIP]
begin = np.stack([some[: SEQUENCE_LENGTH + CLIP] for some in long_enough[:SEEDS]])
clips = {"real": begin}
for kind, model in models.items():
    clips[kind] = generate_music(model, begin[:, :SEQUENCE_LENGTH], CLIP, random_seed=0)
measured = {}
print("        struck together  clashes per 100  known shapes")
for kind, some in clips.items():
    measured[kind] = chord_measures(some[:, SEQUENCE_LENGTH:], known_shapes)
    print(f"{kind:<8}{measured[kind][0]:15.2f} {measured[kind][1]:16.2f} {measured[kind][2]:11.0f} %")

# %%
if CHORALES:
    assert measured["real"][2] > measured["coins"][2] and measured["chords"][2] > NEARER * measured["coins"][2]

# %% [markdown]
# Which of the two lines is nearer to the real one, and how far is it still? The last column is the two chords on six
# keys again, on 88: a shape that training never had *may* be a mixture. The chord head has many of those as well. Few
# epochs, one seed, a dozen pieces: take it as a hint.
#
# ## What, and not when
#
# Notebook 05 heard it: divide the logits by a low temperature, and the music stands still. Why? Because most frames
# repeat the one before. Three ways to go on from C E G, and staying, with probabilities that we choose:

# %%
stay = [1, 0, 1, 0, 1, 0]
ways = np.array([stay, [1, 0, 1, 0, 0, 1], [0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 1, 0]])  # G to A, C to D, E to F
shares = np.array([70, 18, 9, 3])  # in percent
lazy, _ = learn(torch.tensor(np.repeat(ways, shares, axis=0)).float(), torch.tensor(stay).float(), steps=400)


def exact(head, temperature=1.0):
    """The probability of all 64 frames after C E G, when each logit is divided by the temperature."""
    past = torch.tensor(stay).float().expand(64, -1)
    with torch.no_grad():
        logits = conditionals(head, EVERY, torch.zeros(64, 1), past) / temperature
    return (-frame_nll(logits, EVERY)).exp().numpy()


# %% [markdown]
# `exact(lazy, 0.5)` has the coins' temperature. `Chords.choose`, which `generate_music` uses, does two things: it draws
# a frame at temperature 1, and takes from it only *how many* keys go down and come up; then it weighs the frames that
# move as many keys by `p ** (1 / temperature)`. With 64 frames we can write down what it aims at:


# %%
def aim(p, temperature):
    """What `choose` draws, if it had all frames to choose from: (64,)."""
    down, up = (FRAMES > stay).sum(1), (FRAMES < stay).sum(1)  # (64,): keys that go down, that come up
    result = np.zeros(64)
    for kind in set(zip(down, up)):
        alike = (down == kind[0]) & (up == kind[1])
        cold = p[alike] ** (1 / temperature)
        result[alike] = p[alike].sum() * cold / cold.sum()  # as often as before, but the likely ones
    return result


# %% tags=["nbval-ignore-output"]
start, no_features = np.tile(np.float32(stay), (DRAWS, 1)), np.zeros((DRAWS, 1), np.float32)
picked = in_numpy(lazy).choose(no_features, start, 0.5, np.random.default_rng(0).random)
lines = {
    "temperature 1": exact(lazy),
    "coins at 0.5": exact(lazy, 0.5),
    "choose at 0.5, aim": aim(exact(lazy), 0.5),
    "choose at 0.5, drawn": np.bincount(picked.astype(int) @ PLACE, minlength=64) / DRAWS,
}
print(" " * 20, *(f"{name(way):>12}" for way in ways), "  of what moves: G to A")
for label, p in lines.items():
    share = p[ways @ PLACE]
    print(f"{label:<20}", *(f"{value:12.3f}" for value in share), f"{share[1] / share[1:].sum():12.2f}")

# %%
at_one, cold, wanted, got = (p[ways @ PLACE] for p in lines.values())
assert cold[0] > at_one[0] + 0.1  # the coins' temperature stops time
assert abs(wanted[0] - at_one[0]) < 1e-3 and abs(got[0] - at_one[0]) < 0.02  # this one does not
assert np.abs(got - wanted).max() < 0.02 and CANDIDATES == 32

# %% [markdown]
# Read the first column: how often the music stays where it is. With coins at 0.5 it stays more often than the model
# wants; `choose` keeps to the model's tempo. Then the last: of the moves, the likeliest gets a larger share, so *what*
# is played is colder. The aim and what is drawn differ a little: `choose` cannot see all frames of 88 keys, so it draws
# 32 (`CANDIDATES`) and chooses among those that are alike. Where few of them are, cold is milder than it says.
#
# ## Where we stand
#
# The measure of this course, nats per frame, is that of a row of papers since 2012, on data that is used to this day:
# Bach's chorales in quarter notes (*JSB*) and folk tunes with chords in eighths (*Nottingham*). On the test part, lower
# is better. The lines "ours" are from `docs/results.md`, where every run stands with its command; they are not
# measured here. *Joint* means that a frame is one decision, as with our chord head. The names at the left are kinds of
# network; nothing here depends on them.
#
# | | a frame is | JSB | Nottingham |
# |---|---|---|---|
# | LSTM / GRU (Bai et al. 2018) | 88 coins | 8.45 / 8.43 | 3.29 / 3.46 |
# | TCN (Bai et al. 2018) | 88 coins | 8.10 | 3.07 |
# | RRU, 5 M weights (Zakovskis et al. 2021) | 88 coins | 7.72 | 2.92 |
# | ours: LSTM, 0.57 M weights, one seed | 88 coins | 7.61 | 2.84 |
# | ours: Mamba (SSD), 1.09 M weights, one seed | 88 coins | 7.96 | 3.37 |
# | RNN-NADE (Boulanger-Lewandowski et al. 2012) | joint | 5.56 | 2.31 |
# | DMM-Aug-NADE (Krishnan et al. 2017), estimated | joint | 5.12 | 2.31 |
# | ours: LSTM, chord head, 0.57 M weights, mean of three seeds | joint | 4.49 | 1.90 |
# | ours: Mamba (SSD), chord head, 1.09 M weights, one seed | joint | 4.64 | 1.84 |
#
# In this table all joint models are lower than all models of coins. Ours trained on one core, with chords for 6
# minutes (JSB) and 10 (Nottingham), with coins for 20 and 10 (the Mamba 6 each): on pieces that were moved to all
# twelve transpositions, with the shift told to the model; their weights are a running average. They are shrunk a lot
# (weight decay 0.3), else they learn the 229 chorales by heart; only the Mamba with chords had 0.01. Most of the
# others used the pieces as they are.
#
# *Estimated*: a DMM has hidden variables, and its likelihood cannot be computed exactly. 5.12 and 2.31 are estimates by
# importance sampling; the variational bound is 5.34 and 2.35. (The same paper quotes RNN-NADE with 5.19 on JSB; the
# paper of 2012 has 5.56.)
#
# > **A caveat.** A joint model knows the lower keys of a frame when it judges a key; a model of coins does not. Both
# > numbers are honest: each is the probability that a model gives to the whole frame, given the past, and they may be
# > compared as that. But the difference between 7.61 and 4.49 says nothing about *memory*: both are LSTMs. If you want
# > to know whether a Mamba remembers better than an LSTM, compare them with the same head. And a score for single keys
# > (F1, say) that uses a joint model's conditionals would be cheating: there the lower keys are part of the answer.
#
# The table is short, and not a survey. Left out are, among others, RNN-RBM of the paper of 2012, Walder (2016), who
# also turns a frame into a row of notes and transposes, and models with hidden variables, of which at least one is
# quoted with less than ours on JSB (Gu, Ghahramani and Turner 2015). The supplement of the TCN paper quotes a DBN-LSTM
# (Vohra, Goel and Sahoo 2015) with 3.47 on JSB and 1.32 on Nottingham; its likelihood rests on an estimate, too, that
# of a partition function. Details of how pieces are cut and averaged differ between papers.
#
# ## What is left out
#
# *Relative pitch.* `Neighbours` had a weight for each distance and knew a third in every place. The head has a weight
# for each key (`from_notes`), and must learn every chord in every place. Moving the training pieces up and down
# (`fit(..., transpose=5)`) is the cheap substitute. *Other orders.* Top-down, or the melody first, or all orders at
# once, as in orderless NADE. *Other joint models.* RBMs (RNN-RBM), whose probability cannot be computed exactly, and
# models that write a frame as a row of words (the Transformers of music), which have one long chain in place of two
# nested ones. *A long training.* Ours took a minute or two for each head, with one seed; the table above has longer
# ones.
#
# ## Summary
#
# - The best coins give each key its frequency, and play mixtures. On our six keys, 62 of 64 frames are.
# - The price of independence is the **total correlation**: what the keys cost one by one, less what they cost
#   together. There it is 5 log 2.
# - The chain rule spells a frame key by key, and loses nothing. In any order; ours is from low to high.
# - On real frames the lower keys say *when* (voices move together) and *what* (which distances go together).
# - A frame of n notes takes n + 1 looks. In training all are made at once; a key's answer comes from look number
#   "notes below".
# - It is exact: it sums to 1, no key sees itself or a higher one, and what is drawn has the probabilities given.
# - With the same core and the same layers, chords needed fewer nats than coins, most of all where something begins.
#
# ## Quiz
#
# **1.** A model of coins gives eight keys one half each, and its loss on them is 8 log 2. Was it trained badly?
#
# <details><summary>Answer</summary>
#
# Not necessarily. If each of these keys is down in half of the frames that look alike to the model, no coins are
# better. What is missing is not training, but that the keys know of each other.
#
# </details>
#
# **2.** Why may the coins above the lowest one be thrown away?
#
# <details><summary>Answer</summary>
#
# They were tossed without knowing the note that was found, so their probabilities are not those of the chain rule.
# The keys up to the note have had theirs. Thrown away unseen, the others do not change what the rest is drawn from.
#
# </details>
#
# **3.** By mistake a head sees the notes *at and below* a key. What happens to its training loss, and to its music?
#
# <details><summary>Answer</summary>
#
# The answer is part of the question, so the loss goes towards 0. When it generates, the note is not there yet: the
# head was never taught to guess, and what it plays means nothing. The check that flips a key would have found it.
#
# </details>
#
# **4.** In training a frame of four notes takes five looks, in generation as well. Why is generation the slower one?
#
# <details><summary>Answer</summary>
#
# In training the notes are known, and all looks of all frames are one large batch. In generation a look needs the note
# that the look before it found: five small steps, one after the other.
#
# </details>
#
# **5.** On JSB one LSTM has 7.61 nats and another 4.49. Does the second remember more?
#
# <details><summary>Answer</summary>
#
# That does not follow. The second has a joint head, and within a frame it knows the lower keys. The comparison shows
# what it is worth to make a chord one decision; to compare memories, give both the same head.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Put your code in place of the `...` and run the cell: it says "right" when it is. Give numbers as Python computes
# them, not rounded: 1 part in 10,000 is the most that an answer may be off. Solutions are in the notebook
# [A6_solutions](A6_solutions.ipynb).
#
# **1 (easy).** On the six keys, C E G and C F A are equally likely: they share a key. How many nats per frame do the
# best coins need?

# %%
nats_of_coins = ...

check("A2.1", nats_of_coins)

# %% [markdown]
# **2 (easy).** Two equally likely chords of four keys each have no key in common. With which probability do the best
# coins for these eight keys play one of the two?

# %%
no_mixture = ...

check("A2.2", no_mixture)

# %% [markdown]
# **3 (easy).** How many looks does the package's head make in all at the frames 2 to T of `roll`?

# %%
all_looks = ...

check("A2.3", all_looks, roll)

# %% [markdown]
# **4 (medium).** A piano of three keys: `joint[a, b, c]` is the probability of the frame whose lowest key is `a` (0 or
# 1), the middle one `b`, the highest `c`. Compute its total correlation in nats.

# %%
joint = np.random.default_rng(0).dirichlet(np.ones(8)).reshape(2, 2, 2)
gap = ...

check("A2.4", gap, joint)

# %% [markdown]
# **5 (medium).** The chain rule for entropies: how many nats does each of the three keys cost on average, given the
# keys below it? Three numbers, lowest key first; their sum is the entropy of the frame.

# %%
costs = ...

check("A2.5", costs, joint)

# %% [markdown]
# **6 (open).** Is low to high a good order? Turn the keyboard round (`some[:, ::-1]` for every piece) and train the
# chords again. Then give the head relative pitch: put what `Neighbours` knows (`by_distance`) beside `from_notes`, so
# that a chord learned in one place is known in all. Which of the two gains more, and on which frames?
#
# ## Next
#
# Back on the main road: [05_generation_and_playback](05_generation_and_playback.ipynb), where chords are played at all
# temperatures. `python -m midigen_utils train --head chords` trains a model of your own with this head.
#
# ## References
#
# - Hugo Larochelle and Iain Murray, *The Neural Autoregressive Distribution Estimator*, AISTATS 2011: the chain rule
#   as a network (NADE). Benigno Uria, Marc-Alexandre Côté, Karol Gregor, Iain Murray and Hugo Larochelle, *Neural
#   Autoregressive Distribution Estimation*, JMLR 17, 2016, [arXiv 1605.02226](https://arxiv.org/abs/1605.02226): all
#   orders at once.
# - Nicolas Boulanger-Lewandowski, Yoshua Bengio and Pascal Vincent, *Modeling Temporal Dependencies in
#   High-Dimensional Sequences*, ICML 2012, [arXiv 1206.6392](https://arxiv.org/abs/1206.6392): RNN-RBM and RNN-NADE,
#   and the benchmarks.
# - Shaojie Bai, J. Zico Kolter and Vladlen Koltun, *An Empirical Evaluation of Generic Convolutional and Recurrent
#   Networks for Sequence Modeling*, 2018, [arXiv 1803.01271](https://arxiv.org/abs/1803.01271).
# - Ronalds Zakovskis, Andis Draguns, Eliza Gaile, Emils Ozolins and Karlis Freivalds, *Gates Are Not What You Need in
#   RNNs*, 2021, [arXiv 2108.00527](https://arxiv.org/abs/2108.00527): RRU.
# - Rahul Krishnan, Uri Shalit and David Sontag, *Structured Inference Networks for Nonlinear State Space Models*, AAAI
#   2017, [arXiv 1609.09869](https://arxiv.org/abs/1609.09869): DMM.
# - Raunaq Vohra, Kratarth Goel and J. K. Sahoo, *Modeling Temporal Dependencies in Data Using a DBN-LSTM*, DSAA 2015.
# - Shixiang Gu, Zoubin Ghahramani and Richard Turner, *Neural Adaptive Sequential Monte Carlo*, NeurIPS 2015,
#   [arXiv 1506.03338](https://arxiv.org/abs/1506.03338).
# - Christian Walder, *Modelling Symbolic Music: Beyond the Piano Roll*, ACML 2016,
#   [arXiv 1606.01368](https://arxiv.org/abs/1606.01368).
# - Satosi Watanabe, *Information Theoretical Analysis of Multivariate Correlation*, IBM Journal of Research and
#   Development 4, 1960: total correlation.
