"""Thinning a resampled image back to about the native pixels of its sensor."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, PIXEL_SIZE_M

FEWEST_PIXELS_PER_CELL = 10
"""Coarser bands are not thinned further: their pixels do not line up with the cells, and each must be met."""


@dataclass(frozen=True)
class PixelGrid:
    """Some channels of an image at one spacing: each by itself, or every band summarised over its dates.

    Attributes:
        channels: Position in the image of each channel; of a summary, that of the band's first date, whose
            scale the summary has.
        pixels_per_cell: Pixels along each side of a label cell, 1 to 50.
        dates: Positions of the dates of every band, as many for each; see :func:`summarise_dates`. Empty
            where nothing is summarised.
    """

    channels: tuple[int, ...]
    pixels_per_cell: int
    dates: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def over_dates(cls, dates: Sequence[Sequence[int]], pixels_per_cell: int) -> "PixelGrid":
        """Return the grid of bands that are summarised over their dates.

        Args:
            dates: Positions of the dates of every band. A band with fewer dates than another one counts its
                first date again.
            pixels_per_cell: Pixels along each side of a label cell.
        """
        most = max(map(len, dates))
        filled = tuple((*own, *[own[0]] * (most - len(own))) for own in dates)
        firsts = tuple(own[0] for own in filled)
        return cls(firsts * min(most, 3), pixels_per_cell, filled if most > 1 else ())

    @property
    def sources(self) -> tuple[int, ...]:
        """Positions of all channels that are read, each once."""
        positions = (position for own in self.dates for position in own) if self.dates else self.channels
        return tuple(dict.fromkeys(positions))

    @property
    def pixels_per_tile(self) -> int:
        """Pixels along each side of a tile."""
        return GRID_SIZE * self.pixels_per_cell

    def missing_channels(self, missing: Tensor) -> Tensor:
        """Return which of these channels have no data (N, c), given that (N, C) of an image's channels.

        A summary has none where all dates of its band are missing.
        """
        if not self.dates:
            return missing[:, list(self.channels)]
        summaries = len(self.channels) // len(self.dates)
        return missing[:, torch.tensor(self.dates)].all(dim=2).repeat(1, summaries)

    def among(self, positions: Sequence[int]) -> "PixelGrid":
        """Return the grid for images that hold the channels at ``positions`` alone, in that order."""
        new = {position: index for index, position in enumerate(positions)}
        dates = tuple(tuple(new[position] for position in own) for own in self.dates)
        return PixelGrid(tuple(new[position] for position in self.channels), self.pixels_per_cell, dates)

    def sample(self, image: Tensor) -> Tensor:
        """Return these channels of images (N, C, 50k, 50k), thinned to (N, c, pk, pk) by nearest neighbour.

        Rasters are resampled by nearest neighbour, so nothing is lost that a coarser sensor saw. Every cell
        is thinned alike: the pixels of a part of a tile are that part of the tile's pixels. The result may
        share the image's memory.
        """
        step, rest = divmod(CELL_SIZE_PX, self.pixels_per_cell)
        if rest == 0:
            # Thinned first: only what is left has to be copied.
            return self._summarise(self._choose(image[..., step // 2 :: step, step // 2 :: step]))
        # The pixel under the centre of each new one, in every cell alike.
        centres = (torch.arange(self.pixels_per_cell, device=image.device) + 0.5) / self.pixels_per_cell
        starts = torch.arange(0, image.shape[-1], CELL_SIZE_PX, device=image.device)
        pixels = (starts[:, None] + (centres * CELL_SIZE_PX).long()).flatten()
        return self._summarise(self._choose(image).index_select(-2, pixels).index_select(-1, pixels))

    def spread(self, pixels: Tensor) -> Tensor:
        """Spread pixels (N, c, pk, pk) of :meth:`sample` to (N, c, 50k, 50k) by nearest neighbour."""
        if self.pixels_per_cell == CELL_SIZE_PX:
            return pixels
        cells = pixels.shape[-1] // self.pixels_per_cell
        centres = (torch.arange(CELL_SIZE_PX * cells, device=pixels.device) + 0.5) / CELL_SIZE_PX
        nearest = (centres * self.pixels_per_cell).long()
        return pixels.index_select(-2, nearest).index_select(-1, nearest)

    def _choose(self, image: Tensor) -> Tensor:
        # Date by date, all bands of a date together.
        chosen = tuple(itertools.chain(*zip(*self.dates, strict=True))) or self.channels
        first, end = chosen[0], chosen[-1] + 1
        if chosen == tuple(range(first, end)):
            return image[:, first:end]
        return image[:, list(chosen)]

    def _summarise(self, image: Tensor) -> Tensor:
        if not self.dates:
            return image
        return summarise_dates(torch.unflatten(image, 1, (-1, len(self.dates))))


def summarise_dates(image: Tensor) -> Tensor:
    """Return the lowest, the median and the highest value of every pixel over the dates on which it has data.

    Args:
        image: Values (N, dates, bands, H, W) of two dates or more; NaN is no data.

    Returns:
        Values (N, 3 bands, H, W): the lowest of every band, the medians, the highest. Of two dates the lowest
        and the highest alone, (N, 2 bands, H, W), since their median is the mean of both. NaN where no date
        has data.
    """
    is_missing = torch.isnan(image)
    known = image.shape[1] - is_missing.sum(dim=1)
    # Exchanging neighbours sorts so few dates several times faster than a general sort; no data comes last.
    ordered = list(torch.where(is_missing, torch.inf, image).unbind(dim=1))
    count = len(ordered)
    for turn in range(count):
        for place in range(turn % 2, count - 1, 2):
            first, second = ordered[place], ordered[place + 1]
            ordered[place], ordered[place + 1] = torch.minimum(first, second), torch.maximum(first, second)
    lowest, median, highest = ordered[0], _middle(ordered), ordered[-1]
    for fewer in range(1, count):
        is_so_many = known == fewer
        median = torch.where(is_so_many, _middle(ordered[:fewer]), median)
        highest = torch.where(is_so_many, ordered[fewer - 1], highest)
    summaries = [lowest, median, highest] if count > 2 else [lowest, highest]
    return torch.cat([torch.where(known == 0, torch.nan, values) for values in summaries], dim=1)


def _middle(ordered: Sequence[Tensor]) -> Tensor:
    lower, upper = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    # Halved first, for half precision ends at 65504.
    return lower if lower is upper else lower / 2 + upper / 2


def whole_image(n_channels: int) -> PixelGrid:
    """Return the grid that takes all of an image."""
    return PixelGrid(tuple(range(n_channels)), CELL_SIZE_PX)


def pixels_per_cell(channel: Channel) -> int:
    """Return how many pixels of a channel lie along a label cell: 25 at 20 m, 17 at 30 m, 50 at most."""
    band = channel.sensor_band or channel.sensor.all_bands[0]
    size_m = band.read_at_m or band.native_size_m
    native = round(CELL_SIZE_PX * PIXEL_SIZE_M / size_m)
    return min(max(FEWEST_PIXELS_PER_CELL, native), CELL_SIZE_PX)


def native_grids(channels: Sequence[Channel]) -> tuple[PixelGrid, ...]:
    """Return grids that hold all channels of an image, each at its own spacing: a third of the pixels.

    Args:
        channels: The C channels of the image.
    """
    groups: dict[int, list[int]] = {}
    for position, channel in enumerate(channels):
        groups.setdefault(pixels_per_cell(channel), []).append(position)
    return tuple(PixelGrid(tuple(positions), spacing) for spacing, positions in groups.items())


def summary_grids(channels: Sequence[Channel], *, of_light: bool) -> tuple[PixelGrid, ...]:
    """Return a grid for each sensor and spacing, of bands summarised over dates.

    Args:
        channels: The channels of the images.
        of_light: Whether the sensors of night light are meant, or all others. Projections over nights have a
            grid of their own.
    """
    groups: dict[tuple[str, int, bool], dict[str, list[int]]] = {}
    for position, channel in enumerate(channels):
        if (channel.sensor.kind == "night_light") == of_light:
            spacing = FEWEST_PIXELS_PER_CELL if of_light else pixels_per_cell(channel)
            bands = groups.setdefault((channel.sensor.name, spacing, channel.place is None), {})
            bands.setdefault(channel.band, []).append(position)
    return tuple(
        PixelGrid.over_dates(tuple(bands.values()), spacing) for (_, spacing, _), bands in groups.items()
    )


def whole_image_of(pixels: Sequence[Tensor], grids: Sequence[PixelGrid]) -> Tensor:
    """Return images (N, C, 50k, 50k) of the pixels (N, c, pk, pk) that grids took, by nearest neighbour.

    Args:
        pixels: What :meth:`PixelGrid.sample` returned.
        grids: The grids, which together hold each channel once.
    """
    fine = [grid.spread(part) for part, grid in zip(pixels, grids, strict=True)]
    held = [position for grid in grids for position in grid.channels]
    order = sorted(range(len(held)), key=held.__getitem__)
    image = torch.cat(fine, dim=1) if len(fine) > 1 else fine[0]
    return image if order == list(range(len(held))) else image[:, order]
