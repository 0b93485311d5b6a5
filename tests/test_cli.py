import inspect
import re
import sys

import numpy as np
import pretty_midi
import pytest
from conftest import write_events, write_tune

from midigen_utils import __main__, config, models
from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data import corpus, midi_to_piano_roll
from midigen_utils.learn import checkpoints
from midigen_utils.learn.training import fit, make_optimizer
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba


@pytest.fixture
def small_models(monkeypatch):
    """`train` builds models of a size for a test."""
    monkeypatch.setattr(models, "MusicLSTM", lambda **heads: MusicLSTM(hidden_size=16, **heads))
    monkeypatch.setattr(models, "MusicMamba", lambda **heads: MusicMamba(d_model=32, n_layers=1, **heads))


def save_small(path, **extras):
    """A checkpoint of a small LSTM with independent keys."""
    model = MusicLSTM(hidden_size=16)
    checkpoints.save_checkpoint(path, model, make_optimizer(model), 0, 1.0, **extras)
    return str(path)


def test_from_a_folder_of_midi_to_a_piece_one_can_hear(tunes, midi_data, small_models, capsys):
    assert __main__.main(["data", "--corpus", str(tunes)]) == 0
    assert "train" in capsys.readouterr().out
    assert __main__.main(["train", "--corpus", str(tunes), "--model", "lstm", "--epochs", "1", "--device", "cpu"]) == 0
    assert (midi_data / "best_model.pt").is_file()
    assert "Markov-1" in capsys.readouterr().out
    assert (
        __main__.main(["generate", "--corpus", str(tunes), "--seconds", "5", "--name", "mine", "--device", "cpu"]) == 0
    )
    files = {path.suffix: path for path in (midi_data / "generated").iterdir()}
    assert set(files) == {".mid", ".wav", ".png", ".html"}
    assert pretty_midi.PrettyMIDI(str(files[".mid"])).get_end_time() == pytest.approx(9.0, abs=0.01)
    import wave

    with wave.open(str(files[".wav"])) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32768
        assert 9.0 <= len(samples) / sound.getframerate() < 11
        assert np.sqrt(np.mean(samples**2)) > 0.001
    assert files[".png"].read_bytes().startswith(b"\x89PNG")
    assert "</html>" in files[".html"].read_text(encoding="utf-8")
    assert __main__.main(["evaluate", "--corpus", str(tunes), "--split", "test", "--device", "cpu"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in ("marginal", "copy last frame", "Markov-1", "best_model.pt"))
    assert __main__.main(["train", "--corpus", str(tunes), "--model", "lstm", "--epochs", "2", "--resume"]) == 0
    assert checkpoints.load_checkpoint(midi_data / "last_model.pt")["epoch"] == 1
    kept = f"{midi_data}: the files of the earlier run are kept as earlier_best_model.pt and so on"
    assert kept not in capsys.readouterr().out
    assert __main__.main(["train", "--corpus", str(tunes), "--model", "lstm", "--epochs", "1"]) == 0
    assert kept in capsys.readouterr().out and (midi_data / "earlier_best_model.pt").is_file()


def test_a_bad_file_is_named_and_the_exit_code_says_so(tunes, midi_data, capsys):
    (tunes / "letter.mid").write_text("Dear Clara")
    assert __main__.main(["data", "--corpus", str(tunes)]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("letter.mid") == 1
    assert "train" in captured.out  # the good ones were built


def test_without_a_model_of_ones_own_bachs_network_composes_and_the_page_says_so(midi_data, capsys):
    assert __main__.main(["generate", "--begin", "random", "--seconds", "2", "--name", "x", "--device", "cpu"]) == 0
    assert "the one that comes with the course" in capsys.readouterr().out
    page = (midi_data / "generated" / "x.html").read_text(encoding="utf-8")
    assert "MusicMamba (bach) after A random pattern, temperature 0.8, random number 0" in page


def test_errors_are_one_line_without_a_traceback(midi_data, capsys):
    assert __main__.main(["export", "--output", str(midi_data / "small.pt")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "make train" in error and "Traceback" not in error
    assert __main__.main(["data", "--corpus", "no/such/folder"]) == 1


def test_too_few_pieces_to_train_on_is_said_before_training(tmp_path, midi_data, small_models, capsys):
    write_tune(tmp_path / "one" / "piece.mid")
    assert __main__.main(["train", "--corpus", str(tmp_path / "one"), "--model", "lstm"]) == 1
    assert "validation split is empty" in capsys.readouterr().err


def test_data_says_how_long_the_music_is_in_a_unit_that_says_something(tunes, tmp_path, midi_data, capsys):
    assert __main__.main(["data", "--corpus", str(tunes)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"train +\d+ pieces +[1-9]\.\d minutes", said) and re.search(r" 1 piece +12\.1 seconds", said)
    write_tune(tmp_path / "long" / "one.mid", seconds=5400)
    assert __main__.main(["data", "--corpus", str(tmp_path / "long"), "--whole-pieces"]) == 0
    assert re.search(r"train +1 piece +1\.5 hours", capsys.readouterr().out)


def test_without_a_validation_split_generate_says_where_else_to_begin(tmp_path, midi_data, capsys):
    write_tune(tmp_path / "one" / "piece.mid")
    save_small(midi_data / "best_model.pt", corpus=str(tmp_path / "one"))
    assert __main__.main(["generate", "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert "the validation split is empty" in error and "give `--begin random` or `--begin FILE.mid`" in error


def test_a_beginning_or_a_folder_that_is_not_there_is_named_as_what_it_is(tmp_path, midi_data, monkeypatch, capsys):
    save_small(midi_data / "best_model.pt", corpus="mus")
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["generate", "--begin", "randm"]) == 1
    error = "error: --begin randm: no such file; give corpus, random or a MIDI file\n"
    assert capsys.readouterr().err == error
    error = "error: mus, the folder on which this checkpoint was trained, is not here: give `--corpus FOLDER`\n"
    for verb in ("generate", "evaluate"):
        assert __main__.main([verb, "--device", "cpu"]) == 1
        assert capsys.readouterr().err == error
    assert __main__.main(["generate", "--device", "cpu", "--begin", "random", "--seconds", "1"]) == 0  # needs no corpus


def test_a_model_or_head_other_than_the_one_to_start_from_is_refused(tunes, tmp_path, midi_data, capsys):
    start = ["train", "--corpus", str(tunes), "--device", "cpu", "--epochs", "1"]
    start += ["--start", save_small(tmp_path / "start.pt")]
    error = "error: --start takes the model from the checkpoint (MusicLSTM, keys): leave --model, --head and --ssm out"
    for other in (["--model", "mamba"], ["--head", "chords"], ["--model", "lstm", "--head", "chords"], ["--ssm", "s6"]):
        assert __main__.main([*start, *other]) == 1
        assert error in capsys.readouterr().err
    for same in ([], ["--model", "lstm", "--head", "keys"]):
        assert __main__.main([*start, *same]) == 0


def test_the_demo_walks_the_whole_road(midi_data, tunes, small_models, monkeypatch, capsys):
    """On a folder of tunes and with a small model: the real thing takes minutes."""
    monkeypatch.setattr(corpus, "build_bach", lambda: tunes)
    monkeypatch.setattr(corpus, "load_maestro", lambda folder, name: corpus.load_folder(folder))
    assert __main__.main(["demo"]) == 0
    assert {path.suffix for path in (midi_data / "generated").iterdir()} == {".mid", ".wav", ".png", ".html"}
    said = capsys.readouterr().out
    assert (midi_data / "generated" / "demo.html").is_file()
    printed = (
        "--seed 8 --name bach",
        "utils train --ssm ssd --head chords",
        "--seconds 24 --name demo",
        "make notebooks",
    )
    assert all(words in said for words in printed)


def test_the_title_of_a_piece_to_begin_from_is_that_of_its_roll_under_a_limit(tunes, midi_data):
    from midigen_utils.data.corpus import load_folder
    from midigen_utils.data.rolls import load_piano_rolls

    for i in range(100, 140):
        write_tune(tunes / f"more {i}.mid", seed=i)
    rolls, found = load_piano_rolls(load_folder(tunes), limit=20)
    assert len(rolls["validation"]) < len(found.split("validation"))
    titles = {piece.title: piece.path for piece in found.pieces}
    for number in range(len(rolls["validation"])):
        words = ["generate", "--corpus", str(tunes), "--limit", "20", "--piece", str(number)]
        roll, title = __main__._beginning(__main__._parser().parse_args(words), MIDI_CONFIG)
        assert np.array_equal(roll, midi_to_piano_roll(titles[title], MIDI_CONFIG))


def test_doctor_names_versions_device_sound_and_disk(midi_data, capsys):
    assert __main__.main(["doctor"]) == 0
    report = capsys.readouterr().out
    assert all(word in report for word in ("torch", "device", "sound", "MAESTRO", "GB free"))


def test_generate_continues_a_midi_file_of_your_own(tmp_path, midi_data, small_models):
    save_small(midi_data / "best_model.pt")
    seed = write_tune(tmp_path / "my tune.mid", seconds=6)
    arguments = ["generate", "--begin", str(seed), "--seconds", "2", "--begin-seconds", "3", "--device", "cpu"]
    assert __main__.main(arguments) == 0

    (made,) = (midi_data / "generated").glob("*.mid")
    ours, theirs = midi_to_piano_roll(made, MIDI_CONFIG)[:48] > 0, midi_to_piano_roll(seed, MIDI_CONFIG)[:48] > 0
    assert np.array_equal(ours, theirs)


def test_chords_from_the_command_line(tunes, midi_data, small_models, capsys):
    corpus = ["--corpus", str(tunes), "--device", "cpu"]
    assert __main__.main(["train", *corpus, "--model", "lstm", "--head", "chords", "--epochs", "1"]) == 0
    assert checkpoints.load_model(midi_data / "best_model.pt").config["head"] == "chords"
    trained_on = ["--device", "cpu"]  # the checkpoint knows the corpus
    assert __main__.main(["generate", *trained_on, "--seconds", "2", "--name", "chords"]) == 0
    assert __main__.main(["evaluate", *trained_on]) == 0
    assert str(tunes) in capsys.readouterr().out
    assert (midi_data / "generated").is_dir()
    assert __main__.main(["train", *corpus, "--model", "lstm", "--epochs", "2", "--resume"]) == 1
    assert "cannot resume" in capsys.readouterr().err  # the checkpoint has chords, this run would have keys


def test_a_model_of_all_instruments_is_scored_and_seeded_with_them(tmp_path, midi_data, small_models, capsys):
    """Read with pianos only, the corpus would hold no file, or others in each split."""
    for i in range(9):
        tune = [(240 * k + e, kind, 50 + (i * k) % 30, 80) for k in range(40) for e, kind in ((0, "on"), (200, "off"))]
        write_events(tmp_path / "strings" / f"{i}.mid", tune, program=48)
    strings = ["--corpus", str(tmp_path / "strings"), "--all-instruments"]
    assert __main__.main(["train", *strings, "--model", "lstm", "--epochs", "1", "--device", "cpu"]) == 0
    assert __main__.main(["evaluate", "--device", "cpu"]) == 0
    assert __main__.main(["generate", "--seconds", "1", "--device", "cpu"]) == 0
    file = ["--begin", str(tmp_path / "strings" / "0.mid"), "--name", "file"]
    assert __main__.main(["generate", "--seconds", "1", "--device", "cpu", *file]) == 0
    assert __main__.main(["export", "--output", str(tmp_path / "small.pt")]) == 0
    assert checkpoints.load_checkpoint(tmp_path / "small.pt")["all_instruments"] is True
    assert "left out" not in capsys.readouterr().err
    assert __main__.main(["evaluate", *strings[:2], "--device", "cpu"]) == 1  # a corpus that is named is read as told


def generate_from(path, *more):
    return __main__.main(["generate", "--begin", str(path), "--seconds", "1", "--device", "cpu", *more])


def test_music_that_begins_late_is_taken_from_its_first_note_and_that_is_said(tmp_path, midi_data, capsys):
    save_small(midi_data / "best_model.pt")
    late = write_events(tmp_path / "late.mid", [(9600, "on", 60, 80), (10560, "off", 60, 0)])  # after 10 s
    assert generate_from(late) == 0
    assert f"{late} begins with 10 s of silence; taken from its first note on" in capsys.readouterr().out
    (made,) = (midi_data / "generated").glob("*.mid")
    assert midi_to_piano_roll(made, MIDI_CONFIG)[0, 39] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_whose_name_is_no_text_can_be_the_beginning(tmp_path, midi_data):
    save_small(midi_data / "best_model.pt")
    path = write_tune(tmp_path / "tune.mid").rename(tmp_path / "<b>\udc80\u202e'.mid")
    assert generate_from(path) == 0
    assert corpus.load_folder(tmp_path).pieces[0].title == "<b>\ufffd\u202e'"
    (page,) = (midi_data / "generated").glob("b-t0.8-r0.html")
    assert "&lt;b&gt;\ufffd" in page.read_text(encoding="utf-8")


def test_takes_never_overwrite_each_other(tmp_path, midi_data):
    """Neither the same take again, nor pieces whose titles have no letter from a to z."""
    save_small(midi_data / "best_model.pt")
    for name in ("месяц", "月光", "???"):
        assert generate_from(write_tune(tmp_path / f"{name}.mid")) == 0
    assert generate_from(tmp_path / "月光.mid") == 0
    made = {path.name for path in (midi_data / "generated").glob("*.mid")}
    assert made == {f"{name}.mid" for name in ("месяц-t0.8-r0", "月光-t0.8-r0", "untitled-t0.8-r0", "月光-t0.8-r0-2")}
    assert len(list((midi_data / "generated").iterdir())) == 16


def test_the_seed_is_the_random_number_and_its_old_name_still_works(tmp_path, midi_data, capsys):
    save_small(midi_data / "best_model.pt")
    for more in (["--seed", "7"], ["--random-seed", "7"], ["--seed", "8"]):
        assert generate_from("random", *more) == 0
    same, again, other = (
        (midi_data / "generated" / f"a-random-pattern-t0.8-{end}.mid").read_bytes() for end in ("r7", "r7-2", "r8")
    )
    assert same == again != other
    with pytest.raises(SystemExit):
        __main__.main(["generate", "--help"])
    assert "random-seed" not in capsys.readouterr().out


OPTIONS = {  # of each verb those that take a number, and what 0 is to them
    "generate": {"--seconds": False, "--begin-seconds": False, "--temperature": False, "--piece": True, "--seed": True},
    "train": {
        **dict.fromkeys("--epochs --steps --batch-size --learning-rate --sequence-length --stride".split(), False),
        **dict.fromkeys("--patience --limit".split(), False),
        **dict.fromkeys("--weight-decay --transpose --seed --save-every".split(), True),
    },
}


@pytest.mark.parametrize("verb", OPTIONS)
def test_a_number_that_makes_no_sense_is_refused_in_words_before_any_work(verb, capsys):
    for option, zero in OPTIONS[verb].items():
        wrong = ["nan", "-3", "inf", "-inf", "four", "1e999"] + ([] if zero else ["0"])
        for word in wrong:
            with pytest.raises(SystemExit):
                __main__.main([verb, f"{option}={word}"])
            said = capsys.readouterr().err.splitlines()[-1]
            assert f"argument {option}: " in said and word in said, said
            assert re.search(r"give a number (above 0|of 0 or more)$|invalid (int|float) value", said), said
        words = [verb, f"{option}=0"] if zero else [verb, f"{option}=1"]
        assert vars(__main__._parser().parse_args(words))[option[2:].replace("-", "_")] == int(words[1][-1])


def test_the_first_line_of_each_verbs_help_says_where_it_writes(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["--help"])
    verbs = re.split(r"\n    (?=\w)", capsys.readouterr().out)[1:]
    assert [verb.split()[0] for verb in verbs] == "data train generate evaluate export live demo doctor".split()
    for verb in verbs:
        assert re.search(r"midi_data/|<output>|writes\s+nothing", verb), verb


def test_the_version_is_that_of_the_distribution(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["--version"])
    assert capsys.readouterr().out == f"midigen-utils {config.version()}\n"


def test_the_defaults_of_train_are_those_of_fit():
    options = vars(__main__._parser().parse_args(["train"]))
    parameters = inspect.signature(fit).parameters
    assert {name: options[name] for name in __main__.FIT_OPTIONS} == {
        name: parameters[name].default for name in __main__.FIT_OPTIONS
    }


def test_the_form_of_the_mamba_is_an_option(tunes, midi_data, small_models, capsys):
    start = ["train", "--corpus", str(tunes), "--device", "cpu", "--steps", "2", "--ssm", "ssd"]
    assert __main__.main(start) == 0
    assert checkpoints.load_model(midi_data / "best_model.pt").config["ssm"] == "ssd"
    assert __main__.main([*start, "--model", "lstm"]) == 1
    assert "error: --ssm is an option of the model mamba: leave it out\n" in capsys.readouterr().err
