"""Random networks in PyTorch, as people write them."""

from typing import Any

import torch
from torch import nn

FUNCTIONS = {
    "relu": nn.ReLU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(-1), "elu": nn.ELU(),
    "leaky_relu": nn.LeakyReLU(), "leaky_relu(0.2)": nn.LeakyReLU(0.2), "hard_sigmoid": nn.Hardsigmoid(),
    "relu6": nn.ReLU6(), "softplus": nn.Softplus(), "softsign": nn.Softsign(), "silu": nn.SiLU(), "swish": nn.SiLU(),
    "linear": nn.Identity(), "elu(0.5)": nn.ELU(0.5),
}  # fmt: skip


class Net(nn.Module):
    """An LSTM, or a cell called row by row, and Linears with activations; x is (n, I)."""

    def __init__(
        self, inputs: int, units: int, head: list[tuple[int, str]], *, cell: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.rnn = nn.LSTMCell(inputs, units, **options) if cell else nn.LSTM(inputs, units, **options)
        width = options.get("proj_size") or units
        for k, (outputs, _) in enumerate(head):
            self.add_module(f"fc{k}", nn.Linear(width, outputs))
            width = outputs
        self.head = head

    def forward(self, x: Any) -> Any:
        if isinstance(self.rnn, nn.LSTMCell):
            state, rows = None, []
            for row in x:
                state = self.rnn(row[None], state)
                rows.append(state[0][0])
            y = torch.stack(rows)
        else:
            y = self.rnn(x[:, None])[0][:, 0]
        for k, (_, activation) in enumerate(self.head):
            y = FUNCTIONS[activation](getattr(self, f"fc{k}")(y))
        return y

    @property
    def spec(self) -> str:
        """What --layers has to say."""
        return ",".join(f"fc{k}:{activation}" for k, (_, activation) in enumerate(self.head))
