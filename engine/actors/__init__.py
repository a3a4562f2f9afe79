"""The actors: the only place that imports pykka."""
