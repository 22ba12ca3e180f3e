"""Waveforms: files, resampling, mel, pitch, loudness."""
