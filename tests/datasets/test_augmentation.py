import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from esdseg.config.training import AugmentationConfig
from esdseg.datasets.augmentation import augment_geometry, augment_values, gaussian_blur

NOTHING = {"flip_probability": 0.0, "quarter_turn_probability": 0.0}
SCALE = 5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int, channels: int = 2) -> tuple[Tensor, Tensor]:
    """Images that show their own label grid, each cell 5 x 5 px; no grid is like its mirror image."""
    labels = torch.rand((count, 4, 4), generator=generator(1)).mul(200).long()
    images = labels.repeat_interleave(SCALE, 1).repeat_interleave(SCALE, 2).float()
    return images[:, None].repeat(1, channels, 1, 1), labels


def moved_together(
    images: Tensor,
    labels: Tensor,
    config: AugmentationConfig,
    stream: torch.Generator,
    memory_format: torch.memory_format = torch.preserve_format,
) -> tuple[Tensor, Tensor]:
    """Move images of one resolution."""
    (moved,), moved_labels = augment_geometry([images], labels, config, stream, memory_format)
    return moved, moved_labels


def changed(images: Tensor, config: AugmentationConfig, stream: torch.Generator) -> Tensor:
    """Change the values of images of one resolution."""
    (result,) = augment_values([images], images.shape[-1], config, stream)
    return result


def test_image_and_label_are_moved_together() -> None:
    images, labels = batch(64)
    config = AugmentationConfig(flip_probability=0.5, quarter_turn_probability=0.75)
    moved_images, moved_labels = moved_together(images, labels, config, generator())
    assert torch.equal(moved_images[:, 0, ::SCALE, ::SCALE].long(), moved_labels)
    assert torch.equal(moved_images[:, 1], moved_images[:, 0])
    assert not torch.equal(moved_labels, labels)


def test_all_eight_positions_of_a_square_come_up() -> None:
    labels = batch(1)[1].repeat(200, 1, 1)
    config = AugmentationConfig(flip_probability=0.5, quarter_turn_probability=0.75)
    _, moved = moved_together(torch.zeros(200, 1, 20, 20), labels, config, generator())
    turned = [np.rot90(labels[0].numpy(), turns) for turns in range(4)]
    expected = {grid.tobytes() for grid in [*turned, *map(np.fliplr, turned)]}
    assert {grid.numpy().tobytes() for grid in moved} == expected


def test_nothing_happens_at_probability_zero() -> None:
    images, labels = batch(8)
    same_images, same_labels = moved_together(images, labels, AugmentationConfig(**NOTHING), generator())
    assert torch.equal(same_images, images)
    assert torch.equal(same_labels, labels)
    assert torch.equal(changed(images, AugmentationConfig(), generator()), images)


def test_flips_are_certain_at_probability_one() -> None:
    images, labels = batch(8)
    config = AugmentationConfig(flip_probability=1.0, quarter_turn_probability=0.0)
    flipped_images, flipped_labels = moved_together(images, labels, config, generator())
    assert torch.equal(flipped_images, images.flip(-1, -2))
    assert torch.equal(flipped_labels, labels.flip(-1, -2))


def test_one_seed_gives_one_outcome() -> None:
    images, labels = batch(8)
    config = AugmentationConfig(noise_probability=0.5, blur_probability=0.5)

    def both(seed: int) -> tuple[Tensor, Tensor]:
        stream = generator(seed)
        moved_images, moved_labels = moved_together(images, labels, config, stream)
        return changed(moved_images, config, stream), moved_labels

    first, again, other = both(3), both(3), both(4)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_noise_is_a_share_of_each_channels_own_spread() -> None:
    images = (
        torch.randn((4, 3, 100, 100), generator=generator(2)) * torch.tensor([1.0, 20.0, 0.0])[:, None, None]
    )
    config = AugmentationConfig(**NOTHING, noise_probability=1.0, noise_std=0.1)
    noisy = changed(images, config, generator())
    spread = (noisy - images).std(dim=(0, 2, 3))
    np.testing.assert_allclose(spread.numpy(), [0.1, 2.0, 0.0], rtol=0.03)


def test_noise_hits_its_share_of_the_samples() -> None:
    images = torch.randn((300, 1, 4, 4), generator=generator(2))
    config = AugmentationConfig(**NOTHING, noise_probability=0.3)
    noisy = changed(images, config, generator())
    share = (noisy != images).flatten(1).any(dim=1).float().mean()
    assert 0.22 < share < 0.38


@pytest.mark.parametrize("sigma_px", [0.7, 1.0, 2.5])
def test_blur_is_scipys_gaussian(sigma_px: float) -> None:
    image = torch.randn((2, 40, 50), generator=generator(5))
    radius = int(np.ceil(3 * sigma_px))
    expected = [gaussian_filter(channel, sigma_px, mode="mirror", radius=radius) for channel in image.numpy()]
    np.testing.assert_allclose(gaussian_blur(image, sigma_px).numpy(), expected, atol=1e-5)


def test_memory_format_changes_no_value() -> None:
    images, labels = batch(4)
    config = AugmentationConfig(noise_probability=0.5, blur_probability=0.5)
    plain, _ = moved_together(images, labels, config, generator())
    sorted_axes, _ = moved_together(images, labels, config, generator(), torch.channels_last)
    assert sorted_axes.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(sorted_axes, plain)
    disturbed = changed(sorted_axes, config, generator(1))
    assert disturbed.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(disturbed, changed(plain, config, generator(1)))


def test_no_data_moves_with_its_image() -> None:
    images, labels = batch(8)
    images[:, :, 0, 0] = float("nan")
    config = AugmentationConfig(flip_probability=1.0, quarter_turn_probability=0.0)
    moved, _ = moved_together(images.half(), labels, config, generator())
    assert moved[:, :, -1, -1].isnan().all()
    assert moved.isnan().sum() == 16


def test_resolutions_of_an_image_are_moved_together() -> None:
    images, labels = batch(32)
    config = AugmentationConfig(flip_probability=0.5, quarter_turn_probability=0.75)
    coarse = images[..., ::SCALE, ::SCALE]
    (fine, thinned), moved = augment_geometry([images, coarse], labels, config, generator())
    assert torch.equal(thinned[:, 0].long(), moved)
    assert torch.equal(fine[..., ::SCALE, ::SCALE], thinned)


def test_blur_is_measured_in_raster_pixels_at_every_resolution() -> None:
    fine, coarse = torch.randn((1, 1, 40, 40), generator=generator(6)), torch.randn((1, 1, 20, 20))
    config = AugmentationConfig(**NOTHING, blur_probability=1.0, blur_sigma_px=2.0)
    blurred = augment_values([fine, coarse], 40, config, generator())
    torch.testing.assert_close(blurred[0][0], gaussian_blur(fine[0], 2.0))
    torch.testing.assert_close(blurred[1][0], gaussian_blur(coarse[0], 1.0))
