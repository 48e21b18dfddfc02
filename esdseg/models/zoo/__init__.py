"""Networks of segmentation_models.pytorch by name, on the label grid: building and weights."""
