"""The frames between Runner and guest process."""

import pytest

from runner_bridge.dev_runner.frames import (
    LENGTH_BYTES,
    MAX_FRAME_BYTES,
    Failure,
    FailureKind,
    FrameTooLarge,
    FromGuest,
    GuestAnswer,
    HostAnswer,
    HostCall,
    RunGuest,
    ToGuest,
    body_length,
    from_guest,
    pack,
    to_guest,
)


@pytest.mark.parametrize(
    "message",
    [
        RunGuest("c", {"context": {"a": None}, "http": {"body": b"\0"}}, 1, 2, 3),
        HostAnswer({"ok": [{"value": b"x", "revision": 2**64 - 1}]}),
        HostAnswer(refusal="no"),
    ],
)
def test_a_frame_to_the_guest_decodes_to_the_same_message(message: ToGuest) -> None:
    packed = pack(message)
    assert int.from_bytes(packed[:LENGTH_BYTES]) == len(packed) - LENGTH_BYTES
    assert to_guest.decode(packed[LENGTH_BYTES:]) == message


@pytest.mark.parametrize(
    "message",
    [
        HostCall("i", "f", ["x", None, {"a": b"\xff"}]),
        GuestAnswer(200, [("a", "b"), ("a", "c")], b""),
        Failure(FailureKind.TRAP, "why"),
    ],
)
def test_a_frame_from_the_guest_decodes_to_the_same_message(message: FromGuest) -> None:
    assert from_guest.decode(pack(message)[LENGTH_BYTES:]) == message


@pytest.mark.parametrize("length", [0, -1, MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_a_frame_length_out_of_range_is_refused(length: int) -> None:
    with pytest.raises(FrameTooLarge):
        body_length(length)


def test_an_oversize_frame_is_not_sent() -> None:
    with pytest.raises(FrameTooLarge):
        pack(GuestAnswer(200, [], b"x" * MAX_FRAME_BYTES))
