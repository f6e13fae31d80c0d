"""The engine that computes: a session on Spark or on Sail, and files as rows of its DataFrames."""
