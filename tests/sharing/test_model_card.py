"""A bundle of what strangers made: their names are shown as they are, and lead and steer nowhere."""

import json
import zipfile
from pathlib import Path

import pystac
import pytest
import yaml
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from esdseg.config.models import SegmentationCNNConfig
from esdseg.models.bundle import read_bundle
from esdseg.sharing.export import export
from esdseg.store.store import Store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import store, workspace

__all__ = ["store", "workspace"]

HOSTILE = "../<script>alert(1)</script> | [x](http://evil) \x1b[2J\n---\nlicense: mit"


@pytest.fixture(scope="module")
def bundle(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    write_checkpoint(
        folder / "last.ckpt",
        store,
        run_name=HOSTILE,
        train_tiles=("Tile1", HOSTILE),
        channels=store.channels[:4],
        network=SegmentationCNNConfig(depth=1, embedding_size=2),
    )
    result = export(
        [str(folder / "last.ckpt")],
        folder / "out.zip",
        processed_dir=store.path.parent,
        predictions_dir=folder,
    )
    assert result.checked_on == "the run's 2 validation tiles"
    assert [note.split(",")[0] for note in result.notes] == [
        "The card has no scores",
        "Nobody may use the weights until you say under which licence: --license cc-by-4.0.",
    ]
    return folder / "out.zip"


def read(bundle: Path, name: str) -> str:
    with zipfile.ZipFile(bundle) as archive:
        return archive.read(name).decode()


def test_hostile_names_are_text_in_the_card(bundle: Path) -> None:
    text = read(bundle, "README.md")
    _, front, body = text.split("---\n", 2)
    told = yaml.safe_load(front)
    assert (told["license"], "model-index" in told) == ("unknown", False)
    assert not any(character in text for character in "\x1b\x07")
    assert "<script>" not in body
    assert r"\<script\>" in body
    assert r"\[x\](http://evil)" in body
    assert "license: mit" not in front
    assert [line for line in body.splitlines() if line.startswith("license")] == []


def test_what_is_not_known_is_said(bundle: Path) -> None:
    body = read(bundle, "README.md")
    assert "None: no evaluation of exactly this checkpoint was found" in body
    assert "has not said under which licence" in body
    assert "not calibrated" in body
    assert "The last epoch, which no score chose, though early stopping watched" in body
    assert "esdseg reads `last.ckpt`." in body


def test_hostile_names_lead_nowhere(bundle: Path) -> None:
    found = read_bundle(bundle)
    assert found is not None
    assert found.checkpoints == (bundle / "last.ckpt",)
    assert not set("/\\\n<>|") & set(found.runs[0].name)
    item = json.loads(read(bundle, "mlm.json"))
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
    assert item["id"] == item["properties"]["mlm:name"]
    assert item["id"].replace("-", "").isalnum()
    assert item["geometry"] is None, "nothing says where the tiles lie"
