"""RTNeural JSON."""
