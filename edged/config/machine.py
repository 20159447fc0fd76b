"""What a good configuration may still lack on this machine: files, cameras, model directories.

`edged check` asks before boot; the daemon itself finds out when it opens each unit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edged.config.schema import Config
from edged.config.words import join, show, suggest
from edged.errors import ConfigError, EdgedError, Problem
from edged.models.load import load_model
from edged.models.model import Model


@dataclass(slots=True)
class Findings:
    """`models`: those of config.models that loaded, by their name there."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    models: dict[str, Model] = field(default_factory=dict)
    device: str = ""  # what it runs on and why, for who asked


def inspect_machine(config: Config) -> Findings:
    """Read what the configuration points at. Opens no camera and no connection, loads no engine."""
    found = Findings()
    for name, entry in config.models.items():
        path = join(join("models", name), "path")
        try:
            found.models[name] = load_model(Path(entry.path))
        except ConfigError as e:
            found.problems += [Problem(path, f"{e.file}: {p}") for p in e.problems]
        except EdgedError as e:
            found.problems.append(Problem(path, e.message, e.hint))
    found.problems += _labels(config, found.models)
    found.problems += _twins(found.models)
    _files(config, found)
    return found


def _labels(config: Config, models: Mapping[str, Model]) -> Iterator[Problem]:
    """Classes to keep that the model never names."""
    for name, pipeline in config.pipelines.items():
        model = models.get(pipeline.model)
        if model is None:
            continue
        if pipeline.classes and not model.output.labels:
            message = f"names labels, and model '{pipeline.model}' has none"
            hint = "write labels under [output] in its model.toml, or leave classes out"
            yield Problem(join(join("pipelines", name), "classes"), message, hint)
            continue
        for i, label in enumerate(pipeline.classes):
            if label not in model.output.labels:
                path = join(join(join("pipelines", name), "classes"), i)
                message = f"{show(label)} is no label of model '{pipeline.model}'"
                yield Problem(path, message, suggest(label, model.output.labels, "labels"))


def _twins(models: Mapping[str, Model]) -> Iterator[Problem]:
    """Two models that results could not tell apart."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}  # name and version -> (entry, hash of the file)
    for entry, model in models.items():
        other, sha256 = seen.setdefault((model.name, model.version), (entry, model.sha256))
        if sha256 != model.sha256:
            message = f"is '{model.name}' version '{model.version}' as models.{other} is, but another file"
            yield Problem(join("models", entry), message, "change the name or the version in one model.toml")


def _files(config: Config, found: Findings) -> None:
    for group, entries in (("sources", config.sources), ("sinks", config.sinks)):
        for name, entry in entries.items():
            path = config.origin.get(name, "") if group == "sources" else ""
            for key in getattr(entry.options, "PATHS", ()):
                value = getattr(entry.options, key)
                for file in (value,) if isinstance(value, str) else value or ():
                    _file(group, path or join(join(group, name), key), key, file, found)


def _file(group: str, path: str, key: str, file: str, found: Findings) -> None:
    if file == "-" or os.path.exists(file):
        return
    if group == "sinks" and key == "path":  # written, so only its folder must be there
        folder = os.path.dirname(file)
        if not os.path.isdir(folder):
            found.problems.append(Problem(path, f"no folder {folder}", f"mkdir -p {folder}"))
    elif file.startswith("/dev/"):
        found.warnings.append(f"{path}: {file} is not there now")
    else:
        found.problems.append(Problem(path, f"no such file or folder: {file}", "check the path"))
