"""Validation of the fields of admin operations by the contract's types: all errors at once.

Errors are keyed by wire name, nested ones by path, such as ``manifest.api.endpoints[0]``.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from msgspec import Struct, inspect

from service.rules.fields import REQUIRED
from service.rules.text import is_storable

Errors = dict[str, str]
MAX_ERRORS = 100
"""Field errors of one answer; those beyond are not looked for."""


class CheckedInput(Struct, frozen=True):
    """The input, None where ``errors`` (in the order of the input) say why not.

    ``values`` are the members that are right, by wire name.
    """

    request: Any
    errors: Errors
    values: Mapping[str, Any]


def check(raw: Mapping[str, Any], shape: type[Struct]) -> CheckedInput:
    """Validate an input. Unknown members are ignored, null means absent where that is allowed."""
    errors: Errors = {}
    values: dict[str, Any] = {}
    request = _read_members(raw, _described(shape), "", errors, values)
    return CheckedInput(request=None if errors else request, errors=errors, values=values)


def in_order(errors: Mapping[str, str], shape: type[Struct]) -> Errors:
    """Return the same errors in the order of the input; ``error`` repeats the first of them."""
    order = [field.encode_name for field in _described(shape).fields]
    return {name: errors[name] for name in sorted(errors, key=lambda name: _position(name, order))}


def invalid(name: str) -> str:
    """Return the message for a value of the right type that is not valid there."""
    return f"Invalid {name}"


def wrong_type(expected: str) -> str:
    """Return the message for a value of another type."""
    return f"Wrong type (expected {expected})"


def too_many(limit: int) -> str:
    """Return the message for a list that is too long."""
    return f"Too many entries (max {limit})"


def _position(name: str, order: list[str]) -> int:
    head = re.split(r"[.\[]", name, maxsplit=1)[0]
    return order.index(head) if head in order else len(order)


@cache
def _described(shape: type[Struct]) -> inspect.StructType:
    described = inspect.type_info(shape)
    assert isinstance(described, inspect.StructType)  # noqa: S101 - inputs are Structs
    return described


def _read_members(
    raw: Mapping[str, Any],
    shape: inspect.StructType,
    path: str,
    errors: Errors,
    kept: dict[str, Any] | None = None,
) -> Struct | None:
    """Read an object's members; None where one of them is wrong."""
    before = len(errors)
    values: dict[str, Any] = {}
    for field in shape.fields:
        if len(errors) >= MAX_ERRORS:
            return None
        name, value = field.encode_name, raw.get(field.encode_name)
        here = f"{path}.{name}" if path else name
        if value is None:
            if _takes_none(field.type) and (name in raw or field.required):
                values[field.name] = None
            elif field.required:
                errors[here] = REQUIRED
            continue
        error_count = len(errors)
        values[field.name] = _read(value, field.type, here, errors)
        if kept is not None and len(errors) == error_count:
            kept[name] = values[field.name]
    return shape.cls(**values) if len(errors) == before else None


def _takes_none(kind: inspect.Type) -> bool:
    members = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return any(isinstance(member, inspect.NoneType) for member in members)


def _read(value: Any, kind: inspect.Type, path: str, errors: Errors) -> Any:  # noqa: ANN401 - raw
    if isinstance(kind, inspect.Metadata):
        return _read(value, kind.type, path, errors)
    if isinstance(kind, inspect.UnionType):
        return _read_union(value, kind, path, errors)
    if isinstance(kind, inspect.AnyType):
        return value
    if isinstance(kind, inspect.LiteralType):
        if not isinstance(value, str):
            errors[path] = wrong_type("string")
        elif value not in kind.values:
            errors[path] = f"Must be one of {', '.join(map(str, kind.values))}"
        return value
    expected, types, validate = _KINDS[type(kind)]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        errors[path] = wrong_type(expected)
        return value
    return validate(value, kind, path, errors)


def _read_union(value: Any, kind: inspect.UnionType, path: str, errors: Errors) -> Any:  # noqa: ANN401 - raw
    choices = [choice for choice in kind.types if not isinstance(choice, inspect.NoneType)]
    for choice in choices:
        attempt: Errors = {}
        read = _read(value, choice, path, attempt)
        if len(choices) == 1:
            errors.update(attempt)
        if not attempt or len(choices) == 1:
            return read
    errors[path] = wrong_type(" or ".join(_names(choices)))
    return value


def _names(kinds: Iterable[inspect.Type]) -> list[str]:
    return [_KINDS[type(kind)][0] for kind in kinds]


def _text(value: str, kind: Any, path: str, errors: Errors) -> str:  # noqa: ANN401 - by kind
    too_short = kind.min_length is not None and len(value.strip()) < kind.min_length
    too_long = kind.max_length is not None and len(value) > kind.max_length
    unlike = kind.pattern is not None and not re.fullmatch(kind.pattern, value)
    if too_short or too_long or unlike or not is_storable(value):
        errors[path] = invalid(_leaf(path))
    return value


def _number(value: int, kind: Any, path: str, errors: Errors) -> int:  # noqa: ANN401 - by kind
    low, high = kind.ge, kind.le
    if (low is not None and value < low) or (high is not None and value > high):
        errors[path] = f"Must be between {low} and {high}"
    return value


def _items(value: list[Any], kind: Any, path: str, errors: Errors) -> list[Any]:  # noqa: ANN401 - by kind
    if kind.max_length is not None and len(value) > kind.max_length:
        errors[path] = too_many(kind.max_length)
        return value
    items = []
    for index, item in enumerate(value):
        if len(errors) >= MAX_ERRORS:
            break
        items.append(_read(item, kind.item_type, f"{path}[{index}]", errors))
    return items


def _object(value: dict[Any, Any], kind: Any, path: str, errors: Errors) -> Any:  # noqa: ANN401 - by kind
    return _read_members(value, kind, path, errors)


def _unchanged(value: Any, kind: Any, path: str, errors: Errors) -> Any:  # noqa: ANN401, ARG001 - one signature for all
    return value


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


_Validator = Callable[[Any, Any, str, Errors], Any]
_KINDS: Mapping[type[inspect.Type], tuple[str, tuple[type, ...], _Validator]] = {
    inspect.StrType: ("string", (str,), _text),
    inspect.IntType: ("integer", (int,), _number),
    inspect.BoolType: ("boolean", (bool,), _unchanged),
    inspect.ListType: ("array", (list,), _items),
    inspect.DictType: ("object", (dict,), _unchanged),
    inspect.StructType: ("object", (dict,), _object),
}
