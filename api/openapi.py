"""The OpenAPI document, as committed in `openapi.json`: `python -m api.openapi` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.access import ACCESS, PUBLIC
from api.models.common import Problem
from api.version import API_VERSION

FILE = Path(__file__).with_name("openapi.json")

_ABOUT = """Real-time reconciliation of payments: verdicts, breaks and the desk that settles them.

Times are integer milliseconds since 1970, UTC. Money is integer minor units with its currency beside it. Errors are
`application/problem+json`. Lists are paged by opaque cursors that stay stable while rows are added.
"""


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of an app; cached on it."""
    if app.openapi_schema:
        return app.openapi_schema
    schema = get_openapi(title="recon", version=API_VERSION, description=_ABOUT, routes=app.routes)
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A Keycloak access token."}
    }
    for path in schema["paths"].values():
        for operation in path.values():
            name = operation["operationId"]
            if name in PUBLIC:
                continue
            operation["security"] = [{"bearer": []}]
            operation["x-role"] = ACCESS[name].role.label
            operation["responses"]["422"] = {
                "description": "Not valid",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
    app.openapi_schema = schema
    return schema


def rendered(app: FastAPI) -> str:
    """The document as text, stable from run to run."""
    return json.dumps(document(app), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the committed file."""
    from api.app import bare_app  # noqa: PLC0415 - the app imports this module

    FILE.write_text(rendered(bare_app()), encoding="utf-8")


if __name__ == "__main__":
    main()
