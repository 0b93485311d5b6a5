"""The studio and the blind test in JupyterLab, in a real browser.

Needs what test_player_browser.py needs, and JupyterLab; skipped elsewhere.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import write_tune
from test_player_browser import chromium, start, wait_for  # noqa: F401

from midigen_utils.apps.studio import studio
from midigen_utils.data.corpus import Corpus, Piece
from midigen_utils.show.sound import TAIL

pytestmark = pytest.mark.browser
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
REST = {"metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5}  # of a notebook, beside its cells
NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own on this machine: its folder, and its address."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    folder = tmp_path_factory.mktemp("lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {f"JUPYTER_{name}_DIR": str(folder / "jupyter" / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    settings |= {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    options = f"--no-browser --allow-root --port={port} --IdentityProvider.token=test --LabApp.news_url=None"
    options += " --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"
    command = [sys.executable, "-m", "jupyterlab", *options.split(), f"--ServerApp.root_dir={folder}"]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=log)
    address, late = f"http://127.0.0.1:{port}", time.monotonic() + 60
    while time.monotonic() < late:
        try:
            urllib.request.urlopen(f"{address}/api").close()
            break
        except OSError:
            time.sleep(0.3)
    yield folder, address
    server.terminate()
    server.wait(timeout=30)


@pytest.fixture
def open_notebook(chromium, lab):  # noqa: F811
    """Open a notebook in JupyterLab; at the end, nothing may have left the machine and no error been logged."""
    folder, address = lab
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    addresses, complaints = [], []

    def open_notebook(text):
        (folder / "test.ipynb").write_text(text, encoding="utf-8")
        page = context.new_page()
        page.on("request", lambda request: addresses.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address}/doc/tree/test.ipynb?token=test&reset", timeout=60000)
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60000)
        return page

    yield open_notebook
    context.close()
    assert all(url.startswith((address, address.replace("http", "ws"), "blob:", "data:")) for url in addresses)
    assert complaints == []


@pytest.fixture
def run_cell(open_notebook):
    """Run one cell in JupyterLab."""

    def run_cell(source):
        cell = {"cell_type": "code", "id": "one", "metadata": {}, "execution_count": None, "outputs": []}
        page = open_notebook(json.dumps({"cells": [{**cell, "source": source}], **REST}))
        page.locator(".jp-Notebook .cm-content").click()
        page.locator("text=| Idle").wait_for(timeout=60000)  # the kernel is there
        page.keyboard.press("Shift+Enter")
        return page

    return run_cell


def test_a_notebook_of_the_course_that_was_never_run_here_shows_the_picture_and_how_to_hear_it(open_notebook):
    """JupyterLab does not trust the outputs of a fresh clone: it takes scripts and sound out of them."""
    page = open_notebook((NOTEBOOKS / "01_data_exploration.ipynb").read_text(encoding="utf-8"))
    picture = page.locator(".midigen-still img").first
    picture.wait_for(timeout=30000)
    assert picture.evaluate("image => image.naturalWidth") > 500
    assert "run the cell" in page.locator(".midigen-still").first.inner_text()
    assert page.locator(".midigen-play").count() == 0


def test_the_studio_composes_and_plays_in_jupyterlab(run_cell, lab, tmp_path):
    for i in range(3):
        write_tune(lab[0] / "tunes" / f"tune {i}.mid", seed=i)
    page = run_cell(
        "from pathlib import Path\nimport torch\nfrom midigen_utils import *\nfrom midigen_utils import files\n"
        "files.MIDI_DATA = Path('midi_data').resolve()\nmodel = MusicLSTM(hidden_size=16)\n"
        "torch.nn.init.constant_(model.output.bias, -3.5)\nstudio({'tiny': model}, load_folder('tunes'))"
    )
    generate = page.get_by_role("button", name="Generate")
    generate.click(timeout=60000)
    page.locator(".midigen-play").wait_for(timeout=60000)
    audio = start(page)
    assert audio.evaluate("audio => audio.duration") == pytest.approx(4 + 20 + TAIL, abs=0.1)
    wait_for(page, audio, "audio.currentTime > 0.5")

    page.get_by_label("Begin with").select_option("your own MIDI file")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a MIDI file").click()
    chooser.value.set_files(write_tune(tmp_path / "mine.mid", seed=9))
    page.get_by_text("mine.mid is here").wait_for()
    too_large = {"name": "song.mid", "mimeType": "audio/midi", "buffer": bytes(15_000_000)}
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a MIDI file").click()
    chooser.value.set_files(too_large)
    page.locator("[role=alert]", has_text="song.mid is too large: a MIDI file here has up to 8 MB").wait_for()
    audio = audio.element_handle()
    generate.click()  # the kernel still hears, and has the file that it had before
    page.get_by_text("Take 2 is ready").wait_for()
    assert audio.evaluate("audio => audio.isConnected && (audio.ended || !audio.paused)")  # the first take plays on
    titles = page.locator(".midigen strong").all_inner_texts()
    assert titles == ["Take 2: tiny", "Take 1: tiny"]  # the newest is the first to be read
    code = page.locator("pre", has_text="player(").first
    assert "midi_to_piano_roll('midi_data/uploads/mine-" in code.inner_text()
    page.get_by_role("button", name="Hear the seed").click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('audio')].some(audio => audio.duration < 10 && !audio.paused)"
    )
    page.get_by_role("button", name="Go on from here").first.click()
    page.get_by_text("24 s of Take 2: tiny, then 20 s").wait_for()
    page.get_by_label("Begin with").select_option("your own MIDI file")

    (lab[0] / "midi_data" / "uploads").rename(lab[0] / "elsewhere")
    generate.click()
    page.locator("[role=alert]", has_text="No such file").wait_for()
    assert "Traceback" not in page.locator("body").inner_text()
    page.set_viewport_size({"width": 390, "height": 1000})
    page.wait_for_timeout(500)
    for box in (page.locator(".midigen").first, page.get_by_label("Model"), generate, code):
        right = box.bounding_box()
        assert right["x"] + right["width"] <= 390


def test_what_is_stored_of_the_studio_is_a_picture_in_a_notebook_that_was_never_run_here(open_notebook):
    desk = studio({"tiny": None}, Corpus("toy", Path(), (Piece(Path("a.mid"), "train"),)))
    output = {"output_type": "execute_result", "data": desk._repr_mimebundle_(), "metadata": {}, "execution_count": 1}
    cell = {"cell_type": "code", "id": "one", "metadata": {}, "execution_count": 1, "outputs": [output], "source": "1"}
    page = open_notebook(json.dumps({"cells": [cell], **REST}))
    picture = page.locator(".jp-OutputArea img")
    picture.wait_for(timeout=30000)
    assert picture.evaluate("image => image.naturalWidth") == 480
    assert "run this cell" in page.locator(".jp-OutputArea").inner_text()
    assert "Studio(" not in page.locator("body").inner_text()


def test_the_blind_test_is_taken_with_the_keyboard_in_jupyterlab(run_cell):
    page = run_cell(
        "import numpy as np\nfrom midigen_utils import blind_test\n"
        "noise = np.random.default_rng(0).random((6, 64, 88))\nrolls = [(roll < 0.01) * 0.5 for roll in noise]\n"
        "blind_test({'real': rolls[:3], 'LSTM': rolls[3:]})"
    )
    page.get_by_text("Clip 1 of 3. Listen").wait_for(timeout=60000)
    assert page.locator(".midigen-roll").is_hidden()
    button, play = page.get_by_role("button", name="LSTM"), page.locator(".midigen-play")
    play.focus()
    for clip in (1, 2, 3):
        assert button.is_disabled()
        page.keyboard.press("Enter")
        audio = page.locator("audio").element_handle()
        page.wait_for_function("audio => audio.currentTime > 0", arg=audio, timeout=60000)
        assert audio.evaluate("audio => audio.duration") == pytest.approx(4 + TAIL, abs=0.1)
        audio.evaluate("audio => { audio.playbackRate = 8; }")  # three seconds of music, in less
        page.get_by_text(f"Clip {clip} of 3. Who made it?").wait_for()
        assert audio.evaluate("audio => audio.currentTime") >= 3
        button.focus()
        page.keyboard.press("Enter")
        if clip < 3:
            page.get_by_text(f"Clip {clip + 1} of 3. Listen").wait_for()
            page.wait_for_function("() => document.activeElement.matches('.midigen-play')")
    page.get_by_text("All 3 clips are guessed").wait_for()
    page.get_by_role("button", name="Show who made them").press("Enter")
    page.get_by_text("of 3 right").wait_for()
    page.locator(".midigen-roll").nth(2).wait_for()
