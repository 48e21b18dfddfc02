"""Finding and opening a processed store; each fault names the command that mends it."""

from pathlib import Path

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.sensors.grid import SUBTILE_SIZES
from esdseg.store.commands import preprocess_command
from esdseg.store.layout import MANIFEST_NAME, store_path, tile_path
from esdseg.store.manifest import read_manifest
from esdseg.store.store import Store


def open_store(processed_dir: Path, subtile_size: int | None = None) -> Store:
    """Open a processed store for reading.

    Args:
        processed_dir: Folder that holds ``4x4/`` and other sizes.
        subtile_size: Which of them; may be left out where there is only one.

    Returns:
        The store. Its manifest is read and its tiles are known to be there; no image is opened yet.

    Raises:
        InputDataError: There is no store, there are several to choose from, or it is unfinished, damaged or
            of another version.
    """
    size = subtile_size or _only_size(processed_dir)
    path = store_path(processed_dir, size)
    config = PreprocessConfig(processed_dir=processed_dir, subtile_size=size)
    rebuild = preprocess_command(config, "--overwrite")
    try:
        manifest, manifest_hash = read_manifest(path, rebuild)
    except FileNotFoundError:
        raise InputDataError(_missing_message(config)) from None
    except NotADirectoryError:
        raise InputDataError(
            f"{path} is a file, not a processed store; move it away, then run {preprocess_command(config)}."
        ) from None
    if manifest.config.subtile_size != size:
        raise InputDataError(
            f"{path} holds subtiles of {manifest.config.subtile_size} cells, not of {size}: the folder was "
            f"renamed. Rename it back, or write it anew with {rebuild}."
        )
    store = Store(path, manifest, manifest_hash)
    for tile, entry in manifest.tiles.items():
        folder = tile_path(path, entry.split, tile)
        if not (folder / "zarr.json").is_file():
            raise InputDataError(f"The tile {folder} is missing; write it anew with {store.rewrite_command}.")
    return store


def _sizes(processed_dir: Path) -> tuple[int, ...]:
    return tuple(
        size for size in SUBTILE_SIZES if (store_path(processed_dir, size) / MANIFEST_NAME).is_file()
    )


def _only_size(processed_dir: Path) -> int:
    sizes = _sizes(processed_dir)
    if len(sizes) > 1:
        names = ", ".join(f"{size}x{size}" for size in sizes)
        raise InputDataError(
            f"{processed_dir} holds several sizes of subtiles ({names}); choose one with --subtile-size "
            f"{sizes[0]}."
        )
    if sizes:
        return sizes[0]
    unfinished = [size for size in SUBTILE_SIZES if store_path(processed_dir, size).is_dir()]
    size = (*unfinished, PreprocessConfig().subtile_size)[0]
    raise InputDataError(_missing_message(PreprocessConfig(processed_dir=processed_dir, subtile_size=size)))


def _missing_message(config: PreprocessConfig) -> str:
    processed_dir, command = config.processed_dir, preprocess_command(config)
    path = store_path(processed_dir, config.subtile_size)
    if (processed_dir / MANIFEST_NAME).is_file():
        return (
            f"{processed_dir} is a store itself; give the folder above it: --processed-dir "
            f"{processed_dir.parent}."
        )
    if path.is_dir():
        return f"The processed store {path} was not finished; finish it with {command}."
    others = ", ".join(str(other) for other in _sizes(processed_dir))
    if others:
        return (
            f"There is no processed store {path}; make it with {command}, or use --subtile-size with a size "
            f"that is there: {others}."
        )
    if not processed_dir.exists():
        return f"The folder {processed_dir} does not exist; make the processed store with {command}."
    return f"The folder {processed_dir} holds no processed store; make it with {command}."
