"""The schema cache over a registry client: what it remembers, and that it never takes silence for "no such schema"."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka.schema_registry.error import SchemaRegistryError

from actors.adapters import registry
from actors.adapters.registry import UNKNOWN_TTL_S, SchemaCache
from schemas.errors import RegistryUnavailableError
from schemas.events import schema_text


class Registry:
    """Answers by schema id: a schema's text, or an error to raise."""

    def __init__(self):
        self.answers: dict[int, object] = {}
        self.asked: list[int] = []

    def get_schema(self, schema_id):
        self.asked.append(schema_id)
        answer = self.answers[schema_id]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(schema_str=answer)


@pytest.fixture
def server(monkeypatch):
    made = Registry()
    monkeypatch.setattr(registry, "SchemaRegistryClient", lambda _: made)
    return made


def test_a_known_schema_is_asked_for_once(server):
    server.answers[1] = schema_text()
    cache = SchemaCache({})
    assert cache(1) is cache(1)
    assert server.asked == [1]


def test_an_unknown_schema_is_believed_for_a_while_and_then_asked_for_again(server):
    now = [0.0]
    server.answers[1] = SchemaRegistryError(404, 40403, "not found")
    cache = SchemaCache({}, lambda: now[0])
    assert cache(1) is None
    assert cache(1) is None
    assert server.asked == [1]
    now[0] = UNKNOWN_TTL_S + 1
    server.answers[1] = schema_text()
    assert cache(1) is not None


@pytest.mark.parametrize(
    "error",
    [SchemaRegistryError(401, 401, "who"), SchemaRegistryError(500, 50001, "ill"), OSError("unreachable")],
    ids=["unauthorised", "server-error", "unreachable"],
)
def test_any_other_trouble_says_nothing_of_the_record(server, error):
    server.answers[1] = error
    cache = SchemaCache({})
    with pytest.raises(RegistryUnavailableError):
        cache(1)
    server.answers[1] = schema_text()
    assert cache(1) is not None


@pytest.mark.parametrize("text", ['"string"', "", "{"], ids=["primitive", "empty", "broken"])
def test_a_schema_that_could_never_be_ours_is_remembered_as_none(server, text):
    server.answers[1] = text
    cache = SchemaCache({})
    assert cache(1) is None
    assert cache(1) is None
    assert server.asked == [1]
