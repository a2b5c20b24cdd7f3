"""``edge-lstm inspect``: what is in a bundle."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from edge_lstm.errors import WeightsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a .safetensors bundle")
    parser.add_argument("--json", action="store_true", help="for a program")


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from edge_lstm.bundle import read

    facts = _facts(args.file)
    try:
        read(args.file)
        facts["golden_run"] = "ok"
    except WeightsError as error:
        facts["golden_run"] = str(error)
    sys.stdout.write(json.dumps(facts, indent=2) + "\n" if args.json else _table(facts))
    return 0 if facts["golden_run"] == "ok" else 2


def _facts(path: Path) -> dict[str, Any]:
    """Return what there is to say about a bundle."""
    import msgspec

    from edge_lstm.bundle import read

    bundle = read(path, replay_golden=False)
    tensors = bundle.tensors
    facts: dict[str, Any] = {"file": str(path), "digest": bundle.digest} | msgspec.to_builtins(bundle.metadata)
    network = ("weight", "bias", "head", "dense", "peephole", "norm_", "h_0", "c_0")
    facts["parameters"] = sum(tensor.size for name, tensor in tensors.items() if name.startswith(network))
    facts["file_bytes"] = path.stat().st_size
    facts["golden_rows"] = len(tensors["golden.t"])
    facts["tensors"] = {name: f"{tensor.dtype} {list(tensor.shape)}" for name, tensor in sorted(tensors.items())}
    return facts


def _layer(layer: dict[str, Any]) -> str:
    """Return a layer in words: its size, and what is not as usual."""
    size = layer.get("hidden_size", layer["output_size"])
    parts = [name for name in ("peephole", "norm", "initial") if layer.get(name)]
    if "hidden_size" in layer and layer["output_size"]:
        parts.append(f"projection {layer['output_size']}")
    usual = {"gate": "sigmoid", "candidate": "tanh", "output": "tanh"}
    parts += [f"{key} {layer[key]['kind']}" for key in usual if key in layer and layer[key]["kind"] != usual[key]]
    if "function" in layer:
        parts.append(layer["function"]["kind"])
    parts += [f"{key} {layer[key]:g}" for key in ("gate_clip", "cell_clip", "projection_clip") if layer.get(key)]
    return f"{size} ({', '.join(parts)})" if parts else str(size)


def _table(facts: dict[str, Any]) -> str:
    """Write the facts for a person."""
    lines = []
    for name, value in facts.items():
        if name == "channels":
            value = ", ".join(f"{c['name']} [{c['unit']}]" if c["unit"] else c["name"] for c in value)
        if name in ("layers", "dense"):
            value = [_layer(each) for each in value]
        if isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        if isinstance(value, dict):
            lines += [name, *(f"  {key:<22} {each}" for key, each in value.items())]
        else:
            lines.append(f"{name:<24} {value}")
    return "\n".join(lines) + "\n"
