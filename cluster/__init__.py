"""The composition root: settings, topology, supervisor, Serve app, CLI and the local stack."""
