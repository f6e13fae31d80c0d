"""The landing zone: which files have landed, and which of them no night reads."""
