"""Our FastPitch training step against stock NeMo's: same weights, same batch, same optimizer, one run.

    python benchmarks/train_step.py [--threads 2] [--steps 8] [--size full]

Writes benchmarks/train_step.md. Needs real speech: NEMO_EXT_CORPORA with ljspeech_mini in it.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from hardware import describe, table, write
from omegaconf import OmegaConf

from nemo_ext import _nemo
from nemo_ext.audio.io import read
from nemo_ext.audio.mel import log_mel
from nemo_ext.audio.pitch import f0
from nemo_ext.data.prior import beta_binomial_prior
from nemo_ext.types import Batch, MelSpec

SIZES = {"full": (384, 6, 1536), "small": (192, 4, 512)}  # width, layers, feed-forward width
_nemo.quiet()


def stock_model(size: str):
    """Stock NeMo's FastPitch as its last published recipe set it up, with a tokenizer that needs no dictionary."""
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
        "train_ds": {
            "dataset": {"_target_": "nemo.collections.tts.data.text_to_speech_dataset.TextToSpeechDataset"},
            "defer_setup": True,
        },
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


def load_batch(model, utterances: int) -> tuple[Batch, dict[str, torch.Tensor]]:
    """The first ``utterances`` of ljspeech_mini: our batch, and the dictionary that stock's step takes."""
    if "NEMO_EXT_CORPORA" not in os.environ:
        raise SystemExit("set NEMO_EXT_CORPORA to a folder with ljspeech_mini in it")
    folder = Path(os.environ["NEMO_EXT_CORPORA"]) / "ljspeech_mini"
    with (folder / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE))[:utterances]
    spec = MelSpec()
    audio = [torch.from_numpy(read(folder / "wavs" / f"{row[0]}.wav")[0][0]) for row in rows]
    mel = [torch.as_tensor(log_mel(a, spec)) for a in audio]
    tokens = [model.parse(row[2], normalize=False)[0] for row in rows]
    pitch = [torch.from_numpy(f0(a.numpy(), spec.sample_rate, spec.hop_length, 65.0, 500.0)).float() for a in audio]
    voiced = torch.cat([p[p > 0] for p in pitch])
    pitch = [torch.where(p > 0, (p - voiced.mean()) / voiced.std(), p) for p in pitch]
    prior = [
        torch.from_numpy(np.asarray(beta_binomial_prior(len(t), m.shape[1]))) for t, m in zip(tokens, mel, strict=True)
    ]

    def pad(sequences, value=0.0):
        return torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=value)

    lens = {"token": [len(t) for t in tokens], "mel": [m.shape[1] for m in mel], "audio": [len(a) for a in audio]}
    longest = max(lens["token"]), max(lens["mel"])
    priors = torch.stack(
        [torch.nn.functional.pad(p, (0, longest[0] - p.shape[1], 0, longest[1] - p.shape[0])) for p in prior]
    )
    ours = Batch(
        ids=[row[0] for row in rows],
        tokens=pad(tokens, model.vocab.pad),
        token_lens=torch.tensor(lens["token"]),
        mel=pad([m.T for m in mel]).transpose(1, 2).contiguous(),
        mel_lens=torch.tensor(lens["mel"]),
        pitch_normalized=pad(pitch),
        energy=pad([m.exp().norm(dim=0) for m in mel]),
        attn_prior=priors,
        voice_ids=torch.zeros(len(rows), dtype=torch.long),
    )
    stock = {
        "audio": pad(audio),
        "audio_lens": torch.tensor(lens["audio"]),
        "text": ours.tokens,
        "text_lens": ours.token_lens,
        "align_prior_matrix": ours.attn_prior,
        "pitch": ours.pitch_normalized,
        "energy": ours.energy,
    }
    return ours, stock


def seconds_a_step(step, model, steps: int) -> list[float]:
    """Seconds of forward, backward and optimizer for each of ``steps`` steps, after two that are not counted."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model.train()
    taken = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        step().backward()
        optimizer.step()
        optimizer.zero_grad()
        taken.append(time.perf_counter() - start)
    return taken[2:]


def main() -> None:
    """Measure both and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--utterances", type=int, default=8)
    parser.add_argument("--size", choices=SIZES, default="full")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    stock = stock_model(chosen.size)
    stock.log = lambda *_, **__: None  # both are timed without a trainer, which logging needs
    with tempfile.TemporaryDirectory() as folder:
        stock.save_to(str(Path(folder) / "stock.nemo"))
        ours = _nemo.restore(Path(folder) / "stock.nemo")
    our_batch, stock_batch = load_batch(stock, chosen.utterances)

    def our_step():
        losses, _, _ = ours.learn(our_batch)
        return torch.stack(list(losses.values())).sum()

    taken = {
        "stock NeMo 3.0.0": seconds_a_step(lambda: stock.training_step(stock_batch, 0), stock, chosen.steps),
        "nemo_ext": seconds_a_step(our_step, ours, chosen.steps),
    }
    with torch.no_grad():
        start = time.perf_counter()
        stock.preprocessor(input_signal=stock_batch["audio"], length=stock_batch["audio_lens"])
        on_the_fly = time.perf_counter() - start
    frames = int(our_batch.mel_lens.sum())
    medians = {name: statistics.median(values) for name, values in taken.items()}
    rows = [
        [name, f"{medians[name]:.2f}", f"{min(values):.2f} to {max(values):.2f}", f"{frames / medians[name]:,.0f}"]
        for name, values in taken.items()
    ]
    ratio = medians["stock NeMo 3.0.0"] / medians["nemo_ext"]
    parameters = sum(p.numel() for p in ours.parameters()) / 1e6
    write(
        Path(__file__).with_suffix(".md"),
        "FastPitch training step",
        f"python benchmarks/train_step.py --threads {chosen.threads} --steps {chosen.steps} --size {chosen.size}",
        [
            f"FastPitch of {parameters:.1f}M parameters, the same weights on both sides; one batch of "
            f"{chosen.utterances} utterances of LJSpeech ({frames} frames, the longest {our_batch.mel.shape[2]}); "
            f"forward, backward and AdamW; median of {chosen.steps} steps after two; {chosen.threads} threads, fp32.",
            table(["side", "s a step (median)", "range", "mel frames/s"], rows),
            f"**Ours is {ratio:.2f} times as fast.** Stock computes the mel inside the step ({on_the_fly:.2f} s of "
            "it); ours reads it from the cache.",
            describe(),
        ],
    )


if __name__ == "__main__":
    main()
