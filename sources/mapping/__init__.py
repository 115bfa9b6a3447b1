"""Field mappings: what a configuration says of a source's fields, applied to batches of decoded records.

`texts` reads a value as text, `amounts` and `times` make numbers of it, `apply` puts an event together.
"""
