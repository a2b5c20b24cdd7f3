"""How far back the state reaches: for ever, or a window, by copies that start anew in turn (docs/numerics.md, 4.3).

A network that was trained on windows from a zero state has never seen an old one. Copies of the state that start anew
one after the other bound what it sees, at the price of a step per copy.
"""

from edge_lstm.core.cache import jit
from edge_lstm.core.table import Norms

NONE = -1


@jit
def turn(norms: Norms, since: int) -> tuple[int, int]:
    """Return which copy starts anew before sample ``since``, or NONE, and which is the oldest.

    Before sample 0, the first after ``forget``, all copies start.
    """
    if norms.window == 0:
        return 0 if since == 0 else NONE, 0
    every = norms.window // norms.copies
    turns = since // every
    due = turns % norms.copies if since % every == 0 else NONE
    return due, (turns + 1) % norms.copies
