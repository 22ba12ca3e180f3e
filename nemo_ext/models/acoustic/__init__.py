"""tokens + voice vector -> mel."""
