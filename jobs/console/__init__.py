"""What a person at a terminal, a log file or a pipe sees."""
