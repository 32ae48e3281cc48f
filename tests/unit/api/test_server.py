from conftest import refused
from teacher_server import KEY

from tlrec.api.server import key_and_address


def test_key_and_address_read_the_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    refused("OPENAI_API_KEY", key_and_address, local=False)
    refused("OPENAI_BASE_URL", key_and_address, local=True)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX-Other: 1")
    assert KEY not in refused("OPENAI_API_KEY", key_and_address, local=False)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    assert key_and_address(local=False) == (KEY, "http://localhost:1/v1")
    assert key_and_address(local=True)[0] == "none"  # the user's key stays at home
