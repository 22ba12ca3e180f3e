"""Stock NeMo's FastPitch, as its last published recipe set it up."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

SIZES = {"full": (384, 6, 1536), "small": (192, 4, 512)}  # width, layers, feed-forward width
DATASET = "nemo.collections.tts.data.dataset.TTSDataset"


def fastpitch(size: str) -> Any:
    """A model with a tokenizer that needs no dictionary; its batches are to be ``DATASET``'s."""
    from nemo.collections.tts.models import FastPitchModel

    width, layers, feedforward = SIZES[size]
    transformer = {"n_layer": layers, "n_head": 1, "d_model": width, "d_head": 64, "d_inner": feedforward}
    transformer |= {"kernel_size": 3, "dropout": 0.1, "dropatt": 0.1}
    nemo = "nemo.collections.tts.modules"
    predictor = {"_target_": f"{nemo}.fastpitch.TemporalPredictor", "input_size": width, "filter_size": 256}
    predictor |= {"kernel_size": 3, "dropout": 0.1, "n_layers": 2}
    preprocessor = {"_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor", "features": 80}
    preprocessor |= {"sample_rate": 22050, "n_fft": 1024, "n_window_size": 1024, "n_window_stride": 256}
    preprocessor |= {"window_size": None, "window_stride": None, "lowfreq": 0, "highfreq": 8000, "mag_power": 1.0}
    preprocessor |= {"normalize": None, "preemph": None, "dither": 0.0, "pad_to": 1, "log_zero_guard_value": 1e-5}
    tokenizer = "nemo.collections.common.tokenizers.text_to_speech.tts_tokenizers.EnglishCharsTokenizer"
    cfg = {
        "learn_alignment": True,
        "n_speakers": 1,
        "symbols_embedding_dim": width,
        "n_mel_channels": 80,
        "max_token_duration": 75,
        "pitch_embedding_kernel_size": 3,
        "energy_embedding_kernel_size": 3,
        "train_ds": {"dataset": {"_target_": DATASET}, "defer_setup": True},
        "text_tokenizer": {"_target_": tokenizer},
        "preprocessor": preprocessor,
        "alignment_module": {"_target_": f"{nemo}.aligner.AlignmentEncoder", "n_text_channels": width},
        "input_fft": {"_target_": f"{nemo}.transformer.FFTransformerEncoder", "d_embed": width, **transformer},
        "output_fft": {"_target_": f"{nemo}.transformer.FFTransformerDecoder", **transformer},
        "duration_predictor": predictor,
        "pitch_predictor": predictor,
        "energy_predictor": predictor,
    }
    return FastPitchModel(OmegaConf.create(cfg))
