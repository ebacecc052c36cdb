#!/usr/bin/env bash
# polars 2.1.0, pandas 3.1.1, duckdb 2.0.1, Python 3.11 (Debian 12).
# JSON has no NaN and no infinity, and what stands for them decides who reads a whole JSON-lines file. 120 lines with
# 1.5, then one of the spellings below. Python's json.dumps writes `NaN` and `Infinity`: pandas and DuckDB read them, polars
# refuses the file. 1e999 is valid JSON and infinite to Python, pandas and DuckDB: polars refuses the file. The text "nan"
# is not a number in DuckDB (the column becomes JSON, the 1.5 too) and an error in polars where it comes after the
# lines that types are guessed from. Only null keeps the column numeric in all three. Output seen:
#   NaN       pandas nan    duckdb DOUBLE nan     polars ComputeError
#   Infinity  pandas inf    duckdb DOUBLE inf     polars ComputeError
#   1e999     pandas inf    duckdb DOUBLE inf     polars ComputeError
#   "nan"     pandas nan    duckdb JSON "nan"     polars ComputeError
#   null      pandas nan    duckdb DOUBLE None    polars Float64 None
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pandas==3.1.1 polars==2.1.0 duckdb==2.0.1
sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >"$folder/seen.txt"
cd "$folder"
venv/bin/python - <<'PYTHON' | tee now.txt
import duckdb, pandas, polars
for spelling in ("NaN", "Infinity", "1e999", '"nan"', "null"):
    with open("a.jsonl", "w") as f:
        f.write('{"a":1.5}\n' * 120 + '{"a":%s}\n' % spelling)
    p = float(pandas.read_json("a.jsonl", lines=True)["a"].iloc[-1])
    table = duckdb.sql("select a from 'a.jsonl'")
    d = f"{table.types[0]} {table.fetchall()[-1][0]}"
    try:
        column = polars.read_ndjson("a.jsonl")["a"]
        q = f"{column.dtype} {column[-1]}"
    except polars.exceptions.ComputeError:
        q = "ComputeError"
    print(f"{spelling:9} pandas {p:<6} duckdb {d:<14} polars {q}")
PYTHON
diff seen.txt now.txt
