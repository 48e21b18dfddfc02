"""The errors a user can meet, each with the exit code of the command line.

A message names the value, the place and the fix; the command line prints it without a traceback.
"""

from typing import ClassVar


class ESDSegError(Exception):
    """Base of every error that esdseg raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(ESDSegError):
    """A flag, name or combination that can never work."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration value, key or file that is wrong, with its place where there is one."""


class InputDataError(ESDSegError):
    """Raw tiles, a processed store, a checkpoint or another file is missing, broken or does not fit."""

    exit_code = 3


class MissingResourceError(ESDSegError):
    """Something only the user can supply is missing: pretrained weights, a login, a package extra."""

    exit_code = 4


class OutOfMemoryError(ESDSegError):
    """There is not enough memory for what was asked; less of it at once may fit."""

    exit_code = 4
