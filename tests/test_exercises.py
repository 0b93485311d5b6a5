"""The checks of the exercises: what a reader's answer is told."""

import numpy as np
import pytest

from midigen_utils.exercises import check


def test_an_answer_as_python_computes_it_is_right_and_a_wrong_or_missing_one_is_not():
    assert check("A5.2", 200 / 3) == check("A5.2", np.float32(200 / 3)) == check("A3.1", 150) == "right"
    assert check("A5.2", ...) == check("A5.2", None) == "not answered yet"
    assert check("A5.2", 40) == "not yet: 40"
    assert check("A3.1", 149) == "not yet: 149"
    assert check("A2.2", 0) == "not yet: 0", "0.0078 is 0 when rounded, but nobody has rounded that"
    assert "shape" in check("A1.3", 1)


@pytest.mark.parametrize("exercise, answer", [("A5.2", 67), ("A5.2", 66.7), ("A2.2", 0.008), ("05.1", 0.059)])
def test_a_rounded_answer_is_told_that_it_is_rounded(exercise, answer):
    assert check(exercise, answer) == "not yet: this is rounded; give numbers as Python computes them"


@pytest.mark.parametrize("answer", ["10", "1/128", ["1", "0"], print, {"a": 1}, 1j])
def test_text_and_other_things_that_are_no_numbers_are_told_so(answer):
    assert check("A1.1", answer) == "not yet: numbers are wanted, not text or anything else"
