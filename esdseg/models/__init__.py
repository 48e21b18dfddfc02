"""The networks and their registry, the layer that normalises images before them, and their checkpoints."""
