"""The committed contract."""

from __future__ import annotations

from api.access import ACCESS, PUBLIC, matrix
from api.app import bare_app
from api.openapi import FILE, document, rendered

DOCS = FILE.parents[1] / "docs" / "api.md"


def test_the_committed_document_is_what_the_app_says() -> None:
    assert FILE.read_text(encoding="utf-8") == rendered(bare_app()), "run `python -m api.openapi`"


def test_the_document_is_openapi_3_1_with_stable_operation_ids() -> None:
    schema = document(bare_app())
    assert schema["openapi"].startswith("3.1")
    names = [operation["operationId"] for path in schema["paths"].values() for operation in path.values()]
    assert sorted(names) == sorted({*ACCESS, *PUBLIC})


def test_every_guarded_operation_says_its_role_and_its_errors() -> None:
    for path in document(bare_app())["paths"].values():
        for operation in path.values():
            if operation["operationId"] in PUBLIC:
                continue
            assert operation["x-role"] == ACCESS[operation["operationId"]].role.label
            assert operation["security"] == [{"bearer": []}]
            for status in ("401", "403", "429", "503"):
                assert "application/problem+json" in operation["responses"][status]["content"]


def test_the_guide_shows_the_table_of_roles() -> None:
    assert matrix() in DOCS.read_text(encoding="utf-8")
