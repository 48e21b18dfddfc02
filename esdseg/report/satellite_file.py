"""``satellite.jpg``: the satellite picture of a tile, kept beside its maps with its sensor and date."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from esdseg.errors import InputDataError
from esdseg.report.satellite import SatellitePicture
from esdseg.sensors.classes import TILE_SIZE_PX
from esdseg.system.files import write_whole

SATELLITE_NAME = "satellite.jpg"
QUALITY = 88


def write_satellite(folder: Path, picture: SatellitePicture | None) -> Path | None:
    """Write ``satellite.jpg`` of 800 x 800 px, with the caption as the file's comment.

    Args:
        folder: The tile's folder.
        picture: What to write; without one, a file of an earlier call is removed.
    """
    path = folder / SATELLITE_NAME
    if picture is None:
        path.unlink(missing_ok=True)
        return None
    image, comment = Image.fromarray(picture.rgb), picture.caption.encode()
    return write_whole(
        path, lambda part: image.save(part, format="JPEG", quality=QUALITY, optimize=True, comment=comment)
    )


def read_satellite(folder: Path) -> SatellitePicture | None:
    """Read ``satellite.jpg``; ``None`` where the tile has none.

    Raises:
        InputDataError: The file is no such picture.
    """
    path = folder / SATELLITE_NAME
    try:
        with Image.open(path) as image:
            comment = image.info.get("comment", b"")
            rgb = np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        return None
    except (UnidentifiedImageError, OSError) as error:
        raise InputDataError(
            f"{path} cannot be read ({error}); make it anew with `esdseg evaluate`."
        ) from None
    if rgb.shape != (TILE_SIZE_PX, TILE_SIZE_PX, 3):
        height, width = rgb.shape[:2]
        raise InputDataError(
            f"{path} is of {width} x {height} px, not {TILE_SIZE_PX} x {TILE_SIZE_PX}; make it anew with "
            "`esdseg evaluate`."
        )
    return SatellitePicture(rgb, comment.decode(errors="replace"))
