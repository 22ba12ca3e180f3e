"""Models from a mel to audio."""
