"""The music benchmark measures what it says: overlap, collapses and copies, on clips that never overlap."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_tune

from midigen_utils.config import MIDI_CONFIG
from midigen_utils.learn.checkpoints import save_checkpoint
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import MusicMamba

gaussian_kde = pytest.importorskip("scipy.stats", reason="densities are compared with scipy's").gaussian_kde

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "music.py"
spec = importlib.util.spec_from_file_location("music", SCRIPT)
music = importlib.util.module_from_spec(spec)
spec.loader.exec_module(music)


def tune(frames=480, seed=0, lowest=30, highest=70):
    """Chords of one to four keys that change every two to six frames."""
    rng, roll, t = np.random.default_rng(seed), np.zeros((frames, 88), np.float32), 0
    while t < frames:
        length = rng.integers(2, 7)
        roll[t : t + length - 1, rng.choice(np.arange(lowest, highest), rng.integers(1, 5), replace=False)] = 0.5
        t += length
    return roll


def literal_windows(roll):
    """The onsets of each window as a set of (frame, keys above the lowest), one cell at a time."""
    windows = []
    for first in range(1, len(roll) - 15):
        cells = [(t, p) for t in range(16) for p in range(88) if roll[first + t, p] and not roll[first + t - 1, p]]
        if len(cells) >= 8:
            lowest = min(p for _, p in cells)
            windows.append(frozenset((t, p - lowest) for t, p in cells))
    return windows


# ---------------------------------------------------------------- overlap area


def test_the_density_is_that_of_scipy():
    values, grid = np.random.default_rng(0).gamma(2, size=300), np.linspace(-2, 12, 200)
    width = values.std(ddof=1) * len(values) ** -0.2
    np.testing.assert_allclose(music.density(values, grid, width), gaussian_kde(values)(grid), rtol=1e-10)


@pytest.mark.parametrize("shift, spread", [(0, 1), (0.7, 1), (2, 1), (0, 3), (1, 0.2)])
def test_overlap_area_is_that_of_scipy_on_one_grid_and_symmetric(shift, spread):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=400), rng.normal(shift, spread, size=500)
    p, q = gaussian_kde(a), gaussian_kde(b)
    grid = np.linspace(-20, 20, 20_001)
    assert music.overlap_area(a, b) == pytest.approx(np.minimum(p(grid), q(grid)).sum() * 0.002, abs=2e-3)
    assert music.overlap_area(a, b) == pytest.approx(music.overlap_area(b, a), abs=1e-9)


def test_equal_sets_overlap_wholly_and_distant_ones_not_at_all():
    a = np.random.default_rng(2).exponential(size=300)  # as distances: most of them near 0, none below
    assert music.overlap_area(a, a) == pytest.approx(1, abs=1e-3)
    assert music.overlap_area(a, a + 1000) < 1e-6
    assert music.overlap_area(np.zeros(9), np.zeros(9)) == 1
    assert music.overlap_area(np.zeros(9), np.ones(9)) < 1e-6


def test_one_wild_value_spoils_no_area():
    a = np.random.default_rng(3).normal(size=400)
    assert 0 <= music.overlap_area(a, np.append(a, 1e6)) <= 1 + 1e-6
    assert music.overlap_area(np.append(a, 1e6), np.append(a, 1e6)) == pytest.approx(1, abs=1e-2)


def test_sets_are_compared_as_scipy_does_it_pair_by_pair():
    real, made = (music.measure([tune(seed=first + i) for i in range(4)]) for first in (0, 100))
    areas = music.compare(real, made)
    for name in (*music.MEASURES, "pitch_class_histogram"):
        a, b = real[name], made[name]
        within = [np.linalg.norm(x - y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j]
        between = [np.linalg.norm(x - y) for x in a for y in b]
        grid = np.linspace(-3 * max(between + within), 4 * max(between + within), 50_001)
        lower = np.minimum(gaussian_kde(within)(grid), gaussian_kde(between)(grid))
        assert areas[name] == pytest.approx(lower.sum() * (grid[1] - grid[0]), abs=3e-4), name


def test_music_of_one_kind_overlaps_more_than_noise_in_every_measure_of_time():
    rng = np.random.default_rng(4)
    real, alike = (music.measure([tune(seed=first + i) for i in range(20)]) for first in (0, 100))
    noise = music.measure((rng.random((20, 480, 88)) < 0.03).astype(np.float32))
    close, far = music.compare(real, alike), music.compare(real, noise)
    assert set(close) == {*music.MEASURES, *music.BESIDES}
    assert all(0.75 < close[name] <= 1 + 1e-6 for name in music.MEASURES), close
    assert all(far[name] < 0.6 for name in ("note_density", "note_length", "qualified_note_rate")), far


def test_the_standard_error_is_0_where_every_group_is_the_same_and_grows_with_one_that_differs():
    rng = np.random.default_rng(0)
    column = rng.normal(size=(6, 1))
    groups = np.repeat(np.arange(music.GROUPS), 6)
    same = {name: np.tile(column, (music.GROUPS, 1)) for name in music.MEASURES}
    other = {name: rows + np.where(groups == 3, 5.0, 0.0)[:, None] for name, rows in same.items()}
    both = (groups, groups)
    assert music.standard_error(same, same, both) == pytest.approx(0, abs=1e-9)
    assert music.standard_error(same, other, both) > 0.01


def test_a_clip_without_a_measure_overlaps_with_nothing():
    clips = np.stack([tune(seed=i) for i in range(20)])
    real, half_silent, silent = (
        music.measure(x) for x in (clips, clips * (np.arange(20) < 10)[:, None, None], 0 * clips)
    )
    assert np.isnan(half_silent["polyphony"]).sum() == 10
    assert 0.35 < music.compare(real, half_silent)["polyphony"] <= 0.5
    assert all(music.compare(real, silent)[name] == 0 for name in ("polyphony", "note_length", "scale_consistency"))
    assert 0 < music.compare(real, real)["polyphony"] <= 1 + 1e-6


def test_measures_of_a_clip_that_can_be_counted_by_hand():
    clip = np.zeros((64, 88), np.float32)
    for first in (0, 16, 48):  # C4 and E4 for half a second, at 0, 1 and 3 s
        clip[first : first + 8, [39, 43]] = 0.5
    values = {name: rows[0] for name, rows in music.measure(clip[None]).items()}
    assert values["polyphony"] == 2 and values["note_density"] == 6 / 4 and values["note_length"] == 0.5
    assert values["inter_onset"] == 1.5 and values["pitch_class_entropy"] == 1 and values["pitch_range"] == 4
    assert values["pitch_class_histogram"].tolist() == [0.5, 0, 0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0]


# ---------------------------------------------------------------- collapses


def test_silence_and_a_drone_of_8_s_stand_still_and_a_frame_less_does_not():
    for held in (0, 0.5):
        clip = tune()
        clip[100:228] = 0
        clip[100:228, 40] = held
        clip[[99, 228], 50] = 0.5  # another chord before and after: 128 equal frames
        assert music.collapses(clip, most_keys=10) == (True, False)
        clip[227, 50] = 0.5
        assert music.collapses(clip, most_keys=10) == (False, False)


def test_a_cluster_of_4_s_is_crowded_and_a_frame_less_or_a_chord_is_not():
    for keys, frames, crowded in ((11, 64, True), (11, 63, False), (10, 64, False)):
        clip = tune()
        for t in range(200, 200 + frames):  # it moves
            clip[t] = 0
            clip[t, 20 + t % 2 : 20 + t % 2 + keys] = 0.5
        assert music.collapses(clip, most_keys=10) == (False, crowded)


def test_ordinary_music_does_not_collapse():
    assert not any(any(music.collapses(tune(seed=i), most_keys=10)) for i in range(10))


# ---------------------------------------------------------------- copies


def test_windows_are_equal_when_their_onsets_are_and_not_else():
    pieces = [tune(120, seed=i) for i in range(3)] + [tune(120, seed=0, lowest=33, highest=73)]
    hashes = np.concatenate([music.window_hashes(piece) for piece in pieces])
    windows = [window for piece in pieces for window in literal_windows(piece)]
    assert len(hashes) == len(windows) > 100
    assert len(set(hashes.tolist())) == len(set(windows)) == len(set(zip(hashes.tolist(), windows)))


@pytest.mark.parametrize("semitones", [0, 1, -30, 18])
def test_a_transposed_training_clip_is_all_copied_whatever_its_lengths_and_velocities(semitones):
    _, _, known = music.read_training([tune(seed=i) for i in range(4)])
    clip = np.roll(tune(seed=2)[40:300], semitones, axis=1)
    copied, windows = music.count_copies([clip], known)
    assert copied == windows > 100
    on = (clip[1:] > 0) & ~(clip[:-1] > 0)
    short = np.concatenate([clip[:1], 0.1 * on])  # every note quiet, and one frame long
    assert music.count_copies([short], known) == (copied, windows)


def test_other_music_is_no_copy_and_a_moved_onset_ends_one():
    _, _, known = music.read_training([tune(seed=i) for i in range(4)])
    copied, windows = music.count_copies([tune(seed=50), tune(seed=51)], known)
    assert copied == 0 and windows > 200
    clip = tune(seed=1)
    clip[200:, :] = np.roll(clip[200:], 1, axis=1)  # windows across the seam are in no training piece
    copied, windows = music.count_copies([clip], known)
    assert windows - 20 <= copied <= windows - 10
    assert music.count_copies([np.zeros((480, 88))], known) == (0, 0) == music.count_copies([np.zeros((9, 88))], known)


def test_training_says_how_crowded_its_frames_are_and_how_often_each_key_is_down():
    piece = np.zeros((1000, 88), np.float32)
    piece[:500, 40] = 0.3
    piece[:5, 41:50] = 0.3
    most_keys, marginals, known = music.read_training([piece, piece])
    assert most_keys == 10 and marginals[40] == 0.5 and marginals[41] == 0.005 and marginals.sum() == 0.545
    assert (np.diff(known.astype(object)) > 0).all()


# ---------------------------------------------------------------- clips


@pytest.mark.parametrize("seed", range(3))
def test_seeds_and_clips_of_both_sets_never_overlap_and_keep_to_their_piece(seed):
    lengths = np.array([1000, 100, 543, 5000, 544, 0, 1088])
    sets = music.places(lengths, 480, 5, np.random.default_rng(seed))
    assert sets.shape == (2, 5, 2)
    taken = [np.zeros(length, int) for length in lengths]
    for piece, start in sets.reshape(-1, 2):
        assert start + 544 <= lengths[piece]
        taken[piece][start : start + 544] += 1
    assert max(piece.max(initial=0) for piece in taken) == 1
    assert len(music.places(lengths, 480, 100, np.random.default_rng(seed))[0]) == 6  # 13 places
    with pytest.raises(SystemExit, match="use fewer --seconds"):
        music.places(lengths, 4800, 5, np.random.default_rng(seed))


def test_a_seed_is_the_64_frames_before_its_clip():
    rolls = [np.arange(88 * 300, dtype=np.float32).reshape(300, 88) + 1e6 * i for i in range(2)]
    seeds, clips = music.cut(rolls, np.array([[1, 100], [0, 5]]), 32)
    assert np.array_equal(seeds[0], rolls[1][100:164]) and np.array_equal(clips[1], rolls[0][69:101])


def test_generated_clips_are_without_their_seed_and_the_same_again(monkeypatch):
    monkeypatch.setattr(music, "BATCH", 2)
    torch.manual_seed(0)
    model, seeds = MusicLSTM(hidden_size=16), np.stack([tune(64, seed=i) for i in range(3)])
    clips = music.generate(model, seeds, 10, 1.0, random_seed=7)
    assert clips.shape == (3, 10, 88)
    whole = music.generate_music(model, seeds[2:], 10, 1.0, random_seed=9)
    assert np.array_equal(clips[2:], whole[:, 64:])
    assert np.array_equal(clips, music.generate(model, seeds, 10, 1.0, random_seed=7))


# ---------------------------------------------------------------- the whole script


@pytest.fixture
def checkpoints(tmp_path):
    torch.manual_seed(0)
    models = {"lstm": MusicLSTM(hidden_size=16), "mamba": MusicMamba(88, d_model=32, n_layers=1, head="chords")}
    for name, model in models.items():
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        save_checkpoint(tmp_path / f"{name}.pt", model, optimizer, 0, 1.0, midi_config=dict(MIDI_CONFIG))
    return {name: f"{name}={tmp_path / name}.pt" for name in models}


@pytest.fixture
def maestro(tmp_path):
    """A small corpus in MAESTRO's layout: validation pieces of 30 s, so that each gives three places of 8 s."""
    folder = tmp_path / "data" / "maestro-v3.0.0"
    lines = ["canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration"]
    for i, split in enumerate(["train"] * 3 + ["validation"] * 2 + ["test"]):
        write_tune(folder / f"{i}.midi", seed=i, seconds=30.0)
        lines.append(f"Nobody,Tune {i},{split},2026,{i}.midi,,30.0")
    (folder / "maestro-v3.0.0.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder.parent


def test_the_script_prints_its_tables_with_a_row_for_every_model_and_temperature(
    maestro, checkpoints, midi_data, monkeypatch, capsys
):
    command = ["music.py", "--data", str(maestro), "--models", *checkpoints.values()]
    monkeypatch.setattr(sys, "argv", [*command, "--clips", "3", "--seconds", "4", "--temperatures", "0.5", "1"])
    music.main()
    out = capsys.readouterr().out
    assert " ".join(command) in out and "3 clips a set, 4 s each, from 2 of 2 validation pieces" in out
    tables = [block.splitlines() for block in out.split("\n\n") if block.startswith("|")]
    assert [len(table) for table in tables] == [
        2 + 9,
        2 + 10,
        2 + 10,
    ]  # the first real set is in no row of the overlaps
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
        for row in (
            "real, second set (ceiling)",
            "noise (floor)",
            "seconds shuffled",
            "upside down",
            "lstm, temperature 0.5",
            "mamba, temperature 1",
        ):
            assert sum(line.startswith(f"| {row} |") for line in table) == 1
    assert "| real, second set (ceiling) |" in tables[0][2] and tables[0][2].split("|")[3].strip() == "1.000"
    means = {line.split("|")[1].strip(): float(line.split("|")[2].split()[0]) for line in tables[0][2:]}
    assert means["noise (floor)"] < means["real, second set (ceiling)"]


def test_the_script_refuses_what_it_cannot_compare(checkpoints, maestro, monkeypatch, capsys, tmp_path):
    state = torch.load(tmp_path / "lstm.pt", weights_only=True)
    torch.save({**state, "midi_config": {**MIDI_CONFIG, "fs": 8}}, tmp_path / "slow.pt")
    data = ["--data", str(maestro)]
    for arguments, message in (
        (["--models", checkpoints["lstm"]], "--data FOLDER"),
        ([*data, "--models", "lstm.pt"], "write NAME=CHECKPOINT"),
        ([*data, "--models", checkpoints["lstm"], checkpoints["lstm"]], "each name once"),
        ([*data, "--models", f"slow={tmp_path / 'slow.pt'}"], "frames per second"),
    ):
        monkeypatch.setattr(sys, "argv", ["music.py", *arguments])
        with pytest.raises(SystemExit):
            music.main()
        assert message in capsys.readouterr().err
