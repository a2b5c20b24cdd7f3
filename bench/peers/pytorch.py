"""PyTorch: ``nn.LSTMCell`` in float32 and dynamically quantized, and ``nn.LSTM`` in float32."""

import warnings

import torch
from torch import nn

from bench.peers.lstm import F32, Lstm, random_lstm

torch.set_num_threads(1)
torch.set_grad_enabled(False)  # once; entering inference_mode in every step costs 2 us
Pair = tuple[torch.Tensor, torch.Tensor]


def fill(module: nn.LSTM | nn.LSTMCell, lstm: Lstm) -> None:
    """Put the weights into a module; its second bias becomes zero."""
    weight_ih, weight_hh, bias, second = module.parameters()
    for own, given in zip((weight_ih, weight_hh, bias), lstm, strict=True):
        own.copy_(torch.from_numpy(given))
    second.zero_()


class TorchCell:
    """``nn.LSTMCell``."""

    name = "PyTorch f32 LSTMCell"
    tolerance = 1e-4

    def __init__(self, input_size: int, hidden_size: int, rows: int) -> None:
        cell = nn.LSTMCell(input_size, hidden_size)
        fill(cell, random_lstm(input_size, hidden_size))
        self.cell = self.prepare(cell.eval())
        self.x = torch.zeros(rows, input_size)
        self.view = self.x.numpy()
        self.state: Pair = (torch.zeros(rows, hidden_size), torch.zeros(rows, hidden_size))

    def prepare(self, cell: nn.Module) -> nn.Module:
        """Return the module to run, made of the float one."""
        return cell

    def step(self, x: F32) -> F32:
        """Take x (rows, I); return h (rows, H)."""
        self.view[:] = x
        self.state = self.cell(self.x, self.state)
        return self.state[0].numpy()


class TorchInt8(TorchCell):
    """``nn.LSTMCell``, quantized with ``quantize_dynamic``."""

    name = "PyTorch int8 LSTMCell"
    tolerance = 0.05

    def prepare(self, cell: nn.Module) -> nn.Module:
        """Quantize the cell."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is to move to another package
            return torch.ao.quantization.quantize_dynamic(nn.Sequential(cell), {nn.LSTMCell}, dtype=torch.qint8)[0]


class TorchLstm:
    """``nn.LSTM`` over a sequence of one."""

    name = "PyTorch f32 LSTM"
    tolerance = 1e-4

    def __init__(self, input_size: int, hidden_size: int, rows: int) -> None:
        self.lstm = nn.LSTM(input_size, hidden_size).eval()
        fill(self.lstm, random_lstm(input_size, hidden_size))
        self.x = torch.zeros(1, rows, input_size)
        self.view = self.x.numpy()
        self.state: Pair = (torch.zeros(1, rows, hidden_size), torch.zeros(1, rows, hidden_size))

    def step(self, x: F32) -> F32:
        """Take x (rows, I); return h (rows, H)."""
        self.view[0] = x
        _, self.state = self.lstm(self.x, self.state)
        return self.state[0][0].numpy()
