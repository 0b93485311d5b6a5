# %% [markdown]
# # 00 · Start here: from a MIDI file to a network that composes
#
# Press play on the third player below. Orange notes are Bach's, the first four seconds of a chorale. Blue ones were
# composed, note by note, by a neural network that had never read this chorale.
#
# In this course you build such a network, a smaller one, the second player below: from the bytes of a music file to a
# page with your own composer on it, which you can send to a friend. You need some Python. You need neither a graphics
# card nor any theory of music.
#
# If a player is only a still picture, run the notebook first (▶▶ in the toolbar). And turn the volume down for the
# first one: it knows nothing yet, and presses half of the keyboard.

# %% tags=["nbval-ignore-output"]
import os

from torch import nn

from midigen_utils import MIDI_CONFIG, evaluate, figure, fit_baselines, generate_music, load_corpus, load_model
from midigen_utils import finding, load_piano_rolls, piano_roll_to_midi, player, scaled, seed_everything
from midigen_utils.files import MIDI_DATA
from midigen_utils.learn import composer_table, print_composers, train_composer
from midigen_utils.models import FrameModel

CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
SECONDS = scaled(full=40, fast=1)  # of training

rolls, corpus = load_piano_rolls(load_corpus(CORPUS))
piece, roll = corpus.split("validation")[2], rolls["validation"][2]
seed = roll[:64]  # four seconds, sixteen frames in each


def listen(model, name):
    """Twelve seconds of music: four of the piece, eight of the model."""
    music = generate_music(model, seed, 8 * 16, random_seed=2)  # another number gives another take
    return player(music, seed_frames=len(seed), title=name, composer=f"goes on from {piece.title}")


# %% [markdown]
# **Three composers, one beginning.** The first has learned nothing. The second was trained for four minutes, the third
# for an hour; all three then go on from the same four seconds. Of sixteen random numbers, 2 was chosen because with it
# both trained networks keep moving; with 14 the second holds one chord to the end.

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "Four seconds of a chorale, continued by an untrained network."}, "image": {"alt": "Player: after the seed about half of all keys are down in every frame"}}
seed_everything(0)
listen(type(load_model("composer/00"))(), "A network that has learned nothing")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The same beginning, continued by the composer that this course grows."}, "image": {"alt": "Player: seed and continuation of the course's composer"}}
listen(load_model("composer/05"), "The composer of this course, after notebook 05")

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The same beginning, continued by a network that learned from Bach's chorales for an hour."}, "image": {"alt": "Player: seed and continuation of the pretrained network"}}
listen(load_model("bach"), "A MusicMamba that read Bach for an hour")

# %% [markdown]
# ## Six words
#
# - A **MIDI file** says which key went down, when, how hard, and when it came up again. It holds no sound.
# - A **piano roll** is that as a table: a *frame* (a row) for each sixteenth of a second (not a sixteenth note), a
#   column for each of the 88 keys.
# - A **chorale** is a hymn in four voices. Bach set more than three hundred; the package music21, which this course
#   installs, brings them along.
# - **MAESTRO** is a collection of 1,276 performances by concert pianists, recorded from the keys. It is a download.
# - An **LSTM** is a network that reads frame by frame and carries a memory along. It fades and is added to, at a speed
#   that the network decides from the frame and from what it said last.
# - A **Mamba** decides from the frame alone: so all frames of a training window can be computed at once.
#
# ## A composer in fifteen lines
#
# Here is the first one. It sees the last frame, nothing else, and says for each of the 88 keys how likely it is to be
# down in the next frame. To compose is to ask it, draw the keys with those probabilities, and ask again.


# %%
class MyComposer(FrameModel):
    def __init__(self, width=256, **options):
        super().__init__(width, width=width, **options)
        self.layers = nn.Sequential(nn.Linear(88, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def features(self, x, hidden=None):
        return self.layers(x), None  # no memory


# %% tags=["nbval-ignore-output"]
seed_everything(0)
composer = train_composer(MyComposer(), rolls, SECONDS)
nats = evaluate(composer, rolls["validation"])["nll"]
markov = evaluate(fit_baselines(rolls["train"])["Markov-1"], rolls["validation"])["nll"]
print(f"my composer {nats:.2f} nats per frame, Markov-1 {markov:.2f}, 88 fair coins {88 * 0.6931:.2f}")
finding(nats < 0.95 * markov, "my composer is ahead of Markov-1")

# %% [markdown]
# A **nat** measures surprise: a composer that is surprised by *n* nats had given the truth the probability
# $e^{-n}$. Fewer is better, and all of it is counted on chorales that the composer has not read. Coins need 61 nats
# for a frame. *Markov-1* is the opponent that counts: two rates for each key, how often it goes down and how often it
# stays down. After forty seconds your composer is ahead of it, because it sees all 88 keys at once. What does that
# sound like?

# %% tags=["nbval-ignore-output"] mystnb={"figure": {"caption": "The first composer: it sees one frame and draws each key by itself."}, "image": {"alt": "Player: seed and continuation of the composer without memory"}}
music = generate_music(composer, seed, 8 * 16, random_seed=2)
piano_roll_to_midi(music, MIDI_CONFIG, MIDI_DATA / "generated" / "my_first_composer.mid")
player(music, seed_frames=len(seed), title="My first composer", composer=f"goes on from {piece.title}")

# %% [markdown]
# Poor, and yours; it also lies in `midi_data/generated/my_first_composer.mid`. Keys fall one by one where four voices
# should move together, and nothing leads anywhere, because it cannot know what came before.
#
# ## One composer that grows
#
# Notebooks 02 to 04 change one thing at a time and train it again for the same forty seconds; 05 adds loudness and
# transposition, and trains six times as long. The change stays if the composer then predicts chorales that it has not
# read better than before. If not, its figure stays in the table, and the composer goes on as it was. This is the whole
# table, recorded on Bach with three random beginnings each; ± is half the range of the three. Learning rates were
# chosen on the same validation pieces, so all figures are a little flattering.

# %% tags=["nbval-ignore-output"]
print_composers(composer_table())

# %% [markdown]
# **Finding.** The chord head takes the composer from 2.172 to 1.257 nats per frame, far more than anything else; six
# times the training, with loudness and transposition added, takes it to 0.909. Two changes do not pay in forty
# seconds: transposed pieces (2.279 against 2.251) and Mamba in place of the LSTM (1.375 against 1.257). Their
# notebooks say why, and what they are good for.
#
# ## The road

# %% tags=["nbval-ignore-output"]
figure("road", here="00")

# %% [markdown]
# | notebook | question | minutes to run |
# |---|---|---|
# | [01 Data exploration](01_data_exploration.ipynb) | What does a performance look like to a computer? | 1 |
# | [02 Piano roll](02_piano_roll.ipynb) | How does music become a table, and what gets lost? | 3 |
# | [03 LSTM](03_lstm_baseline.ipynb) | What is a memory worth, and why do keys belong together? | 3 |
# | [04 Mamba](04_mamba.ipynb) | How can a network choose what it remembers, and does it pay? | 6 |
# | [05 Generation](05_generation_and_playback.ipynb) | What makes music of guesses, and is it any good? | 4 |
# | [A1 Parallel scan](A1_parallel_scan.ipynb) | Why does the simplest loop win on a CPU, and lose on a GPU? | 3 |
# | [A2 Chords](A2_chords.ipynb) | Why can 88 coins not make a chord, and what can? | 3 |
# | [A3 Scaling](A3_scaling.ipynb) | How does training grow: longer music, more processors? | 3 |
# | [A4 Your own music](A4_your_own_music.ipynb) | How does a folder of MIDI files become a model of it? | 3 |
# | [A5 Judging music](A5_judging_music.ipynb) | What do measures of music notice, and what not? | 3 |
# | [A6 Solutions](A6_solutions.ipynb) | the exercises of all of them, solved | 1 |
# | [A7 The roll repaired](A7_the_roll_repaired.ipynb) | What does a roll lose, and how is a training resumed exactly? | 2 |
#
# Each notebook runs without the others: what an earlier one trained comes with the course. All run on Bach. After
# `make data`, which downloads MAESTRO, put `"maestro"` into a notebook's Settings, and the same cells speak about
# piano playing.
#
# - *Shift+Enter* runs one cell, ▶▶ runs all of them from the top. A star, `[*]`, means working.
# - Jupyter hides the players of notebooks that you have not run. Run them, or say *Trust Notebook* in the command
#   palette. *No sound?* `make doctor` says what is missing; the player needs nothing but a browser.
# - *Too slow?* Set `MIDIGEN_FAST=1` before you start Jupyter (on Windows `set MIDIGEN_FAST=1`): data and training
#   shrink. It is good for looking at the code; models stay half trained then, and findings are not checked.
# - Words you do not know: `docs/glossary.md`. If you teach: `docs/teaching.md`.
#
# ## Next
#
# [01_data_exploration](01_data_exploration.ipynb): hear a piece, see it, and read its file by hand.
