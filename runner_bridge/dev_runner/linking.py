"""Links a component's imports: WASI, the functions that the host offers, a trap for the rest."""

import ctypes
from collections.abc import Callable, Mapping

from wasmtime import Engine, WasmtimeError
from wasmtime import _ffi as ffi
from wasmtime import component as wit

from runner_bridge.dev_runner.frames import Value
from runner_bridge.dev_runner.values import CValue, UnsupportedType, reader, writer

HostFunction = Callable[[str, str, list[Value]], Value]
"""Interface, function, arguments → result, all plain values; WasmtimeError traps the guest."""

# What wasmtime offers of WASI 0.2. Other releases of 0.2 than its own link too, as long as nothing
# is defined under their exact name, so these are left alone. `wasi:http` is not among them: its
# outgoing half would be a network.
_WASI = tuple(
    f"wasi:{package}/" for package in ("cli", "clocks", "filesystem", "io", "random", "sockets")
)
_NO_FINALIZER = ctypes.cast(0, ctypes.CFUNCTYPE(None, ctypes.c_void_p))


class ImportLinker:
    """A linker for one component; it keeps its callbacks alive."""

    def __init__(
        self,
        engine: Engine,
        component: wit.Component,
        offered: Mapping[str, frozenset[str]],
        call: HostFunction,
    ) -> None:
        self.linker = wit.Linker(engine)
        self.linker.add_wasip2()
        self._engine = engine
        self._offered = offered
        self._call = call
        self._callbacks: list[object] = []
        self._resources: list[wit.ResourceType] = []
        with self.linker.root() as root:
            for name, extern in component.type.imports(engine).items():
                self._define(root, name, extern.ty)

    def _define(self, root: wit.LinkerInstance, name: str, kind: wit.ComponentItem) -> None:
        if isinstance(kind, wit.FuncType):
            root.add_func(name, _trap(name))
        if not isinstance(kind, wit.ComponentInstanceType):
            return
        items = {item: extern.ty for item, extern in kind.exports(self._engine).items()}
        if name.startswith(_WASI):
            self._resources += [ty for ty in items.values() if isinstance(ty, wit.ResourceType)]
            return
        with root.add_instance(name) as instance:
            for item, item_kind in items.items():
                if isinstance(item_kind, wit.FuncType):
                    self._add_function(instance, name, item, item_kind)
                elif isinstance(item_kind, wit.ResourceType):
                    self._add_resource(instance, item, item_kind)

    def _add_resource(
        self, instance: wit.LinkerInstance, name: str, kind: wit.ResourceType
    ) -> None:
        # A resource seen before belongs to another interface that is imported by `use`: defining
        # it again would make it a different one.
        if any(kind == known for known in self._resources):
            return
        self._resources.append(kind)
        instance.add_resource(name, wit.ResourceType.host(len(self._resources)), _drop)

    def _add_function(
        self, instance: wit.LinkerInstance, interface: str, name: str, kind: wit.FuncType
    ) -> None:
        callback = self._callback(interface, name, kind)
        if callback is None:
            instance.add_func(name, _trap(f"{interface}.{name}"))
            return
        self._callbacks.append(callback)
        error = ffi.wasmtime_component_linker_instance_add_func(
            instance.ptr(),
            ctypes.create_string_buffer(name.encode()),
            len(name.encode()),
            callback,
            None,
            _NO_FINALIZER,
        )
        if is_set(error):
            raise WasmtimeError(f"{interface}.{name} cannot be defined")

    def _callback(self, interface: str, name: str, kind: wit.FuncType) -> object | None:
        """Return the C callback of an offered function; None if it is not offered or mistyped."""
        if name not in self._offered.get(interface, frozenset()):
            return None
        try:
            readers = [reader(parameter) for _, parameter in kind.params]
            write = None if kind.result is None else writer(kind.result)
        except UnsupportedType:
            return None

        def run(arguments: CValue, results: CValue) -> None:
            values = [read(arguments[i]) for i, read in enumerate(readers)]
            value = self._call(interface, name, values)
            if write is not None:
                write(value, results[0])

        return _c_callback(run)


def _c_callback(run: Callable[[CValue, CValue], None]) -> object:
    def callback(*c_arguments: CValue) -> int:
        _, _, _, arguments, _, results, _ = c_arguments
        try:
            run(arguments, results)
        except Exception as error:  # noqa: BLE001 - an exception cannot cross the C frames above
            failure = ffi.wasmtime_error_new(str(error).encode() or b"host function failed")
            return ctypes.cast(failure, ctypes.c_void_p).value or 0
        return 0

    return ffi.wasmtime_component_func_callback_t(callback)


def _trap(name: str) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise WasmtimeError(not_offered(name))

    return refuse


def not_offered(name: str) -> str:
    """Say that this host has no such function."""
    return f"{name} is not offered by this host"


def _drop(_store: object, _representation: int) -> None:
    """Let go of a resource; none was ever made, since every way to get one traps."""


def is_set(pointer: CValue) -> bool:
    """Say whether a C pointer, such as an error, is not null."""
    return bool(pointer)
