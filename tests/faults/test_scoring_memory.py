"""Scoring where memory is really full."""

import json
import shutil
import subprocess
import sys

from transformers import LlamaConfig, LlamaForCausalLM

from tlrec import paths


def test_score_halves_a_batch_that_fills_the_real_memory(tiny_llama, tmp_path, record_property):
    """The child may take 1.2 GiB more; sixteen rows need three times as much in one layer."""
    wide = LlamaForCausalLM(LlamaConfig(
        vocab_size=49152, hidden_size=64, intermediate_size=16384, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=2048, initializer_range=0.2))
    for path in tiny_llama.glob("*token*"):
        shutil.copy(path, tmp_path)
    wide.save_pretrained(tmp_path)
    finished = subprocess.run([sys.executable, "-c", f"""
import json, resource
from pathlib import Path
from tlrec.model import scoring
from tlrec.model.base_model import load_base_model
from tlrec.model.prompt_encoder import Encoder
from tlrec.data.samples import Sample
model, tokenizer = load_base_model(Path({str(tmp_path)!r}), False, "float32", "cpu")
samples = [Sample(f"{{n}}", "film " * (950 + n), "Yes.") for n in range(16)]
plain = scoring.score(model, Encoder(tokenizer), samples, batch_size=1)
calls = []
last = scoring._last_logits
scoring._last_logits = lambda model, prompts, *more: calls.append(len(prompts)) or last(model, prompts, *more)
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + int(1.2 * 2**30),) * 2)
found = scoring.score(model, Encoder(tokenizer), samples, batch_size=16)
print(json.dumps([calls, abs(found.p_yes - plain.p_yes).max()]))
"""], capture_output=True, text=True, cwd=paths.ROOT)
    assert finished.returncode == 0, finished.stderr
    calls, difference = json.loads(finished.stdout.splitlines()[-1])
    assert calls[0] == 16 and calls[1] == 8 and difference < 1e-5 and sum(calls) > 16 + 8
    record_property("figure", f"a process that had no more memory took batches of {min(calls)} instead of 16 rows; "
                              f"largest difference {difference:.1e}")
