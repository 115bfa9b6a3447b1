"""The endpoints, one module per resource. Handlers are thin: they name the operation and call the store."""
