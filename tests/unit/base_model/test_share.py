"""A folder to share and its upload, to a server on loopback that plays the Hugging Face Hub."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from conftest import manifest, refused
from huggingface_hub import ModelCard, constants

from base_model import export, model_card
from tlrec import files, paths
from tlrec.model.adapter import inspect_adapter
from tlrec.model.adapter_config import CONFIG_FILE
from tlrec.model.fingerprint import base_model_fingerprint

TOKEN = "hf_testtokenKq7vT2mZx94"


class _Hub(BaseHTTPRequestHandler):
    def log_message(self, *words):
        pass

    def do_POST(self):
        length = self.headers["Content-Length"]
        body = self.rfile.read(int(length)) if length else b"".join(self._chunks())
        self.server.keys.add(self.headers["Authorization"])
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self.reply({"url": f"{self.server.address}/someone/movie-64"})
        elif self.path.endswith("/preupload/main"):
            self.reply({"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                                  for file in json.loads(body)["files"]]})
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.reply({"commitUrl": f"{self.server.address}/someone/movie-64/commit/1", "commitOid": "1"})
        else:
            self.reply({"errors": [], "warnings": []})

    do_GET = do_POST

    def _chunks(self):
        while size := int(self.rfile.readline() or b"0", 16) if self.headers["Transfer-Encoding"] else 0:
            yield self.rfile.read(size)
            self.rfile.readline()

    def reply(self, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.address, server.created, server.files = f"http://127.0.0.1:{server.server_port}", [], {}
    server.keys = set()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def tuned(adapter, tiny_llama, home):
    """An adapter with a manifest whose paths lie in this home."""
    hashes = {name: files.sha256(adapter / name) for name in (CONFIG_FILE, "adapter_model.safetensors")}
    stage = {"settings": {"seed": 3, "learning_rate": 1e-4}, "train": {"rows": 64, "sha256": "ab" * 32}, "valid": None}
    (adapter / "tlrec.json").write_text(manifest(
        base_model={"name": "tiny-llama", "fingerprint": base_model_fingerprint(tiny_llama)},
        files=hashes, stages=[stage],
        data={"train": {"path": f"{home}/train.json", "rows": 64, "sha256": "ab" * 32}, "valid": None}, shots=64,
        seed=3, chain=["movie"], rows_of_chain=[64],
        arguments={"prompt_template": "alpaca", "train_data_path": f"{home}/rec_data/movie/train.json"}))
    (adapter / "tuning_run.png").write_bytes(b"PNG")
    return adapter


def evaluations(parsed_runs, adapter, tiny_llama):
    """An evaluation of the adapter, one of the untuned base model, a control's and a stranger's on the same rows."""
    control = next(run for run in parsed_runs if run.method == "liked-ratio")

    def record(system, method, auc, **request):
        return control.model_copy(update={
            "system": system, "method": method, "request": {**control.request, "method": method, **request},
            "metrics": control.metrics.model_copy(update={"auc": auc})})

    base = base_model_fingerprint(tiny_llama)
    return [control, record("tiny + movie", "llm", 0.51, adapter_sha256=inspect_adapter(adapter, tiny_llama).sha256),
            record("tiny, untuned", "llm", 0.49, base_model=base, adapter_sha256=None),
            record("another adapter", "llm", 0.9, base_model=base, adapter_sha256="0")]


def test_a_card_shows_the_record_beside_controls(tuned, tiny_llama, parsed_runs):
    runs = evaluations(parsed_runs, tuned, tiny_llama)
    text = model_card.render(inspect_adapter(tuned, tiny_llama), "tiny", "owner/tiny", runs, "f" * 64, merged=False)
    card = ModelCard(text)
    assert card.data.base_model == "owner/tiny" and card.data.library_name == "peft"
    assert [result.metric_value for result in card.data.eval_results if result.metric_type == "auc"] == [0.51]
    text = model_card.render(inspect_adapter(tuned, tiny_llama), "tiny", None, runs, base_model_fingerprint(tiny_llama),
                             merged=True)
    assert ModelCard(text).data.base_model is None and ModelCard(text).data.library_name == "transformers"
    for part in ("**tiny + movie**", "0.5100", "tiny, untuned", "0.4900", "liked-ratio, which needs no language model",
                 "ab" * 32, "64 rows of the target domain (seed 3)", "--prompt_template alpaca`",
                 "10.1145/3604915.3608857"):
        assert part in text, part
    assert "another adapter" not in text
    assert "No evaluation" in model_card.render(inspect_adapter(tuned, tiny_llama), "tiny", None, [], "f", merged=False)
    works = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text())
    assert model_card.citation().count("\n") == len(works["references"])


def test_an_adapter_is_pushed_as_the_folder_that_is_written(tuned, tiny_llama, home, tmp_path, monkeypatch, capsys):
    output = tmp_path / "shared"
    with hub(monkeypatch) as server:
        export.main(str(tiny_llama), str(tuned), str(output), adapter_only=True, push_to="someone/movie-64",
                    base_model_id="owner/tiny")
        (created,) = server.created
        assert created == {"name": "movie-64", "organization": "someone", "visibility": "private"}
        assert f"Bearer {TOKEN}" in server.keys
        assert server.files == {path.name: path.read_bytes() for path in output.iterdir()}
    assert set(server.files) == {"README.md", CONFIG_FILE, "adapter_model.safetensors", "tlrec.json",
                                 "tuning_run.png"}
    assert f"pushed to {server.address}/someone/movie-64" in capsys.readouterr().out
    assert not any(word.encode() in content for content in server.files.values()
                   for word in (TOKEN, str(home), str(tmp_path)))
    shared, own = inspect_adapter(output, tiny_llama), inspect_adapter(tuned, tiny_llama)  # the manifest fits
    assert shared.sha256 == own.sha256 and shared.config.settings_hash() == own.config.settings_hash()
    assert json.loads((output / CONFIG_FILE).read_text())["base_model_name_or_path"] == "owner/tiny"


def test_a_card_alone_and_what_is_refused_before_anything_is_written(tuned, tiny_llama, tmp_path, monkeypatch):
    export.main(str(tiny_llama), str(tuned), str(tmp_path / "card"), card_only=True)
    assert [path.name for path in (tmp_path / "card").iterdir()] == ["README.md"]
    words = str(tiny_llama), str(tuned), str(tmp_path / "none")
    for name in ("movie", "a/b/c", "owner/mo vie", ""):
        refused("--push_to", export.main, *words, push_to=name)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    refused("HF_TOKEN", export.main, *words, push_to="someone/movie")
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr("huggingface_hub.get_token", lambda: TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "`hf upload someone/movie" in refused("someone/movie: the upload failed", export.main, *words,
                                                 card_only=True, push_to="someone/movie")
    assert (tmp_path / "none" / "README.md").is_file()
