"""Sound: never silent, never clipped, never a click, and the right words when FluidSynth is not there."""

import sys
import types
import wave

import numpy as np
import pretty_midi
import pytest

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.data.midi import Notes
from midigen_utils.show import sound as sound_module
from midigen_utils.show.sound import (
    TAIL,
    as_notes,
    fluidsynth_missing,
    numpy_piano,
    play_piano_roll,
    synthesize,
    write_wav,
)

RATE = 22050


def notes_of(*rows):
    """`Notes` from (start, end, pitch, velocity) tuples."""
    start, end, pitch, velocity = zip(*rows, strict=True)
    return Notes(np.array(start, float), np.array(end, float), np.array(pitch), np.array(velocity))


def mono(*rows, rate=RATE):
    """The numpy piano playing (start, end, pitch, velocity) tuples: the mean of left and right."""
    return numpy_piano(notes_of(*rows), rate).mean(axis=1)


def a_roll(seconds=2.0):
    roll = np.zeros((int(seconds * 16), 88), dtype=np.float32)
    roll[:16, 39] = 0.5
    roll[8:24, 43] = 0.8
    return roll


@pytest.fixture
def no_library(monkeypatch):
    """A machine with pyfluidsynth but without the FluidSynth library."""
    monkeypatch.delitem(sys.modules, "fluidsynth", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.setattr("os.path.exists", lambda path: False)


def needs_fluidsynth():
    missing = fluidsynth_missing()
    if missing:
        pytest.skip(missing)


@pytest.mark.parametrize(
    ("platform", "conda", "colab", "command"),
    [
        ("linux", False, False, "sudo apt install fluidsynth"),
        ("darwin", False, False, "brew install fluid-synth"),
        ("win32", False, False, "choco install fluidsynth"),
        ("linux", True, False, "conda install -c conda-forge fluidsynth"),
        ("darwin", True, False, "conda install -c conda-forge fluidsynth"),
        ("linux", False, True, "!apt-get install -y fluidsynth"),
    ],
)
def test_a_missing_library_is_answered_with_this_systems_command(
    no_library, monkeypatch, platform, conda, colab, command
):
    if platform == "win32":  # pyfluidsynth's own import does other things on Windows; its error is what counts
        monkeypatch.setattr(sound_module.importlib, "import_module", raises(ImportError("Couldn't find the library")))
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("CONDA_PREFIX", "/opt/conda") if conda else monkeypatch.delenv("CONDA_PREFIX", raising=False)
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    message = fluidsynth_missing()
    assert command in message
    assert "the FluidSynth library is missing" in message
    assert "pip" not in message


def raises(error):
    def raise_it(*args, **kwargs):
        raise error

    return raise_it


def test_a_missing_python_package_is_answered_with_pip(monkeypatch):
    monkeypatch.setattr(sound_module.importlib, "import_module", raises(ModuleNotFoundError("fluidsynth")))
    assert "pip install pyfluidsynth" in fluidsynth_missing()


def test_the_other_package_named_fluidsynth_is_recognised(monkeypatch):
    monkeypatch.setitem(sys.modules, "fluidsynth", types.ModuleType("fluidsynth"))
    assert "pip uninstall fluidsynth" in fluidsynth_missing()


def test_without_fluidsynth_the_numpy_piano_plays(no_library):
    sound = synthesize(a_roll())
    notes, _ = as_notes(a_roll())
    raw = numpy_piano(notes, RATE).mean(axis=1)[: RATE * 2]
    assert np.corrcoef(sound[: len(raw)], raw)[0, 1] > 0.999
    assert np.sqrt(np.mean(sound**2)) > 0.01


def test_with_fluidsynth_it_plays():
    needs_fluidsynth()
    sound = synthesize(a_roll())
    raw = numpy_piano(as_notes(a_roll())[0], RATE).mean(axis=1)[: RATE * 2]
    assert abs(np.corrcoef(sound[: len(raw)], raw)[0, 1]) < 0.9  # it is not the numpy piano
    assert np.sqrt(np.mean(sound**2)) > 0.01
    spectrum = np.abs(np.fft.rfft(sound[: RATE // 2]))
    assert np.argmax(spectrum[:200]) * 2 == pytest.approx(261.6, abs=4)  # key 39 + 21 is middle C


def test_fluidsynth_is_used_even_if_it_was_installed_after_pretty_midi_was_imported(monkeypatch):
    needs_fluidsynth()
    monkeypatch.setattr(sys.modules["pretty_midi.fluidsynth"], "_HAS_FLUIDSYNTH", False, raising=False)
    assert np.abs(synthesize(a_roll())).max() > 0.1


@pytest.mark.parametrize("engine", ["fluidsynth", "numpy"])
def test_length_is_the_music_and_the_tail(engine, monkeypatch):
    if engine == "fluidsynth":
        needs_fluidsynth()
    else:
        monkeypatch.setattr(sound_module, "fluidsynth_missing", lambda: "not here")
    for rate in (22050, 44100):
        sound = synthesize(a_roll(3.0), sample_rate=rate)
        assert sound.dtype == np.float32
        assert len(sound) / rate == pytest.approx(3.0 + TAIL, abs=0.001)
        assert np.abs(sound).max() <= 0.9001
        assert abs(sound[-1]) < 1e-4


def test_the_quietest_note_can_be_heard(no_library):
    roll = np.zeros((16, 88))
    roll[4:8, 40] = 1 / 32
    assert np.sqrt(np.mean(synthesize(roll) ** 2)) > 0.01


def test_a_silent_roll_is_silent_and_as_long(no_library):
    sound = synthesize(np.zeros((32, 88)))
    assert len(sound) == round((2 + TAIL) * RATE)
    assert not sound.any()


def test_a_wall_of_notes_does_not_clip(no_library):
    sound = synthesize(np.ones((64, 88)))
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() <= 0.9001


def test_notes_end_without_a_click():
    """At a note's end no jump between samples is larger than the sound before it already makes."""
    for pitch in (28, 48, 60, 72, 96):
        for held in (0.0625, 0.4, 1.3):
            sound = mono((0, held, pitch, 100))
            end = round(held * RATE)
            jumps = np.abs(np.diff(np.append(sound, 0)))
            before = jumps[max(0, end - RATE // 20) : end - 1].max()
            assert jumps[end - 1 : end + RATE // 20].max() <= 1.1 * before
            assert jumps[-1] < 1e-3 * np.abs(sound).max()


def test_long_notes_die_away_without_a_click():
    sound = mono((0, 20, 21, 127))
    assert np.abs(sound[9 * RATE :]).max() < 1e-5
    assert np.abs(sound[int(7.99 * RATE) :]).max() < 1e-2 * np.abs(sound).max()


def test_notes_start_at_zero():
    assert mono((0, 1, 60, 127))[0] == 0


def test_loudness_is_even_over_the_registers():
    """Half a second of each of the 88 keys: power within 7.5 dB, 1.2 dB up to middle C, at any velocity."""
    for velocity in (20, 64, 120):
        sounds = [numpy_piano(notes_of((0, 0.5, pitch, velocity)))[: RATE // 2] for pitch in range(21, 109)]
        decibels = [10 * np.log10(np.mean(sound**2)) for sound in sounds]
        assert max(decibels) - min(decibels) < 7.5
        assert max(decibels[:40]) - min(decibels[:40]) < 1.2


@pytest.mark.parametrize("pitch", [24, 48, 72, 96])
def test_harder_is_louder_and_brighter(pitch):
    def loudness_and_centre(velocity):
        sound = mono((0, 1, pitch, velocity))
        power = np.abs(np.fft.rfft(sound)) ** 2
        return power.sum(), (power * np.arange(len(power))).sum() / power.sum()

    loudness, centre = zip(*(loudness_and_centre(v) for v in (16, 48, 80, 112)), strict=True)
    assert list(loudness) == sorted(loudness)
    assert list(centre) == sorted(centre)


def spectrum_of(sound):
    """Frequencies, and the energy at each."""
    return np.fft.rfftfreq(len(sound), 1 / RATE), np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2


@pytest.mark.parametrize(("pitch", "low", "high"), [(24, 900, 1300), (36, 1400, 1800), (48, 1400, 2000)])
def test_the_bass_is_as_full_as_that_of_a_recorded_piano(pitch, low, high):
    """TimGM6mb has 99 % of the energy of C1, C2 and C3 below 1,000, 1,600 and 1,450 Hz."""
    energy, frequency = np.abs(np.fft.rfft(mono((0, 1, pitch, 64))[:RATE])) ** 2, np.arange(RATE // 2 + 1)
    assert low < frequency[np.searchsorted(energy.cumsum(), 0.99 * energy.sum())] < high


def test_the_hammer_is_heard_between_the_partials_and_only_at_the_blow():
    """TimGM6mb has -34 dB between the partials of C6."""

    def between(sound):
        frequency, energy = spectrum_of(sound)
        off = np.abs(frequency / 1046.5 - np.rint(frequency / 1046.5)) > 0.2
        return 10 * np.log10(energy[off].sum() / energy.sum())

    sound = mono((0, 2, 84, 64))
    assert -38 < between(sound[:RATE]) < -28
    assert between(sound[RATE // 2 : RATE]) < between(sound[: RATE // 2]) - 10


def test_low_keys_sound_from_the_left_and_high_ones_from_the_right():
    sounds = [numpy_piano(notes_of((0, 1, pitch, 64))) for pitch in (21, 43, 86, 108)]
    left, right = np.array([np.sum(sound**2, axis=0) for sound in sounds]).T
    assert (np.diff(left / right) < 0).all()
    assert left[0] > 2 * right[0] and right[-1] > 2 * left[-1]


def test_a_small_room_answers_and_is_soon_quiet():
    struck, damped = mono((0, 0.5, 72, 100)), round((0.5 + 5 * sound_module.PIANO["release"]) * RATE)
    loudest = np.abs(struck).max()
    assert 1e-4 * loudest < np.abs(struck[damped + RATE // 20 :]).max() < 0.02 * loudest
    assert np.abs(struck[-100:]).max() < 2e-3 * loudest


def test_the_piano_is_the_same_every_time():
    first = mono((0, 1, 60, 64))
    sound_module._key.cache_clear()
    np.testing.assert_array_equal(mono((0, 1, 60, 64)), first)


@pytest.mark.parametrize("engine", ["fluidsynth", "numpy"])
def test_in_stereo_left_and_right_are_two_columns_and_mono_is_their_mean(engine, monkeypatch):
    if engine == "fluidsynth":
        needs_fluidsynth()
    else:
        monkeypatch.setattr(sound_module, "fluidsynth_missing", lambda: "not here")
    stereo, mean = synthesize(a_roll(), sample_rate=44100, stereo=True), synthesize(a_roll(), sample_rate=44100)
    assert stereo.shape == (len(mean), 2) and stereo.dtype == np.float32
    assert np.abs(stereo).max() == pytest.approx(0.9, abs=1e-3)
    assert np.abs(stereo[:, 0] - stereo[:, 1]).max() > 0.01
    np.testing.assert_allclose(stereo.mean(axis=1) / np.abs(stereo.mean(axis=1)).max() * 0.9, mean, atol=1e-5)


def test_low_keys_ring_longer_than_high_ones():
    def half_time(pitch):
        energy = np.cumsum(mono((0, 8, pitch, 80)) ** 2)
        return np.searchsorted(energy, energy[-1] / 2)

    times = [half_time(pitch) for pitch in (24, 48, 72, 96)]
    assert times == sorted(times, reverse=True)


def test_keys_above_half_the_sample_rate_are_not_silent():
    assert np.abs(mono((0, 1, 127, 64))).max() > 0.1
    assert np.abs(mono((0, 1, 108, 64), rate=8000)).max() > 0.1


def test_each_key_sounds_its_own_note():
    for pitch in range(33, 109, 5):
        sound = mono((0, 1, pitch, 30))[:RATE]
        expected = pretty_midi.note_number_to_hz(pitch)
        near = slice(int(expected * 0.97), int(expected * 1.03) + 2)  # 1 Hz a bin
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(RATE)))
        assert near.start + np.argmax(spectrum[near]) == pytest.approx(expected, rel=0.0004, abs=1)


def test_a_key_struck_again_ends_its_old_note():
    notes, _ = as_notes(notes_of((0, 3, 60, 80), (1, 2, 60, 90), (1, 2, 64, 90)))
    assert notes.start.tolist() == [0, 1, 1]
    assert notes.end.tolist() == [1, 2, 2]


def test_two_strikes_at_once_are_one_note():
    notes, _ = as_notes(notes_of((0, 1, 60, 80), (0, 2, 60, 90)))
    assert len(notes.start) == 1


def test_a_midi_file_is_cut_at_max_duration(tmp_path):
    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(program=0)
    piano.notes = [pretty_midi.Note(80, 60 + t, t, t + 1.5) for t in range(10)]
    midi.instruments.append(piano)
    midi.write(str(tmp_path / "scale.mid"))
    notes, seconds = as_notes(tmp_path / "scale.mid", {**MIDI_CONFIG, "max_duration": 4})
    assert len(notes.start) == 4
    assert seconds == 4


def test_play_piano_roll_gives_audio_at_the_rate_asked_for(no_library):
    from IPython.display import Audio

    audio = play_piano_roll(a_roll(), MIDI_CONFIG)
    assert isinstance(audio, Audio)
    assert audio.data[:4] == b"RIFF"
    assert int.from_bytes(audio.data[24:28], "little") == 22050
    assert int.from_bytes(play_piano_roll(a_roll(), MIDI_CONFIG, 16000).data[24:28], "little") == 16000


def test_wav_file_holds_the_samples(tmp_path):
    samples = np.array([0, 0.5, -0.5, 1, -1, 2], dtype=np.float32)
    path = write_wav(samples, tmp_path / "new folder" / "a.wav", 8000)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        stored = np.frombuffer(file.readframes(10), dtype="<i2")
    assert stored.tolist() == [0, 16384, -16384, 32767, -32767, 32767]
    assert [p.name for p in path.parent.iterdir()] == ["a.wav"]


def test_stereo_wav_file_holds_left_and_right(tmp_path):
    with wave.open(str(write_wav(np.array([[0, 1], [0.5, -1]]), tmp_path / "a.wav", 44100))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 44100, 2)
        assert np.frombuffer(file.readframes(2), dtype="<i2").tolist() == [0, 32767, 16384, -32767]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_wav(np.zeros(10), tmp_path / "a.wav")
    before = path.read_bytes()
    monkeypatch.setattr(sound_module.os, "replace", raises(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_wav(np.ones(10), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"notes_or_roll": np.zeros((10, 5))}, "shape"),
        ({"notes_or_roll": np.full((10, 88), np.nan)}, "NaN"),
        ({"notes_or_roll": np.zeros((10, 88)), "sample_rate": 400}, "sample_rate"),
        ({"notes_or_roll": np.zeros((16 * 3700, 88))}, "minutes"),
    ],
)
def test_errors_say_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        synthesize(**arguments)
