"""Keras files, read without Keras."""
