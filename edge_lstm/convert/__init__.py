"""Weights trained elsewhere: one importer per format, their mathematics, and what becomes a bundle of them."""
