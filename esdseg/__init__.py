"""esdseg: maps of settlements without electricity from multi-sensor satellite tiles."""

__version__ = "0.1.0"
