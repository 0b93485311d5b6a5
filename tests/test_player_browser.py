"""The player in a real browser: it sounds, moves, seeks, loops, slows down, saves, and stays on this machine.

Needs Debian's chromium and the Python package playwright; skipped elsewhere.
"""

import html
import io
import wave
from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.midi import Notes, read_notes
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

    def open_page(players, width=1280, **more):
        path = save_page(tmp_path / "page.html", players, "Test")
        context = chromium.new_context(viewport={"width": width, "height": 800}, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: addresses.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector(".midigen-roll[style*='width']")  # is drawn
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


def chords():
    """C4 and E4 in the first second, A4 in the second, C♯5 in the third."""
    start = np.array([0.0, 0, 1, 2])
    return Notes(start, start + 1, np.array([60, 64, 69, 73]), np.array([30, 60, 90, 120]))


def place(page, seconds, height=0.5):
    """A point of the roll, for the mouse: at a time, and at a share of its height."""
    roll = page.locator(".midigen-roll")
    box, length = roll.bounding_box(), float(roll.get_attribute("aria-valuemax"))
    return box["x"] + box["width"] * seconds / length, box["y"] + box["height"] * height


def pixel(page, canvas, x, y):
    """The colour that is seen in a canvas, at CSS pixels of it."""
    script = """(canvas, [x, y]) => {
        const copy = new OffscreenCanvas(1, 1).getContext("2d");
        copy.fillStyle = getComputedStyle(canvas.closest(".midigen")).backgroundColor;
        copy.fillRect(0, 0, 1, 1);
        copy.drawImage(canvas, -x * canvas.width / canvas.clientWidth, -y * canvas.height / canvas.clientHeight);
        return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3);
    }"""
    return page.locator(canvas).first.evaluate(script, [x, y])


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
    seconds = audio.evaluate("audio => audio.currentTime")
    assert head_seconds(page) == pytest.approx(seconds, abs=0.1)
    assert page.locator(".midigen-time").inner_text() == f"0:0{int(seconds)} / 0:08"


def test_a_click_on_the_roll_seeks(open_page):
    page = open_page([player(a_roll())])
    box = page.locator(".midigen-roll").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 20)
    assert head_seconds(page) == pytest.approx(4, abs=0.05)
    assert page.locator("audio[src]").count() == 0  # nothing was asked for that sounds
    assert start(page).evaluate("audio => audio.currentTime") == pytest.approx(4, abs=0.4)


def test_the_keyboard_plays_and_seeks(open_page):
    page = open_page([player(a_roll())])
    roll, audio = page.locator(".midigen-roll"), page.locator("audio")
    for _ in range(20):
        page.keyboard.press("Tab")
        if roll.evaluate("roll => roll === document.activeElement"):
            break
    for key, seconds in (("PageUp", 5), ("ArrowLeft", 4), ("End", 8), ("Home", 0)):
        page.keyboard.press(key)
        assert float(roll.get_attribute("aria-valuenow")) == head_seconds(page) == pytest.approx(seconds)
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
        assert (file.getnchannels(), rate) == (2, 44100)
        heard = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2) / 32767
    notes, seconds = as_notes(roll)
    expected = np.zeros((round((seconds + TAIL) * rate), 2))
    raw = numpy_piano(notes, rate)[: len(expected)]
    expected[: len(raw)] = raw * PEAK / np.abs(raw).max()
    assert len(heard) == len(expected)
    assert np.abs(heard - expected)[: -rate // 10].max() < 0.002
    assert np.abs(heard).max() <= PEAK + 0.001


def test_of_two_players_one_sounds(open_page):
    page = open_page([player(a_roll(8)), player(a_roll(6, seed=1))])
    first = start(page, 0)
    wait_for(page, first, "audio.currentTime > 0.3")
    second = start(page, 1)
    wait_for(page, first, "audio.paused")
    stands = first.evaluate("audio => audio.currentTime")
    assert page.locator(".midigen-play").all_inner_texts() == ["Play", "Pause"]
    wait_for(page, second, "audio.currentTime > 0.3")
    assert first.evaluate("audio => audio.currentTime") == stands > 0.3
    assert second.evaluate("audio => audio.duration") == pytest.approx(6 + TAIL, abs=0.1)
    assert first.evaluate("audio => audio.duration") == pytest.approx(8 + TAIL, abs=0.1)


def test_a_player_in_another_frame_is_silenced_too(chromium):
    page = chromium.new_page()
    frames = "".join(f'<iframe srcdoc="{html.escape(player(a_roll(8, seed)).html)}"></iframe>' for seed in (1, 2))
    page.set_content(frames)
    first, second = (page.frame_locator("iframe").nth(number) for number in (0, 1))
    first.locator(".midigen-play").click()
    first.locator(".midigen-play:has-text('Pause')").wait_for()
    second.locator(".midigen-play").click()
    first.locator(".midigen-play:has-text('Play')").wait_for()
    assert second.locator(".midigen-play").inner_text() == "Pause"
    page.close()


def test_the_same_music_twice_in_a_page_is_two_players(open_page):
    same = player(a_roll())
    page = open_page([same, same])
    assert page.locator(".midigen-play").count() == 2
    assert start(page, 1).evaluate("audio => !audio.paused")
    assert page.locator(".midigen-play").nth(0).is_visible()


def test_fifty_players_draw_only_what_is_seen(open_page):
    page = open_page([player(a_roll(4, seed=seed)) for seed in range(5)] * 10)
    page.wait_for_timeout(300)
    drawn = page.evaluate("[...document.querySelectorAll('.midigen-roll')].filter(roll => roll.style.width).length")
    assert 1 <= drawn <= 10
    assert page.locator("audio[src]").count() == 0
    assert page.locator(".midigen-roll[aria-valuenow='0.0'][aria-valuetext='0.0 of 4.0 seconds']").count() == 50
    page.locator(".midigen").nth(49).scroll_into_view_if_needed()
    page.wait_for_function("() => [...document.querySelectorAll('.midigen-roll')][49].style.width")


@pytest.mark.parametrize("width", [1280, 390, 280])
def test_it_fits_the_screen(open_page, width):
    roll = a_roll(60) * (np.arange(88) % 12 == 3)  # the Cs: sound that is soon computed
    page = open_page([player(roll, title="A long title " * 8, composer="Somebody" * 9, seed_frames=64)], width)
    start(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    roll, scroll = page.locator(".midigen-roll"), page.locator(".midigen-scroll")
    assert scroll.bounding_box()["width"] > 0.5 * width
    assert roll.bounding_box()["width"] >= 12 * 60
    page.locator("audio").evaluate("audio => { audio.currentTime = 50; }")  # the roll follows the playhead
    page.wait_for_timeout(300)
    box, head = scroll.bounding_box(), page.locator(".midigen-head").bounding_box()
    assert box["x"] <= head["x"] <= box["x"] + box["width"]


def test_a_slower_tempo_lasts_longer_at_the_same_pitch_and_the_place_in_the_music_stays(open_page, tmp_path):
    page = open_page([player(chords())], bypass_csp=True)  # for this test to read the sound
    page.mouse.click(*place(page, 1.5))
    slider = page.get_by_role("slider", name="Tempo")
    audio = start(page)
    slider.fill("0.5")
    wait_for(page, audio, f"audio.duration > {3 / 0.5} && !audio.paused")
    assert audio.evaluate("audio => audio.duration") == pytest.approx(3 / 0.5 + TAIL, abs=0.1)
    assert audio.evaluate("audio => audio.playbackRate") == 1
    page.locator(".midigen-play").click()
    wait_for(page, audio, "audio.paused")
    assert 1.5 < head_seconds(page) == pytest.approx(audio.evaluate("audio => audio.currentTime") * 0.5, abs=0.05)
    sound = audio.evaluate("async audio => [...new Uint8Array(await (await fetch(audio.src)).arrayBuffer())]")
    with wave.open(io.BytesIO(bytes(sound))) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, channels).sum(axis=1)
    a4 = samples[round(2.2 * rate) : round(3.8 * rate)]  # A4 is the second second
    spectrum = np.abs(np.fft.rfft(a4 * np.hanning(len(a4))))
    assert np.fft.rfftfreq(len(a4), 1 / rate)[spectrum.argmax()] == pytest.approx(440, abs=2)
    save(page, ".midigen-wav", tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as file:  # a file has the music at its own tempo
        assert file.getnframes() / file.getframerate() == pytest.approx(3 + TAIL, abs=0.01)


def test_it_stops_at_the_end_or_begins_again(open_page):
    page = open_page([player(chords())])
    play, loop, audio = page.locator(".midigen-play"), page.get_by_role("button", name="Loop"), page.locator("audio")
    page.mouse.click(*place(page, 2.6))
    start(page)
    wait_for(page, audio, "audio.ended")
    page.locator(".midigen-play:has-text('Play')").wait_for()
    assert head_seconds(page) == pytest.approx(3)
    loop.click()
    assert loop.get_attribute("aria-pressed") == "true"
    play.click()
    wait_for(page, audio, "audio.currentTime > 0 && audio.currentTime < 1")  # from the beginning
    page.mouse.click(*place(page, 2.9))
    wait_for(page, audio, "audio.currentTime > 2.9")
    wait_for(page, audio, "audio.currentTime < 2 && !audio.paused")
    assert play.inner_text() == "Pause"


def test_dragging_moves_the_playhead_and_lights_the_keys_under_it(open_page):
    page = open_page([player(chords())])
    roll, height = page.locator(".midigen-roll"), page.locator(".midigen-keys").bounding_box()["height"] - 24
    key = [3, (83 - 69 + 0.5) * height / 24]  # of A4; the picture has the keys 60 to 83
    dark = pixel(page, ".midigen-keys", *key)
    audio = start(page)
    page.mouse.move(*place(page, 0.5))
    page.mouse.down()
    assert audio.evaluate("audio => audio.paused")
    for seconds, names in ((0.5, "C4 E4"), (1.5, "A4"), (2.5, "C♯5")):
        page.mouse.move(*place(page, seconds))
        assert head_seconds(page) == pytest.approx(seconds, abs=0.02)
        assert (pixel(page, ".midigen-keys", *key) != dark) == (names == "A4")
    page.mouse.up()
    wait_for(page, audio, "!audio.paused && audio.currentTime >= 2.5")  # it plays on from there
    page.locator(".midigen-play").click()
    for seconds, names in ((0.5, "C4 E4"), (1.5, "A4"), (2.5, "C♯5")):
        page.mouse.click(*place(page, seconds))
        assert roll.get_attribute("aria-valuetext") == f"{seconds} of 3.0 seconds: {names}"


def test_a_finger_drags_on_the_ruler_and_taps_on_the_notes(open_page):
    page = open_page([player(chords())], width=390, has_touch=True)
    touch = page.context.new_cdp_session(page)

    def send(kind, *point):
        points = [{"x": point[0], "y": point[1]}] if point else []
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

    send("Start", *place(page, 0.5, 0.95))
    for seconds in (1, 1.5, 2):
        send("Move", *place(page, seconds, 0.95))
    send("End")
    assert head_seconds(page) == pytest.approx(2, abs=0.05)
    page.touchscreen.tap(*place(page, 1.0))
    assert head_seconds(page) == pytest.approx(1, abs=0.05)


def test_a_note_is_named_under_the_pointer(open_page):
    page = open_page([player(chords())], width=390)
    label = page.locator(".midigen-name")
    assert label.is_hidden()
    for seconds, pitch, name in ((0.1, 60, "C4, velocity 30"), (2.9, 73, "C♯5, velocity 120")):
        height = (83 - pitch + 0.5) / 24 * 150 / 174  # the ruler has 24 pixels
        page.mouse.move(*place(page, seconds, height))
        assert label.inner_text() == name
        box, frame = label.bounding_box(), page.locator(".midigen-picture").bounding_box()
        assert frame["x"] <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"]
    page.mouse.move(*place(page, 0.1, 0.1))
    assert label.is_hidden()


def test_zoom_keeps_the_playhead_where_it_is(open_page):
    page = open_page([player(a_roll(60))])
    roll, head = page.locator(".midigen-roll"), page.locator(".midigen-head")
    nearer, farther = (page.get_by_role("button", name=name) for name in ("Zoom in", "Zoom out"))
    page.mouse.click(*place(page, 40))
    width, x = roll.bounding_box()["width"], head.bounding_box()["x"]
    assert farther.get_attribute("aria-disabled") == "true"
    for factor in (2, 4, 8, 8):
        nearer.click(force=True)  # the last one does nothing
        assert roll.bounding_box()["width"] == factor * width
        assert head.bounding_box()["x"] == pytest.approx(x, abs=2)
    assert nearer.get_attribute("aria-disabled") == "true"
    canvas = page.locator(".midigen-roll canvas")  # however near, no larger than the screen
    assert canvas.evaluate("canvas => canvas.width") <= 1280
    page.locator(".midigen-scroll").evaluate("scroll => { scroll.scrollLeft = 0; }")
    page.wait_for_timeout(100)
    assert canvas.bounding_box()["x"] == page.locator(".midigen-scroll").bounding_box()["x"]
    for _ in range(3):
        farther.click()
    assert roll.bounding_box()["width"] == width


def test_everything_is_reached_by_tab_and_has_a_name(open_page):
    page = open_page([player(a_roll(), title="A piece")])
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.closest('button, input, .midigen-roll')?.outerHTML"))
    assert None not in reached[:8] and len(set(reached[:8])) == 8 and reached[8] is None
    for role, name in (
        ("slider", "Position in the music"), ("button", "Play"), ("button", "Loop"), ("slider", "Tempo"),
        ("button", "Zoom out"), ("button", "Zoom in"), ("button", "Download as a MIDI file"),
        ("button", "Download as a WAV file"), ("group", "Player: A piece"),
    ):  # fmt: skip
        assert page.get_by_role(role, name=name).count() == 1, name


def luminance(colour):
    """Of an sRGB colour, as https://www.w3.org/TR/WCAG21/#dfn-relative-luminance defines it."""
    values = np.array(colour) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_notes_stand_out_at_every_velocity(open_page, scheme):
    """A contrast of 3 : 1 is what WCAG asks of graphics."""
    velocity = np.tile([1, 32, 64, 96, 127], 4)
    start = np.arange(20.0)  # a second each: ten of the seed on a white and a black key, then ten generated
    notes = Notes(start, start + 0.9, np.repeat([60, 61, 60, 61], 5), velocity)
    page = open_page([player(notes, seed_frames=160)], color_scheme=scheme)
    width, row = page.locator(".midigen-roll canvas").bounding_box()["width"], 150 / 24
    colours = set()
    for on, pitch in zip(notes.start.tolist(), notes.pitch.tolist()):
        y = (71 - pitch + 0.5) * row  # the picture has the keys 48 to 71
        note, ground = (pixel(page, ".midigen-roll canvas", (on + at) * width / 19.9, y) for at in (0.5, 0.95))
        darker, lighter = sorted((luminance(note), luminance(ground)))
        assert (lighter + 0.05) / (darker + 0.05) >= 3, (on, pitch, note, ground)
        colours.add(tuple(note))
    assert len(colours) == 10  # loudness and seed are still to be seen


def test_in_forced_colours_the_legend_and_the_notes_have_two_colours(open_page):
    for scheme in ("light", "dark"):
        page = open_page([player(chords(), seed_frames=16)], forced_colors="active", color_scheme=scheme)
        swatches = page.locator(".midigen-legend i")
        seed, music = (swatches.nth(i).evaluate("i => getComputedStyle(i).backgroundColor") for i in (0, 1))
        paper = page.locator(".midigen").evaluate("root => getComputedStyle(root).backgroundColor")
        assert len({seed, music, paper}) == 3
        width = page.locator(".midigen-roll canvas").bounding_box()["width"]
        for colour, at, pitch in ((seed, 0.2, 60), (music, 0.5, 69)):
            drawn = pixel(page, ".midigen-roll canvas", width * at, (83 - pitch + 0.5) * 150 / 24)
            assert colour == "rgb({}, {}, {})".format(*drawn)


def test_dark_and_light_follow_the_system_and_the_notebooks_theme_wins(open_page):
    background = "root => getComputedStyle(root).backgroundColor"
    page = open_page([player(a_roll())], color_scheme="dark")
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
    assert "JavaScript" in page.locator(".midigen").inner_text()
    context.close()
