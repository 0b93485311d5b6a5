"""The MAESTRO download, against a server on this machine that misbehaves on request."""

import errno
import hashlib
import io
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock

import pooch
import pytest
from tqdm import tqdm

from midigen_utils import files
from midigen_utils.data import download

CSV = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration\n" + "".join(
    f"Nobody,Étude {i},train,2004,2004/piece {i}.midi,2004/piece {i}.wav,1.0\n" for i in range(3)
)
FILES = {
    "maestro-v3.0.0/": b"",
    "maestro-v3.0.0/LICENSE": b"licence",
    "maestro-v3.0.0/maestro-v3.0.0.csv": CSV.encode(),
    # Bytes that do not compress, so that the zip takes several chunks of the download.
    **{f"maestro-v3.0.0/2004/piece {i}.midi": hashlib.shake_256(bytes([i])).digest(150_000) for i in range(3)},
}


def make_zip(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


GOOD = make_zip(FILES)


class Server(ThreadingHTTPServer):
    """Serves ``content``; the n-th request is answered in the n-th way of ``ways``, the last way from then on.

    Ways: "whole", "half" (the connection drops halfway), or an HTTP status.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ways, self.asked = GOOD, ["whole"], 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/maestro.zip"

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the test


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, content = self.server, self.server.content
        way = server.ways[min(server.asked, len(server.ways) - 1)]
        server.asked += 1
        if isinstance(way, int):
            return self.send_error(way)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if way == "half" else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def sandbox(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MIDI_DATA", tmp_path)
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
    monkeypatch.delenv("MIDIGEN_DATA", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetch(server, content=None, **changed):
    """``download_maestro`` from the server, expecting ``content`` (default: what the server holds)."""
    content = server.content if content is None else content
    expected = {"url": server.url, "sha256": hashlib.sha256(content).hexdigest()}
    return download.download_maestro(**{**expected, **changed})


def assert_whole(folder):
    found = {p.relative_to(folder.parent).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == {name: content for name, content in FILES.items() if not name.endswith("/")}


def assert_only(tmp_path, *names):
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == sorted(names)


def test_corpus_is_unpacked_whole_and_nothing_else_is_left(server, tmp_path, capsys):
    folder = fetch(server)
    assert folder == tmp_path / "maestro-v3.0.0"
    assert_whole(folder)
    assert_only(tmp_path, "maestro-v3.0.0")
    shown = capsys.readouterr().out
    assert shown.count("CC BY-NC-SA 4.0") == 1 and shown.count("Hawthorne") == 1


def test_a_complete_corpus_is_not_downloaded_again(server, capsys):
    fetch(server)
    capsys.readouterr()
    assert_whole(fetch(server))
    assert server.asked == 1
    assert capsys.readouterr().out == ""


def test_folder_may_be_chosen(server, tmp_path):
    folder = fetch(server, folder=tmp_path / "a" / "ü b")
    assert folder == tmp_path / "a" / "ü b" / "maestro-v3.0.0"
    assert_whole(folder)


def test_a_shared_copy_is_used_instead_of_a_download(server, tmp_path, monkeypatch):
    shared = fetch(server, folder=tmp_path / "shared").parent
    monkeypatch.setenv("MIDIGEN_DATA", str(shared))
    assert fetch(server) == shared / "maestro-v3.0.0"
    assert server.asked == 1


def test_a_corpus_that_lost_a_file_is_never_taken_for_whole(server, tmp_path):
    folder = fetch(server)
    (folder / "2004" / "piece 1.midi").unlink()
    with pytest.raises(FileExistsError, match="lacks files"):
        fetch(server)
    assert (folder / "2004" / "piece 0.midi").exists()  # what is there stays


def test_an_incomplete_shared_copy_does_not_hide_the_complete_one(server, tmp_path, monkeypatch):
    folder = fetch(server)
    (tmp_path / "shared" / "maestro-v3.0.0").mkdir(parents=True)
    monkeypatch.setenv("MIDIGEN_DATA", str(tmp_path / "shared"))
    assert fetch(server) == folder


@pytest.mark.parametrize(
    "ways",
    [["half", "whole"], [503, 429, "whole"], ["half"] * 4 + ["whole"]],
    ids=["the connection drops", "busy", "at the last attempt"],
)
def test_awkward_server_still_gives_the_whole_corpus(server, ways, tmp_path):
    server.ways = ways
    assert_whole(fetch(server))
    assert server.asked == len(ways)
    assert_only(tmp_path, "maestro-v3.0.0")


def test_a_connection_that_always_drops_ends_in_one_clear_error_and_leaves_nothing(server, tmp_path):
    server.ways = ["half"]
    with pytest.raises(OSError, match="Check your internet connection and run this again|another file"):
        fetch(server)
    assert server.asked == download.ATTEMPTS
    assert_only(tmp_path)
    server.ways = ["whole"]
    assert_whole(fetch(server))


def test_no_server_at_all_says_to_check_the_connection(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(OSError, match="Check your internet connection"):
        fetch(server)
    assert_only(tmp_path)


def test_a_missing_file_is_an_error_with_the_answer_of_the_server(server, tmp_path):
    server.ways = [404]
    with pytest.raises(OSError, match="HTTP 404"):
        fetch(server)
    assert_only(tmp_path)


def test_a_login_page_or_a_wrong_hash_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(OSError, match="another file than the published one"):
        fetch(server, sha256="0" * 64)
    server.content = b"<html>please log in</html>"
    with pytest.raises(OSError, match="login page"):
        fetch(server, GOOD)
    assert_only(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        GOOD[: len(GOOD) * 2 // 3],
        make_zip({name: content for name, content in FILES.items() if "piece 2" not in name}),
        make_zip({name: content for name, content in FILES.items() if ".csv" not in name}),
    ],
    ids=["truncated", "a listed file missing", "no CSV"],
)
def test_bad_zip_with_the_right_hash_is_refused_and_nothing_kept(server, tmp_path, content):
    server.content = content
    with pytest.raises(OSError, match="the zip is refused"):
        fetch(server)
    assert_only(tmp_path)


@pytest.mark.parametrize(
    "name", ["../evil.txt", "maestro-v3.0.0/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:\\evil.txt", "C:evil.txt"]
)
def test_no_path_in_the_zip_leaves_the_folder(server, tmp_path, name):
    server.content = make_zip({**FILES, name: b"evil"})
    fetch(server, folder=tmp_path / "inner")
    assert_only(tmp_path, "inner")
    assert_only(tmp_path / "inner", "maestro-v3.0.0")
    assert not Path("/evil.txt").exists()


@pytest.mark.parametrize(
    "stop, expected",
    [(KeyboardInterrupt, "^$"), (OSError(errno.ENOSPC, "full"), "disk is full"), (OSError(errno.EDQUOT, "x"), "full")],
    ids=["Ctrl-C", "full disk", "quota"],
)
@pytest.mark.parametrize("where", ["downloading", "unpacking"])
def test_stopped_halfway_leaves_no_corpus_and_the_next_call_does_it(
    server, tmp_path, monkeypatch, stop, expected, where
):
    def half(archive, path):
        for name in archive.namelist()[:3]:
            archive.extract(name, path)
        raise stop

    with monkeypatch.context() as patch:
        if where == "unpacking":
            patch.setattr(zipfile.ZipFile, "extractall", half)
        else:
            patch.setattr(tqdm, "update", Mock(side_effect=[None, None, stop]))
        with pytest.raises(stop if stop is KeyboardInterrupt else OSError, match=expected):
            fetch(server)
    assert_only(tmp_path)
    assert_whole(fetch(server))


def test_a_download_that_was_killed_is_not_taken_for_whole_and_removed(server, tmp_path):
    left_over = tmp_path / ".maestro-v3.0.0.tmp" / "zip"
    left_over.mkdir(parents=True)
    (left_over / "tmp1234").write_bytes(GOOD[:1000])
    assert_whole(fetch(server))
    assert_only(tmp_path, "maestro-v3.0.0")


def test_two_downloads_at_once_ask_the_server_once(server, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        for folder in pool.map(lambda _: fetch(server), range(2)):
            assert_whole(folder)
    assert server.asked == 1
