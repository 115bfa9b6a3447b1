"""Simulated bank systems: seeded payments with planted breaks, and the load that a benchmark replays."""
