"""A payload that is one bare number, as ESPHome, Home Assistant's statestream and many others send.

https://esphome.io/components/sensor/mqtt.html: ``<prefix>/sensor/<name>/state``, "nan" for none.
https://www.home-assistant.io/integrations/mqtt_statestream: ``<base>/<domain>/<name>/state``,
"unknown" and "unavailable" for none.
"""

from edge_lstm.errors import ConfigError, PayloadError
from edge_lstm.stages.formats.scalar import Scalars
from edge_lstm.stages.formats.source import Read, Rows, Source


def compile_number(source: Source) -> Read:
    """Return the reader of bare numbers; its one channel is called ``value``.

    Raises:
        ConfigError: the source asks for what a bare number has not.
    """
    if source.time not in ("", "arrival") or source.records or source.period_s:
        raise ConfigError(f"format {source.format!r} is one number a message and has no time, records or period_s")
    read_text = Scalars(source.values, coerce=True).text

    def read(payload: bytes, arrived: float) -> Rows:
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            raise PayloadError("bad_utf8", "the payload is not text") from None
        value = read_text(text, "the payload")
        if value is None:
            raise PayloadError("missing", f"the payload is {text!r}")
        return [(arrived, {"value": value})]

    return read
