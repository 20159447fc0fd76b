"""A model directory to a checked Model: every problem of model.toml at once, and the file's hash.

Errors: ConfigError lists what is wrong in model.toml, ModelError tells of the ONNX file or the directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from edged import registry
from edged.config.schema import Positive, Table, Unit
from edged.errors import ConfigError, ModelError, Problem
from edged.messages import Name
from edged.models.files import is_inside, sha256_of, unreadable
from edged.models.inspect import GraphFacts, read_graph
from edged.models.labels import WELL_KNOWN
from edged.models.model import Model, OutputSpec, Task
from edged.models.picture import InputTable, read_input, read_shapes
from edged.models.reader import SHA256, misspelt, read_table, read_toml, split, suggestion

MODEL_TOML = "model.toml"

# tasks of the built-in parsers; a third party's class may have `task`; all others detect
TASKS: dict[str, Task] = {"classification": "classify", "segmentation": "segment", "raw": "raw"}


class OutputTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[output], as written, without the parser's own keys. `labels`: the names, or a file of one a line."""

    parser: str
    labels: str | tuple[str, ...] = ()
    score_threshold: Unit = 0.3
    iou_threshold: Unit = 0.45
    max_detections: Positive = 300


class ModelTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """model.toml, as written; [output] is read in two steps (the parser knows some of its keys)."""

    name: Name
    version: str = ""
    task: Task | None = None
    file: str
    sha256: Annotated[str, Meta(pattern=SHA256)]
    input: InputTable
    output: dict[str, Any]
    shapes: Mapping[str, tuple[Positive, ...]] = {}


def load_model(directory: Path) -> Model:
    """The model in `directory`. Reads model.toml, the labels and the graph, and verifies the file's sha256."""
    path = directory / MODEL_TOML
    text = _read(directory, path)
    problems: list[Problem] = []
    raw = read_toml(path, text)
    table = read_table(ModelTable, raw, "", problems)
    # each part is checked whether or not another failed: one run shows all there is to mend
    image = read_table(InputTable, raw["input"], "input", []) if "input" in raw else None
    output = _output(raw["output"], directory, problems) if isinstance(raw.get("output"), dict) else None
    task = _task(raw.get("task"), output, problems)
    file = _file(directory, raw.get("file"), problems)
    graph, bad_file = _graph(file, raw.get("sha256"))
    spec = read_input(image, graph, problems) if image is not None else None
    shapes = (
        read_shapes(table.shapes, spec, graph, problems) if table is not None and spec is not None else {}
    )
    if problems or table is None or spec is None or output is None or file is None:
        raise ConfigError(str(path), problems)
    if bad_file is not None:
        raise bad_file
    return Model(
        path=directory,
        name=table.name,
        version=table.version,
        task=task,
        file=file,
        sha256=table.sha256,
        input=spec,
        output=output,
        shapes=shapes,
    )


def _read(directory: Path, path: Path) -> bytes:
    if directory.suffix == ".onnx" and directory.is_file():
        raise ModelError(
            f"{directory}: is an ONNX file; a model is a directory with a {MODEL_TOML}",
            hint=f"edged model new {directory} {directory.with_suffix('')}",
        )
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise ModelError(f"{directory}: {what}", hint=f"a model is a directory that holds {MODEL_TOML}")
    try:
        return path.read_bytes()
    except FileNotFoundError as e:
        raise ModelError(
            f"{directory}: has no {MODEL_TOML}", hint=f"edged model new FILE.onnx {directory.name} makes one"
        ) from e
    except OSError as e:
        raise unreadable(path, e) from e


def _file(directory: Path, name: Any, problems: list[Problem]) -> Path | None:
    """The ONNX file, if it is named and there."""
    if not isinstance(name, str):
        return None
    if not is_inside(name):
        problems.append(Problem("file", f"'{name}' is not inside the model's directory"))
    elif not (directory / name).is_file():
        problems.append(Problem("file", f"'{name}' is not a file in {directory}"))
    else:
        return directory / name
    return None


def _graph(file: Path | None, sha256: Any) -> tuple[GraphFacts | None, ModelError | None]:
    """The graph of the file, or why it cannot be used. A file of another hash is not read further."""
    if file is None or not isinstance(sha256, str):
        return None, None
    try:
        check_hash(file, sha256)
        graph = read_graph(file)
        if graph.external:
            raise ModelError(
                f"{file}: keeps weights in other files ({', '.join(graph.external)}), which sha256 does not cover",
                hint=f"edged model new {file} NEW_DIRECTORY packs them into one file",
            )
    except ModelError as e:
        return None, e
    return graph, None


def check_hash(file: Path, sha256: str) -> None:
    """ModelError unless the file has this hash."""
    found = sha256_of(file)
    if found != sha256:
        raise ModelError(
            f"{file}: is not the file that {MODEL_TOML} describes: its sha256 is {found}, not {sha256}",
            hint="put the right file back, or describe the new one with edged model new",
        )


def _output(raw: dict[str, Any], directory: Path, problems: list[Problem]) -> OutputSpec | None:
    """[output]: the common keys, then those of the parser. None when problems were found."""
    before = len(problems)
    common, own = split(raw, OutputTable)
    table = read_table(OutputTable, common, "output", problems)
    kind = raw.get("parser")
    options = _options(kind, own, problems) if isinstance(kind, str) else None
    labels = _labels(raw.get("labels", ()), directory, problems)
    if table is None or len(problems) > before:
        return None
    return OutputSpec(
        parser=table.parser,
        labels=labels,
        score_threshold=table.score_threshold,
        iou_threshold=table.iou_threshold,
        max_detections=table.max_detections,
        options=options,
    )


def _options(kind: str, own: dict[str, Any], problems: list[Problem]) -> Any:
    """The parser's Options. An unknown key may also be a misspelt common one."""
    common = OutputTable.__struct_fields__
    if kind not in registry.kinds("parsers"):
        known = suggestion(kind, registry.kinds("parsers"))
        problems.append(Problem("output.parser", f"'{kind}' is unknown", known))
        # what else its table may hold is unknown, too, but for misspelt common keys
        unknown, names = [k for k in own if misspelt(k, common)], list(common)
        problems += [Problem(f"output.{k}", "unknown key", suggestion(k, names)) for k in unknown]
        return None
    options: type[Table] = registry.load("parsers", kind).Options
    mine, others = split(own, options)
    names = [*common, *options.__struct_fields__]
    problems += [Problem(f"output.{k}", "unknown key", suggestion(k, names)) for k in others]
    return read_table(options, mine, "output", problems)


def _labels(raw: Any, directory: Path, problems: list[Problem]) -> tuple[str, ...]:
    """The names: as written, or the lines of a file in the directory."""
    if not isinstance(raw, str):
        return tuple(str(r) for r in raw) if isinstance(raw, list | tuple) else ()
    if not is_inside(raw):
        problems.append(Problem("output.labels", f"'{raw}' is not inside the model's directory"))
        return ()
    try:
        return read_labels(directory / raw)
    except OSError as e:
        problems.append(Problem("output.labels", f"'{raw}' cannot be read: {e.strerror or e}"))
    except UnicodeDecodeError:
        problems.append(Problem("output.labels", f"'{raw}' is not text in UTF-8", "one label a line"))
    return ()


def read_labels(path: Path) -> tuple[str, ...]:
    """One label a line; blank lines at the end do not count, within they are labels without a name."""
    return tuple(line.strip() for line in path.read_text("utf-8").rstrip().splitlines())


def labels_named(said: str) -> tuple[str, ...]:
    """What --labels says: a set of models/labels.py by its name, or a file. ModelError where it cannot be read."""
    if said in WELL_KNOWN:
        return WELL_KNOWN[said]
    try:
        return read_labels(Path(said))
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "not text in UTF-8"
        raise ModelError(
            f"--labels {said}: cannot be read: {why}",
            hint=f"a text file with one label a line, or one of: {', '.join(WELL_KNOWN)}",
        ) from e


def task_of(parser: str) -> Task:
    """What a parser's results are."""
    task: Task = getattr(registry.load("parsers", parser), "task", TASKS.get(parser, "detect"))
    return task


def _task(raw: Any, output: OutputSpec | None, problems: list[Problem]) -> Task:
    if output is None:
        return "raw"
    task = task_of(output.parser)
    if isinstance(raw, str) and raw != task:
        problems.append(
            Problem(
                "task",
                f"'{raw}' contradicts parser '{output.parser}'",
                f'write task = "{task}" or leave it out',
            )
        )
    return task
