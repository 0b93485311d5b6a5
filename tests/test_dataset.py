import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from midigen_utils.data.rolls import RollSplit
from midigen_utils.learn import dataset as learn_dataset
from midigen_utils.learn.dataset import Batches, PieceBatches, SequenceDataset, all_frames, piece_bins

ROOT = Path(__file__).parent.parent


def numbered(length, first=1):
    """A roll whose frame t has key t % 88 down, so that windows can be told apart."""
    roll = np.zeros((length, 88), np.float32)
    roll[np.arange(length), (np.arange(length) + first) % 88] = 0.5
    return roll


def test_target_is_the_input_one_frame_later():
    x, y = SequenceDataset([numbered(100)])[0]
    assert x.shape == y.shape == (64, 88)
    assert torch.equal(x[1:], y[:-1])
    assert torch.equal(y[-1], torch.from_numpy((numbered(100)[64] > 0).astype(np.float32)))


@pytest.mark.parametrize(
    ("length", "windows"), [(10, 0), (64, 0), (65, 1), (66, 1), (80, 1), (81, 2), (96, 2), (97, 3), (960, 56)]
)
def test_how_many_windows_a_piece_gives(length, windows):
    assert len(SequenceDataset([numbered(length)])) == windows


def test_first_and_last_window_are_where_they_should_be():
    roll = numbered(97)
    dataset = SequenceDataset([roll])
    down = torch.from_numpy(roll > 0).float()
    assert torch.equal(dataset[0][0], down[:64])
    assert torch.equal(dataset[2][0], down[32:96])
    assert torch.equal(dataset[2][1], down[33:97])


def test_no_window_crosses_from_one_piece_into_the_next():
    pieces = [numbered(70), np.zeros((64, 88), np.float32), numbered(130, first=44)]
    dataset = SequenceDataset(pieces, stride=1)
    expected = [torch.from_numpy(p[s : s + 65] > 0).float() for p in pieces for s in range(len(p) - 64)]
    assert len(dataset) == len(expected)
    for i, window in enumerate(expected):
        assert torch.equal(torch.cat([dataset[i][0], dataset[i][1][-1:]]), window)


def test_values_are_keys_down_not_velocities():
    x, _ = SequenceDataset([numbered(100)])[0]
    assert set(x.unique().tolist()) == {0.0, 1.0}


def test_an_epoch_visits_every_window_once_in_an_order_of_its_own():
    dataset = SequenceDataset([numbered(500), numbered(300, first=7)], stride=3)
    batches = Batches(dataset, batch_size=16, seed=1)
    in_order = torch.stack([x for x, _ in dataset])
    first, again, second = (torch.cat([x for x, _ in batches.epoch(e)]) for e in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert len(first) == len(dataset)
    key = [tuple(row.tolist()) for row in first.flatten(1).sort(0)[0]]
    assert key == [tuple(row.tolist()) for row in in_order.flatten(1).sort(0)[0]]


def test_an_epoch_can_begin_in_the_middle():
    batches = Batches(SequenceDataset([numbered(500)]), batch_size=4)
    whole = list(batches.epoch(3))
    rest = list(batches.epoch(3, first=2))
    assert len(rest) == len(whole) - 2
    assert torch.equal(rest[0][0], whole[2][0])


def shift_up(x, semitones):
    """`x` moved up key by key, in plain words: the reference."""
    moved = torch.zeros_like(x)
    for p in range(88):
        if 0 <= p + semitones < 88:
            moved[..., p + semitones] = x[..., p]
    return moved


@pytest.mark.parametrize("semitones", [0, 1, -1, 6, -6, 87, -87])
def test_a_window_moves_by_semitones_and_what_leaves_the_keyboard_is_left_out(semitones):
    dataset = SequenceDataset([numbered(200)])
    starts = dataset.starts
    moved = dataset.windows(starts, torch.full_like(starts, semitones))
    assert torch.equal(moved, shift_up(dataset.windows(starts), semitones))


def test_each_window_of_a_batch_moves_by_its_own_interval():
    dataset = SequenceDataset([numbered(300)])
    semitones = torch.tensor([3, -2, 0, 5])
    moved = dataset.windows(dataset.starts[:4], semitones)
    for i in range(4):
        assert torch.equal(moved[i], shift_up(dataset.windows(dataset.starts[:4])[i], int(semitones[i])))


def intervals(plain, moved):
    """By how many semitones each window was moved."""
    return [next(s for s in range(-3, 4) if torch.equal(shift_up(a, s), b)) for a, b in zip(plain, moved)]


def middle(length):
    """A roll with one key down a frame, in the middle of the keyboard: it can move without leaving it."""
    roll = np.zeros((length, 88), np.float32)
    roll[np.arange(length), 30 + (np.arange(length) * 7) % 23] = 0.5
    return roll


def test_transposition_is_drawn_evenly_anew_each_epoch_and_again_alike():
    dataset = SequenceDataset([middle(900)], stride=4)
    plain = {e: torch.cat([x for x, _ in Batches(dataset, 32, seed=5).epoch(e)]) for e in (0, 1)}
    batches = Batches(dataset, 32, seed=5, transpose=3)
    moved = {e: torch.cat([x for x, _ in batches.epoch(e)]) for e in (0, 1)}
    drawn = {e: intervals(plain[e], moved[e]) for e in (0, 1)}  # the order of the windows is that without it
    assert set(drawn[0]) == set(drawn[1]) == set(range(-3, 4))
    assert min(drawn[0].count(s) for s in range(-3, 4)) > len(dataset) / 7 / 2
    assert drawn[0] != drawn[1]
    assert torch.equal(moved[1], torch.cat([x for x, _ in batches.epoch(1)]))
    assert torch.equal(moved[0][64:], torch.cat([x for x, _ in batches.epoch(0, first=2)]))


def test_target_moves_with_its_input():
    x, y = next(Batches(SequenceDataset([numbered(500)]), transpose=6).epoch(0))
    assert torch.equal(x[:, 1:], y[:, :-1])


def test_transposition_copies_no_frame():
    dataset = SequenceDataset([numbered(500)])
    frames = dataset.frames
    before = frames.clone()
    list(Batches(dataset, transpose=6).epoch(0))
    assert dataset.frames is frames and torch.equal(frames, before)


@pytest.mark.parametrize("transpose", [-1, 88])
def test_a_transposition_out_of_range_is_refused(transpose):
    with pytest.raises(ValueError, match="transpose"):
        Batches(SequenceDataset([numbered(500)]), transpose=transpose)


def test_a_data_loader_takes_the_dataset():
    x, y = next(iter(torch.utils.data.DataLoader(SequenceDataset([numbered(300)]), batch_size=8)))
    assert x.shape == y.shape == (8, 64, 88)


def test_pieces_too_short_are_an_error_that_says_so():
    with pytest.raises(ValueError, match="longer than 64 frames.*--sequence-length"):
        Batches(SequenceDataset([numbered(30)]))
    with pytest.raises(ValueError, match="1 or more"):
        SequenceDataset([numbered(100)], stride=0)
    with pytest.raises(ValueError, match=r"\(T, P\)"):
        SequenceDataset([numbered(100), np.zeros((10, 80))])


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_transposed_rolls_and_tensors_give_the_batches_of_plain_arrays(kind, pieces):
    plain = [numbered(200, first=i) for i in range(pieces)]
    turned = [kind(roll.T.copy()).T for roll in plain]  # as `get_piano_roll(fs=16)[21:109].T` lies in memory
    for make in (lambda r: Batches(SequenceDataset(r), 7, transpose=2, velocities=True), lambda r: PieceBatches(r, 16)):
        for one, two in zip(make(plain).epoch(0), make(turned).epoch(0), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, two))
    assert all_frames(turned)[0].is_contiguous()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.float32([0, 64, 127]), "values from 0.0 to 127.0.*divide them by 127"),
        (np.float64([0, 1.01]), "to 1.01"),
        (np.float32([0, 0.5, np.nan]), "NaN"),
        (np.int64([0, 64, 127]), "values from 0 to 127"),
        (np.int32([0, 256]), "to 256"),
        (np.int64([-1, 1]), "from -1"),
        (torch.tensor([0.0, 2.0]), "to 2.0"),
    ],
)
def test_values_that_are_no_velocities_are_refused_by_name(values, problem):
    with pytest.raises(ValueError, match=rf"\[0, 1\].*0 to 32.*{problem}"):
        SequenceDataset([numbered(100), values[:, None]])
    with pytest.raises(ValueError, match=problem):
        piece_bins([values[:, None]], 0)


def test_whole_numbers_are_bins_and_fractions_their_nearest_one_but_never_silence():
    bins = np.array([[0, 1, 32]])
    velocities = np.float32([[0, 0.001, 1]])
    for roll in (bins, velocities, velocities.astype(np.float64), bins.astype(np.uint8)):
        assert all_frames([roll])[0].tolist() == [[0, 1, 32]]


# ---- a split that lies on disk ----


def on_disk(folder, pieces):
    """A `RollSplit` of pieces, as `load_piano_rolls` gives it."""
    bins = [np.rint(piece * 32).astype(np.uint8) for piece in pieces]
    np.save(folder / "frames.npy", np.concatenate(bins))
    frames, lengths = np.load(folder / "frames.npy", mmap_mode="r"), np.array([len(roll) for roll in bins])
    return RollSplit(frames, np.cumsum(lengths) - lengths, lengths, list(pieces), 32)


def equal(first, second):
    return all(torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two))


def test_a_split_on_disk_gives_the_batches_of_its_pieces_and_shares_their_memory(tmp_path):
    pieces = [numbered(length, first=length) for length in (130, 1, 70, 64, 200)]
    split = on_disk(tmp_path, pieces)
    for rolls, plain in ((split, pieces), (split[1:4], pieces[1:4]), (split.spread(2), [pieces[0], pieces[4]])):
        options = dict(seed=3, transpose=2)
        one, two = (Batches(SequenceDataset(r, 32, 5), 7, velocities=True, **options) for r in (rolls, plain))
        assert equal(one.epoch(1), two.epoch(1))
        assert equal(*(PieceBatches(r, 16, 2, **options).epoch(1) for r in (rolls, plain)))
        assert equal(*[[[piece_bins(some, i) for i in range(len(some))]] for some in (rolls, plain)])
    assert all_frames(split)[0].data_ptr() == split.frames.ctypes.data == SequenceDataset(split).frames.data_ptr()
    assert piece_bins(split, 2).data_ptr() == split.frames.ctypes.data + 88 * 131


def test_the_order_and_the_intervals_are_those_of_torch_from_seed_and_epoch(toy_rolls):
    dataset = SequenceDataset(toy_rolls["train"], 64, 5)
    starts = torch.cat([torch.arange(160 * i, 160 * i + 160 - 64, 5) for i in range(4)])
    generator = torch.Generator().manual_seed(7 * 1_000_003 + 2)
    order = starts[torch.randperm(len(starts), generator=generator)].split(6)
    semitones = torch.randint(-3, 4, (len(starts),), generator=generator).split(6)
    expected = [dataset.windows(a, b, True) for a, b in zip(order, semitones)]
    batches = Batches(dataset, 6, seed=7, transpose=3, velocities=True)
    assert torch.equal(dataset.starts, starts) and len(batches) == len(expected)
    assert equal(batches.epoch(2), [(window[:, :-1], window[:, 1:]) for window in expected])


def test_frames_of_up_to_two_gigabytes_are_copied_to_a_device_and_larger_ones_stay(toy_rolls, monkeypatch):
    for largest, where in ((4 * 160 * 88, "meta"), (4 * 160 * 88 - 1, "cpu")):
        monkeypatch.setattr(learn_dataset, "ON_DEVICE", largest)
        data = SequenceDataset(toy_rolls["train"])
        Batches(data, device="meta")
        assert data.frames.device.type == PieceBatches(toy_rolls["train"], device="meta").frames.device.type == where
        assert data.windows(data.starts[:3]).device.type == "meta"


HUGE = """
import resource, sys
import numpy as np, torch
from midigen_utils.data.rolls import RollSplit
from midigen_utils.learn.training import fit
from midigen_utils.models.lstm import MusicLSTM
torch.set_num_threads(1)
with open(sys.argv[1] + "/frames", "wb") as file:
    file.truncate(100 * 10**9)  # a hole: it takes no place on the disk
count, length = 10**9 // 10**6, 10**6  # 10**9 frames of 88 keys
frames = np.memmap(file.name, np.uint8, "r", shape=(count * length, 88))
starts, lengths = np.arange(count) * length, np.full(count, length)
train = RollSplit(frames, starts, lengths, [None] * count, 32)
held = (np.random.default_rng(0).random((100, 88)) < 0.05).astype(np.float32)
peaks = []
for rolls, carry_state in (([held] * 9, True), (train, False), (train, True)):  # at first what torch itself needs
    options = dict(batch_size=4, stride=10**4, sequence_length=64, carry_state=carry_state, transpose=2)
    rolls = {"train": rolls, "validation": [held]}
    assert len(fit(MusicLSTM(hidden_size=8), rolls, steps=5, device="cpu", folder=sys.argv[1], **options)) == 1
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
print(*peaks)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does it")
def test_a_roll_of_100_gb_in_a_memory_map_trains_in_flat_memory(tmp_path):
    done = subprocess.run([sys.executable, "-c", HUGE, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    plain, windows, along = map(int, done.stdout.splitlines()[-1].split())  # MB
    assert windows - plain < 20 and along - plain < 20


def test_a_dataset_takes_memory_for_pieces_not_for_windows():
    frames = np.lib.stride_tricks.as_strided(np.zeros(88, np.uint8), (3 * 10**8, 88), (0, 1))
    split = RollSplit(frames, np.arange(3) * 10**8, np.full(3, 10**8), [None] * 3, 32)
    dataset = SequenceDataset(split, stride=1)
    assert len(dataset) == 3 * (10**8 - 64)
    held = [value for value in vars(dataset).values() if torch.is_tensor(value) and value is not dataset.frames]
    assert sum(value.numel() for value in held) < 20
    last = torch.tensor([len(dataset) - 1, 0, 10**8 - 65, 10**8 - 64])
    assert dataset.starts_of(last).tolist() == [3 * 10**8 - 65, 0, 10**8 - 65, 10**8]


# ---- along pieces ----


def some_rolls():
    """Pieces of several lengths, with chords, held notes and rests, softer and louder; 10 windows to train on."""
    generator = np.random.default_rng(3)
    pieces = []
    for length in (150, 81, 113, 97, 130, 66):
        chords = (generator.random((-(-length // 4), 88)) < 0.03) * generator.integers(1, 33, (1, 88)) / 32
        pieces.append(np.repeat(chords, 4, axis=0)[:length].astype(np.float32))
    return {"train": pieces[:4], "validation": pieces[4:] + pieces[:1]}


def test_an_epoch_along_pieces_reads_every_piece_once_from_its_first_frame_to_its_last():
    rolls = some_rolls()["train"] + [
        np.ones((1, 88), np.float32),
        np.ones((2, 88), np.float32),
    ]  # the first has no pair
    batches = PieceBatches(rolls, 16, 2, seed=1)
    rows = [[], []]  # pieces, as lists of frames
    for x, y, valid, begins in batches.epoch(0):
        assert x.dtype == torch.uint8 and not y[~valid].any()
        for row in range(2):
            if begins[row]:
                rows[row].append([x[row, 0]])
            if valid[row].any():
                assert torch.equal(x[row, 0], rows[row][-1][-1])
                rows[row][-1].extend(y[row][valid[row]])
    read = sorted((torch.stack(piece) for row in rows for piece in row), key=len)
    expected = sorted((torch.from_numpy(np.rint(r * 32).astype(np.uint8)) for r in rolls if len(r) > 1), key=len)
    assert len(read) == len(expected) and all(torch.equal(a, b) for a, b in zip(read, expected))
    assert batches.predicted == sum(len(roll) - 1 for roll in rolls)
    assert batches.windows == sum(-(-(len(roll) - 1) // 16) for roll in rolls)
    assert len(batches) <= -(-batches.windows // 2) + 1  # the rows are about equally long


def test_an_epoch_along_pieces_depends_on_seed_and_epoch_and_can_begin_in_the_middle():
    batches = PieceBatches(some_rolls()["train"] * 3, 16, 2, seed=1, transpose=3)
    whole, rest, other = (list(batches.epoch(*which)) for which in ((3,), (3, 4), (2,)))
    assert len(rest) == len(whole) - 4 and len(whole) == len(other) == len(batches)
    assert all(torch.equal(a, b) for some, same in zip(whole[4:], rest) for a, b in zip(some, same))
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(whole, other))


def test_a_piece_is_transposed_as_a_whole():
    scale = np.zeros((100, 88), np.float32)
    scale[np.arange(100), 30 + np.arange(100) % 20] = 1
    drawn = set()
    for epoch in range(12):
        keys = [x[0].argmax(1) for x, _, _, _ in PieceBatches([scale], 25, 1, transpose=4).epoch(epoch)]
        moved = set((torch.cat(keys)[:99] - (30 + torch.arange(99) % 20)).tolist())
        assert len(moved) == 1
        drawn |= moved
    assert len(drawn) > 2 and min(drawn) >= -4 and max(drawn) <= 4


def test_batches_along_pieces_refuse_what_cannot_be():
    with pytest.raises(ValueError, match="no piece has two frames"):
        PieceBatches([np.zeros((1, 88), np.float32)])
    with pytest.raises(ValueError, match="1 or more"):
        PieceBatches(some_rolls()["train"], 0)
    with pytest.raises(ValueError, match="transpose is 88"):
        PieceBatches(some_rolls()["train"], transpose=88)
