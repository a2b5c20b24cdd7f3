"""Benchmarks. Linear algebra runs in one thread, which has to be said before NumPy is imported."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
