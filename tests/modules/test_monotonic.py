"""Every route of the monotonic search finds the path of the numba reference; what that is worth: test_alignment.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nemo_ext.modules import monotonic
from tests.modules.monotonic_cases import Case, cases, compare


@pytest.fixture(scope="module")
def real(tiny_acoustic: Path, espeak_corpus: Path) -> Case:
    """The attention of a half-trained model over some of its corpus."""
    from nemo_ext import _nemo
    from nemo_ext.corpus.manifest import load_corpus
    from nemo_ext.data.features import FeatureStore
    from nemo_ext.data.loaders import acoustic_loaders

    model = _nemo.restore(tiny_acoustic)
    loaders = acoustic_loaders(
        load_corpus(espeak_corpus), model.frontend, model.voices, FeatureStore(espeak_corpus), 900
    )
    batch = next(iter(loaders[1]))
    with torch.no_grad():
        _, _, alignment = model.learn(batch)
    return torch.log(alignment.attention), batch.token_lens, batch.mel_lens


def test_torch_finds_the_reference_path():
    for case in cases():
        compare("torch", case)


def test_torch_finds_the_reference_path_in_real_attention(real: Case):
    assert len(set(real[2].tolist())) > 1  # ragged
    compare("torch", real)


def test_the_triton_kernel_finds_them_too(real: Case, tmp_path: Path):
    """In Triton's interpreter, which has to be chosen before the kernel is imported: no GPU is needed, nor tried."""
    torch.save(tuple(tensor[:2] for tensor in real), tmp_path / "real.pt")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("monotonic_cases.py")), "triton", str(tmp_path / "real.pt")],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "14 the same", done.stderr[-2000:]


def test_the_triton_kernel_compiles_for_nvidia_gpus():
    """To machine code, which needs no GPU; what it computes there has to be tried on one."""
    import triton
    from triton.backends.compiler import GPUTarget

    from nemo_ext.modules.monotonic_triton import _kernel

    types = {"scores": "*fp32", "rows": "*fp64", "advanced": "*i8", "path": "*i64", "token_lens": "*i64"}
    types |= {"mel_lens": "*i64", "max_frames": "i32", "max_tokens": "i32", "width": "constexpr"}
    source: Any = triton.compiler.ASTSource(fn=_kernel, signature=types, constexprs={"width": 256})
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "enable_fp_fusion": False})
    assert made.asm["cubin"]
    assert made.asm["ptx"].count("bar.sync") >= 2  # a frame's row is written before the next frame reads it


@pytest.mark.parametrize(("has_triton", "route"), [(True, "triton"), (False, "torch")])
def test_scores_on_a_gpu_stay_there(monkeypatch, has_triton, route):
    """On a pretended GPU: which route is taken, not what it computes."""

    class Pretended:
        device = torch.device("cuda")

        def detach(self):
            return self

        def float(self):
            return self

    taken = []
    monkeypatch.setattr(monotonic, "_has_triton", lambda: has_triton)
    for name in ("triton", "torch"):
        monkeypatch.setattr(monotonic, f"search_{name}", lambda *_, name=name: taken.append(name))
    monotonic.search(Pretended(), None, None)
    assert taken == [route]
