"""Model-FLOP utilisation: how much of what a GPU can multiply a training step uses.

As in Chowdhery et al., "PaLM" (arXiv 2204.02311), appendix B: counted is what the model's definition takes, however it
is computed (``modules.winograd`` multiplies less, recomputation more), and a backward pass as two forward passes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from nemo_ext.modules import winograd

# Dense bf16 peak of a device by what its name contains, the more special first; NVIDIA's data sheets, whose "with
# sparsity" is halved.
_PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H200 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
}


def step_flops(model: Any, batch: Any) -> float:
    """Floating-point operations of a training step of ``model`` on ``batch``: three times its forward pass.

    For models with a ``learn`` (acoustic ones); 0.0 for others. The forward pass is run once more, without gradients,
    and leaves the model, its buffers and the random numbers as they were. Where ranks share a model's weights (FSDP),
    all of them call it together.
    """
    if not hasattr(model, "learn"):
        return 0.0
    modes = [(module, module.training) for module in model.modules()]
    model.eval()  # statistics of a batch norm stay as they are, and no random number is drawn
    try:
        with torch.no_grad(), winograd.direct(), FlopCounterMode(display=False) as counted:
            model.learn(batch)
    finally:
        for module, mode in modes:
            module.training = mode
    return 3.0 * counted.get_total_flops()


def peak_flops(device: torch.device | str) -> float | None:
    """What ``device`` can do a second in dense bf16 products; None where that is not known, on a CPU for instance."""
    device = torch.device(device)
    return peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def peak_of(name: str) -> float | None:
    """As ``peak_flops``, by a GPU's name: ``NVIDIA H100 80GB HBM3``."""
    return next((peak for known, peak in _PEAKS.items() if all(word in name for word in known.split())), None)


def utilisation(flops: float, seconds: float, peak: float | None) -> float | None:
    """Share of ``peak`` that ``flops`` operations in ``seconds`` are; None where one of them is not known."""
    return flops / seconds / peak if peak and flops and seconds > 0 else None
