"""What the conformance kit has a Runner call: it does as it is asked, and answers what it received.

The members of the request's body are instructions: ``status`` to answer with, ``delayMs`` to wait
before, ``bytes`` of filling. ``nonce`` in the answer is new with each call.
"""

import json
import time
from uuid import uuid4

from wit_world.imports import types


class WitWorld:
    """What the host calls."""

    def handler(self, request: types.ExecuteRequest) -> types.ExecuteResponse:
        """Answer one request."""
        body = json.loads(request.http.body or b"{}")
        time.sleep(body.get("delayMs", 0) / 1000)
        answer = {
            "nonce": str(uuid4()),
            "headers": {header.name: header.value for header in request.http.headers},
            "body": body,
            "filling": "x" * body.get("bytes", 0),
        }
        header = types.HttpHeader("content-type", "application/json")
        return types.ExecuteResponse(body.get("status", 200), [header], json.dumps(answer).encode())
