"""Invented sensor streams: what the universal forecaster learns from, and nothing else.

A stream is a sum of what real ones are made of (days and weeks, correlated noise, walks, pulses, machines that switch,
level changes), bent (logarithmic, cut at zero), rounded as a transmitter would, and put on some scale and offset.
Everything is drawn from one generator, so a seed gives one set of streams.
"""

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLES_A_DAY = (24, 48, 96, 144, 288, 288, 288, 720, 1440)


@numba.njit(error_model="numpy")
def _recursive(x: Floats, a: float, b: float) -> Floats:
    """Return y with y[k] = x[k] + a y[k-1] + b y[k-2]."""
    y = np.empty_like(x)
    before, last = 0.0, 0.0
    for k in range(len(x)):
        before, last = last, x[k] + a * last + b * before
        y[k] = last
    return y


def streams(rng: np.random.Generator, count: int, length: int) -> Floats:
    """Draw streams.

    Args:
        rng: the only source of chance.
        count: how many streams.
        length: samples in each.

    Returns:
        float64 (count, length), in arbitrary units.
    """
    return np.stack([_stream(rng, length) for _ in range(count)])


def _stream(rng: np.random.Generator, n: int) -> Floats:
    day = int(rng.choice(SAMPLES_A_DAY))
    season = _season(rng, n, day) if rng.random() < 0.7 else np.zeros(n)
    x = season * float(rng.choice([0.3, 1.0, 3.0]))
    if rng.random() < 0.6:
        x = x + _amount(rng) * _correlated(rng, n)
    if rng.random() < 0.25:
        x = x + _amount(rng) * _walk(rng, n)
    if rng.random() < 0.35:
        x = x + 2.0 * _amount(rng) * _pulses(rng, n, day)
    if rng.random() < 0.25:
        x = x + 2.0 * _amount(rng) * _switching(rng, n)
    if rng.random() < 0.25:
        x = x + 2.0 * _amount(rng) * _levels(rng, n)
    noise = _noise(rng, n)
    if rng.random() < 0.3:
        noise = noise * np.exp(0.5 * season)
    x = x + 0.5 * _amount(rng) * noise
    return _measure(rng, _bend(rng, x))


def _amount(rng: np.random.Generator) -> float:
    """A size, log-normal around 1."""
    return float(np.exp(rng.normal(-0.3, 0.8)))


def _season(rng: np.random.Generator, n: int, day: int) -> Floats:
    """Days of a few harmonics or of one or two humps, with quieter week-ends at times."""
    t = (np.arange(n) + rng.integers(7 * day)) / day
    if rng.random() < 0.5:
        order = np.arange(1, 5)
        size = rng.normal(size=4) / order ** rng.uniform(0.5, 2.0)
        shape = size @ np.cos(2 * np.pi * (order[:, None] * t + rng.random((4, 1))))
    else:
        shape = np.zeros(n)
        for _ in range(rng.integers(1, 4)):
            width = np.exp(rng.uniform(0.0, 4.0))
            shape += rng.uniform(0.5, 2.0) * np.exp(width * (np.cos(2 * np.pi * (t - rng.random())) - 1.0))
    if rng.random() < 0.4:
        shape = shape * np.where(t % 7 < 5, 1.0, rng.uniform(0.2, 1.0))
    return np.asarray(shape, np.float64)


def _correlated(rng: np.random.Generator, n: int) -> Floats:
    """A first- or second-order autoregression of variance about 1."""
    decay = 1.0 - np.exp(rng.uniform(np.log(0.002), np.log(0.8)))
    x = _recursive(np.sqrt(1.0 - decay * decay) * rng.normal(size=n + 200), decay, 0.0)[200:]
    if rng.random() < 0.3:
        turn, radius = 2 * np.pi / rng.uniform(4.0, 60.0), rng.uniform(0.8, 0.99)
        x = _recursive(x, 2.0 * radius * np.cos(turn), -radius * radius)
        x = x / (x.std() + 1e-9)
    return np.asarray(x, np.float64)


def _walk(rng: np.random.Generator, n: int) -> Floats:
    """A random walk, some with steps of heavy tails, over a few units in all."""
    steps = rng.standard_t(3.0, n) if rng.random() < 0.3 else rng.normal(size=n)
    walk = np.cumsum(steps)
    return np.asarray(walk / np.sqrt(n) * rng.uniform(0.5, 3.0), np.float64)


def _pulses(rng: np.random.Generator, n: int, day: int) -> Floats:
    """Routine pulses, by the clock or at random, that die away at once or slowly."""
    hits = np.zeros(n)
    if rng.random() < 0.4:
        every = int(rng.choice([max(2, day // 24), max(3, day // 4), day]))
        hits[rng.integers(every) :: every] = 1.0
    else:
        hits[rng.random(n) < np.exp(rng.uniform(np.log(0.002), np.log(0.1)))] = 1.0
    hits *= rng.lognormal(0.0, rng.uniform(0.0, 0.8), n) * rng.choice([1.0, 1.0, -1.0])
    decay = float(rng.choice([0.0, 0.0, rng.uniform(0.3, 0.95)]))
    return np.asarray(_recursive(hits, decay, 0.0), np.float64)


def _switching(rng: np.random.Generator, n: int) -> Floats:
    """On and off, each for a while."""
    stay = np.exp(rng.uniform(np.log(4.0), np.log(300.0), 2))
    spans = rng.gamma(2.0, np.resize(stay, 2 * (int(n / stay.min()) + 4)) / 2.0).astype(np.int64) + 1
    state = np.repeat(np.resize([0.0, 1.0], len(spans)), spans)
    return np.resize(state, n)


def _levels(rng: np.random.Generator, n: int) -> Floats:
    """Rare changes of level."""
    change = rng.random(n) < rng.choice([1.0, 3.0, 10.0]) / n
    return np.asarray(np.cumsum(change * rng.normal(size=n)), np.float64)


def _noise(rng: np.random.Generator, n: int) -> Floats:
    """White noise, normal or of heavy tails."""
    kind = rng.integers(4)
    if kind == 0:
        return np.asarray(rng.standard_t(rng.uniform(2.0, 5.0), n), np.float64)
    if kind == 1:
        return np.asarray(rng.laplace(size=n), np.float64)
    return np.asarray(rng.normal(size=n), np.float64)


def _bend(rng: np.random.Generator, x: Floats) -> Floats:
    """Counts and rates are log-normal, flows stop at zero, meters saturate."""
    kind = rng.random()
    if kind < 0.25:
        return np.asarray(np.exp(np.clip(rng.uniform(0.3, 1.0) * x, -8.0, 8.0)), np.float64)
    if kind < 0.45:
        return np.asarray(np.maximum(x - np.quantile(x, rng.choice([0.0, 0.1, 0.5])), 0.0), np.float64)
    if kind < 0.5:
        return np.clip(x, np.quantile(x, 0.05), np.quantile(x, 0.97))
    return x


def _measure(rng: np.random.Generator, x: Floats) -> Floats:
    """Round, scale, offset; now and then a count."""
    spread = x.std() + 1e-6
    kind = rng.random()
    if kind < 0.1 and x.min() >= 0.0:
        x = rng.poisson(np.minimum(x * np.exp(rng.uniform(-1.0, 5.0)) / spread, 1e6)).astype(np.float64)
    elif kind < 0.5:
        step = spread * np.exp(rng.uniform(np.log(0.005), np.log(0.7)))
        x = np.round(x / step) * step
    offset = rng.choice([0.0, 0.0, rng.normal()]) * 10.0 ** rng.uniform(-1.0, 4.0)
    return np.asarray(x * 10.0 ** rng.uniform(-3.0, 4.0) + offset, np.float64)
