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
        self.forget()

    def forget(self) -> None:
        """Lose what a gap makes worthless."""
        self.h = np.zeros((self.num_layers, self.hidden_size), np.float32)
        self.c = np.zeros((self.num_layers, self.hidden_size), np.float32)
        self.bias = self.fast = self.season_fast = self.log_distance = self.persistence = 0.0
        self.mean_residual = [0.0] * self.num_channels
        self.since = 0
        self.forecast = [(0.0, 0.0)] * self.num_channels  # void while since = 0

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
        news = gap and self.since >= self.bundle["settle"]
        if moved or gap:
            self.forget()

        x = [ch.last if lost else v for v, lost, ch in zip(x, missing, self.channels, strict=True)]
        clamped = [self.clamp(c, v) for c, v in enumerate(x)]
        suspect = any(missing) or clamped != x
        x = clamped

        # Sections 6, 7, 8, 9, then 5 and 4: judged first, then seen by the network.
        n = self.seen + 1
        judged = self.judge_fitted(x) if self.fitted else self.judge_adaptive(t, x[0], n)
        ruled = self.rule(x, gap)
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

        self.forecast = self.step(self.normalize(x, n))
        self.since += 1
        self.seen += 1
        self.last_t = t
        for channel, v in zip(self.channels, x, strict=True):
            channel.last = v

        return Result(
            outcome="scored",
            surprise=judged.strength,
            score=1.0 - exp64(-judged.strength * LN10),
            quality=quality,
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

    def step(self, normalized: tuple[list[np.float32], list[float], list[float]]) -> list[tuple[float, float]]:
        """Advance the network by the inputs u; return (forecast, spread) of each channel."""
        u, unit, base = normalized
        H, qmax, tensors = self.hidden_size, f32(self.qmax), self.tensors

        def quantize(v: np.float32, k: np.float32) -> int:
            return int(fma32(v, k, MAGIC) - MAGIC)

        def dot(weight: NDArray[np.int8], q: list[int]) -> list[np.float32]:
            return [f32(sum(map(mul, row, q))) for row in weight.tolist()]

        bound = f32(self.bundle["input_clip"])
        q_in, k_in = [quantize(clip(v, -bound, bound), self.kx) for v in u], self.kx
        for layer in range(self.num_layers):
            w_ih, w_hh = f"weight_ih_l{layer}", f"weight_hh_l{layer}"
            scale_ih, scale_hh = tensors[w_ih + ".scale"], tensors[w_hh + ".scale"]
            bias = tensors[f"bias_l{layer}"]
            ax = dot(tensors[w_ih], q_in)
            ah = dot(tensors[w_hh], [quantize(v, qmax) for v in self.h[layer]])
            pre = [fma32(ax[r], scale_ih[r] / k_in, fma32(ah[r], scale_hh[r] / qmax, bias[r])) for r in range(4 * H)]
            for j in range(H):
                i, f, g, o = pre[j], pre[H + j], pre[2 * H + j], pre[3 * H + j]
                self.c[layer, j] = fma32(sigmoid32(f), self.c[layer, j], gated32(i, g))
                self.h[layer, j] = gated32(o, self.c[layer, j])
            q_in, k_in = [quantize(v, qmax) for v in self.h[layer]], qmax

        scale, bias = tensors["head.weight.scale"], tensors["head.bias"]
        sums = dot(tensors["head.weight"], q_in)
        out = [fma32(s, scale[r] / qmax, bias[r]) for r, s in enumerate(sums)]

        # ---- 5. ... and forecast
        C = self.num_channels
        return [
            (
                fma(float(out[c]), unit[c], base[c]),
                unit[c] * exp64(clip(float(out[C + c]), -7.0, 7.0)),
            )
            for c in range(C)
        ]

    # ---- 5. Normalize ----------------------------------------------------------------------------

    def normalize(self, x: list[float], n: int) -> tuple[list[np.float32], list[float], list[float]]:
        """Return the network's inputs, and unit and base of each channel's forecast."""
        if self.fitted:
            u = [
                f32(clip((v - mean) / scale, -1e6, 1e6))
                for v, mean, scale in zip(x, self.means, self.scales, strict=True)
            ]
            return u, self.scales, self.means
        v, last = x[0], self.channels[0].last
        if n == 1:
            self.mean, self.deviation, last = v, 0.0, v
        else:
            away = v - self.mean
            w = max(1.0 / 1000.0, 1.0 / n)
            self.mean = fma(w, away, self.mean)
            self.deviation = fma(w, abs(away) - self.deviation, self.deviation)
        s = max(self.deviation, 1e-6 * abs(self.mean), 1e-9)
        u = [f32(asinh64((v - self.mean) / s)), f32(0.5 * asinh64(3.0 * (v - last) / s))]
        return u, [s], [v]

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
        C, m, tensors = self.num_channels, self.since, self.tensors
        if m == 0:
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
        return Verdict(surprise, ("forecast", "sustained", "bias")[best], blame)

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
            causes = [(v, 0.0, 0.0, 0.0) for v in x]  # no forecast, nobody to blame
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
