"""Random changes to training batches: places, values, whole channels, and mixtures of samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from esdseg.config.training import AugmentationConfig
from esdseg.datasets.pixel_grid import PixelGrid
from esdseg.sensors.channels import Channel

KERNEL_RADIUS_SIGMAS = 3.0
"""Where the blur's kernel is cut off, in standard deviations."""

NIGHT_GLOW_SHARE = 0.5
"""Share of the samples whose nights get light."""

_RIGHT_TO_LEFT, _UP_TO_DOWN = (-1,), (-2,)


def augment_geometry(
    pixels: Sequence[Tensor],
    labels: Tensor,
    config: AugmentationConfig,
    generator: torch.Generator,
    memory_format: torch.memory_format = torch.preserve_format,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Flip and turn each sample of a batch at random, pixels and label together.

    Stored pixels are moved before they are normalised. The result is the same, and they have half as many
    bytes. The same copy brings their axes into ``memory_format``. Random numbers are drawn on the CPU, which
    so never waits for an accelerator.

    Args:
        pixels: Images of the same samples, one or several resolutions, each (N, C, H, W) with H = W; they may
            hold no data.
        labels: Their labels (N, h, w) with h = w.
        config: Probabilities.
        generator: On the CPU.
        memory_format: Order of the axes of new pixels in memory.

    Returns:
        New pixels and labels of the same shapes, types and device.
    """
    count = labels.shape[0]
    chances = torch.rand((count, 3), generator=generator).tolist()
    turns = torch.randint(1, 4, (count,), generator=generator).tolist()
    moved_pixels = tuple(torch.empty_like(grid, memory_format=memory_format) for grid in pixels)
    moved_labels = torch.empty_like(labels)
    for sample, (left_right, up_down, turn) in enumerate(chances):
        flips = (left_right < config.flip_probability, up_down < config.flip_probability)
        quarter_turns = turns[sample] if turn < config.quarter_turn_probability else 0
        for moved, grid in zip(moved_pixels, pixels, strict=True):
            moved[sample] = move(grid[sample], *flips, quarter_turns)
        moved_labels[sample] = move(labels[sample], *flips, quarter_turns)
    return moved_pixels, moved_labels


def augment_values(
    pixels: Sequence[Tensor], image_size_px: int, config: AugmentationConfig, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Blur samples of a batch, and add noise to them, at random.

    Args:
        pixels: Normalised images of the same samples, of one or several resolutions, each (N, C, H, W),
            floating point, without no data.
        image_size_px: Side of the images in raster pixels, in which the blur is measured.
        config: Probabilities and strengths.
        generator: On the CPU; the only source of randomness.

    Returns:
        Images of the same shapes, types and device; the same tensors where nothing happens to the batch.
    """
    count = pixels[0].shape[0]
    noise, blur = torch.rand((2, count), generator=generator).tolist()
    noise_seed = int(torch.randint(2**62, (1,), generator=generator))
    noisy = [sample for sample in range(count) if noise[sample] < config.noise_probability]
    blurred = [sample for sample in range(count) if blur[sample] < config.blur_probability]
    if not noisy and not blurred:
        return tuple(pixels)
    noise_generator = torch.Generator(pixels[0].device).manual_seed(noise_seed)
    changed = []
    for images in pixels:
        result = images.clone()
        for sample in blurred:
            sigma_px = config.blur_sigma_px * images.shape[-1] / image_size_px
            result[sample] = gaussian_blur(images[sample], sigma_px)
        if noisy:
            scale = config.noise_std * images.std(dim=(0, 2, 3), correction=0)[:, None, None]
            for sample in noisy:
                result[sample] += scale * torch.randn(
                    images.shape[1:], generator=noise_generator, device=images.device, dtype=images.dtype
                )
        changed.append(result)
    return tuple(changed)


def move(grid: Tensor, left_right: bool, up_down: bool, quarter_turns: int) -> Tensor:
    """Flip a grid and then turn it counter-clockwise.

    Args:
        grid: Values (..., S, S).
        left_right: Mirror left and right.
        up_down: Mirror top and bottom.
        quarter_turns: How many turns of 90 degrees, 0 to 3.
    """
    # A turn by 90 degrees is a mirroring and an exchange of the axes, so one pass over the values is enough.
    mirrored = left_right != (quarter_turns in (1, 2))
    upturned = up_down != (quarter_turns in (2, 3))
    axes = _RIGHT_TO_LEFT * mirrored + _UP_TO_DOWN * upturned
    moved = grid.flip(axes) if axes else grid
    return moved.transpose(-2, -1) if quarter_turns % 2 else moved


def gaussian_blur(image: Tensor, sigma_px: float) -> Tensor:
    """Smooth every channel with a Gaussian, cut off at three standard deviations.

    Args:
        image: Channels (C, H, W) without no data; both sides longer than the kernel's radius.
        sigma_px: Standard deviation in pixels.

    Returns:
        The smoothed image; beyond its edges it counts as mirrored at its outermost pixels.
    """
    channels, height, width = image.shape
    radius = min(math.ceil(KERNEL_RADIUS_SIGMAS * sigma_px), height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    kernel = (kernel / kernel.sum()).to(image.dtype).expand(channels, 1, 1, -1)
    padded = F.pad(image[None], (radius, radius, radius, radius), mode="reflect")
    rows = F.conv2d(padded, kernel, groups=channels)
    return F.conv2d(rows, kernel.transpose(-2, -1), groups=channels)[0]


Positions = tuple[int, ...]


@dataclass(frozen=True)
class SensorChannels:
    """Which channels of an image are missing together.

    Attributes:
        channels: Positions of a sensor's channels.
        dates: Positions of the channels of each of its acquisitions. Projections over nights belong to no
            acquisition.
    """

    channels: Positions
    dates: tuple[Positions, ...]


def sensors_of(channels: Sequence[Channel]) -> tuple[SensorChannels, ...]:
    """Group an image's channels by sensor, and by place within it."""
    sensors: dict[str, list[int]] = {}
    dates: dict[str, dict[object, list[int]]] = {}
    for position, channel in enumerate(channels):
        sensors.setdefault(channel.sensor.name, []).append(position)
        of_sensor = dates.setdefault(channel.sensor.name, {})
        if channel.place is not None:
            of_sensor.setdefault(channel.place, []).append(position)
    return tuple(
        SensorChannels(tuple(positions), tuple(map(tuple, dates[sensor].values())))
        for sensor, positions in sensors.items()
    )


def shuffle_places(
    pixels: Sequence[Tensor],
    channels: Sequence[Positions],
    sensors: Sequence[SensorChannels],
    config: AugmentationConfig,
    generator: torch.Generator,
) -> None:
    """Let the acquisitions of each sensor exchange their places in samples of a batch at random, in place.

    Args:
        pixels: Stored images of the same samples, of one or several resolutions, each (N, c, H, W).
        channels: For each of ``pixels``, the positions of its channels in the image. All places of a band are
            in the same one.
        sensors: The image's channels, by sensor and place.
        config: Probability of an exchange.
        generator: On the CPU.
    """
    if not config.place_shuffle:
        return
    draws = torch.rand(pixels[0].shape[0], generator=generator).tolist()
    for sample, draw in enumerate(draws):
        if draw >= config.place_shuffle:
            continue
        source = {position: position for sensor in sensors for position in sensor.channels}
        for sensor in sensors:
            order = torch.randperm(len(sensor.dates), generator=generator).tolist()
            for place, taken in zip(sensor.dates, order, strict=True):
                source |= dict(zip(place, sensor.dates[taken], strict=True))
        for grid, positions in zip(pixels, channels, strict=True):
            held = {position: index for index, position in enumerate(positions)}
            if len(held) < len(positions):
                continue  # Summaries over dates know no order.
            grid[sample] = grid[sample, [held[source[position]] for position in positions]]


def add_night_glow(
    pixels: Sequence[Tensor],
    grids: Sequence[PixelGrid],
    channels: Sequence[Channel],
    config: AugmentationConfig,
    generator: torch.Generator,
) -> None:
    """Add light to the nights of samples of a batch at random, in place.

    Airglow and moonlight brighten a whole tile nearly evenly, each night by another amount. The mean amount
    of a sample is drawn from an exponential distribution with the mean ``config.night_glow``. Each night gets
    this amount times a factor from an exponential distribution with the mean 1. Where nights are summarised,
    the lowest value gets the smallest factor and the highest value the largest. Projections over nights share
    one factor, so that none passes another.

    Args:
        pixels: Stored images of the same samples, of one or several resolutions, each (N, c, H, W). Values
            of night light are numbers of the raster over the scale of their conversion, or their
            ``log(1 + number)``.
        grids: For each of ``pixels``, which channels of the image it holds.
        channels: The channels of the image.
        config: The mean amount, in numbers of the raster.
        generator: On the CPU.
    """
    if not config.night_glow:
        return
    count = len(pixels[0])
    amount = torch.empty(count, 1).exponential_(1 / config.night_glow, generator=generator)
    amount *= torch.rand(count, 1, generator=generator) < NIGHT_GLOW_SHARE
    for images, grid in zip(pixels, grids, strict=True):
        held = [channels[position] for position in grid.channels]
        nights = [index for index, channel in enumerate(held) if channel.sensor.kind == "night_light"]
        if not nights:
            continue
        factors = torch.empty(count, len(nights)).exponential_(generator=generator)
        if grid.dates:
            # The grid holds the lowest value of every band, then the medians, then the highest values.
            by_summary = torch.unflatten(factors, 1, (-1, len(grid.dates)))
            factors = by_summary.sort(dim=1).values.flatten(1)
        projections = [place for place, index in enumerate(nights) if held[index].place is None]
        factors[:, projections] = factors[:, projections[:1]]
        scale = torch.tensor([held[index].sensor.conversion.scale for index in nights])
        glow = (amount * factors / scale)[:, :, None, None].to(images.device)
        is_log = torch.tensor([held[index].sensor.conversion.name == "log1p" for index in nights])
        stored = images[:, nights].float()
        lit = torch.where(
            is_log[:, None, None].to(images.device), torch.log1p(torch.expm1(stored) + glow), stored + glow
        )
        images[:, nights] = lit.to(images.dtype)


def jitter_bands(
    pixels: Sequence[Tensor],
    channels: Sequence[Positions],
    shift: Tensor,
    scale: Tensor,
    config: AugmentationConfig,
    generator: torch.Generator,
) -> None:
    """Give every channel of every sample a gain and an offset of its own, in place.

    Both are meant for normalised values, ``(x - shift) * scale``, and are applied to the stored ones. So no
    data stays NaN, and the normalisation still clips at a channel's limits.

    Args:
        pixels: Stored images of the same samples, of one or several resolutions, each (N, c, H, W).
        channels: For each of ``pixels``, the positions of its channels in the image.
        shift: What the normalisation takes off each of the C channels (C, 1, 1).
        scale: What it multiplies them by (C, 1, 1); 0 for a channel without spread, which stays as it is.
        config: Strengths.
        generator: On the CPU.
    """
    if not config.band_gain_std and not config.band_offset_std:
        return
    drawn = torch.randn((2, pixels[0].shape[0], *scale.shape), generator=generator).to(scale.device)
    gain = 1 + config.band_gain_std * drawn[0]
    offset = torch.where(scale > 0, config.band_offset_std * drawn[1] / scale, 0.0)
    offset += shift * (1 - gain)
    for grid, positions in zip(pixels, channels, strict=True):
        own = list(positions)
        grid.mul_(gain[:, own].to(grid.dtype)).add_(offset[:, own].to(grid.dtype))


def draw_missing(
    sensors: Sequence[SensorChannels], count: int, config: AugmentationConfig, generator: torch.Generator
) -> Tensor | None:
    """Draw which channels of each sample have no data.

    A missing date is drawn for each sample. A missing sensor is missing in the whole batch, so that batch
    normalisation never mixes samples with and without it.

    Args:
        sensors: The channels, by sensor and date.
        count: Samples N.
        config: Probabilities.
        generator: On the CPU.

    Returns:
        Whether a channel is missing (N, C), on the CPU; ``None`` where no channel of any sample is.
    """
    if not config.date_dropout and not config.sensor_dropout:
        return None
    missing = torch.zeros((count, sum(len(sensor.channels) for sensor in sensors)), dtype=torch.bool)
    if config.date_dropout:
        for sensor in sensors:
            _mark(missing, sensor.dates, config.date_dropout, generator)
    if config.sensor_dropout and len(sensors) > 1:
        chance, which = torch.rand(2, generator=generator).tolist()
        if chance < config.sensor_dropout:
            missing[:, list(sensors[int(which * len(sensors))].channels)] = True
    return missing if missing.any() else None


def drop_channels(
    pixels: Sequence[Tensor], grids: Sequence[PixelGrid], missing: Tensor, fill: Tensor
) -> None:
    """Set the missing channels of each sample to no data, in place.

    Args:
        pixels: Normalised images of the same samples, of one or several resolutions, each (N, c, H, W).
        grids: For each of ``pixels``, which channels of the image it holds.
        missing: Whether a channel of a sample is missing (N, C), on the CPU.
        fill: What no data becomes in the normalisation (C, 1, 1).
    """
    for images, grid in zip(pixels, grids, strict=True):
        samples, places = grid.missing_channels(missing).to(images.device).nonzero(as_tuple=True)
        images[samples, places] = fill[list(grid.channels)][places].to(images.dtype)


def _mark(
    missing: Tensor, groups: Sequence[Positions], probability: float, generator: torch.Generator
) -> None:
    """Mark groups of channels as missing, each by itself, but in no sample all of them."""
    if len(groups) < 2:
        return
    draws = torch.rand((len(missing), len(groups)), generator=generator)
    dropped = draws < probability
    # Where all would be gone, each is as likely to have the highest draw.
    rescued = draws.argmax(dim=1, keepdim=True)
    dropped.scatter_(1, rescued, dropped.gather(1, rescued) & ~dropped.all(dim=1, keepdim=True))
    for group, gone in zip(groups, dropped.T, strict=True):
        missing[:, list(group)] |= gone[:, None]


def mix_cells(
    pixels: Sequence[Tensor], labels: Tensor, config: AugmentationConfig, generator: torch.Generator
) -> None:
    """Put a rectangle of another sample into samples of a batch at random, in place.

    CutMix (Yun et al. 2019, arXiv:1905.04899) on the label grid. Whole cells with their labels keep their
    place, so no cell is a mixture. The rectangle's share of the window is drawn evenly. The rectangle keeps
    the window's proportions and leaves at least one row and one column.

    Args:
        pixels: Images of the same samples, one or several resolutions, each (N, C, H, W) with H = W.
        labels: Their labels (N, k, k).
        config: How often.
        generator: On the CPU.
    """
    count, side = labels.shape[:2]
    if not config.mixing_probability or count < 2 or side < 2:
        return
    draws = torch.rand((count, 5), generator=generator).tolist()
    moves = []
    for sample, (chance, who, share, top, left) in enumerate(draws):
        if chance < config.mixing_probability:
            partner = (sample + 1 + int(who * (count - 1))) % count
            size = min(max(1, round(side * math.sqrt(share))), side - 1)
            places = side - size + 1
            moves.append((sample, partner, int(top * places), int(left * places), size))
    for grid in (*pixels, labels):
        scale = grid.shape[-1] // side
        # All are taken out before the first is put in, since a partner may be mixed too.
        parts = [
            _part(grid, partner, top, left, size, scale).clone() for _, partner, top, left, size in moves
        ]
        for (sample, _, top, left, size), part in zip(moves, parts, strict=True):
            _part(grid, sample, top, left, size, scale).copy_(part)


def _part(grid: Tensor, sample: int, top_cell: int, left_cell: int, size_cells: int, scale: int) -> Tensor:
    rows, columns = (slice(start * scale, (start + size_cells) * scale) for start in (top_cell, left_cell))
    return grid[sample, ..., rows, columns]
