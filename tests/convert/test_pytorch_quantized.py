"""Dynamically quantized modules: the integers of the file, and how far PyTorch's rounded activations go from them."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_lstm.convert.formats.pytorch import reader as pytorch
from edge_lstm.convert.mathematics import run
from edge_lstm.convert.model import Model
from edge_lstm.errors import WeightsError

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.convert.torch_nets import Net  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")]
Floats = NDArray[np.float64]
STEPS = 127  # PyTorch rounds activations to 7 bits (reduce_range); where it takes 8, it is twice as close


def quantized(seed: int, per_channel: bool, dtype: Any = torch.qint8) -> Any:
    """Return a network of small weights, in which an error does not grow, and of random biases."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    units, layers = int(rng.integers(3, 17)), int(rng.integers(1, 3))
    net = Net(int(rng.integers(1, 3)), units, [(2, "linear")], num_layers=layers).eval()
    with torch.no_grad():
        for name, values in net.named_parameters():
            values *= 0.3 if "weight_hh" in name else 0.7
    if dtype == torch.float16:
        return torch.ao.quantization.quantize_dynamic(net, {nn.LSTM, nn.Linear}, dtype=dtype)
    config = (
        torch.ao.quantization.per_channel_dynamic_qconfig
        if per_channel
        else torch.ao.quantization.default_dynamic_qconfig
    )
    return torch.ao.quantization.quantize_dynamic(net, {nn.LSTM: config, nn.Linear: config})


def matrices(net: Any) -> list[Any]:
    """Return the quantized weights, in order, as PyTorch unpacks them."""
    cells = [cell.param.__getstate__()[0][4] for cell in net.rnn._all_weight_values]
    packed = [part.__getstate__()[0][0] for cell in cells for part in cell]
    return [*packed, net.fc0.weight()]


def in_model(model: Model) -> list[Any]:
    return [m for layer in model.layers for m in (layer.weight_ih, layer.weight_hh)] + [model.head[0].weight]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_integers_and_scales_are_those_of_the_file(seed: int, per_channel: bool, tmp_path: Path) -> None:
    net = quantized(seed, per_channel)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    model = pytorch.read(tmp_path / "net.pt", "rnn,fc0")
    theirs, lowest = matrices(net), 0
    assert len(theirs) == len(in_model(model))
    for ours, packed in zip(in_model(model), theirs, strict=True):
        zero = packed.q_per_channel_zero_points() if per_channel else torch.tensor([packed.q_zero_point()])
        scale = packed.q_per_channel_scales() if per_channel else torch.tensor([packed.q_scale()], dtype=torch.float64)
        assert ours.is_integer
        np.testing.assert_array_equal(ours.values, packed.int_repr().numpy().astype(int) - zero.numpy()[:, None])
        np.testing.assert_array_equal(ours.scale, np.broadcast_to(scale.numpy(), len(ours.values)))
        lowest = min(lowest, int(packed.int_repr().min()))
    assert lowest == -128 or not per_channel
    biases = net.rnn._all_weight_values[0].param.__getstate__()[0][1]
    np.testing.assert_array_equal(model.layers[0].bias, sum(b.detach().double().numpy() for b in biases))


def sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def spread(f: Any, x: Floats, d: Floats) -> Floats:
    """Return how far a rising function is from f(x) for arguments within d."""
    return np.maximum(f(x + d) - f(x), f(x) - f(x - d))


def step_of(low: Floats, high: Floats, d: Floats) -> Any:
    """Return the largest step of the runtime's rounding, of values that are d away from those between low and high."""
    return (np.maximum(high + d, 0).max() - np.minimum(low - d, 0).min()) / STEPS


def layer_bound(weights: list[Floats], x: Floats, dx: Floats) -> tuple[Floats, Floats]:
    """Return outputs (n, H) of an LSTM in float64, and how far the runtime's can be away from them.

    The runtime rounds what goes into each product, all rows of x with one step, r with one step per row; a rounded
    value is off by at most a step (half, and half for the zero point that is rounded too).
    """
    ih, hh, bias = weights
    units = hh.shape[1]
    r, c, dr, dc = (np.zeros(units) for _ in range(4))
    ex = dx + step_of(x.min(0), x.max(0), dx.max(0))
    rows, bounds = [], []
    for k in range(len(x)):
        d = np.abs(ih) @ ex[k] + np.abs(hh) @ (dr + step_of(r, r, dr)) + 1e-6
        i, f, g, o = (ih @ x[k] + hh @ r + bias).reshape(4, units)
        di, df, dg, do = d.reshape(4, units)
        si, sf, so, sg = spread(sigmoid, i, di), spread(sigmoid, f, df), spread(sigmoid, o, do), spread(np.tanh, g, dg)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        dc = f * dc + sf * (np.abs(c) + dc) + i * sg + si * (np.abs(g) + sg) + 1e-6
        c = f * c + i * g
        h, dh = np.tanh(c), spread(np.tanh, c, dc)
        r, dr = o * h, o * dh + so * (np.abs(h) + dh) + 1e-6
        rows.append(r)
        bounds.append(dr)
    return np.stack(rows), np.stack(bounds)


def bounded(net: Any, x: Floats) -> tuple[Floats, Floats]:
    """Return the outputs of the dequantized weights in float64, and the bound on the runtime's distance from them."""
    y, d = x, np.zeros_like(x)
    for cell in net.rnn._all_weight_values:
        _, biases, _, _, packed = cell.param.__getstate__()[0]
        weights = [part.__getstate__()[0][0].dequantize().double().numpy() for part in packed]
        y, d = layer_bound([*weights, sum(b.detach().double().numpy() for b in biases)], y, d)
    weight = net.fc0.weight().dequantize().double().numpy()
    bound = (d + step_of(y.min(0), y.max(0), d.max(0))) @ np.abs(weight).T + 1e-6
    return y @ weight.T + net.fc0.bias().detach().double().numpy(), bound


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_the_runtime_stays_within_what_its_rounding_explains(seed: int, per_channel: bool, tmp_path: Path) -> None:
    net = quantized(seed, per_channel)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    x = np.random.default_rng(seed).uniform(-1, 1, (300, net.rnn.input_size))
    exact, bound = bounded(net, x)
    with torch.no_grad():
        theirs = net(torch.from_numpy(x).float()).double().numpy()
    ours = run(pytorch.read(tmp_path / "net.pt", "rnn,fc0"), x)
    np.testing.assert_allclose(ours, exact, atol=1e-6)  # the same integers; dequantize() rounds to float32
    assert (np.abs(ours - theirs) <= bound).all()
    assert bound.max() < 0.02  # small enough to mean something; outputs are around 0.1
    assert np.abs(ours - theirs).max() < 0.002  # measured: at most 0.0013, 0.18 of the bound


def test_the_original_for_verify_is_the_quantized_module(tmp_path: Path) -> None:
    from edge_lstm.convert.originals import pytorch as original

    for seed, per_channel in ((0, False), (1, True), (5, True)):
        net = quantized(seed, per_channel)
        torch.save(net.state_dict(), tmp_path / "net.pt")
        x = np.random.default_rng(seed).uniform(-1, 1, (50, net.rnn.input_size))
        theirs, ours = original.run(tmp_path / "net.pt", pytorch.read(tmp_path / "net.pt", "rnn,fc0"), x)
        with torch.no_grad():
            expected = net(torch.from_numpy(x).float()).numpy()
        np.testing.assert_allclose(theirs, expected, atol=1e-6)
        assert 1e-6 < np.abs(theirs - ours).max() < 0.02


def test_float16_dynamic_modules_are_floats(tmp_path: Path) -> None:
    for seed in range(4):
        net = quantized(seed, False, torch.float16)
        torch.save(net.state_dict(), tmp_path / "net.pt")
        x = np.random.default_rng(seed).uniform(-1, 1, (300, net.rnn.input_size))
        model = pytorch.read(tmp_path / "net.pt", "rnn,fc0")
        with torch.no_grad():
            expected = net(torch.from_numpy(x).float()).numpy()
        assert not model.is_integer
        np.testing.assert_allclose(run(model, x), expected, atol=1e-5)


def test_a_quantized_cell_is_read_as_its_layer(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.LSTMCell(3, 4))
    cell = torch.ao.quantization.quantize_dynamic(net, {nn.LSTMCell})
    torch.save(cell.state_dict(), tmp_path / "net.pt")
    (layer,) = pytorch.read(tmp_path / "net.pt").layers
    weights = cell[0].get_weight()
    np.testing.assert_array_equal(layer.weight_ih.values, weights["weight_ih"].int_repr().numpy())
    np.testing.assert_array_equal(layer.weight_hh.values, weights["weight_hh"].int_repr().numpy())


def test_two_cells_that_may_be_two_directions_are_refused(tmp_path: Path) -> None:
    """A bidirectional nn.LSTM(4, 4) and one of two layers have the same names and shapes when they are quantized."""
    for options in ({"bidirectional": True}, {"num_layers": 2}):
        net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(4, 4, **options)), {nn.LSTM})
        torch.save(net.state_dict(), tmp_path / "net.pt")
        with pytest.raises(WeightsError, match="two layers, or one bidirectional"):
            pytorch.read(tmp_path / "net.pt")
    assert len(pytorch.read(tmp_path / "net.pt", "0").layers) == 2
    net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(3, 4, bidirectional=True)), {nn.LSTM})
    torch.save(net.state_dict(), tmp_path / "net.pt")
    with pytest.raises(WeightsError, match="input weights has shape"):
        pytorch.read(tmp_path / "net.pt")


def test_a_statically_quantized_linear_is_refused(tmp_path: Path) -> None:
    net = quantized(1, False)
    state = net.state_dict()
    state["fc0.scale"] = torch.tensor(0.5)
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match="fc0: quantized statically"):
        pytorch.read(tmp_path / "net.pt")


@pytest.mark.parametrize("signed", [True, False])
def test_integers_in_safetensors_under_the_names_of_the_page(signed: bool, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from edge_lstm.convert.originals import pytorch as original

    rng = np.random.default_rng(4)
    low, high, kind = (-128, 128, np.int8) if signed else (0, 256, np.uint8)
    ints = {name: rng.integers(low, high, shape).astype(kind) for name, shape in (("ih", (12, 2)), ("hh", (12, 3)))}
    zeros = {"ih": np.array(7, np.int64), "hh": rng.integers(low, high, 12)}
    scales = {"ih": np.array(0.004, np.float32), "hh": rng.uniform(0.001, 0.002, 12)}
    tensors: dict[str, Any] = {f"lstm.weight_{side}_l0": ints[side] for side in ints}
    tensors |= {f"lstm.weight_{side}_l0.scale": scales[side] for side in ints}
    tensors |= {f"lstm.weight_{side}_l0.zero_point": zeros[side] for side in ints}
    tensors |= {f"lstm.bias_{side}_l0": rng.normal(size=12).astype(np.float32) for side in ints}
    path = tmp_path / "net.safetensors"
    save_file(tensors, path)
    (layer,) = pytorch.read(path).layers
    for side, matrix in (("ih", layer.weight_ih), ("hh", layer.weight_hh)):
        zero = np.broadcast_to(zeros[side], 12)[:, None]
        np.testing.assert_array_equal(matrix.values, ints[side].astype(int) - zero)
        np.testing.assert_array_equal(matrix.scale, np.broadcast_to(scales[side].astype(np.float64), 12))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, ours = original.run(path, pytorch.read(path), rng.uniform(-1, 1, (100, 2)))
    assert np.abs(theirs - ours).max() < 0.05 * np.abs(theirs).max()
