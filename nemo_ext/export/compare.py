"""A bundle against its models: every graph on every backend that is here, in the cases that each of them takes."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nemo_ext.corpus.progress import Progress
from nemo_ext.export import cases, parity
from nemo_ext.export.bundle import PARITY, RIVA_GRAPH, Bundle, Engine
from nemo_ext.export.cases import Case
from nemo_ext.export.parity import Left, Row
from nemo_ext.export.subvoices import Tables
from nemo_ext.runtime.choose import gpu_present, open_session
from nemo_ext.runtime.session import Session
from nemo_ext.voices import Voice


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
        return open_session(path, "tensorrt", engine=bundle.dir / self.engine.file)


def compare(
    acoustic: Any,
    vocoder: Any,
    bundle: Bundle,
    cast: Sequence[Voice],
    precision: str,
    tables_inside: Tables | None = None,
) -> None:
    """Write parity.json, say the worst case of each graph and backend.

    ``tables_inside``: of the graph of Riva's layout, where there is one.

    Raises:
        NemoExtError: one is beyond the tolerance.
    """
    vectors = np.stack([voice.vector for voice in cast])
    styles = [style for voice in cast for style in voice.styles.values()] or [np.zeros(bundle.style_size, np.float32)]
    mel_of = functools.cache(functools.partial(parity.mel_of, acoustic, vectors))
    targets, left = _targets(bundle)
    rows: list[Row] = []
    with Progress(sum(len(one.cases) for one in targets), "comparing graphs and models") as progress:
        for one in targets:
            session = one.opened(bundle)
            if one.graph == "acoustic":
                rows += parity.acoustic(acoustic, session, precision, vectors, np.stack(styles), progress, one.cases)
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
    told = json.dumps(parity.report(rows, precision, left), indent=1) + "\n"
    (bundle.dir / PARITY).write_text(told, encoding="utf-8")
    print(parity.worst(rows))
    parity.refuse(rows)


def _targets(bundle: Bundle) -> tuple[list[_Target], list[Left]]:
    """Every graph in ONNX Runtime, and its engines where there is an NVIDIA GPU; and what they leave out."""
    of_graph = {"acoustic": cases.CASES, RIVA_GRAPH: cases.RIVA_CASES, "vocoder": cases.MELS}
    found = [_Target(name, of_graph.get(name, cases.REFERENCES)) for name in bundle.graphs]
    left: list[Left] = []
    for engine in bundle.engines if gpu_present() else ():
        graph = bundle.graphs[engine.graph]
        taken, why = cases.fitted(of_graph.get(engine.graph, cases.REFERENCES), graph.inputs, engine.profile)
        found.append(_Target(engine.graph, taken, engine))
        left += [Left(engine.graph, engine.file, name, reason) for name, reason in why.items()]
    return found, left
