"""Diffusion with tokens of the vocabulary as noise, alone or beside MASK: what tokens become, and the loss of each.

p_uniform 1: Schiff et al. 2024, arXiv:2412.10193 (UDLM), section 4; kuleshov-group/discrete-diffusion-guidance@edb0f8c
(diffusion.py: _q_xt, _forward_pass_diffusion). Below 1: von Ruette et al. 2025, arXiv:2503.04482 (GIDD), sections 3 and
4; dvruette/gidd@f67acc9 (gidd/diffusion_process.py, HybridDiffusion; gidd/loss.py, GiddLoss). Not as in these codes:

- UDLM's code keeps a token with probability 1 - (1 - eps) t, eps 1e-3, but takes its loss for 1 - t, which these values
  have throughout. It adds a reconstruction loss at the least t, where these times reach down to 0.
- GIDD's times end 1e-4 before 0 and 1; its training clips the weights.
- The times t are u^2 and u^4 of u spread evenly over the rows, with the loss multiplied by dt/du.

Both losses are w (KL(q || p) + r - log r - 1) of q = q_t(. | x), p = q_t(. | x_theta), r = q_z / p_z, which is checked.
`python3 scripts/golden/uniform_diffusion.py` writes the golden files.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Array, Options, Params
from equations import softmax
from masked_diffusion import DRAWS, GOLDEN_RATIO, ROWS, TOKENS, VOCAB, spread
from random_numbers import Stream
from tensor_file import write_safetensors

PAPER = "Schiff et al. 2024, arXiv:2412.10193; below p_uniform 1: von Ruette et al. 2025, arXiv:2503.04482"


def time(u: float, p_uniform: float) -> tuple[float, float]:
    """Returns t and dt/du."""
    power = 2 if p_uniform == 1 else 4
    return u**power, power * u ** (power - 1)


def hybrid(t: float, p_uniform: float) -> tuple[float, float]:
    """Returns GIDD's c_t = B sqrt(t (1 - t)) with B = 2 p_uniform / (1 - p_uniform), and dc_t/dt."""
    c = 2 * p_uniform / (1 - p_uniform) * np.sqrt(t * (1 - t))
    return c, c * (1 - 2 * t) / (2 * t * (1 - t))


def shares(t: float, p_uniform: float) -> tuple[float, float, float]:
    """Returns how probable it is at t that a token stays, becomes MASK, or is drawn from the vocabulary.

    1 - t, 0, t of UDLM; (1 - t, t, c_t) / (1 + c_t) of GIDD.
    """
    if p_uniform == 1:
        return 1 - t, 0.0, t
    c, _ = hybrid(t, p_uniform)
    return (1 - t) / (1 + c), t / (1 + c), c / (1 + c)


def corrupt(row: Array, first: int, t: float, p_uniform: float, token: Stream, which: Stream) -> Array:
    """Returns the tokens at t; those before `first` stay."""
    seen = row.copy()
    stays, masked, _ = shares(t, p_uniform)
    for i in range(first, len(row)):
        v = token.uniform(i)
        if v >= stays:
            seen[i] = VOCAB if v < stays + masked else which.below(i, VOCAB)
    return seen


def udlm(x: int, z: int, made: Array, t: float) -> float:
    """Returns the loss of one token, with made [N] for x_theta: UDLM in continuous time.

    a'/(N a) [N/xb_z - N/tb_z - sum_j xb_j/xb_z log(tb_z xb_j / (tb_j xb_z))] with a = 1 - t, a' = -1, xb = N a x + 1 - a
    and tb = N a x_theta + 1 - a.
    """
    n, a = len(made), 1 - t
    of_x, of_made = n * a * np.eye(n)[x] + 1 - a, n * a * made + 1 - a
    first = n / of_x[z] - n / of_made[z]
    second = np.sum(of_x / of_x[z] * np.log(of_made[z] * of_x / (of_made * of_x[z])))
    return -1 / (n * a) * (first - second)


def bregman(x: int, z: int, made: Array, t: float, p_uniform: float) -> float:
    """Returns KL(q || p) + r - log r - 1 of one token; entry N is MASK."""
    n = len(made)
    stays, masked, drawn = shares(t, p_uniform)
    noise = np.append(np.full(n, drawn / n), masked)
    q, p = (stays * np.append(row, 0.0) + noise for row in (np.eye(n)[x], made))
    there, r = q > 0, q[z] / p[z]
    return np.sum(q[there] * np.log(q[there] / p[there])) + r - np.log(r) - 1


def gidd(x: int, z: int, made: Array, t: float, p_uniform: float) -> float:
    """Returns the term of the bound of one token in GIDD, w_t(z, x) times its bregman.

    w is 1/(t (1 - t)) of MASK; (c + (1 - t) c') / ((1 - t) c) of a wrong token; (c + (1 - t) c') / N / ((1 - t)
    (1 - t + c/N)) of the right one.
    """
    n, (c, slope) = len(made), hybrid(t, p_uniform)
    grown = c + (1 - t) * slope
    if z == VOCAB:
        weight = 1 / (t * (1 - t))
    elif z == x:
        weight = grown / n / ((1 - t) * (1 - t + c / n))
    else:
        weight = grown / ((1 - t) * c)
    return weight * bregman(x, z, made, t, p_uniform)


def loss(x: int, z: int, logits: Array, t: float, p_uniform: float) -> float:
    """Returns the loss of one token x that became z."""
    made = softmax(logits)
    if p_uniform != 1:
        return gidd(x, z, made, t, p_uniform)
    value = udlm(x, z, made, t)
    other = bregman(x, z, made, t, p_uniform) / (len(made) * (1 - t) * ((1 - t) * (z == x) + t / len(made)))
    if not np.isclose(value, other, rtol=1e-10, atol=1e-12):
        raise ValueError(f"the two forms of a loss differ, {value} and {other}")
    return value


def stream(case: Options, name: str, a: int = 0, b: int = 0) -> Stream:
    """Returns the random numbers of one purpose of this objective."""
    return Stream(case["seed"], f"uniform_diffusion.{name}", a, b)


def training(text: Array, p_uniform: float, case: Options) -> tuple[Array, Array, Array]:
    """Returns the inputs, and t and dt/du of each row."""
    seen, times = text.copy(), []
    for b, row in enumerate(text):
        where = (case["step"], case["sample"] + b)
        times.append(time(spread(case, "uniform_diffusion.time", b), p_uniform))
        token, which = stream(case, "token", *where), stream(case, "which", *where)
        seen[b] = corrupt(row, 0, times[b][0], p_uniform, token, which)
    return seen, *np.array(times).T


def evaluation(text: Array, scored: int, p_uniform: float, case: Options) -> tuple[Array, Array, Array]:
    """Returns the inputs of each draw, and t and dt/du of each row in it; tokens before `scored` are known."""
    seen = np.repeat(text[None], DRAWS, axis=0)
    times = np.zeros((2, DRAWS, len(text)))
    for k in range(DRAWS):
        for b, row in enumerate(text):
            number = case["row"] + b
            u = (stream(case, "time").uniform(0) + number / GOLDEN_RATIO + k / DRAWS) % 1
            times[:, k, b] = time(u, p_uniform)
            token, which = stream(case, "eval_token", number, k), stream(case, "eval_which", number, k)
            seen[k, b] = corrupt(row, scored, times[0, k, b], p_uniform, token, which)
    return seen, *times


# variant: (p_uniform, seed, step, number of the first row's sample, its place in a batch of so many; number of the first
# row that is evaluated, known tokens).
CASES: dict[str, tuple[float, int, int, int, int, int, int, int]] = {
    "default": (1, 1, 0, 0, 0, 3, 0, 0),
    "shard": (1, 3, 41, 1234, 5, 8, 70001, 0),
    "mixed": (0.2, 5, 3, 30, 0, 3, 9, 0),
    "mixed_known": (0.1, 2**40 + 7, 2, 20, 1, 4, 3, 4),
}


def write(folder: Path) -> None:
    """Writes uniform_diffusion.<variant>.safetensors: text and seen [B,T], times and factors [B], logits [B,T,N] and
    losses [B,T] of training; draws [K,B,T], draw_times and draw_factors [K,B] of evaluation."""
    for variant, (p_uniform, seed, step, sample, place, batch, row, known) in CASES.items():
        rng = np.random.default_rng(zlib.crc32(f"uniform_diffusion.{variant}".encode()))
        text = rng.integers(0, VOCAB, (ROWS, TOKENS)).astype(np.int32)
        logits = rng.normal(0.0, 1.5, (ROWS, TOKENS, VOCAB))
        case: Options = {"seed": seed, "step": step, "sample": sample, "place": place, "batch": batch, "row": row}
        seen, times, factors = training(text, p_uniform, case)
        losses = np.zeros(text.shape)
        for b, i in np.ndindex(*text.shape):
            losses[b, i] = factors[b] * loss(int(text[b, i]), int(seen[b, i]), logits[b, i], times[b], p_uniform)
        draws, draw_times, draw_factors = evaluation(text, known, p_uniform, case)
        tensors: Params = {"text": text, "seen": seen, "times": times, "factors": factors}
        tensors |= {"logits": logits, "losses": losses}
        tensors |= {"draws": draws, "draw_times": draw_times, "draw_factors": draw_factors}
        metadata = {"kind": "objective", "name": "uniform_diffusion", "paper": PAPER}
        metadata["options"] = flow_yaml({"type": "uniform_diffusion", "p_uniform": p_uniform})
        metadata |= {name: str(value) for name, value in (case | {"known": known}).items()}
        write_safetensors(folder / f"uniform_diffusion.{variant}.safetensors", tensors, metadata)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
