"""Rules about personal data: what is dropped, hashed, truncated and masked before a record is written."""
