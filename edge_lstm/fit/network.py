"""The forecaster while it is trained: PyTorch's LSTM with a head for the location and one for the spread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

State = tuple[Tensor, Tensor]
Floats = NDArray[np.float64]

CHUNK = 50  # samples that the gradient goes back
LANES = (16, 64)  # fewest and most sequences side by side
LANE_ROWS = 400
CLIP_NORM = 1.0
LOG_SPREAD = 7.0  # as clipped by docs/numerics.md, section 5


class Forecaster(nn.Module):
    """Forecasts the next normalized sample from all before it.

    The spread head learns from features that it can't change, so the location is fitted by its squared error alone.
    """

    def __init__(self, inputs: int, hidden_size: int, num_layers: int, channels: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden_size, num_layers, batch_first=True)
        self.location = nn.Linear(hidden_size, channels)
        self.spread = nn.Linear(hidden_size, channels)
        with torch.no_grad():
            for head in (self.location, self.spread):
                head.weight.uniform_(-0.01, 0.01)
                head.bias.zero_()
            for layer in range(num_layers):  # remember by default (Gers et al. 2000)
                getattr(self.lstm, f"bias_ih_l{layer}")[hidden_size : 2 * hidden_size] = 1.0

    def forward(self, inputs: Tensor, state: State | None) -> tuple[Tensor, Tensor, State]:
        """Advance.

        Args:
            inputs: float32 (lanes, T, I).
            state: PyTorch's (h, c), each (L, lanes, H); None for zeros.

        Returns:
            location and log spread of the next sample, each (lanes, T, C), and the state.
        """
        features, state = self.lstm(inputs, state)
        return self.location(features), self.spread(features.detach()), state

    def forecast(self, z: Floats) -> Floats:
        """Return locations for one sequence: row k is made after sample k for sample k + 1; float64 (n, C)."""
        inputs = torch.from_numpy(z.astype(np.float32))[None]
        with torch.no_grad():
            location: Tensor = self(inputs, None)[0]
        return np.asarray(location[0].numpy(), np.float64)

    def export(self) -> dict[str, Floats]:
        """Return the tensors by the bundle's names, in float64, the two biases of a layer added."""
        own = {name: p.detach().numpy().astype(np.float64) for name, p in self.named_parameters()}
        tensors = {
            "head.weight": np.concatenate([own["location.weight"], own["spread.weight"]]),
            "head.bias": np.concatenate([own["location.bias"], own["spread.bias"]]),
        }
        for k in range(self.lstm.num_layers):
            tensors[f"weight_ih_l{k}"] = own[f"lstm.weight_ih_l{k}"]
            tensors[f"weight_hh_l{k}"] = own[f"lstm.weight_hh_l{k}"]
            tensors[f"bias_l{k}"] = own[f"lstm.bias_ih_l{k}"] + own[f"lstm.bias_hh_l{k}"]
        return tensors


@contextmanager
def rounded(net: nn.Module) -> Iterator[None]:
    """Let ``net`` compute with its weights rounded as ``quantize`` will, and learn with them unrounded.

    The gradient goes straight through the rounding (Bengio, Leonard and Courville 2013).
    """
    kept = [(p, p.data) for p in net.parameters() if p.dim() == 2]
    for p, value in kept:
        scale = value.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127.0
        p.data = torch.round(value / scale) * scale
    try:
        yield
    finally:
        for p, value in kept:
            p.data = value


@dataclass(frozen=True)
class Training:
    """How one network is trained.

    Attributes:
        updates: steps of the optimizer; the learning rate falls linearly to 0 over them.
        decay: decoupled weight decay (Loshchilov and Hutter 2019) of everything but the spread head.
    """

    hidden_size: int = 64
    num_layers: int = 1
    updates: int = 1000
    learning_rate: float = 3e-3
    decay: float = 0.0
    seed: int = 0


def train(sequences: list[Floats], training: Training, progress: Callable[[float], None]) -> Forecaster:
    """Fit a forecaster to normalized sequences by truncated backpropagation, state carried from chunk to chunk.

    Args:
        sequences: each (n, C); finite.
        training: sizes, length, seed. The same one gives the same weights on the same machine.
        progress: is told the share that is done.
    """
    torch.manual_seed(training.seed)
    samples, weight = _lanes(sequences)
    channels = samples.shape[2]
    net = Forecaster(channels, training.hidden_size, training.num_layers, channels)
    spread = list(net.spread.parameters())
    location = [*net.lstm.parameters(), *net.location.parameters()]
    optimizer = torch.optim.AdamW(
        [{"params": location, "weight_decay": training.decay}, {"params": spread, "weight_decay": 0.0}],
        lr=training.learning_rate,
    )
    state: State | None = None
    for update, (start, end) in zip(range(training.updates), _chunks(samples.shape[1] - 1), strict=False):
        if start == 0:
            state = None
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * (1.0 - update / training.updates)
        where, log_spread, after = net(samples[:, start:end], state)
        state = (after[0].detach(), after[1].detach())
        loss = _loss(samples[:, start + 1 : end + 1] - where, log_spread, weight[:, start:end])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(location, CLIP_NORM)
        nn.utils.clip_grad_norm_(spread, CLIP_NORM)
        optimizer.step()
        progress((update + 1) / training.updates)
    return net


def _loss(residual: Tensor, log_spread: Tensor, weight: Tensor) -> Tensor:
    """Squared error of the location, and Gaussian likelihood of the spread given the location; one mean over both."""
    log_spread = log_spread.clamp(-LOG_SPREAD, LOG_SPREAD)
    known = residual.detach().square()
    each = residual.square() + log_spread + 0.5 * known * torch.exp(-2.0 * log_spread)
    return (each * weight).sum() / (weight.sum() * residual.shape[2])


def _lanes(sequences: list[Floats]) -> tuple[Tensor, Tensor]:
    """Cut the sequences into lanes of about one length, to be walked side by side.

    Returns:
        samples, float32 (lanes, T, C), padded; and 1 where the next sample is known, else 0: (lanes, T - 1, 1).
    """
    rows = sum(map(len, sequences))
    lane = max(CHUNK + 1, rows / min(max(rows / LANE_ROWS, LANES[0]), LANES[1]))
    pieces = [p for z in sequences for p in np.array_split(z, max(1, round(len(z) / lane)))]
    longest = max(map(len, pieces))
    samples = np.zeros((len(pieces), longest, pieces[0].shape[1]), np.float32)
    weight = np.zeros((len(pieces), longest - 1, 1), np.float32)
    for k, piece in enumerate(pieces):
        samples[k, : len(piece)] = piece
        weight[k, : len(piece) - 1] = 1.0
    return torch.from_numpy(samples), torch.from_numpy(weight)


def _chunks(length: int) -> Iterator[tuple[int, int]]:
    """Walk over the lanes for ever, in chunks whose borders differ from walk to walk."""
    while True:
        end = 0
        size = min(length, int(torch.randint(1, CHUNK + 1, ())))
        while end < length:
            start, end = end, min(length, end + size)
            size = CHUNK
            yield start, end
