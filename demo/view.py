"""The live view: a line per stream, what happened lately, and the summary at the end."""

import io
import re
import time
from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.ledger import Fault, Ledger, Stream

BARS = "▁▂▃▄▅▆▇█"
FULL = 8.0  # surprise that fills a bar
EVENTS = 6
SPEAK_S = 10  # without a terminal
STYLES = {"ok": "green", "warming_up": "dim", "recovering": "yellow", "suspect": "yellow", "": "dim"}


def _spark(stream: Stream) -> Text:
    """Return the recent surprises as bars."""
    text = Text()
    for surprise in stream.surprises:
        height = min(len(BARS) - 1, int(surprise / FULL * len(BARS)))
        style = "bold red" if surprise >= 5 else "yellow" if surprise >= 3 else "cyan"
        text.append(BARS[height], style)
    return text


def _values(stream: Stream) -> str:
    return "  ".join(f"{value:g}" for value in stream.values.values())


def streams_table(ledger: Ledger) -> Table:
    """Return a line per stream."""
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    for title, options in (
        ("stream", {"no_wrap": True}),
        ("measured", {"no_wrap": True, "ratio": 1}),
        ("surprise", {"no_wrap": True, "min_width": 28}),
        ("score", {"justify": "right"}),
        ("quality", {"no_wrap": True}),
        ("alert", {"no_wrap": True, "min_width": 12}),
    ):
        table.add_column(title, **options)  # type: ignore[arg-type]
    for name in sorted(ledger.streams):
        stream = ledger.streams[name]
        score = "-" if stream.score is None else f"{stream.score:.3f}"
        alert = Text(f"● {stream.alert}", "bold red") if stream.alert else Text("")
        quality = Text(stream.quality.replace("_", " "), STYLES.get(stream.quality, ""))
        table.add_row(name.split("/")[2], _values(stream), _spark(stream), score, quality, alert)
    return table


def events(ledger: Ledger, began: float) -> Text:
    """Return the last faults and alerts, oldest first."""
    lines: list[tuple[float, str, str]] = [
        (fault.told, "magenta", f"fault   {fault.stream.split('/')[2]}: {fault.kind} on {fault.channel}")
        for fault in ledger.faults
    ]
    for alert in ledger.alerts:
        device = alert.stream.split("/")[2]
        where = f" on {alert.channel}" if alert.channel else ""
        if alert.fault is None:
            lines.append((alert.arrived, "yellow", f"alert   {device}: {alert.reason}{where}   (no fault: false)"))
        else:
            late = alert.arrived - alert.fault.told
            lines.append((alert.arrived, "red", f"alert   {device}: {alert.reason}{where}   ({late:.1f} s after)"))
    text = Text()
    for at, style, line in sorted(lines)[-EVENTS:]:
        text.append(f"{at - began:6.1f} s  ", "dim")
        text.append(line + "\n", style)
    return text


def screen(ledger: Ledger, began: float, seconds: float, broker: str) -> Group:
    """Return the whole view."""
    elapsed = min(time.monotonic() - began, seconds)
    head = Text.assemble(
        ("edge-lstm demo  ", "bold"),
        (f"{elapsed:4.0f} of {seconds:.0f} s   ", ""),
        (f"{len(ledger.streams)} devices -> {broker} -> LSTM -> scores   ", "dim"),
        (f"{len(ledger.sent)} samples  {len(ledger.alerts)} alerts  {len(ledger.faults)} faults", ""),
    )
    return Group(head, streams_table(ledger), events(ledger, began))


class Show:
    """What the person sees while it runs: the live view, or a line now and then where there is no terminal."""

    def __init__(
        self, console: Console, live: Live | None, broker: str, began: float, seconds: float, picture: Path | None
    ) -> None:
        self._console, self._live, self._broker = console, live, broker
        self._began, self._seconds = began, seconds
        self._picture = picture
        self._spoken = 0

    def update(self, ledger: Ledger) -> None:
        """Show the state of the books."""
        elapsed = time.monotonic() - self._began
        if self._picture and elapsed > 0.75 * self._seconds:
            drawing = Console(record=True, width=118, file=io.StringIO(), force_terminal=True)
            drawing.print(screen(ledger, self._began, self._seconds, self._broker))
            svg = drawing.export_svg(title="scripts/demo")
            # with the reader's own fonts, not some from elsewhere
            self._picture.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))
            self._picture = None
        if self._live is not None:
            self._live.update(screen(ledger, self._began, self._seconds, self._broker), refresh=True)
        elif elapsed > SPEAK_S * (self._spoken + 1):
            self._spoken += 1
            s = ledger.summary()
            self._console.print(
                f"{SPEAK_S * self._spoken:4d} s  {s['samples']} samples, {s['injected']} faults, {s['found']} found, "
                f"{s['false_alerts']} false alerts",
                highlight=False,
            )


def final(console: Console, ledger: Ledger) -> None:
    """Print what was injected and what was found."""
    table = Table(title="faults", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("device", "fault", "channel", "found as", "after"):
        table.add_column(title)
    for fault in ledger.faults:
        table.add_row(fault.stream.split("/")[2], fault.kind, fault.channel, *_verdict(fault))
    console.print(table)
    if ledger.unread:
        console.print(f"{ledger.unread} messages could not be read", style="yellow", highlight=False)
    s = ledger.summary()
    delay = "-" if s["median_delay_s"] is None else f"{s['median_delay_s']} s"
    console.print(
        f"{s['samples']} samples of {s['devices']} devices, {s['lost']} lost. "
        f"{s['injected']} faults injected, {s['found']} found, median delay {delay}. "
        f"{s['false_alerts']} false alerts.",
        style="bold", highlight=False,
    )  # fmt: skip


def _verdict(fault: Fault) -> tuple[str, str]:
    if fault.found is None:
        return "[red]missed[/red]", ""
    return fault.reason, f"{fault.found - fault.told:.1f} s"
