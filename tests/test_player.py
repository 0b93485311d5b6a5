"""The player's HTML is small, safe and always the same."""

import html
import re

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.midi import Notes
from midigen_utils.show.player import player, save_page


def a_roll(seconds=4, seed=0, density=0.01):
    """Random music in the middle octaves, about as dense as real playing."""
    rng = np.random.default_rng(seed)
    roll = np.zeros((seconds * 16, 88), dtype=np.float32)
    for t, p in zip(*np.nonzero(rng.random((seconds * 16, 60)) < density), strict=True):
        roll[t : t + rng.integers(2, 12), p + 15] = rng.integers(1, 33) / 32
    return roll


def test_the_same_music_gives_the_same_html():
    assert player(a_roll(), title="A").html == player(a_roll(), title="A").html
    assert player(a_roll(), title="A").html != player(a_roll(seed=1), title="A").html


def test_a_minute_of_music_is_15_to_40_kilobytes():
    roll = a_roll(60)
    page = player(roll, seed_frames=64)
    assert int(re.search(r"(\d+) notes", repr(page))[1]) > 500
    assert 15_000 < len(page.html.encode()) < 40_000


def test_titles_cannot_break_out_of_the_page(tmp_path):
    evil = "</script><script>alert(1)</script>\"' {{MUSIC}} {body}"
    one = player(a_roll(), title=evil, composer=evil)
    page = save_page(tmp_path / "evil.html", [one], evil).read_text(encoding="utf-8")
    assert page.count("<script>") == page.count("</script>") == 1
    assert html.escape(evil) in page
    assert "alert(1)</script>" not in page


def test_the_page_names_no_address_outside_itself(tmp_path):
    page = player(a_roll(), title="A").save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]+\.|\bsrc=(?!\"data:)|<link|@import|url\(", page)


def test_without_scripts_a_picture_and_a_line_remain():
    page = re.sub(r"<(script|style)>.*?</\1>", "", player(a_roll(), title="A").html, flags=re.S)
    assert '<img src="data:image/png;base64,' in page
    assert "Trust Notebook" in page
    assert "Play" not in page


def test_a_saved_page_without_scripts_does_not_speak_of_notebooks(tmp_path):
    page = player(a_roll(), title="A").save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "JavaScript" in page and "otebook" not in page


def test_comments_and_indents_take_no_room_in_the_page():
    script = player(a_roll()).script
    assert not re.search(r"^[ \t]|//", script, flags=re.M)
    assert script.count("function") > 20  # and nothing else is gone


def test_player_takes_a_roll_or_the_same_notes_or_a_file(tmp_path):
    from midigen_utils.data.midi import write_midi
    from midigen_utils.data.piano_roll import roll_to_notes

    roll = a_roll()
    notes = roll_to_notes(roll, MIDI_CONFIG, velocity_threshold=0)
    write_midi(notes, tmp_path / "a.mid", len(roll) / 16)
    wanted = player(roll)
    listed = r'"notes":\[([\d,]+)\]'
    for music in (notes, tmp_path / "a.mid", str(tmp_path / "a.mid")):
        assert re.search(listed, player(music).html)[1] == re.search(listed, wanted.html)[1]


def test_player_shows_itself_without_its_address_in_memory():
    page = player(a_roll(), title="A")
    assert page._repr_html_() == page.html
    assert re.fullmatch(r"Player\('A', 4\.0 s, \d+ notes\)", repr(page))


def test_music_of_silence_has_a_player():
    assert "0 notes" in repr(player(np.zeros((16, 88))))
    assert "0 notes" in repr(player(np.zeros((0, 88))))


def test_long_music_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="write_wav"):
        player(np.ones((16 * 91, 88)))


def test_player_leaves_pyplot_alone():
    player(a_roll())
    assert plt.get_fignums() == []


def test_notes_off_the_keyboard_are_heard_and_do_not_break_the_picture():
    notes = Notes(np.array([0.0, 0.5]), np.array([0.5, 1.0]), np.array([60, 120]), np.array([80, 80]))
    assert "2 notes" in repr(player(notes))
