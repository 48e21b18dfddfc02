"""Reads the file in which wandb keeps a run offline.

Its format is LevelDB's log (https://github.com/google/leveldb/blob/main/doc/log_format.md) with a header of
7 bytes; each record is a protocol buffer of wandb's own.
"""

import json
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768
FILE_HEADER = 7
RECORD_HEADER = 7
FULL, LAST = 1, 4


def read_records(path: Path) -> list[Any]:
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    records, parts, position = [], b"", FILE_HEADER
    while position + RECORD_HEADER <= len(content):
        left = BLOCK - position % BLOCK
        if left < RECORD_HEADER:
            position += left
            continue
        length = int.from_bytes(content[position + 4 : position + 6], "little")
        kind = content[position + 6]
        if kind == 0:
            break
        parts += content[position + RECORD_HEADER : position + RECORD_HEADER + length]
        position += RECORD_HEADER + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(parts)
            records.append(record)
            parts = b""
    return records


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def run_of(records: list[Any]) -> tuple[str, str, dict[str, Any]]:
    """Return the run's identity, name and configuration."""
    run = next(record.run for record in records if record.WhichOneof("record_type") == "run")
    return run.run_id, run.display_name, _items(run.config.update)


def history_of(records: list[Any]) -> list[dict[str, Any]]:
    """Return what was logged, step by step."""
    return [
        _items(record.history.item) for record in records if record.WhichOneof("record_type") == "history"
    ]
