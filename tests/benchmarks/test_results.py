import json
from pathlib import Path

import pytest

from benchmarks.measuring import Stopwatch, Timing, side_by_side
from benchmarks.results import amount, times_faster, times_longer, write_rows

SLOW, FAST = Timing(wall=6.0, cpu=4.0), Timing(wall=2.0, cpu=1.0)


def test_ratios_say_how_many_times_as_long_or_as_fast() -> None:
    longer = times_longer("preprocessing", "a tile", SLOW, "floor", FAST, 2)
    assert (longer.ratio, longer.cpu_ratio, longer.reached) == (3, 4, False)
    faster = times_faster("training", "a step", FAST, "course", SLOW, 2)
    assert (faster.ratio, faster.cpu_ratio, faster.reached) == (3, 4, True)
    assert amount("preprocessing", "disk", "MB", 45, 64).reached
    assert amount("preprocessing", "disk", "MB", 254, None).reached is None


def test_rows_of_other_steps_are_kept_and_those_measured_again_replaced(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_rows(path, "old", [amount("a", "x", "MB", 1, 2), amount("b", "y", "MB", 1, 2)])
    write_rows(path, "new", [amount("a", "z", "MB", 3, 2)])
    rows = json.loads(path.read_text())["rows"]
    assert [(row["machine"], row["what"], row["reached"]) for row in rows] == [
        ("old", "y", True),
        ("new", "z", False),
    ]


def test_ways_take_turns_after_one_run_that_is_not_timed() -> None:
    told: list[str] = []
    timings = side_by_side({"a": lambda: told.append("a"), "b": lambda: told.append("b")}, 2)
    assert told == ["a", "b"] * 3
    assert set(timings) == {"a", "b"}


def test_a_timing_is_the_median_of_its_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 1.0, 8.0, 8.0, 10.0])
    monkeypatch.setattr("benchmarks.measuring.time.perf_counter", lambda: next(clock))
    watch = Stopwatch()
    for _ in range(3):
        with watch:
            pass
    assert (watch.repetitions, watch.timing().wall) == (3, 2.0)
