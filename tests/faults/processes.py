"""Starting, killing and waiting for real ``esdseg`` processes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
STOPPED = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
"""The exit code that each signal gives."""


@dataclass(frozen=True)
class Ended:
    """An ended process: its exit code, negative for a signal that ended it, and what it wrote."""

    code: int
    output: str
    log: str


class Running:
    """A running ``esdseg`` process, the first of its own session."""

    def __init__(self, server: "Preloaded", pid: int, output: Path, log: Path) -> None:
        self.pid = pid
        self._server = server
        self._output = output
        self._log = log

    def wait_until_stopped(self) -> None:
        """Wait until SIGSTOP has halted it."""
        deadline = time.monotonic() + 120
        while _state(self.pid) != "T":
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.02)

    def go_on(self) -> None:
        """Let it go on after SIGSTOP."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> Ended:
        """Wait for the end, and see that no process of it is left."""
        code = self._server.ask({"wait": self.pid})["code"]
        deadline = time.monotonic() + 20
        while left := session_members(self.pid):
            assert time.monotonic() < deadline, f"processes {left} outlive their parent"
            time.sleep(0.02)
        return Ended(code, self._output.read_text(), self._log.read_text())


class Preloaded:
    """Starts ``esdseg`` processes from one that has the libraries loaded: see :mod:`tests.faults.server`."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._sessions: list[int] = []
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            cwd=REPOSITORY,
            env={**without_login(), **THREADS, "WANDB_MODE": "disabled"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def ask(self, request: dict[str, object]) -> dict[str, int]:
        """Send a request and return the answer."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, int]:
        assert self._server.stdout is not None
        answer: dict[str, int] = json.loads(self._server.stdout.readline())
        return answer

    def start(
        self,
        folder: Path,
        *arguments: object,
        kill_before: int = 0,
        number: int = signal.SIGKILL,
        count: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> Running:
        """Start ``esdseg`` in a folder.

        Args:
            folder: Where.
            arguments: Of the command line.
            kill_before: The change to the folder before which the process gets a signal; 0 for none.
            number: That signal.
            count: A file for the number of changes.
            environment: Variables to add.
        """
        position = len(self._sessions) + 1
        output, log = (self._scratch / f"{name}-{position}.txt" for name in ("output", "log"))
        wanted = {
            "folder": str(folder),
            "arguments": [str(one) for one in arguments],
            "environment": environment or {},
            "output": str(output),
            "log": str(log),
            "kill_before": kill_before,
            "signal": int(number),
            "count": str(count) if count else None,
        }
        pid = self.ask({"start": wanted})["pid"]
        self._sessions.append(pid)
        return Running(self, pid, output, log)

    def run(self, folder: Path, *arguments: object, count: Path | None = None) -> Ended:
        """Run ``esdseg`` undisturbed and fail unless it succeeds."""
        ended = self.start(folder, *arguments, count=count).wait()
        assert ended.code == 0, f"{arguments}\n{ended.output}\n{ended.log}"
        return ended

    def close(self) -> None:
        """End the server, and what a failed test left of its processes."""
        for session in self._sessions:
            for pid in session_members(session):
                os.kill(pid, signal.SIGKILL)
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()


def without_login() -> dict[str, str]:
    """Return this process' environment without what is meant for Weights & Biases."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}


def session_members(session: int) -> list[int]:
    """Return the processes of a session that still live."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            members.append(int(path.parent.name))
    return members


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@dataclass
class Undisturbed:
    """How a command goes when nothing disturbs it.

    Attributes:
        folder: What it left.
        seconds: How long it took.
        changes: How many changes to its folder it made.
    """

    folder: Path
    seconds: float
    changes: int


def run_undisturbed(server: Preloaded, folder: Path, command: Callable[[Path], list[object]]) -> Undisturbed:
    """Run a command to its end and measure it."""
    count = folder.with_name(f"{folder.name}-changes")
    start = time.monotonic()
    server.run(folder, *command(folder), count=count)
    return Undisturbed(folder, time.monotonic() - start, int(count.read_text()))


@dataclass
class Killer:
    """Runs a command, kills it at random moments, and runs it again until it gets to its end.

    Attributes:
        server: Starts the processes.
        command: Returns the arguments of the next attempt in a folder.
        undisturbed: How the command goes otherwise.
        random: Chooses moments; signals take turns.
        most: Kills of one run after which it is left in peace.
        kills: How many attempts were killed so far, by signal.
    """

    server: Preloaded
    command: Callable[[Path], list[object]]
    undisturbed: Undisturbed
    random: random.Random
    most: int
    kills: dict[int, int]
    _attempts: int = 0

    def run_to_the_end(self, folder: Path) -> None:
        """Run the command in a folder; it is killed ``most`` times at most."""
        for _ in range(self.most):
            if self._attempt(folder):
                return
        ended = self.server.start(folder, *self.command(folder)).wait()
        assert ended.code == 0 or _has_nothing_to_do(ended), ended

    def _attempt(self, folder: Path) -> bool:
        """Run the command once, kill it, and say whether it was done before."""
        number = list(STOPPED)[self._attempts % len(STOPPED)]
        self._attempts += 1
        arguments = self.command(folder)
        if self.random.random() < 0.5:
            before = self.random.randint(1, self.undisturbed.changes)
            where = f"{signal.Signals(number).name} before change {before} of {self.undisturbed.changes}"
            running = self.server.start(folder, *arguments, kill_before=before, number=number)
        else:
            delay = self.random.uniform(0, self.undisturbed.seconds)
            where = f"{signal.Signals(number).name} after {delay:.2f} of {self.undisturbed.seconds:.2f} s"
            running = self.server.start(folder, *arguments)
            time.sleep(delay)
            # An ended process that nobody has waited for takes signals without harm.
            os.kill(running.pid, number)
        ended = running.wait()
        told = f"{where} of esdseg {' '.join(map(str, arguments))}: {ended}"
        assert "Traceback" not in ended.log, told
        if ended.code == 0 or _has_nothing_to_do(ended):
            return True
        assert ended.code in (STOPPED[number], -number), told
        self.kills[number] += 1
        return False


def _has_nothing_to_do(ended: Ended) -> bool:
    """Say whether a run was finished already, by an attempt that was killed just before its end."""
    return ended.code == 2 and "is finished" in ended.log
