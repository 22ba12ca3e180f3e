"""Measures: distortion, identification, alignment, pitch."""
