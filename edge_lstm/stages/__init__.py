"""Bytes to samples to rows, and results to bytes: pure functions of plain values.

``topics`` names streams, ``decode`` reads messages, ``align`` joins channels into rows, ``encode``
writes results. No stage imports another one, and none knows a clock, a file or a network.
"""
