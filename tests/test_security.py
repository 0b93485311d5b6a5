"""Nothing from strangers runs or leaves its folder: pickles, file names in tables, titles in pages."""

import ast
import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import write_tune
from test_player_browser import chromium, start, wait_for  # noqa: F401

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.corpus import COLUMNS, load_corpus, load_maestro
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.show.export import write_music
from midigen_utils.show.live import live_page
from midigen_utils.show.player import player, save_page
from midigen_utils.show.plotting import bare_figure, figure_png, plot_piano_roll
from midigen_utils.show.sound import TAIL

ROOT = Path(__file__).parent.parent
EVIL = "<script>alert(1)</script>"
FORBIDDEN = {"eval", "exec", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads"}
FORBIDDEN |= {"shelve.open", "dill.load", "joblib.load", "yaml.load", "os.system", "pd.read_pickle"}


def calls(path):
    """`(name, keywords)` of every call in a file, the name as it is written."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}


def unsafe(path):
    for name, keywords in calls(path):
        if name in FORBIDDEN or keywords.get("shell") == "True":
            yield name
        if name == "torch.load" and keywords.get("weights_only") != "True":
            yield name
        if name in ("np.load", "numpy.load") and keywords.get("allow_pickle") != "False":
            yield name


def test_nothing_is_unpickled_or_run_from_a_file():
    files = [path for folder in ("midigen_utils", "tools", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 30
    assert {str(path): found for path in files if (found := list(unsafe(path)))} == {}
    lessons = [path for path in (ROOT / "notebooks").glob("*.py") if "torch.load" in path.read_text(encoding="utf-8")]
    assert lessons and not any("torch.load" in unsafe(path) for path in lessons)


def test_the_check_above_notices(tmp_path):
    path = tmp_path / "x.py"
    for line in ("torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f)", "pickle.loads(f)", "eval(f)"):
        path.write_text(line)
        assert list(unsafe(path)), line
    path.write_text("torch.load(f, weights_only=True); np.load(f, allow_pickle=False)")
    assert not list(unsafe(path))


@pytest.mark.slow
def test_the_fuzzer_reads_every_kind_and_finds_nothing():
    run = [sys.executable, "tests/fuzz.py", "--minutes", "0.5", "--seed", "99"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.findall(r"^(\w+) +(\d+) tried  (\d+) read", done.stdout, re.M)
    assert len(counts) == 4 and all(int(tried) >= int(read) > 0 for _, tried, read in counts)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has neither fork nor SIGKILL")
def test_processes_killed_at_random_moments_leave_only_whole_files_and_lose_no_save():
    run = [sys.executable, "tests/kills.py", "--each", "5"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^\w+ +5 kills, [1-9]", done.stdout, re.M)) == 3, done.stdout


# ---- file names in tables ----


def corpus_naming(folder, *names):
    write_tune(folder / "good.mid")
    rows = [f'Bach,Air,train,2004,"{name}",x.wav,1' for name in ("good.mid", *names)]
    (folder / "m.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "../m2/good.mid", "sub/../../x.mid", ".."])
def test_a_table_cannot_name_files_outside_its_folder(tmp_path, name):
    write_tune(tmp_path / "m2" / "good.mid")
    folder = corpus_naming(tmp_path / "m", name)
    for load in (load_maestro, load_corpus):
        with pytest.raises(ValueError, match=r"m\.csv, line 3: .* lies outside the folder"):
            load(folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows lets only administrators make links")
def test_a_link_out_of_the_folder_is_refused_and_one_within_it_is_not(tmp_path):
    outside = write_tune(tmp_path / "outside" / "secret.mid")
    folder = corpus_naming(tmp_path / "m", "link.mid")
    (folder / "link.mid").symlink_to(outside)
    with pytest.raises(ValueError, match="link.mid' lies outside the folder"):
        load_maestro(folder)
    (folder / "link.mid").unlink()
    (folder / "link.mid").symlink_to(folder / "good.mid")
    assert len(load_maestro(folder).pieces) == 2
    (folder / "link.mid").unlink()
    (folder / "link.mid").symlink_to("link.mid")  # to itself
    with pytest.raises(ValueError, match="line 3"):
        load_maestro(folder)


@pytest.mark.parametrize("name", ["a\0b.mid", "x" * 5000 + ".mid"], ids=["zero byte", "too long"])
def test_a_name_that_no_file_can_have_is_refused_with_its_line(tmp_path, name):
    with pytest.raises(ValueError, match=r"line 3|not a CSV"):
        load_maestro(corpus_naming(tmp_path / "m", name))


def test_a_table_that_python_cannot_read_is_one_error(tmp_path):
    folder = corpus_naming(tmp_path / "m")
    for text in (f'{",".join(COLUMNS)}\n"{"x" * 200_000}",', ",".join(COLUMNS)):
        (folder / "m.csv").write_text(text)
        with pytest.raises(ValueError, match=r"m\.csv: (not a CSV|no row)"):
            load_maestro(folder)


def test_a_short_row_has_empty_texts_and_a_folder_named_like_a_table_is_none(tmp_path):
    folder = corpus_naming(tmp_path / "m")
    (folder / "a.csv").mkdir()
    columns = ["split", "midi_filename", *(c for c in COLUMNS if c not in ("split", "midi_filename"))]
    (folder / "m.csv").write_text(f"{','.join(columns)}\ntrain,good.mid\n")
    piece = load_corpus(folder).pieces[0]
    assert (piece.composer, piece.title, piece.year, piece.duration) == ("", "", None, 0.0)


# ---- titles in pages and pictures ----


def a_roll():
    return np.repeat(np.eye(8, 88, 40, dtype=np.float32), 4, axis=0)


def policy(page):
    found = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)[1]
    return dict(rule.split(" ", 1) for rule in found.split("; "))


def test_a_hostile_title_is_text_in_player_and_page(tmp_path):
    one = player(a_roll(), title=EVIL, composer=EVIL)
    page = save_page(tmp_path / "p.html", [one, one], EVIL).read_text(encoding="utf-8")
    for text in (one.html, page):
        assert EVIL not in text and html.escape(EVIL) in text
    assert EVIL not in one.script and "alert" not in one.script


HOSTILE = [EVIL, "</script><b>", "</title><!--<script>", "'\"><img src=x onerror=alert(1)>", "{{WEIGHTS}} {{MUSIC}}"]
HOSTILE += ["\u202egpj.\u2066exe", "a\nb\r\nc\u2028d", "\\u003c/script>", "&lt;b&gt;", "x" * 300]


class Elements(HTMLParser):
    """The elements of a page as a browser sees them, with the names of their attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, *(name for name, _ in attributes)))


def test_no_title_changes_what_a_page_is_made_of(tmp_path):
    network = MusicLSTM(hidden_size=8)

    def elements(title):
        one = player(a_roll(), title=title, composer=title)
        pages = [one.save(tmp_path / "one.html"), save_page(tmp_path / "two.html", [one, one], title)]
        pages.append(live_page(network, tmp_path / "live.html", title, seeds=[(title, a_roll())]))
        return [Elements(page.read_text(encoding="utf-8")).found for page in pages]

    plain = elements("A title")
    assert all(("script",) in page and len(page) > 10 for page in plain)
    for title in HOSTILE:
        assert elements(title) == plain, title


@pytest.mark.parametrize("title", [EVIL, r"$\evil{$", "cash $$ 5", "^_{}%&#"])
def test_any_title_can_be_drawn_and_written(tmp_path, title):
    figure, axes = bare_figure(4, 2)
    plot_piano_roll(a_roll(), MIDI_CONFIG, axes, title=title)
    assert axes.get_title() == title and figure_png(figure, dpi=50).startswith(b"\x89PNG")
    write_music(a_roll(), MIDI_CONFIG, tmp_path / "take", title)
    assert EVIL not in (tmp_path / "take.html").read_text(encoding="utf-8")


def test_a_saved_page_may_do_nothing_but_draw_and_play(tmp_path):
    players = [player(a_roll()), player(a_roll()[::-1], title="Other")]
    page = players[0].save(tmp_path / "p.html").read_text(encoding="utf-8")
    rules = policy(page)
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:" and rules["media-src"] == "blob:"
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", rules["script-src"]) and "unsafe" not in str(rules)
    assert page.index("Content-Security-Policy") < page.index("<style") < page.index("<script")
    assert not re.search(r"\sstyle=|\son\w+=\"", page)  # neither would be obeyed
    both = policy(save_page(tmp_path / "two.html", players).read_text(encoding="utf-8"))
    assert len(both["script-src"].split()) == 2 and rules["script-src"] in both["script-src"]
    assert policy(save_page(tmp_path / "none.html", []).read_text(encoding="utf-8"))["script-src"] == "'none'"


@pytest.mark.browser
def test_in_a_browser_the_page_plays_and_a_script_that_got_in_does_not_run(chromium, tmp_path):  # noqa: F811
    path = player(a_roll(), title=EVIL, seed_frames=8).save(tmp_path / "p.html")
    page_text = path.read_text(encoding="utf-8")
    bad = "<script>window.evil = 1</script><img src=x onerror='window.evil = 2'><img src='https://example.org/x.png'>"
    path.write_text(page_text.replace("<main>", f"<main>{bad}"), encoding="utf-8")  # as if escaping had failed
    context = chromium.new_context()
    page, refused, complaints = context.new_page(), {}, []
    page.on("requestfailed", lambda request: refused.update({request.url: request.failure}))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: pytest.fail("the title ran as a script"))
    page.goto(path.as_uri())
    page.wait_for_selector(".midigen-head", state="attached")
    audio = start(page)
    assert audio.evaluate("audio => audio.duration") == pytest.approx(len(a_roll()) / 16 + TAIL, abs=0.1)
    wait_for(page, audio, "audio.currentTime > 0.2")
    colours = page.evaluate(
        "[...document.querySelectorAll('.midigen-legend i')].map(i => getComputedStyle(i).backgroundColor)"
    )
    assert len(set(colours)) == 2 and "rgba(0, 0, 0, 0)" not in colours
    with page.expect_download():
        page.locator(".midigen-midi").click()
    assert page.evaluate("window.evil") is None and EVIL in page.locator(".midigen").inner_text()
    assert refused["https://example.org/x.png"] == "csp"
    assert sum("Content Security Policy" in text for text in complaints) >= 3
    context.close()
