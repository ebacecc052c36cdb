#!/usr/bin/env python3
"""Writes tests/golden/statistics.json: what scipy says of Student's t, means, differences and power, and R's p.adjust
written out for Holm.

    python3 scripts/golden/statistics.py
"""
import json
import sys
from pathlib import Path

try:
    import numpy as np
    from scipy import integrate, optimize, stats
except ImportError:
    sys.exit("statistics.py needs numpy and scipy: scripts/setup.sh --dev (python3-numpy, python3-scipy)")

OUT = Path(__file__).resolve().parents[2] / "tests/golden/statistics.json"


def quantiles():
    return [{"p": p, "df": df, "t": stats.t.ppf(p, df)}
            for df in (1, 2, 2.5, 4, 9, 30.25, 1000) for p in (1e-6, 0.025, 0.4, 0.5, 0.9, 0.975, 0.9975, 1 - 1e-9)]


def two_sided():
    return [{"t": t, "df": df, "p": 2 * stats.t.sf(abs(t), df)} for df in (1, 2, 3.7, 9, 200) for t in (-40, -2, 0, 0.3, 12)]


def power(shift, df, alpha):
    """By integration over the estimated spread s, of which df s^2 is chi-squared: no noncentral t is asked."""
    beyond = stats.t.ppf(1 - alpha / 2, df)
    def found(s):
        return (stats.norm.cdf(shift - beyond * s) + stats.norm.cdf(-beyond * s - shift)) * stats.chi.pdf(s * df ** 0.5, df) * df ** 0.5
    middle = min(shift / beyond, 4)
    return sum(integrate.quad(found, a, b, epsabs=1e-14, epsrel=1e-12, limit=500)[0]
               for a, b in ((0, middle / 2), (middle / 2, middle + 1), (middle + 1, middle + 12)))


def powers():
    return [{"shift": s, "df": df, "alpha": a, "power": power(s, df, a)}
            for df in (1, 2, 4, 7.5, 20) for a in (0.05, 0.05 / 6) for s in (0.5, 2, 4, 8, 40)]


def shifts():
    return [{"power": w, "df": df, "alpha": a,
             "shift": optimize.brentq(lambda s: power(s, df, a) - w, 0.01, 60, xtol=1e-11)}
            for df in (2, 4, 9, 20) for a in (0.05, 0.0125) for w in (0.5, 0.8, 0.95)]


def samples():
    """Means with their 95 % intervals, paired and Welch differences, of numbers like bits per character."""
    rng = np.random.default_rng(7)
    rows = []
    for n, m, spread, other in ((2, 2, 0.01, 0.01), (3, 3, 0.004, 0.03), (5, 5, 0.02, 0.02), (4, 7, 0.5, 0.001), (12, 12, 3, 1)):
        a = 1.9 + spread * rng.standard_normal(n)
        b = 1.91 + other * rng.standard_normal(m)
        mean = stats.t.interval(0.95, n - 1, a.mean(), stats.sem(a))
        welch = stats.ttest_ind(a, b, equal_var=False)
        va, vb = a.var(ddof=1) / n, b.var(ddof=1) / m
        row = {"a": a.tolist(), "b": b.tolist(), "mean": a.mean(), "lo": mean[0], "hi": mean[1],
               "welch_p": welch.pvalue, "welch_t": welch.statistic,
               "welch_df": (va + vb) ** 2 / (va ** 2 / (n - 1) + vb ** 2 / (m - 1))}
        if n == m:
            paired = stats.ttest_rel(a, b)
            row["paired_p"], row["paired_t"] = paired.pvalue, paired.statistic
        rows.append(row)
    return rows


def holm():
    """p.adjust(p, "holm") of R by its definition: the largest of what is smaller, each times how many are left."""
    rows = []
    for p in ([0.04], [0.01, 0.04, 0.03, 0.005], [0.02, 0.02, 0.02], [0.012, 0.9, 0.011, 0.6, 0.013], [1.0, 1.0]):
        order = np.argsort(p, kind="stable")
        adjusted = np.minimum(1, np.maximum.accumulate([(len(p) - k) * p[i] for k, i in enumerate(order)]))
        out = np.empty(len(p))
        out[order] = adjusted
        rows.append({"p": p, "adjusted": out.tolist(), "rejected": (out <= 0.05).tolist()})
    return rows


if __name__ == "__main__":
    sections = [quantiles, two_sided, powers, shifts, samples, holm]
    OUT.write_text(json.dumps({f.__name__: f() for f in sections}, indent=1, allow_nan=False) + "\n")
    print(OUT)
