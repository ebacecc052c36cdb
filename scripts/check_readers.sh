#!/usr/bin/env bash
# Reads the files of a run with what others read them by; not part of `make test`, since it installs a lot:
#   scripts/check_readers.sh [EFFLLM]
# PyYAML reads config.resolved.yaml; polars, DuckDB and pandas metrics.jsonl; h5py, pandas, xarray (both engines),
# ncdump and Octave metrics.h5. The run has more than 64 KiB of configuration, text that is not ASCII in it and in an
# event, rows that are not finite, and evaluations that begin after the first hundred lines.
# Needs python3-venv, and octave and netcdf-bin (apt-get install --no-install-recommends octave netcdf-bin).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
effllm=$(realpath "${1:-build/release/effllm}")
for tool in octave ncdump python3; do
  command -v "$tool" >/dev/null || { echo "check_readers: $tool is missing; see the head of this script" >&2; exit 2; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q h5py==3.16.0 pandas==3.1.1 xarray==2026.9.0 polars==2.1.0 duckdb==2.0.1 \
  PyYAML==6.0.4 netCDF4==1.7.5.1.post1 h5netcdf==1.8.2
cd "$folder"

for i in $(seq 400); do echo "line $((i * 7919 % 1000)): the quick brown fox counts to $((i % 13))."; done >text.txt
"$effllm" data prepare text.txt -q --name text >/dev/null
mv data/text.yaml 'data/größe €😀.yaml'
{
  echo 'model: {d_model: 8, layers: [{mixer: {type: attention, heads: 1}}]}'
  echo 'data: {corpus: "data/größe €😀.yaml"}'
  echo 'train: {batch: 1, context: 8, max_steps: 250, log_every: 1, eval_every: 125, lanes: 1}'
  echo 'eval: {max_tokens: 8, sample_tokens: 3, prompt: "é€😀: \"x\" \\\t"}'
  echo 'optim:'
  echo '  lr: 1e-5'
  echo '  groups:'
  for _ in $(seq 4500); do echo '    - {match: "*", lr: 1e20, weight_decay: 0}'; done
  echo '    - {match: "*", lr: 1e-5}'
} >run.yaml
"$effllm" train run.yaml -q >/dev/null
echo '{"type":"event","step":250,"level":"info","text":"größe €😀"}' >>runs/run/metrics.jsonl
"$effllm" train run.yaml -q --resume auto --set train.max_steps=260 >/dev/null

cat >octave.m <<'M'
warning("off", "all");
s = load("runs/run/metrics.h5");
assert(isequal(s.train.step(:), int64((1:260)')));
assert(all(isfinite(s.train.loss)) && numel(s.train.loss) == 260);
assert(numel(s.val.bpc) == 3);
file = fopen("config.txt");  % what h5py read
assert(strcmp(s.config_yaml, fread(file, Inf, "char=>char")'));
assert(any(strfind(s.provenance_json, "effllm_version")));
assert(! isfield(s, "events"));  % Octave reads no compounds; it warns, and the rest is there
printf("Octave %s: load\n", version());
M

cat >readers.py <<'PYTHON'
import json, math, subprocess
import duckdb, h5py, netCDF4, numpy, pandas, polars, xarray, yaml

run = "runs/run/"

def no_number_is_text(tree):
    for value in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(value, (dict, list)):
            no_number_is_text(value)
        elif isinstance(value, str):
            try:
                float(value)
            except ValueError:
                continue
            raise SystemExit(f"PyYAML reads {value!r} as text")

config = yaml.safe_load(open(run + "config.resolved.yaml", encoding="utf-8"))
no_number_is_text(config)
assert config["optim"]["lr"] == 1e-5 and config["optim"]["groups"][0]["lr"] == 1e20
assert isinstance(config["optim"]["groups"][0]["weight_decay"], float) and isinstance(config["train"]["batch"], int)
assert config["eval"]["prompt"] == 'é€😀: "x" \\\t' and config["data"]["corpus"].endswith("/data/größe €😀.yaml")
print(f"PyYAML {yaml.__version__}: config.resolved.yaml")

with h5py.File(run + "metrics.h5") as f:
    for name in ("config_yaml", "provenance_json"):
        kind = h5py.check_string_dtype(f[name].dtype)
        assert kind.encoding == "ascii" and kind.length == len(f[name][()])
    text = f["config_yaml"][()].decode("ascii")
    assert len(text) > 200 * 1024 and yaml.safe_load(text) == config
    open("config.txt", "w").write(text)
    assert json.loads(f["provenance_json"][()]) == json.load(open(run + "provenance.json"))
    assert f.attrs["status"] == "done" and f["train/loss"].attrs["units"] == "nats/token"
    assert any(e["text"].decode() == "größe €😀" for e in f["events"][()])
    frame = pandas.DataFrame({k: f["train"][k][:] for k in f["train"]})
    columns = {k: set(f[k]) for k in ("train", "val")}
    val = {k: f["val"][k][:] for k in f["val"]}
assert list(frame.step) == list(range(1, 261))
assert numpy.isnan(val["stderr"]).all() and len(val["stderr"]) == 3  # one window has no spread
print(f"h5py {h5py.__version__}, pandas {pandas.__version__}: metrics.h5")

for engine, more in (("h5netcdf", {"phony_dims": "sort"}), ("netcdf4", {})):
    with xarray.open_dataset(run + "metrics.h5", group="train", engine=engine, **more) as d:
        assert d.loss.dims == ("step",) and d.loss.units == "nats/token"
        assert (d.loss.values == frame.loss.values).all() and (d.step.values == frame.step.values).all()
    with xarray.open_dataset(run + "metrics.h5", engine=engine, **more) as d:
        whole = d.config_yaml.values[()]
        whole = whole.decode() if isinstance(whole, bytes) else str(whole)
        assert whole == text, engine
print(f"xarray {xarray.__version__}: h5netcdf and netcdf4")
header = subprocess.run(["ncdump", "-h", run + "metrics.h5"], capture_output=True, text=True, check=True).stdout
assert "group: train" in header and 'loss:units = "nats/token"' in header
dumped = subprocess.run(["ncdump", "-v", "config_yaml", run + "metrics.h5"], capture_output=True, text=True, check=True).stdout
assert "1.0e+20" in dumped
print("ncdump: header and configuration")

lines = [json.loads(line) for line in open(run + "metrics.jsonl", encoding="utf-8")]
assert any("stderr=nan" in line.get("not_finite", "") for line in lines[1:])
table = polars.read_ndjson(run + "metrics.jsonl")
rows = table.filter(polars.col("type") == "val")
assert len(rows) == 3 and len(table) == len(lines)
for name in columns["train"] | columns["val"]:
    assert table[name].dtype == (polars.Int64 if name == "step" else polars.Float64), name
assert set(key for line in lines for key in line) == set(table.columns)
assert list(rows["bpc"]) == list(val["bpc"])
print(f"polars {polars.__version__}: every column of metrics.jsonl")
rows = duckdb.sql(f"select step, bpc, stderr from '{run}metrics.jsonl' where type = 'val' order by step").fetchall()
assert [r[1] for r in rows] == list(val["bpc"]) and all(r[2] is None for r in rows)
print(f"DuckDB {duckdb.__version__}: the same")
rows = pandas.read_json(run + "metrics.jsonl", lines=True, precise_float=True).query("type == 'val'")
assert list(rows.bpc) == list(val["bpc"]) and rows.stderr.dtype == float
print(f"pandas {pandas.__version__}: the same, with precise_float")
PYTHON
venv/bin/python readers.py
octave --no-gui --norc --eval 'source("octave.m")' 2> >(grep -v -e DISPLAY -e 'disabling GUI' -e 'preparing to exit' >&2)
