"""PyTorch: a state_dict in .pt, .pth or .safetensors, read without PyTorch; nothing in the file is executed."""

from pathlib import Path

from edge_lstm.convert.files import content
from edge_lstm.convert.formats.pytorch import archive as torch_file
from edge_lstm.convert.formats.pytorch import quantized as torch_quantized
from edge_lstm.convert.formats.pytorch import safetensors_file
from edge_lstm.convert.formats.pytorch.state_dict import build
from edge_lstm.convert.formats.pytorch.tensor import scaled
from edge_lstm.convert.model import Model
from edge_lstm.errors import WeightsError

SUFFIXES: tuple[str, ...] = (".pt", ".pth", ".safetensors")


def recognizes(head: bytes) -> bool:
    """Whether a file that begins with these 64 bytes is one of PyTorch's, or a safetensors file."""
    archive = head.startswith(torch_file.ZIP) and b"/data.pkl" in head
    return archive or head.startswith(torch_file.LEGACY) or head[8:10] == b'{"'


def read(path: Path, head: str = "") -> Model:
    """Return the model in a file.

    Args:
        path: a state_dict, of floats or dynamically quantized.
        head: what follows the LSTM, in order, with activations: "fc1:relu,fc2". It may begin with the LSTMs themselves,
            if there are several: "encoder,decoder,fc". Not needed for one LSTM with one Linear or none.

    Raises:
        WeightsError: the file is damaged, or holds what can't be read or streamed.
    """
    data = content(path)
    if path.suffix.lower() == ".safetensors" or data[8:10] == b'{"':
        tensors = scaled(safetensors_file.read(data))
        return build(tensors, head, "PyTorch state_dict (.safetensors)", in_order=False)
    objects = torch_file.read(data)
    model = build(scaled(torch_quantized.plain(objects)), head, "PyTorch state_dict (.pt)")
    if any("_all_weight_values" in name for name in objects) and not head:
        _refuse_doubtful(model)
    return model


def _refuse_doubtful(model: Model) -> None:
    """A quantized nn.LSTM numbers its cells without saying whether the second runs backward."""
    first = model.layers[0]
    if len(model.layers) == 2 and first.input_size == first.output_size:
        message = (
            f"{first.name.split(' layer')[0]} has two quantized cells: two layers, or one bidirectional one? The file "
            "does not say. If they are two layers, name the modules in order: --layers 'lstm,fc'"
        )
        raise WeightsError(message)
