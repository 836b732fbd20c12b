"""Compile one component ahead of time, in a process of its own: ``precompile SOURCE TARGET``."""

import resource
import sys
from pathlib import Path

from wasmtime import Engine, WasmtimeError
from wasmtime import component as wit

from runner_bridge.dev_runner.build import locked
from runner_bridge.dev_runner.guest import engine_config

EXIT_UNUSABLE = 3
MAX_MEMORY_BYTES = 4 * 1024 * 1024 * 1024


def main() -> int:
    """Write TARGET atomically; return exit status 3 if SOURCE is not a component."""
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    with locked(target.with_suffix(".lock")):
        if target.is_file():
            return 0
        try:
            machine_code = wit.Component.from_file(Engine(engine_config()), source).serialize()
        except WasmtimeError as error:
            sys.stderr.write(str(error))
            return EXIT_UNUSABLE
        partial = target.with_suffix(".partial")
        partial.write_bytes(machine_code)
        partial.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
