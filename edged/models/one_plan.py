"""A store in which one plan is the one that fits: for what looks at that plan, whatever else was built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edged.errors import EngineError
from edged.models.plans import Plan, PlanStore


class OnePlan(PlanStore):
    """Of the store `root` the plan file `path`. EngineError where it is not there."""

    def __init__(self, root: Path, path: Path) -> None:
        super().__init__(root)
        found = next((p for p in self.plans(path.parent.parent.name) if p.path == path), None)
        if found is None:
            raise EngineError(
                f"{path}: is not in the store of plans {root}", hint="edged model build DIR puts it into one"
            )
        self.plan = found

    def find(self, *_: Any, **__: Any) -> Plan:
        """Whatever is asked for; what does not fit is refused when it is loaded."""
        return self.plan
