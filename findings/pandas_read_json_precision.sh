#!/usr/bin/env bash
# pandas 3.1.1, polars 2.1.0, duckdb 2.0.1, Python 3.11 (Debian 12).
# pandas.read_json does not give back the doubles that were written: of 10,000 uniform in [0, 10), printed by repr(), it
# changes about a third, some by two thousand units in the last place (9e-12 of the value where exponents vary), and
# 5e-324 becomes 0. precise_float=True gives all of them exactly; so do polars, DuckDB, Python's json and pandas.read_csv.
# Who compares losses of two runs bit for bit through read_json sees differences that are none. Output seen:
#   pandas 3177 changed, at most 2173 ulp
#   pandas precise_float 0 changed
#   polars 0 changed
#   duckdb 0 changed
#   5e-324 -> 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pandas==3.1.1 polars==2.1.0 duckdb==2.0.1
sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >"$folder/seen.txt"
cd "$folder"
venv/bin/python - <<'PYTHON' | tee now.txt
import math, random
import duckdb, pandas, polars
random.seed(1)
values = [random.uniform(0, 10) for _ in range(10_000)]
with open("a.jsonl", "w") as f:
    f.writelines('{"a":%r}\n' % v for v in values)
def say(name, got):
    off = [(v, g) for v, g in zip(values, got, strict=True) if v != g]
    worst = max((abs(v - g) / math.ulp(v) for v, g in off), default=0)
    print(name, len(off), "changed" + (f", at most {worst:.0f} ulp" if off else ""))
say("pandas", pandas.read_json("a.jsonl", lines=True)["a"])
say("pandas precise_float", pandas.read_json("a.jsonl", lines=True, precise_float=True)["a"])
say("polars", polars.read_ndjson("a.jsonl")["a"])
say("duckdb", [row[0] for row in duckdb.sql("select a from 'a.jsonl'").fetchall()])
with open("b.jsonl", "w") as f:
    f.write('{"a":5e-324}\n{"a":0.5}\n')
print("5e-324 ->", float(pandas.read_json("b.jsonl", lines=True)["a"][0]))
PYTHON
diff seen.txt now.txt
