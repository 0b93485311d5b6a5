"""The drawings of the course: sound files, one hand, true to the code, and those that move respond to the keyboard."""

import base64
import math
import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_player_browser import chromium  # noqa: F401

from midigen_utils import figure
from midigen_utils.config import SEQUENCE_LENGTH, STRIDE
from midigen_utils.data.midi import read_notes
from midigen_utils.learn import load_model
from midigen_utils.show.figures import FOLDER

DRAWINGS = sorted(path.stem for path in FOLDER.glob("*.svg"))
MOVING = sorted(path.stem for path in FOLDER.glob("*.html"))
SVG = "{http://www.w3.org/2000/svg}"
PALETTE = {"#0072b2", "#d55e00", "#24292f", "#6a737d", "#f6f7f9", "#ffffff"}
LAYOUT = """() => {
    const card = document.querySelector('svg').getBoundingClientRect(), faults = [];
    const texts = [...document.querySelectorAll('svg text')]
        .map((text) => [text.textContent, text.getBoundingClientRect()])
        .filter(([, box]) => box.width);  // those that are not shown have none
    texts.forEach(([words, a], i) => {
        if (a.left < card.left + 4 || a.right > card.right - 4 || a.top < card.top || a.bottom > card.bottom)
            faults.push(words + ' leaves the card');
        for (const [other, b] of texts.slice(i + 1))
            if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
                && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 6) faults.push(words + ' lies on ' + other);
    });
    return faults;
}"""


def source(name):
    return (FOLDER / f"{name}.svg").read_text(encoding="utf-8")


def texts(name, style=""):
    """The words of a drawing, in its order; those of one style, or all."""
    words = ElementTree.fromstring(source(name)).iter(f"{SVG}text")
    return ["".join(text.itertext()) for text in words if style in ("", text.get("class"))]


def image(shown):
    """The SVG in the picture of a `Figure`."""
    return base64.b64decode(re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', shown.html)[1]).decode()


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_small_says_what_it_shows_and_loads_and_runs_nothing(name):
    svg = source(name)
    drawing = ElementTree.fromstring(svg)
    assert [child.tag for child in drawing[:2]] == [f"{SVG}title", f"{SVG}desc"]
    assert 60 <= len(drawing[0].text) <= 200 and len(drawing[1].text) >= 120
    assert len(svg.encode()) < 12_000
    tags = "svg title desc style defs marker pattern g path rect circle ellipse text tspan".split()
    assert {element.tag.removeprefix(SVG) for element in drawing.iter()} <= set(tags)
    assert not [key for element in drawing.iter() for key in element.keys() if "href" in key or key.startswith("on")]
    assert "@import" not in svg and not re.findall(r"url\((?!#)", svg)
    assert set(re.findall(r"url\(#(\w+)\)", svg)) <= {element.get("id") for element in drawing.iter()}


def test_the_drawings_are_in_one_hand_and_large_enough_to_read():
    assert len(DRAWINGS) >= 12
    styles = {re.search(r"<style>.*?</defs>", source(name), re.S)[0] for name in DRAWINGS}
    assert len(styles) == 1
    for name in DRAWINGS:
        svg = source(name)
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= PALETTE, name
        assert 'width="480"' in svg and "scale(" not in svg
        assert min(int(size) for size in re.findall(r"font(?:-size)?: (\d+)px", svg)) >= 11


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_holds_all_that_it_shows_and_says_it_in_words(name):
    shown = figure(name)
    drawing = ElementTree.fromstring(source(name))
    assert image(shown) == source(name)
    assert repr(shown) == drawing[1].text and shown._repr_html_() == shown.html
    assert f"<figcaption>{drawing[0].text}</figcaption>" in shown.html
    assert not re.search(r"https?:|//\w|@import", re.sub(r'src="data:[^"]*"', "", re.sub(r"//[ ].*", "", shown.html)))


def test_the_road_has_every_notebook_and_marks_the_one_where_the_reader_is():
    stops = re.findall(r'id="stop-(\w+)"', source("road"))
    notebooks = {path.name[:2] for path in (Path(__file__).parent.parent / "notebooks").glob("*.py")}
    assert notebooks <= set(stops)
    for stop in stops:
        shown = figure("road", here=stop)
        assert re.findall(r'id="stop-(\w+)" class="stop here"', image(shown)) == [stop]
        assert repr(shown).endswith(f"You are here: {stop}.")
    assert "stop here" not in image(figure("road"))


def test_a_wrong_name_gets_the_right_ones():
    with pytest.raises(ValueError, match="'lstm'; there are .*lstm_cell.*road"):
        figure("lstm")
    with pytest.raises(ValueError, match="'06'; it has 00, 01, .*A1"):
        figure("road", here="06")
    with pytest.raises(ValueError, match="none at all"):
        figure("lstm_cell", here="03")


def test_the_bytes_of_the_drawn_note_are_a_note(tmp_path):
    events = bytes.fromhex("".join(texts("midi_event", "mid bold")))
    left_out = events[:6] + events[7:]  # the drawing says that the second status byte may be left out
    for number, track in enumerate((events, left_out)):
        track += bytes.fromhex("00ff2f00")
        path = tmp_path / f"{number}.mid"
        path.write_bytes(struct.pack(">4sIHHH4sI", b"MThd", 6, 0, 1, 480, b"MTrk", len(track)) + track)
        notes = read_notes(path)
        assert (notes.pitch.tolist(), notes.velocity.tolist()) == ([60], [80])
        np.testing.assert_allclose([notes.start[0], notes.end[0]], [0, 0.5])


def heated(p, temperature):
    weights = np.array(p) ** (1 / temperature)
    return weights / weights.sum()


def test_the_numbers_in_the_drawings_are_those_of_the_formulas():
    percent = [float(text[:-2]) for text in texts("temperature") if text.endswith(" %")]
    cold, learned, hot = np.reshape(percent, (3, 5)) / 100
    for temperature, drawn in ((0.5, cold), (2, hot)):
        np.testing.assert_allclose(drawn, heated(learned, temperature), atol=0.005)
    for text in texts("surprise"):
        if found := re.match(r"p = ([\d.]+): ([\d.]+)", text):
            assert -math.log(float(found[1])) == pytest.approx(float(found[2]), abs=0.05)
    table = [text.replace("−", "-") for text in texts("questions")]
    for key in ("G4", "F4", "E4", "C4"):
        logit, p, state, nats = table[table.index(key) + 1 :][:4]
        sure = 1 / (1 + math.exp(-float(logit)))
        assert float(p) == pytest.approx(sure, abs=0.005)
        assert float(nats) == pytest.approx(-math.log(sure if state == "down" else 1 - sure), abs=0.005)


def test_the_windows_are_those_of_the_course():
    drawn = [tuple(map(int, found)) for found in re.findall(r"frames (\d+) to (\d+)", " ".join(texts("windows")))]
    assert drawn == [(first + shift, first + shift + SEQUENCE_LENGTH - 1) for first in (0, STRIDE) for shift in (0, 1)]


def test_the_doubling_tree_joins_as_the_scan_does():
    known, rounds = [{t} for t in range(8)], []
    for step in (0, 1, 2, 4):
        known = [known[t] | known[t - step] if t >= step else known[t] for t in range(8)]
        rounds += [f"{min(some)}–{max(some)}" if len(some) > 1 else str(*some) for some in known]
    assert [text for text in texts("doubling_tree") if re.fullmatch(r"\d(–\d)?", text)] == rounds


@pytest.mark.parametrize("name", MOVING)
def test_what_moves_is_small_and_reaches_for_nothing(name):
    piece = (FOLDER / f"{name}.html").read_text(encoding="utf-8")
    assert len(piece.encode()) < 10_000 and piece.count("{{STILL}}") == 1 and name in DRAWINGS
    assert not re.search(r"https?:|fetch|import|eval|localStorage|cookie|<link|<iframe", piece)
    pieces = [path.read_text(encoding="utf-8") for path in FOLDER.glob("*.html")]
    styles = {re.search(r"<style>.*?</style>", some, re.S)[0] for some in pieces}
    assert len(styles) == 1  # of two on one page, the last would count


@pytest.fixture
def show(chromium):  # noqa: F811
    """Open figures as a page; at the end, nothing was asked of the network and nothing complained."""
    contexts, asked, complaints = [], [], []

    def show(*names, width=900, script=True):
        context = chromium.new_context(viewport={"width": width, "height": 800}, java_script_enabled=script)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        body = "".join(figure(name).html for name in names)
        page.set_content(f'<body style="background: #111111; color: #eeeeee">{body}</body>')
        return page

    yield show
    for context in contexts:
        context.close()
    assert all(address.startswith("data:") for address in asked)
    assert complaints == []


def tab_to(page, selector):
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the keyboard does not reach {selector}")


@pytest.mark.browser
def test_no_words_of_a_drawing_leave_its_card_or_lie_on_others(chromium):  # noqa: F811
    page = chromium.new_page()
    svgs = {name: source(name) for name in DRAWINGS}
    svgs |= {stop: image(figure("road", here=stop)) for stop in re.findall(r'id="stop-(\w+)"', source("road"))}
    faults = {}
    for name, svg in svgs.items():
        page.set_content(svg)
        faults[name] = page.evaluate(LAYOUT)
    page.close()
    assert {name: some for name, some in faults.items() if some} == {}


@pytest.mark.browser
@pytest.mark.parametrize("width", [900, 390])
def test_figures_fit_the_screen_on_a_card_of_their_own(show, width):
    page = show(*DRAWINGS, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colours = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"
    assert page.locator("figure").first.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(36, 41, 47)"]
    still = [name for name in DRAWINGS if name not in MOVING]
    assert page.locator("figure img").count() == len(still)
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth === 480)")


@pytest.mark.browser
def test_without_scripts_what_moves_is_a_picture(show):
    page = show(*MOVING, script=False)
    assert page.locator("figure img").count() == len(MOVING) >= 3
    assert page.locator("figure img").first.bounding_box()["width"] > 400
    assert "trust the notebook" in page.locator("figure").first.inner_text()


@pytest.mark.browser
def test_the_bucket_leaks_as_the_formula_says_and_the_keyboard_moves_it(show):
    page = show("leaky_bucket")

    def expected(there, between, A, frame):
        h = 0.0
        for t in range(frame + 1):
            delta = there if t in (4, 24, 28) else between
            h = math.exp(delta * A) * h + delta * (t in (4, 24, 28))
        return f"h = {h:.2f}"

    level = page.locator(".level")
    assert level.text_content() == expected(0.5, 0.1, -1, 23)
    tab_to(page, "input[name=between]")
    page.keyboard.press("Home")
    assert level.text_content() == expected(0.5, 0, -1, 23) == "h = 0.50"
    assert "nothing leaks" in page.locator(".said").inner_text()
    tab_to(page, "input[name=frame]")
    page.keyboard.press("End")
    assert level.text_content() == expected(0.5, 0, -1, 63)
    tab_to(page, "button:nth-of-type(3)")
    page.keyboard.press("Enter")
    assert level.text_content() == expected(1, 0.1, -1, 63)


@pytest.mark.browser
def test_the_keyboard_heats_the_chords_draws_ten_and_plays_them(show):
    page = show("temperature")
    shares = page.locator(".share")
    tab_to(page, "input")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert page.locator("output").inner_text() == "0.5"
    drawn = [float(text[:-2]) / 100 for text in shares.all_text_contents()]
    np.testing.assert_allclose(drawn, heated([0.5, 0.25, 0.15, 0.07, 0.03], 0.5), atol=0.005)
    for button in ("button:nth-of-type(1)", "button:nth-of-type(2)"):
        tab_to(page, button)
        page.keyboard.press("Enter")
        assert len("".join(page.locator(".dots").all_text_contents())) == 10
    page.wait_for_timeout(200)  # an error of the sound would show by now


@pytest.mark.browser
def test_the_window_moves_by_keyboard_and_mouse_and_finds_what_changes(show):
    page = show("windows")
    where, said = page.locator(".where"), page.locator(".said")
    tab_to(page, "input[name=window]")
    page.keyboard.press("ArrowRight")
    assert where.text_content() == "input x: frames 16 to 79"
    assert page.locator(".asked").text_content() == "target y, dashed: frames 17 to 80"
    tab_to(page, "button")
    page.keyboard.press("Enter")
    assert "frame 23 (down: F3 A4)" in said.inner_text() and "frame 24? F3 C5: something" in said.inner_text()
    box = page.locator(".roll").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 5, box["y"] + 40)
    assert where.text_content() == "input x: frames 48 to 111"


@pytest.mark.browser
def test_after_three_rounds_the_doubling_has_the_levels_of_the_loop(show):
    page = show("doubling_tree")
    h, levels = 0.0, []
    for poured in (1, 0, 0, 2, 0, 1, 0, 0):
        h = 0.5 * h + poured
        levels.append(round(h, 3))
    tab_to(page, "input[name=round]")
    page.keyboard.press("End")
    after = page.locator("svg text").all_text_contents()[27:]  # three numbers of eight frames, and the letters
    assert after[:24:3] == ["0", *(f"0–{t}" for t in range(1, 8))]
    np.testing.assert_allclose([float(text) for text in after[2:24:3]], levels, atol=1e-3)
    tab_to(page, "input[name=frame]")
    page.keyboard.press("End")
    assert "joins frames 0–3 and 4–7" in page.locator(".said").inner_text()


def test_delta_is_that_of_bachs_network():
    """The bytes in the drawing, against the network while it reads the chorale of notebook 04."""
    html = (FOLDER / "delta_phrase.html").read_text(encoding="utf-8")
    heads = re.findall(r'"block (\d), head (\d)", [^\n]*, ([\d.]+),\s+"([^"]+)"', html)
    drawn = [np.frombuffer(base64.b64decode(code), dtype=np.uint8) / 60 - 4 for *_, code in heads]
    notes = np.array(re.findall(r"\[(\d+), (\d+), (\d+)\]", html), dtype=int)
    model, roll = load_model("bach"), np.zeros((192, 88), dtype=np.float32)
    for on, off, key in notes:
        roll[on:off, key - 21] = 1
    heard = []
    for block in model.layers:
        block.in_proj.register_forward_hook(
            lambda layer, x, out, bias=block.dt_bias: heard.append(F.softplus(out[0, :, -len(bias) :] + bias))
        )
    with torch.no_grad():
        model(torch.from_numpy(roll[None]))
    assert len(heads) == 2
    for (block, head, leak, _), line in zip(heads, drawn):
        delta = heard[int(block) - 1][:, int(head) - 1]
        np.testing.assert_allclose(line, delta.log10(), atol=0.02)
        assert float(leak) == pytest.approx(model.layers[int(block) - 1].A_log[int(head) - 1].exp().item(), rel=1e-3)


@pytest.mark.browser
def test_the_phrase_says_delta_of_a_frame_and_follows_what_plays(show):
    page = show("delta_phrase")
    said, value = page.locator(".said"), page.locator("output")
    tab_to(page, "input")
    page.keyboard.press("Home")
    assert "Frame 0: 4 notes struck" in said.inner_text() and said.inner_text().count("Δ = ") == 2
    tab_to(page, "button")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.midigen-touch output').value > 2")
    page.keyboard.press("Enter")
    stopped = value.inner_text()
    page.wait_for_timeout(150)
    assert value.inner_text() == stopped
