"""The activations of LSTM nodes."""

import numpy as np

from edge_lstm.convert.formats.onnx.node import Node
from edge_lstm.convert.model import RELU, SIGMOID, TANH, Activation, hard_sigmoid
from edge_lstm.errors import WeightsError

_ALPHA, _BETA = {"hardsigmoid": 0.2, "leakyrelu": 0.01, "elu": 1.0, "thresholdedrelu": 1.0}, {"hardsigmoid": 0.5}


_TAKES_ALPHA = {*_ALPHA, "affine", "scaledtanh"}


_TAKES_BETA = {*_BETA, "affine", "scaledtanh"}


def activation(name: str, alpha: float, beta: float) -> Activation:
    """Return ONNX's function of that lower-case name.

    Raises:
        WeightsError: there is none, or it can't be streamed.
    """
    known = {
        "sigmoid": SIGMOID,
        "tanh": TANH,
        "relu": RELU,
        "hardsigmoid": hard_sigmoid(alpha, beta),
        "affine": Activation("clipped", alpha, beta),
        "scaledtanh": Activation("tanh", alpha, beta),
        "leakyrelu": Activation("leaky_relu", alpha),
        "elu": Activation("elu", alpha),
        "softsign": Activation("softsign"),
        "softplus": Activation("softplus"),
    }
    if name == "thresholdedrelu" and alpha == 0.0:
        return RELU
    if name not in known:
        raise WeightsError(f"has the activation {name!r}, expected one of {', '.join(sorted(known))}")
    if not np.isfinite([alpha, beta]).all():
        raise WeightsError(f"has parameters of the activation {name!r} that are not finite")
    return known[name]


def activations(node: Node) -> list[Activation]:
    """Return f, g, h; alphas and betas go, in order, to those that take one."""
    names = [name.lower() for name in node.attribute("activations", "STRINGS", ["Sigmoid", "Tanh", "Tanh"])]
    alphas, betas = node.attribute("activation_alpha", "FLOATS", []), node.attribute("activation_beta", "FLOATS", [])
    if len(names) != 3:
        node.refuse(f"has {len(names)} activations, expected 3: f, g, h")

    def parameter(name: str, given: list[float], taking: set[str], defaults: dict[str, float]) -> float:
        if name not in taking:
            return 0.0
        if not given and name not in defaults:
            node.refuse(f"has the activation {name!r} without alpha or beta, which has no defaults")
        return float(np.float32(defaults[name]) if not given else given.pop(0))

    found = []
    for name in names:
        alpha = parameter(name, alphas, _TAKES_ALPHA, _ALPHA)
        beta = parameter(name, betas, _TAKES_BETA, _BETA)
        try:
            found.append(activation(name, alpha, beta))
        except WeightsError as error:
            node.refuse(str(error))
    if alphas or betas:
        node.refuse(f"has {len(alphas)} alphas and {len(betas)} betas more than its activations {names} take")
    return found
