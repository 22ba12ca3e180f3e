"""Write bindings.json: the names in NVIDIA's own bindings of ``tensorrt``, read from their published wheels.

    python tests/record_bindings.py tensorrt_cu12_bindings-10.12*.whl tensorrt_cu13_bindings-11.4*.whl ...

The wheels come from `pip download --no-deps`. The libraries behind them are not published where the wheels are, so they
are stood in for by empty ones with the few entry points that the bindings link to; then the bindings import, and show
their names. Wants a C compiler.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

OUT = Path(__file__).with_suffix("").with_name("bindings.json")
ENTRIES = (
    "createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL getPluginRegistry "
    "createNvOnnxParserRefitter_INTERNAL createNvOnnxParser_INTERNAL getBuilderPluginRegistry getNvOnnxParserVersion "
    "initLibNvInferPlugins"
)
# what a builder or a session may meet; the layers and plugins are left out
CLASSES = """
    Builder BuilderFlag DataType DynamicShapesKernelSpecializationStrategy ErrorCode ICudaEngine IBuilderConfig
    IExecutionContext IHostMemory ILogger INetworkDefinition IOptimizationProfile IOutputAllocator IProgressMonitor
    IRuntimeCache IRuntimeConfig ITensor ITimingCache Logger MemoryPoolType NetworkDefinitionCreationFlag OnnxParser
    OnnxParserFlag ParserError Runtime TensorIOMode TensorLocation
"""


def names(module: Any) -> dict[str, Any]:
    """The names of ``module``, and of those of its classes that are listed; what a class asks to be overridden."""
    found: dict[str, Any] = {"": sorted(n for n in dir(module) if not n.startswith("_"))}
    for name in sorted(CLASSES.split()):
        cls = getattr(module, name, None)
        if cls is not None:
            overridden = re.findall(r"def (\w+)\(self", cls.__doc__ or "")  # a trampoline's are not attributes
            found[name] = sorted({n for n in dir(cls) if not n.startswith("_")} | set(overridden) - {"__init__"})
    return found


def record(wheel: Path) -> tuple[str, dict[str, Any]]:
    """Version and names of the bindings in ``wheel``."""
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        source = Path(folder) / "entries.c"
        source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in ENTRIES.split()))
        linked = subprocess.run(["readelf", "-d", *Path(folder).rglob("tensorrt.so")], capture_output=True, text=True)
        for library in re.findall(r"\[(libnv[^\]]+)\]", linked.stdout):
            out = str(Path(folder) / library)
            subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", out, str(source)], check=True)
        env = {**os.environ, "LD_LIBRARY_PATH": folder, "PYTHONPATH": folder}
        told = subprocess.run(
            [sys.executable, __file__, "--inside"], env=env, check=True, stdout=subprocess.PIPE, text=True
        )
    version, found = json.loads(told.stdout)
    return version, found


def main() -> None:
    """Record every wheel that is named."""
    if sys.argv[1:] == ["--inside"]:
        import tensorrt_bindings

        print(json.dumps([tensorrt_bindings.__version__, names(tensorrt_bindings)]))
        return
    found = dict(sorted(record(Path(wheel)) for wheel in sys.argv[1:]))
    OUT.write_text(json.dumps(found, indent=0, separators=(",", ":")) + "\n")
    print(f"{OUT.name}: {', '.join(found)}")


if __name__ == "__main__":
    main()
