"""Counts of rule violations, and what is usual for a source."""
