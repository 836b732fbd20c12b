"""Everything random in this process from the seed: ids, jitter and tokens; and its clocks."""

import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from service.flow_control.fair_limiter import FairLimiter
from service.worker import job_notifications
from service.worker.outage import Outage

HASHES = "PYTHONHASHSEED"


def with_stable_hashes() -> None:
    """Start this program again where sets of texts have another order each time."""
    if os.environ.get(HASHES) != "0":
        words = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, words, {**os.environ, HASHES: "0"})


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Have all that is random come from a seed within the context.

    In half of the worlds the monotonic clock stands still while a process does, as that of a
    suspended machine; in the others it goes on.
    """
    source = random.Random(seed)
    suspended = source.random() < 0.5

    def monotonic() -> float:
        return 0.0 if suspended else asyncio.get_running_loop().time()

    class Seeded(random.Random):
        def __init__(self, seed: Any = None) -> None:
            super().__init__(source.getrandbits(64) if seed is None else seed)

    before = random.getstate()
    random.seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith(("service.", "contracts.")):
                if vars(module).get("urandom") is os.urandom:
                    patch.setattr(module, "urandom", source.randbytes)
                if vars(module).get("monotonic") is time.monotonic:
                    patch.setattr(module, "monotonic", monotonic)
        patch.setattr(os, "urandom", source.randbytes)
        patch.setattr(random, "Random", Seeded)
        patch.setattr(job_notifications, "time", SimpleNamespace(monotonic=monotonic))
        for works in (FairLimiter, Outage):
            patch.setattr(works.__init__, "__defaults__", (monotonic,))
        yield
    random.setstate(before)
