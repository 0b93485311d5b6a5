"""The studio: compose in the notebook with a few controls, and see the Python that does the same.

Its controls are those of ipywidgets, so it works in JupyterLab, Notebook 7 and VS Code.
"""

import hashlib
import html
import random
import threading
from pathlib import Path

import ipywidgets as widgets

from .. import files
from ..config import MIDI_CONFIG
from ..data.piano_roll import midi_to_piano_roll
from ..show.player import player
from .compose import FS, Settings, compose, shortest

LAST_TAKES = 6  # how many are kept
YOURS = "your checkpoint"
PIECE, PATTERN, UPLOAD = "a piece of the corpus", "a random pattern", "your own MIDI file"
PYTHON = (  # contained: a long line wraps instead of widening the widget
    '<details open style="contain: inline-size"><summary>The same in Python</summary>'
    '<pre style="margin: 4px 0 16px; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.4">{}</pre>'
    "</details>"
)


def studio(models, corpus):
    """A desk in the notebook: choose a model and a beginning, press Generate, listen, compare.

    Below each take is the Python that makes the same music. Generation runs in a thread: other cells
    can be run meanwhile, and Cancel stops it.

    Notebook: 05_generation_and_playback

    Args:
        models: dict from a name to a model, or to the path of a checkpoint. The path of a checkpoint can also
            be typed into the widget.
        corpus: `Corpus`, as returned by `load_corpus` and `load_piano_rolls`: its pieces can be the seed.

    Returns:
        `Studio`: leave it as the last line of a cell.

    Raises:
        ValueError: `corpus` is not a `Corpus`, or `models` not a dict from names.
    """
    if not getattr(corpus, "pieces", None):
        raise ValueError("corpus is not a Corpus; give what load_corpus or load_piano_rolls returns")
    if not isinstance(models, dict) or not all(isinstance(name, str) for name in models):
        raise ValueError('models is a dict from names to models or checkpoints, such as {"MusicLSTM": lstm}')
    return Studio(models, corpus)


class Studio(widgets.VBox):
    """What `studio` returns: an ipywidgets box of controls and takes.

    Attributes:
        takes: list of the last `Take`s, newest first.
    """

    def __init__(self, models, corpus):
        self.takes, self._count, self._uploaded = [], 0, None
        self._models, self._all_instruments = dict(models), corpus.all_instruments
        self._thread, self._stop = None, threading.Event()
        self._pieces = {}  # composer: list of (label, piece)
        for piece in sorted(corpus.pieces, key=lambda piece: (piece.composer, piece.title, piece.year or 0)):
            about = ", ".join(str(part) for part in (piece.year, piece.split) if part)
            label = f"{piece.title or piece.path.stem} ({about})"
            self._pieces.setdefault(piece.composer or "unknown", []).append((label, piece))
        self._make_controls()
        self._choose(next((piece for piece in corpus.pieces if piece.split == "validation"), corpus.pieces[0]))
        what = (self.model, self.checkpoint, self.seed, self.composer, self.piece, self.upload)
        how = (self.seed_seconds, self.seconds, self.temperature, self.random_seed)
        columns = [widgets.VBox(part, layout={"flex": "1 1 280px", "min_width": "0"}) for part in (what, how)]
        rows, wrap = (columns, (self.generate, self.cancel, self.surprise, self.progress)), {"flex_flow": "row wrap"}
        boxes = [widgets.Box(row, layout={**wrap, "align_items": "flex-start"}) for row in rows]
        super().__init__([*boxes, self.status, self.history])

    def _make_controls(self):
        """The widgets, as attributes, and what happens when they are used."""
        number = "Another number gives another take; the same one, with the same settings, the same music again"
        heat = "Low: what is likely, soon monotonous. High: bold, soon chaotic. 1: as the model was trained"
        begin, last = [PIECE, PATTERN, UPLOAD], shortest(files.MIDI_DATA / "best_model.pt")
        self.model = _control(widgets.Dropdown, "Model", "The network that composes", options=[*self._models, YOURS])
        path = "Path of a checkpoint that `fit` or `make train` has written; empty for the last one trained"
        self.checkpoint = _control(widgets.Text, "Checkpoint", path, placeholder=last)
        self.seed = _control(widgets.Dropdown, "Begin with", "What the model continues", options=begin)
        self.composer = _control(widgets.Dropdown, "Composer", "Whose pieces are listed", options=list(self._pieces))
        self.piece = _control(widgets.Dropdown, "Piece", "The piece; a network is trained only on those marked train")
        upload = {"accept": ".mid,.midi", "layout": {"width": "auto", "margin": "2px 2px 2px 101px"}}
        all_of_it = "A file of yours; all its instruments but drums are played"
        self.upload = widgets.FileUpload(description="Choose a MIDI file", tooltip=all_of_it, **upload)
        self.seed_seconds = _control(widgets.IntSlider, "Seed (s)", "Seconds that are given", value=4, min=1, max=30)
        self.seconds = _control(widgets.IntSlider, "Length (s)", "Seconds that are added", value=20, min=5, max=60)
        self.temperature = _control(widgets.FloatSlider, "Temperature", heat, value=0.8, min=0.3, max=1.5, step=0.05)
        self.random_seed = _control(widgets.BoundedIntText, "Random seed", number, value=0, min=0, max=999_999)
        self.generate = _control(widgets.Button, "Generate", "Compose with these settings", icon="play")
        self.generate.button_style = "primary"
        self.cancel = _control(widgets.Button, "Cancel", "Stop composing; nothing is kept", icon="stop")
        self.surprise = _control(widgets.Button, "Surprise me", "Compose with settings drawn at random", icon="random")
        self.progress = widgets.IntProgress(layout={"flex": "1 1 120px"}, tooltip="How much is composed")
        self.status = widgets.HTML()
        self.history = widgets.VBox(layout={"flex_flow": "column-reverse"})  # a new take does not redraw the others
        self.generate.on_click(lambda _: self._start())
        self.cancel.on_click(lambda _: self._stop.set())
        self.surprise.on_click(lambda _: self._surprise())
        self.composer.observe(lambda _: self._list_pieces(), "value")
        self.upload.observe(lambda _: self._take_upload(), "value")
        for control in (self.model, self.seed):
            control.observe(lambda _: self._show_what_applies(), "value")
        self._list_pieces()
        self._show_what_applies()
        self._set_busy(False)

    def close(self):
        """Remove the widget, and stop composing."""
        self._stop.set()
        super().close()

    # ---- Controls ----

    def _show_what_applies(self):
        for control, applies in (
            (self.checkpoint, self.model.value == YOURS),
            (self.composer, self.seed.value == PIECE),
            (self.piece, self.seed.value == PIECE),
            (self.upload, self.seed.value == UPLOAD),
        ):
            control.layout.display = None if applies else "none"

    def _list_pieces(self):
        self.piece.options = self._pieces[self.composer.value]

    def _choose(self, piece):
        self.composer.value, self.piece.value = piece.composer or "unknown", piece

    def _take_upload(self):
        """Keep an uploaded file below `midi_data`, where the Python under a take finds it again."""
        if not self.upload.value:
            return
        self._uploaded, file = None, self.upload.value[0]
        try:
            content = bytes(file["content"])
            name = f"{files.slug(Path(file['name']).stem)}-{hashlib.sha256(content).hexdigest()[:8]}.mid"
            path = files.MIDI_DATA / "uploads" / name
            with files.atomic_write(path) as temporary:
                temporary.write_bytes(content)
                try:
                    midi_to_piano_roll(temporary, MIDI_CONFIG, all_instruments=True)
                except ValueError as error:
                    raise ValueError(str(error).replace(str(temporary), file["name"])) from None
        except Exception as error:
            self._say_error(error)
        else:
            self._uploaded = path
            self._say(f"{file['name']} is here. Press Generate.")

    def _surprise(self):
        chance = random.Random()
        self.model.value = chance.choice([*self._models] or [YOURS])
        self.seed.value = PIECE
        self._choose(chance.choice([piece for pieces in self._pieces.values() for _, piece in pieces]))
        self.temperature.value = chance.choice([0.7, 0.8, 0.9, 1.0, 1.1])
        self.random_seed.value = chance.randrange(self.random_seed.max)
        self._start()

    def _settings(self):
        """What the controls say at this moment."""
        midi, source, all_instruments = None, PATTERN, False
        if self.seed.value == PIECE:
            midi, all_instruments = self.piece.value.path, self._all_instruments
            source = f"{self.piece.value.composer}: {self.piece.label}".removeprefix(": ")
        elif self.seed.value == UPLOAD:
            if self._uploaded is None:
                raise ValueError("no MIDI file yet: press “Choose a MIDI file”")
            midi, source, all_instruments = self._uploaded, self._uploaded.stem, True
        name = self.model.value
        typed = self.checkpoint.value.strip() or self.checkpoint.placeholder
        return Settings(
            name=Path(typed).name if name == YOURS else name,
            model=typed if name == YOURS else self._models[name],
            midi=midi,
            source=source,
            all_instruments=all_instruments,
            seed_frames=self.seed_seconds.value * FS,
            num_frames=self.seconds.value * FS,
            temperature=round(self.temperature.value, 2),
            random_seed=self.random_seed.value,
        )

    # ---- Composing, in a thread ----

    def _start(self):
        if self._thread is not None and self._thread.is_alive():
            return
        try:
            settings = self._settings()
        except ValueError as error:
            return self._say_error(error)
        self._stop.clear()
        self._set_busy(True)
        self._say("Composing …")
        self._thread = threading.Thread(target=self._work, args=(settings,), name="midigen studio", daemon=True)
        self._thread.start()

    def _work(self, settings):
        try:
            self.progress.value, self.progress.max = 0, settings.num_frames
            take = compose(settings, self._on_frame)
            if self._stop.is_set():
                self._say("Cancelled.")
            else:
                self._add(take)
        except Exception as error:
            self._say_error(error)
        finally:
            self._set_busy(False)

    def _on_frame(self, done):
        if done % FS == 0:  # once a second of music: each message costs more than a frame
            self.progress.value = done
        return self._stop.is_set()

    def _add(self, take):
        self._count += 1
        title = f"Take {self._count}: {take.settings.name}"
        shown = player(take.music, seed_frames=take.seed_frames, title=title, composer=take.words())
        python = PYTHON.format(html.escape(take.settings.code()))
        self.takes = [take, *self.takes][:LAST_TAKES]
        box = widgets.VBox([show_html(shown.html, repr(shown)), widgets.HTML(python)])
        self.history.children = (*self.history.children, box)[-LAST_TAKES:]
        self._say(f"Take {self._count} is ready; the last {LAST_TAKES} stay here.")

    # ---- Words ----

    def _set_busy(self, busy):
        self.generate.disabled = self.surprise.disabled = busy
        self.cancel.disabled = not busy
        self.progress.layout.display = None if busy else "none"

    def _say(self, text):
        self.status.value = f'<span role="status">{html.escape(text)}</span>'

    def _say_error(self, error):
        text = str(error) if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {error}"
        self.status.value = f'<span role="alert" style="color: #d55e00">{html.escape(text)}</span>'


def _control(kind, description, tooltip, **more):
    style = {} if kind is widgets.Button else {"description_width": "95px"}
    return kind(description=description, tooltip=tooltip, layout={"width": "auto"}, style=style, **more)


def show_html(text, description):
    """HTML as an `ipywidgets.Output`, in which scripts run (in `HTML` they do not); and a text in place of it."""
    data = {"text/html": text, "text/plain": description}
    return widgets.Output(outputs=({"output_type": "display_data", "data": data, "metadata": {}},))
