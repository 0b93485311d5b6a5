"""The blind test: can you hear which music a model made?"""

import html
import random
from math import comb

import ipywidgets
import numpy as np

from ..config import MIDI_CONFIG, count_keys
from ..show.player import LONGEST, player
from .studio import show_html

HIDE_ROLL = "<style>.midigen-blind :is(.midigen-picture, .midigen-still) { display: none; }</style>"


def blind_test(takes, random_seed=0):
    """Listen to clips without knowing who made them, guess, and see how often you were right.

    There are as many clips as the shortest list has, all of the same length. Who made each of them is drawn
    independently, like the throw of a die, so the number of right guesses that luck alone would give is binomial,
    however you guess. The piano roll is hidden until the end.

    Notebook: 05_generation_and_playback

    Args:
        takes: dict from two names or more to lists of rolls `(T, 88)` in [0, 1], such as
            `{"real": [...], "MusicLSTM": [...]}`. Leave seeds out of generated rolls: they are real music.
        random_seed: int; another one plays other clips in another order.

    Returns:
        `BlindTest`: leave it as the last line of a cell.

    Raises:
        ValueError: fewer than two names, a name without clips, or a roll of the wrong shape.
    """
    if len(takes) < 2 or not all(len(rolls) for rolls in takes.values()):
        raise ValueError('takes needs two names or more, each with a roll or more: {"real": [...], "MusicLSTM": [...]}')
    keys = count_keys(MIDI_CONFIG)
    for name, rolls in takes.items():
        for roll in rolls:
            if np.ndim(roll) != 2 or np.shape(roll)[1] != keys or len(roll) == 0:
                raise ValueError(f"{name}: a roll has the shape (T, {keys}); this one has {np.shape(roll)}")
    return BlindTest(takes, random_seed)


def luck(right, clips, choices):
    """How likely it is to guess `right` of `clips` or more by chance, where `choices` names are to choose from.

    Notebook: 05_generation_and_playback

    Returns:
        Probability in (0, 1]: the upper tail of a binomial distribution.
    """
    ways = sum(comb(clips, k) * (choices - 1) ** (clips - k) for k in range(right, clips + 1))
    return ways / choices**clips


class BlindTest(ipywidgets.VBox):
    """What `blind_test` returns: an ipywidgets box, and `guesses`, a list of `(who made it, who you said)` so far."""

    def __init__(self, takes, random_seed):
        self.guesses, self._names, self._pages = [], list(takes), []
        chance = random.Random(random_seed)
        count = min(len(rolls) for rolls in takes.values())
        frames = min([LONGEST * MIDI_CONFIG["fs"], *(len(roll) for rolls in takes.values() for roll in rolls)])
        left = {name: chance.sample(range(len(rolls)), len(rolls)) for name, rolls in takes.items()}
        self._clips = []  # (name, roll)
        for name in chance.choices(self._names, k=count):
            self._clips.append((name, takes[name][left[name].pop()][:frames]))
        self.buttons = []
        for name in self._names:
            button = ipywidgets.Button(description=name, tooltip=f"I think it was: {name}", layout={"width": "auto"})
            button.on_click(lambda button: self._guess(button.description))
            self.buttons.append(button)
        self.status = ipywidgets.HTML()
        self.clip = ipywidgets.VBox()
        super().__init__([self.status, self.clip, ipywidgets.Box(self.buttons, layout={"flex_flow": "row wrap"})])
        self._next()

    def _guess(self, name):
        if len(self.guesses) < len(self._clips):
            self.guesses.append((self._clips[len(self.guesses)][0], name))
            self._next()

    def _next(self):
        number = len(self.guesses)
        if number == len(self._clips):
            return self._finish()
        self.status.value = f'<span role="status">Clip {number + 1} of {len(self._clips)}. Who made it?</span>'
        page = player(self._clips[number][1], title=f"Clip {number + 1}").html
        self._pages.append(page)
        self.clip.children = [show_html(f'{HIDE_ROLL}<div class="midigen-blind">{page}</div>', f"Clip {number + 1}")]

    def _finish(self):
        for button in self.buttons:
            button.disabled = True
        self.status.value = self._result()
        answers = []
        for i, ((truth, said), page) in enumerate(zip(self.guesses, self._pages), start=1):
            answer = f"Clip {i} was {truth}; you said {said}."
            answers.append(show_html(f"<p>{html.escape(answer)}</p>{page}", answer))
        self.clip.children = answers

    def _result(self):
        """The number of right guesses, and how likely luck alone is to reach it."""
        clips, right = len(self.guesses), sum(truth == said for truth, said in self.guesses)
        chance = luck(right, clips, len(self._names))
        often = "Luck does that well too often to say that you hear a difference."
        verdict = "That is rarely luck: you hear a difference." if chance < 0.05 else often
        return (
            f'<div role="status"><b>{right} of {clips} right.</b> Guessing blindly gives {right} or more in '
            f"{100 * chance:.1f} % of such tests. {verdict}</div>"
        )
