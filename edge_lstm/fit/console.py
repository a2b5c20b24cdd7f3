"""A progress bar for people who wait for a fit."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from edge_lstm.fit.fitting import Progress as Tell


@contextmanager
def progress_bar() -> Iterator[Tell]:
    """Show a bar for each stage, on standard error; yields what ``fit_files`` takes as ``progress``."""
    look = TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn()
    with Progress(*look, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=1.0)
            bar.update(tasks[stage], completed=share)

        yield tell
