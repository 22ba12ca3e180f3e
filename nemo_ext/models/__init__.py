"""Importing this package registers every model class with NeMo, so that ``ModelPT.restore_from`` finds ours."""

from nemo_ext.models.acoustic import fastpitch as fastpitch
from nemo_ext.models.vocoder import hifigan as hifigan
from nemo_ext.models.vocoder import vocos as vocos
