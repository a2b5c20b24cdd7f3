"""The edge of the program: the only place with network, clock, files, signals and the command line.

``mqtt`` is the connection, with its ``inbox`` and the clock of its ``hearing``; ``calls`` make it, each a ``dial`` in a
thread, with ``credentials`` and ``tls``; ``session`` is what outlives it. ``service`` is the loop around it and the
pipeline, ``config`` all options, ``check`` what can be wrong with them, ``commands`` what a person types.
"""
