"""JSON documents: parsed, serialised, hashed, read field by field, and validated by JSON Schema."""
