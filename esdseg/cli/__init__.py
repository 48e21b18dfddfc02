"""The command line: one file a subcommand, each parses, calls one function below it, and prints."""

from esdseg.cli.entry import main

__all__ = ["main"]
