"""The blind test: can you hear which music a model made?"""

import html
import random
from math import comb
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from ..config import MIDI_CONFIG, count_keys
from ..show.player import LONGEST, player
from .desk import Desk, control, page

PAGE = Path(__file__).with_name("blind_test.html").read_text(encoding="utf-8")


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


class BlindTest(Desk):
    """What `blind_test` returns: an ipywidgets box, and `guesses`, a list of `(who made it, who you said)` so far."""

    drawing = "blind_test"

    def __init__(self, takes, random_seed):
        self.guesses, self._names, self._heard = [], list(takes), 0  # so many clips were listened to
        chance = random.Random(random_seed)
        count = min(len(rolls) for rolls in takes.values())
        frames = min([LONGEST * MIDI_CONFIG["fs"], *(len(roll) for rolls in takes.values() for roll in rolls)])
        left = {name: chance.sample(range(len(rolls)), len(rolls)) for name, rolls in takes.items()}
        self._clips = []  # (name, roll)
        for name in chance.choices(self._names, k=count):
            self._clips.append((name, takes[name][left[name].pop()][:frames]))
        self.buttons = [control(widgets.Button, name, f"I think it was: {name}") for name in self._names]
        for button in self.buttons:
            button.on_click(lambda button: self._guess(button.description))
        self.undo = control(widgets.Button, "Undo", "Take the last guess back", icon="undo")
        self.undo.on_click(lambda _: self._undo())
        self.reveal = control(widgets.Button, "Show who made them", "The end of the test", button_style="primary")
        self.reveal.on_click(lambda _: self._finish())
        self.status, self.clip = widgets.HTML(), widgets.VBox()
        self.heard = widgets.Button(layout={"display": "none"}).add_class("midigen-heard")  # for the script of PAGE
        self.heard.on_click(lambda _: self._listened())
        row = widgets.Box([*self.buttons, self.undo, self.reveal, self.heard], layout={"flex_flow": "row wrap"})
        super().__init__([self.status, self.clip, row])
        self.add_class("midigen-test")
        self._show_clip()

    def _guess(self, name):
        if not self.buttons[0].disabled:  # the second press of a double click comes before the next clip was heard
            self.guesses.append((self._clips[len(self.guesses)][0], name))
            self._show_clip()

    def _undo(self):
        self.guesses.pop()
        self._show_clip()

    def _listened(self):
        self._heard = max(self._heard, len(self.guesses) + 1)
        self._show_state()

    def _show_clip(self):
        number = len(self.guesses)
        title, clip = f"Clip {number + 1}", self._clips[number : number + 1]
        pages = [PAGE.replace("{{PLAYER}}", player(roll, title=title).html) for _, roll in clip]
        self.clip.children = [page(text, title) for text in pages]
        self._show_state()

    def _show_state(self):
        """Which buttons can be pressed, and what is to be done."""
        number, count = len(self.guesses), len(self._clips)
        wait, end = number >= self._heard, number == count
        for button in self.buttons:
            button.disabled = wait or end
        self.undo.disabled, self.reveal.layout.display = number == 0, None if end else "none"
        what = "Listen to it, then say who made it." if wait else "Who made it?"
        text = f"All {count} clips are guessed." if end else f"Clip {number + 1} of {count}. {what}"
        self.status.value = f'<span role="status">{text}</span>'

    def _finish(self):
        """Show the number of right guesses, how likely luck alone is to reach it, and every answer."""
        clips, right = len(self.guesses), sum(truth == said for truth, said in self.guesses)
        chance = luck(right, clips, len(self._names))
        often = "Luck does that well too often to say that you hear a difference."
        verdict = "That is rarely luck: you hear a difference." if chance < 0.05 else often
        self.status.value = (
            f'<div role="status"><b>{right} of {clips} right.</b> Guessing blindly gives {right} or more in '
            f"{100 * chance:.1f} % of such tests. {verdict}</div>"
        )
        self.undo.disabled, self.reveal.layout.display, self.clip.children = True, "none", []
        for i, ((truth, said), (_, roll)) in enumerate(zip(self.guesses, self._clips), start=1):
            answer = f"Clip {i} was {truth}; you said {said}."
            shown = page(f"<p>{html.escape(answer)}</p>{player(roll, title=f'Clip {i}').html}", answer)
            self.clip.children = (*self.clip.children, shown)
