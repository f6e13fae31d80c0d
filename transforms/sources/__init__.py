"""One module per source: which records are valid, and how one maps to `events`."""
