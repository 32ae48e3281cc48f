"""A folder to share and its upload, to a server on loopback that plays the Hugging Face Hub."""

import base64
import json
from contextlib import contextmanager

import pytest
import yaml
from conftest import manifest, refused
from huggingface_hub import ModelCard, constants
from loopback_server import LoopbackServer, QuietHandler, running

from base_model import export, hub_upload, model_card
from tlrec import files, paths
from tlrec.data.preference_text import History, render
from tlrec.model.adapter import inspect_adapter
from tlrec.model.adapter_config import CONFIG_FILE
from tlrec.model.fingerprint import base_model_fingerprint

TOKEN = "hf_testtokenKq7vT2mZx94"


class _Hub(QuietHandler):
    def do_POST(self):
        length = self.headers["Content-Length"]
        body = self.rfile.read(int(length)) if length else b"".join(self._chunks())
        self.server.keys.add(self.headers["Authorization"])
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self.reply(200, {"url": self.server.created_url or f"{self.server.base}/someone/movie-64"})
        elif self.path.endswith("/preupload/main"):
            self.reply(200, {"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                                       for file in json.loads(body)["files"]]})
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.reply(200, {"commitUrl": f"{self.server.base}/someone/movie-64/commit/1", "commitOid": "1"})
        else:
            self.reply(200, {"errors": [], "warnings": []})

    do_GET = do_POST

    def _chunks(self):
        while size := int(self.rfile.readline() or b"0", 16) if self.headers["Transfer-Encoding"] else 0:
            yield self.rfile.read(size)
            self.rfile.readline()


@contextmanager
def hub(monkeypatch):
    server = LoopbackServer(_Hub)
    server.created, server.files, server.keys, server.created_url = [], {}, set(), None
    monkeypatch.setattr(constants, "ENDPOINT", server.base)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with running(server):
        yield server


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
        commands=[f"python rec_tuning.py --base_model {tiny_llama} --val_data_path '/secret client/next.json'"],
        arguments={"prompt_template": "alpaca", "train_data_path": f"{home}/rec_data/movie/train.json",
                   "base_model": str(tiny_llama), "val_data_path": "/secret client/valid.json"}))
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
    assert (card.data.license, card.data.license_name, card.data.license_link) == (
        "other", "base-model", "https://huggingface.co/owner/tiny")
    assert [result.metric_value for result in card.data.eval_results if result.metric_type == "auc"] == [0.51]
    text = model_card.render(inspect_adapter(tuned, tiny_llama), "tiny", None, runs, base_model_fingerprint(tiny_llama),
                             merged=True)
    assert ModelCard(text).data.base_model is None and ModelCard(text).data.library_name == "transformers"
    for part in ("**tiny + movie**", "0.5100", "tiny, untuned", "0.4900", "liked-ratio, which needs no language model",
                 "ab" * 32, "64 rows of the target domain (seed 3)", "--prompt_template alpaca`",
                 "10.1145/3604915.3608857", "The licence of the base model, tiny, and"):
        assert part in text, part
    assert "another adapter" not in text
    assert "No evaluation" in model_card.render(inspect_adapter(tuned, tiny_llama), "tiny", None, [], "f", merged=False)
    works = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text())
    assert model_card.citation().count("\n") == len(works["references"])


@pytest.mark.parametrize(("noun", "entry"), [("movie", '"Film {} (1990)"'), ("book", '"Book {}" written by A. B.')])
def test_the_prompt_of_a_card_has_the_form_of_the_test_data(tuned, tiny_llama, parsed_runs, home, noun, entry):
    history = History([entry.format(1)], [entry.format(2)], noun, entry.format(3) + "?")
    instruction = f"Will the user like this {noun}?"  # of data of one's own
    path = home / "rec_data" / "own" / "test.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"instruction": instruction, "input": render(history), "output": "No."}]))
    _, own, *_ = evaluations(parsed_runs, tuned, tiny_llama)
    data = own.test_data.model_copy(update={"path": "rec_data/own/test.json", "sha256": files.sha256(path)})
    adapter = inspect_adapter(tuned, tiny_llama)
    text = model_card.render(adapter, "tiny", None, [own.model_copy(update={"test_data": data})], "f", merged=False)
    author = " written by Author" if noun == "book" else ""
    assert f"### Instruction:\n{instruction}\n" in text and f'target {noun} "Target title"{author}?' in text
    assert f'User Unpreference: "Disliked title"{author}\n' in text and entry.format(1) not in text
    elsewhere = model_card.render(adapter, "tiny", None, [own], "f", merged=False)
    assert 'target movie "Target title"?' in elsewhere and "identify whether the user will like" in elsewhere


def test_a_card_speaks_of_one_user(tuned, tiny_llama, parsed_runs):
    _, own, *_ = evaluations(parsed_runs, tuned, tiny_llama)
    one = own.model_copy(update={"metrics": own.metrics.model_copy(update={"users": 1})})
    text = model_card.render(inspect_adapter(tuned, tiny_llama), "tiny", None, [one], "f", False, "mit")
    assert "are of 1 user." in text and ModelCard(text).data.license == "mit"


PRIVATE = "/srv/secret client/a, b"


@pytest.mark.parametrize(("text", "shown"), [
    (f"{PRIVATE}/train.json", "train.json"), (f"{PRIVATE}/x.json,{PRIVATE}/y.json", "x.json,y.json"),
    ("{home}/rec_data/x.json,/secret/y.json", "rec_data/x.json,y.json"), ("rec_data/x.json", "rec_data/x.json"),
    ("/secret/y.json,{home}/rec_data/x.json", "y.json,rec_data/x.json"), ("[/secret/a,/secret/b]", "[a,b]"),
    ("# /secret/adapter: no manifest", "# adapter: no manifest"), ("owner/name@main", "owner/name@main"),
    ("https://example.org/a/b", "https://example.org/a/b"), ("{home}/a /secret/b", "a b"), (3, 3), (None, None),
])
def test_a_path_outside_the_home_folder_keeps_its_last_name(home, text, shown):
    text = text.replace("{home}", str(home)) if isinstance(text, str) else text
    assert hub_upload.without_folders({"a": [text]}) == {"a": [shown]}


def test_a_command_keeps_the_last_names_of_its_paths(home):
    outside: set[str] = set()
    command = f"python rec_tuning.py --base_model '{PRIVATE}/tiny' --lora '[q,v]' --output_dir=/secret/out"
    assert hub_upload.command_without_folders(command, outside) == (
        "python rec_tuning.py --base_model tiny --lora '[q,v]' --output_dir=out")
    assert outside == {"tiny", "out"}
    unquoted = "python '/secret/x /secret/y"  # no shell command
    assert "secret" not in hub_upload.command_without_folders(unquoted, outside)
    command = "python rec_tuning.py --base_model smollm2-135m --lora '[q,v]'"
    assert hub_upload.command_without_folders(command, outside) == command


def test_an_adapter_is_pushed_as_the_folder_that_is_written(tuned, tiny_llama, home, tmp_path, monkeypatch, capsys):
    output = tmp_path / "shared"
    with hub(monkeypatch) as server:
        words = str(tiny_llama), str(tuned), str(output), "auto", True
        for name in (None, "/secret/tiny", "tiny"):
            refused("--base_model_id", export.main, *words, push_to="someone/movie-64", base_model_id=name)
        assert not server.created and not output.exists()
        export.main(*words, push_to="someone/movie-64", base_model_id="owner/tiny")
        (created,) = server.created
        assert created == {"name": "movie-64", "organization": "someone", "visibility": "private"}
        assert f"Bearer {TOKEN}" in server.keys
        assert server.files == {path.name: path.read_bytes() for path in output.iterdir()}
    assert set(server.files) == {"README.md", CONFIG_FILE, "adapter_model.safetensors", "tlrec.json",
                                 "tuning_run.png"}
    printed = capsys.readouterr()
    assert f"pushed to {server.base}/someone/movie-64" in printed.out
    assert printed.err.count("\n") == 1 and "without their folders: next.json, tiny-llama, valid.json" in printed.err
    assert not any(word.encode() in content for content in server.files.values()
                   for word in (TOKEN, str(home), str(tmp_path), str(tiny_llama.parent), "secret"))
    shared, own = inspect_adapter(output, tiny_llama), inspect_adapter(tuned, tiny_llama)  # the manifest fits
    assert shared.sha256 == own.sha256 and shared.config.settings_hash() == own.config.settings_hash()
    assert json.loads((output / CONFIG_FILE).read_text())["base_model_name_or_path"] == "owner/tiny"


def test_a_card_alone_and_what_is_refused_before_anything_is_written(tuned, tiny_llama, tmp_path, monkeypatch,
                                                                             capsys):
    export.main(str(tiny_llama), str(tuned), str(tmp_path / "card"), card_only=True)
    assert "--base_model_id" in capsys.readouterr().err
    export.main(str(tiny_llama), str(tuned), str(tmp_path / "adapter_card"), adapter_only=True,
                card_only=True)
    kinds = [ModelCard.load(tmp_path / name / "README.md").data.library_name for name in ("card", "adapter_card")]
    assert kinds == ["transformers", "peft"]
    assert [path.name for path in (tmp_path / "card").iterdir()] == ["README.md"]
    words = str(tiny_llama), str(tuned), str(tmp_path / "none")
    refused("--license", export.main, *words, license="/secret")
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


def test_an_unexpected_reply_of_the_hub_is_one_line(tuned, tiny_llama, tmp_path, monkeypatch):
    with hub(monkeypatch) as server:
        server.created_url = "http://elsewhere.example/"
        refused("someone/movie: the upload failed", hub_upload.push, tmp_path, "someone/movie", True)


def test_the_base_models_name_on_the_hub(tuned, adapter, tiny_llama):
    inspected = inspect_adapter(tuned, tiny_llama)
    assert hub_upload.hub_name(None, tiny_llama, inspected) is None
    assert hub_upload.hub_name("a/b", tiny_llama, inspected) == "a/b"
    fields = json.loads((tuned / "tlrec.json").read_text())
    fields["base_model"] |= {"name": "owner/tiny-llama", "commit": "0" * 40}
    (tuned / "tlrec.json").write_text(json.dumps(fields))
    assert hub_upload.hub_name(None, tiny_llama, inspect_adapter(tuned, tiny_llama)) == "owner/tiny-llama"
    (tuned / "tlrec.json").unlink()
    settings = json.loads((tuned / CONFIG_FILE).read_text())
    (tuned / CONFIG_FILE).write_text(json.dumps(settings | {"base_model_name_or_path": "other/tiny"}))
    assert hub_upload.hub_name(None, tiny_llama, inspect_adapter(tuned, tiny_llama)) == "other/tiny"
