"""Recordings through the code that runs live: ``edge-lstm replay``."""
