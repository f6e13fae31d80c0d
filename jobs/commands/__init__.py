"""The command line: what each command prints."""
