"""Mutated input for every reader of foreign bytes: a small run in the tests, a long one by ``scripts/fuzz``."""
