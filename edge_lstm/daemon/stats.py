"""Counts: what is published about the work, and what is logged of it.

Nothing goes missing between them, at any moment:

    messages    received = decoded + dropped + queued
    samples     samples = scored + refused
"""

import logging
import os
import sys
import threading
from collections import Counter
from typing import Any

import msgspec

from edge_lstm import __version__
from edge_lstm.daemon.check import Prepared
from edge_lstm.daemon.checkpoint import Keeper
from edge_lstm.daemon.mqtt import Link
from edge_lstm.messages import Message
from edge_lstm.pipeline import Pipeline

LOG_S = 60.0

log = logging.getLogger(__name__)


def dropped(pipeline: Pipeline, link: Link) -> Counter[str]:
    """Return the messages that were dropped so far, by reason."""
    traffic, counts = link.traffic, pipeline.dropped.copy()
    counts.update(
        bad_topic=traffic.bad_topics,
        too_large=traffic.inbox.too_large,
        overflow=traffic.inbox.overflow,
        redelivered=traffic.receipts.redelivered,
    )
    return +counts


def work(pipeline: Pipeline, link: Link) -> dict[str, Any]:
    """Return the counts of messages and samples."""
    return {
        "received": link.traffic.received,
        "decoded": pipeline.decoded,
        "dropped": dict(dropped(pipeline, link)),
        "queued": len(link.traffic.inbox),
        "samples": pipeline.samples,
        "scored": pipeline.scored,
        "refused": dict(+pipeline.refused),
        "alerts": pipeline.alerts,
        "streams": sum(len(route.lane.rows) for route in pipeline.routes),
        "evicted": pipeline.evicted,
        "unsent": link.traffic.unsent,
        "connects": link.connects,
        "session_lost": link.session_lost,
        "publish_refused": link.publish_refused,
        "protocol_errors": link.protocol_errors,
    }


def memory(keeper: Keeper | None, now: float) -> dict[str, Any] | None:
    """Return how it stands with the checkpoints, ``None`` if there are none."""
    if keeper is None:
        return None
    return {
        "age_s": round(keeper.age_s(now), 1),
        "bytes": keeper.size,
        "written": keeper.written,
        "failed": keeper.failed,
    }


def process() -> dict[str, int]:
    """Return what this process takes; 0 where the system does not say."""
    return {"rss_bytes": _rss_bytes(), "threads": threading.active_count(), "fds": _open_files()}


def _rss_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def info(prepared: Prepared) -> Message:
    """Return what the daemon says about itself, kept by the broker."""
    sources = [
        {
            "topic": route.decoder.source.topic,
            "format": route.decoder.source.format,
            "model": route.reporter.model,
            "judge": route.lane.bundle.metadata.judge,
            "channels": route.lane.bundle.metadata.channel_names,
            "budget_s": route.lane.settings.budget_s,
            "publish": route.outputs.publish,
            "device": route.lane.engine.device,
        }
        for route in prepared.routes
    ]
    python = ".".join(map(str, sys.version_info[:3]))
    about = {"version": __version__, "python": python, "sources": sources}
    return Message(f"{prepared.config.output.prefix}/info", msgspec.json.encode(about), retain=True)


class Summary:
    """Log lines about the work: at most one a minute, and one a minute for each reason to drop something."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._seen: Counter[str] = Counter()

    def write(self, now: float, pipeline: Pipeline, link: Link) -> None:
        """Log what is new, if it is time for it."""
        for reason, count in (dropped(pipeline, link) + pipeline.refused).items():
            if new := self._new(reason, count, now):
                log.warning("dropped %d, such as %s", new, pipeline.examples.get(reason, reason))
        if new := self._new("", pipeline.received, now):
            scored = self._new("scored", pipeline.scored, now)
            log.info("%d messages, %d samples scored; %d alerts so far", new, scored, pipeline.alerts)

    def _new(self, key: str, count: int, now: float) -> int:
        """Return how much a counter grew since it was last told; 0 if that was less than a minute ago."""
        if count == self._seen[key] or now < self._due.get(key, 0.0):
            return 0
        new = count - self._seen[key]
        self._seen[key] = count
        self._due[key] = now + LOG_S
        return new
