"""Reconciliation of files with the engine's own core, without any service: `recon match`."""
