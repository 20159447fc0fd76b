"""A TOML file to a Config: the one place where a configuration is read and checked.

All problems of a file come in one ConfigError; nothing else is raised, whatever the file holds.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from edged.config import backends, check, pressure, rates, views, walk
from edged.config.check import Draft
from edged.config.patch import texts
from edged.config.schema import (
    Config,
    ControlConfig,
    DeviceConfig,
    ModelConfig,
    PipelineConfig,
    PressureConfig,
    RuntimeConfig,
    SyncConfig,
)
from edged.config.shorthand import Sources
from edged.config.words import BAD, GROUPS, Problems, as_table, has_mask, join, unknown_keys
from edged.errors import ConfigError, Problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1 << 20  # a configuration is written by people; more is another file
_LEAST = "the least: [pipelines.NAME] with source and model, [models.NAME] with path"


def load(path: str | os.PathLike[str]) -> Config:
    """Read and check a file. Raises ConfigError with every problem found; touches no device or network."""
    file = os.fspath(path)
    return loads(read(file).text, file=file, base=base_of(file))


def base_of(file: str | os.PathLike[str]) -> Path:
    """What relative paths in a file are relative to."""
    return Path(os.path.abspath(file)).parent


def loads(text: str, *, file: str = "<text>", base: Path | None = None) -> Config:
    """As `load`, of text; relative paths are relative to `base` (default: the working directory)."""
    return from_data(parse(text, file), file=file, base=base)


def parse(text: str, file: str) -> dict[str, Any]:
    """TOML as plain values. Raises ConfigError with line and column."""
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as e:  # an integer of thousands of digits, a list in a list in ...
        raise ConfigError(file, [_syntax(str(e), text)]) from e
    if not data:
        raise ConfigError(file, [Problem("", "is empty", _LEAST)])
    return data


# words of the TOML reader -> remedy
_SYNTAX_HINTS = (
    (r"twice|overwrite|duplicate", "the key or table is there before: keep one, or rename one"),
    (r"string|escape|Illegal character", "texts are in quotes and end on the line they began on"),
    (r"Invalid value", "texts need quotes; true and false are in small letters"),
    (r"Expected '='|key", "write: key = value"),
    (r"recursion|digits", "write something shorter"),
)


def _syntax(said: str, text: str) -> Problem:
    """The reader's complaint with its place; the end of the file is the last thing that is not blank."""
    place = re.search(r"\(at (line \d+, column \d+|end of document)\)", said)
    message = said.replace(place[0], "").strip() if place else said
    where = place[1] if place else ""
    if where == "end of document":
        lines = text.rstrip().split("\n")
        where = f"line {len(lines)}, column {len(lines[-1]) + 1}"
    found = (hint for pattern, hint in _SYNTAX_HINTS if re.search(pattern, message, re.I))
    return Problem(where, f"not TOML: {message}", next(found, "correct the line"))


class Text(NamedTuple):
    """What a file holds, and the hex sha256 of its bytes."""

    text: str
    sha256: str


def read(file: str) -> Text:
    """A file that may be a configuration. Raises ConfigError."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # reading a pipe or a device may never end
            what = "a folder" if os.path.isdir(file) else "a device or pipe"
            raise ConfigError(file, [Problem("", f"is {what}, not a file", "give the path of a TOML file")])
        with open(file, "rb") as f:
            data = f.read(MAX_BYTES + 1)
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        raise ConfigError(file, [_unreadable(e)]) from e
    if len(data) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES >> 20} MiB"
        raise ConfigError(
            file, [Problem("", message, "a configuration is a small text file: check the path")]
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        message = f"is not UTF-8 text (byte 0x{data[e.start]:02x} at offset {e.start})"
        raise ConfigError(file, [Problem("", message, "save it as UTF-8, or check the path")]) from e
    if "\0" in text:
        raise ConfigError(file, [Problem("", "is a binary file", "give the path of a TOML file")])
    if not text.strip():
        raise ConfigError(file, [Problem("", "is empty", _LEAST)])
    return Text(text, hashlib.sha256(data).hexdigest())


def _unreadable(e: OSError | ValueError) -> Problem:
    if isinstance(e, ValueError):
        return Problem("", "is no path: it holds a NUL", "check the path")
    if isinstance(e, FileNotFoundError):
        return Problem("", "no such file", "check the path")
    if isinstance(e, PermissionError):
        return Problem("", "may not be read by this user", "chmod or chown it, or use another user")
    return Problem("", f"cannot be read: {e.strerror or e}", "check the path and the disk")


def from_data(data: Mapping[str, Any], *, file: str = "<data>", base: Path | None = None) -> Config:
    """As `loads`, of plain values (parsed TOML or JSON)."""
    found = (Problem(p, *what) for p, text in texts(data) for test, *what in _UNUSABLE if test(text))
    unusable = [*dict.fromkeys(found), *check.too_many(Draft(data))]  # a key and its value have one path
    if unusable:  # what comes after need not reckon with them
        raise ConfigError(file, unusable)
    base = Path(os.path.abspath(base or "."))
    problems: Problems = []
    unknown_keys(data, ("schema", "device", "runtime", "control", "pressure", *GROUPS), "", problems)
    walk.convert(data.get("schema", 1), msgspec.inspect.type_info(Literal[1]), "schema", problems)
    draft = Draft(data)
    draft.runtime = _with_path(
        _section(data, "runtime", RuntimeConfig(), problems), "state_dir", "runtime", base, problems
    )
    draft.control = _with_path(
        _section(data, "control", ControlConfig(), problems), "socket", "control", base, problems
    )
    draft.pressure = _section(data, "pressure", PressureConfig(), problems)
    draft.device = _section(data, "device", DeviceConfig(), problems)
    if "id" not in _tables(data, "device", []):
        draft.device = DeviceConfig(id=_host())
    for name, raw in _tables(data, "models", problems).items():
        model = _model(raw, join("models", name), base, problems)
        if model is not BAD:
            draft.models[name] = model
    for group, out in (("sources", draft.sources), ("sinks", draft.sinks)):
        for name, raw in _tables(data, group, problems).items():
            entry = backends.backend(group, raw, join(group, name), base, problems)
            if entry is not BAD:
                out[name] = entry
    _pipelines(draft, base, problems)
    for name, raw in _tables(data, "sync_groups", problems).items():
        sync = walk.struct(raw, SyncConfig, join("sync_groups", name), problems)
        if sync is not BAD:
            draft.sync_groups[name] = sync
    for cross in (*check.CHECKS, *rates.CHECKS, *views.CHECKS, *pressure.CHECKS):
        problems.extend(cross(draft))
    if problems:
        raise ConfigError(file, problems)
    return Config(
        file=file,
        device=draft.device,
        runtime=draft.runtime,
        control=draft.control,
        pressure=draft.pressure,
        models=draft.models,
        sources=draft.sources,
        sinks=draft.sinks,
        pipelines=draft.pipelines,
        sync_groups=draft.sync_groups,
        warnings=tuple(
            w
            for warn in (*check.WARNINGS, *rates.WARNINGS, *views.WARNINGS, *pressure.WARNINGS)
            for w in warn(draft)
        ),
        origin=draft.origin,
    )


# of any key or text: test, what is wrong, remedy; JSON has characters that no path, name or log can hold
_UNUSABLE: tuple[tuple[Callable[[str], object], str, str], ...] = (
    (
        re.compile("[\0\ud800-\udfff]").search,
        "holds a NUL or half a character",
        "remove \\u0000 and \\ud800 to \\udfff from it",
    ),
    (
        has_mask,
        "is a secret that was hidden (***)",
        "write the secret itself; edged config apply puts back what edged config show has hidden",
    ),
)


def _host() -> str:
    """The host's name as a name of ours."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9_.-]+", "-", socket.gethostname()).strip("-")[:64] or "edged"


_T = TypeVar("_T", bound=msgspec.Struct)


def _with_path(table: _T, key: str, where: str, base: Path, problems: Problems) -> _T:
    """With the path of that key absolute; "" stays."""
    path = getattr(table, key)
    if not path:
        return table
    return msgspec.structs.replace(table, **backends.absolute({key: path}, (key,), where, base, problems))


def _section(data: Mapping[str, Any], key: str, default: _T, problems: Problems) -> _T:
    """A table such as [runtime]; its default when absent or in error."""
    result = walk.struct(data.get(key, {}), type(default), key, problems)
    return default if result is BAD else result


def _tables(data: Mapping[str, Any], group: str, problems: Problems) -> Mapping[str, Any]:
    return as_table(data.get(group, {}), group, problems) or {}


def _model(raw: Any, path: str, base: Path, problems: Problems) -> Any:
    table = as_table(raw, path, problems)
    if table is None:
        return BAD
    wanted = backends.absolute(table, ("path",), path, base, problems)
    given = wanted.pop("options", {})
    model = walk.struct(wanted, ModelConfig, path, problems)
    name = wanted.get("engine", "auto")
    found = backends.engine(name, join(path, "engine"), problems) if isinstance(name, str) else BAD
    if found is BAD:
        return BAD
    options_path = join(path, "options")
    own = as_table(given, options_path, problems)
    options = BAD if own is None else backends.options(found, own, options_path, base, problems)
    if model is BAD or options is BAD:
        return BAD
    return msgspec.structs.replace(model, options=options)


def _pipelines(draft: Draft, base: Path, problems: Problems) -> None:
    sources = Sources(draft.raw("sources"), draft.sources, draft.origin, base)
    for name, raw in _tables(draft.data, "pipelines", problems).items():
        path = join("pipelines", name)
        table = as_table(raw, path, problems)
        if table is None:
            continue
        wanted = dict(table)
        if "source" in wanted:  # an empty name keeps the other keys' checks going after a problem
            wanted["source"] = sources.resolve(wanted["source"], name, problems) or ""
        pipeline = walk.struct(wanted, PipelineConfig, path, problems)
        if pipeline is not BAD:
            draft.pipelines[name] = pipeline
