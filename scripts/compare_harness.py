#!/usr/bin/env python3
"""What scripts/check_harness.sh asks Python to do, in the folder that it has made:

    compare_harness.py tasks                               writes tasks of local files into tasks/
    compare_harness.py tokenizer EFFLLM RUN FOLDER         reads exported files by `tokenizers` and `transformers`
    compare_harness.py results EFFLLM RUN OUTPUT NAME      compares the harness's figures with the program's own
"""
import json
import subprocess
import sys
from pathlib import Path

WINDOW = 64  # tokens that the harness predicts at a time, of a rolling log-likelihood: its max_length less two
CHOICES = [(f"line {n}: the quick", [" brown fox counts to 7.", " brown ox counts to 7.", " fox fox fox fox to 7."], 0) for n in (7, 42, 311)]
ROLLED = "".join(f"line {n}: the quick brown fox counts to {n % 13}.\n" for n in range(100, 130))
ROLLED = ROLLED[: len(ROLLED) // WINDOW * WINDOW]
WRITTEN = [("line 5", ["."]), ("line 12: the qu", ["to", "x"])]
FAR = 1e-3  # nats, of a text


def ask(effllm, *words):
    return json.loads(subprocess.run([effllm, *words, "-q", "--json"], check=True, capture_output=True).stdout)


def nats(effllm, run, text, window):
    """Of all tokens of the text but its first."""
    Path("scored.txt").write_bytes(text.encode())
    r = ask(effllm, "eval", run, "--text", "scored.txt", "--tokens", str(window), "--protocol", "windows", "--no-baselines")
    return r["nats_per_token"] * r["tokens"]


def write_tasks():
    folder = Path("tasks")
    folder.mkdir()
    rows = {
        "choices": [{"query": q, "choices": c, "label": label} for q, c, label in CHOICES],
        "rolling": [{"page": ROLLED}],
        "written": [{"query": q, "answer": "."} for q, _ in WRITTEN],
    }
    heads = {
        "choices": {"output_type": "multiple_choice", "doc_to_text": "{{query}}", "doc_to_target": "{{label}}", "doc_to_choice": "choices",
                    "target_delimiter": "", "metric_list": [{"metric": "acc"}]},
        "rolling": {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{page}}",
                    "metric_list": [{"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}]},
        "written": {"output_type": "generate_until", "doc_to_text": "{{query}}", "doc_to_target": "{{answer}}",
                    "generation_kwargs": {"until": WRITTEN[1][1], "max_gen_toks": 20, "temperature": 0}, "metric_list": [{"metric": "exact_match"}]},
    }
    for name, task in heads.items():
        data = folder.resolve() / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows[name]))
        task |= {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test"}
        (folder / f"{name}.yaml").write_text(json.dumps(task))  # JSON is YAML


def check_tokenizer(effllm, run, folder):
    import tokenizers
    import transformers

    plain = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    whole = transformers.AutoTokenizer.from_pretrained(folder)
    vocab = plain.get_vocab()
    assert whole.eos_token_id == vocab["\n"] and whole.eos_token == "\n", whole.eos_token
    bytewise = len(vocab) == 256
    texts = [ROLLED, "\n\n  line 1:\n", "", "<0x6C>"]
    texts += ["größe €😀 \0 \u010a \x85\u2028 e\u0301 <s> Ġ▁"] if bytewise else ["fox.\n\nfox"]
    texts = [t for t in texts if bytewise or all(c in vocab for c in t)]
    for text in texts:
        ids = plain.encode(text).ids
        assert ids == whole(text).input_ids == whole(text, add_special_tokens=False).input_ids, text
        assert not bytewise or ids == list(text.encode()), text
        assert plain.decode(ids) == whole.decode(ids) == text, (text, plain.decode(ids), whole.decode(ids))
    if bytewise:
        assert plain.decode([0xC3, 0x28]) == "\ufffd("
    else:
        try:
            plain.encode("€")
            raise AssertionError("a character that the vocabulary lacks was taken")
        except Exception as e:
            assert "WordLevel" in str(e), e
    print(f"{run}: {len(texts)} texts through tokenizers and transformers and back")


def compare_results(effllm, run, output, name):
    files = list(Path(output).rglob("samples_*.jsonl"))
    samples = {}
    for file in files:
        task = file.name.removeprefix("samples_").split("_")[0]
        samples[task] = sorted((json.loads(line) for line in file.read_text().splitlines()), key=lambda s: s["doc_id"])
    worst = 0
    for sample, (query, choices, _) in zip(samples["choices"], CHOICES, strict=True):
        for response, choice in zip(sample["resps"], choices, strict=True):
            own = nats(effllm, run, query, 1000) - nats(effllm, run, query + choice, 1000)
            worst = max(worst, abs(float(response[0][0]) - own))
    (rolled,) = samples["rolling"]
    own = -nats(effllm, run, "\n" + ROLLED, WINDOW)
    far = abs(float(rolled["resps"][0][0]) - own)
    for sample, (query, _) in zip(samples["written"], WRITTEN, strict=True):
        stops = [w for s in [*WRITTEN[1][1], "\n"] for w in ("--stop", s)]
        text = ask(effllm, "generate", run, "-p", query, "-n", "20", "--greedy", *stops)["samples"][0]
        assert sample["resps"][0][0] == text, (sample["resps"], text)
    assert worst < FAR and far < FAR, (worst, far)
    print(f"{name}: {sum(len(c) for _, c, _ in CHOICES)} choices within {worst:.1e} nats of eval, {len(ROLLED)} rolled tokens "
          f"({-own:.2f} nats) within {far:.1e}, {len(WRITTEN)} texts equal")


if __name__ == "__main__":
    {"tasks": write_tasks, "tokenizer": check_tokenizer, "results": compare_results}[sys.argv[1]](*sys.argv[2:])
