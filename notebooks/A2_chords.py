# %% [markdown]
# # A2 · Chords: a frame as one decision
#
# Notebook 03 found that 88 independent answers tear chords apart, and built an output that asks the keys upwards. This
# appendix goes deeper. Here you
#
# - work out on a piano of six keys what independence costs, in nats,
# - measure on real frames how much the lower keys say about a key, without any network,
# - make the chord head fast, with a look for each note in place of each key,
# - prove that it is a probability, and that drawing from it is fair,
# - train the same small network twice, with and without whole chords, and compare nats and music,
# - find our place in a table of published results.
#
# You need notebooks 03 and 05. It takes two to three minutes on two free CPU cores, most of them training; the run
# shown took longer. Independent keys are called **coins** here, one coin for each key.

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
from midigen_utils.show import BLUE, GREY, ORANGE, figure, note_name, player

# %% [markdown]
# ## Settings
#
# Bach's chorales, or after `make data` MAESTRO.

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

# %% tags=["nbval-ignore-output"]
figure("road", here="A2")

# %% [markdown]
# First, listen. A Mamba that was trained on pianists gets four seconds of a chorale, in orange, and goes on twice with
# the same random seed, first with 88 coins a frame:

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: four seconds of a chorale, then very many short notes all over the keyboard"}, "figure": {"caption": "The Mamba with 88 coins for each frame."}}
pretrained = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
seed = roll[:SEQUENCE_LENGTH]
coins = generate_music(pretrained, seed, CLIP, head="keys", random_seed=2)
player(coins, title="MusicMamba, 88 coins", seed_frames=len(seed))

# %% [markdown]
# And with whole chords:

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: the same four seconds, then few and longer notes that form voices"}, "figure": {"caption": "The same Mamba with its chord head."}}
chords = generate_music(pretrained, seed, CLIP, head="chords", random_seed=2)
player(chords, title="MusicMamba, chords", seed_frames=len(seed))

# %% [markdown]
# **Finding.** The 16 seconds hold 344 notes with coins and 103 with chords, the given ones included. Many of the coins'
# notes lie far away from all others; with chords there are voices to follow. The comparison is not fair, because the
# memory was trained for chords, and the coins learned to read it on the side. Below we train both in the same way.
#
# ## What independence costs
#
# Make the piano small, six white keys from C to A, and the music, too: every frame is C E G or D F A, each as likely as
# the other. There are 2⁶ = 64 possible frames, and two of them are music.

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
# As in notebook 03, the best coin of each key shows how often the key is down, here one half, and six such coins play
# one of the two chords in 2 draws of 64. A perfect model needs log 2 for a fair choice between two chords. That is the
# **entropy** of the frame, $H = -\sum_y p(y) \log p(y)$: the loss of a model that knows everything there is to know.
#
# *Predict:* how many nats more do the best coins pay for a frame?
#
# <details><summary>Answer</summary>
#
# Five times log 2. They pay log 2 for each of six keys, and one choice is all there is.
#
# </details>


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
# **Finding.** The six keys cost 4.159 nats one by one, and the whole frame 0.693. The gap of 3.466 nats, 5 log 2, is
# called the **total correlation**. It is never below 0, and 0 only if the keys have nothing to do with each other. A
# model of coins pays it for every frame, whatever its size. The same number is the distance from the coins to the truth
# (*Kullback-Leibler divergence*): the mean of log p − log q over the frames that are heard, where q is what the coins
# give to a frame.

# %%
p_key = table @ FRAMES  # (6,)
q = np.where(FRAMES == 1, p_key, 1 - p_key).prod(axis=1)  # (64,): six coins
heard = table > 0
assert np.isclose(np.sum(table[heard] * np.log(table[heard] / q[heard])), alone - together)

# %% [markdown]
# **Exercise A2.1 (easy).** On the six keys, C E G and C F A are equally likely: they share a key. How many nats per
# frame do the best coins need? Give numbers as Python computes them, not rounded.

# %%
nats_of_coins = ...

check("A2.1", nats_of_coins)

# %% [markdown]
# **Exercise A2.2 (easy).** Two equally likely chords of four keys each have no key in common. With which probability do
# the best coins for these eight keys play one of the two?

# %%
no_mixture = ...

check("A2.2", no_mixture)

# %% [markdown]
# **Exercise A2.4 (medium).** A piano of three keys: `joint[a, b, c]` is the probability of the frame whose lowest key
# is `a` (0 or 1), the middle one `b`, the highest `c`. Compute its total correlation in nats.

# %%
joint = np.random.default_rng(0).dirichlet(np.ones(8)).reshape(2, 2, 2)
gap = ...

check("A2.4", gap, joint)

# %% [markdown]
# ## In any order
#
# The chain rule of notebook 03 goes through a frame key by key, each knowing those before it. Nothing is lost. To check
# that, we give all 64 frames some probability and find each factor by counting: of the frames that agree with y on the
# keys so far, the share that agrees on the next key, too.


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
# Any order gives the same product. For a *learned* model the order does matter, because some questions are easier to
# learn than others. Ours goes upwards, as music is often thought of from the bass. The keys of our two chords cost, if
# each knows those below it:

# %% tags=["nbval-check-output"]
music_table = table + 1e-12  # chain divides by the probabilities
nats = -np.log(chain(music_table / music_table.sum(), range(6)))  # (64, 6)
print("nats of   ", *(f"{key:>6}" for key in KEYS))
for row in np.flatnonzero(table):
    print(name(FRAMES[row]), *(f"{abs(value):6.3f}" for value in nats[row]))

# %% [markdown]
# **Finding.** The lowest key costs 0.693 nats, log 2, and all others nothing: once C is decided, everything is known.
#
# **Exercise A2.5 (medium).** How many nats does each of the three keys of exercise A2.4 cost on average, given the keys
# below it? Give three numbers, lowest key first. Their sum is the entropy of the frame.

# %%
costs = ...

check("A2.5", costs, joint)

# %% [markdown]
# ## On real frames
#
# Is real music like that? Before we build a network, we count. When several keys are struck in one frame, how far apart
# are neighbours? For comparison we let coins play the same pieces: we shuffle the frames in which something is struck,
# for each key by itself, so that each key is struck as often as before.


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

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Bars of the distances between neighbouring keys that are struck together, for real pieces and for coins. The real pieces have few at 1, 2 and 11 semitones, and more at 3, 4, 7, 8, 9 and 12"}, "figure": {"caption": "How far apart neighbours are that are struck together: in Bach's chorales, and as coins would play them."}}
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
# **Finding.** In the chorales 1.5 % of all neighbours are 1 or 2 semitones apart, the harsh distances; as coins would
# play them, it is 24.0 %. Real neighbours prefer 3, 4, 5, 7, 8, 9 and 12 semitones. The coins know how often this piece
# uses each key, but leave to chance what sounds together, and chance favours small distances. Only keys that are struck
# together count, so a voice that is held while another moves against it is not in the figure.
#
# ### What the lower keys are worth
#
# Now in nats. Markov-1 of notebook 03 knows for each key whether it was down one frame ago. We let it see more, in
# three steps:
#
# 1. its neighbours *one frame ago*,
# 2. whether any lower key of *this* frame has moved, that is, was struck or released,
# 3. *which* lower keys of this frame are held, struck and released.
#
# It sees neighbours **by distance**: it has one weight for "3 semitones above a key that is struck", wherever on the
# keyboard that happens, and another for keys that were down before.

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
# `cumsum(1) - some` counts the keys below, and will come back. No key sees itself or a higher one, so the product over
# keys is a probability of the frame. Markov-1 is counted. The other three start from it and are trained on the same
# frames.
#
# *Predict:* which of the three steps saves most nats per frame?
#
# <details><summary>Answer</summary>
#
# The second, whether any lower key has moved.
#
# </details>


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
# **Finding.** The neighbours' past lowers 2.70 nats to 2.44. That a lower key has moved lowers them to 1.88, and which
# lower keys to 1.62. The last two steps use no better memory of the past, only the frame itself. The second says
# **when**: voices of a chorale move together, so a key expects to move once a lower one has. The third says **what**:
# which notes go with those below. Where something begins each of them helps, from 13.57 to 11.49 and on to 9.54. Coins
# cannot have either.
#
# What did it learn about distances? We look at the weights of a key that was up, for lower keys that are struck now:

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Bars of weights for 1 to 24 semitones. Far below 0 at 1, 2, 11, 13 and 23, above 0 at 7 to 9, 15, 16 and 19 to 21"}, "figure": {"caption": "What a struck key says about keys above it. Below 0 it forbids, above 0 it invites."}}
weights = model.which[1, 0, REACH + 1 :].detach()
fig, ax = plt.subplots(figsize=(9, 3), layout="constrained")
ax.bar(range(1, REACH + 1), weights, color=np.where(weights > 0, BLUE, ORANGE))
ax.axhline(0, color=GREY, linewidth=0.8)
ax.set(xlabel="semitones above a key that is struck in the same frame", ylabel="weight (on the logit)")
_ = ax.set_xticks(range(1, REACH + 1))

# %% [markdown]
# What to see: 1, 11, 13 and 23 semitones, the sharp dissonances, are far below 0, and so is the whole tone, 2. Fifths
# and sixths, 7 to 9, are above 0, and most of all thirds, fifths and sixths an octave higher, 15, 16 and 19 to 21.
# Nobody gave it a rule of harmony. Thirds, 3 and 4, are a little below 0, although they are common. A weight says what
# a distance *adds*, and that a lower key has moved speaks for them already.
#
# A chord is more than the sum of its pairs, and a memory is more than one frame, so a network has to look. ## The chord
# head, made fast
#
# ### One look
#
# A **look** takes the `features` of the model, the last frame, and the notes of this frame that were found so far. It
# gives the logits of all 88 keys. The network is that of notebook 03, with one change: what all looks at a frame share,
# the `context`, is computed apart.


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
# We copy the weights of the pretrained Mamba's head, and take the features of a real piece:

# %% tags=["nbval-check-output"]
head = Look(pretrained.feature_size)
print(head.load_state_dict(pretrained.chords.state_dict()))

# %%
piece = torch.from_numpy(roll > 0).float()  # (T, 88)
past, frames = piece[:96], piece[1:97]  # (F, 88) each: a frame, and the frame to predict
with torch.no_grad():
    features = pretrained.features(past[None])[0][0]  # (F, D)

# %% [markdown]
# The slow way, with a look for each key, gives what the package's head computes for all frames at once.


# %%
def log_prob_by_key(head, frame, features, past):
    """Log probability of one frame (P,): a look for each key."""
    total, keys = 0.0, torch.arange(len(frame))
    for key in range(len(frame)):
        notes = torch.where(keys < key, frame, 0.0)  # the notes below this key
        logit = head.look(head.context(features, past), notes)[key]
        total = total - F.binary_cross_entropy_with_logits(logit, frame[key])
    return total


# %%
with torch.no_grad():
    theirs = pretrained.chords.log_prob(frames[None], features[None], past[None])[0]  # (F,)
    ours = torch.stack([log_prob_by_key(head, *given) for given in zip(frames, features, past)])
assert torch.allclose(ours, theirs, atol=1e-3)

# %% [markdown]
# ### n + 1 looks are enough
#
# Most of these 88 looks are the same, because a look depends on the notes found so far, and between two notes nothing
# is found. So a frame of n notes takes n + 1 looks. Each answers for all keys up to the next note, that one included,
# and the last one for the rest of the keyboard.

# %% tags=["nbval-check-output"]
frame = music[0]
below = frame.cumsum() - frame  # (6,): how many notes lie below each key
print("frame           ", name(frame))
print("notes below     ", *below)
for rank in range(frame.sum() + 1):
    known, asked = frame * (below < rank), below == rank
    print(f"look {rank}: knows    {name(known)}   answers for {name(asked)}")

# %% [markdown]
# "Notes below", `cumsum - frame`, is also the number of the look that answers for a key. How many looks do real frames
# need?

# %% tags=["nbval-ignore-output"]
looks = 1 + y_val.sum(1)
print(f"notes in a frame {y_val.sum(1).mean():.2f}, looks {looks.mean():.2f}, at most {int(looks.max())}, not 88")

# %% [markdown]
# **Finding.** A frame of the validation chorales has 3.66 notes on average and takes 4.66 looks, at most 5 in place of
# 88.
#
# **Exercise A2.3 (easy).** How many looks does the package's head make in all at the frames 2 to T of `roll`?

# %%
all_looks = ...

check("A2.3", all_looks, roll)

# %% [markdown]
# ### All looks of all frames at once
#
# In training the frames are known, so all looks can be made side by side: a key's answer must know the true notes below
# it, not those that the model would have found. That is teacher forcing again, within a frame. R is the largest number
# of looks in the batch, and `gather(0, below)` picks for each frame and key, out of R layers of logits, the layer
# `below`.


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
# The twin check: the same logits as the package's, and the same log probabilities as before.

# %%
with torch.no_grad():
    logits_twin = pretrained.chords.conditionals(frames[None], features[None], past[None])[0]
    assert torch.allclose(conditionals(head, frames, features, past), logits_twin, atol=1e-3)
    assert torch.allclose(log_prob(head, frames, features, past), theirs, atol=1e-3)

# %% [markdown]
# Ours makes R looks at *every* frame, the package n + 1 at each. The times for 16 frames:


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
# **Finding.** A look for each key takes 1073 ms, all looks at once 0.8 ms, and the package 1.2. The first makes 16
# times 88 small looks one by one. What the package saves pays in large batches, in which few frames have many notes.
#
# ## Is it a probability?
#
# The probabilities of all frames must sum to 1. For 88 keys nobody can add them up; for six there are 64 numbers. We
# take a head that was never trained, with large weights so that it has strong opinions.

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
# **Finding.** The 64 probabilities sum to 1.00000, although nothing was normalised: every factor is a coin, and a
# coin's two sides sum to 1. That holds only if no key sees itself or a higher one. To check it, flip a key and see
# whose answer changes:

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
# One look gives coins for all keys, but those above the next note do not know that note yet. The next note is key k if
# all coins between the last note j and k show tails and that of k shows heads. This has the probability $(1 - p_{j+1})
# \cdots (1 - p_{k-1}) \, p_k$, factors of the chain rule, all from one look. The coins above k are thrown away unseen,
# and the next look makes new ones.
#
# One random number for each look will do. That the next note is key k *or a lower one* has the probability $1 - (1 -
# p_{j+1}) \cdots (1 - p_k)$, which grows from key to key. Draw a number between 0 and 1. The next note is the first key
# at which this probability passes it; if there is none, the frame is finished.


# %%
@torch.no_grad()
def draw_by_one_number(head, features, past, uniform):
    """One frame (1, P); `uniform(n)` gives n random numbers between 0 and 1."""
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
# Does it draw with the right probabilities? All 64 of the tiny head are known. We draw 20,000 frames side by side and
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

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Points along the diagonal of two logarithmic axes; only the rarest frames, below one in a thousand, scatter around it"}, "figure": {"caption": "How often each of 64 frames was drawn, against its probability."}}
fig, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
ax.plot([1e-5, 1], [1e-5, 1], color=GREY, linewidth=0.8)
ax.plot(p, np.maximum(frequency, 1e-5), "o", color=BLUE, markersize=4)
ax.set(xscale="log", yscale="log", xlabel="probability that the head gives", ylabel="share of 20,000 frames drawn")
print(f"chi-square {chi_square:.0f}, largest deviation {np.abs(deviation[p > 1e-3]).max():.1f} standard errors")

# %% [markdown]
# **Finding.** The points lie on the line, and none of them is more than 1.8 standard errors off; frames below one in a
# thousand are not counted there. Chi-square, which adds up the squared deviations of all 64, is 62, and 63 is to be
# expected.
#
# Back to C E G or D F A. A small head learns them in 200 steps. What does it say at each look?


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

# %% tags=["nbval-ignore-output"]
print("notes found    ", *(f"{key:>5}" for key in KEYS))
for found in ([0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0]):
    with torch.no_grad():
        coin = torch.sigmoid(toy.look(toy.context(torch.zeros(1), nothing), torch.tensor(found).float()))
    highest = max((key for key in range(6) if found[key]), default=-1)
    print(f"{name(found)}    ", *(f"{v:5.2f}" if key > highest else "    ." for key, v in enumerate(coin.tolist())))

# %% [markdown]
# **Finding.** Read the first line from the left, as the chain rule does. C gets 0.50, and D 1.00: *if C did not come*,
# D must. The keys above D in this line are never asked, because by then a note has been found. With C found, D has 0.00
# and E 1.00.
#
# ## On Bach: coins against chords
#
# In notebook 03 the chord head brought two things at once: whole chords, and a second, direct view of the last frame.
# Here they are taken apart. A small LSTM is trained twice with a head on top, and the heads differ in one thing only.
# The **coins** have the same layers and the same view of the past, but never hear which notes were found: the weights
# that would read them are 0 and stay so.


# %%
class CoinHead(ChordHead):
    """A chord head that ignores the notes found so far: so its keys are independent coins."""

    def __init__(self, *sizes, **named):
        super().__init__(*sizes, **named)
        nn.init.zeros_(self.from_notes.weight).requires_grad_(False)

    def conditionals(self, frames, features, past):
        return self.look(self.context(features, past), torch.zeros_like(past))  # one look will do


# %% [markdown]
# The chords make n + 1 looks a frame, so a step takes longer. To be fair in that, too, the coins go through the music
# five times and the chords twice.
#
# *Predict:* where will chords gain most, in frames that repeat the last one or in frames where something begins?
#
# <details><summary>Answer</summary>
#
# Where something begins: two thirds of the gap lie in an eighth of the frames.
#
# </details>

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
# **Finding.** With the same memory and view, chords need 1.40 nats per frame and coins 1.68, although the coins trained
# longer, 128 s against 97 s. Of the gap 68 % lies in the 12 % of frames with an onset, where coins need 9.24 nats and
# chords 7.61. This is what independence costs, as far as so small a training shows it, with one seed and one learning
# rate.
#
# **Finding.** The line above them is as telling. A model without memory, with a few hundred weights, which sees the
# lower keys, needs 1.62 nats; the LSTM with coins, which does not see them, needs 1.68. At onsets its memory does help,
# 9.24 against 9.54.
#
# The memory of notebook 03, with separate keys and no direct view, stayed above 2 nats. So a good part of the step
# there probably came from the view and the layers behind it; size and time differ, and a fair test of that is left to
# you.
#
# What does the head do at each look? We take the frame of a piece in which most keys are struck. On top are the coins
# of one model, below the looks of the other, which is told the true notes one after the other.


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


# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Six rows of bars over part of the keyboard. The coins, and look 0, are highest at keys of the last frame. In looks 1 to 3 some bars at old keys stay highest, while bars at new keys grow. Look 4 has hardly any bar"}, "figure": {"caption": "The probabilities of each key when every voice moves. Orange triangles are the notes of this frame, grey ones those of the last. A bar of the chords holds if no key to its left comes first."}}
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
# What to see: the coins bet on the four grey keys, because most frames stay as they are. Look 0 is nearly sure of the
# old bass. Once told that the bass has moved, the head still favours the old keys of the middle voices, but new keys
# grow beside them. F4 and D5 had next to nothing from the coins and get about a third when their turn comes; a higher
# key, which does not come, gets more.
#
# The old top note falls from the highest of all to about a fifth. The last look expects no more notes. So the notes
# found do change the answers, and after two epochs they change them too little.
#
# Both go on from the same seed:

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: the seed and what the small LSTM with coins makes of it"}, "figure": {"caption": "The small LSTM with coins."}}
made = generate_music(models["coins"], seed, CLIP, random_seed=0)
player(made, title="Small LSTM, 88 coins", seed_frames=len(seed))

# %% tags=["nbval-ignore-output"] mystnb={"image": {"alt": "Player: the seed and what the small LSTM with chords makes of it"}, "figure": {"caption": "The same LSTM with chords."}}
made = generate_music(models["chords"], seed, CLIP, random_seed=0)
player(made, title="Small LSTM, chords", seed_frames=len(seed))

# %% [markdown]
# To compare their *chords* we count three things over several seeds, and in the real pieces: how many keys are struck
# together; how many pairs of keys a semitone apart are struck at once, per 100 notes; and known shapes. A shape is the
# distances from the lowest key, where something is struck and three keys or more sound. It is known if it occurs in the
# training pieces.


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
# **Finding.** In all three the chords are nearer to Bach. They strike 1.91 keys together, where the coins strike 1.68
# and Bach 2.68. They have 0.40 clashes per 100 notes, the coins 3.45, and Bach 0.00. And 72 % of their shapes are
# known, beside 50 % and 97 %. A shape that training never had *may* be a mixture, as on the six keys, and the chord
# head has many of those as well. One seed and a dozen pieces are a hint, no more.
#
# ## What, and not when
#
# In notebook 05 the music of independent keys stood still at a low temperature, and that of chords did not. Why? Most
# frames repeat the one before. Here are three ways to go on from C E G, and staying, with probabilities that we choose:

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
# `exact(lazy, 0.5)` has the coins' temperature. `Chords.choose`, which `generate_music` uses, draws a frame at
# temperature 1 and takes from it only *how many* keys go down and come up. Among the frames that move as many keys it
# weighs by `p ** (1 / temperature)`. With 64 frames we can write down what it aims at.
#
# *Predict:* at temperature 1 the music stays on C E G with probability 0.7. What will that be at 0.5, in each of the
# two ways?
#
# <details><summary>Answer</summary>
#
# Above 0.9 with the coins' temperature, and 0.7 as before with `choose`.
#
# </details>


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
# **Finding.** With the coins' temperature the music stays in 0.928 of all cases, more often than the model wants. With
# `choose` it stays in 0.699, so it keeps its tempo. *What* is played does get colder: of the moves, the likeliest, G to
# A, has a share of 0.60 at temperature 1 and 0.75 with `choose`. The aim is 0.78. `choose` cannot see all frames of 88
# keys, so it draws 32 (`CANDIDATES`) and picks among those that are alike.
#
# ## Where we stand
#
# Papers have measured nats per frame since 2012, on Bach's chorales in quarter notes (*JSB*) and folk tunes with chords
# in eighths (*Nottingham*). This is the test part, and lower is better. The lines "ours" are not measured here;
# `docs/results.md` has every run with its command, its time and its settings. *Joint* means that a frame is one
# decision.
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
# | ours: LSTM, chord head, 0.57 M weights, three seeds | joint | 4.49 | 1.90 |
# | ours: Mamba (SSD), chord head, 1.09 M weights, one seed | joint | 4.64 | 1.84 |
#
# All joint models in it are lower than all models of coins. Ours saw the pieces in all twelve transpositions, and most
# of the others did not. *Estimated* means that the likelihood cannot be computed exactly. The table is no survey: the
# DBN-LSTM of Vohra et al. (2015) is quoted lower, also by an estimate.
#
# > **A caveat.** A joint model knows the lower keys of a frame when it judges a key; coins do not. Each number is the
# > probability that a model gives to the whole frame, given the past, so they may be compared as that. But the
# > difference between 7.61 and 4.49 says nothing about *memory*: both are LSTMs. To compare memories, give them the
# > same head.
#
# Our head has a weight for each key and must learn every chord in every place, where `Neighbours` knew a third wherever
# it stood. Transposed training pieces are a cheap substitute for that.
#
# ## Summary
#
# - The price of independence is the **total correlation**: what the keys cost one by one, less what they cost together.
# - The chain rule loses nothing, in any order. Ours goes from low to high.
# - On real frames the lower keys say *when*, because voices move together, and *what*, because some distances go
#   together.
# - A frame of n notes takes n + 1 looks. In training all are made at once.
# - It is exact: it sums to 1, no key sees itself or a higher one, and frames are drawn with the probabilities given.
# - With the same memory and layers, chords need fewer nats than coins, most of all where something begins.
#
# ## Quiz
#
# Answer first, then open.
#
# **1.** By mistake a head sees the notes *at and below* a key. What happens to its training loss, and to its music?
#
# <details><summary>Answer</summary>
#
# The answer is part of the question, so the loss goes towards 0. When it generates, the note is not there yet: the head
# never learned to guess, and what it plays means nothing. The check that flips a key would have found it.
#
# </details>
#
# **2.** In training a frame of four notes takes five looks, in generation as well. Why is generation the slower one?
#
# <details><summary>Answer</summary>
#
# In training the notes are known, and all looks of all frames are one large batch. In generation a look needs the note
# that the look before it found: five small steps, one after the other.
#
# </details>
#
# **3.** A model of coins gives eight keys one half each, and its loss on them is 8 log 2. Was it trained badly?
#
# <details><summary>Answer</summary>
#
# Not necessarily. If each of these keys is down in half of the frames that look alike to the model, no coins are
# better.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Exercises A2.1 to A2.5 stand in the sections above; solutions are in [A6_solutions](A6_solutions.ipynb). One is left.
#
# **Open.** Is low to high a good order? Turn the keyboard round (`some[:, ::-1]` for every piece) and train the chords
# again. Then give the head relative pitch: put what `Neighbours` knows (`by_distance`) beside `from_notes`, so that a
# chord learned in one place is known in all. Which of the two gains more, and on which frames?
#
# ## Next
#
# Back on the main road: [05_generation_and_playback](05_generation_and_playback.ipynb), where chords are played at all
# temperatures. `python -m midigen_utils train --head chords` trains a model of your own with this head.
#
# ## References
#
# - Hugo Larochelle and Iain Murray, *The Neural Autoregressive Distribution Estimator*, AISTATS 2011: the chain rule as
#   a network (NADE).
# - Nicolas Boulanger-Lewandowski, Yoshua Bengio and Pascal Vincent, *Modeling Temporal Dependencies in High-Dimensional
#   Sequences*, ICML 2012, [arXiv 1206.6392](https://arxiv.org/abs/1206.6392): RNN-NADE, and the benchmarks.
# - Shaojie Bai, J. Zico Kolter and Vladlen Koltun, *An Empirical Evaluation of Generic Convolutional and Recurrent
#   Networks for Sequence Modeling*, 2018, [arXiv 1803.01271](https://arxiv.org/abs/1803.01271): TCN.
# - Ronalds Zakovskis et al., *Gates Are Not What You Need in RNNs*, 2021, [arXiv
#   2108.00527](https://arxiv.org/abs/2108.00527): RRU.
# - Rahul Krishnan, Uri Shalit and David Sontag, *Structured Inference Networks for Nonlinear State Space Models*, AAAI
#   2017, [arXiv 1609.09869](https://arxiv.org/abs/1609.09869): DMM.
# - Raunaq Vohra, Kratarth Goel and J. K. Sahoo, *Modeling Temporal Dependencies in Data Using a DBN-LSTM*, DSAA 2015.
# - Satosi Watanabe, *Information Theoretical Analysis of Multivariate Correlation*, IBM Journal of Research and
#   Development 4, 1960: total correlation.
