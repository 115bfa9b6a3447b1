#!/usr/bin/env python3
"""Simulates the mobile app: `python producers/mobile_producer.py --rate 100 --seed 7 --duration 30`."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a file: its own folder stands where the project's should, and would shadow other modules
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from producers.script import run

if __name__ == "__main__":
    sys.exit(run("MOBILE"))
