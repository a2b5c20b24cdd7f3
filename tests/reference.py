"""The oracle: what happens to one sample, slow and obvious, to be read beside `docs/numerics.md`.

It follows that page section by section and shares no code with `edge_lstm/core/`; every variant of
the core must give exactly these bits. One `Reference` is one row of state under one bundle.
"""

import ctypes
import ctypes.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

# ---- 1. Ground rules -----------------------------------------------------------------------------

f32 = np.float32
Number = TypeVar("Number", float, np.float32)

LIBM = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
LIBM.fma.argtypes, LIBM.fma.restype = [ctypes.c_double] * 3, ctypes.c_double
LIBM.fmaf.argtypes, LIBM.fmaf.restype = [ctypes.c_float] * 3, ctypes.c_float

P0, P1 = f32(0.9999993443489075), f32(0.12913639843463898)
P2, P3 = f32(0.0029388261027634144), f32(1.1310207810311113e-05)
Q0, Q1, Q2 = f32(1), f32(0.46246737241744995), f32(0.02376382052898407)
Q3, Q4 = f32(0.00023702824546489865), f32(2.4238366336248873e-07)
LOG2E, LOG10E, LN10 = 1.4426950408889634, 0.4342944819032518, 2.302585092994046
LN2_HI, LN2_LO = 6.93147180369123816490e-01, 1.90821492927058770002e-10
SQRT2 = 1.4142135623730951


def fma(a: float, b: float, c: float) -> float:
    """Return a*b + c in f64, rounded once."""
    return float(LIBM.fma(a, b, c))


def fma32(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """Return a*b + c in f32, rounded once."""
    return f32(LIBM.fmaf(float(a), float(b), float(c)))


def clip(x: Number, lo: Number, hi: Number) -> Number:
    """Return x held to [lo, hi]."""
    return min(max(x, lo), hi)


def ratio(x: np.float32) -> tuple[np.float32, np.float32]:
    """Return tanh(x) as numerator and denominator, f32 throughout."""
    x = clip(x, f32(-8), f32(8))
    y = x * x
    p = fma32(fma32(fma32(P3, y, P2), y, P1), y, P0)
    q = fma32(fma32(fma32(fma32(Q4, y, Q3), y, Q2), y, Q1), y, Q0)
    return f32(x * p), q


def tanh32(x: np.float32) -> np.float32:
    """Return tanh(x) in f32."""
    p, q = ratio(x)
    return f32(p / q)


def gated32(a: np.float32, x: np.float32) -> np.float32:
    """Return the logistic function of a, times tanh(x), in f32 with one division."""
    (p, q), (u, v) = ratio(f32(0.5) * a), ratio(x)
    return f32(f32(fma32(f32(0.5), p, f32(0.5) * q) * u) / f32(q * v))


def sigmoid32(x: np.float32) -> np.float32:
    """Return the logistic function of x in f32."""
    return fma32(f32(0.5), tanh32(f32(0.5) * x), f32(0.5))


def exp64(x: float) -> float:
    """Return e to the power of x."""
    x = clip(x, -700.0, 700.0)
    k = round(x * LOG2E)
    r = fma(-float(k), LN2_HI, x)
    r = fma(-float(k), LN2_LO, r)
    p = 1.0 / math.factorial(11)
    for n in range(10, -1, -1):
        p = fma(p, r, 1.0 / math.factorial(n))
    return math.ldexp(p, k)


def log64(x: float) -> float:
    """Return the natural logarithm of a positive normal number."""
    m, e = math.frexp(x)  # m in [0.5, 1)
    m, e = 2.0 * m, e - 1
    if m > SQRT2:
        m, e = m / 2.0, e + 1
    s = (m - 1.0) / (m + 1.0)
    y = s * s
    p = 1.0 / 17.0
    for n in range(15, 0, -2):
        p = fma(p, y, 1.0 / n)
    w = 2.0 * s
    return fma(float(e), LN2_HI, fma(w, p, float(e) * LN2_LO))


def asinh64(x: float) -> float:
    """Return the inverse hyperbolic sine of x."""
    a = abs(x)
    return math.copysign(log64(a + math.sqrt(fma(a, a, 1.0))), x)


def log10_64(x: float) -> float:
    """Return the decimal logarithm of a positive normal number."""
    return log64(x) * LOG10E


def ewma(old: float, x: float, tau: float, n: int) -> float:
    """Return the running mean after x, the n-th value: plain while young, then exponential."""
    return fma(max(1.0 / tau, 1.0 / n), x - old, old)


# ---- 4.2 Functions of a cell ---------------------------------------------------------------------

LARGE = f32(1e15)


def function(f: dict[str, Any], x: np.float32) -> np.float32:
    """Return an activation, by the numbers that the bundle gives it."""
    kind, a, b, low, high = f["kind"], f32(f["a"]), f32(f["b"]), f32(f["low"]), f32(f["high"])
    if kind == "sigmoid":
        return sigmoid32(x)
    if kind == "clipped":
        return clip(fma32(a, x, b), low, high)
    y = {
        "tanh": lambda: a * tanh32(f32(b * x)),
        "leaky_relu": lambda: x if x > 0 else a * x,
        "softsign": lambda: x / f32(f32(1) + abs(x)),
        "elu": lambda: b * x if x > 0 else b * f32(float(a) * (exp64(float(x)) - 1.0)),
        "softplus": lambda: x if x > 30 else f32(log64(1.0 + exp64(float(x)))),
        "swish": lambda: x * sigmoid32(x),
    }[kind]()
    return clip(f32(y), -LARGE, LARGE)


def through(gate: dict[str, Any], f: dict[str, Any], opening: np.float32, x: np.float32) -> np.float32:
    """Return what a gate lets through of a function of x."""
    if gate["kind"] == "sigmoid" and f["kind"] == "tanh" and f["a"] == f["b"] == 1.0:
        return gated32(opening, x)
    return f32(function(gate, opening) * function(f, x))


# ---- 6. The tail ---------------------------------------------------------------------------------

TAIL_Q, TAIL_B, TAIL_N = 0.02, 1.6989700043360187, 5000.0


def tail(e: float, origin: float, threshold: float, sigma: float, xi: float) -> float:
    """Return the surprise of the evidence e: -log10 of the probability of more."""
    if threshold <= origin or sigma <= 0.0 or e <= origin:
        return 0.0
    if e <= threshold:
        return TAIL_B * (e - origin) / (threshold - origin)
    y = e - threshold
    return min(15.0, fma(log64(fma(xi, y / sigma, 1.0)) / xi, LOG10E, TAIL_B))


@dataclass
class LearntTail:
    """The tail of one evidence of the adaptive judge, learnt as the samples come."""

    u: float = 0.0
    m: float = 0.0
    v: float = 0.0
    mean: float = 0.0
    ne: int = 0

    def learn(self, e: float, n: int) -> float:
        """Return the surprise of e, then take e in; n is the row's number of this sample."""
        if n <= 50:
            return 0.0
        i = n - 51
        if i == 0:
            self.u = e
        y = e - self.u
        surprise = 0.0
        if i >= 100 and self.u >= 1e-100 and self.m >= 1e-100:  # m*m must not vanish
            var = max(fma(-self.m, self.m, self.v), 1e-12 * (self.m * self.m))
            xi = clip(0.5 * (1.0 - (self.m * self.m) / var), 0.1, 0.3)
            surprise = tail(e, 0.0, self.u, self.m * (1.0 - xi), xi)
        self.mean = fma(max(1.0 / TAIL_N, 1.0 / (i + 1)), e - self.mean, self.mean)
        if y > 0.0:
            self.ne += 1
            b = max(1.0 / (TAIL_N * TAIL_Q), 1.0 / self.ne)
            self.m = fma(b, y - self.m, self.m)
            self.v = fma(b, fma(y, y, -self.v), self.v)
        rate = max(3.0 / TAIL_N, 3.0 / (i + 10)) * (2.0 * max(self.m, self.mean))
        self.u = fma(rate, (1.0 if y > 0.0 else 0.0) - TAIL_Q, self.u)
        return surprise


def distance(v: Sequence[float], mu: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    """Return the mean squared whitened distance of v from mu; w is lower triangular."""
    d = 0.0
    for i in range(len(v)):
        a = 0.0
        for j in range(i + 1):
            a = fma(float(w[i, j]), v[j] - float(mu[j]), a)
        d = fma(a, a, d)
    return d / len(v)


# ---- Results -------------------------------------------------------------------------------------


class Event(NamedTuple):
    """An alert as of one sample; while it lasts, `end` is the last sample over the level."""

    start: float
    peak: float
    end: float
    strength: float
    reason: str


@dataclass(frozen=True)
class Result:
    """What one sample gave. A dropped sample has an outcome and nothing else."""

    outcome: str
    surprise: float = 0.0
    score: float = 0.0
    quality: str = ""
    reason: str = ""
    alert: str = ""
    level: float = 0.0
    event: Event | None = None
    causes: "Causes | None" = None  # at the peak
    forecast: list[tuple[float, float]] | None = None


class Verdict(NamedTuple):
    """What the judge or a rule says: how strongly, why, and which channels are to blame."""

    strength: float
    reason: str
    blame: list[float]


@dataclass
class Channel:
    """What the rules remember of one channel."""

    last: float = 0.0
    low: float = 0.0
    high: float = 0.0
    resolution: float = 0.0
    run: int = 0
    equal: int = 0
    longest: int = 0


Causes = list[tuple[float, float, float, float]]  # per channel: observed, expected, spread, blame
GAP, LIMIT, HOLD, MOVED_CLOCK = 30.0, 1000.0, 20, 10
MAGIC = f32(12582912)


class Reference:
    """One row of state under one bundle."""

    # ---- 2. The row ------------------------------------------------------------------------------

    def __init__(self, metadata: dict[str, Any], tensors: dict[str, NDArray[Any]], budget_s: float = 604800.0) -> None:
        """Make a fresh row.

        Args:
            metadata: the JSON document of the bundle.
            tensors: its arrays by name.
            budget_s: at most one alert in this many seconds is wanted.
        """
        self.bundle, self.tensors, self.budget_s = metadata, tensors, float(budget_s)
        self.fitted = metadata["judge"] == "fitted"
        self.num_channels = len(metadata["channels"])
        self.num_layers, self.hidden_size = metadata["num_layers"], metadata["hidden_size"]
        self.qmax = 127 if metadata["activation_bits"] == 8 else 32767
        self.window, self.copies = metadata["window"], metadata["copies"]
        self.classifies = metadata["head"] == "classification"
        self.ahead = metadata["horizon"]
        usual: dict[str, Any] = {"a": 1.0, "b": 1.0, "low": -1e15, "high": 1e15}
        sigmoid, tanh = usual | {"kind": "sigmoid"}, usual | {"kind": "tanh"}
        plain = {
            "hidden_size": self.hidden_size, "output_size": 0, "gate": sigmoid, "candidate": tanh, "output": tanh,
            "peephole": False, "norm": False, "initial": False, "output_clip": 1.0, "inner_clip": 1.0,
            "gate_clip": 0.0, "cell_clip": 0.0, "projection_clip": 0.0,
        }  # fmt: skip
        identity = usual | {"kind": "clipped", "b": 0.0}
        self.cells = list(metadata["layers"]) or [plain] * self.num_layers
        self.dense = list(metadata["dense"]) or [{"function": identity, "input_clip": 1.0}]
        self.kx = f32(self.qmax / float(metadata["input_clip"]))
        assert self.fitted or self.num_channels == 1

        self.seen = self.stale = 0
        self.last_t = self.stale_t = self.period = 0.0
        self.mean = self.deviation = 0.0  # adaptive normalizer
        self.tails = [LearntTail() for _ in range(4)]  # forecast, bias, drift, season
        self.profile, self.count = [0.0] * 24, [0] * 24
        self.channels = [Channel() for _ in metadata["channels"]]
        self.event: Event | None = None  # the alert in progress; its end is the last one over
        self.causes: Causes = []
        self.calm = 0
        if self.fitted:
            self.means = [float(v) for v in tensors["normalize.mean"]]
            self.scales = [float(v) for v in tensors["normalize.scale"]]
        self.states = [self.fresh() for _ in range(self.copies)]
        self.doubtful = 0
        self.forget()

    def fresh(self) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """Return outputs and cell states, layer by layer, that a copy of the state starts from."""
        h, c = [], []
        for k, cell in enumerate(self.cells):
            outputs = cell["output_size"] or cell["hidden_size"]
            h.append(self.tensors.get(f"h_0_l{k}", np.zeros(outputs, np.float32)).copy())
            c.append(self.tensors.get(f"c_0_l{k}", np.zeros(cell["hidden_size"], np.float32)).copy())
        return h, c

    @property
    def h(self) -> NDArray[np.float32]:
        """The hidden state of a plain network."""
        return np.stack(self.states[0][0])

    @property
    def c(self) -> NDArray[np.float32]:
        """The cell state of a plain network."""
        return np.stack(self.states[0][1])

    def forget(self) -> None:
        """Lose what a gap makes worthless."""
        for state in self.states:
            for array in (*state[0], *state[1]):
                array[:] = 0.0  # sample 0 puts them to where they start
        self.pending: list[list[tuple[float, float]]] = []
        self.bias = self.fast = self.season_fast = self.log_distance = self.persistence = 0.0
        self.mean_residual = [0.0] * self.num_channels
        self.since = 0
        self.forecast = [(0.0, 0.0)] * self.num_channels  # void while since = 0

    def doubt(self) -> None:
        """Note that samples may have been missed that the stream did send."""
        self.doubtful = max(self.bundle["settle"], 1)

    def advance(self, t: float, x: Sequence[float]) -> Result:
        """Take one sample.

        Args:
            t: Unix seconds.
            x: one value per channel, NaN where it is missing.

        Returns:
            What the sample gave; the row is changed.
        """
        t, x = float(t), [float(v) for v in x]

        # ---- 3. Acceptance -----------------------------------------------------------------------
        missing = [math.isnan(v) for v in x]
        if not math.isfinite(t) or abs(t) > 1e11:
            return Result("bad_time")
        if any(math.isinf(v) for v in x):
            return Result("not_finite")
        if all(missing) or (any(missing) and self.seen == 0):
            return Result("missing")

        dt: float | None = None
        moved = False
        if self.seen > 0:
            dt = t - self.last_t
            if dt <= 0.0:
                self.stale = self.stale + 1 if t > self.stale_t else 1
                self.stale_t = t
                far = self.last_t - t > 1000.0 * self.period
                if not far or self.stale < MOVED_CLOCK:
                    return Result("duplicate" if dt == 0.0 else "out_of_order")
                dt, moved = None, True
        self.stale, self.stale_t = 0, 0.0

        known = float(self.bundle["period_s"])
        period = known if known > 0.0 else self.period  # before this sample
        gap = dt is not None and self.seen >= 20 and period > 0.0 and dt > GAP * period
        if known > 0.0 or dt is None:
            self.period = period
        elif period == 0.0:
            self.period = dt
        else:
            self.period = ewma(period, min(dt, 10.0 * period), 100.0, self.seen)
        ours = self.doubtful >= max(self.bundle["settle"], 1)
        news = gap and not ours and self.since >= self.bundle["settle"]
        if moved or gap:
            self.forget()

        x = [ch.last if lost else v for v, lost, ch in zip(x, missing, self.channels, strict=True)]
        clamped = [self.clamp(c, v) for c, v in enumerate(x)]
        suspect = any(missing) or clamped != x
        x = clamped

        # Sections 6, 7, 8, 9, then 5 and 4: judged first, then seen by the network; the other way round where it
        # does not forecast.
        n = self.seen + 1
        if self.ahead == 0:
            out = self.network(self.normalize(x, n))
            if not self.classifies:
                self.forecast = self.forecasts(out, x)
        judged = (
            self.judge_classes(out)
            if self.classifies
            else self.judge_fitted(x)
            if self.fitted
            else self.judge_adaptive(t, x[0], n)
        )
        ruled = self.rule(x, gap and not ours)
        if n <= self.bundle["warm_up"]:
            quality = "warming_up"
            judged = judged._replace(strength=0.0)
        elif self.since < self.bundle["settle"]:
            quality = "recovering"
        else:
            quality = "suspect" if suspect else "ok"
        self.persistence = (
            clip(self.persistence + (judged.strength - 2.0) / 10.0, 0.0, 5.0) if quality in ("ok", "suspect") else 0.0
        )
        lasting = judged._replace(strength=judged.strength + self.persistence)
        loudest = ruled if ruled.strength > lasting.strength else lasting
        level, alert, event, causes = self.watch(t, x, quality, loudest, news, gap or moved)

        if self.ahead > 0:
            self.pending.append(self.forecasts(self.network(self.normalize(x, n)), x))
            if len(self.pending) == self.ahead:
                self.forecast = self.pending.pop(0)
        told = "recovering" if self.doubtful > 0 and quality != "warming_up" else quality
        self.doubtful = max(0, self.doubtful - 1)
        self.since += 1
        self.seen += 1
        self.last_t = t
        for channel, v in zip(self.channels, x, strict=True):
            channel.last = v

        return Result(
            outcome="scored",
            surprise=judged.strength,
            score=1.0 - exp64(-judged.strength * LN10),
            quality=told,
            reason=loudest.reason if loudest.strength > 0.0 else "",
            alert=alert,
            level=level,
            event=event,
            causes=causes,
            forecast=list(self.forecast),
        )

    def clamp(self, c: int, x: float) -> float:
        """Return x held to what is believable for channel c."""
        if self.fitted:
            mean, scale = self.means[c], self.scales[c]
            return clip(x, fma(-LIMIT, scale, mean), fma(LIMIT, scale, mean))
        x = clip(x, -1e15, 1e15)
        if self.seen > 0:
            w = max(self.deviation, 1e-6 * abs(self.mean), 1e-9)
            x = clip(x, fma(-LIMIT, w, self.mean), fma(LIMIT, w, self.mean))
        return x

    # ---- 4. The network, one step ----------------------------------------------------------------

    def network(self, u: list[np.float32]) -> list[np.float32]:
        """Advance every copy of the state by the inputs u; return the outputs of the oldest."""
        if self.window == 0:
            due, oldest = (0 if self.since == 0 else -1), 0
        else:
            every = self.window // self.copies
            turns = self.since // every
            due = turns % self.copies if self.since % every == 0 else -1
            oldest = (turns + 1) % self.copies
        for copy in range(self.copies):
            if copy == due or self.since == 0:
                self.states[copy] = self.fresh()
        return [self.step(u, *state) for state in self.states][oldest]

    def quantize(self, v: np.float32, bound: float) -> int:
        """Return a value in steps of its bound."""
        v = clip(v, -f32(bound), f32(bound))
        return int(fma32(v, f32(self.qmax / bound), MAGIC) - MAGIC)

    def dot(self, name: str, q: list[int], bound: float) -> tuple[list[np.float32], NDArray[np.float32]]:
        """Return the exact sums of each row of a matrix, and the rows' scales."""
        sums = [f32(sum(map(mul, row, q))) for row in self.tensors[name].tolist()]
        return sums, self.tensors[f"{name}.scale"] / f32(self.qmax / bound)

    def step(self, u: list[np.float32], h: list[NDArray[np.float32]], c: list[NDArray[np.float32]]) -> list[np.float32]:
        """Advance one copy of the state; return the network's outputs."""
        bound = float(self.bundle["input_clip"])
        q = [self.quantize(v, bound) for v in u]
        for k, cell in enumerate(self.cells):
            self.cell(k, cell, q, bound, h[k], c[k])
            following = self.dense[0]["input_clip"] if k == len(self.cells) - 1 else cell["output_clip"]
            q, bound = [self.quantize(v, following) for v in h[k]], following
        for k, dense in enumerate(self.dense):
            last = k == len(self.dense) - 1
            name = "head" if last else f"dense_{k}"
            sums, scale = self.dot(f"{name}.weight", q, bound)
            y = [fma32(s, scale[r], self.tensors[f"{name}.bias"][r]) for r, s in enumerate(sums)]
            active = self.num_channels if last and not self.classifies else len(y)
            y = [function(dense["function"], v) for v in y[:active]] + y[active:]
            y = [clip(v, -LARGE, LARGE) for v in y]
            if not last:
                bound = self.dense[k + 1]["input_clip"]
                q = [self.quantize(v, bound) for v in y]
        return y

    def cell(
        self, k: int, cell: dict[str, Any], q: list[int], bound: float, h: NDArray[np.float32], c: NDArray[np.float32]
    ) -> None:
        """Advance LSTM layer k by its quantized inputs."""
        H, tensors = cell["hidden_size"], self.tensors
        ax, sx = self.dot(f"weight_ih_l{k}", q, bound)
        ah, sh = self.dot(f"weight_hh_l{k}", [self.quantize(v, cell["output_clip"]) for v in h], cell["output_clip"])
        bias = tensors[f"bias_l{k}"]
        start = np.zeros_like(bias) if cell["norm"] else bias
        pre = [fma32(ax[r], sx[r], fma32(ah[r], sh[r], start[r])) for r in range(4 * H)]

        def finished(gate: int, peephole: int) -> list[np.float32]:
            x = pre[gate * H : (gate + 1) * H]
            if cell["peephole"] and peephole >= 0:
                x = [fma32(p, state, v) for p, state, v in zip(tensors[f"peephole_l{k}"][peephole], c, x, strict=True)]
            if cell["norm"]:
                x = self.normalized(x, tensors[f"norm_l{k}"][gate], bias[gate * H : (gate + 1) * H])
            limit = f32(cell["gate_clip"] or LARGE)
            return [clip(v, -limit, limit) for v in x]

        gate, limit = cell["gate"], f32(cell["cell_clip"] or LARGE)
        i, f, g = finished(0, 0), finished(1, 1), finished(2, -1)
        for j in range(H):
            new = through(gate, cell["candidate"], i[j], g[j])
            c[j] = clip(fma32(function(gate, f[j]), c[j], new), -limit, limit)
        o = finished(3, 2)
        m = [through(gate, cell["output"], o[j], c[j]) for j in range(H)]
        if not cell["output_size"]:
            h[:] = m
            return
        sums, scale = self.dot(f"weight_hr_l{k}", [self.quantize(v, cell["inner_clip"]) for v in m], cell["inner_clip"])
        limit = f32(cell["projection_clip"] or LARGE)
        for r, s in enumerate(sums):
            h[r] = clip(fma32(s, scale[r], tensors[f"bias_hr_l{k}"][r]), -limit, limit)

    @staticmethod
    def normalized(x: list[np.float32], factor: NDArray[np.float32], bias: NDArray[np.float32]) -> list[np.float32]:
        """Return a gate normalized over its units."""
        total = 0.0
        for v in x:
            total += float(v)
        mean, square = total / len(x), 0.0
        for v in x:
            square = fma(float(v) - mean, float(v) - mean, square)
        inverse = 1.0 / math.sqrt(square / len(x) + 1e-8)
        return [
            f32(fma((float(v) - mean) * inverse, float(n), float(b))) for v, n, b in zip(x, factor, bias, strict=True)
        ]

    # ---- 5. ... and forecast ---------------------------------------------------------------------

    def forecasts(self, out: list[np.float32], x: list[float]) -> list[tuple[float, float]]:
        """Return (location, spread) of each channel, in data units."""
        C = self.num_channels
        targets = self.bundle["targets"] or [channel["name"] for channel in self.bundle["channels"]]
        if self.fitted:
            unit = [float(v) for v in self.tensors.get("output.scale", self.scales)]
            base = [float(v) for v in self.tensors.get("output.mean", self.means)]
        else:
            unit, base = [max(self.deviation, 1e-6 * abs(self.mean), 1e-9)], x
        return [
            (fma(float(out[c]), unit[c], base[c]), unit[c] * exp64(clip(float(out[C + c]), -7.0, 7.0)))
            if self.bundle["channels"][c]["name"] in targets
            else (x[c], 0.0)
            for c in range(C)
        ]

    # ---- 5. Normalize ----------------------------------------------------------------------------

    def normalize(self, x: list[float], n: int) -> list[np.float32]:
        """Return the network's inputs."""
        if self.fitted:
            means, scales = self.tensors.get("input.mean", self.means), self.tensors.get("input.scale", self.scales)
            return [
                f32(clip((v - float(mean)) / float(scale), -1e6, 1e6))
                for v, mean, scale in zip(x, means, scales, strict=True)
            ]
        v, last = x[0], self.channels[0].last
        if n == 1:
            self.mean, self.deviation, last = v, 0.0, v
        else:
            away = v - self.mean
            w = max(1.0 / 1000.0, 1.0 / n)
            self.mean = fma(w, away, self.mean)
            self.deviation = fma(w, abs(away) - self.deviation, self.deviation)
        s = max(self.deviation, 1e-6 * abs(self.mean), 1e-9)
        return [f32(asinh64((v - self.mean) / s)), f32(0.5 * asinh64(3.0 * (v - last) / s))]

    # ---- 6. Judge --------------------------------------------------------------------------------

    def judge_adaptive(self, t: float, x: float, n: int) -> Verdict:
        """Judge one channel by what its own past was like."""
        k = math.floor(t / 3600.0) % 24
        surprises = [0.0] * 4
        if self.since == 0:
            self.fast = x
        else:
            forecast, spread = self.forecast[0]
            r = x - forecast
            young = self.since + 1
            surprises[0] = self.tails[0].learn(abs(r), n)
            if n > 50:
                s = max(self.deviation, 1e-6 * abs(self.mean), 1e-9)
                self.bias = ewma(self.bias, clip(r / math.sqrt(spread * s), -1e6, 1e6), 10.0, n)
            else:
                self.bias = 0.0
            surprises[1] = self.tails[1].learn(abs(self.bias), n)
            self.fast = ewma(self.fast, x, 10.0, young)
            surprises[2] = self.tails[2].learn(abs(self.fast - self.mean), n)
            d = x - (self.profile[k] if self.count[k] > 0 else self.mean)
            self.season_fast = ewma(self.season_fast, d, 10.0, young)
            surprises[3] = self.tails[3].learn(abs(self.season_fast), n)
        self.count[k] += 1
        self.profile[k] = ewma(self.profile[k], x, 120.0, self.count[k])
        best = surprises.index(max(surprises))

        # Joining K evidences
        q, g = 1.0 - exp64(-surprises[best] * LN10), 1.0
        for _ in range(len(surprises) - 1):
            g = fma(g, q, 1.0)
        surprise = max(0.0, fma(-log64(g), LOG10E, surprises[best]))
        return Verdict(surprise, ("forecast", "bias", "drift", "season")[best], [1.0])

    def judge_fitted(self, x: list[float]) -> Verdict:
        """Judge all channels together by the bundle's numbers."""
        C, m, tensors = self.num_channels, self.since - self.ahead + 1, self.tensors
        if m < 1:
            return Verdict(0.0, "forecast", [0.0] * C)
        tau_b, tau_c = float(self.bundle["tau_b"]), float(self.bundle["tau_c"])
        e = [clip((x[c] - self.forecast[c][0]) / self.scales[c], -20.0, 20.0) for c in range(C)]
        self.mean_residual = [ewma(self.mean_residual[c], e[c], tau_c, m) for c in range(C)]
        center, whiten = tensors["judge.center"], tensors["judge.whiten"]
        a = log64(distance(e, center[0], whiten[0]) + 0.05)
        b = self.log_distance = ewma(self.log_distance, a, tau_b, m)
        c = log64(distance(self.mean_residual, center[1], whiten[1]) + 0.05)
        evidence = [
            (stat - float(median)) / (float(q99) - float(median))
            for stat, (median, q99) in zip((a, b, c), tensors["judge.evidence"], strict=True)
        ]
        best = evidence.index(max(evidence))
        of, row = (self.mean_residual, 1) if best == 2 else (e, 0)
        blame = [abs(v) * float(w) for v, w in zip(of, tensors["judge.blame"][row], strict=True)]
        surprise = tail(evidence[best], *(float(v) for v in tensors["judge.tail"]))
        first = "reconstruction" if self.ahead == 0 else "forecast"
        return Verdict(surprise, (first, "sustained", "bias")[best], blame)

    def judge_classes(self, out: list[np.float32]) -> Verdict:
        """Judge by the odds of an anomalous class."""
        anomalous, tensors = [name in self.bundle["anomalous"] for name in self.bundle["classes"]], self.tensors

        def log_sum(kind: bool) -> float:
            logits = [float(v) for v, is_anomalous in zip(out, anomalous, strict=True) if is_anomalous == kind]
            total = 0.0
            for v in logits:
                total += exp64(v - max(logits))
            return max(logits) + log64(total)

        a = log_sum(True) - log_sum(False) if len(out) > 1 else float(out[0]) * (1.0 if anomalous[0] else -1.0)
        b = self.log_distance = ewma(self.log_distance, a, float(self.bundle["tau_b"]), self.since + 1)
        evidence = [
            (stat - float(median)) / (float(q99) - float(median))
            for stat, (median, q99) in zip((a, b), tensors["judge.evidence"], strict=False)
        ]
        best = evidence.index(max(evidence))
        surprise = tail(evidence[best], *(float(v) for v in tensors["judge.tail"]))
        return Verdict(surprise, ("classification", "sustained")[best], [0.0] * self.num_channels)

    # ---- 7. Rules --------------------------------------------------------------------------------

    def rule(self, x: list[float], gap: bool) -> Verdict:
        """Return the strongest rule that fires, and remember the sample for the rules."""
        C = self.num_channels
        n = int(self.bundle["fit_rows"]) if self.fitted else self.seen
        best = Verdict(0.0, "", [0.0] * C)
        for reason, fires in ("out_of_range", self.out_of_range), ("flat_line", self.flat_line):
            for c in range(C):
                s = fires(c, x[c], n)
                if s > best.strength:
                    best = Verdict(s, reason, [s if k == c else 0.0 for k in range(C)])
        if gap:
            best = Verdict(15.0, "gap", [0.0] * C)
        return best

    def out_of_range(self, c: int, x: float, n: int) -> float:
        """Return how far x is outside of all that channel c has been."""
        ch, s = self.channels[c], 0.0
        if self.fitted:
            low, high = (float(v) for v in self.tensors["rules.range"][c])
        else:
            jump = abs(x - ch.last)
            if self.seen > 0 and jump > 0.0 and (ch.resolution == 0.0 or jump < ch.resolution):
                ch.resolution = jump
            low, high = ch.low, ch.high
            ch.low, ch.high = (min(low, x), max(high, x)) if self.seen > 0 else (x, x)
        width = max(high - low, 10.0 * ch.resolution)
        excess = max(x - high, low - x)
        if n >= 100 and width > 0.0 and excess > 0.05 * width:
            s = min(15.0, fma(10.0, excess / width, log10_64(float(n))))
        return s

    def flat_line(self, c: int, x: float, n: int) -> float:
        """Return how improbable it is that channel c has stood still for so long."""
        ch, s = self.channels[c], 0.0
        if self.seen > 0 and x == ch.last:
            ch.run += 1
        else:
            ch.equal, ch.longest, ch.run = ch.equal + ch.run, max(ch.longest, ch.run), 0
        before = n - ch.run
        p, longest = (ch.equal + 1) / (before + 2), float(ch.longest)
        if self.fitted:
            before = n
            p, longest = (float(v) for v in self.tensors["rules.flat"][c])
        if before >= 100 and ch.run >= 10 and ch.run >= 3.0 * longest:
            s = min(15.0, -ch.run * log10_64(p))
        return s

    # ---- 9. Alert --------------------------------------------------------------------------------

    def watch(
        self, t: float, x: list[float], quality: str, loudest: Verdict, news: bool, forgot: bool
    ) -> tuple[float, str, Event | None, Causes | None]:
        """Start, go on with, or end an alert; return level, alert, event, causes."""
        level = 2.0
        if self.period > 0.0:
            level = clip(log10_64(self.budget_s / max(self.period, 1e-9)), 2.0, 12.0)
        strength = loudest.strength if quality in ("ok", "suspect") else 0.0
        causes = [(v, *self.forecast[c], loudest.blame[c]) for c, v in enumerate(x)]

        event = self.event
        if event is not None and forgot:  # `forget` ends it
            self.event = None
            return level, "end", event._replace(end=self.last_t), self.causes
        if news and quality != "warming_up":
            causes = [(v, *self.forecast[c], 0.0) for c, v in enumerate(x)]  # nobody to blame
            return level, "start_end", Event(self.last_t, t, t, 15.0, "gap"), causes
        if event is None:
            if strength < level:
                return level, "", None, None
            self.event, self.calm = Event(t, t, t, strength, loudest.reason), 0
            self.causes = causes
            return level, "start", self.event, causes

        if strength >= level / 2.0:
            event, self.calm = event._replace(end=t), 0
        else:
            self.calm += 1
        if strength > event.strength:
            event = event._replace(peak=t, strength=strength, reason=loudest.reason)
            self.causes = causes
        if self.calm < HOLD:
            self.event = event
            return level, "active", None, None
        self.event = None
        return level, "end", event, self.causes
