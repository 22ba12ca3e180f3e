"""A toy bundle with real models behind it: FastPitch with styles in both layouts, HiFi-GAN, and their .nemo files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from nemo_ext.export import onnx as onnx_files
from nemo_ext.export.bundle import Bundle
from nemo_ext.export.graphs import AcousticGraph, RivaGraph, VocoderGraph
from nemo_ext.export.subvoices import Tables, tables
from nemo_ext.export.text_assets import write_text
from nemo_ext.types import AcousticOutput
from nemo_ext.voices import Voice


@dataclass
class Toys:
    """What an export has at hand when it writes its targets."""

    bundle: Bundle
    voices: list[Voice]
    rows: Tables
    acoustic: Path
    vocoder: Path


def make(folder: Path) -> Toys:
    """The bundle in ``folder / "bundle"``: ada and ben, each with two styles; IPA for English and German."""
    from nemo_ext import _nemo
    from nemo_ext.models.vocoder.hifigan import HifiGan
    from nemo_ext.text.config import TextConfig
    from nemo_ext.text.frontend import TextFrontend
    from tests.models.acoustic.test_styled import styled
    from tests.models.vocoder.conftest import TOYS, _shipped

    frontend = TextFrontend(TextConfig(alphabet="ipa", g2p="graphemes", languages=["en", "de"], normalize=False))
    model = styled(text=dataclasses.asdict(frontend.config)).eval()
    vocoder = HifiGan(OmegaConf.merge(_shipped("hifigan", "tiny"), TOYS["hifigan"])).eval()
    acoustic_file = _nemo.save(model, folder / "acoustic.nemo")
    vocoder_file = _nemo.save(vocoder, folder / "vocoder.nemo")
    rng = np.random.default_rng(0)
    voices = [
        dataclasses.replace(
            model.base_voice(voice.name),
            styles={name: rng.normal(0, 0.5, model.style_size).astype(np.float32) for name in ("sad", "happy")},
        )
        for voice in model.voices
    ]
    rows = tables(voices, model.style_size)
    out = folder / "bundle"
    out.mkdir()
    write_text(model.frontend, out)
    open_graph = AcousticGraph(model)
    riva = RivaGraph(open_graph, *(torch.from_numpy(a) for a in (rows.rows, rows.voices, rows.styles)))
    graphs: dict[str, Any] = {"acoustic": open_graph, "acoustic_riva": riva, "vocoder": VocoderGraph(vocoder)}
    written = {
        name: onnx_files.export(graph, onnx_files.example(graph, model), out / f"{name}.onnx", "fp32")
        for name, graph in graphs.items()
    }
    bundle = Bundle(
        out,
        "toy",
        model.mel_spec,
        model.weights_hash(),
        model.voice_layout,
        style_size=model.style_size,
        energy=True,
        base_voices=model.voices,
        graphs=written,
    )
    bundle.write()
    return Toys(bundle, voices, rows, acoustic_file, vocoder_file)


def by_the_model(toys: Toys, request: dict[str, np.ndarray]) -> AcousticOutput:
    """What the restored model itself says to a request, with the row of the tables that its speaker names."""
    from nemo_ext import _nemo

    assert toys.rows.styles is not None
    voice, style = toys.rows.rows[request["speaker"].item()]
    text, model = torch.from_numpy(request["text"]), _nemo.restore(toys.acoustic).eval()
    with torch.inference_mode():
        said: AcousticOutput = model.predict_mel(
            text,
            torch.tensor([text.shape[1]]),
            torch.from_numpy(toys.rows.voices[voice][None]),
            pace=torch.from_numpy(request["pace"]),
            style=torch.from_numpy(toys.rows.styles[style][None]),
        )
    return said
