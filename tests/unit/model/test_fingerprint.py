import shutil

from tlrec.model.fingerprint import _EDGE_BYTES, base_model_fingerprint


def test_fingerprint_depends_on_tokenizer_config_and_weights(tiny_llama, tmp_path, monkeypatch):
    other = tmp_path / "other-llama"
    shutil.copytree(tiny_llama, other)
    (other / "README.md").write_text("Notes do not count.")
    known = {base_model_fingerprint(tiny_llama)}
    assert base_model_fingerprint(other) in known
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"):
        before = (other / name).read_bytes() if (other / name).exists() else None
        (other / name).write_bytes((before or b"") + b"\n")
        known.add(base_model_fingerprint(other))
        (other / name).write_bytes(before) if before is not None else (other / name).unlink()
    assert len(known) == 5 and base_model_fingerprint(other) in known
    weights = other / "model.safetensors"
    content = bytearray(weights.read_bytes())
    assert len(content) > 3 * _EDGE_BYTES
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert base_model_fingerprint(other) not in known

    monkeypatch.setattr("tlrec.model.fingerprint._FULL_HASH_LIMIT", 0)  # as for a large model: blocks of it
    monkeypatch.setattr("tlrec.model.fingerprint._BLOCK", 1 << 16)
    monkeypatch.setattr("tlrec.model.fingerprint._BLOCK_EVERY", 1 << 17)
    seen = {base_model_fingerprint(other)}
    for place, counts in ((2 << 17, True), ((5 << 16) + 7, False)):  # in a block, and between two
        changed = bytearray(content)
        changed[place] ^= 1
        weights.write_bytes(changed)
        assert (base_model_fingerprint(other) not in seen) == counts
