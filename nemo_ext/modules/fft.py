"""NeMo's transformer stacks and predictors, run so that utterances of a batch do not touch each other.

The modules and their weights are NeMo's; only the order of operations is written here. What is different from their own
``forward``: padding is set to zero before **every** convolution (there, the second one of a feed-forward and of a
predictor reads two positions beyond a text's end, so that a text spoken beside a longer one comes out differently), and
the voice's adapters act behind each layer norm.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nemo_ext.modules import winograd
from nemo_ext.modules.adapters import VoiceWeights


def run_stack(stack: Any, part: str, x: Tensor, mask: Tensor, condition: Tensor | None, voice: VoiceWeights) -> Tensor:
    """A stack of NeMo's (FFTransformerEncoder behind its embedding, or FFTransformerDecoder).

    Args:
        stack: the module.
        part: its name among the adapters' sites: encoder or decoder.
        x: ``(B, T, D)``.
        mask: ``(B, T)``, True on valid positions.
        condition: ``(B, 1, D)``, or None for a model that knows one voice.
        voice: the batch's adapters.

    Returns:
        ``(B, T, D)``, zero where ``mask`` is False.
    """
    keep = mask[..., None].to(x.dtype)
    # in float32 whatever the stack is in: float16 counts to 2,048, bfloat16 to 256
    with torch.autocast(x.device.type, enabled=False):
        places = stack.pos_emb(torch.arange(x.shape[1], device=x.device, dtype=torch.float32)).to(x.dtype)
    x = stack.drop(stack.cond_input(x + places * keep, condition))
    packed = winograd.packing(mask, stack.layers)
    for i, layer in enumerate(stack.layers):
        x = _attention(layer.dec_attn, x, mask, condition)
        x = voice(f"{part}.{i}.attention", x) * keep
        x = voice(f"{part}.{i}.ff", _feed_forward(layer.pos_ff, x, keep, condition, packed)) * keep
        if layer.is_adapter_available():  # adapters of stock NeMo in a stock checkpoint
            x = layer.forward_enabled_adapters(x) * keep
    return x


def _attention(module: Any, x: Tensor, mask: Tensor, condition: Tensor | None) -> Tensor:
    """Self-attention, residual, layer norm: ``x (B, T, D)``, ``mask (B, T)``.

    In training by torch's fused attention, which keeps no ``(B, T, T)``; on a CPU that form knows no dropout. Otherwise
    by NeMo's own operations, which are what is exported.
    """
    dropped = module.dropatt.p if module.training else 0.0
    plain = not torch.is_grad_enabled() or torch.compiler.is_compiling() or module.pre_lnorm
    if plain or (dropped > 0 and x.device.type == "cpu"):
        out: Tensor = module(x, attn_mask=~mask, conditioning=condition)
        return out
    heads = module.qkv_net(x).view(*x.shape[:2], 3, module.n_head, module.d_head)
    query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d_head)
    keys = mask[:, None, None, :]
    seen = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=keys, dropout_p=dropped)
    told = module.drop(module.o_net(seen.transpose(1, 2).flatten(2)))
    attended: Tensor = module.layer_norm(x + told, condition)
    return attended


def _feed_forward(
    module: Any, x: Tensor, keep: Tensor, condition: Tensor | None, packed: winograd.Packing | None
) -> Tensor:
    """Two convolutions, residual, layer norm; ``x (B, T, D)`` is zero on padding."""
    first, activation, second, dropout = module.CoreNet
    if packed is not None:
        made = winograd.feed_forward(x, packed, first, second)
    else:
        hidden = activation(first(x.transpose(1, 2))) * keep.transpose(1, 2)
        made = second(hidden).transpose(1, 2)
    out: Tensor = module.layer_norm(x + dropout(made), condition)
    return out.to(x.dtype)


def run_predictor(
    predictor: Any, part: str, encoded: Tensor, mask: Tensor, condition: Tensor | None, voice: VoiceWeights
) -> Tensor:
    """A TemporalPredictor of NeMo's: ``encoded (B, T_text, D)`` -> ``(B, T_text)``, zero where ``mask`` is False."""
    keep = mask[..., None].to(encoded.dtype)
    x = predictor.cond_input(encoded, condition) * keep
    for i, layer in enumerate(predictor.layers):
        x = torch.relu(layer.conv(x.transpose(1, 2))).transpose(1, 2)
        x = voice(f"{part}.{i}", layer.dropout(layer.norm(x, condition)))
        if layer.is_adapter_available():
            x = layer.forward_enabled_adapters(x)
        x = x * keep
    out: Tensor = (predictor.fc(x) * keep).squeeze(-1)
    return out
