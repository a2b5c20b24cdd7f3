"""The edge of the program: the only place with network, clock, files, signals and the command line.

``mqtt`` is the connection, with its ``inbox`` and the clock of its ``hearing``, ``service`` the loop around it and the
pipeline, ``config`` all options, ``check`` what can be wrong with them, ``commands`` what a person types.
"""
