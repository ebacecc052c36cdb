#!/usr/bin/env bash
# reasoning-gym 0.1.25 (sympy 1.14.0, numpy 2.4.6), Python 3.11 (Debian 12).
# Its data sets are said to be made from their seed. Three of them have other questions in each process of the same program
# with the same seed, and two others the same questions with other answers: they draw from sets, whose order Python decides
# anew in each process (PYTHONHASHSEED). Results of two runs, or of workers that each make "the same" set of a seed, are of
# other questions; a hash of the samples, which the package does not write, would tell. Output seen, of 20 samples of seed 42
# made by two processes, where chain_sum is one of those that stay:
#   isomorphic_strings: other questions in 20 of 20
#   polynomial_multiplication: other questions in 20 of 20
#   ransom_note: other questions in 20 of 20
#   knight_swap: the same questions, other answers
#   word_ladder: the same questions, other answers
#   chain_sum: the same questions and answers
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >"$folder/seen.txt"
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q reasoning-gym==0.1.25 sympy==1.14.0 numpy==2.4.6
cat >make.py <<'PYTHON'
import json, sys
import reasoning_gym
names = "isomorphic_strings polynomial_multiplication ransom_note knight_swap word_ladder chain_sum".split()
made = {name: [(sample["question"], sample["answer"]) for sample in reasoning_gym.create_dataset(name, size=20, seed=42)]
        for name in names}
with open(sys.argv[1], "w") as file:
    json.dump(made, file)
PYTHON
for process in 1 2; do  # as two processes have them by default, but the same ones each time
  PYTHONHASHSEED=$process venv/bin/python make.py "$process.json"
done
venv/bin/python - <<'PYTHON' | tee now.txt
import json
one, two = (json.load(open(f"{process}.json")) for process in (1, 2))
for name in one:
    questions = sum(a[0] != b[0] for a, b in zip(one[name], two[name]))
    answers = sum(a[1] != b[1] for a, b in zip(one[name], two[name]))
    print(f"{name}:", f"other questions in {questions} of 20" if questions else
          "the same questions, other answers" if answers else "the same questions and answers")
PYTHON
diff seen.txt now.txt
