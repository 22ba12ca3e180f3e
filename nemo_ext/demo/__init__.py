"""One command that makes a corpus, trains, speaks and shows what happened."""
