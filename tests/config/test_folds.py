import pytest

from esdseg.config.loading import dump_config, load_config
from esdseg.config.training import ESDConfig, FoldsConfig
from esdseg.errors import ConfigError


def test_a_fold_is_a_number_of_a_count() -> None:
    folds = FoldsConfig(fold="2/5")
    assert (folds.number, folds.count) == (2, 5)
    assert "fold: 2/5" in dump_config(load_config(ESDConfig, None, {"--fold": ("folds.fold", "2/5")}))


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/1", "2", "2/5/6", "a/b", "-1/5", ""])
def test_what_is_no_fold_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--fold: .*is no fold; write 2/5"):
        load_config(ESDConfig, None, {"--fold": ("folds.fold", text)})


def test_a_buffer_without_folds_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--buffer-km: .*give --fold or --folds too"):
        load_config(ESDConfig, None, {"--buffer-km": ("folds.buffer_km", 2.0)})


def test_a_run_without_folds_has_no_number() -> None:
    with pytest.raises(ValueError, match="without folds"):
        _ = FoldsConfig().number
