"""How much of what a network looks at a tile has, and where that is too little for a map."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE

MIN_CHANNEL_SHARE = 0.3
"""Share of a network's channels below which a cell is no data in a map.

Measured by taking random dates of all sensors from the demo's network, on 8 sample tiles that it never saw.
With 30 to 40 % of the channels its contest F1 is 0.61, with 20 to 30 % it is 0.49, and class 1 everywhere
scores 0.56; with all channels it is 0.86. The mean confidence stays near 0.9 and gives no warning.
docs/own-sensors.md has the table.
"""


def measure_channel_share(image: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return the share of the channels that hold any valid pixel in each label cell.

    Args:
        image: A tile (C, 800, 800), or cells (C, 50 * rows, 50 * columns), with the channels of one network;
            NaN is no data.

    Returns:
        Shares (16, 16), or (rows, columns), 0 to 1.
    """
    rows, columns = image.shape[1] // CELL_SIZE_PX, image.shape[2] // CELL_SIZE_PX
    cells = image.reshape(len(image), rows, CELL_SIZE_PX, columns, CELL_SIZE_PX)
    # One pixel tells of most cells that there is data; the others are looked at whole.
    middle = CELL_SIZE_PX // 2
    has_data = ~np.isnan(cells[:, :, middle, :, middle])
    for channel in np.flatnonzero(~has_data.all(axis=(1, 2))):
        has_data[channel] = (~np.isnan(cells[channel])).any(axis=(1, 3))
    return has_data.mean(axis=0, dtype=np.float32)


def leave_out_unseen(
    probabilities: npt.NDArray[np.float32], channel_share: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return probabilities (4, rows, columns), NaN where :data:`MIN_CHANNEL_SHARE` is not reached."""
    return np.where(channel_share < MIN_CHANNEL_SHARE, np.float32(np.nan), probabilities)


def show_share(share: float) -> str:
    """Return a share as ``92 %``, never rounded to all or nothing."""
    return f"{100 * share:.0f} %" if share in (0, 1) else f"{min(max(100 * share, 1), 99):.0f} %"


def channel_note(shares: Mapping[str, tuple[float, int]]) -> str:
    """Say whether tiles have all channels, and where they have too few for a map.

    Args:
        shares: Of each tile the share of the network's channels, and how many of its cells are mapped.
    """
    partial = [tile for tile, (share, _) in shares.items() if share < 1]
    if not partial:
        return "Every tile has all channels that the network takes."
    blind = [tile for tile, (_, cells) in shares.items() if cells == 0]
    holed = [tile for tile, (_, cells) in shares.items() if 0 < cells < GRID_SIZE**2]
    told = f"{len(partial)} of {len(shares)} tiles lack channels that the network takes, or parts of them"
    where = f"where less than {show_share(MIN_CHANNEL_SHARE)} of the channels hold data"
    if blind:
        told += f"; no data (code 0) everywhere in {', '.join(blind)}"
    if holed:
        told += f"; no data (code 0) in cells of {', '.join(holed)}"
    return f"{told}, {where}." if blind or holed else f"{told}."
