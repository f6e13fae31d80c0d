"""Lines in, records out: parsed, cleaned of secrets, validated, hashed."""
