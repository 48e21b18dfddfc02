"""Sweeps as Weights & Biases steers them: which point is next, and which runs hyperband stops."""

import itertools
import math
import random
import time
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import yaml

from tests.wandb_server.graphql import RefusedError

Path = tuple[str, ...]
"""The keys of a parameter from the root: nested ones have several."""


def entries_of(parameters: Any, prefix: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every parameter with its path, nested ones too."""
    for name, entry in (parameters or {}).items():
        if not isinstance(entry, dict):
            raise RefusedError(400, f"Invalid sweep config: invalid hyperparameter configuration: {name}")
        if "parameters" in entry:
            yield from entries_of(entry["parameters"], (*prefix, name))
        else:
            yield (*prefix, name), entry


def distribution_of(entry: dict[str, Any]) -> str:
    """Return the distribution that W&B takes where none is named."""
    if "distribution" in entry:
        return str(entry["distribution"])
    if "value" in entry:
        return "constant"
    if "values" in entry:
        return "categorical_w_probabilities" if "probabilities" in entry else "categorical"
    if "min" in entry and "max" in entry:
        whole = isinstance(entry["min"], int) and isinstance(entry["max"], int)
        return "int_uniform" if whole else "uniform"
    return "normal" if "mu" in entry else "?"


def draw(entry: dict[str, Any], rng: random.Random) -> Any:
    """Draw a value of a parameter."""
    kind = distribution_of(entry)
    if kind == "constant":
        return entry["value"]
    if kind == "categorical":
        return rng.choice(entry["values"])
    if kind == "categorical_w_probabilities":
        return rng.choices(entry["values"], entry["probabilities"])[0]
    if kind == "int_uniform":
        return rng.randint(entry["min"], entry["max"])
    plain = kind.removeprefix("q_").removeprefix("inv_")
    low: Any = entry.get("min")
    high: Any = entry.get("max")
    value: Any
    if plain == "uniform":
        value = rng.uniform(low, high)
    elif plain == "log_uniform_values":
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
    elif plain == "log_uniform":
        value = math.exp(rng.uniform(low, high))
    elif plain in ("normal", "log_normal"):
        value = NormalDist(entry.get("mu", 0), entry.get("sigma", 1)).inv_cdf(rng.uniform(1e-9, 1 - 1e-9))
        value = math.exp(value) if plain == "log_normal" else value
    elif plain == "beta":
        value = rng.betavariate(entry["a"], entry["b"])
    else:
        raise RefusedError(400, f"Invalid sweep config: unknown distribution {kind}")
    if kind.startswith("q_"):
        q = entry.get("q", 1)
        value = round(value / q) * q
        value = int(value) if isinstance(q, int) else value
    return value


def positions(entry: dict[str, Any]) -> list[Any] | None:
    """Return all values of a parameter for a grid, or ``None`` where they cannot be listed."""
    kind = distribution_of(entry)
    if kind == "constant":
        return [entry["value"]]
    if kind.startswith("categorical"):
        return list(entry["values"])
    if kind == "int_uniform":
        return list(range(entry["min"], entry["max"] + 1))
    if kind == "q_uniform":
        q = entry.get("q", 1)
        steps = range(round(entry["min"] / q), round(entry["max"] / q) + 1)
        return [step * q for step in steps]
    return None


class Sweep:
    """A sweep, its configuration and its runs."""

    def __init__(self, identity: str, project: str, text: str, seed: int) -> None:
        self.id, self.project, self.rng = identity, project, random.Random(f"{seed}-{identity}")
        self.state, self.created = "PENDING", time.time()
        self.runs: list[Any] = []
        self.stopping: set[str] = set()
        self.bands: dict[int, dict[str, float]] = {}
        self.forced: list[dict[str, Any]] = []
        self.update(text)

    def update(self, text: str) -> None:
        config = yaml.safe_load(text)
        if not isinstance(config, dict):
            raise RefusedError(400, "Invalid sweep config: not a mapping")
        if config.get("method") not in ("grid", "random", "bayes", "custom"):
            raise RefusedError(400, f"Invalid sweep config: invalid method: {config.get('method')}")
        self.entries = dict(entries_of(config.get("parameters")))
        if not self.entries:
            raise RefusedError(400, "Invalid sweep config: no parameters")
        if config["method"] == "bayes" and not (config.get("metric") or {}).get("name"):
            raise RefusedError(400, "Invalid sweep config: metric.name is required for bayes")
        for path, entry in self.entries.items():
            name = ".".join(map(str, path))
            if config["method"] == "grid" and positions(entry) is None:
                raise RefusedError(400, f"Invalid sweep config: {name}: grid search needs values")
            draw(entry, random.Random(0))  # Refuses what it does not know.
        self.text, self.config = text, config
        if config["method"] == "grid":
            self.grid = itertools.product(*(positions(entry) or [] for entry in self.entries.values()))

    def next_point(self) -> dict[Path, Any] | None:
        """Return the arguments of the next run, or ``None`` when there are no more."""
        cap = self.config.get("run_cap")
        if cap is not None and len(self.runs) >= cap:
            return None
        if self.config["method"] == "grid":
            values = next(self.grid, None)
            if values is None:
                return None
            point = dict(zip(self.entries, values, strict=True))
        else:
            point = {path: draw(entry, self.rng) for path, entry in self.entries.items()}
            best = self.best() if self.config["method"] == "bayes" else None
            if best is not None:
                point = {path: self._near(path, value, best.point) for path, value in point.items()}
        forced = self.forced.pop(0) if self.forced else {}
        return {path: forced.get(".".join(map(str, path)), value) for path, value in point.items()}

    def _near(self, path: Path, value: Any, best: dict[Path, Any]) -> Any:
        """Move a drawn value half the way to the best run's."""
        number = isinstance(value, float) and isinstance(best.get(path), float)
        if number and not distribution_of(self.entries[path]).startswith("q_"):
            if value > 0 and best[path] > 0:
                return math.sqrt(value * best[path])
            return (value + best[path]) / 2
        return best.get(path, value) if self.rng.random() < 0.5 else value

    def metric(self) -> tuple[Any, int]:
        metric = self.config.get("metric") or {}
        return metric.get("name"), -1 if metric.get("goal", "minimize") == "maximize" else 1

    def best(self) -> Any:
        name, sign = self.metric()
        scored = [run for run in self.runs if isinstance(run.summary.get(name), (int, float))]
        return min(scored, key=lambda run: sign * run.summary[name], default=None)

    def judge(self, run: Any) -> None:
        """Stop a run by hyperband, as far as its logged values go."""
        rule = self.config.get("early_terminate") or {}
        name, sign = self.metric()
        if rule.get("type") != "hyperband" or name is None:
            return
        eta = rule.get("eta", 3)
        if "min_iter" in rule:
            bands: list[int] = []
            band = rule["min_iter"]
            while band <= 10_000:
                bands.append(band)
                band *= eta
        else:
            bands = [max(1, rule["max_iter"] // int(eta**k)) for k in range(1, rule.get("s", 1) + 1)]
        values = [row[name] for row in run.rows() if isinstance(row.get(name), (int, float))]
        for band in bands:
            seen = self.bands.setdefault(band, {})
            if len(values) < band or run.id in seen:
                continue
            value = seen[run.id] = min(sign * score for score in values[:band])
            ranked = sorted(seen.values())
            if value > ranked[max(0, math.ceil(len(ranked) / eta) - 1)]:
                self.stopping.add(run.id)
