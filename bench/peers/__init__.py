"""What others do with the same work: one file per peer, each run as a program of its own."""
