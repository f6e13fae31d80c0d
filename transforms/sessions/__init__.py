"""All events of some session keys in, their sessions out; and how a session's numbers come about."""
