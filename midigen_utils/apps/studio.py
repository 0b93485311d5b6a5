"""The studio: compose in the notebook with a few controls, and see the Python that does the same.

Its controls are those of ipywidgets, so it works in JupyterLab, Notebook 7 and VS Code.
"""

import hashlib
import html
import secrets
from collections import Counter
from pathlib import Path

import ipywidgets as widgets

from .. import files
from ..show.player import LONGEST, player
from .compose import FS, Take, compose, read_seed
from .desk import Desk, control, page

LAST_TAKES = 6  # how many stay, beside those that are kept
PIECE, PATTERN, UPLOAD, TAKE = BEGINNINGS = "a piece of the corpus", "a random pattern", "your own MIDI file", "a take"
SCRIPT, PYTHON = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("studio.html", "take.html"))
PLAY = "<script>document.querySelector('.midigen-preview .midigen-play')?.click()</script>"
WIDE, WRAPPED = {"flex": "1 1 200px", "min_width": "0", "width": "auto"}, {"flex_flow": "row wrap"}


def studio(models, corpus):
    """A desk in the notebook: choose a model and a beginning, press Generate, listen, compare, go on from a take.

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


class Studio(Desk):
    """What `studio` returns: an ipywidgets box of controls, and `takes`, a list of the `Take`s shown, newest first."""

    drawing = "studio"

    def __init__(self, models, corpus):
        self._models, self._all_instruments = dict(models), corpus.all_instruments
        self._boxes, self._count, self._used = [], 0, 0  # of the takes, newest first; takes so far; the last number
        self._uploaded = self._before = None  # the file and the take that can be the seed
        self._make_controls(_named(corpus.pieces))
        what = (self.model, self.seed, self.piece, self.upload)
        how = (self.seed_seconds, self.seconds, self.temperature, widgets.HBox([self.random_seed, self.pin]))
        columns = [widgets.VBox(part, layout={"flex": "1 1 280px", "min_width": "0"}) for part in (what, how)]
        controls = widgets.Box(columns, layout={**WRAPPED, "align_items": "flex-start"})
        buttons = widgets.HBox([self.generate, self.hear])
        super().__init__([controls, buttons, page(SCRIPT, ""), self.status, self.preview, self.history])
        self.add_class("midigen-studio")

    def _make_controls(self, pieces):
        """The widgets, as attributes, and what happens when they are used."""
        number = "The same one, with the same settings, gives the same music"
        heat = "Low: what is likely, soon monotonous. High: bold, soon chaotic. 1: as the model was trained"
        unseen = "The piece; those that no network is trained on come first"
        self.model = control(widgets.Dropdown, "Model", "The network that composes", options=list(self._models))
        self.seed = control(widgets.Dropdown, "Begin with", "What the model continues", options=BEGINNINGS[:3])
        self.piece = control(widgets.Dropdown, "Piece", unseen, options=pieces)
        upload = {"accept": ".mid,.midi", "layout": {"width": "auto", "margin": "2px 2px 2px 101px"}}
        all_of_it = "A file of yours; all its instruments but drums are played"
        self.upload = control(widgets.FileUpload, "Choose a MIDI file", all_of_it, **upload)
        self.seed_seconds = control(widgets.IntSlider, "Seed (s)", "Seconds that are given", value=4, min=1, max=30)
        self.seconds = control(widgets.IntSlider, "Length (s)", "Seconds that are added", value=20, min=5, max=60)
        self.temperature = control(widgets.FloatSlider, "Temperature", heat, value=0.8, min=0.3, max=1.5, step=0.05)
        self.random_seed = control(widgets.BoundedIntText, "Random seed", number, max=999_999, layout=WIDE)
        self.pin = control(widgets.ToggleButton, "Pin", "Keep the number; else each take gets a new one")
        self.generate = control(widgets.Button, "Generate", "Compose with these settings", button_style="primary")
        self.hear = control(widgets.Button, "Hear the seed", "Play what the model will continue")
        self.status, self.preview, self._top = widgets.HTML(), widgets.VBox(), widgets.VBox()
        self.preview.add_class("midigen-preview")
        self.history = widgets.VBox([self._top])
        self.generate.on_click(lambda _: self._attempt("Composing …", self._generate))
        self.hear.on_click(lambda _: self._attempt("Reading …", self._hear))
        self.upload.observe(lambda _: self._attempt("Writing …", self._keep_upload), "value")
        self.seed.observe(lambda _: self._show_what_applies(), "value")
        self._show_what_applies()

    @property
    def takes(self):
        return [box.take for box in self._boxes]

    def _show_what_applies(self):
        begins = self.seed.value
        for one, shown in (self.piece, [PIECE]), (self.upload, [UPLOAD]), (self.seed_seconds, BEGINNINGS[:3]):
            one.layout.display = None if begins in shown else "none"

    def _keep_upload(self):
        """Keep an uploaded file below `midi_data`, where the Python under a take finds it again."""
        (file,) = self.upload.value
        content = bytes(file["content"])
        name = f"{files.slug(Path(file['name']).stem)}-{hashlib.sha256(content).hexdigest()[:8]}.mid"
        with files.atomic_write(files.MIDI_DATA / "uploads" / name) as temporary:
            temporary.write_bytes(content)
        self._uploaded = files.MIDI_DATA / "uploads" / name
        return f"{file['name']} is here. Press Generate."

    def _settings(self):
        """What the controls say now. The random number of the last take gives way to a new one unless it is pinned."""
        if self._used == self.random_seed.value and not self.pin.value:
            self.random_seed.value = secrets.randbelow(1_000_000)
        begins, source, seconds, all_instruments = None, PATTERN, self.seed_seconds.value, False
        if self.seed.value == PIECE:
            begins, source, all_instruments = self.piece.value.path, self.piece.label, self._all_instruments
        elif self.seed.value == TAKE:
            begins, source, seconds = self._before, self._before.title, LONGEST - self.seconds.value
        elif self.seed.value == UPLOAD:
            if self._uploaded is None:
                raise ValueError("no MIDI file yet: press “Choose a MIDI file”")
            begins, source, all_instruments = self._uploaded, self._uploaded.stem, True
        name, frames = self.model.value, (seconds * FS, self.seconds.value * FS)
        begins, drawn = (begins, source, all_instruments), (round(self.temperature.value, 2), self.random_seed.value)
        return Take(f"Take {self._count + 1}: {name}", name, self._models[name], *begins, *frames, *drawn)

    def _attempt(self, words, act):
        """Say what happens and do it. A minute of music takes a few seconds, so the notebook waits for it."""
        buttons = [self.generate, self.hear, *(box.go_on for box in self._boxes)]
        for button in buttons:
            button.disabled = True  # a press meanwhile would be another take
        self._say(words)
        try:
            self._say(act())
        except Exception as error:
            said = str(error) if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {error}"
            self._say(said, 'role="alert" style="color: #d55e00"')
        for button in buttons:
            button.disabled = False

    def _hear(self):
        settings = self._settings()
        seed = read_seed(settings)
        shown = player(seed, seed_frames=len(seed), title="The seed", composer=settings.source)
        self.preview.children = [page(shown.html + PLAY, repr(shown))]
        return "This is what the model will continue. Press Generate."

    def _generate(self):
        take = compose(self._settings())
        self._count, self._used, self.preview.children = self._count + 1, take.random_seed, []
        box = TakeBox(take, self._go_on)
        # A take goes into the empty box on top, with a new empty one above it: the newest is the first to be read, and
        # the others are not drawn again, so they play on.
        box.place, self._top = self._top, widgets.VBox()
        box.place.children = [self._top, box]
        self._boxes.insert(0, box)
        for old in [box for box in self._boxes if not box.keep.value][LAST_TAKES:]:
            old.place.children = old.place.children[:1]
            self._boxes.remove(old)
        return f"Take {self._count} is ready. The last {LAST_TAKES} stay here, and those that you keep."

    def _go_on(self, take):
        """Make a take the seed of the next one, and of those that Generate makes after it."""
        self._before, self.seed.options = take, [*zip(BEGINNINGS[:3], BEGINNINGS), (take.title, TAKE)]
        self.seed.value = TAKE
        self._attempt("Composing …", self._generate)

    def _say(self, text, how='role="status"'):
        self.status.value = f"<span {how}>{html.escape(text)}</span>"


class TakeBox(widgets.VBox):
    """A `take`: its name, to be changed, what can be done with it, its player, and the Python that makes it again."""

    def __init__(self, take, go_on):
        self.name = widgets.Text(take.title, tooltip="The name of this take", continuous_update=False, layout=WIDE)
        self.keep = control(widgets.ToggleButton, "Keep", "It stays here, however many takes follow")
        self.go_on = control(widgets.Button, "Go on from here", "Compose a take that continues this one")
        self.go_on.on_click(lambda _: go_on(self.take))
        self.name.observe(lambda _: self._rename(), "value")
        super().__init__([widgets.Box([self.name, self.keep, self.go_on], layout=WRAPPED)])
        self._show(take)

    def _show(self, take):
        self.take = take
        shown = player(take.music, seed_frames=take.seed_frames, title=take.title, composer=take.words())
        python = widgets.HTML(PYTHON.replace("{{PYTHON}}", html.escape(take.code())))
        self.children = [self.children[0], page(shown.html, repr(shown)), python]

    def _rename(self):
        self.keep.value = True  # who names a take wants it
        self._show(self.take._replace(title=self.name.value))


def _named(pieces):
    """`(name, piece)` of each, those that no network is trained on first; a second one of a name has a number."""
    named, seen = [], Counter()
    for piece in sorted(pieces, key=lambda piece: (piece.split == "train", piece.composer, piece.title)):
        name = f"{piece.composer}: {piece.title or piece.path.stem}".removeprefix(": ")
        seen[name] += 1
        named.append((f"{name} ({seen[name]})" if seen[name] > 1 else name, piece))
    return named
