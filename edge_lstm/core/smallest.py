"""Weights of one unit and one channel, all zero: kernels are compiled for their types."""

import numpy as np

from edge_lstm.core.layers import Cell, Dense, Function, Layers
from edge_lstm.core.table import FITTED, FORECASTS, Network, Norms, Weights


def smallest_weights() -> Weights:
    """Return weights of one unit and one channel, all zero; kernels are compiled for their types."""
    one, two = np.zeros(1), np.zeros(2, np.float32)
    network = Network(
        weight_ih=np.zeros((1, 4, 1), np.int8),
        weight_hh=np.zeros((1, 4, 1), np.int8),
        scale_ih=np.zeros((1, 4), np.float32),
        scale_hh=np.zeros((1, 4), np.float32),
        bias=np.zeros((1, 4), np.float32),
        head_weight=np.zeros((2, 1), np.int8),
        head_scale=two,
        head_bias=two,
        input_size=1,
        input_clip=np.float32(1),
        input_k=np.float32(1),
        hidden_k=np.float32(1),
    )
    norms = Norms(
        kind=FITTED,
        head=FORECASTS,
        mean=one,
        scale=one,
        input_mean=one,
        input_scale=one,
        output_mean=one,
        output_scale=one,
        target=one,
        anomalous=np.zeros(0),
        horizon=1,
        window=0,
        copies=1,
        center=np.zeros((2, 1)),
        whiten=np.zeros((2, 1, 1)),
        blame=np.zeros((2, 1)),
        evidence=np.zeros((3, 2)),
        tail=np.zeros(4),
        tau_b=1.0,
        tau_c=1.0,
        range=np.zeros((1, 2)),
        flat=np.zeros((1, 2)),
        fit_rows=0.0,
        period_s=0.0,
        warm_up=0.0,
        settle=0.0,
    )
    return Weights(network, norms)


def smallest_layers() -> Layers:
    """Return layers of one unit each, all zero, likewise."""
    none, one, shorts = np.zeros((0, 1), np.float32), np.zeros(1, np.float32), np.zeros((4, 1), np.int16)
    four, linear = np.zeros(4, np.float32), Function(0)
    cell = Cell(
        weight_ih=shorts,
        scale_ih=four,
        weight_hh=shorts,
        scale_hh=four,
        bias=four,
        weight_hr=shorts[:0],
        scale_hr=one[:0],
        bias_hr=one[:0],
        peephole=none,
        norm=none,
        start_h=one,
        start_c=one,
        functions=(linear, linear, linear),
        output_clip=1.0,
        inner_clip=1.0,
    )
    dense = Dense(shorts[:2], four[:2], four[:2], linear, 0, 1.0)
    return Layers((cell,), (dense,), np.float32(1), np.float32(127), np.float32(127))
