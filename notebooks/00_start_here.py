# %% [markdown]
# # 00 · Start here: from a MIDI file to a network that composes
#
# Three players, one beginning: the first four seconds of a chorale that none of them has ever read. Then a network
# goes on by itself. The first knows nothing yet. The other two have read hours of piano performances. At the end of
# this course you will have built the network inside each, and you will be able to say why they sound as they do.
#
# A player that is a still picture plays after ▶▶ in the toolbar: a notebook that you have not run yourself may not
# play sound.

# %% tags=["nbval-ignore-output"]
import os

from midigen_utils import MIDI_CONFIG, MusicLSTM, MusicMamba, generate_music, load_corpus, load_model
from midigen_utils import midi_to_piano_roll, player, seed_everything
from midigen_utils.files import MIDI_DATA

CORPUS = os.environ.get("MIDIGEN_CORPUS", "bach")  # or "maestro", after `make data`
piece = load_corpus(CORPUS).split("validation")[2]
seed = midi_to_piano_roll(piece.path, MIDI_CONFIG)[: 4 * 16]  # 4 seconds, 16 rows in each


def listen(model, name):
    """Twelve seconds of music: four of the piece, eight of the model."""
    music = generate_music(model, seed, 8 * 16, random_seed=14)  # another number, another take
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
# What to see: orange notes were given, blue ones are the network's. (Turn the volume down before the first one: it
# presses about half of the keyboard in every row, and other keys in the next.) The others hold notes, and now and then
# strike several keys at once. The Mamba keeps to the middle of the keyboard; the LSTM soon leaves it for both sides.
#
# How large are these networks? Each of these numbers has to be found by training.

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
# | [A1 Parallel scan](A1_parallel_scan.ipynb) | Why does the simplest loop win on a CPU, and lose on a GPU? | 3 | 60 |
# | [A2 Chords](A2_chords.ipynb) | Why can 88 coins not make a chord, and what can? | 3 | 60 |
# | [A3 Scaling](A3_scaling.ipynb) | How does training grow: longer music, more processors? | 3 | 60 |
# | [A4 Your own music](A4_your_own_music.ipynb) | How does a folder of MIDI files become a model of it? | 3 | 45 |
# | [A5 Judging music](A5_judging_music.ipynb) | What do measures of music notice, and what not? | 3 | 60 |
# | [A6 Solutions](A6_solutions.ipynb) | the exercises of all of them, solved | 1 | |
#
# Each notebook runs without the others, so you may begin where you like; each says at its top what it takes as known.
# They run on Bach's chorales, which come with the packages that you installed. After `make data`, which downloads
# MAESTRO, 1,276 performances by virtuosos, put `"maestro"` into a notebook's Settings, and the same cells speak about
# piano playing.
#
# ## Install, run, trust
#
# ```
# make demo          # once: installs everything into .venv, plays you something, trains for minutes
# make notebooks     # opens JupyterLab here
# ```
#
# Without `make` (on Windows, say) `docs/without_make.md` has the plain commands. Python 3.11 or newer, two processor
# cores, 2 GB of memory and 2 GB of disk are enough (on Linux without `TORCH_INDEX` more, see the README); a graphics
# card is used where there is one, and not needed.
#
# - *Shift+Enter* runs one cell and goes on to the next. ▶▶ restarts and runs all of them; it asks first. What you
#   typed stays, what was computed is computed anew. A star, `[*]`, means working, not broken.
# - Figures and tables that are there before you run anything, if any, are of the authors' last run.
# - *Trust*: Jupyter hides the players of notebooks that come from elsewhere. Running them is one cure, the command
#   palette's *Trust Notebook* is the other.
# - *No sound?* `make doctor` says what is missing. The player needs nothing but a browser.
# - *Too slow?* Set `MIDIGEN_FAST=1` before you start Jupyter (on Windows `set MIDIGEN_FAST=1`). Data and training
#   shrink: good for looking at the code. Models stay half trained then, and what the text says about their numbers
#   and their music does not hold.
#
# ## For those who teach
#
# ### 90 minutes
#
# Run 01, 02, 03 and 05 before class and leave them open. Only you type; everybody guesses before a cell is shown.
#
# | minutes | what |
# |---|---|
# | 0 to 10 | the three players above. What is wrong with the first? What would you ask of a good one? |
# | 10 to 25 | 01 to "Events, not sound": a file is a list of keys, times and forces. The class names a number for `PIECE` in Settings; run the first cells again and listen |
# | 25 to 45 | 02: "A real piece", then "Windows": music as a table, and the question "which row comes next?" |
# | 45 to 65 | 03 from "The next frame as 88 questions" to the baselines: who is the opponent? Then "Let it play" |
# | 65 to 80 | 05: temperature. Vote before each player: bolder or tamer? |
# | 80 to 90 | 05: the blind test, by show of hands. Was that better than luck? |
#
# Leave out: everything by hand in 03, all of 04.
#
# ### A day
#
# | hours | what | the class does |
# |---|---|---|
# | 1 | 01, whole | exercises 1 to 3, in pairs: one who reads music with one who reads code |
# | 1.5 | 02, whole; "Split by piece, or fool yourself" with time to wonder | exercises 1 to 3 |
# | 1.5 | 03: loss, baselines, the loop; the cell by hand as a walk through the letters | each changes one Setting and trains |
# | 1 | 04 from "A leaky bucket" to the end of "Selection" | guesses Δ at blanks and symbols before the figure |
# | 1.5 | 05, whole | the studio, then the blind test |
# | 0.5 | concert: each pair plays its best take and says why it was chosen | |
#
# ### Five weeks
#
# One notebook a week in two hours. Before: read it to the end of its first half. In class: the second half, the quiz,
# the easy exercises. Homework: the medium ones; the open one for whoever wants more. In the last hour of the fifth week
# a concert with a blind test. For a sixth week or a project take an appendix: A4 (a model of your own music) suits
# musicians, A1 (parallel scans) suits programmers, A5 (judging music) suits all.
#
# ### Before the first lesson
#
# - What your students must know: for 01 and 02 loops, functions and a little numpy; for 03 also what a class is; for 04
#   also the exponential function, and patience; for A4 what 02 needs; for A5 some statistics, or the shorter way that
#   its top describes. The reading times above are a programmer's; others take twice as long.
# - The evening before: `make demo` on the room's machines (it needs the internet once, for the packages), then once
#   with the network cable out. One copy of MAESTRO serves a whole class: put `maestro-v3.0.0/` into a shared folder and
#   set `MIDIGEN_DATA` to the folder that holds it. Headphones!
# - `make student` writes the notebooks without outputs and without solutions, as a folder and as a ZIP to hand out.
#   `make html` writes all of them as web pages with players, for those without a machine of their own.
#
# ### What usually goes wrong
#
# - Sound is off in one browser tab.
# - Someone runs cells out of order (▶▶ cures it).
# - Every open notebook keeps its memory: after each lesson, *Kernel, Shut Down All Kernels*.
# - The first notebook builds the chorales, which takes seconds on a free machine and minutes on a busy one: wait for
#   the bar.
# - Someone trains on a tenth of the data and wonders why the music is bad.
#
# ## Music words for programmers
#
# | word | here it means |
# |---|---|
# | key | here always a key of the keyboard; never C major and the like, which we call a *tonality* |
# | pitch | which key, a number from 21 to 108; 12 more sound "the same, higher" |
# | semitone | the step from one key to the next, black or white |
# | onset | the moment a key goes down |
# | velocity | how hard it was struck, 1 to 127; 0 is used for silence |
# | chord | several keys at once, chosen to sound together |
# | octave | 12 keys; the names start again |
# | voice | one line of music, as one singer sings it |
# | bar | a short stretch of music with a fixed number of beats |
# | chorale | a hymn in four voices; Bach set hundreds of hymn tunes like this |
# | (sustain) pedal | holds all notes while it is down |
# | polyphony | how many keys sound at a time |
# | transpose | move all notes by the same number of semitones |
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
# | loss | how wrong the model is; training makes it small |
# | nat | the unit of our loss: who is surprised by n nats had given the truth the probability exp(-n) |
# | gradient, slope | how much the loss changes when a weight is pushed a little |
# | baseline | an opponent that knows next to nothing; *Markov-1* looks at the last row alone |
# | head | the last part of a model, which turns what it knows into an answer |
# | hidden, state, h | what a model remembers between two rows |
# | temperature | how bold a model's choices are when it plays |
# | twin check | a cell that proves that our code and the package's do the same |
# | batch, window | the pieces of music that are read side by side in a step of training; one of them |
# | epoch | reading all the training music once |
# | logit | a score below or above 0 that becomes a probability |
# | validation | music kept away from training, to see whether something was learned and not memorised |
# | seed | the beginning that a model goes on from; also the number that makes chance repeatable |
#
# ## Next
#
# [01_data_exploration](01_data_exploration.ipynb): hear a piece, see it, and read its file by hand.
