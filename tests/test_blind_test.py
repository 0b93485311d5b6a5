"""The blind test, driven from Python as its buttons drive it."""

import numpy as np
import pytest

from midigen_utils.apps.blind_test import blind_test, luck
from midigen_utils.show.figures import figure


def clips(count, seed=0, frames=40):
    rng = np.random.default_rng(seed)
    return [(rng.random((frames, 88)) < 0.02) * 0.5 for _ in range(count)]


def html_of(test):
    return test.clip.children[0].outputs[0]["data"]["text/html"]


def guess(test, name):
    """Press the button of that name, whether or not it can be pressed: a click may have been on its way."""
    next(button for button in test.buttons if button.description == name).click()


def play(test, answer):
    """Listen to every clip, guess, and end the test; what the page held for each."""
    seen = []
    while len(test.guesses) < len(test._clips):
        test.heard.click()
        seen.append((test.status.value, html_of(test), test.clip.children[0].outputs[0]["data"]["text/plain"]))
        guess(test, answer(len(test.guesses)))
    test.reveal.click()
    return seen


def can_be_pressed(test):
    """Of the guesses (all or none), of Undo, of the button that ends the test."""
    guesses = {not button.disabled for button in test.buttons}
    return *guesses, not test.undo.disabled, test.reveal.layout.display != "none"


def test_a_guess_counts_only_after_listening_and_a_double_click_is_one_guess():
    test = blind_test({"real": clips(3), "LSTM": clips(3, 1)})
    guess(test, "real")
    assert test.guesses == [] and can_be_pressed(test) == (False, False, False)
    assert "Listen" in test.status.value
    test.heard.click()
    assert can_be_pressed(test) == (True, False, False) and "Who made it?" in test.status.value
    guess(test, "real")
    guess(test, "real")
    assert len(test.guesses) == 1 and can_be_pressed(test) == (False, True, False)
    assert "Clip 2 of 3" in test.status.value


def test_guesses_are_taken_back_until_the_answers_are_shown():
    test = blind_test({"real": clips(2), "LSTM": clips(2, 1)})
    truth = [name for name, _ in test._clips]
    first = html_of(test)
    test.heard.click()
    guess(test, "real")
    test.undo.click()
    assert test.guesses == [] and html_of(test) == first
    assert can_be_pressed(test) == (True, False, False)  # it was heard
    guess(test, "LSTM")
    test.heard.click()
    guess(test, "LSTM")
    assert can_be_pressed(test) == (False, True, True) and "right" not in test.status.value
    test.undo.click()
    assert can_be_pressed(test) == (True, True, False)
    guess(test, "real")
    test.reveal.click()
    assert test.guesses == [(truth[0], "LSTM"), (truth[1], "real")]
    assert "of 2 right" in test.status.value and can_be_pressed(test) == (False, False, False)


def test_what_is_stored_of_a_cell_that_was_not_run_is_a_drawing():
    stored = blind_test({"real": clips(1), "LSTM": clips(1, 1)})._repr_mimebundle_()
    assert stored["text/html"] == figure("blind_test").html and stored["text/plain"] == figure("blind_test").alt
    assert "application/vnd.jupyter.widget-view+json" in stored


def test_the_order_is_the_same_for_a_seed_and_another_for_another():
    takes = {"real": clips(30), "LSTM": clips(30, 1), "Mamba": clips(30, 2)}
    tests = [blind_test(takes, seed) for seed in (0, 0, 1)]
    first, again, other = ([(name, roll.sum(), roll.argmax()) for name, roll in test._clips] for test in tests)
    assert first == again != other
    assert len(set(first)) == 30  # no clip twice
    names = [name for name, _, _ in first]
    assert set(names) == set(takes) and names != [name for name, _, _ in other]


def test_the_page_does_not_betray_the_answer():
    same = clips(1) * 4
    longer = [np.concatenate([roll, roll]) for roll in same]
    test = blind_test({"Wahrheit": same, "Maschine": longer}, 3)
    other = blind_test({"Maschine": same, "Wahrheit": longer}, 4)
    for (status, page, text), twin in zip(play(test, lambda i: "Maschine"), play(other, lambda i: "Maschine")):
        assert (status, page, text) == twin  # the same music looks the same, whoever made it
        assert not any(name in status + page + text for name in ("Wahrheit", "Maschine"))
    assert len({truth for truth, _ in test.guesses}) == 2
    assert "midigen-blind" in page and "midigen-blind" not in html_of(test)  # the roll is seen only at the end


def test_right_answers_are_counted_and_each_is_told():
    test = blind_test({"a <b>": clips(5), "c": clips(5, 1)}, 1)
    truth = [name for name, _ in test._clips]
    play(test, lambda i: "c" if i == 0 else truth[i])
    assert truth[0] == "a <b>"
    assert "4 of 5 right" in test.status.value
    assert f"{100 * luck(4, 5, 2):.1f} %" in test.status.value
    assert "<p>Clip 1 was a &lt;b&gt;; you said c.</p>" in test.clip.children[0].outputs[0]["data"]["text/html"]
    assert all(button.disabled for button in test.buttons)
    test.buttons[0].click()
    assert len(test.guesses) == 5


def test_luck_is_the_upper_tail_of_a_binomial():
    assert luck(0, 10, 3) == 1
    assert luck(10, 10, 2) == 1 / 1024
    assert luck(1, 2, 3) == pytest.approx(1 - (2 / 3) ** 2)
    rolls = np.random.default_rng(0).integers(0, 3, (20000, 9))
    assert luck(5, 9, 3) == pytest.approx(((rolls == 0).sum(axis=1) >= 5).mean(), abs=0.01)


@pytest.mark.parametrize(
    "takes", [{"real": clips(2)}, {"real": clips(2), "LSTM": []}, {"real": clips(2), "LSTM": [np.zeros((88, 40))]}]
)
def test_a_blind_test_that_cannot_be_is_refused(takes):
    with pytest.raises(ValueError, match="roll"):
        blind_test(takes)
