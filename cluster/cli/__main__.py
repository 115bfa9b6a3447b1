"""`python -m cluster.cli` is `recon`."""

from __future__ import annotations

from cluster.cli import main

main()
