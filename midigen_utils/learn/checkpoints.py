"""Checkpoints: a trained model on disk, and back."""

import os
import pickle
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from .. import config, files
from ..models.lstm import MusicLSTM
from ..models.mamba import MusicMamba
from .parallel import processes

MODELS = {"MusicMamba": MusicMamba, "MusicLSTM": MusicLSTM}
WORDS = ("s6", "ssd", "keys", "chords")  # in the config of a model; all else in it is numbers
NUMBERS = (bool, int, float, type(None))

KINDS = {  # of the entries of a checkpoint
    "epoch": int,
    "model_state_dict": dict,
    "optimizer_state_dict": dict,
    "val_loss": (int, float),
    "midi_config": dict,
    "model": str,
    "model_config": dict,
    "settings": dict,
    "history": list,
    "step": int,
    "corpus": str,
    "all_instruments": bool,
}


LAST, PREVIOUS, BEST = "last_model.pt", "previous_model.pt", "best_model.pt"  # what `fit` writes


def save_checkpoint(path, model, optimizer, epoch, val_loss, previous=None, **extras):
    """Write a checkpoint: to a temporary file first, which is then renamed.

    Args:
        path: where to; its folder is made.
        model, optimizer: their `state_dict()`s are kept, and the model's name and `config`.
        epoch: last epoch that was completed, counted from 0; -1 for none.
        val_loss: validation loss in nats per frame.
        previous: path under which the checkpoint that is there now is kept; default: the new one replaces it.
        extras: more entries, of plain types and tensors only.
    """
    state = {
        "epoch": epoch,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "val_loss": float(val_loss),
        "model": type(model).__name__,
        "model_config": dict(model.config),
        "version": _version(),
        **extras,
    }
    _write(state, path, previous)


def load_checkpoint(path):
    """Read a checkpoint onto the CPU. Nothing in it is ever run (`weights_only=True`).

    Args:
        path: of a file that `save_checkpoint` wrote, or of one with the four keys
            `epoch`, `model_state_dict`, `optimizer_state_dict`, `val_loss`.

    Returns:
        The dict; with the course's `MIDI_CONFIG` as `midi_config` if it names none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no checkpoint, cut off, or with objects that are not plain data.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no checkpoint there; train first (`make train`), or give the path of one")
    try:
        damaged = _damaged_part(path)
        if not damaged:
            if zipfile.is_zipfile(path):  # without the numbers first: an error of torch's may print all it has read
                torch.load(path, map_location="meta", weights_only=True)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path}: refused, it holds more than plain data and could run code when loaded; "
            "save tensors, numbers, text, lists and dicts only"
        ) from None
    except Exception as error:
        raise ValueError(f"{path}: not a checkpoint, or damaged or cut off ({type(error).__name__})") from None
    if damaged:
        raise ValueError(f"{path}: damaged, {damaged} is not what was written")
    missing = {"epoch", "model_state_dict", "optimizer_state_dict", "val_loss"} - set(
        state if isinstance(state, dict) else ()
    )
    if missing:
        raise ValueError(f"{path}: no midigen checkpoint, it lacks {', '.join(sorted(missing))}")
    state.setdefault("midi_config", dict(config.MIDI_CONFIG))
    wrong = [name for name, kind in KINDS.items() if name in state and not isinstance(state[name], kind)]
    wrong += [name for name, value in state["model_state_dict"].items() if not _is_weight(value)] if not wrong else []
    if wrong:
        raise ValueError(f"{path}: no midigen checkpoint, or damaged: {str(wrong[0])[:80]} is not what it should be")
    try:
        config.check_config(state["midi_config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its midi_config cannot be used: {error}") from None
    return state


def load_last(folder):
    """The checkpoint to resume from: `last_model.pt`; if that one is damaged the one before it, or the best.

    The one before it then takes the name `last_model.pt`, so that the next save keeps it.

    Args:
        folder: `Path` of a run of `fit`.

    Returns:
        The dict of `load_checkpoint`.

    Raises:
        FileNotFoundError: nothing to go on from.
        ValueError: all are damaged.
    """
    if not can_resume(folder):
        raise FileNotFoundError(f"{folder / LAST}: nothing to go on from; train first, without resume")
    problems = []
    for name in (LAST, PREVIOUS, BEST):
        try:
            state = load_checkpoint(folder / name)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error) if (folder / name).is_file() else f"{folder / name} is missing")
            continue
        if problems:
            epoch, step = state["epoch"] + 1, state.get("step", 0)
            place = f"in epoch {epoch + 1}, after step {step}" if step else f"after epoch {epoch}"
            print(f"{problems[0]}. Going on from {name} instead, {place}.")
        if name == PREVIOUS:  # else the next save would put the damaged one in the place of this one
            os.replace(folder / PREVIOUS, folder / LAST)
        return state
    raise ValueError(f"{problems[0]}; neither {PREVIOUS} nor {BEST} can stand in for it: train anew, without resume")


def can_resume(folder):
    """Whether a training has left a checkpoint to go on from (without the last it was stopped between two renames)."""
    return any((folder / name).is_file() for name in (LAST, PREVIOUS))


def load_model(path=None, device=None):
    """The model of a checkpoint, ready to generate.

    Notebook: 05_generation_and_playback

    Args:
        path: of a checkpoint, default `midi_data/best_model.pt`. One that does not name
            its model is tried as a `MusicMamba` and a `MusicLSTM` of default size.
        device: `torch.device`, default the CPU.

    Returns:
        The model, in `eval` mode.

    Raises:
        FileNotFoundError, ValueError: as `load_checkpoint`, or weights of another model.
    """
    path = path or files.MIDI_DATA / "best_model.pt"
    state = load_checkpoint(path)
    name = state.get("model")
    if name is not None and name not in MODELS:
        raise ValueError(
            f"{path}: a checkpoint of {name}{_other_version(state)}; this version knows {', '.join(MODELS)}"
        )
    for candidate in [name] if name else MODELS:
        try:
            options = state.get("model_config", {})
            weights = state["model_state_dict"]
            layers = max(options.get("n_layers", 1), options.get("num_layers", 1))
            if layers > len(weights) or not all(
                value in WORDS or isinstance(value, NUMBERS) for value in options.values()
            ):
                raise ValueError(f"{len(weights)} weights for {options}")
            with torch.device("meta"):  # shapes alone: whatever sizes the file asks for, they take no memory
                outline = MODELS[candidate](**options)
            outline.load_state_dict({name: weight.to("meta") for name, weight in weights.items()})
            parts = {weight.untyped_storage().data_ptr(): weight.untyped_storage() for weight in weights.values()}
            if sum(weight.nbytes for weight in weights.values()) > sum(part.nbytes() for part in parts.values()):
                raise ValueError("some of them are the same numbers in the file")
            model = MODELS[candidate](**options)
            model.load_state_dict(weights)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            problem = error
            continue
        return model.to(device or "cpu").eval()
    raise ValueError(f"{path}: weights of another model{_other_version(state)}; {str(problem)[:300]}")


def export_model(path, output):
    """Write a checkpoint that is small enough to share: weights of half precision, the state of a fresh optimiser.

    `load_model` gives a model of ordinary precision from it, and `fit` trains that one further.

    Args:
        path: of a checkpoint of `fit`.
        output: where to.

    Returns:
        The size of the new file in bytes.

    Raises:
        FileNotFoundError, ValueError: as `load_model`.
    """
    load_model(path)  # says what is wrong, if something is
    state = load_checkpoint(path)
    state["model_state_dict"] = {name: weight.half() for name, weight in state["model_state_dict"].items()}
    state["optimizer_state_dict"]["state"] = {}
    kept = ("epoch", "model_state_dict", "optimizer_state_dict", "val_loss")
    about = ("model", "model_config", "version", "midi_config", "corpus", "all_instruments", "settings", "history")
    try:
        _write({name: state[name] for name in (*kept, *about) if name in state}, output)
    except (TypeError, AttributeError, RecursionError, pickle.PicklingError) as error:
        raise ValueError(f"{path}: holds what cannot be written again ({error})") from None
    return Path(output).stat().st_size


def restore_run(model, optimizer, scaler, state, settings):
    """Put a model, an optimiser, a scaler and the random numbers back to where a checkpoint of `fit` left them.

    Raises:
        ValueError: the checkpoint is of another model, of other settings, or of no run of `fit`.
    """
    if state.get("model") != type(model).__name__ or state.get("model_config") != model.config:
        raise ValueError(
            f"cannot resume: the checkpoint is of {state.get('model')}{state.get('model_config')}, "
            f"the model is {type(model).__name__}{model.config}"
        )
    if not {"settings", "history", "step", "total", "scaler_state_dict", "rng_state", "cuda_rng_state"} <= state.keys():
        raise ValueError(
            "cannot resume: the checkpoint holds a model, but not where its training stopped" + _other_version(state)
        )
    other = [
        f"{name} was {state['settings'].get(name)}, now {settings.get(name)}"
        for name in {**state["settings"], **settings}
        if state["settings"].get(name) != settings.get(name)
    ]
    if other:
        raise ValueError(f"cannot resume with other settings or data ({'; '.join(other)}): use those of before")
    try:
        if not _goes_together(state):
            raise ValueError("its history and the place where it stopped do not go together")
        model.load_state_dict(state["model_state_dict"])
        ours = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizer_state_dict"])
        for group, its in zip(optimizer.param_groups, ours):  # of this version and device, not the file's
            group.update(its)
        for p, moments in optimizer.state.items():
            both = moments["exp_avg"], moments["exp_avg_sq"]
            if moments["step"] < 0 or not all(_is_weight(moment) and moment.shape == p.shape for moment in both):
                raise ValueError("the optimiser's state is of other weights")
        if state["scaler_state_dict"]:  # a device that needs none, such as the CPU, saves none
            scaler.load_state_dict(state["scaler_state_dict"])
        torch.set_rng_state(state["rng_state"])
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        problem = f"{type(error).__name__}: {str(error)[:200]}"
        raise ValueError(f"cannot resume: the checkpoint is damaged{_other_version(state)} ({problem})") from None
    if torch.cuda.is_available() and state["cuda_rng_state"]:
        states = state["cuda_rng_state"]  # of the first process, whose GPU is the first; all draw what it draws
        if processes() > 1:
            states = states[:1] * torch.cuda.device_count()
        for device, one in zip(range(torch.cuda.device_count()), states):  # there may have been more GPUs, or fewer
            torch.cuda.set_rng_state(one, device)
    if torch.backends.mps.is_available() and state.get("mps_rng_state") is not None:
        torch.mps.set_rng_state(state["mps_rng_state"])


def _goes_together(state):
    """Whether the history has a row of numbers for each epoch, and no other."""
    numbers = [row[name] for row in state["history"] for name in ("epoch", "train_loss", "val_loss", "seconds")]
    numbers += [state["total"]]
    return (
        len(state["history"]) == state["epoch"] + 1
        and 0 <= state["step"] <= state["settings"]["windows"]
        and all(isinstance(number, (int, float)) for number in numbers)
    )


def keep_earlier_run(folder):
    """A new run does not destroy an old one: its files get another name (those of the run before it are replaced)."""
    for name in files_of_a_run(folder):
        os.replace(folder / name, folder / f"earlier_{name}")


def files_of_a_run(folder):
    """Names of the files of a run of `fit` that are in a folder."""
    return [name for name in (PREVIOUS, BEST, LAST, "history.csv") if (folder / name).is_file()]


def run_state(scaler, history, step, total, carried, settings, midi_config):
    """What a resumed run needs beside the weights: random numbers, place in the epoch, carried states."""
    return {
        "history": history,
        "step": step,
        "total": total,
        "carried": carried,
        "settings": settings,
        "midi_config": {name: value.item() if hasattr(value, "item") else value for name, value in midi_config.items()},
        "scaler_state_dict": scaler.state_dict(),
        "rng_state": torch.get_rng_state(),
        "cuda_rng_state": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps_rng_state": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def _is_weight(value):
    if not torch.is_tensor(value) or value.layout != torch.strided or value._backward_hooks:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()  # as large as it says


def _damaged_part(path):
    """The first part of a checkpoint that differs from its check sum, which torch.load ignores; `None` if all agree."""
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            return None
        archive = zipfile.ZipFile(file)
        packed = next((info.filename for info in archive.infolist() if info.file_size > info.compress_size), None)
        return packed or archive.testzip()  # torch compresses nothing: a few bytes cannot become gigabytes


def _write(state, path, previous=None):
    with files.atomic_write(path) as temporary:
        with open(temporary, "wb") as file:
            torch.save(state, file)  # into an open file: a full disk is then an OSError that says so
            file.flush()
            os.fsync(file.fileno())  # or a power cut after the renames could leave both names to files half written
        if previous and Path(path).is_file():
            os.replace(path, previous)


def _other_version(state):
    """Words for a message: which version wrote the checkpoint, if it was another one."""
    written = state.get("version", _version())
    return "" if written == _version() else f" (written by midigen {written}, this is {_version()})"


def _version():
    try:
        return version("midigen")
    except PackageNotFoundError:
        return "unknown"
