"""Memory survives quantization: what a network remembers over 100 rows, streamed through its bundle one by one.

The smaller part of ``scripts/bench memory``, which asks over 500 rows; trained here, so nothing is kept.
"""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from bench.memory_tasks import ADDING, RECALL, Task, right, trained  # noqa: E402
from bench.memory_ways import converted, imported, of_bundle, of_import, of_torch  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("task", [RECALL, ADDING], ids=lambda task: task.name)
def test_what_is_remembered_is_within_a_point_of_float(task: Task, seed: int) -> None:
    task = replace(task, length=100)
    net, _ = trained(task, 16, 2000, seed)
    batch = task.tested(np.random.default_rng(seed), 1000, task.length)
    said = of_torch(net).answers(batch.x)
    model = imported(net)
    few = batch.x[:20]
    np.testing.assert_allclose(of_import(model).answers(few), said[:20], atol=1e-4)
    streamed = of_bundle(converted(model, task, 16)).answers(batch.x)
    assert right(task, said, batch) > 97.0  # it has learnt to
    assert right(task, streamed, batch) >= right(task, said, batch) - 1.0
