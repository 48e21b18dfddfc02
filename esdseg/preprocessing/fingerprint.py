"""What a tile's raw files look like from outside, by which a changed tile is known."""

import hashlib

from esdseg.errors import InputDataError
from esdseg.store.manifest import SourceFingerprint
from esdseg.tiles.discovery import RawTile


def fingerprint(tile: RawTile) -> SourceFingerprint:
    """Take names, sizes and times of a tile's files; no file is opened.

    As with make and rsync, a file that was changed and then given its old size and time back is not noticed.

    Raises:
        InputDataError: A file is gone or may not be looked at.
    """
    digest, size = hashlib.sha256(), 0
    paths = [*tile.rasters.values(), *([tile.ground_truth] if tile.ground_truth else [])]
    for path in sorted(paths, key=lambda path: path.name):
        try:
            status = path.stat()
        except OSError as error:
            raise InputDataError(
                f"{path} cannot be read: {error.strerror}; fetch or link it again."
            ) from None
        digest.update(f"{path.name}\t{status.st_size}\t{status.st_mtime_ns}\n".encode())
        size += status.st_size
    return SourceFingerprint(files=len(paths), bytes=size, digest=digest.hexdigest())
