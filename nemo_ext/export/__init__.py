"""Models as graphs, engines and repositories: the bundle, and what NVIDIA Riva and Triton take."""
