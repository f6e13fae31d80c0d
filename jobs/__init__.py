"""What runs: the night and its steps, the other jobs, the command line."""
