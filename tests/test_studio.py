"""The studio, driven from Python as its buttons drive it."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from conftest import write_events, write_tune

from midigen_utils import files
from midigen_utils.apps.studio import PATTERN, PIECE, PLAY, TAKE, UPLOAD, studio
from midigen_utils.data.corpus import Corpus, Piece
from midigen_utils.learn.checkpoints import save_checkpoint
from midigen_utils.models.generation import generate_music, generate_random_seed
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba
from midigen_utils.show.figures import FOLDER, figure
from midigen_utils.show.player import player


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


def boxes(box):
    """The boxes of the takes, in the order of the page."""
    for child in box.children:
        yield from [child] if hasattr(child, "take") else boxes(child)


def newest(desk):
    return next(boxes(desk.history))


def shown_in(box):
    """The HTML of a box's player."""
    (html,) = (child.outputs[0]["data"]["text/html"] for child in box.children if hasattr(child, "outputs"))
    return html


def code_shown(desk):
    """The Python under the newest take."""
    return Shown(newest(desk).children[-1].value).text


def upload(desk, name, content):
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    desk.upload.value = ({**file, "last_modified": datetime.now()},)


def test_on_frame_counts_the_new_frames():
    model, seed, seen = a_model(), generate_random_seed(0), []
    whole = generate_music(model, seed, 30, random_seed=1)
    assert np.array_equal(generate_music(model, seed, 30, random_seed=1, on_frame=seen.append), whole)
    assert seen == list(range(1, 31))


@pytest.mark.parametrize("kind", ["piece", "pattern", "upload", "checkpoint", "take of a take"])
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
    if kind == "take of a take":
        newest(desk).go_on.click()
        desk.model.value, desk.temperature.value = "Mamba", 1.1
        newest(desk).go_on.click()
    take = desk.takes[0]
    space = {"models": desk._models}
    exec(code_shown(desk), space)
    assert np.array_equal(space["music"], take.music)
    seed_frames = {"pattern": 32, "take of a take": 64 + 80 + 80}.get(kind, 64)
    assert len(space["seed"]) == take.seed_frames == seed_frames
    assert len(take.music) == take.seed_frames + desk.seconds.value * 16


def test_a_piece_is_found_by_composer_and_title_alone_and_unseen_ones_come_first(corpus):
    twice = Piece(write_tune(corpus.folder / "d.mid", 3), "train", "Bach", "Air <in D>", 2009)
    desk = studio({"LSTM": a_model()}, replace(corpus, pieces=(*corpus.pieces, twice)))
    names = ["Chopin: Étude", "Bach: Air <in D>", "Bach: Air <in D> (2)", "Chopin: Nocturne"]
    assert [label for label, _ in desk.piece.options] == names
    assert desk.piece.value == corpus.pieces[1]
    desk.piece.index, desk.seconds.value = 1, 5
    desk.generate.click()
    assert desk.takes[0].begins == corpus.pieces[0].path
    assert "4 s of Bach: Air &lt;in D&gt;, then 5 s" in shown_in(newest(desk)) and "Air <" not in shown_in(newest(desk))


def test_only_the_controls_that_apply_are_shown(desk):
    desk.generate.click()
    newest(desk).go_on.click()
    shown = {}
    for kind in (PIECE, PATTERN, UPLOAD, TAKE):
        desk.seed.value = kind
        shown[kind] = [one for one in ("piece", "upload", "seed_seconds") if vars(desk)[one].layout.display != "none"]
    seconds = ["seed_seconds"]
    assert shown == {PIECE: ["piece", *seconds], PATTERN: seconds, UPLOAD: ["upload", *seconds], TAKE: []}


def test_each_take_has_a_random_number_of_its_own_unless_it_is_pinned(desk):
    desk.random_seed.value = 12  # typed, so the next take has it
    desk.generate.click()
    desk.generate.click()
    desk.generate.click()
    desk.pin.value = True
    desk.generate.click()
    fourth, third, second, first = (take.random_seed for take in desk.takes)
    assert first == 12 and len({first, second, third}) == 3
    assert fourth == third == desk.random_seed.value  # the number that is shown is that of the newest take
    musics = [take.music.tobytes() for take in desk.takes]
    assert musics[0] == musics[1] and len(set(musics)) == 3


@pytest.mark.parametrize("kind", [PIECE, PATTERN, TAKE])
def test_the_seed_that_is_heard_is_what_the_next_take_begins_with(desk, kind):
    desk.generate.click()  # its random number is used up: another pattern is heard and then continued
    if kind == TAKE:
        newest(desk).go_on.click()
        before = desk.takes[1]
    desk.seed.value = kind
    desk.hear.click()
    heard = shown_in(desk.preview)
    desk.generate.click()
    take = desk.takes[0]
    assert desk.preview.children == () and take.random_seed != desk.takes[1].random_seed
    seed = take.music[: take.seed_frames]
    assert heard.removesuffix(PLAY) == player(seed, seed_frames=len(seed), title="The seed", composer=take.source).html
    if kind == TAKE:
        assert np.array_equal(take.music[: take.seed_frames], before.music)


def test_a_piece_goes_on_and_on_and_never_outgrows_the_player(desk):
    desk.seconds.value = 60
    desk.generate.click()
    first = desk.takes[0]
    newest(desk).go_on.click()
    second = desk.takes[0]
    assert first.title in second.words() and desk.seed.label == first.title
    assert len(second.music) == 90 * 16
    assert np.array_equal(second.music[: 30 * 16], first.music[-30 * 16 :])
    desk.generate.click()  # the same again, with another number
    assert desk.takes[0].begins is second.begins is first and desk.takes[0].random_seed != second.random_seed


def test_a_take_is_renamed_and_then_kept(desk, monkeypatch):
    monkeypatch.setattr(sys.modules["midigen_utils.apps.studio"], "LAST_TAKES", 2)
    desk.generate.click()
    box, name = newest(desk), "A <good> one"
    box.name.value = name
    assert box.keep.value and desk.takes[0].title == name
    assert "A &lt;good&gt; one</strong>" in shown_in(box) and 'data-name="a-good-one"' in shown_in(box)
    for _ in range(3):
        desk.generate.click()
    assert [take.title for take in desk.takes] == ["Take 4: LSTM", "Take 3: LSTM", name]
    box.keep.value = False
    desk.generate.click()
    assert [take.title for take in desk.takes] == ["Take 5: LSTM", "Take 4: LSTM"]


def test_what_is_stored_of_a_cell_that_was_not_run_is_a_drawing_with_every_control(desk):
    stored = desk._repr_mimebundle_()
    drawing = figure("studio")
    assert stored["text/html"] == drawing.html and stored["text/plain"] == drawing.alt
    assert stored["application/vnd.jupyter.widget-view+json"]["model_id"] == desk.model_id
    drawn = (FOLDER / "studio.svg").read_text(encoding="utf-8")
    desk.generate.click()
    for control in (*vars(desk).values(), newest(desk).keep, newest(desk).go_on):
        if getattr(control, "tooltip", None) and control is not desk.upload:  # a piece and an upload exclude each other
            assert f">{control.description}<" in drawn


def test_every_control_has_a_tooltip(desk):
    desk.generate.click()
    found = [*vars(desk).values(), *vars(newest(desk)).values()]
    controls = [control for control in found if hasattr(control, "description") and hasattr(control, "tooltip")]
    seen = [control for control in controls if control is not desk.status]
    assert len(seen) == 11 + 3
    assert all(control.tooltip for control in seen)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("no checkpoint", "no checkpoint there"),
        ("not a checkpoint", "x.pt: not a checkpoint"),
        ("no upload", "no MIDI file yet"),
        ("bad upload", "mid: not a MIDI file"),
        ("silence", "the seed is 1 s of silence"),
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


def test_the_last_takes_stay_newest_first_and_a_new_one_leaves_the_others_in_their_place(desk, monkeypatch):
    monkeypatch.setattr(sys.modules["midigen_utils.apps.studio"], "LAST_TAKES", 2)
    desk.pin.value = True
    for seed in range(3):
        before = list(boxes(desk.history))
        nests = [box.place.children for box in before]
        desk.random_seed.value = seed
        desk.generate.click()
        if seed < 2:
            assert [box.place.children for box in before] == nests  # nothing that is shown is drawn again
    assert [take.random_seed for take in desk.takes] == [2, 1]
    assert [box.take for box in boxes(desk.history)] == desk.takes
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
