"""Recordings -> manifest: recipes, checks, splits, report."""
