"""Sub-commands, a file each: ``add_arguments(parser)`` and ``main(args) -> exit code``.

What a command needs is imported when it runs, so that ``--help`` costs nothing.
"""
