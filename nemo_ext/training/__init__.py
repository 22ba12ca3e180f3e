"""From batches to a trained model: the run, its checkpoints, and what a person sees of it."""
