"""The model card: ``README.md`` of a bundle, with Hugging Face's front matter, made from the run alone."""

import re
from collections.abc import Iterable, Mapping, Sequence

import torch
import yaml
from pydantic import JsonValue

from esdseg import __version__
from esdseg.metrics.score_table import TextTable, build_score_table, describe_tiles, show, show_interval
from esdseg.metrics.scorecard import Scorecard
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE, show_share
from esdseg.sensors.acquisitions import Order
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, CLASSES, PIXEL_SIZE_M
from esdseg.sensors.sensors import Sensor
from esdseg.sharing.formats import INPUT_NAME, OPSET, OUTPUT_NAME
from esdseg.sharing.inputs import INPUTS_NAME
from esdseg.sharing.shared_network import SharedNetwork, describe_choice
from esdseg.tiles.discovery import shown_name

CELL_M = round(CELL_SIZE_PX * PIXEL_SIZE_M)

ORDER_WORDS: Mapping[Order, str] = {
    "clearest": "the clearest date first",
    "date": "the oldest date first",
    "darkest": "the darkest night first",
}

UNITS = {
    "decibel": "decibels: `10 * log10(power)`",
    "reflectance": "reflectance: `(number {offset:+g}) / {scale:g}`{since}",
    "digital_number": "`number / {scale:g}`",
    "log1p": "`log(1 + number)`",
    "none": "numbers as the product has them",
}

SHOWN_TILES = 60
"""Names of tiles that the card lists; of more the rest is counted."""


def write_card(
    network: SharedNetwork, differences: Mapping[str, float], checked_on: str, why_no_script: str | None
) -> str:
    """Return the text of ``README.md``.

    Args:
        network: What is shared.
        differences: Largest difference in probabilities between each file and the checkpoint.
        checked_on: What the files were compared on, in words.
        why_no_script: Why ``predict.py`` is not in the bundle; ``None`` where it is.
    """
    sections = (
        _front_matter(network),
        f"# {_plain(network.name)}",
        _what_it_maps(network),
        _how_to_use(network, why_no_script),
        _input(network),
        _output(network),
        _files(network, differences, checked_on),
        _data(network),
        _training(network),
        _scores(network),
        _calibration(network),
        _ablation(network),
        _limits(network),
        _licence_and_versions(network),
    )
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def _front_matter(network: SharedNetwork) -> str:
    kinds = dict.fromkeys(channel.sensor.name for channel in network.channels)
    tags = [
        "remote-sensing",
        "earth-observation",
        "electrification",
        "semantic-segmentation",
        "onnx",
        "esdseg",
    ]
    content: dict[str, JsonValue] = {
        "license": network.license,
        "library_name": "esdseg",
        "pipeline_tag": "image-segmentation",
        "tags": [*tags, *kinds],
    }
    card = network.card
    if card is not None:
        values = {"Contest F1": ("f1", card.contest_f1), "Macro F1": ("f1", card.f1.macro)}
        values |= {
            "Macro Jaccard (IoU)": ("mean_iou", card.jaccard.macro),
            "Accuracy": ("accuracy", card.accuracy),
        }
        content["model-index"] = [
            {
                "name": network.name,
                "results": [
                    {
                        "task": {"type": "image-segmentation"},
                        "dataset": {
                            "name": network.metadata.sensors.title or "tiles of one's own",
                            "type": "esdseg-store",
                            "split": card.split,
                            "revision": card.data.manifest_hash,
                        },
                        "metrics": [
                            {"type": kind, "name": name, "value": round(value, 4)}
                            for name, (kind, value) in values.items()
                            if value is not None
                        ],
                    }
                ],
            }
        ]
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---"


def _what_it_maps(network: SharedNetwork) -> str:
    several = len(network.checkpoints)
    what = "A network" if several == 1 else f"{several} networks, whose probabilities are averaged,"
    verb = "maps" if several == 1 else "map"
    rows = [(str(kind.code), kind.title, kind.color) for kind in CLASSES]
    return (
        f"{what} that {verb} settlements without electricity from satellite rasters: one of four classes for "
        f"each cell of {CELL_M} m. Trained by esdseg; this page was made from the run.\n\n"
        f"{_table(('code', 'class', 'colour'), rows)}"
    )


def _how_to_use(network: SharedNetwork, why_no_script: str | None) -> str:
    side = network.window_size * CELL_SIZE_PX
    n_channels = len(network.channels)
    if why_no_script is None:
        script = (
            "A folder with the rasters of one tile, without esdseg and PyTorch "
            "(`pip install numpy onnxruntime rasterio`):\n\n"
            "```bash\npython predict.py TILE_FOLDER OUT_FOLDER    # prediction.tif, probabilities.tif\n```"
        )
    else:
        script = f"Rasters are prepared by esdseg, since {why_no_script}."
    load = (
        'model = esdseg.load("THIS.zip")\nprobabilities = model.predict("TILE_FOLDER")  # (4, 16, 16)'
        if len(network.checkpoints) == 1
        else 'card = esdseg.evaluate("THIS.zip")'
    )
    return (
        f"## Use\n\n{script}\n\nAn array of your own, at any number N of windows:\n\n"
        "```python\nimport numpy as np\nimport onnxruntime\n\n"
        'session = onnxruntime.InferenceSession("model.onnx")\n'
        f'image = np.load("image.npy")  # (N, {n_channels}, {side}, {side}) float32, NaN is no data\n'
        f'(probabilities,) = session.run(["{OUTPUT_NAME}"], {{"{INPUT_NAME}": image}})\n```\n\n'
        "With esdseg, the zip stands wherever a checkpoint is named:\n\n"
        "```bash\nesdseg evaluate --checkpoint THIS.zip\nesdseg restitch --checkpoint THIS.zip\n```\n\n"
        f"```python\nimport esdseg\n\n{load}\n```"
    )


def _input(network: SharedNetwork) -> str:
    side = network.window_size * CELL_SIZE_PX
    channels = network.channels
    rows, first = [], 0
    while first < len(channels):
        head = channels[first]
        end = first
        while end < len(channels) and _group(channels[end]) == _group(head):
            end += 1
        bands = ", ".join(channel.band for channel in channels[first:end])
        numbers = str(first) if end == first + 1 else f"{first} to {end - 1}"
        rows.append((numbers, head.sensor.name, _place(head), bands))
        first = end
    sensors = {channel.sensor.name: channel.sensor for channel in channels}
    offset = network.metadata.reflectance_offset
    units = [(sensor.name, sensor.title, _units(sensor, offset)) for sensor in sensors.values()]
    return (
        f"## Input\n\n`{INPUT_NAME}`: float32 (N, {len(channels)}, {side}, {side}): any number N of windows "
        f"of {network.window_size} x {network.window_size} cells, in pixels of {PIXEL_SIZE_M:g} m, values in "
        "physical units, NaN where there is no data. The scale of each channel lies inside the network; "
        "scale nothing.\n\nThe network asks for roles, not for calendar dates. A place that a tile lacks "
        f"is NaN in all of its bands. `{INPUTS_NAME}` has the same for programs.\n\n"
        f"{_table(('channels', 'sensor', 'which date', 'bands, in this order'), rows)}\n\n"
        f"{_table(('sensor', 'product', 'values'), units)}\n\n"
        "Values are rounded to half precision, as the network learned them."
    )


def _group(channel: Channel) -> tuple[str, int | None, Order]:
    return channel.sensor.name, channel.place, channel.order


def _place(channel: Channel) -> str:
    if channel.place is None:
        return "over all nights"
    return f"number {channel.place}, {ORDER_WORDS[channel.order]}"


def _units(sensor: Sensor, reflectance_offset: str) -> str:
    conversion = sensor.conversion
    since, offset = "", conversion.offset
    if conversion.offset_since is not None and reflectance_offset == "keep":
        offset = 0.0
    elif conversion.offset_since is not None and reflectance_offset == "by_date":
        since = f" from {conversion.offset_since} on, `number / {conversion.scale:g}` before"
    form = (
        UNITS[conversion.name]
        if offset or conversion.name != "reflectance"
        else "reflectance: `number / {scale:g}`"
    )
    fill = f"; {sensor.fill_value} is no data" if sensor.fill_value is not None else ""
    return form.format(offset=offset, scale=conversion.scale, since=since) + fill


def _output(network: SharedNetwork) -> str:
    cells = network.window_size
    own = {checkpoint.metadata.temperature for checkpoint in network.checkpoints}
    tempered = own != {1} or network.temperature != 1
    return (
        f"## Output\n\n`{OUTPUT_NAME}`: float32 (N, 4, {cells}, {cells}): the probability of each class, in "
        "the order of the codes, in each cell. They add up to 1. "
        f"{'The temperature has acted on them' if tempered else 'No temperature acts on them'}; their "
        "logarithms are logits, up to a constant. All four are NaN in a cell of which "
        f"{'the network' if len(network.checkpoints) == 1 else 'a network'} has less than "
        f"{show_share(MIN_CHANNEL_SHARE)} of its channels: too little for a map."
    )


def _files(network: SharedNetwork, differences: Mapping[str, float], checked_on: str) -> str:
    rows = [
        ("model.onnx", f"ONNX, opset {OPSET}", f"{differences['model.onnx']:.1e}"),
        ("model.pt2", f"`torch.export.load`, PyTorch {torch.__version__}", f"{differences['model.pt2']:.1e}"),
    ]
    names = ", ".join(f"`{name}`" for name in network.names_in_bundle())
    return (
        "## Files\n\n"
        f"{_table(('file', 'format', 'largest difference in probabilities'), rows)}\n\n"
        f"Compared with the checkpoint on {_plain(checked_on)}. esdseg reads "
        f"{names}. `mlm.json` is a STAC item with the Machine Learning Model extension; `bundle.json` "
        "says which checkpoints there are. `model.pt2` holds a program: load it only from somebody you trust."
    )


def _data(network: SharedNetwork) -> str:
    metadata, store = network.metadata, network.store
    trained, validated = network.train_tiles(), network.val_tiles()
    lines = [
        f"Sensors: {_plain(metadata.sensors.title) or 'a description of its own'}.",
        f"Trained on {_tiles(trained)}.",
        f"Validated on {_tiles(validated)}.",
    ]
    of_all = [checkpoint.metadata for checkpoint in network.checkpoints]
    held_out = [tile for each in of_all for tile in each.held_out_tiles]
    if held_out:
        lines.append(f"Held out, each by one network: {_tiles(tuple(dict.fromkeys(held_out)))}.")
    lines += [
        f"Adapted to {_plain(each.adapted_to)}, by their images alone: the scale of the channels and batch "
        "normalisation are those of that place."
        for each in of_all
        if each.adapted_to is not None
    ]
    hashes = dict.fromkeys(each.manifest_hash for each in of_all)
    lines.append(f"SHA-256 of the store's manifest: {', '.join(f'`{value}`' for value in hashes)}.")
    recipe = metadata.recipe
    lines.append(f"Recipe: values are scaled by {recipe.scale_by.replace('_', ' ')} ({recipe.rescale}).")
    text = "## Data and split\n\n" + "\n".join(f"- {line}" for line in lines)
    known = network.known_tiles(trained=True)
    if store is None or not known:
        why = _plain(network.why_no_store or "the store lacks these tiles")
        return f"{text}\n- Cells of each class are not known, since {why}."
    counts = store.class_counts(known)
    rows = [(kind.title_with_code, f"{int(counts[kind.index]):,}") for kind in CLASSES]
    days = [day.acquired for tile in known for day in store.acquisitions(tile)]
    if days:
        text += f"\n- Dates of these tiles: {min(days)} to {max(days)}."
    return f"{text}\n\n{_table(('class', 'training cells'), rows)}"


def _training(network: SharedNetwork) -> str:
    rows = []
    for checkpoint in network.checkpoints:
        config = checkpoint.config
        weights = getattr(config.model, "weights", "none")
        loss = ", ".join(
            f"{weight:g} {name}" for name, weight in config.loss.terms.model_dump().items() if weight
        )
        rows.append(
            (
                _plain(checkpoint.run_name),
                f"`{config.model.name}`",
                f"{checkpoint.parameters:,}",
                str(checkpoint.window_size),
                _plain(str(weights)),
                loss,
                str(config.trainer.seed),
                _plain(describe_choice(checkpoint)),
            )
        )
    header = ("run", "model", "parameters", "window (cells)", "pretrained", "loss", "seed", "chosen")
    return f"## Training\n\n{_table(header, rows)}\n\nAll settings lie in the checkpoint."


def _scores(network: SharedNetwork) -> str:
    card = network.card
    if card is None:
        return (
            "## Scores\n\nNone: no evaluation of exactly this checkpoint was found when the bundle was made. "
            "`esdseg evaluate --checkpoint THIS.zip` scores it on tiles with labels."
        )
    headline, classes = build_score_table(card).tables("Scores")
    lines = [
        f"On {describe_tiles(card.split, len(card.tiles))} ({card.cells:,} cells), beside simple answers."
    ]
    lines += [
        "Intervals are 95 %, from resampling tiles."
        if any(card.intervals.values())
        else "Tiles are too few for intervals."
    ]
    if card.split == "fold":
        lines.append(
            "Each tile was scored by the one network that did not see it. The mean of all, which is shared, "
            "was scored on no tile."
        )
    if card.selection_bias:
        lines.append("**These tiles chose the checkpoint, so the scores are too good for new tiles.**")
    text = f"## Scores\n\n{' '.join(lines)}\n\n{_text_table(headline)}\n\n{_text_table(classes)}"
    if card.last_checkpoint is not None:
        last = card.last_checkpoint
        text += (
            f"\n\nThe last epoch, which no score chose, on the same tiles: contest F1 "
            f"{show(last.contest_f1)}, macro F1 {show(last.f1_macro)}, macro Jaccard "
            f"{show(last.jaccard_macro)}, macro AUC {show(last.auc_macro)}, accuracy {show(last.accuracy)}."
        )
    if card.verdict is not None:
        text += f"\n\n{_plain(card.verdict.sentence())}"
    return text


def _calibration(network: SharedNetwork) -> str:
    lines = []
    for checkpoint in network.checkpoints:
        metadata = checkpoint.metadata
        threshold = (
            f", threshold for the contest's F1 {metadata.contest_threshold:.3f}"
            if metadata.contest_threshold is not None
            else ""
        )
        lines.append(
            f"- {_plain(checkpoint.run_name)}: "
            + (
                f"temperature {metadata.temperature:.3f}{threshold}, chosen on its validation tiles."
                if metadata.is_calibrated
                else "not calibrated; probabilities are as the network gives them."
            )
        )
    if network.temperature != 1:
        lines.append(f"- Their mean: temperature {network.temperature:.3f}, chosen on the same tiles.")
    text = "## Calibration\n\n" + "\n".join(lines)
    if network.card is None:
        return text
    scores = network.card.calibration
    text += (
        f"\n\nOn the scored tiles: expected calibration error "
        f"{show(scores.expected_calibration_error)}, Brier score {show(scores.brier)}, "
        f"mean confidence {show(scores.mean_confidence)}."
    )
    threshold_scores = network.card.threshold_contest_f1
    if threshold_scores is not None:
        text += (
            f" Contest F1 at the threshold: {show(threshold_scores.contest_f1)} "
            f"({show_interval(threshold_scores.interval)})."
        )
    return text


def _ablation(network: SharedNetwork) -> str:
    ablation = network.ablation
    if ablation is None:
        return "## Sensors\n\nWhat each sensor is worth was not measured (`esdseg ablate`)."
    tables = "\n\n".join(f"{table.title}:\n\n{_text_table(table)}" for table in ablation.tables()[1:])
    return f"## Sensors\n\n{_plain(ablation.summary)}\n\n{tables}"


def _limits(network: SharedNetwork) -> str:
    lines = [
        f"Labels are cells of {CELL_M} m. A map cannot show where in a cell the buildings stand.",
        f"A cell with less than {show_share(MIN_CHANNEL_SHARE)} of the channels is no data.",
        "It knows the place and the season of its training tiles. Elsewhere its scores are not known.",
    ]
    card: Scorecard | None = network.card
    if card is not None:
        lines += [_plain(note) for note in card.notes]
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _licence_and_versions(network: SharedNetwork) -> str:
    licence = (
        "Its author has not said under which licence the weights may be used; ask before you do."
        if network.license == "unknown"
        else f"Weights: {network.license}."
    )
    made = "" if network.card is None else f" Scores: esdseg {_plain(network.card.versions.esdseg)}."
    return (
        f"## Licence and versions\n\n{licence} The data that it was trained on have terms of their own. "
        f"esdseg is under the MIT licence.\n\nExported by esdseg {__version__} with PyTorch "
        f"{torch.__version__}, ONNX opset {OPSET}.{made}"
    )


def _tiles(tiles: Sequence[str]) -> str:
    more = f" and {len(tiles) - SHOWN_TILES} more" if len(tiles) > SHOWN_TILES else ""
    named = f" ({', '.join(map(_plain, tiles[:SHOWN_TILES]))}{more})" if tiles else ""
    return f"{len(tiles)} tile{'' if len(tiles) == 1 else 's'}{named}"


def _text_table(table: TextTable) -> str:
    return _table(table.header, [[_plain(cell.strip()) for cell in row] for row in table.rows])


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(text: str) -> str:
    """Return text that may come from strangers so that Markdown shows it as it is, in one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", shown_name(text))
