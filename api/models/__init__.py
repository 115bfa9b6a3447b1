"""The shapes that the API takes and gives, one module per resource; `api/openapi.json` is drawn from them."""
