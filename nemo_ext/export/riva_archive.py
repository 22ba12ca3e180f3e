"""Packs the folders `fastpitch` and `hifigan` beside this file into Riva archives, with NVIDIA's own tool.

A .riva file is an archive of the package `nvidia-eff`, which is in no public index; it comes with NVIDIA's nemo2riva.
So this file needs nothing else than Python and that package: an export puts a copy of it into its folder as pack.py, to
be run where the package is.

    python pack.py [KEY]      KEY: encrypts the graphs; riva-build then wants FILE.riva:KEY
"""

from __future__ import annotations

import os
import sys
import tarfile
from pathlib import Path
from typing import Any

# what nemo2riva tells of the two models
CLASSES = {
    "fastpitch": "nemo.collections.tts.models.FastPitchModel",
    "hifigan": "nemo.collections.tts.models.HifiGanModel",
}
GRAPH = "model_graph.onnx"
_FORMAT: dict[str, Any] = {"onnx": True, "onnx_archive_format": 1, "runtime": "ONNX"}
_ARCHIVE: dict[str, Any] = {
    "description": "Exported Nemo Model",
    "format_version": 3,
    "has_pytorch_checkpoint": False,
    "has_nemo_config": True,
    "min_nemo_version": "1.3",
}


def pack(folder: Path, key: str | None = None) -> list[Path]:
    """The archives ``fastpitch.riva`` and ``hifigan.riva`` in ``folder``, made of the folders of these names.

    Raises:
        ImportError: NVIDIA's package is not installed.
    """
    from eff.callbacks import BinaryContentCallback
    from eff.codec import get_random_encryption
    from eff.core import Archive, ArtifactRegistry

    made = []
    for name, cls in CLASSES.items():
        registry = ArtifactRegistry(passphrase=key)
        files = sorted(p for p in (folder / name).iterdir() if not p.name.startswith(GRAPH))
        for file in files:
            registry.create(
                name=file.name,
                encryption=False,
                content=file.read_bytes(),
                content_callback=BinaryContentCallback,
                path_type="TAR_PATH",
                nemo_artifact=True,
            )
        graph, together = folder / name / GRAPH, None
        if list((folder / name).glob(f"{GRAPH}.*")):  # weights beside it: one archive of both, as nemo2riva makes it
            graph = together = folder / f".{name}.onnx.tar"
            with tarfile.open(together, "w") as tar:
                for file in sorted((folder / name).glob(f"{GRAPH}*")):
                    tar.add(file, file.name)
        artifact = registry.create(
            name=GRAPH,
            encryption=get_random_encryption() if key else False,
            filepath=str(graph),
            description="Exported model",
            content_callback=BinaryContentCallback,
            **_FORMAT,
        )
        if key:
            artifact.encrypt()
        out, beside = folder / f"{name}.riva", folder / f".writing-{name}.riva"
        told = {**_ARCHIVE, **_FORMAT, "obj_cls": cls}
        try:
            Archive.save_registry(save_path=str(beside), registry_name="artifacts", registry=registry, **told)
            os.replace(beside, out)
        finally:
            beside.unlink(missing_ok=True)
            if together is not None:
                together.unlink(missing_ok=True)
        made.append(out)
    return made


if __name__ == "__main__":
    try:
        print(*pack(Path(__file__).resolve().parent, *sys.argv[1:2]), sep="\n")
    except ImportError as error:
        sys.exit(
            f"{error}: run this where NVIDIA's nemo2riva is installed, for instance in Riva's ServiceMaker container"
        )
