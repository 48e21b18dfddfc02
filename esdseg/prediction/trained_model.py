"""A trained model for scripts and notebooks: it takes a tile, wherever that lies, and gives probabilities."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from esdseg.baselines.checkpoint import BaselineCheckpoint
from esdseg.config.evaluation import TestTimeAugmentation, check_overlap
from esdseg.config.preprocessing import ReflectanceOffset
from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import LoadedCheckpoint, NetworkCheckpoint
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE, show_share
from esdseg.prediction.open_checkpoints import check_store
from esdseg.prediction.windows import Device, Passes, channels_of, place_model, predict_together
from esdseg.preprocessing.tile_image import fill_image
from esdseg.sensors.channels import bands_of, layer_table, resolve
from esdseg.sensors.classes import TILE_SIZE_PX
from esdseg.store.manifest import MANIFEST_NAME
from esdseg.store.store import Store, open_store
from esdseg.store.tile_store import TileArrays
from esdseg.tiles.discovery import find_tiles

STORED_TILE_ENDING = ".zarr"


class TrainedModel(nn.Module):
    """A network with the scale of its channels, or several that predict together, in evaluation mode.

    As any module it can be moved (``model.to("cuda")``). A single network can be called too: images
    (N, C, 50k, 50k) in the physical values of a store, NaN where there is no data, give logits (N, 4, k, k).

    Args:
        checkpoints: The networks, at least one. Of several the mean of the probabilities is taken.
        path: What they are called, for messages.

    Attributes:
        path: The checkpoint's file, or the pattern of several.
        channels: Names of the C channels of all networks in their order, such as ``sentinel2_1_B04``.
        class_names: Meaning of the four logits and probabilities, in their order.
        window_size: Label cells along each side of the windows that the networks see, of several the largest.
    """

    def __init__(self, checkpoints: Sequence[LoadedCheckpoint], path: Path) -> None:
        super().__init__()
        # A simple model is no module, and stays on the processor.
        self.networks = nn.ModuleList(
            checkpoint.model for checkpoint in checkpoints if isinstance(checkpoint, NetworkCheckpoint)
        )
        self.path = path
        self._taken = channels_of(checkpoints)
        self.channels = tuple(channel.name for channel in self._taken)
        self.class_names = checkpoints[0].class_names
        self.window_size = max(checkpoint.window_size for checkpoint in checkpoints)
        self._checkpoints = tuple(checkpoints)
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, C, 50k, 50k) to logits (N, 4, k, k), before the temperature.

        Raises:
            UsageError: There are several networks, which have no logits together.
        """
        if len(self._checkpoints) > 1:
            raise UsageError(
                f"{self.path} are {len(self._checkpoints)} networks, whose probabilities are averaged and "
                "which have no logits together; call model.predict, or load one of them."
            )
        (checkpoint,) = self._checkpoints
        if isinstance(checkpoint, BaselineCheckpoint):
            return torch.stack([checkpoint.logits(channels.numpy(force=True)) for channels in image])
        logits: Tensor = self.networks[0](image)
        return logits

    def predict(
        self,
        tile: "str | Path | npt.NDArray[np.floating] | Tensor",
        *,
        store: Path | str = Path("data/processed"),
        tta: TestTimeAugmentation = "none",
        overlap: int = 0,
        reflectance_offset: ReflectanceOffset | None = None,
    ) -> npt.NDArray[np.float32]:
        """Predict one tile, as ``esdseg restitch`` does.

        Args:
            tile: The folder of a raw tile; the folder of a stored one, such as
                ``data/processed/4x4/Val/Tile3.zarr``; a tile's name in ``store``; or its image (C, 800, 800)
                in the store's physical values, in the order of :attr:`channels`, NaN where there is no data.
            store: Folder of the processed data, where ``tile`` is a name.
            tta: Turns and flips to average over: ``none``, ``flips`` or ``d4``.
            overlap: Label cells that neighbouring windows share.
            reflectance_offset: For the folder of a raw tile: from which dates the offset of newer products is
                subtracted, as ``esdseg preprocess --reflectance-offset``; as of the rasters that the model
                was trained on unless given.

        Returns:
            Probabilities (4, 16, 16) of the classes in each label cell, float32, in the order of
            :attr:`class_names`. Each checkpoint's temperature has acted on them. NaN in cells that have too
            few of the channels of a network: :data:`~esdseg.prediction.channel_share.MIN_CHANNEL_SHARE`.

        Raises:
            InputDataError: There is no such tile, it cannot be read, or lacks what the model was trained on.
            UsageError: The image has another shape, the windows cannot overlap so far, or ``tta`` is unknown.
        """
        if tta not in get_args(TestTimeAugmentation):
            raise UsageError(f"tta={tta!r}: use one of {', '.join(get_args(TestTimeAugmentation))}.")
        if overlap < 0:
            raise UsageError(f"overlap={overlap}: use 0 or more label cells.")
        if overlap:
            try:
                check_overlap(overlap, min(checkpoint.window_size for checkpoint in self._checkpoints))
            except ValueError as error:
                raise UsageError(f"overlap={overlap}: {error}.") from None
        if isinstance(tile, str | Path):
            image = torch.from_numpy(self._read(Path(tile), Path(store), reflectance_offset))
        else:
            image = _as_tensor(tile)
        expected = (len(self.channels), TILE_SIZE_PX, TILE_SIZE_PX)
        if tuple(image.shape) != expected:
            raise UsageError(
                f"an image of shape {tuple(image.shape)} is no tile of this model's channels, which is "
                f"{expected}; model.channels names them in their order."
            )
        return self._predict_image(image, Passes(tta, overlap))

    def _predict_image(self, image: Tensor, passes: Passes) -> npt.NDArray[np.float32]:
        tensor = next(chain(self.parameters(), self.buffers()), torch.empty(0))
        device = Device(tensor.device, torch.float32)
        for checkpoint in self._checkpoints:
            place_model(checkpoint, device)
        _, probabilities, share = predict_together(self._checkpoints, image, device, None, passes)
        if (share < MIN_CHANNEL_SHARE).all():
            raise InputDataError(
                f"The tile has {show_share(float(share.mean()))} of the {len(self.channels)} channels that "
                f"{self.path} was trained on, and a map needs {show_share(MIN_CHANNEL_SHARE)}; its sensors, "
                "bands or dates are others."
            )
        return probabilities

    def _read(
        self, tile: Path, processed_dir: Path, reflectance_offset: ReflectanceOffset | None
    ) -> npt.NDArray[np.float16]:
        """Read a tile's image (C, 800, 800) from its rasters or from a store."""
        store_dir = tile.absolute().parent.parent
        if tile.suffix == STORED_TILE_ENDING and (store_dir / MANIFEST_NAME).is_file():
            size = int(store_dir.name.partition("x")[0])
            return self._read_stored(open_store(store_dir.parent, size), tile.stem)
        if tile.is_dir():
            return self._read_raw(tile, reflectance_offset)
        if len(tile.parts) > 1:
            raise InputDataError(
                f"There is no tile {tile}; name the folder of a raw tile, that of a stored one, or a tile of "
                f"the store in {processed_dir} by its name."
            )
        return self._read_stored(open_store(processed_dir, self._checkpoints[0].subtile_size), tile.name)

    def _read_stored(self, store: Store, name: str) -> npt.NDArray[np.float16]:
        for checkpoint in self._checkpoints:
            check_store(checkpoint, store)
        return store.read_tile(name, store.positions(name, self._taken))

    def _read_raw(
        self, folder: Path, reflectance_offset: ReflectanceOffset | None
    ) -> npt.NDArray[np.float16]:
        metadata = self._checkpoints[0].metadata
        ways = {
            (trained.recipe.model_dump_json(), trained.sensors.model_dump_json(), trained.reflectance_offset)
            for trained in (checkpoint.metadata for checkpoint in self._checkpoints)
        }
        if len(ways) > 1:
            raise UsageError(
                f"{self.path} were trained on rasters that were converted in several ways; predict tiles of "
                "a store, or load one of them."
            )
        tiles = find_tiles(folder, metadata.sensors)
        if len(tiles) > 1 or tiles[0].folder != folder:
            raise InputDataError(
                f"{folder} holds {len(tiles)} tiles; name the folder of one, such as {tiles[0].folder}."
            )
        channels = self._taken
        tile, bands = tiles[0], bands_of(channels)
        layers = layer_table({name: tile.dates(name) for name in bands}, tile.sensors, bands)
        held = {layer: position for position, layer in enumerate(layers)}
        if not held:
            raise InputDataError(
                f"{folder} holds none of the {len(channels)} channels that {self.path} was trained on; its "
                "sensors or bands are others."
            )
        arrays = TileArrays.empty(len(layers))
        wanted = reflectance_offset or metadata.reflectance_offset
        _, acquisitions = fill_image(arrays, tile, layers, bands, metadata.recipe, wanted)
        image = np.full((len(channels), TILE_SIZE_PX, TILE_SIZE_PX), np.nan, np.float16)
        for position, layer in enumerate(resolve(channels, acquisitions)):
            if layer is not None:
                image[position] = arrays.image[held[layer]]
        return image


def _as_tensor(image: npt.ArrayLike | Tensor) -> Tensor:
    """Return an image as a tensor, also of arrays that are turned round or in another byte order."""
    if isinstance(image, Tensor):
        return image
    array = np.asarray(image)
    return torch.from_numpy(np.ascontiguousarray(array, array.dtype.newbyteorder("=")))
