"""Values of the component model as plain Python ones, in both directions.

Records are dicts by their WIT names, results ``{"ok": value}`` or ``{"err": value}``, enums texts,
``list<u8>`` is bytes, an absent option is ``None``. The component's own types lead: a record that
has more fields than the host knows gets ``None`` for them, one with fewer gets only its own.

Why not the conversions that wasmtime brings: they cannot lower the error of a
``result<option<record>, enum>``, keep their state in globals, and take 0.8 µs for each byte.
"""

import ctypes
from collections.abc import Callable
from typing import Any

from wasmtime import _ffi as ffi
from wasmtime import component as wit

from runner_bridge.dev_runner.frames import Value

CValue = Any
"""A ``wasmtime_component_val_t``, or a vector in one."""
ValueReader = Callable[[CValue], Value]
"""Reads a C value, which the caller frees."""
ValueWriter = Callable[[Value, CValue], None]
"""Fills a C value."""

_SCALARS: dict[type, tuple[str, int, type]] = {
    wit.Bool: ("boolean", ffi.WASMTIME_COMPONENT_BOOL.value, bool),
    wit.U8: ("u8", ffi.WASMTIME_COMPONENT_U8.value, int),
    wit.U16: ("u16", ffi.WASMTIME_COMPONENT_U16.value, int),
    wit.U32: ("u32", ffi.WASMTIME_COMPONENT_U32.value, int),
    wit.U64: ("u64", ffi.WASMTIME_COMPONENT_U64.value, int),
    wit.S8: ("s8", ffi.WASMTIME_COMPONENT_S8.value, int),
    wit.S16: ("s16", ffi.WASMTIME_COMPONENT_S16.value, int),
    wit.S32: ("s32", ffi.WASMTIME_COMPONENT_S32.value, int),
    wit.S64: ("s64", ffi.WASMTIME_COMPONENT_S64.value, int),
    wit.F64: ("f64", ffi.WASMTIME_COMPONENT_F64.value, float),
}
_VALUE = ffi.wasmtime_component_val_t
_STRIDE = ctypes.sizeof(_VALUE)
_U8_OFFSET = _VALUE.of.offset


class UnsupportedType(TypeError):
    """A type that none of the offered functions has, such as a resource or a variant."""


def reader(kind: wit.ValType) -> ValueReader:
    """Return the function that reads values of ``kind``.

    Raises:
        UnsupportedType: ``kind`` has no conversion.
    """
    if type(kind) in _SCALARS:
        member, _, python = _SCALARS[type(kind)]
        return lambda value: python(getattr(value.of, member))
    if isinstance(kind, wit.String):
        return lambda value: _text(value.of.string)
    if isinstance(kind, wit.EnumType):
        return lambda value: _text(value.of.enumeration)
    if isinstance(kind, wit.ListType):
        return _list_reader(kind)
    if isinstance(kind, wit.RecordType):
        return _record_reader(kind)
    if isinstance(kind, wit.OptionType):
        some = reader(kind.payload)
        return lambda value: some(value.of.option.contents) if value.of.option else None
    raise UnsupportedType(type(kind).__name__)


def writer(kind: wit.ValType) -> ValueWriter:
    """Return the function that writes values of ``kind``.

    It raises TypeError or KeyError for a value that does not fit; the C value is then undefined.

    Raises:
        UnsupportedType: ``kind`` has no conversion.
    """
    if type(kind) in _SCALARS:
        return _scalar_writer(*_SCALARS[type(kind)])
    if type(kind) not in _WRITERS:
        raise UnsupportedType(type(kind).__name__)
    return _WRITERS[type(kind)](kind)


def _text(name: CValue) -> str:
    return ctypes.string_at(name.data, name.size).decode() if name.size else ""


def _octets(vector: CValue) -> memoryview:
    area = (ctypes.c_char * (vector.size * _STRIDE)).from_address(
        ctypes.addressof(vector.data.contents)
    )
    return memoryview(area).cast("B")


def _list_reader(kind: wit.ListType) -> ValueReader:
    if isinstance(kind.element, wit.U8):

        def read_octets(value: CValue) -> bytes:
            vector = value.of.list
            return bytes(_octets(vector)[_U8_OFFSET::_STRIDE]) if vector.size else b""

        return read_octets
    element = reader(kind.element)
    return lambda value: [element(value.of.list.data[i]) for i in range(value.of.list.size)]


def _record_reader(kind: wit.RecordType) -> ValueReader:
    fields = [(name, reader(field)) for name, field in kind.fields]

    def read_record(value: CValue) -> dict[str, Any]:
        data = value.of.record.data
        return {name: read(data[i].val) for i, (name, read) in enumerate(fields)}

    return read_record


def _scalar_writer(member: str, tag: int, python: type) -> ValueWriter:
    def write_scalar(value: Value, target: CValue) -> None:
        if not isinstance(value, python):
            raise TypeError(f"expected {member}")
        target.kind = tag
        setattr(target.of, member, value)

    return write_scalar


def _text_writer(member: str, tag: int) -> ValueWriter:
    def write_text(value: Value, target: CValue) -> None:
        setattr(target.of, member, ffi.str_to_capi(value))
        target.kind = tag

    return write_text


def _list_writer(kind: wit.ListType) -> ValueWriter:
    octets = isinstance(kind.element, wit.U8)
    element = writer(kind.element)

    def write_list(value: Value, target: CValue) -> None:
        vector = ffi.wasmtime_component_vallist_t()
        ffi.wasmtime_component_vallist_new_uninit(ctypes.byref(vector), len(value))
        if octets and value:
            area = _octets(vector)
            area[::_STRIDE] = bytes([ffi.WASMTIME_COMPONENT_U8.value]) * len(value)
            area[_U8_OFFSET::_STRIDE] = value
        elif not octets:
            for i, item in enumerate(value):
                element(item, vector.data[i])
        target.of.list = vector
        target.kind = ffi.WASMTIME_COMPONENT_LIST.value

    return write_list


def _record_writer(kind: wit.RecordType) -> ValueWriter:
    fields = [(name, writer(field)) for name, field in kind.fields]

    def write_record(value: Value, target: CValue) -> None:
        record = ffi.wasmtime_component_valrecord_t()
        ffi.wasmtime_component_valrecord_new_uninit(ctypes.byref(record), len(fields))
        for i, (name, write) in enumerate(fields):
            record.data[i].name = ffi.str_to_capi(name)
            write(value.get(name), record.data[i].val)
        target.of.record = record
        target.kind = ffi.WASMTIME_COMPONENT_RECORD.value

    return write_record


def _boxed(write: ValueWriter, value: Value) -> CValue:
    inner = _VALUE()
    write(value, inner)
    return ffi.wasmtime_component_val_new(ctypes.byref(inner))


def _option_writer(kind: wit.OptionType) -> ValueWriter:
    some = writer(kind.payload)

    def write_option(value: Value, target: CValue) -> None:
        target.of.option = None if value is None else _boxed(some, value)
        target.kind = ffi.WASMTIME_COMPONENT_OPTION.value

    return write_option


def _result_writer(kind: wit.ResultType) -> ValueWriter:
    sides = {
        side: None if payload is None else writer(payload)
        for side, payload in (("ok", kind.ok), ("err", kind.err))
    }

    def write_result(value: Value, target: CValue) -> None:
        [(side, payload)] = value.items()
        write = sides[side]
        target.of.result.is_ok = side == "ok"
        target.of.result.val = None if write is None else _boxed(write, payload)
        target.kind = ffi.WASMTIME_COMPONENT_RESULT.value

    return write_result


_WRITERS: dict[type, Callable[[Any], ValueWriter]] = {
    wit.String: lambda _: _text_writer("string", ffi.WASMTIME_COMPONENT_STRING.value),
    wit.EnumType: lambda _: _text_writer("enumeration", ffi.WASMTIME_COMPONENT_ENUM.value),
    wit.ListType: _list_writer,
    wit.RecordType: _record_writer,
    wit.OptionType: _option_writer,
    wit.ResultType: _result_writer,
}
