"""Models from text to audio."""
