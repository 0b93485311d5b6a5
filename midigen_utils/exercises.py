"""Exercises and findings of the notebooks: `check` judges an answer, `hint` helps, `finding` holds a result.

What is asked and the hints stand in `exercises.toml`, the right answers in `exercises_answers.py`. Without that file,
as in a class whose teacher keeps it, an answer is recorded and not judged.
"""

import os
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np

from .config import scaled

try:
    from .exercises_answers import ANSWERS
except ModuleNotFoundError:
    ANSWERS = None

EXERCISES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
LIKELY_MISTAKES = [  # what makes a wrong number of the right one, and what to say then
    (lambda right: right, "this is rounded; give numbers as Python computes them"),
    (lambda right: -right, "check the sign"),
    (lambda right: 100 * right, "this looks like percent; give the share itself, as a fraction of one"),
    (lambda right: right / np.log(2), "this looks like bits in place of nats; take the natural logarithm"),
    (lambda right: right * np.log(2), "this looks like nats in place of bits; take the logarithm to base two"),
]
_opened = Counter()  # how many hints of an exercise the reader has asked for


class Line(str):
    """A text that a notebook shows as it is, without quotation marks."""

    __repr__ = str.__str__


NO_SUCH = Line('there is no such exercise; names are like "02.3": the notebook, a point, the number, all in quotes')


def check(exercise, answer, *given):
    """Say in one line whether an exercise is solved, and if not, what may be wrong.

    Notebook: 01_data_exploration, and all that follow

    Args:
        exercise: such as `"01.2"`: notebook and number.
        answer: what the reader's code gives: a number, or an array, a list or a tensor of numbers; `...` or `None`
            while there is none. Any other object is refused in words; none raises an error.
        given: what the exercise starts from.

    Returns:
        A string: `"right"` (counts must be exact, other numbers may be off by 1 part in 10,000), `"not answered yet"`,
        `"not yet"` with a hint that fits, but never the answer; or, without the right answers, `"recorded"` and more.
    """
    if exercise not in EXERCISES:
        return NO_SUCH
    if answer is None or answer is ...:
        return Line("not answered yet")
    if callable(answer):
        return Line("not yet: this is a function, not its result; call it, with brackets after its name")
    try:
        numbers = _array(answer)
    except Exception:  # an object can refuse in any way to be looked at
        return Line("not yet: numbers are wanted, not text or anything else")
    if not np.isfinite(numbers).all():
        return Line("not yet: there is nan or infinity in it; was something divided by 0, or the log of 0 taken?")
    if ANSWERS is None:
        return Line(f'recorded: your teacher will say whether it is right; hint("{exercise}") opens a hint')
    try:
        right = np.asarray(ANSWERS[exercise](*given), dtype=float)
    except Exception:  # whatever the reader has put under one of the names in `given`
        return Line("not yet: what the exercise starts from has changed; run the cells above it again")
    if _equal(numbers, right):
        return Line("right")
    mistake = _mistake(numbers, right)
    return Line(f"not yet: {mistake}" if mistake else f'not yet; hint("{exercise}") opens a hint')


def hint(exercise):
    """Open one more hint of an exercise at each call, from a nudge to nearly the whole way.

    Notebook: 01_data_exploration, and all that follow

    Args:
        exercise: such as `"01.2"`: notebook and number.

    Returns:
        A string: what is asked, and under it the hints opened so far, one a line.
    """
    if exercise not in EXERCISES:
        return NO_SUCH
    _opened[exercise] += 1
    hints = EXERCISES[exercise]["hints"]
    opened = [f"hint {k} of {len(hints)}: {text}" for k, text in enumerate(hints[: _opened[exercise]], start=1)]
    return Line("\n".join([f"{exercise}: {EXERCISES[exercise]['asks']}", *opened]))


def finding(condition, text):
    """Print a finding, and make sure that it holds. A cell with one is not tagged `nbval-check-output`.

    With other music or other settings a finding may fail, and then it says so. Where the stored outputs of the course
    are made or tested (`MIDIGEN_STRICT`), the text around it would be wrong, and it is an error.

    Notebook: 01_data_exploration, and all that follow

    Args:
        condition: true while the finding holds: a bool, or a function without arguments, not called in fast mode.
        text: the finding in one sentence.

    Raises:
        AssertionError: under `MIDIGEN_STRICT`, the finding does not hold any more.
    """
    if not scaled(full=True, fast=False):
        print(f"{text} (not checked in fast mode)")
    elif condition() if callable(condition) else condition:
        print(text)
    elif os.environ.get("MIDIGEN_STRICT"):
        raise AssertionError(f"this finding no longer holds, its text must be written anew: {text}")
    else:
        print(f"not so in this run: {text}")


def _array(value):
    """A number, or lists, arrays and tensors of numbers, as an array of floats. Other objects raise what they like."""
    if isinstance(value, (list, tuple)):  # part by part: numpy refuses a list of tensors that need gradients
        return np.array([_array(part) for part in value], dtype=float)
    array = np.asarray(value.detach().cpu().double() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "biufO":  # numpy would make a number of the text "10"
        raise TypeError
    return array.astype(float)


def _equal(numbers, right):
    """Whether shapes and values agree: counts exactly, other numbers to 1 part in 10,000."""
    tolerance = dict(rtol=1e-4, atol=1e-8) if (right % 1).any() else dict(rtol=1e-9, atol=1e-6)
    return numbers.shape == right.shape and np.allclose(numbers, right, **tolerance)


def _rounded(numbers, right):
    return np.allclose(numbers, right, rtol=0.05) and any(_equal(numbers, right.round(digits)) for digits in range(8))


def _mistake(numbers, right):
    """What was probably done wrong, without giving the answer away; `None` if nothing fits."""
    if numbers.T.shape == right.shape and (numbers.shape != right.shape or _equal(numbers.T, right)):
        return "it is transposed; rows and columns have to change places"
    if numbers.shape != right.shape:
        wanted, this = (f"a list or array of shape {a.shape}" if a.ndim else "one number" for a in (right, numbers))
        return f"{wanted} is wanted, and this is {this}"
    if _equal(numbers, right + 1) or _equal(numbers, right - 1):
        return "off by one; look again at what is counted first and last"
    for change, advice in LIKELY_MISTAKES:
        if _equal(numbers, change(right)) or ((right % 1).any() and _rounded(numbers, change(right))):
            return advice
    return None
