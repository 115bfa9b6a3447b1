"""Protobuf as nested values, by a descriptor.

A field with presence (proto2, `optional`, messages, `oneof`) that is absent has no value; a proto3 scalar without
presence always has one. Enums are their names, an unknown number is its digits. The well-known types become what they
mean: Timestamp an ISO time, wrappers their value, Struct and Value plain JSON values. A map has no order of its own and
is sorted by its keys, so that the same bytes give the same text in every process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from wire.logical import exact_float32
from wire.records import NESTED_TEXT_DEPTH_MAX, Digits

_WRAPPERS: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_TIMES: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
_REPEATED: Final = FieldDescriptor.LABEL_REPEATED


class BadProtobufError(ValueError):
    """Bytes that are no message of the type, or a descriptor that has no such type."""


class ProtobufSchema:
    """Message types of one compiled file with its imports.

    Args:
        descriptors: a serialised `FileDescriptorSet`, imports first, as `protoc --include_imports` writes it.
        main: the file whose messages are numbered by a registry's framing; the set's last one by default.
    """

    def __init__(self, descriptors: bytes, main: str | None = None) -> None:
        files = descriptor_pb2.FileDescriptorSet()
        try:
            files.ParseFromString(descriptors)
            self._pool = descriptor_pool.DescriptorPool()
            for file in files.file:
                self._pool.Add(file)
            self._file = self._pool.FindFileByName(main or files.file[-1].name)
        except (DecodeError, KeyError, TypeError, IndexError) as error:
            raise BadProtobufError(f"no usable set of file descriptors: {error}") from error
        # As the file has them: a registry's framing counts the messages in the order of their declaration.
        self._names = [message.name for message in files.file[-1].message_type]
        if main is not None:
            self._names = next([part.name for part in file.message_type] for file in files.file if file.name == main)

    def message_at(self, indexes: tuple[int, ...]) -> Descriptor:
        """The type that a framing's indexes lead to. Raises BadProtobufError."""
        names = self._names
        kind: Descriptor | None = None
        for index in indexes:
            if index >= len(names):
                raise BadProtobufError(f"message index {index}; the schema has {len(names)} there")
            kind = (
                self._file.message_types_by_name[names[index]]
                if kind is None
                else kind.nested_types_by_name[names[index]]
            )
            proto = descriptor_pb2.DescriptorProto()
            kind.CopyToProto(proto)
            names = [nested.name for nested in proto.nested_type]
        if kind is None:
            raise BadProtobufError("no message index")
        return kind

    def message_named(self, name: str) -> Descriptor:
        """The type of a full name, or of a name at the file's top level. Raises BadProtobufError."""
        if name in self._file.message_types_by_name:
            return self._file.message_types_by_name[name]
        try:
            return self._pool.FindMessageTypeByName(name)
        except KeyError as error:
            raise BadProtobufError(f"no message {name[:80]!r}; there are {', '.join(self._names[:20])}") from error


def reader_of(kind: Descriptor) -> Callable[[bytes], dict[str, Any]]:
    """A function from one message's bytes to its values. It raises BadProtobufError."""
    parse = message_factory.GetMessageClass(kind).FromString

    def read(body: bytes) -> dict[str, Any]:
        try:
            # A time that no calendar has parses well and fails when it is read as what it means.
            return _values(parse(body), 0)
        except BadProtobufError:
            raise
        except (DecodeError, RuntimeError, ValueError) as error:
            raise BadProtobufError(f"no {kind.full_name}: {error}") from error

    return read


@functools.lru_cache(maxsize=1024)
def _fields(kind: Descriptor) -> tuple[tuple[str, bool, Callable[[Any, int], Any]], ...]:
    """Name, whether it can be absent, and the way to its value, for each field of a type."""
    return tuple((field.name, _can_be_absent(field), _converter(field)) for field in kind.fields)


def _values(message: Message, depth: int) -> dict[str, Any]:
    if depth > NESTED_TEXT_DEPTH_MAX:
        raise BadProtobufError(f"more than {NESTED_TEXT_DEPTH_MAX} levels")
    return {
        name: None if absent and not message.HasField(name) else convert(getattr(message, name), depth)
        for name, absent, convert in _fields(message.DESCRIPTOR)
    }


def _can_be_absent(field: FieldDescriptor) -> bool:
    return bool(field.has_presence)


def _is_repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated) if hasattr(field, "is_repeated") else field.label == _REPEATED


def _converter(field: FieldDescriptor) -> Callable[[Any, int], Any]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        value_of = _single(kind.fields_by_name["value"])
        key_of = _single(kind.fields_by_name["key"])
        return lambda entries, depth: {
            _key_text(key_of(key, depth)): value_of(entries[key], depth + 1) for key in sorted(entries)
        }
    single = _single(field)
    if _is_repeated(field):
        return lambda items, depth: [single(item, depth + 1) for item in items]
    return single


def _key_text(key: object) -> str:
    return ("true" if key else "false") if isinstance(key, bool) else str(key)


def _single(field: FieldDescriptor) -> Callable[[Any, int], Any]:
    if field.message_type is not None:
        name = field.message_type.full_name
        if name in _WRAPPERS:
            return _single_wrapped(field.message_type.fields_by_name["value"])
        if name in _TIMES:
            return lambda value, _depth: json_format.MessageToDict(value)
        if name in _JSON_LIKE:
            convert = _JSON_LIKE[name]
            return lambda value, _depth: convert(value)
        return lambda value, depth: _values(value, depth + 1)
    return _scalar(field)


def _single_wrapped(field: FieldDescriptor) -> Callable[[Any, int], Any]:
    scalar = _scalar(field)
    return lambda value, depth: scalar(value.value, depth)


def _scalar(field: FieldDescriptor) -> Callable[[Any, int], Any]:
    if field.enum_type is not None:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda value, _depth: names.get(value, Digits(value))
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return lambda value, _depth: exact_float32(value)
    return lambda value, _depth: value


def _struct(message: Any) -> dict[str, Any]:
    return {name: _value(message.fields[name]) for name in sorted(message.fields)}


def _list(message: Any) -> list[Any]:
    return [_value(part) for part in message.values]


def _value(message: Any) -> Any:
    """A google.protobuf.Value. One of no kind has no value; its numbers may be infinite, unlike JSON's."""
    match message.WhichOneof("kind"):
        case None | "null_value":
            return None
        case "struct_value":
            return _struct(message.struct_value)
        case "list_value":
            return _list(message.list_value)
        case kind:
            return getattr(message, kind)


_JSON_LIKE: Final[dict[str, Callable[[Any], Any]]] = {
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _value,
    "google.protobuf.ListValue": _list,
    "google.protobuf.FieldMask": lambda message: ",".join(message.paths),
}
