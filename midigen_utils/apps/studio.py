"""The studio: compose in the notebook with a few controls, and see the Python that does the same.

Its controls are those of ipywidgets, so it works in JupyterLab, Notebook 7 and VS Code.
"""

import hashlib
import html
from pathlib import Path

import ipywidgets as widgets

from .. import files
from ..show.player import player
from .compose import FS, Take, compose

LAST_TAKES = 6  # how many are kept
PIECE, PATTERN, UPLOAD = "a piece of the corpus", "a random pattern", "your own MIDI file"
PYTHON = (  # contained: a long line wraps instead of widening the widget
    '<details open style="contain: inline-size"><summary>The same in Python</summary>'
    '<pre style="margin: 4px 0 16px; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.4">{}</pre>'
    "</details>"
)


def studio(models, corpus):
    """A desk in the notebook: choose a model and a beginning, press Generate, listen, compare.

    Below each take is the Python that makes the same music.

    Notebook: 05_generation_and_playback

    Args:
        models: dict from a name to a model, or to the path of a checkpoint.
        corpus: `Corpus`, as returned by `load_corpus` and `load_piano_rolls`: its pieces can be the seed.

    Returns:
        `Studio`: leave it as the last line of a cell.

    Raises:
        ValueError: `corpus` is not a `Corpus`, or `models` not a dict from names, one or more.
    """
    if not getattr(corpus, "pieces", None):
        raise ValueError("corpus is not a Corpus; give what load_corpus or load_piano_rolls returns")
    if not isinstance(models, dict) or not models or not all(isinstance(name, str) for name in models):
        raise ValueError('models is a dict from names to models or checkpoints, such as {"MusicLSTM": lstm}')
    return Studio(models, corpus)


class Studio(widgets.VBox):
    """What `studio` returns: an ipywidgets box of controls, and `takes`, a list of the last `Take`s, newest first."""

    def __init__(self, models, corpus):
        self.takes, self._count, self._uploaded = [], 0, None
        self._models, self._all_instruments = dict(models), corpus.all_instruments
        pieces = []  # (label, piece)
        for piece in sorted(corpus.pieces, key=lambda piece: (piece.composer, piece.title, piece.year or 0)):
            name = f"{piece.composer}: {piece.title or piece.path.stem}".removeprefix(": ")
            pieces.append((f"{name} ({', '.join(str(part) for part in (piece.year, piece.split) if part)})", piece))
        self._make_controls(pieces)
        self.piece.value = next((piece for _, piece in pieces if piece.split == "validation"), pieces[0][1])
        what = (self.model, self.seed, self.piece, self.upload)
        how = (self.seed_seconds, self.seconds, self.temperature, self.random_seed)
        columns = [widgets.VBox(part, layout={"flex": "1 1 280px", "min_width": "0"}) for part in (what, how)]
        controls = widgets.Box(columns, layout={"flex_flow": "row wrap", "align_items": "flex-start"})
        super().__init__([controls, self.generate, self.status, self.history])

    def _make_controls(self, pieces):
        """The widgets, as attributes, and what happens when they are used."""
        number = "Another number gives another take; the same one, with the same settings, the same music again"
        heat = "Low: what is likely, soon monotonous. High: bold, soon chaotic. 1: as the model was trained"
        unseen, begin = "The piece; a network is trained only on those marked train", [PIECE, PATTERN, UPLOAD]
        self.model = _control(widgets.Dropdown, "Model", "The network that composes", options=list(self._models))
        self.seed = _control(widgets.Dropdown, "Begin with", "What the model continues", options=begin)
        self.piece = _control(widgets.Dropdown, "Piece", unseen, options=pieces)
        upload = {"accept": ".mid,.midi", "layout": {"width": "auto", "margin": "2px 2px 2px 101px"}}
        all_of_it = "A file of yours; all its instruments but drums are played"
        self.upload = widgets.FileUpload(description="Choose a MIDI file", tooltip=all_of_it, **upload)
        self.seed_seconds = _control(widgets.IntSlider, "Seed (s)", "Seconds that are given", value=4, min=1, max=30)
        self.seconds = _control(widgets.IntSlider, "Length (s)", "Seconds that are added", value=20, min=5, max=60)
        self.temperature = _control(widgets.FloatSlider, "Temperature", heat, value=0.8, min=0.3, max=1.5, step=0.05)
        self.random_seed = _control(widgets.BoundedIntText, "Random seed", number, value=0, min=0, max=999_999)
        self.generate = _control(widgets.Button, "Generate", "Compose with these settings", icon="play")
        self.generate.button_style = "primary"
        self.status = widgets.HTML()
        self.history = widgets.VBox(layout={"flex_flow": "column-reverse"})  # a new take does not redraw the others
        self.generate.on_click(lambda _: self._generate())
        self.upload.observe(lambda _: self._take_upload(), "value")
        self.seed.observe(lambda _: self._show_what_applies(), "value")
        self._show_what_applies()

    def _show_what_applies(self):
        for control, kind in (self.piece, PIECE), (self.upload, UPLOAD):
            control.layout.display = None if self.seed.value == kind else "none"

    def _take_upload(self):
        """Keep an uploaded file below `midi_data`, where the Python under a take finds it again."""
        (file,) = self.upload.value
        content = bytes(file["content"])
        name = f"{files.slug(Path(file['name']).stem)}-{hashlib.sha256(content).hexdigest()[:8]}.mid"
        path = files.MIDI_DATA / "uploads" / name
        try:
            with files.atomic_write(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            return self._say_error(error)
        self._uploaded = path
        self._say(f"{file['name']} is here. Press Generate.")

    def _settings(self):
        """What the controls say at this moment."""
        midi, source, all_instruments = None, PATTERN, False
        if self.seed.value == PIECE:
            midi, source, all_instruments = self.piece.value.path, self.piece.label, self._all_instruments
        elif self.seed.value == UPLOAD:
            if self._uploaded is None:
                raise ValueError("no MIDI file yet: press “Choose a MIDI file”")
            midi, source, all_instruments = self._uploaded, self._uploaded.stem, True
        return Take(
            name=self.model.value,
            model=self._models[self.model.value],
            midi=midi,
            source=source,
            all_instruments=all_instruments,
            seed_frames=self.seed_seconds.value * FS,
            num_frames=self.seconds.value * FS,
            temperature=round(self.temperature.value, 2),
            random_seed=self.random_seed.value,
        )

    def _generate(self):
        """Add a take. A minute of music takes a few seconds, so the notebook waits for it."""
        self.generate.disabled = True  # a press meanwhile would be another take
        self._say("Composing …")
        try:
            self._add(compose(self._settings()))
        except Exception as error:
            self._say_error(error)
        finally:
            self.generate.disabled = False

    def _add(self, take):
        self._count += 1
        title = f"Take {self._count}: {take.name}"
        shown = player(take.music, seed_frames=take.seed_frames, title=title, composer=take.words())
        python = PYTHON.format(html.escape(take.code()))
        self.takes = [take, *self.takes][:LAST_TAKES]
        box = widgets.VBox([show_html(shown.html, repr(shown)), widgets.HTML(python)])
        self.history.children = (*self.history.children, box)[-LAST_TAKES:]
        self._say(f"Take {self._count} is ready; the last {LAST_TAKES} stay here.")

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
