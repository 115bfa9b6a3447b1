"""Answers of many rows, written straight from the shapes: FastAPI would validate each row a second time."""

from __future__ import annotations

from fastapi import Response
from pydantic import BaseModel


def as_json(shape: BaseModel) -> Response:
    """The shape as a JSON response; the route names it as its response_model, for the document."""
    return Response(shape.__pydantic_serializer__.to_json(shape), media_type="application/json")
