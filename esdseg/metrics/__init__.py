"""Scores over label cells, as pure functions on pooled counts; their shell, ``segmentation``, needs torch."""
