"""A small program in the place of a real one, for those who keep processes running.

It answers ``/readyz`` with 200, after EXT_SCHEDULER_SLOW seconds; ends by itself with status 3 when
``/end`` is asked for, or after EXT_SCHEDULER_LIFE seconds; and ends with 0 on SIGTERM, unless
EXT_SCHEDULER_DEAF is set. Where its port is taken, it says so as the service does, and ends with
status 1. Until it answers, SIGTERM kills it, as it does any program that starts.
"""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

from service.runtime.settings import PREFIX

ENDED_ITSELF = 3
dying = threading.Event()


def setting(name: str) -> str:
    """Return an EXT_SCHEDULER_* variable, empty where there is none."""
    return os.environ.get(PREFIX + name, "")


class Answers(BaseHTTPRequestHandler):
    """Ready at once; ``/end`` ends the program."""

    def do_GET(self) -> None:
        """Answer 200."""
        if self.path == "/end":
            begin_to_die()
        self.send_response(200)
        self.end_headers()
        if self.path == "/end":
            os._exit(ENDED_ITSELF)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def die() -> None:
    """End by itself, with a word."""
    begin_to_die()
    os._exit(ENDED_ITSELF)


def begin_to_die() -> None:
    """Say so; from now on SIGTERM changes nothing."""
    dying.set()
    say("ext-scheduler: something is lost")


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def obey(*_: object) -> None:
    """End as one that was asked to."""
    if setting("DEAF"):
        say("I do not hear")
    else:
        os._exit(ENDED_ITSELF if dying.is_set() else 0)


if __name__ == "__main__":
    time.sleep(float(setting("SLOW") or 0))
    if setting("LIFE"):
        threading.Timer(float(setting("LIFE")), die).start()
    try:
        server = HTTPServer(("127.0.0.1", int(setting("HTTP_PORT"))), Answers)
    except OSError as error:
        say(f"ext-scheduler: cannot listen on 127.0.0.1: {os.strerror(error.errno or 0).lower()}")
        sys.exit(1)
    signal.signal(signal.SIGTERM, obey)
    server.serve_forever()
