import pytest
from teacher_server import KEY

from cot_data.server import key_and_address
from tlrec.errors import InputError


def test_key_and_address_read_the_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="OPENAI_API_KEY is not set"):
        key_and_address(local=False)
    with pytest.raises(InputError, match="OPENAI_BASE_URL is not set"):
        key_and_address(local=True)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(InputError, match="contains invalid characters") as caught:
        key_and_address(local=False)
    assert KEY not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    assert key_and_address(local=False) == (KEY, "http://localhost:1/v1")
    assert key_and_address(local=True)[0] == "none"  # the user's key stays at home
