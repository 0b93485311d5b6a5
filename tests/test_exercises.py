"""The exercises: what a reader is told about an answer, the hints in stages, and findings that must hold."""

import importlib.util
import itertools
import re
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter

from midigen_utils import exercises
from midigen_utils.exercises import EXERCISES, check, finding, hint
from midigen_utils.exercises_answers import ANSWERS

FROM_NOTHING = [name for name, answer in ANSWERS.items() if answer.__code__.co_argcount == 0]
NUMBERS = [name for name in FROM_NOTHING if np.ndim(ANSWERS[name]()) == 0]


class Stubborn:
    """Refuses in its own way whatever one asks of it."""

    def __getattribute__(self, name):
        raise RuntimeError("\n1\n")

    __array__ = __len__ = __float__ = __repr__ = __eq__ = __bool__ = __iter__ = __getattribute__


ENDLESS = []
ENDLESS.append(ENDLESS)
NO_NUMBERS = [
    *(print, lambda: 10, int, torch.nn.Linear(2, 2), np.sin),
    *("10", "", b"10", ["1", "0"], [None, ...], [[1], [1, 2]], ENDLESS, {"a": 1}, {1, 2}, slice(3)),
    *(object(), Stubborn(), [Stubborn()], KeyError("x"), sys, Path("x"), re.compile("x"), itertools.count()),
    *((n for n in range(3)), 1j, 10**400, np.datetime64("2020-01-01"), np.zeros(2, "i4,f4"), np.array(["1"])),
    *(torch.ones(2, 2).to_sparse(), torch.ones(2, device="meta")),
    *(float("nan"), float("-inf"), [1, np.nan], torch.tensor(float("nan"), requires_grad=True), Decimal("NaN")),
    *([], np.zeros((0, 3)), np.zeros((2, 3, 4))),
]


def numbers_of(text):
    return {float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\.?\d*", text)}


def test_an_answer_as_python_computes_it_is_right_and_a_wrong_or_missing_one_is_not():
    assert check("A5.2", 200 / 3) == check("A5.2", np.float32(200 / 3)) == check("A5.2", Fraction(200, 3)) == "right"
    assert check("A3.1", 150) == check("A3.1", torch.tensor(150)) == check("A3.1", np.array(150)) == "right"
    assert check("A1.3", (1, 0)) == check("A1.3", [True, False]) == check("A1.3", np.array([1.0, 0])) == "right"
    assert check("A5.2", ...) == check("A5.2", None) == "not answered yet"
    assert check("A5.2", 40) == 'not yet; hint("A5.2") opens a hint'
    assert check("A2.2", 0) == 'not yet; hint("A2.2") opens a hint', "0.0078 is 0 when rounded; nobody rounded that"


def test_tensors_that_need_gradients_are_taken_alone_and_in_a_list():
    one = torch.tensor(1.0, requires_grad=True)
    assert check("A5.2", one * 200 / 3) == "right"
    assert check("A1.3", [one, 0 * one]) == check("A1.3", torch.stack([one, 0 * one])) == "right"
    assert check("A1.3", torch.tensor([1, 0], dtype=torch.bfloat16)) == "right"


def test_a_count_must_be_exact_however_large_it_is():
    assert check("03.2", 76_000) == "right"
    assert "off by one" in check("03.2", 76_001) and "off by one" in check("03.2", 75_999)
    assert check("03.2", 76_002) == 'not yet; hint("03.2") opens a hint'


@pytest.mark.parametrize(
    "exercise, answer, words",
    [
        ("05.1", 100 / 17, "percent"),
        ("05.1", 5.9, "percent"),
        ("03.1", np.log(0.02), "sign"),
        ("03.1", -np.log2(0.02), "bits in place of nats"),
        ("A5.1", 1.75 * np.log(2), "nats in place of bits"),
        ("A3.1", 149, "off by one"),
        ("A1.3", [2, 1], "off by one"),
        ("A3.1", [150], "one number is wanted, and this is a list"),
        ("A1.3", 1, "is wanted, and this is one number"),
        ("A1.1", lambda: 10, "call it"),
        ("A1.1", float("nan"), "nan or infinity"),
        ("A1.1", "10", "numbers are wanted"),
        ("A5.2", 67, "rounded"),
        ("A5.2", 66.7, "rounded"),
        ("A2.2", 0.008, "rounded"),
        ("05.1", 0.059, "rounded"),
    ],
)
def test_a_wrong_answer_gets_the_hint_that_fits_it(exercise, answer, words):
    told = check(exercise, answer)
    assert told.startswith("not yet: ") and words in told


def test_a_transposed_array_is_told_so_whether_it_is_square_or_not():
    leaks, inflows = np.linspace(0.5, 0.9, 12), np.arange(12.0)
    matrix = np.asarray(ANSWERS["04.4"](leaks))
    pairs = np.asarray(ANSWERS["04.5"](leaks, inflows))
    assert check("04.4", matrix, leaks) == check("04.5", pairs.tolist(), leaks, inflows) == "right"
    for told in (check("04.4", matrix.T, leaks), check("04.5", pairs.T, leaks, inflows)):
        assert "transposed" in told
    assert "transposed" not in check("04.4", matrix + matrix.T, leaks)


def test_what_the_exercise_starts_from_may_have_been_spoilt():
    for spoilt in ((), (None,), ("roll",), (Stubborn(),), (1, 2, 3)):
        assert "run the cells above it again" in check("02.1", 0.5, *spoilt)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch says that its sparse tensors are in beta
@pytest.mark.parametrize("exercise", ["A1.1", "A1.3", "A4.1", "04.4"])
@pytest.mark.parametrize("which", range(len(NO_NUMBERS)))  # pytest itself cannot bear all of these objects
def test_no_object_whatever_makes_check_fail_or_say_more_than_one_line(exercise, which):
    told = check(exercise, NO_NUMBERS[which], *([np.ones(3)] if exercise == "04.4" else []))
    assert told.startswith("not yet") and len(told.splitlines()) == 1 and len(told) < 130


def test_no_message_and_no_hint_holds_the_answer():
    for exercise in NUMBERS:
        right = float(ANSWERS[exercise]())
        wrong = [right + 1, right - 1, -right, 100 * right, right / np.log(2), 1.5 * right, [right], right * np.ones(3)]
        wrong += [round(right, 2), right.hex(), lambda: right]  # noqa: B023
        told = [check(exercise, answer).replace(exercise, "") for answer in wrong if check(exercise, answer) != "right"]
        assert len(told) >= len(wrong) - 1
        asked = numbers_of(EXERCISES[exercise]["asks"])  # a question may hold its answer's number for another reason
        for text in [*told, *EXERCISES[exercise]["hints"]]:
            assert not np.isclose(sorted(numbers_of(text) - asked), right, rtol=0.01).any(), f"{exercise}: {text}"


def test_the_answer_is_shown_without_quotation_marks():
    shown, _ = DisplayFormatter().format(check("A1.1", 10))
    assert shown == {"text/plain": "right"} and str(check("A1.1", 10)) == "right"


def test_hints_open_one_more_at_each_call_and_stay_at_the_last(monkeypatch):
    monkeypatch.setattr(exercises, "_opened", exercises.Counter())
    asks, hints = EXERCISES["02.3"]["asks"], EXERCISES["02.3"]["hints"]
    seen = [hint("02.3") for _ in range(len(hints) + 2)]
    assert seen[0] == f"02.3: {asks}\nhint 1 of 3: {hints[0]}"
    assert [len(text.splitlines()) for text in seen] == [2, 3, 4, 4, 4]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(seen))
    assert len(hint("02.4").splitlines()) == 2, "each exercise has its own"


@pytest.mark.parametrize("name", ["2.3", 2.3, "02.9", None, ""])
def test_a_name_that_is_none_is_told_what_names_look_like(name):
    assert hint(name) == check(name, 1) == exercises.NO_SUCH and '"02.3"' in hint(name)


def test_every_exercise_says_what_it_asks_for_and_has_two_hints_or_more():
    for name, exercise in EXERCISES.items():
        assert exercise.keys() == {"asks", "hints"} and len(exercise["hints"]) >= 2, name
        assert all(len(text) <= 120 and "\n" not in text for text in [exercise["asks"], *exercise["hints"]]), name
    assert EXERCISES.keys() == ANSWERS.keys()


def test_without_the_file_of_answers_an_answer_is_recorded_and_hints_are_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "midigen_utils.exercises_answers", None)  # as if it was not there
    spec = importlib.util.spec_from_file_location("midigen_utils.exercises_of_students", exercises.__file__)
    students = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(students)
    recorded = 'recorded: your teacher will say whether it is right; hint("A1.1") opens a hint'
    assert students.check("A1.1", 10) == students.check("A1.1", 11) == students.check("A1.1", [1, 2]) == recorded
    assert students.check("02.1", 0.5, "spoilt").startswith("recorded")
    assert students.check("A1.1", ...) == "not answered yet"
    assert "call it" in students.check("A1.1", lambda: 10) and "nan" in students.check("A1.1", np.nan)
    assert [len(students.hint("A1.1").splitlines()) for _ in range(3)] == [2, 3, 4]


@pytest.mark.parametrize("mode", [None, "0"])
def test_where_outputs_are_stored_a_finding_that_no_longer_holds_is_an_error(mode, monkeypatch, capsys):
    monkeypatch.setenv("MIDIGEN_STRICT", "1")
    monkeypatch.delenv("MIDIGEN_FAST", raising=False)
    if mode:
        monkeypatch.setenv("MIDIGEN_FAST", mode)
    finding(np.float32(2.5) < 2.7, "The LSTM beats Markov-1.")
    finding(lambda: torch.tensor(2.5) < 2.7, "It does so twice.")
    assert capsys.readouterr().out == "The LSTM beats Markov-1.\nIt does so twice.\n"
    for condition in (False, lambda: 2.8 < 2.7, lambda: float("nan") < 2.7):
        with pytest.raises(AssertionError, match="no longer holds.*written anew: The LSTM beats Markov-1"):
            finding(condition, "The LSTM beats Markov-1.")
    assert capsys.readouterr().out == "", "what is false is not printed"


def test_for_a_reader_with_other_settings_a_finding_that_fails_says_so_and_nothing_stops(monkeypatch, capsys):
    monkeypatch.delenv("MIDIGEN_FAST", raising=False)
    monkeypatch.delenv("MIDIGEN_STRICT", raising=False)
    finding(2.8 < 2.7, "The LSTM beats Markov-1.")
    assert capsys.readouterr().out == "not so in this run: The LSTM beats Markov-1.\n"


def test_in_fast_mode_a_finding_is_printed_unchecked_and_nothing_is_computed_for_it(monkeypatch, capsys):
    monkeypatch.setenv("MIDIGEN_FAST", "1")
    finding(lambda: pytest.fail("called in fast mode"), "The LSTM beats Markov-1.")
    finding(False, "And the table.")
    assert capsys.readouterr().out == (
        "The LSTM beats Markov-1. (not checked in fast mode)\nAnd the table. (not checked in fast mode)\n"
    )
