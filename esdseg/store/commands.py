"""The command line that writes a store, for messages that say how to mend one."""

import shlex

from esdseg.config.preprocessing import RECIPES, PreprocessConfig


def preprocess_command(config: PreprocessConfig, *flags: str) -> str:
    """Return the command, in backquotes, that writes the store of ``config``.

    Folder and size are always spelt out; source, split and recipe where they are not the defaults. Selected
    bands and dates and a recipe without a name come from a file or ``--set`` and are the user's to add.

    Args:
        config: The store's settings.
        flags: More flags, such as ``--overwrite``.
    """
    defaults = PreprocessConfig()
    parts = ["esdseg preprocess"]
    if config.raw_dir != defaults.raw_dir:
        parts.append(f"--raw-dir {shlex.quote(str(config.raw_dir))}")
    parts.append(f"--processed-dir {shlex.quote(str(config.processed_dir))}")
    parts.append(f"--subtile-size {config.subtile_size}")
    if config.val_fraction != defaults.val_fraction:
        parts.append(f"--val-fraction {config.val_fraction:g}")
    if config.test_fraction != defaults.test_fraction:
        parts.append(f"--test-fraction {config.test_fraction:g}")
    if config.seed != defaults.seed:
        parts.append(f"--seed {config.seed}")
    named = [name for name, recipe in RECIPES.items() if recipe == config.recipe != defaults.recipe]
    parts += [f"--recipe {name}" for name in named]
    return f"`{' '.join([*parts, *flags])}`"
