"""``python -m tests.fuzzing TARGET [RUNS]``: try inputs that libFuzzer invents, until one fails.

More of libFuzzer's options may follow, such as ``-seed=1`` or ``-max_total_time=60``.
"""

import resource
import sys
import tempfile
from pathlib import Path

LONGEST_BYTES = 4096
SLOWEST_SECONDS = 20
"""An input that takes longer is a fault too: it would keep a command from ever ending."""
MOST_MEGABYTES = 1024
"""An input that takes more memory is one as well."""


def main() -> None:
    """Fuzz the target that the command line names."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris, the fuzzer, is not installed; it exists for CPython 3.11 to 3.13 on Linux x86-64.")
    with atheris.instrument_imports(include=["esdseg", "yaml"]):
        from tests.fuzzing.targets import TARGETS

    # Linux counts the memory of the process that started this one, such as that of the tests, as its peak.
    inherited_megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    name, *options = sys.argv[1:] or [""]
    if name not in TARGETS:
        sys.exit(f"Name what to fuzz: {', '.join(TARGETS)}.")
    target = TARGETS[name]
    if options and options[0].isdigit():
        options[0] = f"-runs={options[0]}"
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(target.seeds()):
            (corpus / str(number)).write_bytes(seed)
        words = Path(folder) / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words()))
        arguments = [
            *(
                sys.argv[0],
                f"-runs={target.runs}",
                f"-max_len={LONGEST_BYTES}",
                f"-timeout={SLOWEST_SECONDS}",
                f"-rss_limit_mb={inherited_megabytes + MOST_MEGABYTES}",
            ),
            *(
                f"-dict={words}",
                f"-artifact_prefix={tempfile.gettempdir()}/esdseg-{name}-",
                "-print_final_stats=1",
            ),
            *(*options, str(corpus)),
        ]
        atheris.Setup(arguments, target.run)
        atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(one if one.isalnum() else f"\\x{ord(one):02x}" for one in word)


if __name__ == "__main__":
    main()
