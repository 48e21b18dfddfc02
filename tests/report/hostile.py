"""Names that would run as script if the page let them."""

import json
from pathlib import Path

from PIL import Image

HOSTILE_RUN = (
    "</title></style></script><script>document.title = 'run'</script>"
    "\"'><svg onload=\"document.title = 'x'\">"
)
HOSTILE_TILE = "\"><img src=x onerror=\"document.title = 'tile'\">'{{ 7 * 7 }}"
"""A folder may have this name: it has no slash."""


def make_hostile(folder: Path) -> Path:
    """Give run, tile, settings, notes, origin and a picture's caption names that are hostile."""
    path = folder / "metrics.json"
    text = path.read_text()
    text = text.replace('"Tile1"', json.dumps(HOSTILE_TILE))
    for plain in (
        '"made-up"',
        '"checkpoints/a/best.ckpt"',
        '"data/processed/4x4"',
        '"2.15.0"',
        '"1/2"',
        '"val"',
        '"inner tiles of the fold"',
    ):
        text = text.replace(plain, json.dumps(HOSTILE_RUN))
    metrics = json.loads(text)
    metrics |= {"checkpoint": HOSTILE_RUN, "model": HOSTILE_RUN, "notes": [HOSTILE_RUN]}
    metrics["training_config"] = {HOSTILE_RUN: HOSTILE_RUN}
    path.write_text(json.dumps(metrics))
    (folder / "config.yml").write_text(f"name: {HOSTILE_RUN}\n")
    tile = (folder / "Tile1").rename(folder / HOSTILE_TILE)
    with Image.open(tile / "satellite.jpg") as picture:
        picture.load()
    picture.save(tile / "satellite.jpg", comment=HOSTILE_RUN.encode())
    return folder
