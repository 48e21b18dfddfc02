"""Prediction of whole tiles, their scores with error bars and baselines, maps, pictures and the report."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esdseg.evaluation.comparing import compare
    from esdseg.evaluation.comparison import Comparison
    from esdseg.evaluation.evaluating import evaluate
    from esdseg.evaluation.reporting import make_report
    from esdseg.evaluation.restitching import restitch
    from esdseg.evaluation.results import EvaluationResult, RestitchResult, TileMaps
    from esdseg.evaluation.score_table import ScoreTable, build_score_table

__all__ = [
    "Comparison",
    "EvaluationResult",
    "RestitchResult",
    "ScoreTable",
    "TileMaps",
    "build_score_table",
    "compare",
    "evaluate",
    "make_report",
    "restitch",
]

_HOMES = {
    "Comparison": "comparison",
    "EvaluationResult": "results",
    "RestitchResult": "results",
    "ScoreTable": "score_table",
    "TileMaps": "results",
    "build_score_table": "score_table",
    "compare": "comparing",
    "evaluate": "evaluating",
    "make_report": "reporting",
    "restitch": "restitching",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module when it is first asked for: not all that is here needs torch."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
