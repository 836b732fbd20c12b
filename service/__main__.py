"""``python -m service`` and the program ``ext-scheduler``."""

import os
import signal


def _exit_interrupted(*_: object) -> None:
    os.write(2, b"ext-scheduler: interrupted\n")
    os._exit(130)


def main() -> None:
    """Run the program; Ctrl-C prints one line even while the libraries are loading."""
    signal.signal(signal.SIGINT, _exit_interrupted)
    from service.cli.main import main as run  # noqa: PLC0415 - see above

    run()


if __name__ == "__main__":
    main()
