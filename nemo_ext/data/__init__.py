"""From a corpus to batches: features, tokens, samplers, datasets, loaders."""
