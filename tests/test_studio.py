"""The studio, driven from Python as its buttons drive it."""

import hashlib
import subprocess
import sys
from datetime import datetime
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from conftest import write_events, write_tune

from midigen_utils import files
from midigen_utils.apps.studio import PATTERN, PIECE, UPLOAD, studio
from midigen_utils.data.corpus import Corpus, Piece
from midigen_utils.learn.checkpoints import save_checkpoint
from midigen_utils.models.generation import generate_music, generate_random_seed
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba


def a_model(kind=MusicLSTM, **size):
    torch.manual_seed(0)
    model = kind(**(size or {"hidden_size": 16}))
    with torch.no_grad():
        model.output.bias.fill_(-3.0)  # music is sparse
    return model.eval()


@pytest.fixture
def corpus(tmp_path, midi_data):
    """Three pieces of two composers; one begins with two seconds of silence."""
    late = [(1920, "on", 60, 80), (2880, "off", 60, 0)]
    folder = tmp_path / "corpus"
    return Corpus(
        "toy",
        folder,
        (
            Piece(write_tune(folder / "a.mid", 1), "train", "Bach", "Air <in D>", 2004),
            Piece(write_tune(folder / "b.mid", 2), "validation", "Chopin", "Étude", 2006),
            Piece(write_events(folder / "c.mid", late), "train", "Chopin", "Nocturne", 2008),
        ),
    )


@pytest.fixture
def desk(corpus):
    desk = studio({"LSTM": a_model(), "Mamba": a_model(MusicMamba, d_model=16, n_layers=1)}, corpus)
    desk.seconds.value = 5
    yield desk
    desk.close()


class Shown(HTMLParser):
    """What stands between <pre> and </pre>, as the browser shows it."""

    def __init__(self, text):
        super().__init__()
        self.text, self.inside = "", False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside |= tag == "pre"

    def handle_endtag(self, tag):
        self.inside &= tag != "pre"

    def handle_data(self, data):
        self.text += data if self.inside else ""


def code_shown(desk):
    """The Python under the newest take."""
    return Shown(desk.history.children[-1].children[1].value).text


def upload(desk, name, content):
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    desk.upload.value = ({**file, "last_modified": datetime.now()},)


def test_on_frame_counts_the_new_frames():
    model, seed, seen = a_model(), generate_random_seed(0), []
    whole = generate_music(model, seed, 30, random_seed=1)
    assert np.array_equal(generate_music(model, seed, 30, random_seed=1, on_frame=seen.append), whole)
    assert seen == list(range(1, 31))


@pytest.mark.parametrize("kind", ["piece", "pattern", "upload", "checkpoint"])
def test_the_python_shown_under_a_take_makes_the_same_music(desk, corpus, tmp_path, kind):
    desk.temperature.value, desk.random_seed.value = 0.85, 12
    if kind == "pattern":
        desk.seed.value, desk.seed_seconds.value = PATTERN, 2
    elif kind == "upload":
        desk.seed.value = UPLOAD
        tune = [(0, "on", 60, 80), (4800, "off", 60, 0)]
        upload(desk, "my “tune”.mid", write_events(tmp_path / "t.mid", tune, program=40).read_bytes())  # a violin
    elif kind == "checkpoint":
        save_checkpoint(tmp_path / "it's.pt", a_model(hidden_size=8), torch.nn.Identity(), 0, 1.0)
        desk = studio({"saved": tmp_path / "it's.pt"}, corpus)
    desk.generate.click()
    (take,) = desk.takes
    space = {"models": desk._models}
    exec(code_shown(desk), space)
    assert np.array_equal(space["music"], take.music)
    assert len(space["seed"]) == take.seed_frames == (32 if kind == "pattern" else 64)
    assert len(take.music) == take.seed_frames + desk.seconds.value * 16


def test_a_piece_is_found_by_composer_and_title_and_unseen_ones_come_first(desk, corpus):
    assert desk.piece.value == corpus.pieces[1]
    assert [label for label, _ in desk.piece.options] == [
        "Bach: Air <in D> (2004, train)",
        "Chopin: Nocturne (2008, train)",
        "Chopin: Étude (2006, validation)",
    ]
    desk.piece.index = 0
    desk.generate.click()
    assert desk.takes[0].midi == corpus.pieces[0].path
    page = desk.history.children[0].children[0].outputs[0]["data"]["text/html"]
    assert "4 s of Bach: Air &lt;in D&gt; (2004, train), then 5 s" in page and "Air <" not in page


def test_only_the_controls_that_apply_are_shown(desk):
    shown = {}
    for kind in (PIECE, PATTERN, UPLOAD):
        desk.seed.value = kind
        shown[kind] = [desk.piece.layout.display, desk.upload.layout.display]
    assert shown == {PIECE: [None, "none"], PATTERN: ["none"] * 2, UPLOAD: ["none", None]}


def test_every_control_has_a_tooltip(desk):
    controls = [value for value in vars(desk).values() if hasattr(value, "description") and hasattr(value, "tooltip")]
    controls.remove(desk.status)
    assert len(controls) == 9
    assert all(control.tooltip for control in controls)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("no checkpoint", "no checkpoint there"),
        ("not a checkpoint", "x.pt: not a checkpoint"),
        ("no upload", "no MIDI file yet"),
        ("bad upload", "mid: not a MIDI file"),
        ("silence", "begins with 1 s of silence"),
        ("file gone", "b.mid"),
        ("broken model", "AttributeError"),
        ("NaN", "predicts NaN"),
    ],
)
def test_what_goes_wrong_is_said_in_words_and_the_next_take_works(desk, corpus, tmp_path, trouble, words, capfd):
    if "checkpoint" in trouble:
        desk._models["LSTM"] = tmp_path / "x.pt"
        if trouble == "not a checkpoint":
            (tmp_path / "x.pt").write_bytes(b"nonsense")
    elif "upload" in trouble:
        desk.seed.value = UPLOAD
    elif trouble == "silence":
        desk.piece.value, desk.seed_seconds.value = corpus.pieces[2], 1
    elif trouble == "file gone":
        corpus.pieces[1].path.unlink()
    elif trouble == "broken model":
        desk._models["LSTM"] = None
    else:
        desk._models["LSTM"] = a_model(hidden_size=4)
        torch.nn.init.constant_(desk._models["LSTM"].output.bias, float("nan"))
    if trouble == "bad upload":
        upload(desk, "song.mid", b"nonsense")
    desk.generate.click()
    assert words in desk.status.value and 'role="alert"' in desk.status.value
    assert "Traceback" not in desk.status.value and not desk.takes and not desk.generate.disabled
    desk.model.value, desk.seed.value = "Mamba", PATTERN
    desk.generate.click()
    assert len(desk.takes) == 1 and "alert" not in desk.status.value
    assert capfd.readouterr().err == ""


def test_the_last_takes_stay_newest_first(desk, monkeypatch):
    monkeypatch.setattr(sys.modules["midigen_utils.apps.studio"], "LAST_TAKES", 2)
    for seed in range(3):
        desk.random_seed.value = seed
        desk.generate.click()
    assert [take.random_seed for take in desk.takes] == [2, 1]
    assert len(desk.history.children) == 2
    assert desk.history.layout.flex_flow == "column-reverse"
    assert "random_seed=2" in code_shown(desk)


@pytest.mark.parametrize(("models", "what"), [([], "models"), ({}, "models"), ({1: None}, "models"), ({}, "corpus")])
def test_wrong_arguments_are_explained(corpus, models, what):
    with pytest.raises(ValueError, match=f"^{what} is"):
        studio(models, ({}, corpus) if what == "corpus" else corpus)


def test_widgets_load_no_torch_until_they_compose():
    code = "import sys; from midigen_utils import studio, blind_test; print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "False"


def test_an_upload_is_kept_where_the_python_finds_it(desk, tmp_path):
    content = write_tune(tmp_path / "t.mid").read_bytes()
    upload(desk, "../../né wñ.mid", content)
    (kept,) = files.MIDI_DATA.glob("uploads/*")
    assert kept.read_bytes() == content
    assert kept.name == f"né-wñ-{hashlib.sha256(content).hexdigest()[:8]}.mid"
