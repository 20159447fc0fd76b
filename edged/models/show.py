"""What `edged model show` tells: model.toml as it is understood, and the graph behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edged.memory import format_bytes
from edged.models.inspect import read_graph
from edged.models.load import load_model

_MOST_OPS = 8


def facts_of(directory: Path) -> dict[str, Any]:
    """Facts in the order to be shown; JSON-able. Raises what load_model raises. Runs nothing."""
    model = load_model(directory)
    graph = read_graph(model.file)
    image, output = model.input, model.output
    options = msgspec.to_builtins(output.options) if output.options is not None else {}
    return {
        "name": model.name,
        "version": model.version,
        "task": model.task,
        "file": f"{model.file.name}, {format_bytes(model.file.stat().st_size)}",
        "sha256": model.sha256,
        "inputs": [str(t) for t in graph.inputs],
        "outputs": [str(t) for t in graph.outputs],
        "graph": f"{graph.nodes} nodes, opset {graph.opset}, by {graph.producer or 'unknown'}",
        "operators": dict(list(graph.ops.items())[:_MOST_OPS]),
        "input": {
            "tensor": image.tensor,
            "size": list(image.size),
            "color": image.color,
            "resize": image.resize,
            "pad": image.pad,
            "mean": list(image.mean),
            "std": list(image.std),
            "layout": image.layout,
        },
        "output": {
            "parser": output.parser,
            "labels": len(output.labels),
            "score_threshold": output.score_threshold,
            "iou_threshold": output.iou_threshold,
            "max_detections": output.max_detections,
            **options,
        },
    }
