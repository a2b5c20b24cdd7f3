"""The modules that a state_dict's names stand for, and the order in which a stream runs through them."""

import re
from dataclasses import dataclass, field

from edge_lstm.convert.formats.pytorch.tensor import MAX_NAME, Tensor
from edge_lstm.convert.model import LINEAR, RELU, RELU6, SIGMOID, SOFTMAX, TANH, Activation, hard_sigmoid
from edge_lstm.errors import WeightsError

LSTM_NAME = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr)_l(?:0|[1-9]\d?)(?:_reverse)?)")
CELL_NAME = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh))")
LINEAR_NAME = re.compile(r"(?:(.*)\.)?(weight|bias)")
STEP = re.compile(r"([^:()\s]+)(?::([a-z0-9_]+)(?:\(([0-9.]+)\))?)?")

ACTIVATIONS = {
    "linear": LINEAR, "relu": RELU, "tanh": TANH, "sigmoid": SIGMOID, "softmax": SOFTMAX, "relu6": RELU6,
    "hard_sigmoid": hard_sigmoid(1 / 6, 0.5), "softplus": Activation("softplus"), "softsign": Activation("softsign"),
    "swish": Activation("swish"), "silu": Activation("swish"), "elu": Activation("elu"),
    "leaky_relu": Activation("leaky_relu", 0.01),
}  # fmt: skip
WITH_SLOPE = ("elu", "leaky_relu")
OTHER_CELLS = {1: "nn.RNN or nn.RNNCell", 3: "nn.GRU or nn.GRUCell"}  # by the rows of weight_hh per column


@dataclass(eq=False)
class Module:
    """An nn.LSTM, nn.LSTMCell or nn.Linear.

    Attributes:
        name: its prefix in the state_dict; "" at the top.
        kind: "LSTM", "LSTMCell" or "Linear".
        tensors: by their names without the prefix.
    """

    name: str
    kind: str
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def full(self, name: str) -> str:
        """Return the name of one of its tensors in the file."""
        return f"{self.name}.{name}" if self.name else name

    @property
    def title(self) -> str:
        """Its name for messages."""
        return self.name or f"the {self.kind}"


@dataclass(frozen=True, eq=False)
class Step:
    """A module in its place, with what follows it."""

    module: Module
    activation: Activation = LINEAR


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise WeightsError(message)


def modules(tensors: dict[str, Tensor]) -> list[Module]:
    """Return the modules in the order of the file.

    Raises:
        WeightsError: a tensor that belongs to none of the kinds.
    """
    found: dict[tuple[str, str], Module] = {}
    unknown = []
    for name, tensor in tensors.items():
        _require(0 < len(name) <= MAX_NAME and name.isprintable(), f"not the name of a tensor: {name[:60]!r}")
        for kind, pattern in (("LSTM", LSTM_NAME), ("LSTMCell", CELL_NAME), ("Linear", LINEAR_NAME)):
            match = pattern.fullmatch(name)
            if match and (kind != "Linear" or len(tensor.shape) == {"weight": 2, "bias": 1}[match[2]]):
                module = found.setdefault((kind, match[1] or ""), Module(match[1] or "", kind))
                module.tensors[match[2]] = tensor
                break
        else:
            unknown.append(f"{name} {tensor.shape}")
    unknown += [
        f"{module.full('bias')} {module.tensors['bias'].shape}"
        for module in found.values()
        if module.kind == "Linear" and "weight" not in module.tensors
    ]
    _require(
        not unknown,
        f"of no nn.LSTM, nn.LSTMCell or nn.Linear: {', '.join(unknown[:8])}{' ...' if len(unknown) > 8 else ''}; "
        "what they do can't be streamed, or not be known from a state_dict",
    )
    return list(found.values())


def ordered(found: list[Module], head: str, *, in_order: bool) -> list[Step]:
    """Return the modules in the order of the data, LSTMs first.

    Args:
        found: all modules of the file.
        head: "fc1:relu,fc2", or "" for one LSTM and at most one Linear behind it.
        in_order: whether ``found`` stands in the order in which the modules were made.

    Raises:
        WeightsError: the order is not known, or ``head`` does not say it.
    """
    recurrent = [module for module in found if module.kind != "Linear"]
    dense = [module for module in found if module.kind == "Linear"]
    _require(bool(recurrent), "no nn.LSTM and no nn.LSTMCell among the tensors (weight_ih_l0, weight_hh_l0, ...)")
    for module in recurrent:
        _refuse_other_cells(module)
    if not head:
        steps = _unnamed(found, recurrent, dense)
        last = steps[-1].module
        behind = not in_order or last is found[-1]
        _require(behind, f"{last.title} is before the LSTM in the file; if it follows it, say --layers {last.title!r}")
        return steps
    steps = [_step(text.strip(), found) for text in head.split(",")]
    named = [step.module for step in steps]
    _require(len({id(module) for module in named}) == len(named), f"--layers {head!r}: a module twice")
    if len(recurrent) == 1 and recurrent[0] not in named:
        steps.insert(0, Step(recurrent[0]))
    left = [module.title for module in found if module not in [step.module for step in steps]]
    _require(
        not left, f"--layers {head!r} leaves out {', '.join(left[:8])}; everything in the file has to have its place"
    )
    kinds = [step.module.kind == "Linear" for step in steps]
    _require(kinds == sorted(kinds), f"--layers {head!r}: a Linear before an LSTM can't be converted")
    return steps


def _refuse_other_cells(module: Module) -> None:
    for name, tensor in module.tensors.items():
        if name.startswith("weight_hh") and len(tensor.shape) == 2 and f"weight_hr{name[9:]}" not in module.tensors:
            rows, columns = tensor.shape
            kind = OTHER_CELLS.get(rows // columns if columns and rows % columns == 0 else 0)
            found = (
                f"{module.full(name)} has shape {tensor.shape}: {module.title} is an {kind}, which can't be converted"
            )
            _require(kind is None, f"{found}; expected an nn.LSTM, with four rows per column")


def _unnamed(found: list[Module], recurrent: list[Module], dense: list[Module]) -> list[Step]:
    names = ", ".join(module.title for module in (*recurrent, *dense))
    _require(
        len(recurrent) == 1,
        f"{len(recurrent)} LSTMs: {', '.join(module.title for module in recurrent[:8])}; a state_dict does not say "
        f"their order, so name the modules in it: --layers '{names[:120]}', with activations as in 'fc1:relu'",
    )
    _require(
        len(dense) <= 1,
        f"{len(dense)} Linears: {', '.join(module.title for module in dense[:8])}; a state_dict does not say their "
        "order or what is between them, so name them in order with their activations, as in --layers 'fc1:relu,fc2'",
    )
    for module in dense:
        ask = f"if it is an nn.Linear behind the LSTM, say --layers {module.title!r}"
        _require("bias" in module.tensors, f"{module.title} has no bias: an nn.Linear, or an nn.Embedding? {ask}")
    return [Step(module) for module in (*recurrent, *dense)]


def _step(text: str, found: list[Module]) -> Step:
    match = STEP.fullmatch(text)
    if match is None:
        message = f"--layers: {text!r} is not NAME or NAME:ACTIVATION, as in 'fc1:relu,fc2'"
        raise WeightsError(message)
    name, kind, slope = match.groups()
    fitting = [m for m in found if m.name == name] or [m for m in found if m.name.endswith(f".{name}")]
    names = ", ".join(module.title for module in found[:8])
    _require(len(fitting) == 1, f"--layers: {name!r} is {len(fitting)} modules of the file, which has {names}")
    if kind is None:
        return Step(fitting[0])
    _require(
        kind in ACTIVATIONS, f"--layers: activation {kind!r} is not known, expected one of {', '.join(ACTIVATIONS)}"
    )
    _require(fitting[0].kind == "Linear", f"--layers: {name} is an LSTM, an activation behind it can't be converted")
    return Step(fitting[0], _activation(kind, slope))


def _activation(kind: str, slope: str | None) -> Activation:
    if slope is None:
        return ACTIVATIONS[kind]
    _require(kind in WITH_SLOPE, f"--layers: {kind} takes no number")
    try:
        return Activation(ACTIVATIONS[kind].kind, float(slope))
    except ValueError:
        message = f"--layers: {slope} is not a number"
        raise WeightsError(message) from None
