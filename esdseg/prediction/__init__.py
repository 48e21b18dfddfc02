"""From checkpoints and tiles to the class probabilities of label cells, and to maps as GeoTIFFs."""
