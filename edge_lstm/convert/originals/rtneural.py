"""RTNeural's JSON in RTNeural itself, compiled from its headers; JSON of a state_dict in PyTorch."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_lstm.convert import mathematics
from edge_lstm.convert.formats.rtneural import reader as rtneural
from edge_lstm.convert.model import Floats, Model

HEADERS = "RTNEURAL"  # the environment variable that names a checkout of RTNeural
PROGRAM = r"""
#include <RTNeural/RTNeural.h>
#include <cstdio>

template <typename T>
int run(const char* path)
{
    std::ifstream file(path);
    auto model = RTNeural::json_parser::parseJson<T>(file);
    model->reset();
    std::vector<T> x(model->getInSize());
    double value;
    while(true)
    {
        for(auto& element : x)
        {
            if(std::scanf("%lf", &value) != 1)
                return 0;
            element = (T)value;
        }
        model->forward(x.data());
        for(int k = 0; k < model->getOutSize(); ++k)
            std::printf("%.17g ", (double)model->getOutputs()[k]);
    }
}

int main(int, char** arguments)
{
    return arguments[2][0] == 'd' ? run<double>(arguments[1]) : run<float>(arguments[1]);
}
"""


def run(path: Path, model: Model, x: NDArray[np.float64], *, double: bool = False) -> tuple[Floats, Floats]:
    """Return what RTNeural gives for the rows x (n, I) from the zero state, and what the model gives, each (n, O).

    Args:
        path: the source file.
        model: as it was read.
        x: in the units of the file.
        double: whether RTNeural computes in double precision, instead of the usual float.

    Raises:
        ImportError: no compiler, or the environment variable RTNEURAL does not name a checkout of RTNeural.
    """
    document = rtneural.parse(path)
    if "layers" not in document:
        import torch

        from edge_lstm.convert.originals import pytorch

        return pytorch.compare({name: torch.tensor(value) for name, value in document.items()}, model, x)
    program = _compiled(os.environ.get(HEADERS, ""))
    rows = "\n".join(" ".join(map(repr, row)) for row in np.asarray(x, np.float64).tolist())
    command = [str(program), str(path), "d" if double else "f"]
    result = subprocess.run(command, input=rows, capture_output=True, text=True, check=True)
    return np.array(result.stdout.split(), np.float64).reshape(len(x), -1), mathematics.run(model, x)


@functools.cache
def _compiled(headers: str) -> Path:
    compiler = shutil.which("c++")
    if compiler is None or not (Path(headers) / "RTNeural" / "RTNeural.h").is_file():
        message = f"needs a C++ compiler, and a checkout of RTNeural named by the environment variable {HEADERS}"
        raise ImportError(message)
    folder = Path(tempfile.mkdtemp(prefix="edge-lstm-rtneural-"))
    (folder / "program.cpp").write_text(PROGRAM)
    options = ["-std=c++17", "-O1", "-w", "-DRTNEURAL_NO_DEBUG=1", f"-I{headers}"]
    subprocess.run([compiler, *options, "program.cpp", "-o", "program"], cwd=folder, check=True, capture_output=True)
    return folder / "program"
