"""Windows of piano rolls for training: 64 frames in, the same 64 one frame later as target."""

import warnings

import numpy as np
import torch

from ..config import BATCH_SIZE, MIDI_CONFIG, NUM_PITCHES, SEQUENCE_LENGTH, STRIDE, value_to_bin
from ..data.rolls import RollSplit

ON_DEVICE = 2**31  # bytes of frames that are copied to a GPU; of more than that, only the batches


class SequenceDataset(torch.utils.data.Dataset):
    """Pairs of windows `(x, y)`: `y` is `x` one frame later, both 1.0 where a key is down.

    Windows start every `stride` frames of each piece and never cross into the next one: a piece of `L` frames gives
    `(L - sequence_length - 1) // stride + 1` windows, a shorter one than `sequence_length + 1` none.

    Notebook: 02_piano_roll

    Args:
        rolls: `RollSplit`, or a list of `(T, P)` arrays or tensors, as in `all_frames`.
        sequence_length: frames of a window, default 64 (4 s).
        stride: frames from one window's start to the next, default 16 (1 s).

    Raises:
        ValueError: a length or stride below 1, or what `all_frames` refuses.

    Attributes:
        frames: `(F, P)` uint8 tensor, 0 for silence: all pieces, end to end.
        starts: `(N,)` int64 tensor, first frame of each window.
    """

    def __init__(self, rolls, sequence_length=SEQUENCE_LENGTH, stride=STRIDE):
        if sequence_length < 1 or stride < 1:
            raise ValueError("sequence_length and stride are frames, 1 or more")
        self.sequence_length = sequence_length
        self.stride = stride
        self.frames, piece_starts, lengths = all_frames(rolls)
        self.device = torch.device("cpu")
        counts = (-(-(lengths - sequence_length) // stride)).clip(0)
        # One number for each piece, not for each window: window n begins at frame first + n * stride of its piece.
        self._ends = torch.from_numpy(np.cumsum(counts))
        self._first = torch.from_numpy(piece_starts - (np.cumsum(counts) - counts) * stride)
        self._count = int(counts.sum())

    def __len__(self):
        return self._count

    def __getitem__(self, i):
        if not -len(self) <= i < len(self):
            raise IndexError(f"window {i} of {len(self)}")
        window = self.windows(self.starts_of(torch.tensor([i % len(self)])))[0]  # (sequence_length + 1, P)
        return window[:-1], window[1:]

    @property
    def starts(self):
        return self.starts_of(torch.arange(len(self)))

    def starts_of(self, numbers):
        """First frames of the windows with these numbers; `(B,)` int64 tensors both."""
        return self._first[torch.searchsorted(self._ends, numbers, right=True)] + numbers * self.stride

    def windows(self, starts, semitones=None, velocities=False):
        """The windows that begin at some frames, in one gather.

        Args:
            starts: `(B,)` int64 tensor, first frame of each window.
            semitones: `(B,)` int64 tensor, how far to move each window up (or down, below 0); `None` for not
                at all. Notes that leave the keyboard are left out, nothing comes in at the other end.
            velocities: whether to give velocity bins; default which keys are down.

        Returns:
            `(B, sequence_length + 1, P)` float32 in {0, 1}; with `velocities` uint8 bins, 0 where a key is up.
        """
        window = _rows(self.frames, starts, self.sequence_length + 1).to(self.device)
        if semitones is not None:
            window = _transposed(window, semitones)
        if velocities:
            return window
        # Straight into floats: a tensor of booleans between them costs as much as the gather.
        return torch.gt(window, 0, out=torch.empty(window.shape, device=window.device))


class Batches:
    """Batches of a `SequenceDataset` in an order that depends on seed and epoch only.

    So a run that is resumed in the middle sees the batches that it would have seen.

    Notebook: 03_lstm_baseline

    Args:
        dataset: `SequenceDataset`.
        batch_size: windows of a batch, default 64; the last batch of an epoch may be smaller.
        seed: int.
        device: where batches are made, default CPU; frames of up to 2 GiB are copied there.
        transpose: semitones, default 0. Each window is moved by its own whole number of them, drawn evenly
            from `-transpose` to `transpose` and anew in each epoch. Notes that leave the keyboard are left out.
        velocities: whether batches hold velocity bins; default which keys are down.

    Attributes:
        windows, predicted: windows of an epoch, and frames that are predicted in them.

    Raises:
        ValueError: no window at all, or a `transpose` below 0 or as wide as the keyboard.
    """

    def __init__(self, dataset, batch_size=BATCH_SIZE, seed=0, device="cpu", transpose=0, velocities=False):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; use 1 or more windows")
        _check_transpose(transpose, dataset.frames)
        if len(dataset) == 0:
            raise ValueError(
                f"no piece is longer than {dataset.sequence_length} frames, so there is no window to train on; "
                "use longer pieces or a smaller sequence_length (--sequence-length)"
            )
        dataset.device, dataset.frames = torch.device(device), _on_device(dataset.frames, device)
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.transpose, self.velocities = transpose, velocities
        self.windows, self.predicted = len(dataset), len(dataset) * dataset.sequence_length

    def __len__(self):
        return -(-self.windows // self.batch_size)

    def epoch(self, epoch, first=0):
        """Yield the batches of an epoch. Its order takes 8 bytes of memory for each window.

        Args:
            epoch: int, 0 or above.
            first: number of the batch to begin with.

        Yields:
            `(x, y)`, each `(B, T, P)` float32 in {0, 1}; with `velocities` uint8 bins.
        """
        generator, span = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch), self.transpose
        numbers = torch.randperm(self.windows, generator=generator)
        drawn = torch.randint(-span, span + 1, (self.windows,), generator=generator, dtype=torch.int8) if span else None
        for begin in range(first * self.batch_size, self.windows, self.batch_size):
            some = slice(begin, begin + self.batch_size)
            semitones = drawn[some].long() if span else None
            window = self.dataset.windows(self.dataset.starts_of(numbers[some]), semitones, self.velocities)
            yield window[:, :-1], window[:, 1:]


class PieceBatches:
    """Batches that run along pieces, so that a model's state can be carried from each to the next.

    Row b of a batch goes on where row b of the batch before stopped. When its piece is over, silence fills up the row
    (`valid` is `False` there), and in the next batch another piece begins in it (`begins`). An epoch reads every piece
    once, from its first frame to its last. Which pieces share a row depends on their lengths only, so that all rows
    are about equally long; their order and transposition depend on seed and epoch. So a run that is resumed in the
    middle sees the batches that it would have seen. It takes some 100 bytes of memory for each piece.

    Notebook: A3_scaling

    Args:
        rolls, sequence_length: as for `SequenceDataset`.
        batch_size: rows, default 64; fewer if there are fewer pieces.
        seed, device, transpose: as for `Batches`, but each piece is moved as a whole.

    Attributes:
        windows, predicted: as for `Batches`.

    Raises:
        ValueError: no piece of two frames, a size below 1, what `all_frames` or `Batches` would refuse.
    """

    def __init__(
        self, rolls, sequence_length=SEQUENCE_LENGTH, batch_size=BATCH_SIZE, seed=0, device="cpu", transpose=0
    ):
        frames, starts, lengths = all_frames(rolls)
        if sequence_length < 1 or batch_size < 1:
            raise ValueError("sequence_length and batch_size are 1 or more")
        _check_transpose(transpose, frames)
        self.frames, self.sequence_length = _on_device(frames, device), sequence_length
        self.seed, self.transpose, self.device = seed, transpose, torch.device(device)
        counts = -(-(lengths - 1).clip(0) // sequence_length)  # windows of each piece
        pieces = [i for i in np.argsort(-counts, kind="stable").tolist() if counts[i]]
        if not pieces:
            raise ValueError("no piece has two frames, so there is nothing to predict; use longer pieces")
        self.rows = [[] for _ in range(min(batch_size, len(pieces)))]
        sizes = np.zeros(len(self.rows), dtype=np.int64)
        for piece in pieces:  # the longest first, each into the shortest row
            row = int(sizes.argmin())
            self.rows[row].append(piece)
            sizes[row] += counts[piece]
        self._steps = int(sizes.max())
        self.windows, self.predicted = int(counts.sum()), int((lengths - 1).clip(0).sum())
        self._starts, self._lengths, self._counts = map(torch.from_numpy, (starts, lengths, counts))

    def __len__(self):
        return self._steps

    def epoch(self, epoch, first=0):
        """Yield the batches of an epoch; the arguments are those of `Batches.epoch`.

        Yields:
            `(x, y, valid, begins)`: velocity bins, `(B, T, P)` uint8 each; `(B, T)` bool, which frames of `y` are
            frames of the piece; `(B,)` bool, where the first frame of `x` is the first of a piece.
        """
        T, generator = self.sequence_length, torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        # The pieces of each row in their order, and after which of the row's windows each ends. Short rows are filled
        # up with their last piece.
        shape = len(self.rows), max(map(len, self.rows))
        pieces, ends, semitones = torch.zeros(3, *shape, dtype=torch.int64)
        for b, row in enumerate(self.rows):
            order = torch.tensor(row)[torch.randperm(len(row), generator=generator)]
            drawn = torch.randint(-self.transpose, self.transpose + 1, (len(row),), generator=generator)
            for table, values in (pieces, order), (ends, self._counts[order].cumsum(0)), (semitones, drawn):
                table[b, : len(row)], table[b, len(row) :] = values, values[-1]
        for step in range(first, len(self)):
            k = torch.searchsorted(ends, torch.full((shape[0], 1), step), right=True).clamp(max=shape[1] - 1)
            piece, moved = pieces.gather(1, k)[:, 0], semitones.gather(1, k)[:, 0]
            number = step - ends.gather(1, k)[:, 0] + self._counts[piece]  # of the window in its piece
            left = torch.where(number < self._counts[piece], self._lengths[piece] - T * number, 0)  # frames from here
            window = _rows(self.frames, self._starts[piece] + T * number, T + 1).to(self.device)  # (B, T + 1, P)
            valid = (torch.arange(T + 1) < left[:, None]).to(self.device)  # (B, T + 1)
            window = window * valid[:, :, None]
            if self.transpose:
                window = _transposed(window, moved)
            yield window[:, :-1], window[:, 1:], valid[:, 1:], (number == 0).to(self.device)


def all_frames(rolls):
    """Piano rolls end to end.

    Args:
        rolls: `RollSplit`, or a list of `(T, P)` arrays or tensors: velocities in [0, 1], or whole numbers, which are
            bins, 0 to 32.

    Returns:
        `(frames, starts, lengths)`: uint8 tensor `(F, P)` of velocity bins, 0 for silence (of a `RollSplit` it shares
        the memory map), and int64 arrays: the first frame and the number of frames of each piece.

    Raises:
        ValueError: values out of range or NaN; rolls of different widths, or not two-dimensional.
    """
    if isinstance(rolls, RollSplit):
        return _tensor(rolls.frames), rolls.starts, rolls.lengths
    rolls = [_as_bins(roll) for roll in rolls]
    for roll in rolls:
        if roll.shape[1] != rolls[0].shape[1]:
            raise ValueError(f"rolls have the shape (T, P), all with the same P; one has {roll.shape}")
    lengths = np.array([len(roll) for roll in rolls], dtype=np.int64)
    frames = np.concatenate(rolls) if rolls else np.zeros((0, NUM_PITCHES), np.uint8)
    return torch.from_numpy(frames), np.cumsum(lengths) - lengths, lengths


def piece_bins(rolls, i):
    """Piece `i` of `rolls` (as in `all_frames`): `(T, P)` uint8 tensor of velocity bins, 0 for silence."""
    return _tensor(rolls.bins(i) if isinstance(rolls, RollSplit) else _as_bins(rolls[i]))


def _as_bins(roll):
    """A roll of a list as `(T, P)` uint8 velocity bins, frame after frame in memory."""
    roll, bins = np.asarray(roll), MIDI_CONFIG["velocity_bins"]
    if roll.ndim != 2:
        raise ValueError(f"rolls have the shape (T, P), all with the same P; one has {roll.shape}")
    velocities = roll.dtype.kind == "f"
    if not ((roll >= 0) & (roll <= (1 if velocities else bins))).all():  # NaN is neither
        problem = "NaN" if velocities and np.isnan(roll).any() else f"values from {roll.min()} to {roll.max()}"
        raise ValueError(
            f"a roll holds velocities in [0, 1], or whole numbers from 0 to {bins}, which are bins; this one has "
            f"{problem} (MIDI velocities: divide them by 127)"
        )
    return (value_to_bin(roll) if velocities else roll).astype(np.uint8, order="C")


def _tensor(array):
    """A tensor that shares the memory of an array, also of a memory map that can only be read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor do we write
        return torch.from_numpy(array)


def _on_device(frames, device):
    return frames.to(device) if frames.numel() <= ON_DEVICE else frames


def _rows(frames, starts, count):
    """`(B, count, P)`: so many frames from each start; where they end, the last one is repeated."""
    at = (starts.to(frames.device)[:, None] + torch.arange(count, device=frames.device)).flatten()
    # Frame by frame: of a view whose rows overlap, MPS would first make a copy, `count` times as large as all frames.
    return frames.index_select(0, at.clamp_(max=len(frames) - 1)).view(len(starts), count, -1)


def _transposed(window, semitones):
    """`(B, T, P)` moved up by `(B,)` semitones each; what leaves the keyboard is left out."""
    _, T, P = window.shape
    key = torch.arange(P, device=window.device) - semitones.to(window.device)[:, None]  # (B, P): whence each key comes
    inside = (key >= 0) & (key < P)
    return window.gather(2, key.clamp(0, P - 1)[:, None].expand(-1, T, -1)).mul_(inside[:, None])


def _check_transpose(transpose, frames):
    keys = frames.shape[1]
    if not 0 <= transpose < keys:
        raise ValueError(f"transpose is {transpose}; use semitones, 0 to {keys - 1}")
