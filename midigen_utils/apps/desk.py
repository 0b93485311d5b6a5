"""What the studio and the blind test share: a drawing until they run, and HTML in which scripts run."""

import ipywidgets as widgets

from ..show.figures import figure


class Desk(widgets.VBox):
    """A box of controls. A notebook whose cell was not run here shows the drawing `figure(self.drawing)` instead."""

    def _repr_mimebundle_(self, **kwargs):
        shown = figure(self.drawing)
        return super()._repr_mimebundle_(**kwargs) | {"text/plain": shown.alt, "text/html": shown.html}


def control(kind, description, tooltip, **more):
    """A widget of ipywidgets: as wide as its place, a label to the left of what is not a button."""
    style = {} if kind in (widgets.Button, widgets.FileUpload) else {"description_width": "95px"}
    return kind(description=description, tooltip=tooltip, **{"layout": {"width": "auto"}, "style": style} | more)


def page(text, description):
    """HTML as an `ipywidgets.Output`, in which scripts run (in `HTML` they do not); and a text in place of it."""
    data = {"text/html": text, "text/plain": description}
    return widgets.Output(outputs=({"output_type": "display_data", "data": data, "metadata": {}},))
