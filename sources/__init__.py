"""What a bank brings: recon.yaml, its sources, their field mappings and their files, as pure functions."""
