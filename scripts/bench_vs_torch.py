#!/usr/bin/env python3
"""Training steps of effllm and of PyTorch on the same models, weights and batches, in turn in one run.

    scripts/bench_vs_torch.py [ROW ...] [--seconds 20] [--no-compile] [--json FILE]

For each row (all by default): first 20 steps of both from the same initial weights, whose losses must agree to 1e-3
(but for rows with dropout, whose masks differ); then steps of both in turn, the f32 1024^3
product of the same moment beside them. PyTorch eager and compiled, flash attention where it has it, experts one after the other and as
one padded product, fused AdamW; the best one counts. Prints the table of docs/performance.md. Needs PyTorch (2.13, CPU): pip install torch.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# name: configuration, overrides, mixer, heads, dropout; what the step must reach of P_1024 and against PyTorch.
ROWS = {
    "gpt_d128_t64": ("gpt_d128_t64", [], "attention", 4, 0.0, 0.60, 1.45),
    "gpt_d128_t256": ("gpt_d128_t256", [], "attention", 4, 0.0, 0.63, 2.0),
    "gpt_d384_t256": ("gpt_d384_t256", [], "attention", 6, 0.0, 0.75, 1.3),
    "gpt_d384_t256_b64": ("gpt_d384_t256", ["train.batch=64"], "attention", 6, 0.0, 0.75, 1.3),
    "gpt_d384_t256_dropout": ("gpt_d384_t256_dropout", [], "attention", 6, 0.2, 0.73, 2.2),
    "gpt_d384_t1024": ("gpt_d384_t1024", [], "attention", 6, 0.0, 0.66, 1.2),
    "min_gru_d256": ("min_gru_d256", [], "min_gru", 1, 0.0, 0.68, 2.4),
    "gru_d256": ("gru_d256", [], "gru", 1, 0.0, 0.50, 1.8),
    "lstm_d256": ("lstm_d256", [], "lstm", 1, 0.0, 0.62, 1.15),
    "gla_d256": ("gla_d256", [], "gla", 4, 0.0, 0.66, 1.35),
    "dense_d256": ("dense_d256", [], "attention", 4, 0.0, 0.70, 1.3),
    "moe_d256": ("moe_d256", [], "attention", 4, 0.0, 0.60, 2.0),
}
AGREE = 1e-3


class Ours:
    """`effllm bench train --follow`: steps and probes on request."""

    def __init__(self, binary, config, overrides, threads, inputs):
        command = [binary, "bench", "train", str(ROOT / f"configs/bench/{config}.yaml"), "--follow", "--threads",
                   str(threads), "--save-inputs", inputs]
        for o in overrides:
            command += ["--set", o]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"effllm ended with {self.process.wait()}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def read_safetensors(path):
    import torch

    data = Path(path).read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    kinds = {"F32": torch.float32, "I32": torch.int32}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        piece = bytearray(data[8 + n + begin:8 + n + end])
        tensors[name] = torch.frombuffer(piece, dtype=kinds[entry["dtype"]]).reshape(entry["shape"]).clone()
    return tensors, set(header.get("__metadata__", {}).get("decayed", "").split())


class Neighbours:
    """CPU seconds that other programs and guests took: /proc/stat without this process and effllm's."""

    def __init__(self, child):
        self.child = child
        self.start, self.busy = time.perf_counter(), self.others()

    def others(self):
        tick = os.sysconf("SC_CLK_TCK")
        user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        of_child = Path(f"/proc/{self.child}/stat").read_text().rpartition(")")[2].split()
        mine = os.times()
        return (user + nice + system + irq + soft + steal - int(of_child[11]) - int(of_child[12])) / tick - (
            mine.user + mine.system)

    def contended(self, threads):
        free = max(0, os.cpu_count() - threads)
        return (self.others() - self.busy) / (time.perf_counter() - self.start) > free + 0.03 * threads


def measure(name, options):
    import torch

    from torch_models import Peer

    config, overrides, mixer, heads, p, must, must_torch = ROWS[name]
    with tempfile.TemporaryDirectory() as folder:
        inputs = os.path.join(folder, "inputs.safetensors")
        ours = Ours(options.effllm, config, overrides, options.threads, inputs)
        ours.ask("probe")  # its inputs are written by now
        tensors, decayed = read_safetensors(inputs)
    forms = ["loop", "padded"] if any(n.endswith("ffn.router.weight") for n in tensors) else [""]
    modes = [(form, compiled) for form in forms for compiled in ([False] if options.no_compile else [False, True])]
    first = ours.ask("steps 20")
    losses = first["losses"]
    peers, worst, compile_s = {}, 0.0, 0.0
    for form, compiled in modes:
        torch.manual_seed(0)
        peer = Peer(tensors, decayed, mixer, heads, p, compiled, form)
        start = time.perf_counter()
        theirs = [peer.step()]
        if compiled:
            compile_s = time.perf_counter() - start
        theirs += [peer.step() for _ in range(19 if p == 0 else 2)]
        if p == 0:
            differences = [abs(a - b) for a, b in zip(losses, theirs)]
            if not all(d <= AGREE for d in differences):  # also where one is NaN
                sys.exit(f"{name}: losses differ\n ours   {losses}\n theirs {theirs}")
            worst = max([worst] + differences)
        peers[f"{form} {'compiled' if compiled else 'eager'}".strip()] = peer

    seconds = {"ours": [], **{m: [] for m in peers}}
    ratios, pairs, peaks = [], {m: [] for m in peers}, []
    neighbours = Neighbours(ours.process.pid)
    begin = time.perf_counter()
    while time.perf_counter() - begin < options.seconds or len(seconds["ours"]) < 5:
        before = ours.ask("probe")["p1024_gflops"]
        answer = ours.ask("steps 3")
        after = ours.ask("probe")["p1024_gflops"]
        mine = statistics.median(answer["seconds"])
        seconds["ours"].append(mine)
        peaks.append((before + after) / 2)
        ratios.append(1e-9 * answer["flops"] / mine / peaks[-1])
        for mode, peer in peers.items():
            t = time.perf_counter()
            peer.step()
            seconds[mode].append(time.perf_counter() - t)
            pairs[mode].append(seconds[mode][-1] / mine)
    contended = neighbours.contended(options.threads)
    ours.close()
    best = min(peers, key=lambda m: statistics.median(seconds[m]))
    row = {
        "name": name, "ms": 1e3 * statistics.median(seconds["ours"]), "ratio": statistics.median(ratios),
        "p1024_gflops": statistics.median(peaks), "must": must, "torch_mode": best,
        "torch_ms": 1e3 * statistics.median(seconds[best]), "compile_s": compile_s,
        "torch_ratio": statistics.median(ratios) / statistics.median(pairs[best]),
        "speedup": statistics.median(pairs[best]), "must_torch": must_torch,
        "loss_difference": worst if p == 0 else None, "rounds": len(ratios),
        "first_step_s": first["age_s"], "peak_mb": answer["peak_bytes"] / 1e6,
        "contended": contended,
        "modes_ms": {m: 1e3 * statistics.median(s) for m, s in seconds.items()},
    }
    print(json.dumps(row), file=sys.stderr)
    return row


def markdown(rows):
    lines = ["| training step | ms | of P_1024 (must) | PyTorch ms (mode) | PyTorch of P_1024 | times PyTorch (must) | "
             "largest loss difference, 20 steps |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        difference = "masks differ" if r["loss_difference"] is None else f"{r['loss_difference']:.1e}"
        mark = " CONTENDED, don't quote" if r["contended"] else ""
        lines.append(f"| {r['name']}{mark} | {r['ms']:.1f} | {r['ratio']:.2f} ({r['must']:.2f}) | {r['torch_ms']:.1f} "
                     f"({r['torch_mode']}) | {r['torch_ratio']:.2f} | {r['speedup']:.2f} ({r['must_torch']:.2f}) | "
                     f"{difference} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seconds", type=float, default=20, help="of a row, beside warming up (default 20)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--effllm", default=str(ROOT / "build/release/effllm"))
    parser.add_argument("--no-compile", action="store_true", help="PyTorch eager only")
    parser.add_argument("--json", help="write the rows to this file, after each one")
    options = parser.parse_args()
    unknown = [r for r in options.rows if r not in ROWS]
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # huge pages for PyTorch too
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    try:
        import torch
    except ImportError:
        sys.exit("PyTorch is missing: pip install torch==2.13.0")
    sys.path.insert(0, str(Path(__file__).parent))
    torch.set_num_threads(options.threads)
    print(f"PyTorch {torch.__version__}, {options.threads} threads", file=sys.stderr)
    rows = []
    for name in options.rows or ROWS:
        rows.append(measure(name, options))
        if options.json:
            Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
