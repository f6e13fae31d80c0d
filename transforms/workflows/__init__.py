"""All events of some workflow groups in, their summaries out."""
