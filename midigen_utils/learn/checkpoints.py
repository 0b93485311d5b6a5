"""Checkpoints: a trained model on disk, and back."""

import io
import os
import zipfile
from pathlib import Path
from pickle import UnpicklingError

import torch

from .. import config, files
from ..models.last_frame import LastFrame
from ..models.lstm import MusicLSTM
from ..models.mamba import MusicMamba

MODELS = {"MusicMamba": MusicMamba, "MusicLSTM": MusicLSTM, "LastFrame": LastFrame}
KEYS = {"epoch": int, "model_state_dict": dict, "optimizer_state_dict": dict, "val_loss": (int, float)}
EXTRAS = {"midi_config": dict, "model": str, "model_config": dict, "version": str, "corpus": str}
EXTRAS |= {"all_instruments": bool, "settings": dict, "history": list}


def save_checkpoint(path, model, optimizer, epoch, val_loss, **extras):
    """Write a checkpoint atomically.

    Args:
        path: where to; its folder is made.
        model, optimizer: their `state_dict()`s are kept, and the model's name and `config`.
        epoch: last epoch that was completed, counted from 0; -1 for none.
        val_loss: validation loss in nats per frame.
        extras: more entries, of plain types and tensors only.

    Raises:
        OSError: nothing can be written there; what was there is as before.
    """
    about = {"model": type(model).__name__, "model_config": dict(model.config), "version": config.version()}
    state = {"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    _write({"epoch": epoch, **state, "val_loss": float(val_loss), **about, **extras}, path)


def load_checkpoint(path):
    """Read a checkpoint onto the CPU. Nothing in it is ever run (`weights_only=True`).

    Args:
        path: of a file that `save_checkpoint` wrote, or of one with the four keys `epoch`, `model_state_dict`,
            `optimizer_state_dict`, `val_loss`. Or the name of weights that come with the course: `"bach"`,
            `"composer/00"` to `"composer/05"`; in a clone also `"mamba"` and `"lstm"`.

    Returns:
        The dict; with the course's `MIDI_CONFIG` as `midi_config` if it names none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, cut off, or with objects that are not plain data.
    """
    for folder in (files.PRETRAINED, files.MIDI_DATA / "pretrained"):
        if not Path(path).exists() and (folder / f"{path}.pt").is_file():
            path = folder / f"{path}.pt"
    if not Path(path).is_file() and Path(path).stem in ("mamba", "lstm"):
        raise FileNotFoundError(
            f"{path}: these weights come with a clone or a class's ZIP, not with the package alone, whose licence they "
            'do not share; take "bach" instead, or put them into midi_data/pretrained'
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no checkpoint there; train first (`make train`), or give the path of one")
    try:
        damaged = _damaged_part(path)
        if not damaged:  # at first without the numbers: one of torch's errors prints all that it has read
            torch.load(path, map_location="meta", weights_only=True)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise ValueError(
            f"{path}: refused, it holds more than plain data and could run code when loaded; "
            "save tensors, numbers, text, lists and dicts only"
        ) from None
    except Exception as error:  # whatever a damaged file leads to
        raise ValueError(f"{path}: not a checkpoint, or damaged or cut off ({type(error).__name__})") from None
    if damaged:
        raise ValueError(f"{path}: damaged, {damaged} is not what was written")
    if not isinstance(state, dict) or not KEYS.keys() <= state.keys():
        raise ValueError(f"{path}: no midigen checkpoint, it lacks one of {', '.join(KEYS)}")
    wrong = [name for name, kind in (KEYS | EXTRAS).items() if name in state and not isinstance(state[name], kind)]
    try:
        if wrong:
            raise ValueError(f"{wrong[0]} is not what it should be")
        config.check_config(state.setdefault("midi_config", dict(config.MIDI_CONFIG)))
        size = sum(weight.nbytes for weight in state["model_state_dict"].values())
        if size > 2 * os.path.getsize(path):  # one number of the file that stands for many weights
            raise ValueError("its weights are larger than the file")
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: no midigen checkpoint, or damaged: {error}") from None
    return state


def load_model(path=None, device=None, model_class=None):
    """The model of a checkpoint, ready to generate.

    Notebook: 05_generation_and_playback

    Args:
        path: of a checkpoint, or a name such as `"bach"`, as `load_checkpoint`; default `midi_data/best_model.pt`.
            One that does not name its model is tried as each of ours of default size.
        device: `torch.device`, default the CPU.
        model_class: of a model of your own, a subclass of `FrameModel`.

    Returns:
        The model, in `eval` mode.

    Raises:
        FileNotFoundError, ValueError: as `load_checkpoint`, or weights of another model.
    """
    path = path or files.MIDI_DATA / "best_model.pt"
    state = load_checkpoint(path)
    name, written = state.get("model"), state.get("version", config.version())
    other = "" if written == config.version() else f" (written by midigen {written}, this is {config.version()})"
    if model_class is None and name is not None and name not in MODELS:
        raise ValueError(
            f"{path}: a checkpoint of {name}{other}; this version knows {', '.join(MODELS)}. If {name} is a model of "
            f"your own, give its class: load_model(path, model_class={name})"
        )
    for candidate in [model_class or MODELS[name]] if model_class or name else MODELS.values():
        try:
            model = _build(candidate, state)
        except Exception as error:  # whatever weights and options that do not fit lead to
            problem = error
        else:
            return model.to(device or "cpu").eval()
    raise ValueError(f"{path}: weights of another model{other}; {str(problem)[:300]}")


def export_model(path, output):
    """Write a checkpoint `output` that is small enough to share, from that of `path`; returns its size in bytes.

    Its weights have half precision, its optimiser is a fresh one. `load_model` gives a model of ordinary precision from
    it, and `fit` trains that one further.

    Raises:
        FileNotFoundError, ValueError: as `load_checkpoint`.
    """
    state = load_checkpoint(path)
    state["model_state_dict"] = {name: weight.half() for name, weight in state["model_state_dict"].items()}
    state["optimizer_state_dict"]["state"] = {}
    _write({name: state[name] for name in (*KEYS, *EXTRAS) if name in state}, output)
    return Path(output).stat().st_size


def _build(model_class, state):
    """The model of a checkpoint, laid out without memory first, so that a file cannot ask for more than it holds."""
    options, weights = state.get("model_config", {}), state["model_state_dict"]
    if any("layers" in name and value > len(weights) for name, value in options.items()):
        raise ValueError(f"{len(weights)} weights for {options}")
    if not all(isinstance(value, (int, float, str, type(None))) for value in options.values()):
        raise ValueError(f"not the arguments of a model: {options}")
    with torch.device("meta"):
        outline = model_class(**options)
    outline.load_state_dict({name: weight.to("meta") for name, weight in weights.items()})
    model = model_class(**options)
    model.load_state_dict(weights)
    return model


def _damaged_part(path):
    """The first part of a checkpoint that differs from its check sum, which torch.load ignores; `None` if all agree."""
    with zipfile.ZipFile(path) as archive:
        packed = next((info.filename for info in archive.infolist() if info.file_size > info.compress_size), None)
        return packed or archive.testzip()  # torch compresses nothing: a few bytes cannot become gigabytes


def _write(state, path):
    with files.atomic_write(path) as temporary, open(temporary, "wb") as file:
        whole = io.BytesIO()  # not into the file: of a disk that fills up on the way, torch makes an error of its own
        torch.save(state, whole)
        file.write(whole.getbuffer())
        file.flush()
        os.fsync(file.fileno())  # or a power cut after the rename could leave a file that is half written
