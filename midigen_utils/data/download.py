"""Fetch MAESTRO: checked by its hash, and unpacked whole or not at all."""

import csv
import shutil
import zipfile
from pathlib import Path

import pooch
import requests

from .. import files
from .corpus import MAESTRO_FOLDER as MAESTRO

MAESTRO_URL = "https://storage.googleapis.com/magentadata/datasets/maestro/v3.0.0/maestro-v3.0.0-midi.zip"
MAESTRO_SHA256 = "70470ee253295c8d2c71e6d9d4a815189e35c89624b76d22fce5a019d5dde12c"  # of 58,416,533 bytes
MAESTRO_NOTICE = """\
MAESTRO v3.0.0 is licensed CC BY-NC-SA 4.0: name its source, share alike, no commercial use.
https://creativecommons.org/licenses/by-nc-sa/4.0/
Please cite: Curtis Hawthorne et al., "Enabling Factorized Piano Music Modeling and Generation
with the MAESTRO Dataset", ICLR 2019, https://openreview.net/forum?id=r1lYRjC9F7"""

ATTEMPTS = 5  # pooch waits 1, 2, 3, 4 s between them
TIMEOUT = (10, 30)  # seconds to connect, and without a byte


def download_maestro(folder=None, url=MAESTRO_URL, sha256=MAESTRO_SHA256):
    """Fetch MAESTRO's MIDI files (58 MB) unless they are there.

    Args:
        folder: where ``maestro-v3.0.0/`` goes; ``None`` takes ``midi_data/``, and a copy in ``MIDIGEN_DATA`` counts.
        url, sha256: str, address of the zip, and its hash in 64 hexadecimal digits.

    Returns:
        ``Path`` of the folder that holds ``maestro-v3.0.0.csv`` and the MIDI files it lists, written atomically.

    Raises:
        OSError: no connection, not the file that was published, or no space on the disk; says what to do.

    Source: Hawthorne et al., ICLR 2019; https://magenta.tensorflow.org/datasets/maestro
    """
    shared = files.find_data(MAESTRO) if folder is None else None
    target = Path(folder or files.MIDI_DATA) / MAESTRO
    for corpus in filter(None, (shared, target)):
        if _is_complete(corpus):
            return corpus
    print(MAESTRO_NOTICE)
    with files.one_process(target):
        if _is_complete(target):  # another download finished first
            return target
        if target.exists():
            raise FileExistsError(f"{target} is there, but lacks files; move it away or delete it, then run this again")
        with files.atomic_folder(target) as temporary:
            unpacked = _fetch(url, sha256, temporary / "zip")
            for path in unpacked.iterdir():
                path.rename(temporary / path.name)
            shutil.rmtree(temporary / "zip")
    return target


def _is_complete(corpus):
    """Whether the corpus has its CSV and every MIDI file that the CSV lists."""
    table = corpus / f"{MAESTRO}.csv"
    try:
        with open(table, encoding="utf-8", newline="") as file:
            return all((corpus / (row.get("midi_filename") or "")).is_file() for row in csv.DictReader(file))
    except (OSError, csv.Error, ValueError):  # no table, or a damaged one
        return False


def _fetch(url, sha256, folder):
    """Download and unpack the zip into a folder, in several attempts; returns the unpacked corpus."""
    name = f"{MAESTRO}.zip"
    source = pooch.create(folder, base_url="", registry={name: f"sha256:{sha256}"}, urls={name: url})
    source.retry_if_failed = ATTEMPTS - 1
    pooch.get_logger().setLevel("WARNING")  # the progress bar says enough
    download = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
    try:
        source.fetch(name, downloader=download, processor=pooch.Unzip(extract_dir="."))
    except requests.HTTPError as error:
        status = error.response.status_code
        raise OSError(f"{url} answers HTTP {status}: try again later, or the file is gone") from None
    except requests.RequestException as error:
        advice = "Check your internet connection and run this again"
        raise OSError(f"could not download {url} ({error}). {advice}") from None
    except ValueError:
        raise OSError(
            f"{url} gives another file than the published one (SHA-256 {sha256}): it may be the login page of your "
            "network (open a browser, log in, run this again), or the file was replaced. Nothing was kept"
        ) from None
    except zipfile.BadZipFile as error:
        raise OSError(f"the zip is refused: {error}. Nothing was kept") from None
    (folder / name).unlink()
    if not _is_complete(folder / MAESTRO):
        raise OSError(f"the zip is refused: it does not hold {MAESTRO}.csv and all files listed there")
    return folder / MAESTRO
