"""``python -m service`` and the program ``ext-scheduler``."""

import os
import signal
import sys


def _exit_interrupted(*_: object) -> None:
    os.write(2, b"ext-scheduler: interrupted\n")
    os._exit(130)


def main() -> None:
    """Run the program; Ctrl-C prints one line even while the libraries are loading."""
    signal.signal(signal.SIGINT, _exit_interrupted)
    from service.cli.extras import missing_library  # noqa: PLC0415 - see above

    try:
        from service.cli.main import main as run  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        line = missing_library(error, next(iter(sys.argv[1:]), ""))
        if line is None:
            raise
        sys.exit(f"ext-scheduler: {line}")
    run()


if __name__ == "__main__":
    main()
