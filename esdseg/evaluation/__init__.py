"""Prediction of whole tiles, their scores with error bars and baselines, maps, pictures and the report."""

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
