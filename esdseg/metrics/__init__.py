"""Scores over label cells as pure functions, and the scorecard of a run; ``segmentation`` needs torch."""
