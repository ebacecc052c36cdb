"""Runs of scripts/measure_sweep.py's study in PyTorch: the same windows in the same order, AdamW, warm-up and cosine, clipping,
evaluations and scores. `python3 torch_small_runs.py JOBS.json` trains those of a file and prints a line of JSON for each.
"""
import json
import math
import sys
import time
from pathlib import Path

import torch

from torch_small_models import Model

sys.path.append(str(Path(__file__).parent / "golden"))  # last: its statistics.py is not the library
from random_numbers import Stream  # noqa: E402


def permuted(i, count, rounds):
    """Element i of the permutation that the data's order goes by: a Feistel net, until it falls below `count`."""
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = 2**half - 1
    while True:
        left, right = i >> half & mask, i & mask
        for number in range(8):
            left, right = right, left ^ rounds.bits(number << 32 | right) & mask
        i = left << half | right
        if i < count:
            return i


def window_starts(seed, samples, size, tokens):
    """Where each sample of `order: shuffled_windows` begins in a text of so many tokens."""
    windows = max(1, size // tokens - 1)
    offsets = min(tokens, size - windows * tokens)
    starts = []
    for g in range(samples):
        epoch, place = divmod(g, windows)
        if place == 0:
            offset = Stream(seed, "data.shuffled_windows", epoch).below(0, offsets)
            rounds = Stream(seed, "data.permutation", epoch)
        starts.append(offset + tokens * permuted(place, windows, rounds))
    return starts


def rate(step, done, plan):
    """The learning rate of a step, with so many tokens done: linear warm-up, then half a cosine down to a tenth."""
    if step < plan["warmup"]:
        return plan["lr"] * (step + 1) / (plan["warmup"] + 1)
    warm = plan["warmup"] * plan["batch"] * plan["context"] / plan["max_tokens"]
    p = (done / plan["max_tokens"] - warm) / (1 - warm)
    return plan["lr"] * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * p)))


class Runner:
    """An arm's model, in one form, that is trained anew from whatever weights come."""

    SCORED = 32  # windows at a time

    def __init__(self, tensors, arm, form, compiled, plan, texts):
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)  # products of many decays
        self.plan, self.texts = plan, texts
        self.model = Model(tensors["weights"], arm, form, plan["context"])
        self.loss = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.start(tensors)

    def start(self, tensors):
        """From these weights, with a fresh optimizer."""
        self.model.load(tensors["weights"])
        groups = {True: [], False: []}
        for name, parameter in self.model.w.items():
            groups[name.replace("/", ".") in tensors["decayed"]].append(parameter)
        self.optimizer = torch.optim.AdamW(
            [{"params": groups[True], "weight_decay": 0.1}, {"params": groups[False], "weight_decay": 0.0}],
            lr=self.plan["lr"], betas=(0.9, 0.99), eps=1e-8, fused=True)
        self.steps = 0

    def windows(self, split, starts):
        at = torch.as_tensor(starts)[:, None] + torch.arange(self.plan["context"] + 1)
        rows = self.texts[split][at].long()
        return rows[:, :-1], rows[:, 1:]

    def step(self, starts):
        """Trains on these windows; returns their loss before."""
        lr = rate(self.steps, self.steps * self.plan["batch"] * self.plan["context"], self.plan)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.steps += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(*self.windows("train", starts))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def score(self, split, tokens):
        """Nats a token in windows side by side, of so many tokens; whole windows alone."""
        starts = range(0, tokens, self.plan["context"])
        assert len(starts) % self.SCORED == 0 and len(starts) * self.plan["context"] == tokens
        parts = [self.loss(*self.windows(split, list(starts[i:i + self.SCORED]))).item()
                 for i in range(0, len(starts), self.SCORED)]
        return sum(parts) / len(parts)

    def run(self, tensors, starts, folder):
        """A run of the study, from weights to scores: (loss at its end, nats a token of val and test)."""
        self.start(tensors)
        batch = self.plan["batch"]
        losses = [self.step(starts[i:i + batch]) for i in range(0, len(starts), batch)]
        self.score("val", self.plan["val_tokens"])
        torch.save({"weights": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, folder / "run.pt")
        return losses[-1], self.score("val", self.plan["score_tokens"]), self.score("test", self.plan["score_tokens"])


def read_texts(corpus):
    """The splits' bytes."""
    whole = bytearray(Path(corpus["file"]).read_bytes())
    return {name: torch.frombuffer(whole[a:b], dtype=torch.uint8) for name, (a, b) in corpus["splits"].items()}


def main():
    """Jobs: {file, splits, plan, runs: [{arm, form, compiled, tensors: FILE}]}; FILE was written by torch.save."""
    path = Path(sys.argv[1])
    jobs = json.loads(path.read_text())
    texts = read_texts(jobs)
    runners = {}
    for job in jobs["runs"]:
        tensors = torch.load(job["tensors"])
        if (runner := runners.get(job["arm"])) is None:
            began = time.perf_counter()
            runner = runners[job["arm"]] = Runner(tensors, job["arm"], job["form"], job["compiled"], jobs["plan"], texts)
            for _ in range(2):  # what is compiled is compiled here
                runner.step(tensors["starts"][:jobs["plan"]["batch"]])
            runner.score("val", Runner.SCORED * jobs["plan"]["context"])
            print(json.dumps({"arm": job["arm"], "start_s": time.perf_counter() - began}), flush=True)
        began = time.perf_counter()
        loss, val, test = runner.run(tensors, tensors["starts"], path.parent)
        print(json.dumps({"arm": job["arm"], "run_s": time.perf_counter() - began, "loss": loss, "val": val, "test": test}),
              flush=True)


if __name__ == "__main__":
    main()
