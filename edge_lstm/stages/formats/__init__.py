"""The payload formats of ``decode``: one file a format, and the small grammars they share.

Each format is a ``Read``: payload and arrival time to (time, values) pairs. None of them looks at
topics, and none guesses: the configuration says what a payload is.
"""
