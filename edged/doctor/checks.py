"""All that `edged doctor` looks at, in the order in which one thing stands on another."""

from __future__ import annotations

from edged.doctor import cameras, clock, disk, jetson, memory, models, permissions, software
from edged.doctor.base import Check

CHECKS: tuple[Check, ...] = (
    Check("edged", software.edged),
    Check("configuration", software.configuration),
    Check("jetson", jetson.jetson),
    Check("driver", software.driver),
    Check("gpu", software.gpu),
    Check("nvrtc", software.nvrtc),
    Check("onnxruntime", software.onnxruntime),
    Check("tensorrt", software.tensorrt),
    Check("nodes", permissions.nodes),
    Check("groups", permissions.groups),
    Check("memlock", permissions.memlock),
    Check("state_dir", disk.state_dir),
    Check("models", models.models),
    Check("plans", models.plans),
    Check("cameras", cameras.cameras),
    Check("memory", memory.admission),
    Check("clock", clock.clock),
    Check("power mode", jetson.power_mode),
    Check("clocks", jetson.clocks),
    Check("heat", jetson.heat),
    Check("throttling", jetson.throttling),
)
