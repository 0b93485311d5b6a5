"""MusicLSTM: the recurrent baseline. Two LSTM layers and one linear layer, 6.27 million numbers."""

from torch import nn

from .heads import use_head


class MusicLSTM(nn.Module):
    """Predicts the next frame of a piano roll with a stack of LSTM layers.

    Notebook: 03_lstm_baseline

    Args:
        num_pitches: keys in a frame, default 88.
        hidden_size: numbers in the memory of a layer, default 704.
        num_layers: layers, default 2.
        dropout: part of the numbers dropped between layers in training, 0 to 1, default 0.
        heads: `head` (`"keys"` or `"chords"`) and `velocity` (bins, 0 for none), see `use_head`; default keys alone.

    Attributes:
        config: the arguments above as a plain dict; `MusicLSTM(**config)` builds the same model.
        feature_size: length D of a feature vector.

    Source:
        Long short-term memory, Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """

    def __init__(self, num_pitches=88, hidden_size=704, num_layers=2, dropout=0.0, **heads):
        super().__init__()
        self.config = {
            "num_pitches": num_pitches,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "dropout": dropout,
            "head": "keys",
            "velocity": 0,
        }
        self.feature_size = hidden_size
        self.lstm = nn.LSTM(num_pitches, hidden_size, num_layers, batch_first=True, dropout=dropout)
        self.output = nn.Linear(hidden_size, num_pitches)
        self.chords = self.velocity = None
        use_head(self, **heads)
        # torch's start is for dense inputs, but of 88 keys some four are down, and a new layer's output is faint. With
        # larger weights 100 steps on MAESTRO (16 windows each) reach 9.6 nats per frame, else 14.1: the marginals.
        for layer in range(num_layers):
            nn.init.normal_(getattr(self.lstm, f"weight_ih_l{layer}"), std=0.7 if layer == 0 else 0.2)

    def forward(self, x, hidden=None):
        """Logits of the next frame, for every frame.

        Args:
            x: frames, `(B, T, num_pitches)`, 1 where a key is down and 0 elsewhere.
            hidden: what an earlier call returned, to go on where it stopped; default a fresh start.

        Returns:
            logits: `(B, T, num_pitches)`; `logits[:, t]` are about frame t + 1. `sigmoid` makes probabilities.
            hidden: `(h, c)`, each `(num_layers, B, hidden_size)`.

        Raises:
            ValueError: `x` or `hidden` has another shape.
        """
        features, hidden = self.features(x, hidden)
        return self.output(features), hidden

    def features(self, x, hidden=None):
        """What the model knows after each frame, before it is turned into logits.

        Args:
            x: as in `forward`.
            hidden: as in `forward`.

        Returns:
            features: `(B, T, feature_size)`.
            hidden: as in `forward`.

        Raises:
            ValueError: `x` or `hidden` has another shape.
        """
        self._check(x, hidden)
        return self.lstm(x, hidden)

    def _check(self, x, hidden):
        if x.ndim != 3 or x.shape[1] == 0 or x.shape[2] != self.config["num_pitches"]:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (B, T, {self.config['num_pitches']}): "
                "batch, at least one frame, keys"
            )
        if hidden is None:
            return
        expected = (self.config["num_layers"], x.shape[0], self.feature_size)
        try:
            fits = [part.shape for part in hidden] == [expected, expected]
        except (TypeError, AttributeError):  # not a pair of tensors at all
            fits = False
        if not fits:
            raise ValueError(
                f"hidden does not fit this MusicLSTM and a batch of {x.shape[0]}; expected (h, c), each of shape "
                f"{expected}. Pass what this model returned for the same batch, or None to start afresh"
            )
