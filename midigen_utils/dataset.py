"""Windows of piano rolls for training: 64 frames in, the same 64 one frame later as target."""

import numpy as np
import torch

from .config import BATCH_SIZE, MIDI_CONFIG, NUM_PITCHES, SEQUENCE_LENGTH, STRIDE


class SequenceDataset(torch.utils.data.Dataset):
    """Pairs of windows `(x, y)`: `y` is `x` one frame later, both 1.0 where a key is down.

    Windows start every `stride` frames of each piece and never cross into the next
    one; a piece of `L` frames gives `(L - sequence_length - 1) // stride + 1` windows,
    none if it is shorter than `sequence_length + 1` frames.

    Notebook: 02_piano_roll

    Args:
        rolls: `RollSplit`, or a list of `(T, P)` arrays of values in [0, 1].
        sequence_length: frames of a window, default 64 (4 s).
        stride: frames from one window's start to the next, default 16 (1 s).

    Raises:
        ValueError: a length or stride below 1.

    Attributes:
        frames: `(F, P)` uint8 tensor of all pieces, 0 for silence.
        starts: `(N,)` int64 tensor, first frame of each window in `frames`.
    """

    def __init__(self, rolls, sequence_length=SEQUENCE_LENGTH, stride=STRIDE):
        if sequence_length < 1 or stride < 1:
            raise ValueError("sequence_length and stride are frames, 1 or more")
        self.sequence_length = sequence_length
        self.stride = stride
        self.frames, piece_starts, lengths = all_frames(rolls)
        starts = [
            np.arange(start, start + length - sequence_length, stride) for start, length in zip(piece_starts, lengths)
        ]
        self.starts = torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *starts]))

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        window = self.windows(self.starts[i].reshape(1))[0]  # (sequence_length + 1, P)
        return window[:-1], window[1:]

    def windows(self, starts, semitones=None, velocities=False):
        """The windows at some frames, in one gather.

        Args:
            starts: `(B,)` int64 tensor, first frame of each window.
            semitones: `(B,)` int64 tensor, how far to move each window up (or down, below 0); `None` for not
                at all. Notes that leave the keyboard are left out, nothing comes in at the other end.
            velocities: whether to give velocity bins; default which keys are down.

        Returns:
            `(B, sequence_length + 1, P)` float32 in {0, 1}; with `velocities` uint8 bins, 0 where a key is up.
        """
        T, P = self.sequence_length + 1, self.frames.shape[1]
        # Row s of this view is frames[s : s + T] flattened: the rows overlap, nothing is copied.
        rows = self.frames.as_strided((len(self.frames) - T + 1, T * P), (P, 1))
        window = rows.index_select(0, starts).view(-1, T, P)
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
        shuffle: whether each epoch has an order of its own.
        seed: int.
        device: where the frames lie and batches are made, default CPU.
        transpose: semitones, default 0. Each window is moved by its own whole number of them, drawn evenly
            from `-transpose` to `transpose` and anew in each epoch. Notes that leave the keyboard are left out.
        velocities: whether batches hold velocity bins; default which keys are down.

    Attributes:
        windows, predicted: windows of an epoch, and frames that are predicted in them.

    Raises:
        ValueError: no window at all, or a `transpose` below 0 or as wide as the keyboard.
    """

    def __init__(
        self, dataset, batch_size=BATCH_SIZE, shuffle=True, seed=0, device="cpu", transpose=0, velocities=False
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; use 1 or more windows")
        _check_transpose(transpose, dataset.frames)
        if len(dataset) == 0:
            raise ValueError(
                f"no piece is longer than {dataset.sequence_length} frames, so there is no window to train on; "
                "use longer pieces or a smaller sequence_length"
            )
        dataset.frames, dataset.starts = dataset.frames.to(device), dataset.starts.to(device)
        self.dataset, self.batch_size, self.shuffle, self.seed = dataset, batch_size, shuffle, seed
        self.transpose, self.velocities = transpose, velocities
        self.windows, self.predicted = len(dataset), len(dataset) * dataset.sequence_length

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def epoch(self, epoch, first=0):
        """Yield the batches of an epoch.

        Args:
            epoch: int, 0 or above.
            first: number of the batch to begin with.

        Yields:
            `(x, y)`, each `(B, T, P)` float32 in {0, 1}; with `velocities` uint8 bins.
        """
        device = self.dataset.starts.device
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.arange(len(self.dataset))
        if self.shuffle:
            order = torch.randperm(len(self.dataset), generator=generator)
        starts = self.dataset.starts[order.to(device)].split(self.batch_size)
        semitones = [None] * len(starts)
        if self.transpose:
            drawn = torch.randint(-self.transpose, self.transpose + 1, (len(order),), generator=generator)
            semitones = drawn.to(device).split(self.batch_size)
        for i in range(first, len(starts)):
            window = self.dataset.windows(starts[i], semitones[i], self.velocities)
            yield window[:, :-1], window[:, 1:]


class PieceBatches:
    """Batches that run along pieces, so that a model's state can be carried from each to the next.

    Row b of a batch goes on where row b of the batch before stopped. When its piece is over, silence fills up the row
    (`valid` is `False` there), and in the next batch another piece begins in it (`begins`). An epoch reads every piece
    once, from its first frame to its last. Which pieces share a row depends on their lengths only, so that all rows
    are about equally long; their order and transposition depend on seed and epoch. So a run that is resumed in the
    middle sees the batches that it would have seen.

    Notebook: A3_scaling

    Args:
        rolls: `RollSplit`, or a list of `(T, P)` arrays of values in [0, 1].
        sequence_length: frames T of a window, default 64.
        batch_size: rows, default 64; fewer if there are fewer pieces.
        seed: int.
        device: where the frames lie and batches are made, default CPU.
        transpose: semitones, default 0. As in `Batches`, but each piece is moved as a whole.

    Attributes:
        windows, predicted: windows of an epoch, and frames that are predicted in them.

    Raises:
        ValueError: no piece of two frames, a size below 1, or a `transpose` that `Batches` would refuse.
    """

    def __init__(
        self, rolls, sequence_length=SEQUENCE_LENGTH, batch_size=BATCH_SIZE, seed=0, device="cpu", transpose=0
    ):
        frames, self.starts, self.lengths = all_frames(rolls)
        if sequence_length < 1 or batch_size < 1:
            raise ValueError("sequence_length and batch_size are 1 or more")
        _check_transpose(transpose, frames)
        self.frames, self.sequence_length = frames.to(device), sequence_length
        self.seed, self.transpose = seed, transpose
        self.counts = -(-(self.lengths - 1).clip(0) // sequence_length)  # windows of each piece
        pieces = [i for i in np.argsort(-self.counts, kind="stable").tolist() if self.counts[i]]
        if not pieces:
            raise ValueError("no piece has two frames, so there is nothing to predict; use longer pieces")
        self.rows = [[] for _ in range(min(batch_size, len(pieces)))]
        lengths = np.zeros(len(self.rows), dtype=np.int64)
        for piece in pieces:  # the longest first, each into the shortest row
            row = int(lengths.argmin())
            self.rows[row].append(piece)
            lengths[row] += self.counts[piece]
        self._steps = int(lengths.max())
        self.windows, self.predicted = int(self.counts.sum()), int((self.lengths - 1).clip(0).sum())

    def __len__(self):
        return self._steps

    def epoch(self, epoch, first=0):
        """Yield the batches of an epoch.

        Args:
            epoch: int, 0 or above.
            first: number of the batch to begin with.

        Yields:
            `(x, y, valid, begins)`: velocity bins, `(B, T, P)` uint8 each; `(B, T)` bool, which frames of `y` are
            frames of the piece; `(B,)` bool, where the first frame of `x` is the first of a piece.
        """
        T, device = self.sequence_length, self.frames.device
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        start, end, semitones = torch.zeros(3, len(self.rows), len(self), dtype=torch.int64)
        begins = torch.zeros(len(self.rows), len(self), dtype=torch.bool)
        for b, pieces in enumerate(self.rows):
            at = 0
            for i in torch.randperm(len(pieces), generator=generator).tolist():
                piece, count = pieces[i], int(self.counts[pieces[i]])
                start[b, at : at + count] = int(self.starts[piece]) + T * torch.arange(count)
                end[b, at : at + count] = int(self.starts[piece] + self.lengths[piece])
                semitones[b, at : at + count] = torch.randint(
                    -self.transpose, self.transpose + 1, (1,), generator=generator
                )
                begins[b, at] = True
                at += count
        start, end, semitones, begins = (table.to(device) for table in (start, end, semitones, begins))
        for i in range(first, len(self)):
            at = start[:, i, None] + torch.arange(T + 1, device=device)  # (B, T + 1)
            inside = at < end[:, i, None]
            window = self.frames[at.clamp(max=len(self.frames) - 1)] * inside[:, :, None]  # (B, T + 1, P)
            if self.transpose:
                window = _transposed(window, semitones[:, i])
            x, y = window[:, :-1], window[:, 1:]
            yield x, y, inside[:, 1:], begins[:, i]


def _transposed(window, semitones):
    """`(B, T, P)` moved up by `(B,)` semitones each; what leaves the keyboard is left out."""
    _, T, P = window.shape
    key = torch.arange(P, device=window.device) - semitones[:, None]  # (B, P): where each key comes from
    inside = (key >= 0) & (key < P)
    return window.gather(2, key.clamp(0, P - 1)[:, None].expand(-1, T, -1)).mul_(inside[:, None])


def _check_transpose(transpose, frames):
    if not 0 <= transpose < frames.shape[1]:
        raise ValueError(f"transpose is {transpose}; use semitones, 0 to {frames.shape[1] - 1}")


def all_frames(rolls):
    """Piano rolls end to end.

    Args:
        rolls: `RollSplit`, or a list of `(T, P)` arrays: velocities in [0, 1], or whole numbers, which are bins.

    Returns:
        `(frames, starts, lengths)`: uint8 tensor `(F, P)` of velocity bins, 0 for silence (of a `RollSplit` it shares
        the memory), and int64 arrays: the first frame and the number of frames of each piece.

    Raises:
        ValueError: rolls of different widths, or not two-dimensional.
    """
    if hasattr(rolls, "frames"):
        return torch.from_numpy(rolls.frames), rolls.starts, rolls.lengths
    rolls = [np.asarray(roll) for roll in rolls]
    for roll in rolls:
        if roll.ndim != 2 or roll.shape[1] != rolls[0].shape[1]:
            raise ValueError(f"rolls have the shape (T, P), all with the same P; one has {roll.shape}")
    lengths = np.array([len(roll) for roll in rolls], dtype=np.int64)
    frames = np.concatenate(rolls) if rolls else np.zeros((0, NUM_PITCHES), np.uint8)
    if frames.dtype.kind == "f":
        bins = MIDI_CONFIG["velocity_bins"]
        frames = np.where(frames > 0, np.clip(np.rint(frames * bins), 1, bins), 0)
    return torch.from_numpy(frames.astype(np.uint8)), np.cumsum(lengths) - lengths, lengths
