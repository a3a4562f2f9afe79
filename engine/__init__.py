"""Pools, volumes and jobs. Knows nothing of its callers."""
