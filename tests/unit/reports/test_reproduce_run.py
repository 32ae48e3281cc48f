"""Whether the data of a recorded adapter is still the same."""

from report_records import parsed, record

from tlrec import files
from tlrec.reports import reproduce_run


def test_changed_inputs_checks_each_file_of_an_adapter_tuned_on_several(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    names = ["movie/train.json", "book/train.json"]
    for name in names:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    digest = files.joint_sha256([files.sha256(tmp_path / name) for name in names])
    fields = record("x", 0, 64, [("movie+book", 128)], "llama-7b")
    fields["adapter"]["data"] = {"train": {"path": ",".join(names), "rows": 128, "sha256": digest}, "valid": None}
    fields["arguments"] = {"lora_weights": "adapter"}
    fields["request"] = {}
    (run,) = parsed(fields)
    assert reproduce_run.changed_inputs(run) == []
    (tmp_path / "book/train.json").write_text("edited")
    assert reproduce_run.changed_inputs(run) == [
        f"train data of the adapter {tmp_path / ','.join(names)}: differs from the recorded one"]
