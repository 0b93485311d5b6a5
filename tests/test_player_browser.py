"""The player in a real browser: it sounds, moves, seeks, saves, and stays on this machine.

Needs Debian's chromium and the Python package playwright; skipped elsewhere.
"""

import wave
from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.midi import read_notes
from midigen_utils.data.piano_roll import roll_to_notes
from midigen_utils.show.player import player, save_page
from midigen_utils.show.sound import PEAK, TAIL, as_notes, numpy_piano

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required"
).split()


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no {CHROMIUM}: sudo apt install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, tmp_path):
    """Open players as a saved page; at the end, nothing may have left the machine and no error been logged."""
    contexts, addresses, complaints = [], [], []

    def open_page(players, width=1280, scheme="light"):
        path = save_page(tmp_path / "page.html", players, "Test")
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: addresses.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector(".midigen-head", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert all(address.startswith(("file:", "blob:", "data:")) for address in addresses)
    assert complaints == []


def a_roll(seconds=8, seed=0):
    """Random music with soft and loud, short and held, low and high notes; ends in a rest."""
    rng = np.random.default_rng(seed)
    roll = np.zeros((seconds * 16, 88), dtype=np.float32)
    for t, p in zip(*np.nonzero(rng.random((seconds * 16 - 16, 88)) < 0.005), strict=True):
        roll[t : t + rng.integers(1, 14), p] = rng.integers(1, 33) / 32
    return roll


def start(page, number=0):
    """Press Play and wait for the sound; returns the audio element."""
    page.locator(".midigen").nth(number).locator(".midigen-play").click()
    audio = page.locator("audio").nth(number)
    page.wait_for_function("audio => audio.readyState >= 1 && !audio.paused", arg=audio.element_handle(), timeout=60000)
    return audio


def wait_for(page, audio, condition):
    page.wait_for_function(f"audio => {condition}", arg=audio.element_handle(), timeout=20000)


def head_seconds(page, number=0):
    """Where the playhead stands on the roll, in seconds."""
    roll = page.locator(".midigen-roll").nth(number)
    return roll.evaluate(
        """roll => {
            const box = roll.getBoundingClientRect();
            const head = roll.querySelector(".midigen-head").getBoundingClientRect();
            return (head.left + 1 - box.left) / box.width * roll.getAttribute("aria-valuemax");
        }"""
    )


def save(page, button, path):
    with page.expect_download() as download:
        page.locator(button).first.click()
    download.value.save_as(path)
    return download.value.suggested_filename


def test_it_plays_the_length_of_the_music_and_the_playhead_moves(open_page):
    roll = a_roll()
    page = open_page([player(roll, title="A piece")])
    audio = start(page)
    assert audio.evaluate("audio => audio.duration") == pytest.approx(len(roll) / 16 + TAIL, abs=0.1)
    wait_for(page, audio, "audio.currentTime > 0.8")
    audio.evaluate("audio => audio.pause()")
    page.wait_for_timeout(100)
    assert head_seconds(page) == pytest.approx(audio.evaluate("audio => audio.currentTime"), abs=0.1)
    assert audio.is_visible()


def test_a_click_on_the_roll_seeks(open_page):
    page = open_page([player(a_roll())])
    box = page.locator(".midigen-roll").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 20)
    audio = page.locator("audio")
    wait_for(page, audio, "audio.currentTime > 0")
    assert audio.evaluate("audio => audio.currentTime") == pytest.approx(4, abs=0.05)
    assert audio.evaluate("audio => audio.paused")
    page.wait_for_timeout(100)
    assert head_seconds(page) == pytest.approx(4, abs=0.05)


def test_the_keyboard_plays_and_seeks(open_page):
    page = open_page([player(a_roll())])
    roll, audio = page.locator(".midigen-roll"), page.locator("audio")
    for _ in range(20):
        page.keyboard.press("Tab")
        if roll.evaluate("roll => roll === document.activeElement"):
            break
    page.keyboard.press("PageUp")
    wait_for(page, audio, "audio.currentTime === 5")
    page.keyboard.press("ArrowLeft")
    wait_for(page, audio, "audio.currentTime === 4")
    page.keyboard.press("Home")
    wait_for(page, audio, "audio.currentTime === 0")
    page.keyboard.press("Space")
    wait_for(page, audio, "audio.currentTime > 0.3")
    page.keyboard.press("Space")
    wait_for(page, audio, "audio.paused")
    assert float(roll.get_attribute("aria-valuenow")) > 0
    assert "of 8.0 seconds" in roll.get_attribute("aria-valuetext")


def test_the_midi_file_saved_has_the_same_notes(open_page, tmp_path):
    roll = a_roll()
    page = open_page([player(roll, title="Étude No. 1")])
    assert save(page, ".midigen-midi", tmp_path / "a.mid") == "étude-no-1.mid"
    wanted = roll_to_notes(roll, MIDI_CONFIG, velocity_threshold=0)
    notes = read_notes(tmp_path / "a.mid")
    np.testing.assert_allclose(notes.start, wanted.start, atol=1e-9)
    np.testing.assert_allclose(notes.end, wanted.end, atol=1e-9)
    assert notes.pitch.tolist() == wanted.pitch.tolist()
    assert notes.velocity.tolist() == wanted.velocity.tolist()
    midi = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
    read = sorted((n.start, n.pitch, n.end, n.velocity) for n in midi.instruments[0].notes)
    np.testing.assert_allclose(read, list(zip(wanted.start, wanted.pitch, wanted.end, wanted.velocity)), atol=1e-6)
    assert midi.instruments[0].control_changes[-1].time == pytest.approx(len(roll) / 16)


def test_the_browser_plays_the_same_piano_as_numpy(open_page, tmp_path):
    roll = a_roll()
    page = open_page([player(roll)])
    assert save(page, ".midigen-wav", tmp_path / "a.wav") == "music.wav"
    with wave.open(str(tmp_path / "a.wav")) as file:
        rate = file.getframerate()
        heard = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32767
    notes, seconds = as_notes(roll)
    expected = np.zeros(round((seconds + TAIL) * rate))
    raw = numpy_piano(notes, rate)[: len(expected)]
    expected[: len(raw)] = raw * PEAK / np.abs(raw).max()
    assert len(heard) == len(expected)
    assert np.abs(heard - expected)[: -rate // 10].max() < 0.002
    assert np.abs(heard).max() <= PEAK + 0.001


def test_two_players_do_not_disturb_each_other(open_page):
    page = open_page([player(a_roll(8)), player(a_roll(6, seed=1))])
    first = start(page, 0)
    wait_for(page, first, "audio.currentTime > 0.3")
    first.evaluate("audio => audio.pause()")
    stands = first.evaluate("audio => audio.currentTime")
    second = start(page, 1)
    wait_for(page, second, "audio.currentTime > 0.3")
    assert first.evaluate("audio => audio.currentTime") == stands
    assert second.evaluate("audio => audio.duration") == pytest.approx(6 + TAIL, abs=0.1)
    assert first.evaluate("audio => audio.duration") == pytest.approx(8 + TAIL, abs=0.1)


def test_the_same_music_twice_in_a_page_is_two_players(open_page):
    same = player(a_roll())
    page = open_page([same, same])
    assert page.locator(".midigen-play").count() == 2
    assert start(page, 1).evaluate("audio => !audio.paused")
    assert page.locator(".midigen-play").nth(0).is_visible()


def test_fifty_players_draw_only_what_is_seen(open_page):
    page = open_page([player(a_roll(4, seed=seed)) for seed in range(50)])
    page.wait_for_timeout(300)
    drawn = page.evaluate("[...document.querySelectorAll('.midigen-roll')].filter(roll => roll.style.width).length")
    assert 1 <= drawn <= 10
    assert page.locator("audio[src]").count() == 0
    page.locator(".midigen").nth(49).scroll_into_view_if_needed()
    page.wait_for_function("() => [...document.querySelectorAll('.midigen-roll')][49].style.width")


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_screen(open_page, width):
    page = open_page([player(a_roll(60), title="A long title " * 8, composer="Somebody", seed_frames=64)], width)
    start(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    roll, scroll = page.locator(".midigen-roll"), page.locator(".midigen-scroll")
    assert roll.bounding_box()["width"] >= 12 * 60
    page.locator("audio").evaluate("audio => { audio.currentTime = 50; }")  # the roll follows the playhead
    page.wait_for_timeout(300)
    box, head = scroll.bounding_box(), page.locator(".midigen-head").bounding_box()
    assert box["x"] <= head["x"] <= box["x"] + box["width"]


def test_dark_and_light_follow_the_system_and_the_notebooks_theme_wins(open_page):
    background = "root => getComputedStyle(root).backgroundColor"
    page = open_page([player(a_roll())], scheme="dark")
    root = page.locator(".midigen")
    dark = root.evaluate(background)
    page.evaluate("document.body.dataset.jpThemeLight = 'true'")
    page.wait_for_function("() => !document.querySelector('.midigen-dark')")
    light = root.evaluate(background)
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    page.wait_for_selector(".midigen-dark")
    assert root.evaluate(background) == dark != light == "rgb(255, 255, 255)"


def test_a_hostile_title_is_text(open_page):
    page = open_page(
        [player(a_roll(), title="</script><img src=x onerror=alert(1)>", composer="<script>alert(1)</script>")]
    )
    page.on("dialog", lambda dialog: pytest.fail("the title ran as a script"))
    page.wait_for_timeout(200)
    assert "</script><img src=x onerror=alert(1)>" in page.locator(".midigen").inner_text()


def test_silence_and_a_whole_keyboard_have_players(open_page):
    page = open_page([player(np.zeros((16, 88))), player(np.ones((32, 88)))])
    for number, seconds in ((0, 1), (1, 2)):
        audio = start(page, number)
        assert audio.evaluate("audio => audio.duration") == pytest.approx(seconds + TAIL, abs=0.1)


def test_without_script_the_picture_stays(chromium, tmp_path):
    path = player(a_roll(), title="A piece").save(tmp_path / "page.html")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator(".midigen img").bounding_box()["width"] > 400
    assert "Trust Notebook" in page.locator(".midigen").inner_text()
    context.close()
