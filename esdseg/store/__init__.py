"""The processed store: its layout and manifest, its splits, and exact statistics of its channels."""

from esdseg.store.folds import Fold, make_fold
from esdseg.store.layout import SplitName, store_path
from esdseg.store.manifest import Manifest, TileEntry
from esdseg.store.opening import open_store
from esdseg.store.splits import split_tiles
from esdseg.store.statistics import ChannelStatistics
from esdseg.store.store import Store
from esdseg.store.verification import StoreReport, find_stores, verify_store

__all__ = [
    "ChannelStatistics",
    "Fold",
    "Manifest",
    "SplitName",
    "Store",
    "StoreReport",
    "TileEntry",
    "find_stores",
    "make_fold",
    "open_store",
    "split_tiles",
    "store_path",
    "verify_store",
]
