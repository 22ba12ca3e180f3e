"""A bundle against its models: every graph on every backend that is here, in the cases that each of them takes.

The ragged graphs of Triton and Riva are compared with the dense ones that they were made of.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nemo_ext.console import Progress, tell
from nemo_ext.export import cases, parity, riva_archive
from nemo_ext.export.bundle import PARITY, RIVA_GRAPH, Bundle, Engine
from nemo_ext.export.cases import Case
from nemo_ext.export.parity import Left, Row
from nemo_ext.export.subvoices import Tables
from nemo_ext.export.tensorrt import hindrance
from nemo_ext.runtime.choose import gpu_present, open_session
from nemo_ext.runtime.session import Session
from nemo_ext.voices import Voice

# written by triton.py and riva.py -> the dense graph
_RAGGED = {
    "triton/acoustic/1/model.onnx": "acoustic",
    "triton/acoustic_speaker/1/model.onnx": RIVA_GRAPH,
    f"riva/fastpitch/{riva_archive.GRAPH}": RIVA_GRAPH,
}


@dataclass(frozen=True)
class _Target:
    """A graph in ONNX Runtime, or an engine of it."""

    graph: str
    cases: Sequence[Case]
    engine: Engine | None = None

    def opened(self, bundle: Bundle) -> Session:
        path = bundle.path(self.graph)
        if self.engine is None:
            return open_session(path, "onnxruntime")
        return open_session(path, "tensorrt", engines=[bundle.engine_file(self.engine)])


def compare(
    acoustic: Any,
    vocoder: Any,
    bundle: Bundle,
    cast: Sequence[Voice],
    precision: str,
    tables_inside: Tables | None = None,
) -> None:
    """Write parity.json, say the worst case of each graph and backend, judge the vocoder in bf16.

    Triton's and Riva's folders are there already.

    ``tables_inside``: of the graph of Riva's layout, where there is one.

    Raises:
        NemoExtError: one is beyond the tolerance.
    """
    vectors = np.stack([voice.vector for voice in cast])
    named = [style for voice in cast for style in voice.styles.values()]
    styles = np.stack(named or [np.zeros(bundle.style_size, np.float32)])
    mel_of = functools.cache(functools.partial(parity.mel_of, acoustic, vectors))
    targets, left = _targets(bundle)
    rows: list[Row] = []
    ragged = {file: graph for file, graph in _RAGGED.items() if (bundle.dir / file).is_file()}
    total = sum(len(one.cases) for one in targets) + len(ragged)
    with Progress(total, "comparing graphs and models") as progress:
        for one in targets:
            session = one.opened(bundle)
            if one.graph == "acoustic":
                rows += parity.acoustic(acoustic, session, precision, vectors, styles, progress, one.cases)
            elif one.graph == RIVA_GRAPH:
                assert tables_inside is not None
                rows += parity.riva(acoustic, session, precision, tables_inside, progress, one.cases)
            elif one.graph == "vocoder":
                mels = [mel_of(max(case.lens), len(case.lens)) for case in one.cases]
                rows += parity.vocoder(vocoder, session, precision, mels, progress)
            else:
                rows += parity.style_encoder(acoustic, session, progress, one.cases)
            if hasattr(session, "close"):  # an engine's, whose memory on the GPU the next one needs
                session.close()
        for file, graph in ragged.items():
            speaker = None
            if graph == "acoustic":
                asked = parity.ask(acoustic, cases.RAGGED, 0, vectors, styles)
            else:
                assert tables_inside is not None
                asked, speaker = parity.ask_speakers(acoustic, cases.RAGGED, 0, tables_inside)
            session, dense = (open_session(p, "onnxruntime") for p in (bundle.dir / file, bundle.path(graph)))
            rows.append(parity.ragged_row(file, session, dense, precision, cases.RAGGED, asked, speaker))
            progress.step()
    usual = mel_of(max(cases.USUAL_MEL.lens), len(cases.USUAL_MEL.lens))
    bundle.vocoder_bf16_db = parity.bf16_decibels(vocoder, usual)
    told = json.dumps(parity.report(rows, precision, left), indent=1) + "\n"
    (bundle.dir / PARITY).write_text(told, encoding="utf-8")
    tell(parity.worst(rows))
    parity.refuse(rows)


def _targets(bundle: Bundle) -> tuple[list[_Target], list[Left]]:
    """Every graph in ONNX Runtime, and the engines that run on the GPU that is here; and what that leaves out."""
    of_graph = {"acoustic": cases.CASES, RIVA_GRAPH: cases.RIVA_CASES, "vocoder": cases.MELS}
    found = [_Target(name, of_graph.get(name, cases.REFERENCES)) for name in bundle.graphs]
    left: list[Left] = []
    for engine in bundle.engines if gpu_present() else ():
        if reason := hindrance(engine):  # one that an earlier export made elsewhere
            left.append(Left(engine.graph, engine.file, "", reason))
            continue
        graph = bundle.graphs[engine.graph]
        taken, why = cases.fitted(of_graph.get(engine.graph, cases.REFERENCES), graph.inputs, engine.profile)
        found.append(_Target(engine.graph, taken, engine))
        left += [Left(engine.graph, engine.file, name, reason) for name, reason in why.items()]
    return found, left
