"""OlmoEarth, a transformer pretrained on Sentinel-1, Sentinel-2 and Landsat, on the label grid.

The encoder is that of the package ``olmoearth-pretrain-minimal`` (Herzog et al. 2025, arXiv:2511.13655).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.config.models import OlmoEarthConfig, SensorBranchesConfig
from esdseg.datasets.pixel_grid import PixelGrid, native_grids, summary_grids, whole_image_of
from esdseg.errors import ConfigError, MissingResourceError
from esdseg.models.layers import ContextBlock, convolution_block
from esdseg.models.night_light import NightLight, SettlementLightHead
from esdseg.models.normalization import NetworkInput
from esdseg.sensors.channels import Channel, places_of, sensor_names
from esdseg.sensors.classes import CELL_SIZE_PX, PIXEL_SIZE_M
from esdseg.sensors.sensors import ConversionName

PACKAGE = "olmoearth_pretrain_minimal"

BASE_PATCH_PX = 8
"""Side of the patches that the encoder's weights are made for; others are resized to it."""

YEAR = 2020
"""The encoder wants a date for each acquisition. All get this year and the settings' ``month``, because a
network knows the places of acquisitions and not their dates."""

UNSCALED_GAIN, UNSCALED_OFFSET = 0.25, 0.5
"""Turn standardised values into the encoder's, in which two standard deviations below the mean are 0 and two
above it are 1."""


@dataclass(frozen=True)
class Product:
    """A product that the encoder was trained on.

    Attributes:
        sensor: The sensor's name in a description.
        modality: The package's name of it.
        conversion: How the sensor's numbers must have been converted.
    """

    sensor: str
    modality: str
    conversion: ConversionName


PRODUCTS = (
    Product("sentinel2", "sentinel2_l2a", "reflectance"),
    Product("sentinel1", "sentinel1", "decibel"),
    Product("landsat8", "landsat", "digital_number"),
)


class ProductInput(nn.Module):
    """Turns channels into what the encoder expects of a product: all its bands, in its order and scale.

    A band that the channels lack is 0 after scaling, as the encoder's band dropout leaves it. Version 1 was
    trained without dropout, and gets the band that is nearest in wavelength.

    Args:
        product: The product.
        positions: The position of each band's channel, for each of the T acquisitions.
        version: The encoder's version.

    Attributes:
        bands: The B bands that the encoder expects.
    """

    source: Tensor
    known: Tensor
    gain: Tensor
    offset: Tensor

    def __init__(self, product: Product, positions: Sequence[Mapping[str, int]], version: str) -> None:
        super().__init__()
        self.product = product
        self.bands = bands_of_product(product)
        self.n_acquisitions = len(positions)
        stand_ins = [
            {band: _stand_in(product, band, own, version) for band in self.bands} for own in positions
        ]
        sources = [
            own.get(stand_in[band] or "", -1)
            for own, stand_in in zip(positions, stand_ins, strict=True)
            for band in self.bands
        ]
        known = torch.tensor([source >= 0 for source in sources])
        self.register_buffer("source", torch.tensor([max(source, 0) for source in sources]), persistent=False)
        self.register_buffer("known", known, persistent=False)
        self.register_buffer("gain", torch.where(known, UNSCALED_GAIN, 0.0))
        self.register_buffer("offset", torch.where(known, UNSCALED_OFFSET, 0.0))

    def forward(self, image: Tensor, has_data: Tensor) -> tuple[Tensor, Tensor]:
        """Take a product from an image.

        Args:
            image: Normalised values (N, C, height, width).
            has_data: Whether a channel has any data (N, C).

        Returns:
            The encoder's values (N, height, width, T, B), and which acquisitions have data (N, T).
        """
        values = image[:, self.source] * self.gain[:, None, None] + self.offset[:, None, None]
        shape = (-1, self.n_acquisitions, len(self.bands))
        present = (has_data[:, self.source] & self.known).reshape(shape).any(dim=2)
        return values.reshape(*shape, *image.shape[2:]).permute(0, 3, 4, 1, 2), present

    def set_scale(
        self, gain: Tensor, offset: Tensor, unit: float, statistics: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Set the scale so that values are the encoder's.

        Args:
            gain: With ``offset``, what turns normalised values (C,) into stored ones.
            offset: See there.
            unit: What stored values are multiplied by to get the product's numbers.
            statistics: ``mean`` and ``std`` of each band over the encoder's training images, by its name in
                the package.
        """
        by_name = {name.upper(): values for name, values in statistics.items()}
        bands = [by_name[band] for band in self.bands] * self.n_acquisitions
        mean = torch.tensor([band["mean"] for band in bands], dtype=torch.float64)
        std = torch.tensor([band["std"] for band in bands], dtype=torch.float64)
        own_gain = unit * gain[self.source] / (4 * std)
        own_offset = (unit * offset[self.source] - mean + 2 * std) / (4 * std)
        self.gain.copy_(torch.where(self.known, own_gain, 0.0))
        self.offset.copy_(torch.where(self.known, own_offset, 0.0))


class OlmoEarthNetwork(nn.Module):
    """OlmoEarth's encoder on every label cell by itself, and convolutions over the cells.

    The encoder was trained on crops of up to 12 x 12 tokens. So it sees one cell at a time, of 10 x 10 or
    5 x 5 tokens for each acquisition. The mean of a patch's tokens over acquisitions, pooled over the cell's
    patches, describes the cell. Night light goes its own way, as in
    :class:`esdseg.models.sensor_branches.SensorBranches`. All acquisitions have the same date: a network
    counts them by place, and knows no dates. An acquisition without data in a cell is not attended to.

    Args:
        channels: The C channels of the images.
        config: The settings.

    Attributes:
        channels: The positions of the channels that the encoder reads.

    Raises:
        MissingResourceError: The package is not installed.
        ConfigError: The channels hold no product that the encoder knows.
    """

    timestamps: Tensor
    resize: Tensor

    def __init__(self, channels: Sequence[Channel], config: OlmoEarthConfig) -> None:
        super().__init__()
        require_package()
        self.frozen_backbone_epochs = config.frozen_backbone_epochs
        self.patch_size = config.patch_size
        seen = [position for position, channel in enumerate(channels) if product_of(channel) is not None]
        if not seen:
            known = ", ".join(product.sensor for product in PRODUCTS)
            raise ConfigError(
                f"model {config.name}: reads {known}; the data have {', '.join(sensor_names(channels))}. "
                "Select such bands with --set 'data.selected_bands={sentinel2: all}', or use another model."
            )
        own = [channels[position] for position in seen]
        self.channels = tuple(seen)
        self.inputs = nn.ModuleList(_inputs(own, config.version))
        self.encoder = _build_encoder(config, [part.product.modality for part in self.product_inputs])
        self.image_grids = tuple(
            PixelGrid(tuple(seen[position] for position in grid.channels), grid.pixels_per_cell)
            for grid in native_grids(own)
        )
        light_grids = summary_grids(channels, of_light=True)
        self.grids = self.image_grids + light_grids
        self.night_light = NightLight(light_grids) if light_grids else None
        n_light = self.night_light.out_channels if self.night_light is not None else 0
        context = SensorBranchesConfig()
        width = context.context_width
        self.entry = convolution_block(2 * self.encoder.embedding_size + n_light, width, 1, 1)
        self.context = nn.Sequential(
            *(ContextBlock(width, context.dropout) for _ in range(context.context_blocks)),
            nn.Dropout(context.dropout),
        )
        self.head = SettlementLightHead(width, n_light)
        n_acquisitions = max(part.n_acquisitions for part in self.product_inputs)
        # Months count from 0.
        date = torch.tensor([15, config.month - 1, YEAR])
        self.register_buffer("timestamps", date.repeat(1, n_acquisitions, 1), persistent=False)
        self.register_buffer("resize", resizing_matrix(config.patch_size), persistent=False)

    @property
    def product_inputs(self) -> list[ProductInput]:
        """The inputs of the products, with their type."""
        return [part for part in self.inputs if isinstance(part, ProductInput)]

    def sample(self, image: Tensor) -> tuple[Tensor, ...]:
        """Take what the network reads of images (N, C, 50k, 50k), normalised or not: (N, c, pk, pk) each."""
        return tuple(grid.sample(image) for grid in self.grids)

    def classify(self, *grids: Tensor) -> Tensor:
        """Map normalised pixels of :meth:`sample` to logits (N, 4, k, k)."""
        image = whole_image_of(grids[: len(self.image_grids)], self.image_grids)
        batch, channels, height, width = image.shape
        rows, columns = height // CELL_SIZE_PX, width // CELL_SIZE_PX
        cells = image.reshape(batch, channels, rows, CELL_SIZE_PX, columns, CELL_SIZE_PX)
        cells = cells.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, CELL_SIZE_PX, CELL_SIZE_PX)
        tokens = self.encode(cells)
        described = torch.cat([tokens.mean(dim=1), tokens.amax(dim=1)], dim=1)
        features = described.reshape(batch, rows, columns, -1).permute(0, 3, 1, 2)
        light = self.night_light(*grids[len(self.image_grids) :]) if self.night_light is not None else None
        if light is not None:
            features = torch.cat([features, light], dim=1)
        logits: Tensor = self.head(self.context(self.entry(features)), light)
        return logits

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (N, C, 50k, 50k) to logits (N, 4, k, k)."""
        return self.classify(*self.sample(image))

    def encode(self, cells: Tensor) -> Tensor:
        """Describe the patches of label cells.

        The package's own ``Encoder.forward`` does the same where no acquisition is missing. In evaluation it
        attends to missing ones too if those of the batch differ.

        Args:
            cells: Normalised channels of the products (N, c, 50, 50); 0 is no data.

        Returns:
            Tokens (N, P, D) of the P patches, each the mean over bands and acquisitions with data.
        """
        has_data = cells.abs().amax(dim=(2, 3)) > 0
        resized = self.resize @ cells @ self.resize.T
        encoder, times = self.encoder, self.timestamps.expand(cells.shape[0], -1, -1)
        parts = [self._tokens_of(part, resized, has_data, times) for part in self.product_inputs]
        tokens = torch.cat([part[0] for part in parts], dim=2)
        mask = torch.cat([part[1] for part in parts], dim=2)
        places = [part[2] for part in parts if part[2] is not None]
        positions = torch.cat(places, dim=2).flatten(1, 2) if places else None
        # A cell without any data attends to all that it has.
        mask = mask | ~mask.any(dim=2, keepdim=True)
        sequence, attended = tokens.flatten(1, 2), mask.flatten(1)
        for block in encoder.blocks:
            sequence = block(x=sequence, attn_mask=attended, rope_positions=positions)
        weights = mask.unsqueeze(-1).to(sequence.dtype)
        described: Tensor = (encoder.norm(sequence).reshape(tokens.shape) * weights).sum(dim=2)
        return described / weights.sum(dim=2)

    def _tokens_of(
        self, part: ProductInput, resized: Tensor, has_data: Tensor, times: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return a product's tokens (N, P, S, D), which have data (N, P, S), and where they lie."""
        from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.utils.datatypes import MaskedOlmoEarthSample

        modality, encoder = part.product.modality, self.encoder
        values, present = part(resized, has_data)
        times = times[:, : part.n_acquisitions]
        n_sets = encoder.tokenization_config.get_num_bandsets(modality)
        nothing_masked = torch.zeros((*values.shape[:4], n_sets), dtype=torch.long, device=values.device)
        sample = MaskedOlmoEarthSample.from_dict(
            {"timestamps": times, modality: values, f"{modality}_mask": nothing_masked}
        )
        # At their base size, since the values were resized for it.
        embedded = encoder.patch_embeddings(sample, BASE_PATCH_PX)
        masks = {f"{modality}_mask": embedded.pop(f"{modality}_mask")}
        tokens = encoder.composite_encodings(embedded, times, self.patch_size, PIXEL_SIZE_M)[modality]
        positions = encoder.build_rope_positions(embedded, masks, self.patch_size, PIXEL_SIZE_M, times)
        patches = tokens.shape[1] * tokens.shape[2]
        mask = present[:, None, :, None].expand(-1, patches, -1, n_sets).flatten(2)
        if positions is not None:
            positions = positions.reshape(positions.shape[0], patches, -1, positions.shape[-1])
        return tokens.flatten(3, 4).flatten(1, 2), mask, positions

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; a frozen encoder drops nothing in both."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.encoder.blocks.parameters()):
            self.encoder.eval()
        return self

    def set_frozen(self, frozen: bool) -> None:
        """Let only the layers behind the encoder learn, or all layers."""
        for name, parameter in self.encoder.named_parameters():
            # A table of sines, which never learns.
            parameter.requires_grad_(not frozen and "month_embed" not in name)
        self.train(self.training)


def resizing_matrix(patch_size: int) -> Tensor:
    """Return the matrix (s, 50) that resizes a cell's rows so that patches have their base size.

    The encoder resizes images bicubically, with antialiasing. That is linear, and a product of matrices can
    be shared in any format.
    """
    side_px = CELL_SIZE_PX // patch_size * BASE_PATCH_PX
    pixels = torch.eye(CELL_SIZE_PX)[None, None]
    return F.interpolate(pixels, size=(side_px, CELL_SIZE_PX), mode="bicubic", antialias=True)[0, 0]


def build_olmoearth(
    config: OlmoEarthConfig, channels: Sequence[Channel], subtile_size: int
) -> OlmoEarthNetwork:
    """Build the network from its settings, with random weights; ``subtile_size`` was checked."""
    return OlmoEarthNetwork(channels, config)


def check_olmoearth(config: OlmoEarthConfig, subtile_size: int) -> None:
    """Refuse a training without the package (``MissingResourceError``)."""
    require_package()


def require_package() -> None:
    """Import the encoder's package (``MissingResourceError`` where it is not installed)."""
    if find_spec(PACKAGE) is None:
        raise MissingResourceError(
            "model olmoearth: its encoder is in the package olmoearth-pretrain-minimal, which is not "
            "installed; run `pip install -c constraints.txt -e '.[eo]'`."
        )
    # Its modules hold tensors, which must have values where a network is built on the meta device.
    with torch.device("cpu"):
        import_module(PACKAGE)


def bands_of_product(product: Product) -> tuple[str, ...]:
    """Return the names of the bands that the encoder expects of a product, in its order, in capitals."""
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.utils.constants import Modality

    return tuple(band.upper() for band in Modality.get(product.modality).band_order)


def product_of(channel: Channel) -> Product | None:
    """Return the product that a channel belongs to; ``None`` where the encoder does not read it."""
    for product in PRODUCTS:
        if channel.sensor.name == product.sensor and channel.place is not None:
            return product if channel.band.upper() in bands_of_product(product) else None
    return None


def _inputs(channels: Sequence[Channel], version: str) -> list[ProductInput]:
    places = places_of(channels)
    return [
        ProductInput(
            product,
            [
                {
                    channel.band.upper(): position
                    for position, channel in enumerate(channels)
                    if channel.sensor.name == product.sensor and channel.place == place
                }
                for place in range(1, places[product.sensor] + 1)
            ],
            version,
        )
        for product in PRODUCTS
        if product.sensor in places
    ]


def _stand_in(product: Product, band: str, present: Mapping[str, int], version: str) -> str | None:
    """Return the band whose values a band gets: its own, the nearest in version 1, or none."""
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.data.missing_bands import SPECTRAL_GROUPS

    if band in present:
        return band
    if version != "v1":
        return None
    groups = SPECTRAL_GROUPS.get(product.modality, [])
    group: Mapping[str, float] = next((group for group in groups if band in group), {})
    others = [other for other in group if other in present]
    return min(others, key=lambda other: (abs(group[other] - group[band]), group[other]), default=None)


def _build_encoder(config: OlmoEarthConfig, modalities: list[str]) -> Any:
    from olmoearth_pretrain_minimal import OlmoEarthPretrain_v1

    encoder = OlmoEarthPretrain_v1(config.size, config.version, modalities).model.encoder
    # Of the pretraining; no feature of an image goes through it.
    encoder.project_and_aggregate = nn.Identity()
    return encoder


def set_scale(network: OlmoEarthNetwork, seen: NetworkInput) -> None:
    """Set the scale of the encoder's inputs to that of its pretraining.

    Raises:
        ConfigError: The store holds values without a physical unit.
    """
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.data.normalize import load_computed_config

    gain, offset = (values[list(network.channels)] for values in seen.stored_scale())
    statistics = load_computed_config()
    for part in network.product_inputs:
        product = part.product
        seen.check_units("olmoearth", product.sensor, product.conversion, "use another model")
        part.set_scale(gain, offset, _unit(product, seen.channels), statistics[product.modality])


def _unit(product: Product, channels: Sequence[Channel]) -> float:
    """Return what stored values are multiplied by to get the numbers that the encoder was trained on."""
    if product.conversion == "reflectance":
        return 10_000
    if product.conversion == "digital_number":
        own = next(channel.sensor for channel in channels if channel.sensor.name == product.sensor)
        return own.conversion.scale
    return 1.0
