"""A state_dict against PyTorch itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_lstm.convert.formats.pytorch import reader as pytorch
from edge_lstm.convert.mathematics import run
from edge_lstm.errors import WeightsError
from tests.convert import torch_bytes

torch = pytest.importorskip("torch")
from tests.convert.torch_nets import FUNCTIONS, Net  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:LSTM with projections")]
TOLERANCE = 1e-5  # of the largest output; PyTorch computes in float32
ROWS = 1000


def made(seed: int) -> Any:
    """Return a random network; half as much again as the default, which is not chaotic."""
    rng = np.random.default_rng(seed)
    units = int(rng.integers(2, 25))
    options: dict[str, Any] = {"bias": bool(seed % 5)}
    if seed % 6 == 5:
        options["cell"] = True
    else:
        options["num_layers"] = int(rng.integers(1, 4))
        options["proj_size"] = int(rng.integers(1, units)) if seed % 4 == 3 else 0
    inner = [name for name in FUNCTIONS if name != "softmax"]
    head = [(int(rng.integers(2, 7)), inner[(seed + k) % len(inner)]) for k in range(seed % 4)]
    if head and seed % 3 == 0:
        head[-1] = (head[-1][0], "softmax")
    inputs = int(rng.integers(1, 7))
    for attempt in range(20):
        torch.manual_seed(1000 * attempt + seed)
        net = Net(inputs, units, head, **options).eval()
        for name, values in net.named_parameters():
            values.data *= 3 if name.startswith("fc") else 1.5
        if np.ptp(outputs(net, rng.normal(size=(50, inputs)).astype(np.float32)), axis=0).max() > 2e-3:
            return net
    raise AssertionError("every network has dead outputs")


def saved(net: Any, path: Path, seed: int) -> Path:
    state = {("module." if seed % 2 else "") + name: tensor for name, tensor in net.state_dict().items()}
    if seed % 4 == 0:
        from safetensors.torch import save_file

        save_file(state, path.with_suffix(".safetensors"))
        return path.with_suffix(".safetensors")
    torch.save(state, path, _use_new_zipfile_serialization=seed % 4 != 1, pickle_protocol=4 if seed % 4 == 3 else 2)
    return path


def outputs(net: Any, x: Any) -> Any:
    with torch.no_grad():
        return net(torch.from_numpy(x)).double().numpy()


@pytest.mark.parametrize("seed", range(36))
def test_a_random_network_gives_what_it_gives_in_pytorch(seed: int, tmp_path: Path) -> None:
    net = made(seed)
    dtype = (torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64)[seed % 5]
    path = saved(net.to(dtype), tmp_path / "net.pt", seed)
    net.to(torch.float64 if dtype == torch.float64 else torch.float32)  # with the weights as they were saved
    x = np.random.default_rng(seed + 100).normal(size=(ROWS, net.rnn.input_size))
    expected = outputs(net, x if dtype == torch.float64 else x.astype(np.float32))
    found = run(pytorch.read(path, net.spec), x)
    assert np.ptp(expected, axis=0).max() > 1e-3  # or there would be nothing to compare
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("seed", range(6))
def test_in_double_precision_nothing_is_left_of_the_difference(seed: int, tmp_path: Path) -> None:
    net = made(seed)
    path = saved(net, tmp_path / "net.pt", seed)
    x = np.random.default_rng(seed).normal(size=(ROWS, net.rnn.input_size))
    assert np.abs(run(pytorch.read(path, net.spec), x) - outputs(net.double(), x)).max() < 1e-12


def test_the_original_for_verify_loads_the_file_itself(tmp_path: Path) -> None:
    from edge_lstm.convert.originals import pytorch as original

    for seed in range(12):
        net = made(seed)
        path = saved(net, tmp_path / f"{seed}.pt", seed)
        x = np.random.default_rng(seed).normal(size=(50, net.rnn.input_size))
        theirs, ours = original.run(path, pytorch.read(path, net.spec), x)
        expected = outputs(net, x.astype(np.float32))
        assert theirs.shape == ours.shape == expected.shape
        np.testing.assert_allclose(theirs, expected, atol=1e-6)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_files_written_by_hand_are_what_pytorch_reads(tmp_path: Path) -> None:
    """The broken files of the other tests are changes of these."""
    arrays = torch_bytes.lstm(layers=2)
    path = tmp_path / "hand.pt"
    path.write_bytes(torch_bytes.state_dict_file(arrays))
    loaded = torch.load(path, weights_only=True)
    assert list(loaded) == list(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(loaded[name].numpy(), values)


def test_transposed_and_shared_storages_are_read_as_they_lie(tmp_path: Path) -> None:
    whole = torch.arange(400, dtype=torch.float32).reshape(20, 20) / 400
    state = {
        "weight_ih": whole[:2, 3:15].T,
        "weight_hh": whole[5:17, 2:5],
    }  # (12, 2) transposed, (12, 3) in a larger one
    torch.save(state, tmp_path / "net.pt")
    (layer,) = pytorch.read(tmp_path / "net.pt").layers
    np.testing.assert_array_equal(layer.weight_ih.real, state["weight_ih"].numpy())
    np.testing.assert_array_equal(layer.weight_hh.real, state["weight_hh"].numpy())


@pytest.mark.parametrize(
    ("net", "word"),
    [
        (torch.nn.LSTM(2, 3, bidirectional=True), "bidirectional"),
        (torch.nn.GRU(2, 3), "GRU"),
        (torch.nn.RNN(2, 3), "RNN"),
        (torch.nn.GRUCell(2, 3), "GRU"),
        (torch.nn.Linear(2, 3), "no nn.LSTM"),
        (torch.nn.Sequential(torch.nn.Conv1d(2, 2, 3), torch.nn.LSTM(2, 3)), "0.weight"),
        (torch.nn.Sequential(torch.nn.LSTM(2, 3), torch.nn.BatchNorm1d(3)), "1.running_mean"),
        (torch.nn.Sequential(torch.nn.LayerNorm(2), torch.nn.LSTM(2, 3)), "0.weight"),
        (torch.nn.Sequential(torch.nn.LSTM(2, 3), torch.nn.MultiheadAttention(3, 1)), "in_proj_weight"),
        (torch.nn.Sequential(torch.nn.Embedding(9, 2), torch.nn.LSTM(2, 3)), "Embedding"),
        (torch.nn.Sequential(torch.nn.Linear(9, 2), torch.nn.LSTM(2, 9)), "before the LSTM"),
        (torch.nn.Sequential(torch.nn.LSTM(2, 3), torch.nn.PReLU()), "1.weight"),
        (torch.nn.Sequential(torch.nn.LSTM(2, 3), torch.nn.LSTM(3, 3)), "2 LSTMs: 0, 1"),
        (torch.nn.Sequential(torch.nn.LSTM(2, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)), "fc1:relu"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_streamed_or_known_is_refused_by_name(net: Any, word: str, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=word.replace("(", r"\(")):
        pytorch.read(tmp_path / "net.pt")


@pytest.mark.parametrize(
    ("head", "word"),
    [
        ("", "3 LSTMs|2 LSTMs"),
        ("a,fc", "leaves out b"),
        ("a,b", "leaves out fc"),
        ("a,b,fc:gelu", "gelu"),
        ("a,b,fc:relu(2)", "takes no number"),
        ("a,b,fc:elu(1.2.3)", "not a number"),
        ("a,a,b,fc", "twice"),
        ("fc,a,b", "before an LSTM"),
        ("a:tanh,b,fc", "is an LSTM"),
        ("a,b,fc,nothing", "'nothing' is 0 modules"),
        ("a,,b", "is not NAME"),
        ("b,a,fc", "input weights has shape"),
    ],
)
def test_head_has_to_name_everything_in_order(head: str, word: str, tmp_path: Path) -> None:
    net = torch.nn.ModuleDict({"a": torch.nn.LSTM(2, 3), "b": torch.nn.LSTMCell(3, 4), "fc": torch.nn.Linear(4, 1)})
    torch.save(net.state_dict(), tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=word):
        pytorch.read(tmp_path / "net.pt", head)


def test_several_lstms_in_the_order_that_head_says(tmp_path: Path) -> None:
    torch.manual_seed(3)
    first, second, fc = torch.nn.LSTM(2, 3), torch.nn.LSTM(3, 4), torch.nn.Linear(4, 1)
    torch.save(torch.nn.ModuleDict({"fc": fc, "b": second, "a": first}).state_dict(), tmp_path / "net.pt")
    x = torch.randn(200, 2)
    with torch.no_grad():
        expected = torch.relu(fc(second(first(x)[0])[0])).numpy()
    model = pytorch.read(tmp_path / "net.pt", "a, b, fc:relu")
    np.testing.assert_allclose(run(model, x.numpy()), expected, atol=1e-6)


def test_half_a_scaler_is_refused(tmp_path: Path) -> None:
    state = torch.nn.LSTM(2, 3).state_dict() | {"scaler.mean": torch.zeros(2)}
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=r"expected one scaler.mean and one scaler.scale"):
        pytorch.read(tmp_path / "net.pt")
    torch.save(state | {"scaler.scale": torch.zeros(2)}, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match="not positive"):
        pytorch.read(tmp_path / "net.pt")
