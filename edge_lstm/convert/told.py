"""What a conversion has to say, for a person."""

from edge_lstm.compare.differences import Difference
from edge_lstm.convert.arrival import Arrival
from edge_lstm.convert.conversion import Converted
from edge_lstm.convert.model import Lstm, Model


def told_model(model: Model) -> str:
    """Return what was read."""
    layers = ", ".join(_layer(layer) for layer in model.layers)
    head = "".join(f", dense {dense.weight.shape[0]}" for dense in model.head)
    kind = "integers" if model.is_integer else "float"
    return f"source       {model.source}: {model.input_size} inputs, {layers}{head}; weights are {kind}\n"


def _layer(layer: Lstm) -> str:
    extras = {
        "peepholes": layer.peephole is not None,
        "layer norm": layer.norm is not None,
        f"projection to {layer.output_size}": layer.weight_hr is not None,
    }
    found = [name for name, there in extras.items() if there]
    return f"LSTM {layer.hidden_size}" + (f" ({', '.join(found)})" if found else "")


def told(made: Converted) -> str:
    """Return what came of it: the short form of ``edge-lstm compare`` against the source in float64."""
    m, found = made.bundle.metadata, made.arrival
    unit = "logits" if m.head == "classification" else "standard deviations"
    channels = f" of {', '.join(m.targets)}" if m.targets else ""
    meaning = {
        "forecast": f"forecast{channels}, {m.horizon} sample{'s' if m.horizon > 1 else ''} ahead",
        "reconstruction": f"reconstruction{channels}",
        "classification": f"classification: {', '.join(m.classes)}; anomalous: {', '.join(m.anomalous)}",
    }[m.head]
    one_state = ", one state for ever" if m.window else ""
    copies = f"{m.copies} copies of the state" if m.copies > 1 else "one state"
    context = f"{copies} over {m.window} samples" if m.window else "one state for ever"
    widths = ", ".join(f"{bits} bits: {rms:.2g}" for bits, rms in sorted(found.widths.items()))
    lines = {
        "head": meaning,
        "state": context,
        "arrived": (
            f"outputs differ from the source's in float64 by {found.difference_max:.2g} at most, rms "
            f"{found.difference_rms:.2g}, and move by {found.deviation_rms:.2g} ({unit}; {found.rows} rows{one_state})"
        ),
        "activations": f"{m.activation_bits} bits ({widths})",
        "fits": _fits(found),
        "scores": told_scores(found.scores),
    }
    return "".join(f"{name:<12} {text}\n" for name, text in lines.items() if text)


def _fits(found: Arrival) -> str:
    if not found.residual:
        return ""
    naive = f"; a forecast of no change {found.persistence:.2g}" if found.persistence else ""
    return f"the normal rows to within {found.residual:.2g} standard deviations (rms){naive}"


def told_scores(d: Difference) -> str:
    """Return in words what becomes of alerts and of the order of scores."""
    return (
        f"rank correlation {d.rank_correlation:.4f}; alerts {d.alerts[0]} -> {d.alerts[1]}, "
        f"{len(d.lost)} lost, {len(d.gained)} gained"
    )


def figures(found: Arrival) -> dict[str, float]:
    """Return a conversion's figures for its card."""
    return {
        "normal rows compared with the source in float64": found.rows,
        "root mean square difference of the outputs": found.difference_rms,
        "largest difference": found.difference_max,
        "what the source's outputs move by": found.deviation_rms,
        "rank correlation of the surprises": found.scores.rank_correlation,
        "alerts lost on normal rows": len(found.scores.lost),
        "alerts gained": len(found.scores.gained),
        "residual on normal rows, standard deviations of the data": found.residual,
        "the same for a forecast of no change": found.persistence,
    }
