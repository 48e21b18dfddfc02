"""Bundles of ``esdseg export`` are read as strangers' files: nothing is unpacked, run, or believed unseen."""

import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.evaluation import PredictionConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.models.bundle import read_bundle
from esdseg.models.runs import require_runs, resolve_checkpoint
from esdseg.prediction.open_checkpoints import open_runs

CHECKPOINT = Path(__file__).parents[1] / "fixtures/format3/checkpoints/cnn/best.ckpt"
FOLDER = Path("checkpoints")


def description(*runs: tuple[str, ...], **others: object) -> bytes:
    named = [{"name": f"run{number}", "checkpoints": run} for number, run in enumerate(runs)]
    return json.dumps({"format_version": 1, "esdseg": "0.1.0", "runs": named, **others}).encode()


def write_zip(path: Path, records: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    records = {"bundle.json": description(("checkpoint.ckpt",)), "checkpoint.ckpt": CHECKPOINT.read_bytes()}
    return write_zip(tmp_path / "shared.zip", records)


def test_the_checkpoint_in_a_bundle_is_found_and_equals_the_file(bundle: Path) -> None:
    path = resolve_checkpoint(str(bundle), FOLDER)
    assert path == resolve_checkpoint(str(bundle / "checkpoint.ckpt"), FOLDER) == bundle / "checkpoint.ckpt"
    assert resolve_checkpoint("shared.zip", bundle.parent) == path
    bundled, plain = open_checkpoint(path), open_checkpoint(CHECKPOINT)
    assert bundled.metadata == plain.metadata
    states = [loaded.model.state_dict() for loaded in (bundled, plain)]  # type: ignore[attr-defined]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert list(bundle.parent.iterdir()) == [bundle], "nothing is unpacked"


def test_several_checkpoints_of_a_bundle_predict_together(tmp_path: Path) -> None:
    content = CHECKPOINT.read_bytes()
    names = ("1/checkpoint.ckpt", "2/last.ckpt")
    records = {"bundle.json": description(*((name,) for name in names)), **dict.fromkeys(names, content)}
    path = write_zip(tmp_path / "pair.zip", records)
    require_runs([str(path)], FOLDER)
    runs = open_runs(PredictionConfig(checkpoint=str(path)))
    assert [run.path for run in runs] == [path / name for name in names]
    with pytest.raises(InputDataError, match=r"2 checkpoints that predict together.*pair\.zip/1/checkpoint"):
        resolve_checkpoint(str(path), FOLDER)
    assert resolve_checkpoint(str(path / names[1]), FOLDER) == path / names[1]
    with pytest.raises(UsageError, match=r"^\S*pair\.zip\S* is named twice"):
        open_runs(PredictionConfig(checkpoint=(str(path), str(path))))


def test_other_files_are_no_bundles(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("PK")
    assert read_bundle(CHECKPOINT) is read_bundle(tmp_path / "text") is read_bundle(tmp_path) is None
    assert resolve_checkpoint(str(CHECKPOINT), FOLDER) == CHECKPOINT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (description(("../checkpoint.ckpt",)), "at 'runs.0.checkpoints.0'"),
        (description(("/etc/checkpoint.ckpt",)), "at 'runs.0.checkpoints.0'"),
        (description(("1/2/checkpoint.ckpt",)), "at 'runs.0.checkpoints.0'"),
        (description(("checkpoint.ckpt\n",)), "at 'runs.0.checkpoints.0'"),
        (description(), "at 'runs'"),
        (description(("checkpoint.ckpt",), format_version=2), "at 'format_version'"),
        (
            description(runs=[{"name": "../../outside", "checkpoints": ["checkpoint.ckpt"]}]),
            "at 'runs.0.name'",
        ),
        (b"[" * 100_000, "at 'its start'"),
        (b" " * 1_000_001, "claims 1,000,001 bytes"),
    ],
)
def test_a_description_that_leads_elsewhere_or_is_damaged_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    records = {"bundle.json": content, "checkpoint.ckpt": b""}
    path = write_zip(tmp_path / "hostile.zip", records, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputDataError, match=rf"hostile\.zip.*{message}"):
        require_runs([str(path)], FOLDER)


def test_a_checkpoint_that_is_packed_doubled_or_missing_is_refused(tmp_path: Path) -> None:
    named = description(("checkpoint.ckpt",))
    zeros = {"bundle.json": named, "checkpoint.ckpt": bytes(10_000_000)}
    packed = write_zip(tmp_path / "packed.zip", zeros, zipfile.ZIP_DEFLATED)
    assert packed.stat().st_size < 20_000
    missing = write_zip(tmp_path / "missing.zip", {"bundle.json": named})
    doubled = write_zip(tmp_path / "doubled.zip", {"bundle.json": named, "checkpoint.ckpt": b"1"})
    with zipfile.ZipFile(doubled, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("checkpoint.ckpt", b"2")
    for path, message in ((packed, "is packed"), (missing, "no checkpoint of"), (doubled, "stands in it 2")):
        with pytest.raises(InputDataError, match=message):
            open_checkpoint(resolve_checkpoint(str(path), FOLDER))
    with pytest.raises(InputDataError, match="no checkpoint of this name"):
        open_checkpoint(packed / "bundle.json")


def test_a_flipped_bit_of_the_checkpoint_is_found(bundle: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    with pytest.raises(InputDataError, match=r"checkpoint\.ckpt: the bundle is damaged.*CRC"):
        open_checkpoint(resolve_checkpoint(str(bundle), FOLDER))


class Bomb:
    """Makes a folder if it is ever unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = str(witness)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.witness,)


def test_code_in_a_bundled_checkpoint_is_refused_and_never_run(bundle: Path) -> None:
    content = torch.load(CHECKPOINT, weights_only=True)
    torch.save({**content, "callbacks": Bomb(bundle.parent / "witness")}, bundle.parent / "bomb.ckpt")
    records = {"bundle.json": description(("checkpoint.ckpt",))}
    records["checkpoint.ckpt"] = (bundle.parent / "bomb.ckpt").read_bytes()
    write_zip(bundle, records)
    with pytest.raises(InputDataError, match="would run code"):
        open_checkpoint(resolve_checkpoint(str(bundle), FOLDER))
    assert not (bundle.parent / "witness").exists()


def test_a_bundle_within_a_bundle_is_no_checkpoint(bundle: Path, tmp_path: Path) -> None:
    records = {"bundle.json": description(("checkpoint.ckpt",)), "checkpoint.ckpt": bundle.read_bytes()}
    outer = write_zip(tmp_path / "outer.zip", records)
    with pytest.raises(InputDataError, match="is not a checkpoint"):
        open_checkpoint(resolve_checkpoint(str(outer), FOLDER))
    shutil.copy(outer, tmp_path / "named.ckpt")
    assert resolve_checkpoint(str(tmp_path / "named.ckpt"), FOLDER).name == "checkpoint.ckpt"


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), keep=st.floats(0.05, 1))
def test_any_changed_or_cut_bundle_is_the_same_checkpoint_or_an_error(
    bundle: Path, place: float, value: int, keep: float
) -> None:
    whole = bundle.read_bytes()
    content = bytearray(whole[: int(keep * len(whole))] if keep < 0.5 else whole)
    # Half of the changes fall into the zip's own directory, which is small and lies at the end.
    position = int(place * 2 * len(content)) if place < 0.5 else len(content) - 1 - int((place - 0.5) * 600)
    content[min(max(position, 0), len(content) - 1)] = value
    changed = bundle.with_name("changed.zip")
    changed.write_bytes(content)
    try:
        loaded = open_checkpoint(resolve_checkpoint(str(changed), FOLDER))
    except InputDataError:
        return
    assert loaded.metadata == open_checkpoint(CHECKPOINT).metadata
