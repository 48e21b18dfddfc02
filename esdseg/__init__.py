"""esdseg: maps of settlements without electricity from multi-sensor satellite tiles."""

import sys

__version__ = "0.1.0"

if sys.platform == "win32":
    raise ImportError("esdseg runs on Linux and macOS, not on Windows; use WSL there.")
