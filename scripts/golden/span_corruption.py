"""Span corruption: which spans are taken out of a row, what the encoder reads, and what the decoder reads and writes.

Raffel et al. 2020, arXiv:1910.10683, section 3.1.4 and figure 2; google-research/text-to-text-transfer-transformer@
e081111 (t5/data/preprocessors.py: random_spans_noise_mask without its roll, noise_span_to_unique_sentinel,
nonnoise_span_to_unique_sentinel). Not as in that code: sentinels are numbered upwards; the targets end with one, as in
the figure, where the code has the end of a text; the numbers of tokens and spans are computed in double, and there are
no more spans than tokens that are kept. `python3 scripts/golden/span_corruption.py` writes the golden files.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from all import GOLDEN_FOLDER, flow_yaml
from common import Array, Options, Params
from random_numbers import Stream, chosen
from tensor_file import write_safetensors

PAPER = "Raffel et al. 2020, arXiv:1910.10683"
VOCAB, ROWS = 7, 3
DEFAULTS: Options = {"rate": 0.15, "mean_span": 3.0, "sentinels": 100}

Row = tuple[list[int], list[int], list[int]]  # what the encoder reads, what the decoder reads, and what it writes


def segmentation(items: int, segments: int, draws: Stream) -> list[int]:
    """Returns the lengths of `segments` pieces of so many items; each way to cut them is as probable as the others."""
    starts = sorted(chosen(list(range(1, items)), segments - 1, draws))
    return [end - start for start, end in zip([0] + starts, starts + [items])]


def corrupt(row: Array, options: Options, noise: Stream, kept: Stream) -> Row:
    """Returns a row of the encoder and of the decoder; kept spans and noise take turns, and noise is the last."""
    tokens = len(row)
    count = min(max(round(tokens * options["rate"]), 1), tokens - 1)
    spans = min(max(round(count / options["mean_span"]), 1), count, tokens - count)
    encoder: list[int] = []
    targets: list[int] = []
    at = 0
    lengths = zip(segmentation(tokens - count, spans, kept), segmentation(count, spans, noise))
    for i, (stays, goes) in enumerate(lengths):
        encoder += [*row[at : at + stays], VOCAB + i]
        targets += [VOCAB + i, *row[at + stays : at + stays + goes]]
        at += stays + goes
    targets.append(VOCAB + spans)
    return encoder, [VOCAB + options["sentinels"] - 1] + targets[:-1], targets


# variant: (options, tokens of a row, seed, step, number of the first row's sample; where the rows begin in the text).
CASES: dict[str, tuple[Options, int, int, int, int, int]] = {
    "default": ({}, 40, 1, 0, 0, 0),
    "shard": ({}, 40, 3, 41, 1234, 70001),
    "long_spans": ({"rate": 0.5, "mean_span": 4}, 24, 2**40 + 7, 2, 20, 48),
    "short_spans": ({"rate": 0.5, "mean_span": 1, "sentinels": 14}, 24, 6, 7, 8, 24),
    "most": ({"rate": 0.8, "mean_span": 2}, 21, 11, 12, 13, 5),
    "one": ({}, 10, 4, 3, 2, 1),
    "ties": ({}, 30, 5, 9, 30, 3),
    "two_tokens": ({}, 2, 7, 1, 1, 0),
}


def write(folder: Path) -> None:
    """Writes span_corruption.<variant>.safetensors: text [B,T]; encoder [B,T-n+k], inputs and targets [B,n+k+1] of
    training; eval_encoder, eval_inputs and eval_targets of the rows as they would begin at `begin`, `begin` + T .."""
    for variant, (options, tokens, seed, step, sample, begin) in CASES.items():
        rng = np.random.default_rng(zlib.crc32(f"span_corruption.{variant}".encode()))
        text = rng.integers(0, VOCAB, (ROWS, tokens)).astype(np.int32)
        rows: dict[str, list[Row]] = {"": [], "eval_": []}
        for b, row in enumerate(text):
            for prefix, of_seed, a, c in (("", seed, step, sample + b), ("eval_", 0, begin + b * tokens, tokens)):
                noise, kept = (Stream(of_seed, f"span_corruption.{name}", a, c) for name in ("noise", "kept"))
                rows[prefix].append(corrupt(row, DEFAULTS | options, noise, kept))
        tensors: Params = {"text": text}
        for prefix, made in rows.items():
            for name, part in zip(("encoder", "inputs", "targets"), zip(*made)):
                tensors[prefix + name] = np.array(part, np.int32)
        metadata = {"kind": "objective", "name": "span_corruption", "paper": PAPER}
        metadata["options"] = flow_yaml({"type": "span_corruption"} | options)
        where = {"vocab": VOCAB, "seed": seed, "step": step, "sample": sample, "begin": begin}
        metadata |= {name: str(value) for name, value in where.items()}
        write_safetensors(folder / f"span_corruption.{variant}.safetensors", tensors, metadata)


if __name__ == "__main__":
    write(GOLDEN_FOLDER)
