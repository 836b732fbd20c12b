"""The exception that ended a guest, found in what its runtime printed."""

import pytest

from runner_bridge.dev_runner.tracebacks import uncaught_exception

PANIC = """thread '<unnamed>' (1) panicked at runtime/src/lib.rs:1280:25:
Python function threw an unexpected exception
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
"""
FROM_SOURCES = f"""Traceback (most recent call last):
  File "/0/interpreter.py", line 61, in handler
  File "extension.py", line 20, in handler
    status, body = route(request.http) if route else (404, {{"error": "no such endpoint"}})
                   ~~~~~^^^^^^^^^^^^^^
  File "helper.py", line 47, in total
    return json.loads(text)
           ~~~~~~~~~~^^^^^^
  File "/bundled/json/__init__.py", line 346, in loads
  File "/bundled/json/decoder.py", line 337, in decode
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)

{PANIC}"""
COMPILED = f"""Traceback (most recent call last):
  File "/0/extension.py", line 22, in handler
  File "/0/extension.py", line 74, in fail
RuntimeError: on purpose
and at length
{PANIC}"""
SECOND = f"""Traceback (most recent call last):
  File "extension.py", line 3, in handler
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "extension.py", line 5, in handler
ValueError: b
{PANIC}"""
JAVASCRIPT = """boom
Stack:
  deep@build/extension.js:5:24
  anonymous/exports.handler@build/extension.js:8:34
  export_handler@/tmp/90e82b0e82be/sources/initializer.js:1498:15
Redirecting call to abort() to mozalloc_abort
"""
JAVASCRIPT_FROM_SOURCES = """TypeError: no such month
Stack:
  month@extension.ts:5:24
  handler@interpreter.js:17:18
no such month
Stack:
  month@bundle.js:4:12
Redirecting call to abort() to mozalloc_abort
"""


@pytest.mark.parametrize(
    ("output", "exception"),
    [
        (
            FROM_SOURCES,
            "helper.py:47: json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
        ),
        (COMPILED, "extension.py:74: RuntimeError: on purpose and at length"),
        (SECOND, "extension.py:5: ValueError: b"),
        (JAVASCRIPT, "build/extension.js:5: boom"),
        (JAVASCRIPT_FROM_SOURCES, "extension.ts:5: TypeError: no such month"),
    ],
    ids=["sources", "compiled", "second", "javascript", "javascript sources"],
)
def test_it_is_named_by_the_authors_file_and_line(output: str, exception: str) -> None:
    assert uncaught_exception(output) == exception


@pytest.mark.parametrize("output", ["", "just what it logged\n", PANIC])
def test_other_output_has_none(output: str) -> None:
    assert uncaught_exception(output) is None


def test_an_exception_outside_of_the_authors_modules_has_no_line() -> None:
    output = 'Traceback (most recent call last):\n  File "/0/interpreter.py", line 6, in x\nE: no\n'
    assert uncaught_exception(output) == "E: no"
