# %% [markdown]
# # 00 · Start here: from a MIDI file to a network that composes
#
# Three players, one beginning: the first four seconds of a chorale that none of them has ever read. Then a network
# goes on by itself. The first knows nothing yet. The other two have read hours of piano performances. At the end of
# this course you will have built both, and you will be able to say why the last one sounds as it does.
#
# A player that is a still picture plays after ▶▶ in the toolbar: a notebook that you have not run yourself may not
# play sound.

# %% tags=["nbval-ignore-output"]
import os

from midigen_utils import MIDI_CONFIG, MusicLSTM, MusicMamba, generate_music, load_corpus, load_model
from midigen_utils import midi_to_piano_roll, player, seed_everything
from midigen_utils.config import MIDI_DATA

CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
piece = load_corpus(CORPUS).split("test")[2]
seed = midi_to_piano_roll(piece.path, MIDI_CONFIG)[: 4 * 16]  # 4 seconds, 16 rows in each


def listen(model, name, temperature=0.9):
    """Twelve seconds of music: four of the piece, eight of the model."""
    music = generate_music(model, seed, 8 * 16, temperature, random_seed=0)
    return player(music, seed_frames=len(seed), title=name, composer=f"goes on from {piece.title}")


# %% tags=["nbval-ignore-output"]
seed_everything(0)
listen(MusicMamba(), "A MusicMamba that has learned nothing")

# %% tags=["nbval-ignore-output"]
lstm = load_model(MIDI_DATA / "pretrained" / "lstm.pt")
listen(lstm, "The pretrained MusicLSTM")

# %% tags=["nbval-ignore-output"]
mamba = load_model(MIDI_DATA / "pretrained" / "mamba.pt")
listen(mamba, "The pretrained MusicMamba")

# %% [markdown]
# What to see: grey notes were given, coloured ones are the network's. Notes of the first player are sprinkled over
# the whole keyboard, and each lasts a moment. The others keep to the middle of the keyboard, hold notes, and strike
# several keys at once.
#
# How large are these networks? Each of their numbers was found by training.

# %% tags=["nbval-check-output"]
for model in (MusicLSTM(), MusicMamba()):
    print(f"{type(model).__name__}: {sum(p.numel() for p in model.parameters()):,} numbers")

# %% [markdown]
# (The pretrained ones have some more: what makes chords of keys, and how loud.)
#
# ## The road
#
# ```
# MIDI file ── midi_to_piano_roll ──▶ roll (T, 88) ── SequenceDataset ──▶ windows (B, 64, 88)
#                                                                              │ fit
# MIDI, sound, page ◀── piano_roll_to_midi ── roll ◀── generate_music ◀── MusicMamba, MusicLSTM
# ```
#
# | notebook | question | minutes to run | minutes to read |
# |---|---|---|---|
# | [01 Data exploration](01_data_exploration.ipynb) | What does a performance look like to a computer? | 1 | 30 |
# | [02 Piano roll](02_piano_roll.ipynb) | How does music become a table, and what gets lost? | 1 | 60 |
# | [03 LSTM baseline](03_lstm_baseline.ipynb) | What does it take to guess the next row, and who is the opponent? | 4 | 75 |
# | [04 Mamba](04_mamba.ipynb) | How can a network choose what it remembers? | 4 | 90 |
# | [05 Generation and playback](05_generation_and_playback.ipynb) | What makes music of guesses, and is it any good? | 4 | 60 |
# | [A6 Solutions](A6_solutions.ipynb) | the exercises of all of them, solved | 2 | |
#
# Each notebook stands alone, so you may begin where you like; each says at its top what it takes as known. They run
# on Bach's chorales, which come with the packages that you installed. After `make data`, which downloads MAESTRO, 1,276
# performances by virtuosos, put `"maestro"` into a notebook's Settings, and the same cells speak about piano playing.
#
# ## Install, run, trust
#
# ```
# make demo          # once: installs everything into .venv, plays you something, trains for minutes
# make notebooks     # opens JupyterLab here
# ```
#
# Without `make` (on Windows, say) the README has the plain commands. Python 3.11 or newer, two processor cores and 2 GB
# of memory are enough; a graphics card is used where there is one, and not needed.
#
# - *Run All* (▶▶) computes every cell from the top. The figures and tables that you see before are of the last run of
#   the authors.
# - *Trust*: Jupyter hides the players of notebooks that come from elsewhere. Running them is one cure, the command
#   palette's *Trust Notebook* is the other.
# - *No sound?* `make doctor` says what is missing. The player needs nothing but a browser.
# - *Too slow?* Set `MIDIGEN_FAST=1` before you start Jupyter: data and training shrink, the text stays true.
#
# ## For those who teach
#
# | you have | take | leave out |
# |---|---|---|
# | 90 minutes | the players above; 01 to "Events, not sound"; 02 to "A real piece", then "Windows"; 03 from the loss to the baselines, then listen; 05: temperature and the blind test | everything by hand in 03 and 04 |
# | a day | 01 and 02 before lunch, 03 and 05 after it; 04 only "A leaky bucket" and selection | the exercises marked medium and open |
# | five weeks | one notebook a week, its exercises as homework; the last hour is a concert with a blind test | nothing |
#
# The evening before: `make demo` on the room's machines (it needs the internet once, for the packages), then once with
# the network cable out. One copy of MAESTRO serves a whole class: put `maestro-v3.0.0/` into a shared folder and set
# `MIDIGEN_DATA` to the folder that holds it. Headphones!
#
# What usually goes wrong: sound is off in one browser tab; someone runs cells out of order (*Restart and Run All*);
# someone trains on a tenth of the data and wonders at the music.
#
# ## Music words for programmers
#
# | word | here it means |
# |---|---|
# | pitch | which key, a number from 21 to 108; 12 more sound "the same, higher" |
# | onset | the moment a key goes down |
# | velocity | how hard it was struck, 1 to 127; 0 is used for silence |
# | chord | several keys at once, chosen to sound together |
# | octave | 12 keys; the names start again |
# | chorale | a hymn in four voices; Bach wrote hundreds |
# | (sustain) pedal | holds all notes while it is down |
# | polyphony | how many keys sound at a time |
# | transpose | move all notes by the same number of keys |
# | phrase | a musical sentence, with a breath at its end |
#
# ## Programming words for musicians
#
# | word | here it means |
# |---|---|
# | array, tensor | a table of numbers, with two or more directions |
# | shape | how long a table is in each direction, such as (960, 88): 960 rows of 88 keys |
# | piano roll | a table with a row for each moment and a column for each key |
# | frame, row | one moment of a roll, a sixteenth of a second |
# | model, network | a long formula with many numbers that training adjusts |
# | parameter, weight | one of those numbers |
# | loss | how wrong the model is; training makes it small. Ours is in *nats per frame* |
# | batch, window | the pieces of music that are read side by side in a step of training; one of them |
# | epoch | reading all the training music once |
# | logit | a score below or above 0 that becomes a probability |
# | validation | music kept away from training, to see whether something was learned and not memorised |
# | seed | the beginning that a model goes on from; also the number that makes chance repeatable |
#
# ## Next
#
# [01_data_exploration](01_data_exploration.ipynb): hear a piece, see it, and read its file by hand.
