"""JSON Schema (draft 2020-12) of the configuration, for editors. Built from the same types that load.py checks."""

from __future__ import annotations

from typing import Any

import msgspec

from edged import registry
from edged.config.backends import AUTO_OPTIONS, options_type, own_keys
from edged.config.quantities import SIZE_PATTERN
from edged.config.schema import (
    ControlConfig,
    DeliverConfig,
    DeviceConfig,
    DewarpOptions,
    ModelConfig,
    PipelineConfig,
    PressureConfig,
    RuntimeConfig,
    SyncConfig,
)

Json = dict[str, Any]

_REF = "#/$defs/{name}"
_NAMES = {"pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"}
_SOURCE_TEXT = "name of a [sources.X], or a device, file, folder or rtsp:// address"


def json_schema() -> Json:
    """The schema as plain values. Raises EdgedError when somebody's backend cannot be imported."""
    kinds = {
        group: {kind: options_type(registry.load(group, kind)) for kind in registry.kinds(group)}
        for group in ("sources", "sinks", "engines")
    }
    tables = (
        DeviceConfig,
        ControlConfig,
        PressureConfig,
        RuntimeConfig,
        ModelConfig,
        PipelineConfig,
        DewarpOptions,
        SyncConfig,
        DeliverConfig,
    )
    types = [*tables, *dict.fromkeys(t for by_kind in kinds.values() for t in by_kind.values())]
    refs, components = msgspec.json.schema_components(types, ref_template=_REF)
    defs: Json = {name: _portable(body) for name, body in components.items()}
    ref = dict(zip(types, refs, strict=True))

    def body(t: type[msgspec.Struct]) -> Json:
        found: Json = defs[ref[t]["$ref"].removeprefix("#/$defs/")]
        return found

    for group in ("sources", "sinks"):
        own = {"deliver": ref[DeliverConfig]} if "deliver" in own_keys(group) else {}
        options = [_with_kind(body(t), kind, own) for kind, t in kinds[group].items()]
        defs[group] = {"type": "object", "required": ["kind"], "oneOf": options}
    engines = kinds["engines"]
    model = body(ModelConfig)
    model["properties"]["engine"]["enum"] = ["auto", *engines]
    model["properties"]["options"] = {"type": "object"}
    model["allOf"] = [_engine_options(kind, ref[t]) for kind, t in engines.items()]
    pipeline = body(PipelineConfig)
    pipeline["properties"]["source"] = {
        "anyOf": [
            {"type": "string", "minLength": 1, "description": _SOURCE_TEXT},
            {"$ref": "#/$defs/sources"},
        ]
    }
    pipeline["not"] = {"required": ["roi", "dewarp"]}
    dewarp = body(DewarpOptions)
    dewarp["if"] = {"properties": {"lens": {"const": "fisheye"}}}
    dewarp["then"] = {"required": ["focal"]}
    entries = {
        "models": ref[ModelConfig],
        "sources": {"$ref": "#/$defs/sources"},
        "sinks": {"$ref": "#/$defs/sinks"},
        "pipelines": ref[PipelineConfig],
        "sync_groups": ref[SyncConfig],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edged configuration",
        "type": "object",
        "properties": {
            "schema": {"const": 1, "default": 1, "description": "version of this format"},
            "device": ref[DeviceConfig],
            "runtime": ref[RuntimeConfig],
            "control": ref[ControlConfig],
            "pressure": ref[PressureConfig],
            **{k: _named(v) for k, v in entries.items()},
        },
        "required": ["pipelines"],
        "additionalProperties": False,
        "$defs": {name: defs[name] for name in sorted(defs)},
    }


def _named(entry: Json) -> Json:
    return {"type": "object", "propertyNames": _NAMES, "additionalProperties": entry}


def _with_kind(options: Json, kind: str, own: Json) -> Json:
    """A backend's Options as the table that the file has, with its kind (and edged's own keys)."""
    required = ["kind", *options.get("required", ())]
    properties = {"kind": {"const": kind}, **own, **options.get("properties", {})}
    return {**options, "title": kind, "properties": properties, "required": required}


def _engine_options(kind: str, options: Json) -> Json:
    names = [kind, "auto"] if kind == AUTO_OPTIONS else [kind]
    condition: Json = {"properties": {"engine": {"enum": names}}}
    if kind != AUTO_OPTIONS:  # without the key the default engine is meant
        condition["required"] = ["engine"]
    return {"if": condition, "then": {"properties": {"options": options}}}


def _portable(value: Any) -> Any:
    r"""Python's \Z is $ in the expressions of JSON Schema; TOML has no null; sizes may have a unit."""
    if isinstance(value, (list, tuple)):  # defaults are tuples
        return [_portable(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "anyOf" in value:
        some = [v for v in value["anyOf"] if v != {"type": "null"}]
        value = {**value, "anyOf": some} if len(some) > 1 else {**value, **some[0]}
        if len(some) == 1:
            del value["anyOf"]
    out = {k: _portable(v) for k, v in value.items() if not (k == "default" and v is None)}
    if isinstance(out.get("pattern"), str):
        out["pattern"] = out["pattern"].replace(r"\Z", "$")
    if out.pop("x-quantity", None) == "bytes":
        number = {"type": "integer", "minimum": out.pop("minimum", 0)}
        del out["type"]
        out["anyOf"] = [number, {"type": "string", "pattern": SIZE_PATTERN, "examples": ["1 GiB", "512 MiB"]}]
    return out
