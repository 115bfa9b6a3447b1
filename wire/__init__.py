"""Bytes to records and rejects: framing, encodings and envelopes, one file each. No I/O."""
