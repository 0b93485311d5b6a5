"""Widgets for the notebook: compose with a network, and guess who composed."""

from .blind_test import blind_test, luck
from .studio import studio
