"""The MAESTRO download, against a server on this machine that misbehaves on request."""

import errno
import hashlib
import io
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import Mock

import pytest

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

    Ways: "whole" (200, Range ignored), "range" (206 when asked), "half" and "ranged half" (the same, but the
    connection drops halfway), "elsewhere" (206 from a wrong byte), or an HTTP status.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ways, self.asked = GOOD, ["range"], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/maestro.zip"

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the test


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, content = self.server, self.server.content
        way = server.ways[min(len(server.asked), len(server.ways) - 1)]
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if isinstance(way, int):
            return self.send_error(way)
        start = int(asked[len("bytes=") :].rstrip("-")) if asked and way not in ("whole", "half") else 0
        if way == "elsewhere":
            start += 7
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if "half" in way else body)

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
    monkeypatch.setattr(download, "WAITS", (0, 0, 0))
    monkeypatch.delenv("MIDIGEN_DATA", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetch(server, content=None, **changed):
    """``download_maestro`` from the server, expecting ``content`` (default: what the server holds)."""
    content = server.content if content is None else content
    expected = {"url": server.url, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return download.download_maestro(**{**expected, **changed})


def assert_whole(folder):
    found = {p.relative_to(folder.parent).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == {name: content for name, content in FILES.items() if not name.endswith("/")}


def assert_only(tmp_path, *names):
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


PART = "maestro-v3.0.0-midi.zip.part"


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
    assert len(server.asked) == 1
    assert capsys.readouterr().out == ""


def test_folder_may_be_chosen(server, tmp_path):
    folder = fetch(server, folder=tmp_path / "a" / "ü b")
    assert folder == tmp_path / "a" / "ü b" / "maestro-v3.0.0"
    assert_whole(folder)


def test_a_shared_copy_is_used_instead_of_a_download(server, tmp_path, monkeypatch):
    shared = fetch(server, folder=tmp_path / "shared").parent
    monkeypatch.setenv("MIDIGEN_DATA", str(shared))
    assert fetch(server) == shared / "maestro-v3.0.0"
    assert len(server.asked) == 1


def test_a_corpus_that_lost_a_file_is_never_taken_for_whole(server, tmp_path):
    folder = fetch(server)
    (folder / "2004" / "piece 1.midi").unlink()
    with pytest.raises(download.DownloadError, match="lacks files"):
        fetch(server)
    assert (folder / "2004" / "piece 0.midi").exists()  # what is there stays


def test_an_incomplete_shared_copy_does_not_hide_the_complete_one(server, tmp_path, monkeypatch):
    folder = fetch(server)
    (tmp_path / "shared" / "maestro-v3.0.0").mkdir(parents=True)
    monkeypatch.setenv("MIDIGEN_DATA", str(tmp_path / "shared"))
    assert fetch(server) == folder


def test_dropped_connection_resumes_where_it_stopped(server):
    server.ways = ["half", "ranged half", "range"]
    assert_whole(fetch(server))
    half, three_quarters = len(GOOD) // 2, len(GOOD) * 3 // 4
    resumed = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in server.asked[1:]]
    assert server.asked[0] is None
    assert half - download.CHUNK < resumed[0] <= half
    assert three_quarters - 2 * download.CHUNK < resumed[1] <= three_quarters


@pytest.mark.parametrize(
    "ways, resumes",
    [
        (["half", "whole"], [False, True]),  # ignores Range: starts again from zero
        (["half", "elsewhere", "range"], [False, True, False]),  # another range: starts again without those bytes
        (["half", 416, "range"], [False, True, False]),
        ([503, 429, "range"], [False, False, False]),  # busy: asked again
        (["ranged half"] * 5 + ["range"], [False] + [True] * 5),  # more drops than WAITS, each brought something new
    ],
    ids=["ignores Range", "another range", "HTTP 416", "busy", "many drops"],
)
def test_awkward_server_still_gives_the_whole_corpus(server, ways, resumes):
    server.ways = ways
    assert_whole(fetch(server))
    assert [asked is not None for asked in server.asked] == resumes


def test_a_connection_that_always_drops_ends_in_one_clear_error_and_resumes_later(server, tmp_path):
    server.ways = ["half"]
    with pytest.raises(download.DownloadError, match="run this again, it resumes"):
        fetch(server)
    assert len(server.asked) < 10
    assert_only(tmp_path, PART)
    here = (tmp_path / PART).stat().st_size
    server.ways = ["range"]
    assert_whole(fetch(server))
    assert here > 0 and server.asked[-1] == f"bytes={here}-"


def test_no_server_at_all_says_to_check_the_connection(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(download.DownloadError, match="check your internet connection"):
        fetch(server)


def test_missing_file_is_an_error_at_once(server, tmp_path):
    server.ways = [404]
    with pytest.raises(download.DownloadError, match="HTTP 404"):
        fetch(server)
    assert len(server.asked) == 1
    assert_only(tmp_path)


def test_login_page_is_an_error_and_keeps_what_was_downloaded(server, tmp_path):
    (tmp_path / PART).write_bytes(GOOD[:1000])
    server.content, server.ways = b"<html>please log in</html>", ["whole"]
    with pytest.raises(download.DownloadError, match="login page"):
        fetch(server, GOOD)
    assert (tmp_path / PART).read_bytes() == GOOD[:1000]


def test_wrong_hash_is_refused_and_deleted(server, tmp_path):
    with pytest.raises(download.DownloadError, match="not the published file"):
        fetch(server, sha256="0" * 64)
    assert_only(tmp_path)


@pytest.mark.parametrize("stale", [b"\0" * 1000, GOOD + b"more"], ids=["of another file", "too long"])
def test_stale_part_is_refused_then_replaced(server, tmp_path, stale):
    (tmp_path / PART).write_bytes(stale)
    with pytest.raises(download.DownloadError, match="not the published file.*run this again"):
        fetch(server)
    assert_only(tmp_path)
    assert_whole(fetch(server))


@pytest.mark.parametrize(
    "content",
    [
        GOOD[: len(GOOD) * 2 // 3],
        GOOD[:200_000] + bytes([GOOD[200_000] ^ 255]) + GOOD[200_001:],
        make_zip({name: content for name, content in FILES.items() if "piece 2" not in name}),
        make_zip({name: content for name, content in FILES.items() if ".csv" not in name}),
    ],
    ids=["truncated", "a flipped byte", "a listed file missing", "no CSV"],
)
def test_bad_zip_with_the_right_hash_is_refused_and_nothing_unpacked(server, tmp_path, content):
    server.content = content
    with pytest.raises(download.DownloadError, match="the zip is refused"):
        fetch(server)
    assert_only(tmp_path)


@pytest.mark.parametrize(
    "name", ["../evil.txt", "maestro-v3.0.0/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:\\evil.txt", "C:evil.txt"]
)
def test_no_path_in_the_zip_leaves_the_folder(server, tmp_path, name):
    server.content = make_zip({**FILES, name: b"evil"})
    with pytest.raises(download.DownloadError, match="outside the folder"):
        fetch(server, folder=tmp_path / "inner")
    assert_only(tmp_path, "inner")
    assert_only(tmp_path / "inner")


def test_ctrl_c_keeps_the_part_and_the_next_call_resumes(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(download.tqdm, "update", Mock(side_effect=[None, None, KeyboardInterrupt]))
        with pytest.raises(KeyboardInterrupt):
            fetch(server)
    assert_only(tmp_path, PART)
    here = (tmp_path / PART).stat().st_size
    assert 0 < here < len(GOOD)
    assert_whole(fetch(server))
    assert server.asked == [None, f"bytes={here}-"]


@pytest.mark.parametrize(
    "stop, expected",
    [(KeyboardInterrupt, KeyboardInterrupt), (OSError(errno.ENOSPC, "full"), download.DownloadError)],
    ids=["Ctrl-C", "full disk"],
)
def test_stopped_while_unpacking_leaves_no_corpus_and_no_second_download(server, tmp_path, monkeypatch, stop, expected):
    def half_of_them(archive, path):
        for name in archive.namelist()[:3]:
            archive.extract(name, path)
        raise stop

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", half_of_them)
        with pytest.raises(expected):
            fetch(server)
    assert_only(tmp_path, PART)
    assert_whole(fetch(server))
    assert len(server.asked) == 1


def test_too_little_disk_space_is_said_before_the_first_byte(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(download.DownloadError, match="not enough disk space"):
        fetch(server)
    assert server.asked == []
    assert_only(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_disk_that_fills_up_while_writing_keeps_the_part(server, tmp_path, monkeypatch, number):
    with monkeypatch.context() as patch:
        patch.setattr(download.tqdm, "update", Mock(side_effect=[None, None, OSError(number, "no space")]))
        with pytest.raises(download.DownloadError, match="is full"):
            fetch(server)
    assert_only(tmp_path, PART)
    assert_whole(fetch(server))
    assert server.asked[-1] is not None


def test_two_downloads_at_once_never_give_half_a_corpus(server, tmp_path):
    outcomes = []

    def one():
        try:
            outcomes.append(fetch(server))
        except OSError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not (tmp_path / "maestro-v3.0.0").exists():  # they may spoil each other's bytes, which the hash finds
        assert all(isinstance(outcome, OSError) for outcome in outcomes)
    assert_whole(fetch(server))
