#!/usr/bin/env bash
# Five Netflix samples, end to end, by the embedded model behind `transformers serve`: a few minutes on two CPU cores.
#
#     bash results/reference/cot/local.sh        # writes results/reference/cot/local.json
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
export BASE_MODEL=smollm2-135m SOURCE=netflix OPENAI_BASE_URL= PYTHON
OUTPUT=$(mktemp -d)
trap 'rm -rf "$OUTPUT"' EXIT
COMMAND=(bash shell/generate_cot_data.sh --teacher local --max_samples 5 --seed 0)
cd "$ROOT"
# 2 where no sample is a hit: there is nothing to tune on then
"${COMMAND[@]}" --output_dir "$OUTPUT" --input_path "$OUTPUT/three_stages.json" --output_path "$OUTPUT/stage123.json" ||
    [ $? -eq 2 ]
"$PYTHON" - "$OUTPUT" $SECONDS "SOURCE=$SOURCE ${COMMAND[*]}" >results/reference/cot/local.json <<'PYTHON'
import json, os, pathlib, platform, sys
from tlrec.evaluation import run_log

folder, seconds, command = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
samples = json.loads((folder / "three_stages.json").read_text())
(ledger,) = folder.glob("answers-*.jsonl")
answers = [json.loads(line) for line in ledger.read_text().splitlines()]
tuning = folder / "stage123.json"
print(json.dumps({
    "command": command, "commit": run_log.git_commit(), "n": len(samples), "seed": 0,
    "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    "seconds": seconds, "answers": len(answers), "median_seconds_of_an_answer": sorted(a["seconds"] for a in answers)[len(answers) // 2],
    "prompt_tokens": sum(a["prompt_tokens"] for a in answers), "completion_tokens": sum(a["completion_tokens"] for a in answers),
    "hits": sum(s["hit"] for s in samples), "hits_by_published_rule": sum(s["hit_in_text"] for s in samples),
    "tuning_samples": len(json.loads(tuning.read_text())) if tuning.exists() else 0,
    "served_by": sorted({a["served_by"] for a in answers}), "third_answers": [s["answers"][2] for s in samples],
}, indent=1))
PYTHON
cat results/reference/cot/local.json
