"""Protobuf messages as trees, by the descriptors of a compiled set of files or of schemas given as text.

A field that can be absent and is has no value; a proto3 scalar always has one. Enums are their names, an unknown number
its digits. The well-known types are what they mean: a time as ISO 8601 writes it, a wrapper its value, a Struct an
object.
A map is sorted by its keys, since the bytes say no order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from grpc_tools import protoc

from cluster.oracle.avro import Cursor, NotAvro
from cluster.oracle.mapping.values import Number, of_float, of_float32

INDEXES_MAX = 64
PACKAGE = "google.protobuf."
WRAPPERS = {
    f"{PACKAGE}{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
}


class NotProtobuf(ValueError):  # noqa: N818 - a verdict on bytes or a schema, not an error of ours
    """The bytes are no message of the type, or there is no such type."""


class Files:
    """The message types of a file. `main` is the file whose messages a registry's framing counts."""

    def __init__(self, files: Sequence[descriptor_pb2.FileDescriptorProto], main: str) -> None:
        """Raises NotProtobuf when the files do not belong together."""
        pool = descriptor_pool.DescriptorPool()
        try:
            for file in files:
                pool.Add(file)  # type: ignore[no-untyped-call, unused-ignore]
            pool.FindFileByName(main)
            self._main = next(file for file in files if file.name == main)
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise NotProtobuf(f"no usable set of files: {error}") from error
        self._pool = pool

    def at(self, indexes: Sequence[int]) -> Descriptor:
        """The type that a framing's indexes lead to: of the messages as declared, then of those nested in it."""
        kinds, path = self._main.message_type, [self._main.package] if self._main.package else []
        for index in indexes:
            if index >= len(kinds):
                raise NotProtobuf(f"message index {index} of {len(kinds)}")
            path.append(kinds[index].name)
            kinds = kinds[index].nested_type
        return self._pool.FindMessageTypeByName(".".join(path))

    def named(self, name: str | None) -> Descriptor:
        """The type of this name, full or within the file's package; without a name the file's first."""
        if name is None:
            return self.at([0])
        package = self._main.package
        own = f"{package}.{name}" if package else name
        for full in (own, name):
            try:
                return self._pool.FindMessageTypeByName(full)
            except KeyError:
                continue
        raise NotProtobuf(f"no message {name[:80]!r}")


def compiled(content: bytes) -> Files:
    """The files of a FileDescriptorSet, imports first, as `protoc --include_imports` writes it. Raises NotProtobuf."""
    found = descriptor_pb2.FileDescriptorSet()
    try:
        found.ParseFromString(content)
    except DecodeError as error:
        raise NotProtobuf(f"no set of file descriptors: {error}") from error
    if not found.file:
        raise NotProtobuf("a set without a file")
    return Files(found.file, found.file[-1].name)


def from_text(text: str, imports: Mapping[str, str]) -> Files:
    """The files of a `.proto` text and of what it imports, by the names of its imports. Raises NotProtobuf."""
    with tempfile.TemporaryDirectory(prefix="recon-verify-") as name:
        folder = Path(name)
        for place, content in {**imports, "recon_main.proto": text}.items():
            file = (folder / place).resolve()
            if not file.is_relative_to(folder.resolve()):
                raise NotProtobuf(f"an import of {place[:80]!r}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        known = Path(str(grpc_tools.__file__)).parent / "_proto"
        out = folder / "recon.out"
        failed = protoc.main(
            ["", f"-I{folder}", f"-I{known}", "--include_imports", f"--descriptor_set_out={out}", "recon_main.proto"]
        )
        if failed:
            raise NotProtobuf("the text is no schema of Protobuf")
        return compiled(out.read_bytes())


def message_indexes(body: bytes) -> tuple[list[int], bytes]:
    """Which message of the schema's file follows a registry's framing, and its bytes. Raises NotProtobuf.

    The indexes are zig-zag numbers behind their count; a count of 0 stands for the file's first message.
    """
    cursor = Cursor(body)
    try:
        count = cursor.long()
        if not 0 <= count <= INDEXES_MAX:
            raise NotProtobuf(f"{count} message indexes")
        indexes = [cursor.long() for _ in range(count)] or [0]
    except NotAvro as error:
        raise NotProtobuf(str(error)) from error
    if min(indexes) < 0:
        raise NotProtobuf("a message index below 0")
    return indexes, body[cursor.at :]


def read(kind: Descriptor, body: bytes) -> dict[str, Any]:
    """The tree of one message. Raises NotProtobuf."""
    try:
        return _tree(message_factory.GetMessageClass(kind).FromString(body))
    except (DecodeError, RuntimeError, ValueError, RecursionError, json_format.Error) as error:
        raise NotProtobuf(f"no {kind.full_name}: {error}") from error


def _tree(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            found[field.name] = None
            continue
        content = getattr(message, field.name)
        if _is_map(field):
            parts = field.message_type.fields_by_name
            found[field.name] = {str(_key(key)): _one(parts["value"], content[key]) for key in sorted(content)}
        elif _is_repeated(field):
            found[field.name] = [_one(field, part) for part in content]
        else:
            found[field.name] = _one(field, content)
    return found


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _is_repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _one(field: FieldDescriptor, value: Any) -> Any:
    """A single value, of a list one of its items."""
    if field.message_type is not None:
        name = field.message_type.full_name
        if name in WRAPPERS:
            return _one(field.message_type.fields_by_name["value"], value.value)
        return MEANINGS[name](value) if name in MEANINGS else _tree(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else Number(str(value))
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return of_float32(value)
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, float):
        return of_float(value)
    return Number(str(value)) if isinstance(value, int) and not isinstance(value, bool) else value


def _plain(value: Any) -> Any:
    """A google.protobuf.Value; one of no kind has no value. Its numbers may be infinite, unlike JSON's."""
    match value.WhichOneof("kind"):
        case None | "null_value":
            return None
        case "struct_value":
            return _object(value.struct_value)
        case "list_value":
            return _list(value.list_value)
        case kind:
            return _scalar(getattr(value, kind))


def _object(value: Any) -> dict[str, Any]:
    return {name: _plain(value.fields[name]) for name in sorted(value.fields)}


def _list(value: Any) -> list[Any]:
    return [_plain(part) for part in value.values]


MEANINGS: dict[str, Callable[[Any], Any]] = {
    f"{PACKAGE}Struct": _object,
    f"{PACKAGE}Value": _plain,
    f"{PACKAGE}ListValue": _list,
    f"{PACKAGE}FieldMask": lambda mask: ",".join(mask.paths),
    f"{PACKAGE}Timestamp": json_format.MessageToDict,
    f"{PACKAGE}Duration": json_format.MessageToDict,
}
