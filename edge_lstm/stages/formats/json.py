"""JSON text to plain values; all that can be wrong with it, by name."""

import re

import msgspec

from edge_lstm.errors import PayloadError

_parse = msgspec.json.Decoder().decode
# What C's printf writes for a float that is none; JSON has no word for it.
_NOT_FINITE = re.compile(rb"(?<![\w\"])[-+]?(?:nan|inf|infinity)(?![\w\"])", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(rb":\s*-?[0-9]+,[0-9]")


def parse_json(payload: bytes) -> object:
    """Return a JSON payload as plain values; every number in it is finite, or an integer.

    Raises:
        PayloadError: ``bad_json``, ``bad_utf8``, ``not_finite`` or ``too_deep``.
    """
    try:
        return _parse(payload)
    except RecursionError:
        raise PayloadError("too_deep", "nested deeper than the parser goes") from None
    except UnicodeDecodeError:
        raise PayloadError("bad_utf8", "a string in the payload is not UTF-8") from None
    except msgspec.ValidationError:  # untyped, so a number is all that can be invalid
        raise PayloadError("not_finite", "a number is out of the range of float64") from None
    except msgspec.DecodeError as error:
        if _NOT_FINITE.search(payload):
            raise PayloadError("not_finite", "NaN or infinity, which JSON does not have") from None
        hint = " (decimal comma?)" if _DECIMAL_COMMA.search(payload) else ""
        hint = " (byte order mark)" if payload.startswith(b"\xef\xbb\xbf") else hint
        raise PayloadError("bad_json", f"{error}{hint}") from None
