"""The process in which guests run, one at a time; the Runner kills it when one fails.

Started by ``sandbox.py`` with one argument, the number of the socket to the Runner. Its standard
output and error belong to the guest and go to the Runner's log.
"""

import ctypes
import os
import queue
import resource
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wasmtime import Config, Engine, ExitTrap, Store, WasiConfig, WasmtimeError
from wasmtime import _ffi as ffi
from wasmtime import component as wit

from runner_bridge.dev_runner import frames
from runner_bridge.dev_runner.frames import Value
from runner_bridge.dev_runner.interface import OFFERED
from runner_bridge.dev_runner.linking import ImportLinker, is_set
from runner_bridge.dev_runner.tracebacks import uncaught_exception
from runner_bridge.dev_runner.values import UnsupportedType, reader, writer

HANDLER = "handler"
MAX_CAUSE_CHARACTERS = 600
UNREACHABLE = "`unreachable` instruction"
"""How a language's runtime ends itself."""
MAX_KEPT_ERROR_BYTES = 64 * 1024
MAX_MEMORIES = 16
MAX_LOADED_COMPONENTS = 8
# Beyond the guest's own memory: the interpreter, compiled code, values in transit.
HOST_OVERHEAD_BYTES = 1024 * 1024 * 1024


class Channel:
    """The socket to the Runner. The process exits when the Runner closes its end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received: queue.SimpleQueue[frames.ToGuest] = queue.SimpleQueue()
        threading.Thread(target=self._receive_all, daemon=True).start()

    def _receive_all(self) -> None:
        with self._connection.makefile("rb") as stream:
            while head := stream.read(frames.LENGTH_BYTES):
                body = stream.read(frames.body_length(int.from_bytes(head)))
                self._received.put(frames.to_guest.decode(body))
        os._exit(0)

    def receive(self) -> frames.ToGuest:
        """Wait for the next frame."""
        return self._received.get()

    def send(self, message: frames.FromGuest) -> None:
        """Send one frame."""
        self._connection.sendall(frames.pack(message))

    def call(self, interface: str, function: str, arguments: list[Value]) -> Value:
        """Call a host function in the Runner and return its result.

        Raises:
            WasmtimeError: the Runner refuses; the guest traps.
        """
        self.send(frames.HostCall(interface, function, arguments))
        answer = self.receive()
        if not isinstance(answer, frames.HostAnswer) or answer.refusal is not None:
            raise WasmtimeError(getattr(answer, "refusal", None) or "protocol error")
        return answer.value


class LoadedComponent:
    """A component that can be instantiated, with the conversions of its handler's types."""

    def __init__(self, engine: Engine, path: str, channel: Channel) -> None:
        self.component = wit.Component.deserialize_file(engine, path)
        self.imports = ImportLinker(engine, self.component, OFFERED, channel.call)
        handler = self.component.type.exports(engine).get(HANDLER)
        kind = None if handler is None else handler.ty
        if not isinstance(kind, wit.FuncType) or len(kind.params) != 1 or kind.result is None:
            raise UnsupportedType("the component exports no handler of one request")
        self.write_request = writer(kind.params[0][1])
        self.read_response = reader(kind.result)


def engine_config() -> Config:
    """Return the configuration that precompiled components and engines must share."""
    config = Config()
    config.epoch_interruption = True
    # Half the compile time of the default; the speed of guests does not matter here.
    config.cranelift_opt_level = "none"
    return config


def serve(channel: Channel, engine: Engine) -> None:
    """Run one guest after another until the Runner closes the socket."""
    loaded: dict[str, LoadedComponent] = {}
    while True:
        job = channel.receive()
        if not isinstance(job, frames.RunGuest):
            raise TypeError("expected a job")
        channel.send(_run_guest(job, loaded, engine, channel))


def _run_guest(
    job: frames.RunGuest, loaded: dict[str, LoadedComponent], engine: Engine, channel: Channel
) -> frames.GuestAnswer | frames.Failure:
    try:
        if job.component not in loaded:
            if len(loaded) >= MAX_LOADED_COMPONENTS:
                loaded.clear()
            loaded[job.component] = LoadedComponent(engine, job.component, channel)
    except (WasmtimeError, UnsupportedType) as error:
        return frames.Failure(frames.FailureKind.REJECTED, _cause(error))
    expired, errors = threading.Event(), ErrorOutput()
    with _deadline(engine, job.budget_ms, expired):
        try:
            value = _call(loaded[job.component], _store(engine, job, errors), job.request)
        except ExitTrap as error:
            return frames.Failure(frames.FailureKind.TRAP, f"exit status {error.code}")
        except (WasmtimeError, TypeError) as error:
            if expired.is_set():
                return frames.Failure(frames.FailureKind.TIMEOUT, f"{job.budget_ms} ms are over")
            return frames.Failure(frames.FailureKind.TRAP, _trap(_cause(error), errors.text))
    return _check_response(value, job.response_bytes)


@contextmanager
def _deadline(engine: Engine, budget_ms: int, expired: threading.Event) -> Iterator[None]:
    def end() -> None:
        expired.set()
        engine.increment_epoch()

    timer = threading.Timer(budget_ms / 1000, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # A timer that fires now must not interrupt the next guest.
        timer.join()


class ErrorOutput:
    """What a guest writes to standard error: passed on, and its end kept."""

    def __init__(self) -> None:
        self._kept = b""

    def write(self, written: bytes) -> int:
        """Write to this process' standard error."""
        self._kept = (self._kept + written)[-MAX_KEPT_ERROR_BYTES:]
        return os.write(sys.stderr.fileno(), written)

    @property
    def text(self) -> str:
        """Return what is kept."""
        return self._kept.decode(errors="replace")


def _trap(cause: str, errors: str) -> str:
    """Return why a guest trapped: an exception of its author's, where one was printed."""
    exception = uncaught_exception(errors) if UNREACHABLE in cause else None
    return (exception or cause)[:MAX_CAUSE_CHARACTERS]


def _store(engine: Engine, job: frames.RunGuest, errors: ErrorOutput) -> Store:
    store = Store(engine)
    wasi = WasiConfig()
    wasi.inherit_stdout()
    wasi.stderr_custom = errors.write
    store.set_wasi(wasi)
    store.set_limits(memory_size=job.memory_bytes, memories=MAX_MEMORIES)
    store.set_epoch_deadline(1)
    return store


def _call(loaded: LoadedComponent, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    instance = loaded.imports.linker.instantiate(store, loaded.component)
    handler = instance.get_func(store, HANDLER)
    if handler is None:
        raise TypeError("the component exports no handler")
    argument, result = ffi.wasmtime_component_val_t(), ffi.wasmtime_component_val_t()
    loaded.write_request(request, argument)
    try:
        error = ffi.wasmtime_component_func_call(
            ctypes.byref(handler._func),  # noqa: SLF001 - the library's own conversions: see values.py
            store._context(),  # noqa: SLF001 - likewise
            ctypes.byref(argument),
            1,
            ctypes.byref(result),
            1,
        )
    finally:
        ffi.wasmtime_component_val_delete(ctypes.byref(argument))
    if is_set(error):
        raise WasmtimeError._from_ptr(error)  # noqa: SLF001 - likewise
    try:
        value: dict[str, Any] = loaded.read_response(result)
    finally:
        ffi.wasmtime_component_val_delete(ctypes.byref(result))
    return value


def _check_response(value: dict[str, Any], limit: int) -> frames.GuestAnswer | frames.Failure:
    headers = [(header["name"], header["value"]) for header in value["headers"]]
    size = sum(len(name) + len(text) for name, text in headers) + len(value["body"] or b"")
    if size > limit:
        message = f"the response has {size} bytes, the limit is {limit}"
        return frames.Failure(frames.FailureKind.RESPONSE, message)
    if not 100 <= value["status"] <= 599:
        return frames.Failure(frames.FailureKind.RESPONSE, f"status {value['status']}")
    return frames.GuestAnswer(value["status"], headers, value["body"])


def _cause(error: Exception) -> str:
    """Return the last line of wasmtime's message, which is the reason; the rest is a backtrace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return (
        last.partition(": ")[2][:MAX_CAUSE_CHARACTERS]
        if last[:1].isdigit()
        else last[:MAX_CAUSE_CHARACTERS]
    )


def main() -> None:
    """Serve the socket whose number is the first argument; the second is the memory limit."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    limit_bytes = int(sys.argv[2]) + HOST_OVERHEAD_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    serve(Channel(connection), Engine(engine_config()))


if __name__ == "__main__":
    main()
