"""Coverage-guided fuzzing of what reads strangers' texts: names, settings, sweeps and manifests."""
