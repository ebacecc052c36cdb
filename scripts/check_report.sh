#!/usr/bin/env bash
# Looks at the page of a study in a real browser; not part of `make test`, since a browser is large:
#   scripts/check_report.sh STUDY [FOLDER]
# STUDY is a study's folder. Writes screenshots at 1280 and 390 pixels, light and dark, and a PDF into FOLDER (default:
# STUDY/pictures), and fails where the console has an error, a request leaves the machine, the page is wider than a
# phone, a picture is missing without scripts, or scripts do not draw.
# Needs chromium and python3 (scripts/setup.sh --dev). EFFLLM: the program (default: build/release/effllm).
set -euo pipefail
cd_back=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
effllm=$(realpath "${EFFLLM:-build/release/effllm}")
cd "$cd_back"
(($# >= 1)) || { sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
command -v chromium > /dev/null || { echo "check_report: chromium is missing: scripts/setup.sh --dev" >&2; exit 2; }
study=$1 out=${2:-$1/pictures}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
page=$work/report.html
"$effllm" report "$study" -o "$page" > /dev/null
cp "$page" "$out/report.html"
failed=0
fail() {
  echo "check_report: $*" >&2
  failed=1
}

# What the browser says of it goes to $work/log; the rest of the words are its own options.
browse() {
  local name=$1
  shift
  # Its own complaints about a machine without a desktop have other sources than a console's line or a blocked request.
  timeout 120 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-sync \
    --disable-background-networking --host-resolver-rules='MAP * ~NOTFOUND' --user-data-dir="$work/profile" \
    --virtual-time-budget=5000 --enable-logging=stderr "$@" > "$work/$name.out" 2> "$work/$name.log" ||
    fail "$name: the browser ended with an error; its last lines:" "$(tail -3 "$work/$name.log")"
  if grep -E 'CONSOLE|Refused to|net::ERR' "$work/$name.log" >&2; then fail "$name: the console is not empty"; fi
}

# A page that holds the report in a frame of a phone's width, and tells by its title how wide what is in it is: the
# window of a headless browser can't be so narrow.
measured() {
  python3 - "$1" "$2" << 'PYTHON'
import html, sys
text = open(sys.argv[1], encoding="utf-8").read()
print(f"""<!DOCTYPE html><meta charset=utf-8><style>html,body{{margin:0}}iframe{{border:0;width:{sys.argv[2]}px;height:800px}}</style>
<iframe srcdoc="{html.escape(text)}"></iframe><script>onload=()=>setTimeout(()=>{{
const d=document.querySelector("iframe").contentDocument,e=d.documentElement;
const wide=[...d.querySelectorAll("main *")].filter(x=>!x.closest(".wide,.plot,pre")&&x.getBoundingClientRect().right>{sys.argv[2]}+0.5);
document.body.dataset.result=JSON.stringify({{scroll:e.scrollWidth,height:e.scrollHeight,wide:wide.slice(0,5).map(x=>x.tagName+"."+(x.getAttribute("class")||"")),
canvases:d.querySelectorAll("canvas").length,svgs:[...d.querySelectorAll("svg")].filter(x=>x.getBoundingClientRect().height>50).length,zoom:!d.getElementById("zoom").hidden}})}},500)</script>""")
PYTHON
}
value() { grep -o 'data-result="[^"]*"' "$work/$1.out" | head -1 | sed 's/&quot;/"/g' | python3 -c '
import json, sys
text = sys.stdin.read()
print(json.loads(text[text.index("{") : text.rindex("}") + 1])[sys.argv[1]])' "$2"; }

for width in 1280 390; do
  measured "$page" "$width" > "$work/frame.html"
  browse "measure$width" --window-size="$width,900" --dump-dom "file://$work/frame.html"
  scroll=$(value "measure$width" scroll) height=$(value "measure$width" height)
  ((scroll <= width)) || fail "at $width pixels the page is $scroll wide: $(value "measure$width" wide)"
  [[ $(value "measure$width" wide) == '[]' ]] || fail "at $width pixels these stick out: $(value "measure$width" wide)"
  [[ $(value "measure$width" zoom) == True ]] || fail "at $width pixels nothing can be zoomed"
  (($(value "measure$width" canvases) >= 2)) || fail "at $width pixels the script drew nothing"
  pictures=$(value "measure$width" svgs)
  ((pictures >= 4)) || fail "at $width pixels there are only $pictures pictures"
  for mode in light dark; do
    dark=()
    [[ $mode == dark ]] && dark=(--blink-settings=preferredColorScheme=0)
    sed "s/height:800px/height:${height}px/" "$work/frame.html" > "$work/tall.html"
    browse "$mode$width" --window-size="$width,$height" "${dark[@]}" --screenshot="$out/${width}_$mode.png" "file://$work/tall.html"
    [[ -s $out/${width}_$mode.png ]] || fail "no screenshot ${width}_$mode.png"
  done
done
browse print --no-pdf-header-footer --print-to-pdf="$out/report.pdf" "file://$page"
[[ -s $out/report.pdf ]] || fail "no PDF"
# Without scripts: what is in the file itself.
python3 - "$page" << 'PYTHON' || fail "the file itself lacks something"
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
assert len(re.findall(r"<svg .*?</svg>", text, re.S)) >= 4, "pictures"
assert '<div id="zoom" hidden>' in text, "where to zoom is shown without scripts"
body = re.sub(r"<script.*?</script>|<!--.*?-->|<style>.*?</style>", "", text, flags=re.S)
assert not re.search(r'(src|href)="?(https?:)?//|\sstyle=|\son\w+=', body), "an address, a style or a handler in the page"
PYTHON
((failed)) && exit 1
echo "check_report: no console error, nothing loaded, no wider than a phone; pictures in $out"
