"""CloudEvents 1.0 over Kafka, in both content modes of its Kafka protocol binding.

Structured: the header `content-type` begins with `application/cloudevents`, in whatever case and with or without
parameters, and the value is a JSON object with the attributes and `data` or `data_base64`. Binary: the attributes are
headers `ce_NAME`, and the value is the data. `id` and `source` together identify an event.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from wire.json_values import BadJsonError, read_json

if TYPE_CHECKING:
    from wire.messages import Messages

CONTENT_TYPE: Final = "content-type"
PREFIX: Final = "ce_"
STRUCTURED: Final = "application/cloudevents"
BATCH: Final = "application/cloudevents-batch"
VERSION: Final = "1.0"
REQUIRED: Final = ("specversion", "id", "source", "type")


class NotCloudEventError(ValueError):
    """A message that is no CloudEvent."""


def open_event(messages: Messages, row: int, decode: Callable[[bytes], object]) -> tuple[str, object, dict[str, str]]:
    """Identity, data and attributes of one message. `decode` reads data in the source's format.

    Raises NotCloudEventError, and what `decode` raises.
    """
    value = messages.values[row] or b""
    content_type = _text(messages.header(row, CONTENT_TYPE), CONTENT_TYPE) or ""
    media_type = content_type.split(";", maxsplit=1)[0].strip().lower()
    if media_type.startswith(BATCH):
        raise NotCloudEventError("a batch of events; over Kafka an event is a message of its own")
    attributes = {} if media_type.startswith(STRUCTURED) else _in_headers(messages, row)
    if attributes:
        _check(attributes)
        data = decode(value)
    elif media_type.startswith(STRUCTURED) or value.lstrip()[:1] == b"{":  # some producers leave the header out
        attributes, data = _structured(value, media_type if media_type.startswith(STRUCTURED) else STRUCTURED, decode)
    else:
        raise NotCloudEventError(f"no header {CONTENT_TYPE}: {STRUCTURED}+json, and no headers {PREFIX}NAME")
    _check(attributes)
    return identity(attributes["source"], attributes["id"]), data, attributes


def identity(source: str, event_id: str) -> str:
    """One text for both parts. A source is a URI reference, in which a blank is written %20."""
    return f"{source.replace(' ', '%20')} {event_id}"


def _in_headers(messages: Messages, row: int) -> dict[str, str]:
    attributes = {}
    for name, content in (messages.headers[row] if messages.headers else None) or ():
        if name.startswith(PREFIX) and (text := _text(content, name)) is not None:
            attributes[name.removeprefix(PREFIX)] = text
    return attributes


def _structured(value: bytes, media_type: str, decode: Callable[[bytes], object]) -> tuple[dict[str, str], object]:
    if media_type not in {STRUCTURED, f"{STRUCTURED}+json"}:
        raise NotCloudEventError(f"{media_type[:64]} is not read; right is {STRUCTURED}+json")
    try:
        event = read_json(value)
    except BadJsonError as error:
        raise NotCloudEventError(str(error)) from error
    if not isinstance(event, Mapping):
        raise NotCloudEventError("the event is no object")
    data = event.get("data")
    if "data_base64" in event:
        if "data" in event:
            raise NotCloudEventError("it has both data and data_base64")
        try:
            data = decode(base64.b64decode(str(event["data_base64"]), validate=True))
        except binascii.Error as error:
            raise NotCloudEventError(f"data_base64 cannot be read: {error}") from error
    attributes = {
        str(name): content
        for name, content in event.items()
        if isinstance(content, str) and name not in {"data", "data_base64"}
    }
    return attributes, data


def _check(attributes: Mapping[str, str]) -> None:
    missing = [name for name in REQUIRED if not attributes.get(name)]
    if missing:
        raise NotCloudEventError(f"it has no {', '.join(missing)}")
    if attributes["specversion"] != VERSION:
        raise NotCloudEventError(f"specversion {attributes['specversion'][:16]!r}; right is {VERSION}")


def _text(content: bytes | None, name: str) -> str | None:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise NotCloudEventError(f"header {name[:64]} is not UTF-8") from error
