"""The lake: its tables, their recorded state, and the one way in which that state changes."""
