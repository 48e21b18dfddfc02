import pytest
import torch
from torch import Tensor

from esdseg.config.loading import load_config
from esdseg.config.training import AugmentationConfig, ESDConfig
from esdseg.datasets.augmentation import mix_cells
from esdseg.errors import ConfigError

SIDE = 6
ALWAYS = AugmentationConfig(mixing_probability=1.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int, scales: tuple[int, ...] = (5, 2)) -> tuple[list[Tensor], Tensor]:
    """Labels that are unlike in every cell of every sample, and images that show them at each scale."""
    labels = torch.arange(count * SIDE**2).reshape(count, SIDE, SIDE)
    images = [
        labels[:, None].repeat_interleave(scale, 2).repeat_interleave(scale, 3).repeat(1, 3, 1, 1).float()
        for scale in scales
    ]
    return images, labels


def test_pixels_of_every_resolution_move_with_their_labels_to_where_they_lay() -> None:
    images, labels = batch(40)
    before = labels.clone()
    mix_cells(images, labels, ALWAYS, generator())
    for image, scale in zip(images, (5, 2), strict=True):
        expected = labels.repeat_interleave(scale, 1).repeat_interleave(scale, 2).float()
        assert torch.equal(image, expected[:, None].expand(-1, 3, -1, -1))
    assert torch.equal(labels % SIDE**2, before % SIDE**2), "a cell keeps its place"


def test_each_sample_gets_a_square_of_one_other_sample_as_it_was() -> None:
    images, labels = batch(300)
    before = labels.clone()
    mix_cells(images, labels, ALWAYS, generator())
    sizes = []
    for sample in range(300):
        foreign = labels[sample] != before[sample]
        (partner,) = set((labels[sample][foreign] // SIDE**2).tolist())
        assert partner != sample
        rows, columns = (foreign.any(dim=axis).nonzero().flatten() for axis in (1, 0))
        assert len(rows) == len(columns) == rows[-1] - rows[0] + 1
        assert foreign.sum() == len(rows) * len(columns)
        sizes.append(len(rows))
    assert set(sizes) == set(range(1, SIDE)), "one cell at least, never the whole sample"
    shares = torch.tensor(sizes) ** 2 / SIDE**2
    assert 0.4 < shares.mean() < 0.55, "drawn evenly, but for the largest"


def test_its_share_of_the_samples_is_mixed() -> None:
    images, labels = batch(400, scales=(1,))
    before = labels.clone()
    mix_cells(images, labels, AugmentationConfig(mixing_probability=0.3), generator())
    assert 0.24 < (labels != before).flatten(1).any(dim=1).float().mean() < 0.36


@pytest.mark.parametrize(("count", "config"), [(1, ALWAYS), (4, AugmentationConfig())])
def test_a_lone_sample_and_no_probability_mix_nothing(count: int, config: AugmentationConfig) -> None:
    images, labels = batch(count)
    stream = generator()
    mix_cells(images, labels, config, stream)
    assert torch.equal(labels, batch(count)[1])
    assert torch.equal(images[0], batch(count)[0][0])
    assert torch.equal(stream.get_state(), generator().get_state()), "nothing is drawn"


def test_no_data_and_unknown_labels_move_too() -> None:
    images = [torch.tensor([0.0, float("nan")]).reshape(2, 1, 1, 1).repeat(1, 1, 10, 10)]
    labels = torch.tensor([1, 255]).reshape(2, 1, 1).repeat(1, 2, 2)
    mix_cells(images, labels, ALWAYS, generator())
    assert sorted(labels[0].flatten().tolist()) == [1, 1, 1, 255]
    assert images[0][0, 0].isnan().sum() == 25


def test_batches_of_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mixing_probability.*data.batch_size is 1"):
        load_config(ESDConfig, assignments=["augmentation.mixing_probability=0.5", "data.batch_size=1"])
