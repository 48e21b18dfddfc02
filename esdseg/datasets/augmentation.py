"""Random changes to training batches: image and label moved together; values blurred and made noisy."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from esdseg.config.training import AugmentationConfig

KERNEL_RADIUS_SIGMAS = 3.0
"""Where the blur's kernel is cut off, in standard deviations."""

_RIGHT_TO_LEFT, _UP_TO_DOWN = (-1,), (-2,)


def augment_geometry(
    pixels: Sequence[Tensor],
    labels: Tensor,
    config: AugmentationConfig,
    generator: torch.Generator,
    memory_format: torch.memory_format = torch.preserve_format,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Flip and turn each sample of a batch at random, pixels and label together.

    Positions and values can be changed in any order, so stored pixels are moved before they are normalised:
    half as many bytes, in the same pass that sorts their axes. What happens to which sample is drawn on the
    CPU, so that a batch on an accelerator is never waited for.

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
    moved_pixels = tuple(torch.empty_like(one, memory_format=memory_format) for one in pixels)
    moved_labels = torch.empty_like(labels)
    for sample, (left_right, up_down, turn) in enumerate(chances):
        flips = (left_right < config.flip_probability, up_down < config.flip_probability)
        quarter_turns = turns[sample] if turn < config.quarter_turn_probability else 0
        for moved, one in zip(moved_pixels, pixels, strict=True):
            moved[sample] = move(one[sample], *flips, quarter_turns)
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
        generator: On the CPU; it alone decides what happens.

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
