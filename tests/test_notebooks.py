"""The notebooks run from top to bottom, on toy settings, and are kept without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_outputs_are_stripped(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], cell["source"]
            assert cell["execution_count"] is None
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}


def test_they_are_a_numbered_tour() -> None:
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{i:02d}_" for i in range(1, len(NOTEBOOKS) + 1)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / target).exists(), target
    for page in re.findall(r"docs/[\w/]+\.md", text):
        assert (ROOT / page).is_file(), page


def run(path: Path, **settings: Any) -> list[Any]:
    """Every cell of the notebook at ``path`` in a kernel of its own; the cells with their outputs."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(f"NEMO_EXT_NOTEBOOK_{name}", str(value))
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        client.execute()
    return list(notebook.cells)


def players(cells: list[Any]) -> int:
    """How many recordings can be listened to."""
    kinds = [output.get("data", {}) for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("<audio" in str(kind.get("text/html", "")) for kind in kinds)


def printed(cells: list[Any]) -> str:
    return "".join(
        output.text
        for cell in cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.get("name") == "stdout"
    )


def test_quickstart(tmp_path: Path) -> None:
    cells = run(ROOT / "notebooks/01_quickstart.ipynb", OUT=tmp_path, SENTENCES=24, STEPS=4)
    assert players(cells) == 13
    assert (tmp_path / "both.voice").is_file()
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))
    assert " s  never" in printed(cells)


def test_adapt_a_voice(tmp_path: Path, tiny_acoustic: Path, tiny_vocoder: Path) -> None:
    cells = run(
        ROOT / "notebooks/02_adapt_a_voice.ipynb",
        OUT=tmp_path,
        BASE=tiny_acoustic,
        VOCODER=tiny_vocoder,
        SENTENCES=14,
        STEPS=2,
    )
    assert players(cells) == 7
    assert "consent     unknown" in printed(cells)
    assert (tmp_path / "cleo.voice").stat().st_size < 1_000_000
