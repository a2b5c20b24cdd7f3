"""LiteRT (TensorFlow Lite) models, read without LiteRT."""
