"""Where files live, and how they are written atomically."""

import errno
import os
import re
import shutil
import unicodedata
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_CHECKOUT = Path(__file__).resolve().parent.parent

#: Everything midigen writes goes below this folder: that of the clone, or of where Python was started without one.
MIDI_DATA = (_CHECKOUT if (_CHECKOUT / "pyproject.toml").exists() else Path.cwd()) / "midi_data"

#: Weights that come with the package: Bach's network and the composers of the notebooks.
PRETRAINED = Path(__file__).resolve().parent / "pretrained"

#: Counts of MAESTRO, for comparison where MAESTRO itself is not at hand.
MAESTRO_STATISTICS = Path(__file__).resolve().parent / "data" / "maestro_statistics.json"


def find_data(name):
    """``Path`` of a corpus's folder ``name``: in ``$MIDIGEN_DATA`` if it is there, else in ``midi_data/``.

    ``MIDIGEN_DATA`` lets a class share one copy of a corpus; it is only read.
    """
    shared = os.environ.get("MIDIGEN_DATA")
    if shared and (Path(shared) / name).is_dir():
        return Path(shared) / name
    return MIDI_DATA / name


@contextmanager
def atomic_write(path):
    """Write a file atomically (temporary file, then rename); its folder is made.

    Yields:
        `Path` of a temporary file to write. It takes the place of `path` when the block ends well, and is removed when
        it does not.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path):
    """As `atomic_write`, for a folder to fill; an older one at `path` is replaced.

    Where two processes could write it at the same time, hold `one_process(path)`.
    """
    path = Path(path)
    temporary, old = (path.with_name(f".{path.name}.{word}") for word in ("tmp", "old"))
    with disk_errors_explained(path):
        for left_over in (temporary, old):  # by a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            if path.exists():
                path.rename(old)
            temporary.rename(path)
        finally:
            if old.exists() and not path.exists():
                old.rename(path)
            for left_over in (temporary, old):
                shutil.rmtree(left_over, ignore_errors=True)


@contextmanager
def one_process(path):
    """Let one process at a time write a path; others wait at this line, and say so. The lock is a file beside it."""
    path = Path(path)
    with disk_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=1)
        except Timeout:
            print(f"Another process writes {path.name}: waiting for it.", flush=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def disk_errors_explained(path):
    """Say what to do when the block cannot write `path`: the disk is full, or the folder is read-only.

    Raises:
        OSError: in place of the system's, of the same kind and `errno`; names `path`.
    """
    full = "the disk is full, or your share of it: free some space and run this again"
    locked = "this place is read-only for you, or another program has the file open: change that or take another place"
    advice = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), full)
    advice |= dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), locked)
    try:
        yield
    except OSError as error:
        if error.errno not in advice:
            raise
        explained = type(error)(f"{path} was not written, what was there is as before; {advice[error.errno]}")
        explained.errno = error.errno
        raise explained from error


def title_of(path):
    """The name of a file as a title, without its ending; bytes that are no text, as on old disks, become "\ufffd"."""
    return os.fsencode(Path(path).stem).decode(errors="replace")


def slug(title):
    """A title in any script as a file name of at most 60 letters, digits and hyphens: "Étude No. 1" gives "étude-no-1".

    It is "untitled" where the title has neither letter nor digit.
    """
    letters = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", title).lower())
    return letters[:60].strip("-") or "untitled"
