"""Rows of a person: their removal from the lake, and their export."""
