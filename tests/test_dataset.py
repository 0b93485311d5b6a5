import numpy as np
import pytest
import torch

from midigen_utils.learn.dataset import Batches, PieceBatches, SequenceDataset, all_frames, each_piece
from midigen_utils.learn.shards import rows


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
    in_order = torch.cat([x for x, _ in Batches(dataset, 16, shuffle=False).epoch(0)])
    first, again, second = (torch.cat([x for x, _ in batches.epoch(e)]) for e in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert len(first) == len(dataset)
    key = [tuple(row.tolist()) for row in first.flatten(1).sort(0)[0]]
    assert key == [tuple(row.tolist()) for row in in_order.flatten(1).sort(0)[0]]
    assert torch.equal(in_order[5], dataset[5][0])


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
    return [next(s for s in range(-87, 88) if torch.equal(shift_up(a, s), b)) for a, b in zip(plain, moved)]


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
    frames = dataset.shards[0]
    before = frames.clone()
    list(Batches(dataset, transpose=6).epoch(0))
    assert dataset.shards[0] is frames and torch.equal(frames, before)


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


@pytest.mark.parametrize("turned", [False, True])
def test_rows_are_the_frames_from_each_start_in_whatever_order_they_lie(turned):
    frames = torch.arange(20 * 88, dtype=torch.int32).view(20, 88)
    frames = frames.T.contiguous().T if turned else frames
    window = rows(frames, torch.tensor([12, 0, 17]), 5)
    expected = [frames[12:17], frames[:5], torch.cat([frames[17:], frames[-1:], frames[-1:]])]
    assert all(torch.equal(a, b) for a, b in zip(window, expected))


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
        list(each_piece([values[:, None]]))


def test_whole_numbers_are_bins_and_fractions_their_nearest_one_but_never_silence():
    bins = np.array([[0, 1, 32]])
    velocities = np.float32([[0, 0.001, 1]])
    for roll in (bins, velocities, velocities.astype(np.float64), bins.astype(np.uint8)):
        assert all_frames([roll])[0].tolist() == [[0, 1, 32]]
