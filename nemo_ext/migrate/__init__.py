"""Checkpoints of older NeMo releases made ours: `nemo-ext migrate`."""
