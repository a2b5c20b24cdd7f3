"""What outlives the process: the streams' state, and what may be acknowledged because it is kept."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from edge_lstm.daemon.check import Prepared
from edge_lstm.daemon.checkpoint import Cut, Keeper, next_state
from edge_lstm.daemon.folder import StateFolder
from edge_lstm.daemon.mqtt import Link
from edge_lstm.pipeline import Pipeline
from edge_lstm.saved import SavedState

EVERY_S = 300.0
EVERY_WAITING_S = 10.0  # where the broker waits for it, and holds some twenty messages only

CROWD = 4096  # messages that wait for a checkpoint: it is time for one

log = logging.getLogger(__name__)


class Memory:
    """A folder, and when it is written to.

    Args:
        folder: ours alone.
        prepared: the configuration.
        wake: ends the loop's wait, from any thread.
    """

    def __init__(self, folder: StateFolder, prepared: Prepared, wake: Callable[[], None]) -> None:
        state = prepared.config.state
        self._awaited = prepared.config.mqtt.ack_policy == "checkpoint"
        every_s = state.every_s or (EVERY_WAITING_S if self._awaited else EVERY_S)
        wear = float("inf") if self._awaited else state.mib_per_day
        self._folder = folder
        self.keeper = Keeper(folder, every_s, wear, wake)
        self._last = SavedState()
        self._number = 0
        self._vouched = False
        self._lost = 0
        self._told = ""

    @property
    def problem(self) -> str:
        """Why nothing is kept at present; empty if it is."""
        return self.keeper.problem

    def recall(self, pipeline: Pipeline, link: Link) -> None:
        """Go on where the process before us was."""
        found = self._folder.load()
        for problem in found.problems:
            log.warning("%s; not used", problem)
        self._vouched = found.whole and self._awaited
        if not self._vouched:
            self._folder.disown()
        if found.state is None:
            return
        self._last = found.state
        for problem in pipeline.restore(found.state.routes):
            log.warning("%s; its streams start anew", problem)
        link.traffic.receipts.expect(found.state.pending)
        link.expect_session = True
        link.stale_filters = [old for old in found.state.filters if old not in link.filters]
        if not found.whole:
            pipeline.doubt()
        streams = sum(len(route.lane.rows) for route in pipeline.routes)
        whole = "" if found.whole else "; some samples since may be missing, so scores are told as recovering"
        written = datetime.fromtimestamp(found.state.written, UTC).isoformat(timespec="seconds")
        log.info("going on where the last run was at %s; streams: %d%s", written, streams, whole)

    def gap(self, number: int) -> None:
        """Note that messages up to this one don't come again, acknowledged or not: the broker has forgotten us."""
        self._lost = number

    def tend(self, now: float, pipeline: Pipeline, link: Link) -> None:
        """Do what is due, after each batch."""
        traffic, keeper = link.traffic, self.keeper
        keeper.tend(now, traffic.published - traffic.unconfirmed())
        self._tell()
        crowded = self._awaited and len(traffic.receipts) >= CROWD
        due = keeper.due(now) or (crowded and not keeper.busy and not keeper.problem)
        # After a failure even without news: a broker that waits for a checkpoint may send none before there is one.
        if due and (traffic.inbox.taken != self._number or keeper.problem):
            keeper.keep(self._cut(pipeline, link))
        if self._awaited:
            self._let_acknowledge(link)

    def _tell(self) -> None:
        """Log when checkpoints begin or cease to fail."""
        if self.problem and self.problem != self._told:
            log.warning("%s; scoring goes on, a kill would cost what comes now", self.problem)
        elif self._told and not self.problem:
            log.info("checkpoints are written again")
        self._told = self.problem

    def _cut(self, pipeline: Pipeline, link: Link) -> Cut:
        """Take a snapshot."""
        traffic = link.traffic
        self._number = traffic.inbox.taken
        self._last = next_state(
            self._last,
            filters=link.filters,
            pending=traffic.receipts.pending(self._number),
            routes=pipeline.snapshot(),
        )
        return Cut(self._number, traffic.published, self._last)

    def _let_acknowledge(self, link: Link) -> None:
        """Say which messages the broker may be told are done: those in a checkpoint, or all while none can be made."""
        receipts, keeper = link.traffic.receipts, self.keeper
        if self._vouched and (keeper.problem or link.traffic.news or keeper.holding < self._lost):
            self._vouched = not self._folder.disown()
        if keeper.problem and not self._vouched:
            receipts.ceiling = None
            return
        receipts.ceiling = keeper.holding
        needed = max(receipts.acknowledged, self._lost)
        if not self._vouched and keeper.written and not link.traffic.news and keeper.holding >= needed:
            self._folder.vouch()
            self._vouched = True

    def finish(self, pipeline: Pipeline, link: Link, timeout_s: float) -> None:
        """Keep a last state, if all that follows from it got out; else the one before is what can be gone on from."""
        traffic = link.traffic
        if traffic.unconfirmed():
            log.warning("the broker has not confirmed all scores; the state of the last checkpoint stays")
            return
        if not self.keeper.finish(self._cut(pipeline, link), timeout_s):
            log.error("the state could not be written: %s", self.problem or "the disk is too slow")
            return
        if not traffic.news and self.keeper.holding >= self._lost:
            self._folder.vouch()
        if self._awaited:
            traffic.receipts.ceiling = self.keeper.holding
            traffic.acknowledge()

    def close(self) -> None:
        """Let another process have the folder."""
        self._folder.close()
