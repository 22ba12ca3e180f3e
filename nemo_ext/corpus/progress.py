"""How far long work has come: under its old name, for the rooms above."""

from nemo_ext.console import Progress, clock

__all__ = ["Progress", "clock"]
