"""Train the universal one-channel forecaster on invented streams: universal.safetensors and its card.

    python weights/recipes/universal.py -o weights/universal.safetensors --seed 0

A few minutes on one core. No recorded data takes part.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from streams import streams
from torch import Tensor, nn

from edge_lstm.bundle import Bundle, Channel, Metadata, read, seal, write
from edge_lstm.core.engine import Engine
from edge_lstm.fit.calibrate import Floats
from edge_lstm.fit.card import card
from edge_lstm.fit.fitting import created_with
from edge_lstm.fit.network import CLIP_NORM, LOG_SPREAD, Forecaster, State, rounded
from edge_lstm.fit.quantize import quantize

HIDDEN = 32
UPDATES = 24_000
BATCH, LENGTH, CHUNK = 128, 1600, 64  # streams side by side, samples of each, samples that the gradient goes back
LEARNING_RATE = 3e-3
ROUND_FROM = 0.6  # share of the updates after which the weights are rounded
LARGEST_STEP = 50.0  # running scales; farther ones teach no more
LIMIT, MEMORY = 1000.0, 1000.0  # of the running normalizer
CHECK_SEED = 999
TRANSIENT = 150  # samples


def normalize(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Return what docs/numerics.md, sections 3 and 5, makes of streams under an adaptive bundle.

    Args:
        x: (streams, n)

    Returns:
        network inputs (streams, n, 2), running scales (streams, n), and the samples, clamped.
    """
    mean, deviation, last = x[:, 0], np.zeros(len(x)), x[:, 0]
    scale = np.maximum(1e-6 * np.abs(mean), 1e-9)
    inputs, scales, clamped = np.empty((*x.shape, 2)), np.empty(x.shape), np.empty(x.shape)
    for k in range(x.shape[1]):
        now, w = np.clip(x[:, k], mean - LIMIT * scale, mean + LIMIT * scale), max(1.0 / MEMORY, 1.0 / (k + 1))
        gap = now - mean
        mean = mean + w * gap
        deviation = deviation + w * (np.abs(gap) - deviation) if k else deviation
        scale = np.maximum(np.maximum(deviation, 1e-6 * np.abs(mean)), 1e-9)
        inputs[:, k, 0] = np.arcsinh((now - mean) / scale)
        inputs[:, k, 1] = 0.5 * np.arcsinh(3.0 * (now - last) / scale)
        scales[:, k], clamped[:, k], last = scale, now, now
    return inputs, scales, clamped


def draw(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Return inputs (count, LENGTH - 1, 2) and the next step in running scales (count, LENGTH - 1, 1), float32."""
    inputs, scale, x = normalize(streams(rng, count, LENGTH))
    step = np.clip(np.diff(x) / scale[:, :-1], -LARGEST_STEP, LARGEST_STEP)
    return torch.from_numpy(inputs[:, :-1].astype(np.float32)), torch.from_numpy(step[..., None].astype(np.float32))


def train(seed: int, updates: int) -> Forecaster:
    """Train by truncated backpropagation, state carried from chunk to chunk; later with weights rounded."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Forecaster(2, HIDDEN, 1, 1)
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE)
    done = 0
    with Progress() as bar:
        task = bar.add_task("training", total=updates)
        while done < updates:
            inputs, step = draw(rng, BATCH)
            state: State | None = None
            for start in range(0, LENGTH - 1, CHUNK):
                part = slice(start, start + CHUNK)
                optimizer.param_groups[0]["lr"] = LEARNING_RATE * max(1.0 - done / updates, 0.0)
                optimizer.zero_grad()
                with rounded(net) if done > ROUND_FROM * updates else nullcontext():
                    state = teach(net, inputs[:, part], step[:, part], state)
                nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
                optimizer.step()
                done += 1
            bar.update(task, completed=min(done, updates))
    return net


def teach(net: Forecaster, inputs: Tensor, step: Tensor, state: State | None) -> State:
    """Add the gradient of a chunk's Laplace likelihood; return the state after it."""
    features, (h, c) = net.lstm(inputs, state)
    log_spread = net.spread(features).clamp(1.0 - LOG_SPREAD, LOG_SPREAD - 1.0)
    error = (step - net.location(features)).abs()
    (log_spread + error * torch.exp(-log_spread)).mean().backward()
    return h.detach(), c.detach()


def golden() -> tuple[Floats, Floats]:
    """Return the input of a golden run: a day and a half of a wave, with an outlier, a level change and a gap."""
    rng = np.random.default_rng(CHECK_SEED)
    n = 400
    x = 20.0 + 5.0 * np.sin(np.arange(n) * 2.0 * np.pi / 288.0) + 0.3 * rng.standard_normal(n)
    x[250], x[300:320], x[360] = 60.0, x[300:320] + 6.0, np.nan
    t = 300.0 * np.arange(n, dtype=np.float64)
    t[380:] += 86_400.0
    return t, x[:, None]


def build(net: Forecaster, seed: int, updates: int) -> Bundle:
    """Return the sealed bundle."""
    metadata = Metadata(
        name="universal",
        judge="adaptive",
        channels=(Channel("value"),),
        input_size=2,
        hidden_size=HIDDEN,
        num_layers=1,
        activation_bits=16,
        input_clip=8.0,
        period_s=0.0,
        warm_up=TRANSIENT,
        settle=30,
        provenance={
            "recipe": "weights/recipes/universal.py",
            "data": "invented streams (weights/recipes/streams.py)",
            "seed": seed,
            "updates": updates,
            "created_with": created_with(),
        },
    )
    return seal(metadata, quantize(net.export()), *golden())


def check(bundle: Bundle, net: Forecaster) -> dict[str, float]:
    """Return errors on invented streams that the training did not draw, float weights against bundle."""
    raw = streams(np.random.default_rng(CHECK_SEED), 64, LENGTH)
    inputs, scale, x = normalize(raw)
    with torch.no_grad():
        location = net(torch.from_numpy(inputs.astype(np.float32)), None)[0][..., 0].numpy().astype(np.float64)
    t = 300.0 * np.arange(LENGTH, dtype=np.float64)
    quantized = np.empty_like(x)
    for k, stream in enumerate(raw):
        results = Engine(bundle.weights, 1).advance(np.zeros(LENGTH, np.int64), t, stream[:, None])
        quantized[k] = (results.forecast[:, 0, 0] - x[k]) / scale[k]
    late = slice(TRANSIENT, -1)
    step = (np.diff(x) / scale[:, :-1])[:, TRANSIENT:]
    still = np.abs(step).mean(1) + 1e-9
    return {
        "mean absolute error over persistence's, float weights": float(
            np.median(np.abs(step - location[:, late]).mean(1) / still)
        ),
        "the same, quantized": float(np.median(np.abs(step - quantized[:, late]).mean(1) / still)),
        "largest forecast difference, running scales": float(np.abs(quantized - location)[:, late].max()),
        "root mean square forecast difference, running scales": float(
            np.sqrt(np.square(quantized - location)[:, late].mean())
        ),
    }


def main() -> None:
    """Train, quantize, check, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=UPDATES, help="steps of the optimizer")
    args = parser.parse_args()
    torch.set_num_threads(1)
    net = train(args.seed, args.updates)
    bundle = build(net, args.seed, args.updates)
    write(bundle, args.output)
    read(args.output)
    text = card(bundle, args.output.stat().st_size, check(bundle, net))
    args.output.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
