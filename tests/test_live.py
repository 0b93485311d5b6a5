"""The live page as a file: it is small, safe, names no address, and refuses what it cannot run."""

import html
import json
import re

import numpy as np
import pytest

from midigen_utils import __main__, config
from midigen_utils.learn.checkpoints import load_model
from midigen_utils.learn.training import make_optimizer
from midigen_utils.models import MusicLSTM, MusicMamba
from midigen_utils.models.frame_model import FrameModel
from midigen_utils.show.live import live, live_page

EVIL = "</script><script>alert(1)</script>\"' {{WEIGHTS}}"


def about(page):
    return json.loads(re.search(r'<script type="application/json" id="about">(.*?)</script>', page)[1])


@pytest.fixture
def page_of(tmp_path):
    def page_of(model, **options):
        return live_page(model, tmp_path / "new" / "live.html", **options).read_text(encoding="utf-8")

    return page_of


def test_the_page_of_bachs_network_has_at_most_6_mb_and_names_no_address(page_of):
    page = page_of(load_model("bach"), seeds=[("a", np.zeros((128, 88)))])
    assert len(page.encode()) < 6e6
    text = re.sub(r'id="weights">.*?<', "", page)
    assert not re.search(r"https?:|//[a-z]+\.|\bsrc=|<link(?! rel=\"icon\" href=\"data:,\")|@import|url\(", text)


def test_titles_and_names_of_seeds_cannot_break_out_of_the_page(page_of):
    page = page_of(MusicLSTM(hidden_size=8), title=EVIL, seeds=[(EVIL, np.ones((2, 88)))])
    assert page.count("</script>") == page.count("<script") == 4
    assert html.escape(EVIL) in page and about(page)["seeds"][0]["name"] == EVIL


def test_seeds_are_the_rolls_bins_frame_by_frame(page_of):
    roll = np.zeros((3, 88), np.float32)
    roll[1, 5], roll[1, 7], roll[2, 87] = 1 / 32, 0.5, 1
    bins = config.value_to_bin(roll)
    for given in (roll, bins):
        notes = about(page_of(MusicLSTM(hidden_size=8), seeds=[("one", given)]))["seeds"][0]["notes"]
        assert notes == [[], [5, 1, 7, 16], [87, 32]]


@pytest.mark.parametrize("shape", [(0, 88), (4, 87), (88,), (1, 4, 88)])
def test_a_seed_of_another_shape_is_refused(page_of, shape):
    with pytest.raises(ValueError, match="a seed has the shape"):
        page_of(MusicLSTM(hidden_size=8), seeds=[("x", np.zeros(shape))])


def test_a_network_that_the_page_cannot_run_is_refused_before_a_file_is_there(page_of, tmp_path):
    class Mine(FrameModel):
        pass

    for model in (Mine(8), MusicMamba(num_pitches=12, d_model=16, n_layers=1)):
        with pytest.raises(ValueError, match="the page runs MusicMamba and MusicLSTM of 88 keys"):
            page_of(model)
    broken = MusicLSTM(hidden_size=8)
    broken.output.bias.data[0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        page_of(broken)
    assert not list((tmp_path / "new").glob("*.html"))


def test_a_notebook_shows_the_page_in_a_frame_and_untrusted_how_to_open_it():
    shown = live(MusicLSTM(hidden_size=8), title="Mine", seeds=[("one", np.ones((16, 88)))])
    text = shown._repr_html_()
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', text)[1]) == shown.page
    rest = re.sub(r"<iframe.*?</iframe>", "", text, flags=re.S)
    assert "live_page(model" in rest and 'src="data:image/png;base64,' in rest and "<script" not in rest
    assert re.fullmatch(r"Live\(\d\.\d MB\)", repr(shown))


def test_the_command_takes_ones_own_network_before_bachs(tunes, midi_data, tmp_path, monkeypatch, capsys):
    from midigen_utils import data
    from midigen_utils.data import load_corpus
    from midigen_utils.learn.checkpoints import save_checkpoint

    monkeypatch.setattr(data, "load_corpus", lambda name: load_corpus(str(tunes)))  # Bach's scores take a minute
    assert __main__.main(["live", "--output", str(tmp_path / "bach.html")]) == 0
    assert about((tmp_path / "bach.html").read_text())["network"]["config"]["model"] == "MusicMamba"
    model = MusicLSTM(hidden_size=8)
    save_checkpoint(midi_data / "best_model.pt", model, make_optimizer(model), 0, 1.0)
    assert __main__.main(["live"]) == 0
    own = about((midi_data / "generated" / "live.html").read_text())
    assert own["network"]["config"]["model"] == "MusicLSTM" and 1 <= len(own["seeds"]) <= 3
    assert all(len(seed["notes"]) <= 8 * 16 for seed in own["seeds"])
    assert "live.html" in capsys.readouterr().out
