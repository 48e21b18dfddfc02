"""What a sweep would do: ``esdseg sweep FILE.yml --dry-run``."""

from typing import TYPE_CHECKING

from esdseg.cli.output import counted, duration, print_json, print_line, print_table
from esdseg.cli.sweep_progress import words

if TYPE_CHECKING:
    from esdseg.sweeping.spec import Sweep


def print_plan(search: "Sweep", workers: int, json: bool) -> None:
    """Print the space, the number of trials, and an estimate of the time."""
    from esdseg.errors import ESDSegError
    from esdseg.sweeping.estimate import estimate

    size = search.size()
    trials = search.trials if size is None else min(size, search.trials or size)
    measured, reason = None, None
    try:
        measured = estimate(search)
    except ESDSegError as error:
        reason = str(error)
    seconds = measured.sweep_seconds(trials, workers) if measured and trials else None
    if json:
        print_json(
            {
                "name": search.name,
                "method": search.method,
                "metric": search.metric.name,
                "goal": search.metric.goal,
                "parameters": {one: str(parameter) for one, parameter in search.parameters.items()},
                "fixed": dict(search.fixed),
                "points": size,
                "trials": trials,
                "step_seconds": measured.step_seconds if measured else None,
                "trial_seconds": measured.trial_seconds if measured else None,
                "seconds": seconds,
                "no_estimate_because": reason,
            }
        )
        return
    rows = [(one, str(parameter)) for one, parameter in search.parameters.items()]
    rows += [(one, f"always {words(value)}") for one, value in search.fixed.items()]
    highest = "highest" if search.metric.goal == "maximize" else "lowest"
    print_table(
        f"{search.name}: {search.method} search for the {highest} {search.metric.name}",
        ("setting", "values"),
        rows,
        texts=("values",),
    )
    points = "" if size is None else f" of {counted(size, 'point')}"
    print_line(f"Trials:   {trials if trials else 'without end: give run_cap or --count'}{points}")
    if search.termination:
        eta = search.termination.eta
        first = counted(search.termination.min_epochs, "epoch")
        print_line(f"Stopping: after {first}, and each {eta} times as many, the best 1/{eta} go on")
    if measured is None:
        print_line(f"Time:     not estimated: {reason}")
        return
    print_line(
        f"Time:     about {duration(measured.trial_seconds)} a trial"
        + (f", {duration(seconds)} in all" if seconds else "")
        + f" with {counted(workers, 'worker')}, if none is stopped early ({measured.steps} steps an epoch of "
        f"{measured.step_seconds:.3f} s, {measured.epochs:g} epochs)"
    )
