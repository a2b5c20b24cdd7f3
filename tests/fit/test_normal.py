import numpy as np

from edge_lstm.fit.calibrate import rules
from edge_lstm.fit.normal import normalize
from edge_lstm.fit.recordings import Sequence


def test_constant_channels_are_still_whatever_their_level() -> None:
    x = np.stack([np.sin(np.arange(100.0)), np.zeros(100), np.full(100, -5.0)], axis=1)
    normal = normalize([Sequence("a", np.arange(100.0), x)], 0.25)
    assert normal.constant.tolist() == normal.still.tolist() == [False, True, True]
    found = rules([x], normal.mean, normal.scale, normal.still)
    assert found["rules.flat"][1:, 0].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(found["rules.range"][1:], [[-0.03, 0.03], [-5.15, -4.85]])
