"""Two tasks that ask for a long memory, and networks that PyTorch trains on them; for ``bench.memory``.

Recall: a value in [-1, 1] beside the cue 1 is to be kept, whatever comes after it, and to be told at the cue -1.
Adding (Hochreiter and Schmidhuber, Neural Computation 9(8), 1997, experiment 4): the sum of two marked values, the
first among the first ten, told as 0.5 + sum / 4 at the end, between T and 1.1 T rows; the marker is -1 at both ends.
Of either, an answer counts as right within 0.04 of the range, as in that paper.

Forget gates start as Tallec and Ollivier have them (Can recurrent neural networks warp time?, ICLR 2018).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Floats = NDArray[np.float64]
STORE, ASK = 1.0, -1.0
BATCH = 64
FIRST = 10  # rows, among which what has to be kept for longest is shown


class Batch(NamedTuple):
    """Sequences side by side: x (n, rows, 2), and what is to be said where asked is true, both (n, rows)."""

    x: Floats
    answer: Floats
    asked: NDArray[np.bool_]


def recall(rng: np.random.Generator, n: int, lag: int) -> Batch:
    """Return sequences in which a value is shown among the first rows and asked for so many rows later."""
    rows = np.arange(n)
    x = np.stack([rng.uniform(-1, 1, (n, FIRST + lag + 1)), np.zeros((n, FIRST + lag + 1))], axis=2)
    shown = rng.integers(0, FIRST, n)
    x[rows, shown, 1], x[rows, shown + lag, 1] = STORE, ASK
    return recalled(x)


def chatter(rng: np.random.Generator, n: int, length: int) -> Batch:
    """Return sequences in which values are shown now and then, and each is asked for now and then."""
    x = np.stack([rng.uniform(-1, 1, (n, length)), np.zeros((n, length))], axis=2)
    for sequence in x:
        at = int(rng.integers(0, FIRST))
        while at < length:
            reach = int(length * rng.uniform(0.2, 1.3))
            after = np.concatenate([np.exp(rng.uniform(0, np.log(reach + 1), 3)), rng.uniform(1, reach + 1, 2)])
            asks = at + after.astype(int)
            sequence[asks[asks < length], 1] = ASK
            sequence[at, 1] = STORE
            at += reach + 1
    return recalled(x)


def recalled(x: Floats) -> Batch:
    """Add the answers: at any time the value that was shown last."""
    places = np.where(x[..., 1] == STORE, np.arange(x.shape[1]), 0)
    answer = np.take_along_axis(x[..., 0], np.maximum.accumulate(places, axis=1), axis=1)
    return Batch(x, answer, x[..., 1] == ASK)


def adding(rng: np.random.Generator, n: int, length: int) -> Batch:
    """Return the adding problem; rows after a sequence's end are noise."""
    longest, rows = length + length // 10, np.arange(n)
    x = np.stack([rng.uniform(-1, 1, (n, longest)), np.zeros((n, longest))], axis=2)
    ends = rng.integers(length - 1, longest, n)
    first = rng.integers(0, FIRST, n)
    second = rng.integers(0, length // 2 - 1, n)
    second += second >= first  # another one
    x[rows, ends, 1] = x[:, 0, 1] = -1.0
    x[rows, first, 1] = x[rows, second, 1] = 1.0
    x[(first == 0) | (second == 0), 0, 0] = 0.0
    asked = np.arange(longest) == ends[:, None]
    total = x[rows, first, 0] + x[rows, second, 0]
    return Batch(x, np.broadcast_to(0.5 + total[:, None] / 4, asked.shape), asked)


@dataclass(frozen=True)
class Task:
    """What is learnt, and how.

    Attributes:
        length: rows, or rows between showing and asking, that are learnt in the end.
        learnt: gives what is trained on.
        tested: gives what is tested on.
        tolerance: of an answer that counts as right.
    """

    name: str
    length: int
    learnt: Callable[[np.random.Generator, int, int], Batch]
    tested: Callable[[np.random.Generator, int, int], Batch]
    tolerance: float


RECALL = Task("recall", 500, chatter, recall, 0.08)
ADDING = Task("adding", 500, adding, adding, 0.04)


class Net(nn.Module):
    """One LSTM layer and a linear one; x is (n, rows, 2), what it says (n, rows)."""

    def __init__(self, units: int, longest: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, units, batch_first=True)
        self.fc = nn.Linear(units, 1)
        chrono = torch.log(torch.rand(units) * (longest - 2) + 1)
        with torch.no_grad():
            self.lstm.bias_ih_l0.zero_()
            self.lstm.bias_hh_l0.zero_()
            self.lstm.bias_ih_l0[:units] = -chrono
            self.lstm.bias_ih_l0[units : 2 * units] = chrono

    def forward(self, x: Any) -> Any:
        """Return what is said after each row."""
        return self.fc(self.lstm(x)[0])[..., 0]


def trained(task: Task, units: int, steps: int, seed: int = 0) -> tuple[Net, dict[str, float]]:
    """Train on sequences that become longer, with a rate that falls; return the network and how it went."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Net(units, task.length)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, steps, pct_start=0.1)
    began, recent = time.perf_counter(), 1.0
    for k in range(steps):
        length = round(20 * (task.length / 20) ** min(1.0, k / (0.5 * steps)))
        loss = _loss(net, task.learnt(rng, BATCH, length))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent += 0.02 * (loss.item() - recent)
        if k % 100 == 99:
            print(
                f"{task.name}, {units} units: step {k + 1} of {steps}, {length} rows, error {recent**0.5:.4f}",
                flush=True,
            )
    return net.eval(), {"steps": steps, "seconds": time.perf_counter() - began, "error": recent**0.5}


def _loss(net: Net, batch: Batch) -> Any:
    said = net(torch.from_numpy(batch.x).float())
    asked = torch.from_numpy(batch.asked)
    return (said - torch.from_numpy(batch.answer.copy()).float())[asked].square().mean()


def right(task: Task, said: Floats, batch: Batch) -> float:
    """Return the percentage of answers within the tolerance."""
    return 100.0 * float((np.abs(said - batch.answer)[batch.asked] < task.tolerance).mean())
