"""FlatBuffers, read with every offset checked against the file: damage ends in WeightsError, never beyond its bytes."""

import struct

from edge_lstm.errors import WeightsError

MAX_NAME = 200  # characters of a name that are shown
SPARE = 16  # fields beyond those known that are looked at, so that looking takes no time


class Table:
    """One table of a file; fields are numbered as in its schema, from 0.

    Args:
        content: the whole file.
        at: where the table begins.
        what: its name, for messages.
        fields: how many its schema has; a file with more was written by a newer one and is refused.
    """

    def __init__(self, content: bytes, at: int, what: str, fields: int) -> None:
        self.content = content
        self.at = at
        self.what = what
        self._vtable = at - self._unpack("<i", at)
        size = self._unpack("<H", self._vtable)
        self._slots = (size - 4) // 2
        if size < 4 or size % 2 or self._slots > fields + SPARE:
            raise self._damaged("its table of fields")
        for field in range(fields, self._slots):
            if self._offset(field):
                message = f"{what} has field {field}, which this reader does not know; write it with an older converter"
                raise WeightsError(message)

    def _damaged(self, where: str) -> WeightsError:
        return WeightsError(f"damaged: {self.what}: {where} lies outside the file")

    def _unpack(self, form: str, at: int) -> int:
        if not 0 <= at <= len(self.content) - struct.calcsize(form):
            raise self._damaged("a value")
        return int(struct.unpack_from(form, self.content, at)[0])

    def _offset(self, field: int) -> int:
        """Return where a field lies in the table, 0 if it is left out."""
        if field >= self._slots:
            return 0
        return self._unpack("<H", self._vtable + 4 + 2 * field)

    def integer(self, field: int, form: str, default: int = 0) -> int:
        """Return a scalar; ``form`` is its code in ``struct``."""
        offset = self._offset(field)
        return self._unpack("<" + form, self.at + offset) if offset else default

    def real(self, field: int) -> float:
        """Return a float32, 0 if left out."""
        bits = self.integer(field, "I")
        return float(struct.unpack("<f", struct.pack("<I", bits))[0])

    def table(self, field: int, what: str, fields: int) -> "Table | None":
        """Return the table that a field points to."""
        offset = self._offset(field)
        return self._pointed(self.at + offset, what, fields) if offset else None

    def _pointed(self, at: int, what: str, fields: int) -> "Table":
        return Table(self.content, at + self._unpack("<I", at), what, fields)

    def vector(self, field: int, item: int, limit: int) -> tuple[int, int]:
        """Return position and length of a vector, (0, 0) if left out.

        Args:
            field: which.
            item: bytes of an element.
            limit: elements at most.
        """
        offset = self._offset(field)
        if not offset:
            return 0, 0
        at = self.at + offset
        at += self._unpack("<I", at)
        length = self._unpack("<I", at)
        if length > limit:
            message = f"{self.what}: a list of {length}, expected at most {limit}"
            raise WeightsError(message)
        if at + 4 + length * item > len(self.content):
            raise self._damaged("a list")
        return at + 4, length

    def numbers(self, field: int, form: str, limit: int) -> tuple[int | float, ...]:
        """Return the elements of a vector of scalars."""
        at, length = self.vector(field, struct.calcsize("<" + form), limit)
        return struct.unpack_from(f"<{length}{form}", self.content, at)

    def integers(self, field: int, limit: int, form: str = "i") -> tuple[int, ...]:
        """Return the elements of a vector of integers."""
        return tuple(map(int, self.numbers(field, form, limit)))

    def tables(self, field: int, what: str, fields: int, limit: int) -> list["Table"]:
        """Return the tables of a vector; each is called ``what`` and its number."""
        at, length = self.vector(field, 4, limit)
        return [self._pointed(at + 4 * k, f"{what} {k}", fields) for k in range(length)]

    def name(self, field: int) -> str:
        """Return a string, fit to be shown."""
        at, length = self.vector(field, 1, len(self.content))
        text = self.content[at : at + min(length, MAX_NAME)].decode(errors="replace")
        return "".join(c if c.isprintable() else "?" for c in text)


def root(content: bytes, identifier: bytes, what: str, fields: int) -> Table:
    """Return the root table of a file.

    Raises:
        WeightsError: it does not begin as a FlatBuffer with that identifier (4 bytes) does.
    """
    if len(content) < 8 or content[4:8] != identifier:
        message = f"not a {identifier.decode()} FlatBuffer: it begins with {content[:8].hex()}"
        raise WeightsError(message)
    return Table(content, int.from_bytes(content[:4], "little"), what, fields)
