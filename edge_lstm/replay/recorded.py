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

HEADER = ("timestamp", "score", "surprise", "quality", "alert", "reason", "stream")
BATCH = 512


def messages_of(path: Path) -> Iterator[Message]:
    """Yield the messages of a recording.

    Raises:
        ConfigError: a line is not a recorded message.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                payload = record["payload"]
                raw = base64.b64decode(payload) if record.get("encoding") == "base64" else payload.encode()
                yield Message(
                    record["topic"],
                    raw,
                    float(record["arrived"]),
                    bool(record.get("retain")),
                    int(record.get("qos", 0)),
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(f"{path}:{number}: not a recorded message: {error}") from None


def replay_messages(path: Path, pipeline: Pipeline, output: Path) -> None:
    """Write a row for every score that the recording's messages give."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", newline="", encoding="utf-8") as file:
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
