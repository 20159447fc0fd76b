"""`edged model new`: a model directory from an ONNX file, whole or not at all.

The directory is built beside its place and renamed into it once it loads, runs and suits its parser.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edged import registry
from edged.cli.model_trial import run_once
from edged.engines.onnxruntime import OnnxRuntimeEngine
from edged.errors import ConfigError, EdgedError, ModelError
from edged.models import suggest, toml_text
from edged.models.files import sha256_of, unreadable
from edged.models.inspect import PICTURE_TYPES, GraphFacts, TensorFacts, read_graph
from edged.models.labels import WELL_KNOWN
from edged.models.load import MODEL_TOML, labels_named, load_model, task_of
from edged.models.model import Model, OutputSpec
from edged.models.picture import guess_layout, several_inputs
from edged.models.reader import suggestion
from edged.models.rewrite import rewrite
from edged.tensors import Color, ImageInput, Layout, TensorSpec

ONNX_NAME, LABELS_NAME = "model.onnx", "labels.txt"


@dataclass(frozen=True, slots=True)
class Request:
    """What the user said; None or empty: not said. `input` holds [input] keys, `origin` what `onnx` was made of."""

    onnx: Path
    directory: Path
    origin: Path | None = None
    name: str = ""
    version: str = ""
    task: str = ""
    parser: str = ""
    size: tuple[int, int] | None = None
    labels: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Created:
    """The new model, what was done to the file, and what its author has to check."""

    model: Model
    outputs: tuple[TensorSpec, ...]
    notes: tuple[str, ...]
    checks: tuple[str, ...]


def create(request: Request) -> Created:
    """Make the directory. Raises ModelError, EngineError, ConfigError; then nothing is left behind."""
    target = request.directory
    refuse_existing(target)
    _check_words(request)
    facts = read_graph(request.onnx)
    tensor = _picture(request, facts)
    ancestor = next(p for p in target.absolute().parents if p.is_dir())
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=ancestor))
    except OSError as e:
        raise ModelError(
            f"{ancestor}: cannot be written: {e.strerror or e}", hint="check its permissions"
        ) from e
    try:
        created = _build(request, facts, tensor, staging)
        staging.chmod(0o755)  # mkdtemp made it for its owner alone
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(staging, target)
    except EdgedError as e:
        e.message = e.message.replace(str(staging), str(target))  # the user's words: staging is gone by then
        raise
    except OSError as e:
        raise ModelError(
            f"{target}: cannot be written: {e.strerror or e}", hint="check disk and permissions"
        ) from e
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # gone already after the rename
    model = replace(created.model, path=target, file=target / ONNX_NAME)
    return replace(created, model=model)


def refuse_existing(target: Path) -> None:
    """ModelError where there is something already."""
    if target.exists() or target.is_symlink():
        raise ModelError(
            f"{target}: exists already; a model is never overwritten",
            hint="choose a new directory, or remove it",
        )


def _check_words(request: Request) -> None:
    kinds = registry.kinds("parsers")
    if request.parser and request.parser not in kinds:
        raise ModelError(f"--parser: '{request.parser}' is unknown", hint=suggestion(request.parser, kinds))


def _picture(request: Request, facts: GraphFacts) -> TensorFacts:
    """The one input."""
    if len(facts.inputs) != 1:
        problem = several_inputs(str(request.onnx), facts)
        raise ModelError(f"{problem.path}: {problem.message}", hint=problem.hint)
    tensor = facts.inputs[0]
    for name in request.shapes:
        if name != tensor.name:
            raise ModelError(f"--shape: '{name}' is no input of {request.onnx}", hint=f"it has {tensor}")
    rank = len(request.shapes.get(tensor.name, tensor.dims or (0,) * 4))
    if rank != 4 or tensor.element not in PICTURE_TYPES:
        raise ModelError(
            f"{request.onnx}: input {tensor} is no picture",
            hint=f"a picture has four dimensions and one of the types {', '.join(PICTURE_TYPES)}",
        )
    return tensor


def _build(request: Request, facts: GraphFacts, tensor: TensorFacts, staging: Path) -> Created:
    """Fill `staging`; returns what was made (its paths are those in staging)."""
    file = staging / ONNX_NAME
    image = _image(request, facts, tensor)
    notes = _write_onnx(request, facts, tensor, image.shape(), file)
    draft = Model(
        path=staging,
        name=request.name or toml_text.as_name(request.directory.name),
        version=request.version,
        task="raw",
        file=file,
        sha256=sha256_of(file),
        input=image,
        output=OutputSpec("raw"),
    )
    engine = OnnxRuntimeEngine(draft, OnnxRuntimeEngine.Options())
    try:
        run_once(engine)
        outputs = engine.outputs
        known = suggest.recognize(engine.inputs, outputs, facts.metadata, request.parser)
    finally:
        engine.close()
    text, checks = _describe(request, draft, known, outputs, tensor.element)
    (staging / MODEL_TOML).write_text(text, "utf-8")
    try:
        model = load_model(staging)
    except ConfigError as e:
        raise ConfigError(str(request.directory / MODEL_TOML), e.problems) from e
    registry.load("parsers", model.output.parser)(model).check(outputs)
    return Created(model, outputs, notes, checks)


def _image(request: Request, facts: GraphFacts, tensor: TensorFacts) -> ImageInput:
    """The picture's size and layout, from flags, fixed dimensions or the exporter's metadata."""
    dims = request.shapes.get(tensor.name) or tensor.dims
    layout: Layout = "NCHW"
    sides: tuple[int | str, ...] = ("?", "?")
    color: Color = "RGB"
    if dims is not None:
        layout = "NHWC" if "NHWC" in (guess_layout(dims, 3), guess_layout(dims, 1)) else "NCHW"
        sides = dims[2:] if layout == "NCHW" else dims[1:3]
        channels = dims[1] if layout == "NCHW" else dims[3]
        color = "GREY" if channels == 1 else "RGB"
        if channels not in (1, 3) and not isinstance(channels, str):
            raise ModelError(
                f"{request.onnx}: input {tensor} has {channels} channels",
                hint="a picture has 1 or 3 channels",
            )
    size = request.size or suggest.picture_size(facts.metadata)
    if isinstance(sides[0], int) and isinstance(sides[1], int):
        size = request.size or (sides[1], sides[0])
    if size is None:
        raise ModelError(
            f"{request.onnx}: the size of input {tensor} is open", hint="say it: --size WIDTHxHEIGHT"
        )
    return ImageInput(tensor.name, size, color=color, layout=layout)


def _write_onnx(
    request: Request, facts: GraphFacts, tensor: TensorFacts, shape: tuple[int, ...], file: Path
) -> tuple[str, ...]:
    """The ONNX file, copied as it is or rewritten where it must be; returns what was changed."""
    asked = request.shapes.get(tensor.name)
    notes = []
    shapes: dict[str, tuple[int, ...]] = {}
    if asked is not None and tensor.fixed is not None and tensor.fixed != asked:
        shapes = {tensor.name: asked}
        notes.append(f"input {tensor.name} was fixed at {list(tensor.fixed)}; the copy has {list(asked)}")
    elif asked is None and tensor.fixed is not None and tensor.fixed != shape:
        raise ModelError(
            f"{request.onnx}: {tensor} is fixed, wanted is {list(shape)}",
            hint=f"--shape {tensor.name}={','.join(map(str, shape))} changes it, if the model allows another size",
        )
    if asked is not None and asked != shape:
        raise ModelError(
            f"--shape {tensor.name}={','.join(map(str, asked))}: edged runs one picture at a time: {list(shape)}",
            hint="--size and --shape must agree, and the first dimension must be 1",
        )
    if facts.weights_as_inputs:
        notes.append(
            f"{facts.weights_as_inputs} weights were listed as inputs; in the copy they are constants, "
            "which ONNX Runtime can optimize"
        )
    if facts.external:
        notes.append(f"weights of {', '.join(facts.external)} are inside the copy")
    try:
        if notes:
            rewrite(request.onnx, file, shapes)
        else:
            shutil.copyfile(request.onnx, file)
    except OSError as e:
        raise unreadable(request.onnx, e) from e
    return tuple(notes)


def _describe(
    request: Request,
    draft: Model,
    known: suggest.Recognized | None,
    outputs: tuple[TensorSpec, ...],
    element: str,
) -> tuple[str, tuple[str, ...]]:
    """The text of model.toml, and what in it must be checked."""
    file, how = (request.onnx, "new") if request.origin is None else (request.origin, "import")
    hashed = f", sha256 {sha256_of(file)}" if file.is_file() else ""  # a SavedModel is a folder
    t = toml_text.Writer(f"Made by edged model {how} from {file.name}{hashed}.")
    parser = known.parser if known is not None else "raw"
    t.put("name", draft.name)
    if request.version:
        t.put("version", request.version)
    t.put("task", request.task or task_of(parser))
    t.put("file", ONNX_NAME)
    t.put("sha256", draft.sha256)
    t.table("input")
    t.put("tensor", draft.input.tensor)
    t.put("size", list(draft.input.size))
    t.put("layout", draft.input.layout)
    _put_input(t, request, draft, known, element)
    t.table("output")
    listing = "; ".join(map(str, outputs))
    if known is None:
        t.check(f"no parser knows the outputs ({listing}); 'raw' publishes them as they are")
    elif known.others:
        t.check(f"outputs of this shape are also read by: {', '.join(known.others)}")
    t.put("parser", parser)
    keys = {k: v for k, v in known.output.items() if k != "labels"} if known is not None else {}
    if keys:
        t.check(f"{', '.join(keys)}: taken from the shapes and names of the outputs")
    for key, value in keys.items():
        t.put(key, value)
    _put_labels(t, request, draft, known, outputs)
    return t.text(), tuple(t.checks)


def _put_input(
    t: toml_text.Writer, request: Request, draft: Model, known: suggest.Recognized | None, element: str
) -> None:
    """Color, resize, pad, mean and std: as said, else as models of this kind want it, marked."""
    hints = dict(known.input if known is not None else suggest.input_hints(""))
    who = f"usual for {known.parser} models" if known is not None else "guessed"
    if draft.input.color == "GREY":
        hints["color"] = "GREY"
    if element == "uint8" or hints["color"] == "GREY":
        hints.update(mean=0.0, std=1.0)
    for group in (("color",), ("resize", "pad"), ("mean", "std")):
        guessed = [f"{key} = {toml_text.value(hints[key])}" for key in group if key not in request.input]
        if guessed:
            t.check(f"{', '.join(guessed)}: {who}; the file does not say")
        for key in group:
            t.put(key, request.input.get(key, hints[key]))


def _put_labels(
    t: toml_text.Writer,
    request: Request,
    draft: Model,
    known: suggest.Recognized | None,
    outputs: tuple[TensorSpec, ...],
) -> None:
    """Labels as said, as the exporter stored them, or as the number of classes suggests."""
    labels: tuple[str, ...] = ()
    if request.labels:
        labels = labels_named(request.labels)
    elif known is not None:
        labels = tuple(map(str, known.output.get("labels", ()))) or suggest.ONE_CLASS.get(known.parser, ())
        if not labels and suggest.class_count(known.parser, outputs) == len(WELL_KNOWN["coco80"]):
            labels = WELL_KNOWN["coco80"]
            t.check("labels: 80 classes are taken for those of COCO")
        if not labels and known.parser != "raw":
            t.check("labels: not in the file; classes are published by number (--labels FILE, one a line)")
    if labels:
        lines = (" ".join(label.split()) for label in labels)
        (draft.path / LABELS_NAME).write_text("".join(f"{line}\n" for line in lines), "utf-8")
        t.put("labels", LABELS_NAME)
