"""The key set in a file: read again when it changes, never replaced by a broken one."""

from pathlib import Path

import msgspec
import pytest

from contracts.context import generate_key, key_set_document
from contracts.subjects import HOST_AUDIENCE
from service.runtime.key_file import KeyRing, KeysUnusableError


class Seconds:
    """A monotonic clock to move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def document(*kids: str) -> bytes:
    return key_set_document(
        [generate_key("EdDSA", kid=kid, issuer="runner", audiences=[HOST_AUDIENCE]) for kid in kids]
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_bytes(document("first"))
    return path


def test_a_changed_file_is_read_again_within_a_second(file: Path) -> None:
    clock = Seconds()
    ring = KeyRing(file, clock)
    file.write_bytes(document("first", "second"))
    assert set(ring.current().keys) == {"first"}
    clock.now += 1.0
    assert set(ring.current().keys) == {"first", "second"}


def test_a_broken_or_missing_file_keeps_the_last_good_keys(file: Path) -> None:
    clock = Seconds()
    ring = KeyRing(file, clock)
    file.write_text("{")
    clock.now += 1.0
    assert set(ring.current().keys) == {"first"}
    file.unlink()
    clock.now += 1.0
    assert set(ring.current().keys) == {"first"}
    file.write_bytes(document("third"))
    clock.now += 1.0
    assert set(ring.current().keys) == {"third"}


def test_a_start_without_usable_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysUnusableError, match="No such file"):
        KeyRing(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(KeysUnusableError, match=r"bad\.json"):
        KeyRing(tmp_path / "bad.json")


@pytest.mark.parametrize(
    "change", [{"x": []}, {"x": "A" * 43}, {"use": "enc"}, {"key_ops": ["encrypt"]}]
)
def test_a_key_that_must_not_be_used_keeps_the_last_good_keys(
    file: Path, change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Seconds()
    ring = KeyRing(file, clock)
    [jwk] = msgspec.json.decode(document("second"))["keys"]
    file.write_bytes(msgspec.json.encode({"keys": [jwk | change]}))
    clock.now += 1.0
    assert set(ring.current().keys) == {"first"}
    assert "key 'second': " in caplog.text
    assert "Traceback" not in caplog.text
