"""The ways to run one network, for ``bench.memory``: PyTorch, the import in float64, bundles in the engine."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from bench.memory_tasks import Floats, Net, Task
from edge_lstm.bundle import Bundle
from edge_lstm.convert.conversion import convert
from edge_lstm.convert.draft import ConvertOptions
from edge_lstm.convert.formats.pytorch import reader as pytorch
from edge_lstm.convert.mathematics import fresh, run, step
from edge_lstm.convert.meaning import Choice
from edge_lstm.convert.model import Model
from edge_lstm.core.engine import Engine
from edge_lstm.fit.recordings import Sequence

EXACT, IMPORT, BITS_16, BITS_8 = "PyTorch float32", "float64 import", "bundle, 16 bits", "bundle, 8 bits"
QINT8, QINT8_IMPORT, QINT8_16 = "PyTorch qint8", "float64 of imported qint8", "imported qint8, 16 bits"

Answers = Callable[[Floats], Floats]
Stream = Callable[[Floats], tuple[Floats, Floats]]


class Variant(NamedTuple):
    """One way to run a network.

    Attributes:
        answers: what it says to sequences (n, rows, 2): (n, rows).
        stream: its hidden state (rows, H), and what it says, of one sequence (rows, 2).
    """

    answers: Answers
    stream: Stream


def of_torch(net: Any) -> Variant:
    """Return PyTorch's own run of a module."""

    def stream(x: Floats) -> tuple[Floats, Floats]:
        with torch.no_grad():
            hidden = net.lstm(torch.from_numpy(x[None]).float())[0]
            return hidden[0].double().numpy(), net.fc(hidden)[0, :, 0].double().numpy()

    def answers(x: Floats) -> Floats:
        with torch.no_grad():
            said: Floats = net(torch.from_numpy(x).float()).double().numpy()
        return said

    return Variant(answers, stream)


def of_import(model: Model) -> Variant:
    """Return the float64 mathematics of what was imported."""

    def stream(x: Floats) -> tuple[Floats, Floats]:
        state, hidden, said = fresh(model), np.empty((len(x), model.layers[0].hidden_size)), np.empty(len(x))
        for k, sample in enumerate(x):
            said[k] = step(model, state, sample)[0]
            hidden[k] = state.r[0]
        return hidden, said

    return Variant(lambda x: np.stack([run(model, sequence)[:, 0] for sequence in x]), stream)


def of_bundle(bundle: Bundle) -> Variant:
    """Return the engine, one sample of each sequence a call."""
    units = bundle.metadata.hidden_size

    def answers(x: Floats) -> Floats:
        n, rows, _ = x.shape
        engine, places, said = Engine(bundle.weights, n), np.arange(n), np.empty((n, rows))
        for k in range(rows):
            samples = np.ascontiguousarray(x[:, k])
            said[:, k] = engine.advance(places, np.full(n, float(k)), samples).forecast[:, 0, 0]
        return said

    def stream(x: Floats) -> tuple[Floats, Floats]:
        engine, place = Engine(bundle.weights, 1), np.zeros(1, np.int64)
        hidden, said = np.empty((len(x), units)), np.empty(len(x))
        for k in range(len(x)):
            said[k] = engine.advance(place, np.array([float(k)]), x[k : k + 1]).forecast[0, 0, 0]
            hidden[k] = engine.read("h", 0, 1)[0, 0, :units]
        return hidden, said

    return Variant(answers, stream)


def imported(module: Any) -> Model:
    """Return what the importer makes of a module's state_dict."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.pt"
        torch.save(module.state_dict(), path)
        return pytorch.read(path, "lstm,fc")


def converted(model: Model, task: Task, bits: Any) -> Bundle:
    """Return a bundle as ``edge-lstm convert`` makes it, with rows of the task itself for normal ones."""
    x = task.learnt(np.random.default_rng(1), 8, task.length).x
    rows = [Sequence("task", np.arange(float(x.shape[1])), np.ascontiguousarray(sequence)) for sequence in x]
    choice = Choice(head="forecast", targets=("value",))
    options = ConvertOptions(choice=choice, activation_bits=bits, window=0)
    return convert(model, rows, ("value", "cue"), options, clocked=False).bundle


def variants(net: Net, task: Task) -> dict[str, Variant]:
    """Return all ways to run a network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch moves its quantization elsewhere
        qint8 = torch.ao.quantization.quantize_dynamic(net, {torch.nn.LSTM, torch.nn.Linear}, dtype=torch.qint8)
        model, integers = imported(net), imported(qint8)
    return {
        EXACT: of_torch(net),
        IMPORT: of_import(model),
        BITS_16: of_bundle(converted(model, task, 16)),
        BITS_8: of_bundle(converted(model, task, 8)),
        QINT8: of_torch(qint8),
        QINT8_IMPORT: of_import(integers),
        QINT8_16: of_bundle(converted(integers, task, 16)),
    }
