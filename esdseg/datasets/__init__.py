"""Subtiles of a processed store as batches for training and prediction, and their augmentation."""
