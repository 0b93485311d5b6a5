"""Sound: piano rolls and notes as samples, by FluidSynth or by a small piano of our own.

Our piano adds decaying sine waves. A struck string rings in partials a little sharper than the multiples of its lowest
(stiffness), high partials die first, high keys die sooner, and a hard blow makes the high partials louder. The blow is
heard as well: it shakes the soundboard, whose modes fit no key and die in a tenth of a second. Low keys sound from the
left, and four echoes make a small room. The player in the browser (`piano.js`) computes the same piano from the same
constants.
"""

import importlib
import os
import sys
import wave
from functools import lru_cache
from pathlib import Path

import numpy as np
import pretty_midi

from ..config import MIDI_CONFIG
from ..data.midi import Notes, read_notes
from ..data.piano_roll import roll_to_notes
from ..files import atomic_write

SAMPLE_RATE = 22050
BROWSER_RATE = 44100  # of the player, which holds notes instead of samples
TAIL = 0.5  # seconds after the last note, for its ring
PEAK = 0.9  # the loudest sample of a piece
MAX_SECONDS = 3600  # an hour of samples is 300 MB; longer is a mistake

PIANO = {
    "partials": 32,  # at most; fewer where they would pass 0.45 of the sample rate
    "strike": 9,  # the hammer strikes at 1/9 of the string, so partial 9 is missing
    "stiffness": 4e-4,  # inharmonicity of middle C; doubles every 9 semitones
    "decay": 1.2,  # 1/s, of the lowest partial of middle C; doubles every 18 semitones
    "decay_step": 0.2,  # each further partial decays that much faster
    "strings": [[0.7, 0.9997, 2.0], [0.3, 1.0003, 0.6]],  # weight, tuning, decay: a prompt sound and an after-sound
    "board": 50.0,  # Hz below which the soundboard radiates little: bass is heard by its partials
    "felt": [600.0, 1800.0],  # Hz over which the partials fade by 1/e: a soft and a hard blow
    "knock": [24, 80.0, 2500.0, 20.0, 0.08],  # modes of the soundboard: count, Hz from, to, decay in 1/s, loudness
    "treble": 48.0,  # above middle C the loudness halves every 48 keys: equal power would be shrill
    "longest": 8.0,  # seconds a key rings at most, the last eighth of it fading
    "attack": 0.003,  # seconds
    "release": 0.06,  # seconds in which the damper takes 1/e; silent after five of them
    "width": 0.4,  # where the lowest and the highest key sound from; 1 is the left or the right loudspeaker alone
    "echoes": [0.0297, 0.0371, 0.0411, 0.0437],  # seconds after which the room answers, again and again
    "smear": [0.005, 0.0017],  # seconds: they turn each echo into many
    "room": [0.7, 1.07, 0.06],  # what an echo keeps of the last, how much longer they take at the right, loudness
}


def synthesize(notes_or_roll, config=MIDI_CONFIG, sample_rate=SAMPLE_RATE, stereo=False):
    """Notes or a roll as sound: FluidSynth with the soundfont that pretty_midi ships (TimGM6mb), else the numpy piano.

    Args:
        notes_or_roll: `Notes`, or a roll `(T, P)` of floats in [0, 1]; every value above 0 sounds.
        config: `MIDI_CONFIG` or a dict with its keys.
        sample_rate: samples per second, default 22,050.
        stereo: whether left and right are kept apart, default False.

    Returns:
        `(samples,)`, or `(samples, 2)` in stereo, float32 in [-1, 1]: the length of the music and `TAIL` seconds.
        The loudest sample is 0.9, whatever the velocities; silence stays silent.

    Raises:
        ValueError: wrong shape, NaN, longer than an hour, or a sample rate out of range.
    """
    notes, seconds = as_notes(notes_or_roll, config)
    if not 8000 <= sample_rate <= 96000:
        raise ValueError(f"sample_rate is {sample_rate}; use 8000 to 96000 samples per second")
    if seconds > MAX_SECONDS:
        raise ValueError(f"{seconds / 60:.0f} minutes of music; synthesize up to {MAX_SECONDS // 60} minutes at a time")
    samples = np.zeros((round((seconds + TAIL) * sample_rate), 2), dtype=np.float32)
    if len(notes.start):
        missing = fluidsynth_missing()
        rendered = numpy_piano(notes, sample_rate) if missing else _fluidsynth(notes, sample_rate)
        samples[: len(rendered)] = rendered[: len(samples)]
        fade = min(round(0.1 * sample_rate), len(samples))
        samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    samples = samples if stereo else samples.mean(axis=1)
    if len(notes.start):
        samples *= PEAK / max(np.abs(samples).max(), 1e-9)
    return samples


def play_piano_roll(piano_roll, config, sample_rate=SAMPLE_RATE):
    """A roll as an audio player in the notebook, an `IPython.display.Audio`; arguments and errors as for `synthesize`.

    One minute is 3.5 MB of notebook: `player` shows longer music in a hundredth of that.

    Notebook: 05_generation_and_playback
    """
    from IPython.display import Audio

    return Audio(synthesize(piano_roll, config, sample_rate), rate=sample_rate, normalize=False)


def write_wav(samples, path, sample_rate=SAMPLE_RATE):
    """Write samples as a 16-bit WAV file.

    Args:
        samples: `(samples,)` floats in [-1, 1], or `(samples, 2)`, left and right; values beyond are clipped.
        path: where to write; its folder is made. Written atomically.
        sample_rate: samples per second, default 22,050.

    Returns:
        `Path` that was written.
    """
    with atomic_write(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1 if np.ndim(samples) == 1 else 2)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return Path(path)


def fluidsynth_missing():
    """Why FluidSynth cannot play, and what to install.

    FluidSynth is a system library, which pip does not bring; pyfluidsynth only calls it.

    Returns:
        `None` when it works, else one message with the command for this system.
    """
    try:
        if hasattr(importlib.import_module("fluidsynth"), "Synth"):
            return None
        problem = "another package called fluidsynth hides pyfluidsynth"
        cure = "pip uninstall fluidsynth; pip install --force-reinstall pyfluidsynth"
    except ModuleNotFoundError:
        problem, cure = "the Python package pyfluidsynth is missing", "pip install pyfluidsynth"
    except (ImportError, OSError, AttributeError):  # raised by its import when the library is not there
        problem, cure = "the FluidSynth library is missing", _install_line()
    return f"No FluidSynth, so the built-in numpy piano plays: {problem}. To install it: {cure}"


def _install_line():
    if "google.colab" in sys.modules:
        return "!apt-get install -y fluidsynth   (in a Colab cell, then restart the session)"
    if sys.platform == "win32":
        return "choco install fluidsynth   (or unpack a release of FluidSynth/fluidsynth into C:\\tools\\fluidsynth)"
    if os.environ.get("CONDA_PREFIX"):
        return "conda install -c conda-forge fluidsynth"
    if sys.platform == "darwin":
        return "brew install fluid-synth"
    return "sudo apt install fluidsynth   (Debian, Ubuntu; elsewhere the package fluidsynth of your system)"


def as_notes(music, config=MIDI_CONFIG):
    """Any music as notes that a piano can play, and how long it lasts.

    A key struck again while it sounds ends its old note.

    Args:
        music: `Notes`; a roll `(T, P)` of floats in [0, 1]; or the path of a MIDI
            file, of which the first `max_duration` seconds are taken.
        config: `MIDI_CONFIG` or a dict with its keys.

    Returns:
        `Notes`, and the seconds they last (a roll's rests at the end included).

    Raises:
        ValueError: wrong shape, NaN, or a file without piano notes.
    """
    seconds = 0.0
    if isinstance(music, Notes):
        notes = music
    elif isinstance(music, (str, os.PathLike)):
        notes, longest = read_notes(music), config["max_duration"] or np.inf
        kept = notes.start <= longest - 1 / config["fs"]  # a note lasts a frame at least
        notes = Notes(*(column[kept] for column in notes._replace(end=np.minimum(notes.end, longest))))
    else:
        notes = roll_to_notes(music, config, velocity_threshold=0)
        seconds = len(music) / config["fs"]

    order = np.lexsort((notes.start, notes.pitch))
    start, end, pitch, velocity = (column[order] for column in notes)
    next_start = np.where(pitch[1:] == pitch[:-1], start[1:], np.inf)
    end = np.minimum(np.maximum(end, start + 1 / config["fs"]), np.append(next_start, np.inf))
    order = np.lexsort((pitch, start))
    order = order[(end > start)[order]]  # of two strikes of a key at once, one stays
    notes = Notes(start[order], end[order], pitch[order], velocity[order])
    return notes, max(seconds, notes.end.max(initial=0.0))


def numpy_piano(notes, sample_rate=SAMPLE_RATE):
    """Our own piano: low keys ring longer and sound from the left, hard blows are brighter, a small room answers.

    Args:
        notes: `Notes`.
        sample_rate: samples per second, default 22,050.

    Returns:
        `(samples, 2)` float32, left and right, not scaled to any peak; `TAIL` seconds longer than the last note rings.
    """
    damper = np.exp(-np.arange(5 * PIANO["release"] * sample_rate) / (PIANO["release"] * sample_rate))
    damper = (damper * np.linspace(1, 0, len(damper))).astype(np.float32)
    first = np.floor(notes.start * sample_rate + 0.5).astype(int)  # halves go up, as in JavaScript
    held = np.floor((notes.end - notes.start) * sample_rate + 0.5).astype(int)
    samples = np.zeros(((first + held).max(initial=0) + len(damper) + round(TAIL * sample_rate), 2), dtype=np.float32)
    for on, length, pitch, velocity in zip(first, held, notes.pitch.tolist(), (notes.velocity / 127).tolist()):
        soft, hard = _key(pitch, sample_rate)[:, : length + len(damper)]
        gain = np.float32(velocity**1.5)
        note = (gain * (1 - gain)) * soft + (gain * gain) * hard
        note[length:] *= damper[: len(note) - length] if len(note) > length else 1
        angle = np.pi / 4 * (1 + PIANO["width"] * np.clip((pitch - 64.5) / 43.5, -1, 1))
        samples[on : on + len(note)] += note[:, None] * np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)
    dry = samples.mean(axis=1)
    return samples + np.stack([_room(dry, sample_rate, 1), _room(dry, sample_rate, PIANO["room"][1])], axis=1)


def _room(dry, sample_rate, size):
    """What a room adds, `(samples,)`. Source: Schroeder, "Natural sounding artificial reverberation", 1962.

    Four combs repeat the sound, weaker and (an average of neighbours) duller each time; two all-pass filters blur it.
    """
    kept, _, loudness = PIANO["room"]
    wet = np.zeros_like(dry)
    for seconds in PIANO["echoes"]:
        delay = int(seconds * size * sample_rate + 0.5)
        echo = np.zeros_like(dry)
        echo[delay:] = loudness * dry[:-delay]
        for i in range(delay + 1, len(dry), delay):  # a block needs only the one before
            block = echo[i : i + delay]
            block += kept / 2 * (echo[i - delay : i] + echo[i - delay - 1 : i - 1])[: len(block)]
        wet += echo
    for seconds in PIANO["smear"]:
        delay = int(seconds * size * sample_rate + 0.5)
        before, wet = wet, -kept * wet
        for i in range(delay, len(dry), delay):
            block = wet[i : i + delay]
            block += (before[i - delay : i] + kept * wet[i - delay : i])[: len(block)]
    return wet


@lru_cache(maxsize=128)
def _key(pitch, sample_rate):
    """One key ringing undamped, `(2, samples)` float32: struck softly, and hard."""
    nyquist = 0.45 * sample_rate
    k = np.arange(1, PIANO["partials"] + 1)
    stiffness = PIANO["stiffness"] * 2 ** ((pitch - 60) / 9)
    frequency = 440 * 2 ** ((pitch - 69) / 12) * k * np.sqrt((1 + stiffness * k**2) / (1 + stiffness))
    audible = (frequency < nyquist) | (k == 1)
    k, frequency = k[audible], frequency[audible]
    decay = PIANO["decay"] * 2 ** ((pitch - 60) / 18) * (1 + PIANO["decay_step"] * (k - 1))
    shape = np.sin(np.pi * k / PIANO["strike"]) * frequency**2 / (frequency**2 + PIANO["board"] ** 2)
    amplitude = np.stack([shape * np.exp(-frequency / felt) for felt in PIANO["felt"]])  # (2, K)

    # Steps of the golden ratio scatter the soundboard's modes evenly over the octaves, and off any scale.
    modes, low, high, dying, loudness = PIANO["knock"]
    frequency = np.append(frequency, low * (high / low) ** (np.arange(modes) * 0.618034 % 1))  # (K + modes,)
    knock = loudness * np.linalg.norm(amplitude, axis=1, keepdims=True) * np.ones(modes)
    decay, amplitude = np.append(decay, np.full(modes, dying)), np.append(amplitude, knock, axis=1)

    weight, tuning, damping = np.array(PIANO["strings"]).T[:, :, None]  # each (2, 1)
    rate = (-damping * decay + 2j * np.pi * tuning * frequency).ravel() / sample_rate  # (S,), per sample
    amplitude = (weight * amplitude[:, None, :]).reshape(2, -1)  # (2, S)

    # exp(rate * (block * n + m)) = exp(rate * block * n) * exp(rate * m): a tone is a matrix product.
    # It ends where the slowest partial is at -60 dB.
    length = round(min(PIANO["longest"], np.log(1000) / (damping.min() * decay[0])) * sample_rate)
    block = int(np.sqrt(length))
    n = np.exp(rate * block * np.arange(-(-length // block))[:, None])  # (N, S)
    m = np.exp(rate * np.arange(block)[:, None])  # (M, S)
    n = amplitude[:, None, :] * n  # (2, N, S)
    n = np.concatenate([n.imag, n.real], axis=2).astype(np.float32)
    m = np.concatenate([m.real, m.imag], axis=1).astype(np.float32)
    tone = (n @ m.T).reshape(2, -1)[:, :length]  # the imaginary part: every sine starts at 0

    ramp, fade = round(PIANO["attack"] * sample_rate), length // 8
    tone[:, :ramp] *= np.linspace(0, 1, ramp, dtype=np.float32)
    tone[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    loudness = np.sqrt(np.mean(tone[:, : sample_rate // 2] ** 2, axis=1, keepdims=True))
    return tone * np.float32(2 ** (-max(0, pitch - 60) / PIANO["treble"])) / loudness


def _fluidsynth(notes, sample_rate):
    """The same with FluidSynth, driven directly: pretty_midi looks for it only once, when it is imported."""
    import fluidsynth

    synth = fluidsynth.Synth(samplerate=float(sample_rate))
    try:
        font = synth.sfload(str(Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"))
        synth.program_select(0, font, 0, 0)  # bank 0, program 0: grand piano
        start, end, pitch, velocity = (column.tolist() for column in notes)
        events = [*zip(end, [0] * len(end), pitch), *zip(start, velocity, pitch)]  # velocity 0 is a release
        parts, now = [], 0
        for seconds, velocity, pitch in sorted(events):  # at one time, releases before strikes
            sample = round(seconds * sample_rate)
            parts.append(synth.get_samples(sample - now))
            now = sample
            synth.noteon(0, pitch, velocity)
        parts.append(synth.get_samples(round(TAIL * sample_rate)))
    finally:
        synth.delete()
    return np.concatenate(parts).reshape(-1, 2).astype(np.float32)
