"""``python -m service`` and the program ``ext-scheduler``."""

import os
import signal


def _leave(*_: object) -> None:
    os.write(2, b"ext-scheduler: interrupted\n")
    os._exit(130)


def main() -> None:
    """Run the program; Ctrl-C is one line even while the libraries still load."""
    signal.signal(signal.SIGINT, _leave)
    from service.cli.main import main as run  # noqa: PLC0415 - see above

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
