"""The vectors of the conformance kit: what is committed, and what the service makes of it."""

import json
from typing import Any

import msgspec
import pytest

from contracts.context import ContextRefused, parse_key_set, verify
from contracts.encoding import Encoding, MalformedBody, decode
from contracts.errors import Code, ErrorBody
from contracts.execution import ExecuteRequest, ExecuteResponse
from contracts.schedules import HOST_OPS
from devstack.conformance import vectors


def load(name: str) -> Any:
    return json.loads((vectors.DIRECTORY / name).read_text())


TOKENS = load("tokens.json")


@pytest.mark.parametrize("name", sorted(vectors.documents()))
def test_committed_vectors_equal_the_generated_ones(name: str) -> None:
    written = vectors.written(vectors.documents()[name])
    assert (vectors.DIRECTORY / name).read_bytes() == written, "make api"


@pytest.mark.parametrize("vector", TOKENS, ids=lambda vector: vector["name"])
def test_a_token_is_accepted_or_refused_as_the_vector_says(vector: dict[str, Any]) -> None:
    keys = parse_key_set((vectors.DIRECTORY / "keys.json").read_bytes())
    body = vector["body"].encode()
    reason = None
    try:
        verify(
            vector["token"],
            keys,
            audience=vector["audience"],
            op=vector["op"],
            body=body,
            now=vector["now"],
        )
    except ContextRefused as refused:
        reason = refused.reason
    assert reason == vector["reason"]
    assert vector["accepted"] is (reason is None)


def test_there_are_bodies_of_every_operation_and_code() -> None:
    bodies = load("bodies.json")
    assert bodies["operations"].keys() == HOST_OPS.keys()
    for op, samples in bodies["operations"].items():
        for side, shape in (("input", HOST_OPS[op].input), ("output", HOST_OPS[op].output)):
            text = decode(samples[side]["json"].encode(), shape, Encoding.JSON)
            packed = bytes.fromhex(samples[side]["msgpackHex"])
            assert decode(packed, shape, Encoding.MSGPACK) == text
    assert bodies["refusals"].keys() == {code.value for code in Code}
    for code, sample in bodies["refusals"].items():
        assert decode(sample["json"].encode(), ErrorBody, Encoding.JSON).code == code


def test_malformed_documents_are_refused() -> None:
    for name, vector in load("execute.json")["malformed"].items():
        try:
            request = decode(vector["body"].encode(), ExecuteRequest, Encoding.JSON)
        except MalformedBody:
            continue
        assert request.limits.timeout_ms <= 0, name


def test_responses_decode() -> None:
    for vector in load("execute.json")["responses"]:
        response = msgspec.json.decode(vector["body"], type=ExecuteResponse)
        assert (response.error is None) or vector["is"] == "failure"


def test_frames_have_the_lengths_that_they_state() -> None:
    for frame in load("frames.json").values():
        sent = bytes.fromhex(frame["hex"])
        assert sent.decode() == frame["text"]
        first, _, rest = sent.partition(b"\r\n")
        head, whole = map(int, first.split()[-2:])
        assert len(rest) == whole + 2
        assert rest[:head].endswith(b"\r\n\r\n")
