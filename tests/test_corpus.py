import shutil
from collections import Counter

import mido
import numpy as np
import pytest
from conftest import write_events, write_tune

from midigen_utils import __main__
from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data import corpus
from midigen_utils.data.corpus import COLUMNS, SPLITS, load_corpus, load_folder, load_maestro
from midigen_utils.data.piano_roll import midi_to_bins
from midigen_utils.data.rolls import load_piano_rolls

HEADER = ",".join(COLUMNS)


def maestro_like(folder, rows):
    """A folder in MAESTRO's layout from `(split, file name)`."""
    lines = [HEADER]
    for i, (split, name) in enumerate(rows):
        write_tune(folder / name, seed=i)
        lines.append(f'Frédéric Chopin,"Étude, No. {i}",{split},2004,{name},x.wav,12.5')
    folder.mkdir(exist_ok=True)
    (folder / "maestro-v3.0.0.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_maestro_rows_become_pieces_with_official_splits(tmp_path):
    folder = maestro_like(tmp_path / "m", [("train", "2004/a.midi"), ("test", "2004/b.midi")])
    corpus = load_maestro(folder)
    piece = corpus.split("train")[0]
    assert (piece.composer, piece.title, piece.year, piece.duration) == ("Frédéric Chopin", "Étude, No. 0", 2004, 12.5)
    assert piece.path == folder / "2004/a.midi"
    assert [p.path.name for p in corpus.split("test")] == ["b.midi"]


def test_a_listed_file_that_is_missing_is_skipped_and_named(tmp_path):
    folder = maestro_like(tmp_path / "m", [("train", "a.midi"), ("test", "b.midi")])
    (folder / "b.midi").unlink()
    corpus = load_maestro(folder)
    assert len(corpus.pieces) == 1
    assert corpus.skipped == ((folder / "b.midi", "listed in the CSV but missing"),)


def test_files_that_are_not_on_the_list_are_counted_in_one_line(tmp_path, midi_data, capsys):
    folder = maestro_like(tmp_path / "m", [(split, f"{split}.mid") for split in SPLITS])
    assert __main__.main(["data", "--corpus", str(folder)]) == 0
    assert "not on its list" not in capsys.readouterr().out
    for i, line in enumerate(("and so not read: 1\n", "and so not read: 2\n")):
        write_tune(folder / "more" / f"{i}.MID", seconds=1)
        assert __main__.main(["data", "--corpus", str(folder)]) == 0
        said = capsys.readouterr().out
        assert said.count("on its list maestro-v3.0.0.csv") == said.count(line) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,b,train,2004,../../secret.midi,x.wav,1", "outside the folder"),
        ("a,b,valid,2004,a.midi,x.wav,1", "line 2: split is 'valid'; use train, validation or test"),
        ("a,b,train,2004,,x.wav,1", "line 2: no midi_filename"),
        ("a,b,train,soon,a.midi,x.wav,1", "line 2"),
    ],
)
def test_a_bad_metadata_row_is_refused_with_its_line(tmp_path, row, message):
    folder = maestro_like(tmp_path / "m", [("train", "a.midi")])
    (folder / "maestro-v3.0.0.csv").write_text(f"{HEADER}\n{row}\n")
    with pytest.raises(ValueError, match=message):
        load_maestro(folder)


def test_a_table_in_another_encoding_is_named_and_all_instruments_reaches_a_folder_with_a_table(tmp_path):
    folder = maestro_like(tmp_path / "m", [("train", "a.midi")])
    assert load_corpus(folder, all_instruments=True).all_instruments and not load_corpus(folder).all_instruments
    table = next(folder.glob("*.csv"))
    table.write_bytes(table.read_bytes() + "Dvořák".encode("latin2"))
    with pytest.raises(ValueError, match=f"{table.name}: not UTF-8"):
        load_corpus(folder)


def test_a_list_that_a_spreadsheet_saved_with_semicolons_is_told_so(tmp_path):
    table = next(maestro_like(tmp_path / "m", [("train", "a.midi")]).glob("*.csv"))
    table.write_text(table.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{table.name}, line 1: the columns must be separated by commas"):
        load_corpus(table.parent)


def test_no_maestro_says_how_to_get_it(midi_data, monkeypatch):
    monkeypatch.delenv("MIDIGEN_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="midigen_utils data"):
        load_corpus("maestro")
    with pytest.raises(FileNotFoundError, match="'bach', 'maestro' or a folder"):
        load_corpus("no such folder")


def test_real_maestro_has_its_official_splits_and_no_performance_in_two(maestro_folder):
    corpus = load_maestro(maestro_folder)
    assert set(Counter(p.split for p in corpus.pieces)) == set(SPLITS)
    titles = {s: {(p.composer, p.title) for p in corpus.split(s)} for s in SPLITS}
    paths = [p.path for p in corpus.pieces]
    assert len(set(paths)) == len(paths)
    assert all(p.path.is_file() and p.duration > 0 and 2004 <= p.year <= 2018 for p in corpus.pieces)
    assert not titles["train"] & titles["test"] and not titles["validation"] & (titles["train"] | titles["test"])


def test_copies_of_a_piece_land_in_one_split_whatever_they_are_called(tunes):
    for i in range(12):
        shutil.copy(tunes / f"tune {i:02d}.mid", tunes / f"Kopie für Ü {i}.MIDI")
    corpus = load_folder(tunes)
    split_of = {}
    for piece in corpus.pieces:
        split_of.setdefault(piece.path.read_bytes(), set()).add(piece.split)
    assert len(split_of) == 12 and all(len(splits) == 1 for splits in split_of.values())
    assert all(corpus.split(split) for split in SPLITS)


def test_a_file_keeps_its_split_when_others_are_added(tunes):
    before = {p.path: p.split for p in load_folder(tunes).pieces}
    for i in range(100, 120):
        write_tune(tunes / "more" / f"{i}.mid", seed=i)
    after = {p.path: p.split for p in load_folder(tunes).pieces}
    moved = [path for path, split in before.items() if after[path] != split]
    assert len(moved) <= 2  # only the pieces that had to fill an empty split may move back
    assert len(after) == 32


@pytest.mark.parametrize("by_hash", [(s, t, u) for s in SPLITS for t in SPLITS for u in SPLITS])
def test_three_pieces_fill_three_splits_whatever_their_hashes(tmp_path, monkeypatch, by_hash):
    for i in range(3):
        write_tune(tmp_path / "t" / f"{i}.mid", seed=i, seconds=1)
    splits = iter(by_hash)
    monkeypatch.setattr(corpus, "_split_by_hash", lambda value: next(splits))
    assert sorted(p.split for p in load_folder(tmp_path / "t").pieces) == sorted(SPLITS)


def test_a_large_folder_is_listed_as_a_small_one_and_only_what_changed_is_read_again(tunes, midi_data, monkeypatch):
    def watched(path, *args):
        read.append(path.name)
        return real(path, *args)

    (tunes / "broken.mid").write_bytes(b"no music")
    small, read, real = load_folder(tunes), [], corpus._hash
    assert not midi_data.exists()
    monkeypatch.setattr(corpus, "MANY", 10)
    monkeypatch.setattr(corpus, "_hash", watched)
    assert load_folder(tunes) == small and len(read) == 13
    assert load_folder(tunes) == small and len(read) == 13
    write_tune(tunes / "tune 03.mid", seed=300)
    assert len(load_folder(tunes).pieces) == 12 and read[13:] == ["tune 03.mid"]
    kept = next(midi_data.glob("cache/*.json"))
    kept.write_text(kept.read_text()[:50])  # damaged: all are read again
    assert len(load_folder(tunes).pieces) == 12 and len(read) == 27


def test_a_listing_that_was_interrupted_goes_on_where_it_stopped(tunes, midi_data, monkeypatch):
    def interrupt(path, *args):
        read.append(path.name)
        if len(read) == 8:
            raise KeyboardInterrupt
        return real(path, *args)

    read, real = [], corpus._hash
    monkeypatch.setattr(corpus, "MANY", 10)
    monkeypatch.setattr(corpus, "_hash", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_folder(tunes)
    assert len(load_folder(tunes).pieces) == 12 and len(read) == 8 + 5


def test_a_listing_that_cannot_be_kept_is_one_all_the_same(tunes, midi_data, monkeypatch):
    small = load_folder(tunes)
    monkeypatch.setattr(corpus, "MANY", 10)
    midi_data.write_text("a file, where a folder should be")
    assert load_folder(tunes) == small


def test_a_file_that_the_system_cannot_read_is_skipped_and_tried_again(tunes, midi_data, monkeypatch):
    def away(path, *args):
        if path.name == "tune 05.mid":
            raise OSError(5, "Input/output error", str(path))
        return real(path, *args)

    real = corpus._hash
    monkeypatch.setattr(corpus, "MANY", 10)
    with monkeypatch.context() as patch:
        patch.setattr(corpus, "_hash", away)
        assert [path.name for path, _ in load_folder(tunes).skipped] == ["tune 05.mid"]
    assert load_folder(tunes).skipped == ()


def test_what_a_mac_adds_to_a_zip_is_neither_read_nor_complained_about(tunes, tmp_path, midi_data, capsys):
    for folder in (tunes, maestro_like(tmp_path / "m", [(split, f"{split}.mid") for split in SPLITS])):
        (folder / "__MACOSX" / "sub").mkdir(parents=True)
        for name in ("._tune 00.mid", "__MACOSX/._tune 00.mid", "__MACOSX/sub/tune 01.mid"):
            (folder / name).write_bytes(b"\0\5\x16\7Mac OS X")
        found = load_corpus(folder)
        assert found.skipped == () and len(found.pieces) == (12 if folder == tunes else 3)
    assert capsys.readouterr().out == ""


def test_a_lone_piece_is_for_training(tmp_path):
    for i in range(12):
        write_tune(tmp_path / str(i) / "only.mid", seed=i, seconds=1)
        assert [p.split for p in load_folder(tmp_path / str(i)).pieces] == ["train"]


@pytest.fixture
def zoo(tunes):
    """A folder with every kind of bad file between good ones; the names of the bad ones."""
    good = (tunes / "tune 00.mid").read_bytes()
    (tunes / "truncated.mid").write_bytes(good[: len(good) // 2])
    (tunes / "empty.mid").write_bytes(b"")
    (tunes / "text.mid").write_text("This is a letter, not a MIDI file. " * 10)
    write_events(tunes / "drums.mid", [(0, "on", 36, 90), (240, "off", 36, 0)], channel=9)
    write_events(tunes / "too low.mid", [(0, "on", 5, 90), (240, "off", 5, 0)])
    write_events(tunes / "violin.mid", [(0, "on", 60, 90), (240, "off", 60, 0)], program=40)
    write_events(tunes / "partly low.mid", [(t, k, p, 90) for p in (5, 60) for t, k in ((0, "on"), (4800, "off"))])
    minutes = [(60 * 960 * minute, minute % 2) for minute in range(180)]
    write_events(tunes / "three hours.mid", [(tick, ("on", "off")[odd], 60, 90) for tick, odd in minutes])
    return tunes, {"truncated.mid", "empty.mid", "text.mid", "drums.mid", "too low.mid", "violin.mid"}


def test_bad_files_are_named_with_a_reason_and_the_good_ones_are_built(zoo, midi_data):
    folder, bad = zoo
    rolls, corpus = load_piano_rolls(load_corpus(folder), MIDI_CONFIG)
    assert {path.name for path, _ in corpus.skipped} == bad
    assert all(path.name in reason for path, reason in corpus.skipped)
    assert sum(len(part) for part in rolls.values()) == len(corpus.pieces) == 14
    lengths = {p.path.name: len(rolls[s][i]) for s in SPLITS for i, p in enumerate(rolls[s].pieces)}
    assert lengths["three hours.mid"] == 960
    assert lengths["partly low.mid"] == 80


def test_the_command_names_each_bad_file_once_and_its_exit_code_says_so(zoo, midi_data, capsys):
    folder, bad = zoo
    assert __main__.main(["data", "--corpus", str(folder)]) == 1
    errors = capsys.readouterr().err.splitlines()
    left_out = [line for line in errors if line.startswith("left out: ")]
    assert len(left_out) == len(bad)
    assert all(any(name in line for line in left_out) for name in bad)


def test_all_instruments_takes_the_violin_but_not_the_drums(zoo, midi_data):
    folder, _ = zoo
    corpus = load_corpus(folder, all_instruments=True)
    assert "violin.mid" in {p.path.name for p in corpus.pieces}
    rolls, corpus = load_piano_rolls(corpus)
    assert "drums.mid" in {path.name for path, _ in corpus.skipped}
    assert "violin.mid" in {p.path.name for s in SPLITS for p in rolls[s].pieces}


def test_a_folder_below_home_may_be_written_with_a_tilde(tunes, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tunes.parent))
    assert len(load_corpus(f"~/{tunes.name}").pieces) == 12


def test_a_folder_without_midi_says_so(tmp_path):
    with pytest.raises(ValueError, match="no usable MIDI file"):
        load_folder(tmp_path)


def test_a_type_0_file_of_several_channels_gives_its_piano(tmp_path):
    track = mido.MidiTrack()
    for channel, program, pitch in ((0, 0, 60), (1, 48, 70), (2, 4, 64)):
        track.append(mido.Message("program_change", channel=channel, program=program))
        track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=80))
        track.append(mido.Message("note_off", channel=channel, note=pitch, time=480))
    mido.MidiFile(type=0, tracks=[track]).save(tmp_path / "x.mid")
    assert np.flatnonzero(midi_to_bins(tmp_path / "x.mid", MIDI_CONFIG).any(0)).tolist() == [39, 43]
    everything = midi_to_bins(tmp_path / "x.mid", MIDI_CONFIG, all_instruments=True)
    assert np.flatnonzero(everything.any(0)).tolist() == [39, 43, 49]
