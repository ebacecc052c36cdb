"""Holds PyTorch's models of scripts/measure_sweep.py's study against effllm, and finds the quickest form of each."""
import json
import statistics
import subprocess
import sys
import time

from bench_vs_torch import read_safetensors
from measure_sweep import MIXER
from measure_sweep import ARMS as MIXERS
from torch_small_models import ARMS
from torch_small_runs import Runner, window_starts

STEPS, AGREE = 30, 1e-4
SCORED = 4096  # tokens of the validation split
BY_TOKENS = {"tokens", "rows"}  # forms that would be unrolled a hundred times to be compiled


def call(effllm, *words):
    subprocess.run([effllm, *words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def of_arm(arm, seed):
    """The words that make the base a run of the study."""
    return ["--set", f"{MIXER}={MIXERS[arm]}", "--set", f"train.seed={seed}", "--set", f"data.seed={seed}"]


def first_tensors(effllm, base, arm, seed, plan, size):
    """What a run begins with: weights, the names of those that decay, and where each of its windows starts."""
    file = base.with_name("first.safetensors")
    call(effllm, "bench", "train", base, *of_arm(arm, seed), "--follow", "--threads", "1", "--save-inputs", file)
    tensors, decayed = read_safetensors(file)
    samples = -(-plan["max_tokens"] // (plan["batch"] * plan["context"])) * plan["batch"]
    return {"weights": {n: t for n, t in tensors.items() if n not in ("inputs", "targets")}, "decayed": sorted(decayed),
            "starts": window_starts(seed, samples, size, plan["context"])}


class Reference:
    """effllm's losses: of a short run's steps, and of the weights that it ends with."""

    def __init__(self, effllm, base, arm, plan, texts):
        self.arm, self.texts = arm, texts
        self.plan = plan | {"max_tokens": STEPS * plan["batch"] * plan["context"]}
        self.first = first_tensors(effllm, base, arm, 1, self.plan, len(texts["train"]))
        folder = base.with_name(f"short_{arm}")
        keys = [f"train.max_tokens={self.plan['max_tokens']}", "train.log_every=1", f"eval.max_tokens={SCORED}"]
        call(effllm, "train", base, *of_arm(arm, 1), *(w for k in keys for w in ("--set", k)), "--runs", folder, "--name", "run", "-q",
             "--threads", "1")
        call(effllm, "export", folder / "run", "-o", folder / "trained", "-q")
        rows = [json.loads(line) for line in (folder / "run/metrics.jsonl").open()]
        self.losses = [r["loss"] for r in rows if r["type"] == "train"]
        (self.val,) = [r["loss"] for r in rows if r["type"] == "val"]
        self.trained = self.first | {"weights": read_safetensors(folder / "trained/model.safetensors")[0]}

    def hold(self, form, compiled):
        """A runner whose losses are effllm's, with the largest differences, of the same weights and of steps; exits where they are not."""
        runner, batch = Runner(self.first, self.arm, form, compiled, self.plan, self.texts), self.plan["batch"]
        losses = [runner.step(self.first["starts"][i:i + batch]) for i in range(0, STEPS * batch, batch)]
        steps = [abs(a - b) for a, b in zip(losses, self.losses, strict=True)]
        runner.start(self.trained)
        weights = [steps[0], abs(runner.score("val", SCORED) - self.val)]
        if not all(d <= AGREE for d in weights + steps):  # also where one is NaN
            sys.exit(f"{self.arm}, {form}: losses of the same weights differ by {weights}, those of steps are\n"
                     f" ours   {self.losses}\n theirs {losses}")
        return runner, max(weights), max(steps)

    def seconds(self, runner):
        """Of a step, the median of fifteen."""
        batch, took = self.plan["batch"], []
        for i in range(18):
            began = time.perf_counter()
            runner.step(self.first["starts"][i * batch:(i + 1) * batch])
            took.append(time.perf_counter() - began)
        return statistics.median(took[3:])

    def choose(self, modes, timed):
        """The quickest form, eager (False among modes) and compiled (True), once it has been held against effllm; untimed, the first."""
        chosen, seconds = {}, {}
        for compiled in modes:
            forms = ARMS[self.arm][0].FORMS
            if compiled:  # takes long: the quickest without alone
                forms = sorted((f for f in forms if not BY_TOKENS & set(f.split())), key=seconds.get)[:ARMS[self.arm][0].TO_COMPILE]
            seconds = {}
            for form in forms:
                runner, weights, steps = self.hold(form, compiled)
                took = seconds[form] = self.seconds(runner) if timed else 0.0
                print(f"{self.arm}, {form}{', compiled' if compiled else ''}: losses within {weights:.0e} of the same weights, "
                      f"within {steps:.0e} in {STEPS} steps" + (f"; {1e3 * took:.1f} ms a step" if timed else ""), file=sys.stderr, flush=True)
            chosen[compiled] = min(seconds, key=seconds.get)
        return chosen
