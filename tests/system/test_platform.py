"""Systems that esdseg runs on."""

import subprocess
import sys

IMPORT_AS_ON_WINDOWS = """
import sys
sys.platform = "win32"
try:
    import esdseg
except ImportError as error:
    print(error)
"""


def test_an_import_on_windows_says_that_esdseg_does_not_run_there() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", IMPORT_AS_ON_WINDOWS], capture_output=True, text=True, check=True
    )
    assert len(shown.stdout.splitlines()) == 1
    assert "runs on Linux and macOS, not on Windows" in shown.stdout
