"""Importing this package lets ``ModelPT.restore_from`` of NeMo build our models."""

from nemo_ext import _nemo as _nemo
