"""Where edged keeps what it makes on the device: runtime.state_dir. Nothing here does I/O."""

from __future__ import annotations

import os
from pathlib import Path

from edged.models.plans import PlanStore

DEFAULT = "/var/lib/edged"


def state_dir(configured: str = "") -> Path:
    """runtime.state_dir, else $STATE_DIRECTORY (systemd sets it), else /var/lib/edged."""
    return Path(configured or os.environ.get("STATE_DIRECTORY", "").split(":")[0] or DEFAULT)


def plan_store(configured: str = "") -> PlanStore:
    """The store of plans there."""
    return PlanStore(state_dir(configured) / "plans")
