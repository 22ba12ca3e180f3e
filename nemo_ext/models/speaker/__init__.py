"""Speaker encoders: a recording -> a vector that tells its speaker from others."""
