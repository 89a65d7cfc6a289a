"""Measurements: each is a command whose result is kept under `results/` with machine, versions and command."""
