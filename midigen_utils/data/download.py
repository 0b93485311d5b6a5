"""Fetch MAESTRO: resumed when interrupted, checked, and unpacked whole or not at all."""

import csv
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
import zipfile
import zlib
from pathlib import Path, PureWindowsPath

import requests
from tqdm.auto import tqdm

from .. import files
from .corpus import MAESTRO_FOLDER as MAESTRO

MAESTRO_URL = "https://storage.googleapis.com/magentadata/datasets/maestro/v3.0.0/maestro-v3.0.0-midi.zip"
MAESTRO_SIZE = 58_416_533  # bytes
MAESTRO_SHA256 = "70470ee253295c8d2c71e6d9d4a815189e35c89624b76d22fce5a019d5dde12c"
MAESTRO_NOTICE = """\
MAESTRO v3.0.0 is licensed CC BY-NC-SA 4.0: name its source, share alike, no commercial use.
https://creativecommons.org/licenses/by-nc-sa/4.0/
Please cite: Curtis Hawthorne et al., "Enabling Factorized Piano Music Modeling and Generation
with the MAESTRO Dataset", ICLR 2019, https://openreview.net/forum?id=r1lYRjC9F7"""

WAITS = (1, 1, 2, 4, 8)  # seconds before the next connection, by how many in a row brought nothing new
TIMEOUT = (10, 30)  # seconds to connect, and without a byte
CHUNK = 1 << 13  # bytes; small, for what a dropped connection leaves of a chunk is lost


class DownloadError(OSError):
    """MAESTRO could not be fetched; the message says why and what to do."""


def download_maestro(folder=None, url=MAESTRO_URL, size=MAESTRO_SIZE, sha256=MAESTRO_SHA256):
    """Fetch MAESTRO's MIDI files (58 MB) unless they are there; interrupted, it resumes at the next call.

    The zip grows as a ``.part`` file beside the corpus. Only when its size and hash are right is it unpacked,
    into a temporary folder that is renamed at the end: a folder with the corpus's name is always whole.

    Args:
        folder: where ``maestro-v3.0.0/`` goes; ``None`` takes ``midi_data/``, and a copy in ``MIDIGEN_DATA`` counts.
        url: str, address of the zip.
        size: int, bytes of the zip.
        sha256: str, 64 hexadecimal digits, hash of the zip.

    Returns:
        ``Path`` of the folder that holds ``maestro-v3.0.0.csv`` and the MIDI files it lists.

    Raises:
        DownloadError: no connection, not enough disk space, or not the file that was published; says what to do.

    Source: Hawthorne et al., ICLR 2019; https://magenta.tensorflow.org/datasets/maestro
    """
    shared = files.find_data(MAESTRO) if folder is None else None
    folder = Path(folder or files.MIDI_DATA)
    target = folder / MAESTRO
    for corpus in filter(None, (shared, target)):
        if _is_complete(corpus):
            return corpus
    if target.exists():
        raise DownloadError(f"{target} is there, but lacks files; move it away or delete it, then run this again")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{MAESTRO}-midi.zip.part"
    print(MAESTRO_NOTICE)
    try:
        _need_space(folder, 3 * size - _bytes_in(part))  # the zip, and its files at up to twice that
        _fetch(url, part, size)
        _check(part, size, sha256)
        _unpack(part, target)
    except OSError as error:
        if _is_complete(target):  # another download finished first
            return target
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DownloadError(f"the disk of {folder} is full; free some space and run this again: it resumes") from error
    part.unlink(missing_ok=True)
    return target


def _is_complete(corpus):
    """Whether the corpus has its CSV and every MIDI file that the CSV lists."""
    table = corpus / f"{MAESTRO}.csv"
    if not table.is_file():
        return False
    try:
        with open(table, encoding="utf-8", newline="") as file:
            return all((corpus / (row.get("midi_filename") or "")).is_file() for row in csv.DictReader(file))
    except (csv.Error, ValueError):  # a table that is damaged
        return False


def _bytes_in(part):
    return part.stat().st_size if part.exists() else 0


def _need_space(folder, needed):
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"not enough disk space in {folder}: {needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free; "
            "free some and run this again"
        )


def _fetch(url, part, size):
    """Let ``part`` grow to ``size`` bytes, over as many connections as it takes while each brings something new."""
    furthest, failures = _bytes_in(part), 0
    with tqdm(total=size, unit="B", unit_scale=True, desc=MAESTRO) as bar:
        while (have := _bytes_in(part)) < size:
            problem = "the connection was closed early"
            try:
                _stream(url, part, have, size, bar)
            except requests.RequestException as error:
                problem = error
            have = _bytes_in(part)
            failures = 0 if have > furthest else failures + 1
            furthest = max(furthest, have)
            if failures == len(WAITS):
                raise DownloadError(
                    f"could not download {url} ({problem}). {have / 1e6:.1f} of {size / 1e6:.1f} MB are here: "
                    "check your internet connection and run this again, it resumes there"
                )
            if have < size:
                time.sleep(WAITS[failures])


def _stream(url, part, have, size, bar):
    """One connection: append to ``part`` what the server sends from byte ``have`` on."""
    headers = {"Accept-Encoding": "identity"}  # bytes as they lie on the server, or positions mean nothing
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status = response.status_code
        if status in (408, 429) or status >= 500:
            raise requests.ConnectionError(f"the server is busy: HTTP {status}")
        first, total = 0, response.headers.get("Content-Length", "*")
        if status == 206:
            sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            first, total = (int(sent[1]), sent[2]) if sent else (None, "*")
        if status == 416 or (status == 206 and first != have):
            part.unlink(missing_ok=True)
            raise requests.ConnectionError("the server sent other bytes than those asked for")
        if status not in (200, 206):
            raise DownloadError(f"{url} answers HTTP {status}: the file is not there any more, or not for everybody")
        if total.isdigit() and int(total) != size:
            raise DownloadError(
                f"{url} offers {int(total):,} bytes instead of {size:,}: it may be the login page of your network "
                "(open a browser, log in, run this again), or the file was replaced"
            )
        with open(part, "ab" if status == 206 else "wb") as file:
            bar.n = first
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if file.tell() > size:
                    return


def _check(part, size, sha256):
    with open(part, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        length = _bytes_in(part)
        part.unlink()
        raise DownloadError(
            f"the download is not the published file ({length:,} bytes, SHA-256 {found}; expected {size:,}, {sha256}). "
            "It was deleted: run this again; if it comes out the same, the file on the server was replaced"
        )


def _unpack(part, target):
    """Unpack beside ``target``, then rename: ``target`` is never seen half filled."""
    with tempfile.TemporaryDirectory(prefix=f"{MAESTRO}-unpacking-", dir=target.parent) as temporary:
        try:
            with zipfile.ZipFile(part) as archive:
                for name in archive.namelist():
                    path = PureWindowsPath(name)  # it knows both slashes and drive letters
                    if path.anchor or ".." in path.parts:
                        raise zipfile.BadZipFile(f"{name!r} would be written outside the folder")
                _need_space(target.parent, sum(info.file_size for info in archive.infolist()))
                archive.extractall(temporary)
            if not _is_complete(Path(temporary) / MAESTRO):
                raise zipfile.BadZipFile(f"it does not hold {MAESTRO}.csv and all files listed there")
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            part.unlink()
            raise DownloadError(f"the zip is refused: {error}. It was deleted, nothing was unpacked") from error
        os.replace(Path(temporary) / MAESTRO, target)
