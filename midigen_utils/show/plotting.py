"""Figures in one look: time in seconds, keys as note names, colours that colour-blind readers can tell apart.

Every `plot_` function returns `(fig, ax)`. Those of one panel take `ax`, the matplotlib axes to draw on; by default
they make a figure. A `config` is `MIDI_CONFIG` (the default) or a dict with its keys.
"""

import io

import numpy as np

from ..config import MIDI_CONFIG, count_keys

# Okabe and Ito's palette, safe for colour-blind readers: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#767676"
SEED_COLOUR, MUSIC_COLOUR = ORANGE, BLUE
NOTE_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def note_name(pitch):
    """The name of a MIDI note, an int 0..127, sharps only: 60 is "C4", middle C, and 58 "A♯3"."""
    return f"{NOTE_NAMES[pitch % 12]}{pitch // 12 - 1}"


def plot_piano_roll(piano_roll, config=MIDI_CONFIG, ax=None, seed_frames=0, title=None, pitch_range=None):
    """Draw a piano roll: seconds to the right, keys upwards, the louder the darker.

    Notebook: 02_piano_roll

    Args:
        piano_roll: `(T, P)` floats in [0, 1].
        seed_frames: frames at the beginning that the model was given; drawn in another colour.
        title: text above.
        pitch_range: lowest and highest MIDI note shown; `None` takes the octaves that have notes.

    Raises:
        ValueError: not a `(T, P)` roll of this config.
    """
    roll = np.asarray(piano_roll, dtype=np.float32)
    low, high, fs = config["min_pitch"], config["max_pitch"], config["fs"]
    if roll.ndim != 2 or roll.shape[1] != count_keys(config):
        raise ValueError(f"a piano roll has the shape (T, {count_keys(config)}), time first; this one has {roll.shape}")
    fig, ax = _axes(ax)
    from matplotlib.colors import to_rgb

    image = np.zeros((*roll.shape, 4), dtype=np.float32)  # (T, P, RGBA)
    image[:seed_frames, :, :3] = to_rgb(SEED_COLOUR)
    image[seed_frames:, :, :3] = to_rgb(MUSIC_COLOUR)
    image[..., 3] = np.where(roll > 0, 0.25 + 0.75 * np.clip(roll, 0, 1), 0)
    extent = (0, len(roll) / fs, low - 0.5, high + 0.5)
    ax.imshow(image.swapaxes(0, 1), origin="lower", aspect="auto", interpolation="nearest", extent=extent)
    bottom, top = pitch_range or _octaves(roll, config)
    ax.set_ylim(bottom - 0.5, top + 0.5)
    _name_keys(ax.yaxis, bottom, top)
    ax.set(xlabel="time (s)", ylabel="key")
    ax.set_title(title or "", parse_math=False)  # of a file, perhaps: a dollar in it is a dollar
    ax.grid(axis="y", linewidth=0.5, alpha=0.4)
    if 0 < seed_frames < len(roll):
        ax.set_ylim(top=top + 0.08 * (top - bottom) + 0.5)  # room for the two words
        ax.axvline(seed_frames / fs, color=GREY, linewidth=1, linestyle="--")
        for x, align, text, colour in ((-4, "right", "seed", SEED_COLOUR), (4, "left", "generated", MUSIC_COLOUR)):
            ax.annotate(
                text, (seed_frames / fs, 1), (x, -4), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha=align, va="top", color=colour, fontweight="bold", fontsize="small",
            )  # fmt: skip
    return fig, ax


def plot_two_rolls(first, second, config=MIDI_CONFIG, titles=("", "")):
    """Draw two rolls one above the other, on the same time and key axes.

    Notebook: 02_piano_roll

    Args:
        first, second: `(T, P)` floats in [0, 1]; their lengths may differ.
        titles: two texts.

    Returns:
        `(fig, ax)` with an array of two axes.
    """
    fig, ax = _two_panels()
    ranges = [_octaves(np.asarray(roll), config) for roll in (first, second)]
    pitch_range = min(low for low, _ in ranges), max(high for _, high in ranges)
    for axes, roll, title in zip(ax, (first, second), titles):
        plot_piano_roll(roll, config, axes, title=title, pitch_range=pitch_range)
    ax[0].set_xlim(0, max(len(first), len(second)) / config["fs"])
    ax[0].set_xlabel("")
    return fig, ax


def plot_delta(delta, piano_roll, config=MIDI_CONFIG, labels=None):
    """The Mamba's step size Δ above the music it reads: large where it writes the frame into its state.

    Notebook: 04_mamba

    Args:
        delta: `(lines, T)` floats above 0, for instance the mean over channels of each layer.
        piano_roll: `(T, P)` floats in [0, 1], the same frames.
        labels: one text a line; `None` for no legend.

    Returns:
        `(fig, ax)` with an array of two axes.

    Raises:
        ValueError: `delta` and the roll have not the same number of frames.
    """
    delta = np.asarray(delta)
    if delta.shape[-1] != len(piano_roll):
        raise ValueError(f"delta has {delta.shape[-1]} frames, the roll {len(piano_roll)}")
    fig, ax = _two_panels()
    seconds = (np.arange(len(piano_roll)) + 0.5) / config["fs"]
    ax[0].set_prop_cycle(color=(BLUE, ORANGE, GREEN, PINK, GREY))
    ax[0].plot(seconds, delta.T, linewidth=1.2, label=labels)
    ax[0].set(ylabel="step size Δ", yscale="log")
    ax[0].grid(linewidth=0.5, alpha=0.4)
    if labels:
        ax[0].legend(frameon=False, fontsize="small", ncols=len(labels), loc="lower left", bbox_to_anchor=(0, 1))
    plot_piano_roll(piano_roll, config, ax[1])
    return fig, ax


def plot_history(history, baselines=None, ax=None):
    """Training and validation loss over the epochs, with what has to be beaten.

    Notebook: 03_lstm_baseline

    Args:
        history: list of dicts with `epoch`, `train_loss` and `val_loss` (nats per frame).
        baselines: dict from a name to its loss in nats per frame, drawn as level lines.
    """
    fig, ax = _axes(ax)
    epochs, train, validation = ([float(row[key]) for row in history] for key in ("epoch", "train_loss", "val_loss"))
    marker = "o" if len(epochs) < 40 else None
    ax.plot(epochs, train, color=BLUE, linestyle="--", marker=marker, markersize=3, label="training")
    ax.plot(epochs, validation, color=ORANGE, marker=marker, markersize=3, label="validation")
    if history and np.isfinite(validation).any():
        best = int(np.nanargmin(validation))
        label = f"best: {validation[best]:.2f}"
        ax.plot(epochs[best], validation[best], "*", color=ORANGE, markersize=12, label=label)
    for i, (name, loss) in enumerate((baselines or {}).items()):
        ax.axhline(loss, color=(GREEN, PINK, GREY)[i % 3], linewidth=1.2, linestyle=":", label=f"{name}: {loss:.2f}")
    ax.set(xlabel="epoch", ylabel="loss (nats per frame)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(linewidth=0.5, alpha=0.4)
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return fig, ax


def plot_histogram(values, bins, xlabel, reference, labels, note_names=False, ax=None):
    """How often each value occurs, in percent, and beside it a reference.

    Notebook: 01_data_exploration

    Args:
        values: `(N,)` numbers.
        bins: `(K + 1,)` edges, half-open `[edge, next)`; the last bin is closed.
        xlabel: what the values are, with the unit.
        reference: `(K,)` counts of another corpus in the same bins, drawn as a line.
        labels: names of the two.
        note_names: the values are MIDI notes: label the Cs. A bin then is `[pitch - 0.5, pitch + 0.5)`.

    Raises:
        ValueError: the reference has not one count a bin.
    """
    fig, ax = _axes(ax)
    counts, edges = np.histogram(values, bins)
    if len(reference) != len(counts):
        raise ValueError(f"{len(reference)} reference counts for {len(counts)} bins")
    share, of_reference = (100 * np.asarray(n) / max(np.sum(n), 1) for n in (counts, reference))
    ax.stairs(share, edges, fill=True, color=BLUE, alpha=0.75, label=labels[0])
    ax.stairs(of_reference, edges, color=ORANGE, linewidth=1.5, label=labels[1])
    ax.legend(frameon=False, fontsize="small")
    if note_names:
        _name_keys(ax.xaxis, int(np.ceil(edges[0])), int(edges[-1]))
    ax.set(xlabel=xlabel, ylabel="share (%)", xlim=(edges[0], edges[-1]))
    ax.grid(axis="y", linewidth=0.5, alpha=0.4)
    ax.set_axisbelow(True)
    return fig, ax


def bare_figure(width, height):
    """`(fig, ax)`, in inches, that pyplot does not know, so that a notebook does not show it by itself."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots()


def figure_png(fig, dpi=100):
    """A figure as the bytes of a PNG with 64 colours: small, and the same for the same figure.

    Args:
        fig: matplotlib figure.
        dpi: pixels per inch, default 100.
    """
    from PIL import Image  # comes with matplotlib

    full, small = io.BytesIO(), io.BytesIO()
    fig.savefig(full, format="png", dpi=dpi, facecolor="white")
    Image.open(full).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def _axes(ax):
    """The axes given and their figure, or those of a new figure."""
    if ax is not None:
        return ax.figure, ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(10, 3), layout="constrained")


def _two_panels():
    import matplotlib.pyplot as plt

    return plt.subplots(2, 1, figsize=(10, 5), sharex=True, layout="constrained")


def _octaves(roll, config):
    """Lowest and highest key of the octaves C to B that have notes; two octaves at least."""
    keys = np.flatnonzero((roll > 0).any(axis=0)) + config["min_pitch"]
    low, high = (keys[0], keys[-1]) if len(keys) else (60, 60)
    low, high = low // 12 * 12, high // 12 * 12 + 11
    if high - low < 23:
        low -= 12
    return max(low, config["min_pitch"]), min(high, config["max_pitch"])


def _name_keys(axis, low, high):
    """Label every C of an axis in MIDI notes."""
    cs = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    axis.set_ticks(cs, [note_name(pitch) for pitch in cs])
