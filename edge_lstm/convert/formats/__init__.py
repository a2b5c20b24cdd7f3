"""One importer per format; each has a ``reader``."""
