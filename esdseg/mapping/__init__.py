"""From checkpoints and an area to maps: prediction over any extent, and what is written of it."""
