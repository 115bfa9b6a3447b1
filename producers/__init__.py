"""Simulated bank systems: seeded traffic with planted breaks, and load."""
