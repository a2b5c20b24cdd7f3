"""What ``edge-lstm record`` wrote, message by message through a pipeline."""

import base64
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_lstm.errors import ConfigError
from edge_lstm.messages import Message
from edge_lstm.pipeline import Pipeline
from edge_lstm.replay.files import writing

HEADER = ("timestamp", "score", "surprise", "quality", "alert", "reason", "stream")
BATCH = 512


def messages_of(path: Path) -> Iterator[Message]:
    """Yield the messages of a recording.

    Raises:
        ConfigError: the file can't be read, or a line is not a recorded message.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield _message(line, f"{path}:{number}")
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None


def _message(line: bytes, where: str) -> Message:
    try:
        record = json.loads(line.decode())
        topic, payload = record["topic"], record["payload"]
        if not isinstance(topic, str):
            raise TypeError(f"topic is {topic!r}")
        raw = base64.b64decode(payload) if record.get("encoding") == "base64" else payload.encode()
        arrived, qos = float(record["arrived"]), int(record.get("qos", 0))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{where}: not a recorded message: {error}") from None
    return Message(topic, raw, arrived, bool(record.get("retain")), qos)


def replay_messages(path: Path, pipeline: Pipeline, output: Path) -> None:
    """Write a row for every score that the recording's messages give."""
    with writing(output), output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        batch: list[Message] = []
        for message in messages_of(path):
            batch.append(message)
            if len(batch) == BATCH:
                writer.writerows(_rows(pipeline, batch))
                batch.clear()
        writer.writerows(_rows(pipeline, batch))


def _rows(pipeline: Pipeline, batch: list[Message]) -> Iterator[tuple[Any, ...]]:
    for message in pipeline.handle(batch):
        if message.topic.endswith("/score"):
            s = json.loads(message.payload)
            known = s["score"] is not None
            yield (
                s["t"], s["score"] if known else 0.0, s["surprise"] if known else 0.0,
                s["quality"], int(s["alert"]), s["reason"], s["stream"],
            )  # fmt: skip
