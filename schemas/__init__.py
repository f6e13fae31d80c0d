"""The contracts of the tables, and the JSON Schemas of the four formats."""
