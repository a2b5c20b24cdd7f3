"""Model cards: what a bundle is, in Markdown, from the bundle itself."""

from edge_lstm.bundle import Bundle, Metadata
from edge_lstm.fit.report import FitReport

SHOWN = 6  # of a long list


def card(bundle: Bundle, size: int, figures: dict[str, float], warnings: tuple[str, ...] = ()) -> str:
    """Return the card of a bundle.

    Args:
        bundle: a sealed one.
        size: of its file, bytes.
        figures: what was measured, by a name that says of what and in what unit.
        warnings: what a person should know before using it.
    """
    m = bundle.metadata
    channels = ", ".join(f"{c.name} [{c.unit}]" if c.unit else c.name for c in m.channels)
    period = f"{m.period_s:g} s" if m.period_s else "learnt from each stream"
    facts = {
        "digest": f"`{bundle.digest}`",
        "judge": m.judge,
        "channels": channels,
        "sampling period": period,
        "network": f"LSTM, {_units(m)} units, 8-bit weights, {m.activation_bits}-bit activations",
        "file": f"{size / 1024:.1f} KiB",
        "no score before": f"{m.warm_up} samples",
    }
    facts |= _outputs(m)
    facts |= {key.replace("_", " "): _text(value) for key, value in m.provenance.items()}
    lines = [f"# {m.name}", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    lines += ["", "| measured | |", "| --- | --- |"]
    lines += [f"| {name} | {value:,.6g} |" for name, value in figures.items()]
    if warnings:
        lines += ["", "Warnings:", "", *(f"- {warning}" for warning in warnings)]
    return "\n".join(lines) + "\n"


def _units(m: Metadata) -> str:
    """Return the sizes of the LSTM layers, and of dense layers before the last."""
    cells = ", ".join(str(cell.hidden_size) for cell in m.layers) or f"{m.num_layers} x {m.hidden_size}"
    dense = ", ".join(str(one.output_size) for one in m.dense[:-1])
    return f"{cells}; dense {dense}" if dense else cells


def _outputs(m: Metadata) -> dict[str, str]:
    """Return what is not as in a fitted bundle: what the outputs are, and how far back the state reaches."""
    facts = {}
    if m.classes:
        facts["head"] = f"classes {', '.join(m.classes)}; anomalous: {', '.join(m.anomalous)}"
    elif m.head != "forecast" or m.horizon > 1 or m.targets:
        ahead = f", {m.horizon} samples ahead" if m.horizon > 1 else ""
        facts["head"] = f"{m.head} of {', '.join(m.targets or m.channel_names)}{ahead}"
    if m.window:
        facts["state"] = f"{m.copies} copies over {m.window} samples"
    return facts


def _text(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    more = f", and {len(value) - SHOWN} more" if len(value) > SHOWN else ""
    return ", ".join(map(str, value[:SHOWN])) + more


def figures(report: FitReport) -> dict[str, float]:
    """Return a fit's figures for its card."""
    return {
        "normal rows": report.rows,
        "of them held back from the weights": report.held_back,
        "squared error on rows the weights saw, squared scales": report.seen_error,
        "squared error on held-back rows": report.held_back_error,
        "the same for persistence": report.persistence_error,
        "largest forecast difference, float against quantized, scales": report.forecast_difference,
        "root mean square of it": report.forecast_difference_rms,
        "largest surprise difference on held-back rows": report.surprise_difference,
    }
