"""Speech from text: the chain text -> tokens -> mel -> audio, and the job that writes it to a file."""
