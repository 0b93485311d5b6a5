"""The live page in a real browser: its network is that of Python, it answers, falls silent, and saves what was heard.

Needs Debian's chromium and the Python package playwright; skipped elsewhere.
"""

import base64
import wave

import numpy as np
import pytest
from test_numpy_engine import SMALL, build, silence
from test_player_browser import chromium, save  # noqa: F401

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.bach import score_paths
from midigen_utils.data.chorale import perform, read_score
from midigen_utils.data.midi import Notes, read_notes
from midigen_utils.data.piano_roll import notes_to_roll
from midigen_utils.models.numpy_engine import LSTM, Chords, Linear, Mamba, Velocities, draw_keys
from midigen_utils.show.live import live_page
from midigen_utils.show.player import _read
from midigen_utils.show.sound import PEAK, TAIL, numpy_piano

pytestmark = pytest.mark.browser

FRAMES = 1000
HEADS = {"chords": {"head": "chords", "velocity": 32}, "keys": {"head": "keys", "velocity": 32}}


class Halves:
    """A model with the weights that its page has: those of half precision."""

    def __init__(self, model):
        self.model = model

    def weights(self):
        weights, config = self.model.weights()
        return {name: weight.astype(np.float16).astype(np.float32) for name, weight in weights.items()}, config


def lively(kind, **heads):
    """A small model that plays: its every weight counts, and few keys go down at once."""
    model = build(lambda: SMALL[kind](**heads))
    model.output.bias.data -= 4
    return Halves(model)


def a_chorale():
    """1,000 frames of velocity bins: a chorale by Bach, again and again, `(1000, 88)`."""
    strikes = np.array(perform(read_score(score_paths()["bwv269"]), "bwv269"))
    bins = notes_to_roll(Notes(*strikes[:, :2].T / 1000, *strikes[:, 2:].T), MIDI_CONFIG)
    return np.resize(bins, (FRAMES, 88)).astype(int)


# ---------------------------------------------------------------- the engine


@pytest.fixture(scope="module")
def engine(chromium):  # noqa: F811
    """A blank page that knows live.js."""
    page = chromium.new_page()
    page.add_script_tag(content=_read("live.js"))
    yield page
    page.close()


def load(engine, model):
    """Make the network of a model in the page, as `network`."""
    weights, config = model.weights()
    halves = b"".join(weight.astype("<f2").tobytes() for weight in weights.values())
    about = {"config": config, "tensors": [[name, list(weight.shape)] for name, weight in weights.items()]}
    engine.evaluate(
        "([about, base64]) => { window.network = new Network(about, base64); network.memory.fill(0); }",
        [about, base64.b64encode(halves).decode()],
    )


class Python:
    """The same in Python: what `generate_music` does for one stream. It keeps the random numbers that it used."""

    def __init__(self, model):
        weights, config = model.weights()
        self.core = (Mamba if config["model"] == "MusicMamba" else LSTM)(weights, config)
        self.output = Linear(weights, "output")
        self.chords = Chords(weights) if config["head"] == "chords" else None
        self.velocities = Velocities(weights)
        self.states = silence(model.model, 1)
        self.past, self.level = np.zeros((1, 88), int), np.zeros(1, int)

    def read(self, bins):
        struck = (bins > 0) & (self.past[0] == 0)
        if struck.any():
            self.level[:] = (2 * bins[struck].sum() + struck.sum()) // (2 * struck.sum())
        self.past = bins[None]
        self.features = self.core.step((bins[None] > 0).astype(np.float32), self.states)

    def compose(self, temperature, uniform, uniform_velocity):
        keys = (self.past > 0).astype(np.float32)
        if self.chords:
            keys = self.chords.choose(self.features, keys, temperature, uniform)
        else:
            keys = draw_keys(self.output(self.features), temperature, uniform)
        self.past, self.level = self.velocities.strike(
            self.features, self.past, self.level, keys, temperature, uniform_velocity
        )
        self.features = self.core.step((self.past > 0).astype(np.float32), self.states)
        return self.past[0]


def recording(seed):
    """A function like `rng.random`, and the list of all numbers that it gave."""
    rng, numbers = np.random.default_rng(seed), []

    def uniform(n):
        some = rng.random(n)
        numbers.extend(some.tolist())
        return some

    return uniform, numbers


def how_near(model, bins, music, heard, temperature, numbers, louds):
    """Of the first frame that differs: by how little its random numbers need change for Python to draw that one."""
    first = int((music == heard).all(1).argmin())
    for step in 10.0 ** np.arange(-9, -1):
        for sign in (-1, 1):
            python, numbers_left, louds_left = Python(model), iter(numbers), iter(louds)
            for frame in bins:
                python.read(frame)
            for t in range(first + 1):
                change = sign * step * (t == first)
                drawn = python.compose(
                    temperature,
                    lambda n: np.array([next(numbers_left) + change for _ in range(n)]),  # noqa: B023
                    lambda n: np.array([next(louds_left) + change for _ in range(n)]),  # noqa: B023
                )
            if (drawn == heard[first]).all():
                return f"frame {first} differs: a draw was within {step:.0e} of its threshold"
    return f"frame {first} differs, and not because a draw was near its threshold"


@pytest.mark.parametrize("kind", SMALL)
def test_logits_are_those_of_python_over_a_thousand_frames_of_bach(engine, kind):
    model, bins = lively(kind, **HEADS["chords"]), a_chorale()
    load(engine, model)
    python = Python(model)
    expected = []
    for frame in bins:
        python.read(frame)
        expected.append(python.output(python.features)[0])
    script = "bins => bins.map((frame) => { network.read(frame); return [...network.output.of(network.features)]; })"
    np.testing.assert_allclose(engine.evaluate(script, bins.tolist()), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", SMALL)
def test_the_same_random_numbers_give_the_same_music(engine, kind, head):
    model, bins = lively(kind, **HEADS[head]), a_chorale()[:64]
    # A temperature other than 1 looks at 33 frames for each: fewer of them, then.
    for seed, temperature, length in ((0, 1.0, FRAMES), (1, 0.8, 40), (2, 1.2, 40)):
        load(engine, model)
        python, (uniform, numbers), (loud, louds) = Python(model), recording(seed), recording(seed + 10)
        for frame in bins:
            python.read(frame)
        music = np.array([python.compose(temperature, uniform, loud) for _ in range(length)])
        heard = engine.evaluate(
            """([bins, length, temperature, numbers, louds]) => {
                let i = 0, j = 0;
                for (const frame of bins) network.read(frame);
                const music = Array.from({length}, () => [...network.compose(temperature, () => numbers[i++],
                  () => louds[j++])]);
                return [music, i, j];
            }""",
            [bins.tolist(), length, temperature, numbers, louds],
        )
        same = (np.array(heard[0]) == music).all(1)
        assert same.all(), how_near(model, bins, music, np.array(heard[0]), temperature, numbers, louds)
        assert heard[1:] == [len(numbers), len(louds)]
        assert len(np.unique(music, axis=0)) > length / 50 and music.any()


def test_without_a_velocity_head_new_notes_are_as_loud_as_the_last_ones(engine):
    load(engine, lively("lstm", head="keys", velocity=0))
    frames = engine.evaluate(
        """() => {
            network.read(Array.from({length: 88}, (_, key) => key === 40 ? 7 : 0));
            return Array.from({length: 50}, () => [...network.compose(1, Math.random, Math.random)]);
        }"""
    )
    assert set(np.unique(frames)) == {0, 7}


def test_after_going_back_it_plays_on_as_if_what_was_not_heard_had_never_been(engine):
    load(engine, lively("ssd", **HEADS["chords"]))
    again = engine.evaluate(
        """() => {
            const draw = () => 0.7;
            const play = (count) => Array.from({length: count}, () => [...network.compose(1, draw, draw)]);
            network.read(Array.from({length: 88}, (_, key) => key === 40 ? 7 : 0));
            play(3);
            const kept = network.memory.slice(), then = play(5);
            network.memory.set(kept);
            return [then, play(5), play(5)];
        }"""
    )
    assert again[0] == again[1] != again[2]


# ---------------------------------------------------------------- the page

INIT = """{
window.starts = [];
const {connect} = AudioNode.prototype, {start} = AudioBufferSourceNode.prototype;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode) {
    window.meter = new AnalyserNode(this.context, {fftSize: 2048});
    connect.call(this, window.meter);
  }
  return connect.call(this, to, ...rest);
};
AudioBufferSourceNode.prototype.start = function (when, ...rest) {
  window.starts.push({at: performance.now(), ahead: when - this.context.currentTime});
  return start.call(this, when, ...rest);
};
window.loudness = () => {
  const samples = new Float32Array(2048);
  window.meter?.getFloatTimeDomainData(samples);
  return Math.max(...samples.map(Math.abs));
};
class Input extends EventTarget {
  constructor(id) { super(); Object.assign(this, {id, name: id, type: "input", state: "connected"}); }
}
window.devices = {inputs: new Map([["one", new Input("one")]]), onstatechange: null};
window.plug = (id) => {
  const port = new Input(id);
  devices.inputs.set(id, port);
  devices.onstatechange({port});
};
window.unplug = (id) => {
  const port = devices.inputs.get(id);
  port.state = "disconnected";
  devices.onstatechange({port});
};
window.midi = (id, ...data) => devices.inputs.get(id).onmidimessage({data});
Object.defineProperty(Navigator.prototype, "requestMIDIAccess", {value: async () => devices, configurable: true});
}"""


@pytest.fixture
def open_live(chromium, tmp_path):  # noqa: F811
    """Open a live page; at the end, nothing may have been asked of a network, and no error logged."""
    contexts, addresses, complaints = [], [], []

    def open_live(model=None, size=(1280, 860), title="", seeds=None, **options):
        path = live_page(model or lively("lstm", **HEADS["chords"]), tmp_path / "live.html", title, seeds)
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(INIT)
        page.on("request", lambda request: addresses.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        says(page, "Ready")
        return page

    yield open_live
    for context in contexts:
        context.close()
    assert all(address.startswith(("file:", "blob:", "data:")) for address in addresses)
    assert complaints == []


def says(page, words):
    page.wait_for_function(
        "words => document.getElementById('status').textContent.includes(words)", arg=words, timeout=60000
    )


def wait_until(page, condition):
    page.wait_for_function(f"() => {condition}", timeout=30000)


def lit(page, kind="you"):
    return page.locator(f".key.{kind}").evaluate_all("keys => keys.map((key) => +key.dataset.pitch)")


def spectrogram(sound, rate, seconds=0.05):
    """Magnitudes in slices of a stereo sound: a note that begins a millisecond later looks nearly the same."""
    size = round(seconds * rate)
    slices = sound.mean(axis=1)[: len(sound) // size * size].reshape(-1, size)
    return np.abs(np.fft.rfft(slices * np.hanning(size)))


def test_a_duet_is_answered_as_long_and_saved_as_it_was_heard(open_live, tmp_path):
    page = open_live()
    page.locator("#wait").select_option("0.5")
    for key in "adg":
        page.keyboard.down(key)
        page.wait_for_timeout(150)
        page.keyboard.up(key)
    says(page, "The network answers")
    assert page.evaluate("starts.length") >= 6  # two for each key struck
    says(page, "Your turn")
    assert save(page, "#midi", tmp_path / "a.mid") == "duet.mid"
    notes = read_notes(tmp_path / "a.mid")
    assert notes.pitch[:3].tolist() == [60, 64, 67] and notes.velocity[:3].tolist() == [80] * 3
    assert notes.start[0] == 0 and len(notes.start) > 3
    answer = notes.end[3:].max() - notes.start[3:].min()
    assert 0.5 < answer <= 2.1  # a short phrase is answered for two seconds

    assert save(page, "#wav", tmp_path / "a.wav") == "duet.wav"
    with wave.open(str(tmp_path / "a.wav")) as file:
        rate = file.getframerate()
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / 32767
    assert len(heard) / rate == pytest.approx(notes.end.max() + TAIL, abs=0.01)
    piano = numpy_piano(notes, rate)[: len(heard)]  # of the notes in the MIDI file, whose times are rounded to ms
    assert np.abs(heard).max() == pytest.approx(PEAK, abs=0.01)
    assert np.corrcoef(*(spectrogram(sound, rate).ravel() for sound in (piano, heard[: len(piano)])))[0, 1] > 0.9


def test_the_answer_begins_at_once_however_long_one_has_played(open_live):
    page = open_live()
    page.locator("#wait").select_option("Infinity")
    page.evaluate("document.getElementById('connect').click()")
    wait_until(page, "devices.inputs.get('one').onmidimessage")
    for i in range(40):
        page.evaluate(f"midi('one', 144, {50 + i % 20}, 70)")
        page.wait_for_timeout(40)
        page.evaluate(f"midi('one', 128, {50 + i % 20}, 0)")
    begun = page.evaluate("() => { starts.length = 0; answer.click(); return performance.now(); }")
    wait_until(page, "starts.length > 0")
    start = page.evaluate("starts[0]")
    assert start["at"] + 1000 * start["ahead"] - begun < 600  # 150 on a machine that does nothing else


def test_it_composes_from_a_beginning_pauses_goes_on_and_starts_afresh(open_live, tmp_path):
    seed = np.zeros((8, 88), np.float32)
    seed[:, 39] = 0.5
    page = open_live(seeds=[("a single C", seed)])
    assert not page.locator("#midi").is_enabled()
    page.locator("#first").click()
    says(page, "It begins with a single C")
    wait_until(page, "document.querySelector('.key.you')")
    assert lit(page) == [60]
    wait_until(page, "document.querySelector('.key.it')")
    page.locator("#compose").click()
    says(page, "Paused")
    assert page.locator(".key.it").count() == 0 and "Go on" in page.locator("#compose").inner_text()
    stands = page.locator("#length").inner_text()
    page.wait_for_timeout(300)
    assert page.locator("#length").inner_text() == stands
    save(page, "#midi", tmp_path / "a.mid")
    first = read_notes(tmp_path / "a.mid")
    assert (first.pitch[0], first.start[0]) == (60, 0) and first.end[0] >= 0.5  # it may hold the key on
    page.locator("#compose").click()
    says(page, "The network composes")
    page.wait_for_timeout(1000)
    page.locator("#compose").click()
    save(page, "#midi", tmp_path / "b.mid")
    longer = read_notes(tmp_path / "b.mid")
    assert len(longer.start) > len(first.start)
    np.testing.assert_allclose(longer.start[: len(first.start)], first.start, atol=1e-3)
    page.locator("#afresh").click()
    assert not page.locator("#midi").is_enabled() and page.locator("#length").inner_text() == "0:00 played"


def test_a_key_interrupts_the_network_which_then_goes_on(open_live):
    page = open_live()
    page.locator("#compose").click()
    says(page, "The network composes")
    wait_until(page, "document.querySelector('.key.it')")
    page.keyboard.down("a")
    says(page, "Listening to you")
    wait_until(page, "!document.querySelector('.key.it')")
    page.keyboard.up("a")
    says(page, "goes on from what you played")


@pytest.mark.parametrize("what", ["blur", "pagehide"])
def test_when_the_window_is_left_all_falls_silent_and_no_key_stays_down(open_live, what):
    page = open_live()
    page.locator("#compose").click()
    wait_until(page, "loudness() > 0.01")
    page.evaluate(f"dispatchEvent(new Event('{what}'))")
    says(page, "Paused")
    wait_until(page, "loudness() < 0.001")
    page.keyboard.down("s")
    wait_until(page, "document.querySelector('.key.you')")
    page.evaluate(f"dispatchEvent(new Event('{what}'))")
    wait_until(page, "loudness() < 0.001")
    assert lit(page) == []
    page.keyboard.up("s")


def test_midi_keyboards_are_found_later_too_the_pedal_holds_and_unplugging_lets_go(open_live):
    page = open_live()
    page.locator("#wait").select_option("Infinity")
    page.locator("#connect").click()
    wait_until(page, "connect.textContent === 'MIDI: one'")
    page.evaluate("midi('one', 0x90, 60, 100); midi('one', 0xb0, 64, 127); midi('one', 0x80, 60, 0)")
    page.evaluate("midi('one', 0x90, 64, 100)")
    wait_until(page, "document.querySelectorAll('.key.you').length === 2")
    page.evaluate("midi('one', 0xb0, 64, 0)")
    wait_until(page, "document.querySelectorAll('.key.you').length === 1")
    assert lit(page) == [64]
    page.evaluate("plug('two')")
    wait_until(page, "connect.textContent === 'MIDI: one, two'")
    page.evaluate("midi('two', 0x90, 67, 100)")
    wait_until(page, "document.querySelectorAll('.key.you').length === 2")
    page.evaluate("unplug('one')")
    wait_until(page, "document.querySelectorAll('.key.you').length === 1")
    assert lit(page) == [67]
    page.evaluate("midi('two', 0x90, 67, 0)")
    wait_until(page, "!document.querySelector('.key.you')")


def test_several_fingers_and_a_slide_play_the_keys_under_them(open_live):
    page = open_live(size=(390, 844), has_touch=True)
    page.locator("#wait").select_option("Infinity")
    finger = """([name, id, pitch]) => {
        const box = document.querySelector(`.key[data-pitch="${pitch}"]`).getBoundingClientRect();
        const at = {clientX: box.left + box.width / 2, clientY: box.bottom - 12};
        const key = document.elementFromPoint(at.clientX, at.clientY);
        key.dispatchEvent(new PointerEvent(name, {...at, pointerId: id, pointerType: "touch", bubbles: true}));
    }"""
    for name, number, pitch, keys in (
        ("pointerdown", 1, 60, [60]),
        ("pointerdown", 2, 64, [60, 64]),
        ("pointermove", 2, 65, [60, 65]),
        ("pointerup", 1, 60, [65]),
        ("pointercancel", 2, 65, []),
    ):
        page.evaluate(finger, [name, number, pitch])
        page.wait_for_function(
            "keys => `${[...document.querySelectorAll('.key.you')].map((key) => key.dataset.pitch)}` === `${keys}`",
            arg=keys,
        )


def test_a_mouse_and_the_keyboard_alone_reach_everything(open_live):
    page = open_live()
    page.locator("#wait").select_option("Infinity")
    focused = set()
    page.locator("#first").focus()
    for _ in range(14):
        focused.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.pitch"))
        page.keyboard.press("Tab")
    assert {"first", "60", "compose", "begin", "wait", "temperature", "loudness", "volume", "connect"} <= focused
    page.locator('.key[data-pitch="60"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.down("Space")
    wait_until(page, "document.querySelector('.key.you')")
    assert lit(page) == [61] and page.locator(".key.you").get_attribute("aria-label") == "C sharp 4"
    page.keyboard.up("Space")
    page.keyboard.press("x")
    page.keyboard.down("a")
    wait_until(page, "document.querySelector('.key.you[data-pitch=\"72\"]')")
    page.keyboard.up("a")
    page.locator('.key[data-pitch="48"]').hover(position={"x": 10, "y": 120})
    page.mouse.down()
    wait_until(page, "document.querySelector('.key.you[data-pitch=\"48\"]')")
    page.mouse.up()
    wait_until(page, "!document.querySelector('.key.you')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "keys"), [(320, 8), (390, 10), (1280, 52)])
def test_it_fits_the_screen_by_day_and_night(open_live, width, keys, scheme):
    page = open_live(size=(width, 800), title="A long title " * 8 + "x" * 60, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    seen = page.locator(".key.white:visible")
    assert seen.count() == keys
    if width < 800:
        first = seen.first.get_attribute("aria-label")
        page.locator("#lower").click()
        assert first == "C4" and page.locator(".key.white:visible").first.get_attribute("aria-label") == "C3"


def test_a_hostile_title_and_name_are_text(open_live):
    evil = "</script><img src=x onerror=alert(1)>"
    page = open_live(title=evil, seeds=[(evil, np.ones((2, 88)))])
    page.on("dialog", lambda dialog: pytest.fail("the title ran as a script"))
    page.locator("#first").click()
    says(page, evil)
    assert page.locator("h1").inner_text() == evil
