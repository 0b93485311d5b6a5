"""Files and folders are written atomically, and by one process at a time."""

import threading

import pytest

from midigen_utils import files


def test_a_file_is_replaced_whole_or_stays(tmp_path):
    path = tmp_path / "sub" / "x.txt"
    for text in ("one", "two"):
        with files.atomic_write(path) as temporary:
            temporary.write_text(text)
    with pytest.raises(KeyboardInterrupt), files.atomic_write(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "two" and [p.name for p in path.parent.iterdir()] == ["x.txt"]


def test_a_folder_is_replaced_whole_or_stays(tmp_path):
    path = tmp_path / "sub" / "folder"
    for name in ("one", "two"):
        with files.atomic_folder(path) as temporary:
            (temporary / name).touch()
    with pytest.raises(KeyboardInterrupt), files.atomic_folder(path) as temporary:
        (temporary / "half").touch()
        raise KeyboardInterrupt
    assert [p.name for p in path.iterdir()] == ["two"] and [p.name for p in path.parent.iterdir()] == ["folder"]


def test_a_folder_that_cannot_be_renamed_leaves_the_old_one(tmp_path, monkeypatch):
    def refuse(self, target):
        if self.name == ".folder.tmp":
            raise PermissionError(13, "in use")
        return rename(self, target)

    path, rename = tmp_path / "folder", type(tmp_path).rename
    with files.atomic_folder(path) as temporary:
        (temporary / "one").touch()
    monkeypatch.setattr(type(tmp_path), "rename", refuse)
    with pytest.raises(PermissionError, match="folder was not written, what was there is as before"):
        with files.atomic_folder(path):
            pass
    assert [p.name for p in path.iterdir()] == ["one"] and [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_what_a_killed_process_left_of_a_folder_is_removed(tmp_path):
    for word in ("tmp", "old"):
        (tmp_path / f".folder.{word}").mkdir()
        (tmp_path / f".folder.{word}" / "half").touch()
    with files.atomic_folder(tmp_path / "folder") as temporary:
        assert list(temporary.iterdir()) == []
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_one_at_a_time_and_the_others_say_that_they_wait(tmp_path, capsys):
    inside, order = threading.Event(), []

    def second():
        inside.wait()
        with files.one_process(tmp_path / "x"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with files.one_process(tmp_path / "x"):
        inside.set()
        thread.join(timeout=1.5)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert capsys.readouterr().out == "Another process writes x: waiting for it.\n"
