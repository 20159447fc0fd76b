"""scripts/install where the system has the Python packages, as a Jetson has its own: only edged is installed."""

from __future__ import annotations

from tests.system.guest import unit
from tests.system.guest.report import run_cases
from tests.system.guest.unit import CARRIED, EDGED, run


def packages_of_the_system_are_used() -> str:
    run(CARRIED / "wheelhouse/scripts/install")
    (packages,) = EDGED.parents[1].glob("lib/python3.*/site-packages")
    found = sorted(p.name for p in packages.iterdir() if p.suffix != ".dist-info")
    assert found == ["edged"], found
    unit.place_model()
    return f"{run('edged', '--version')} with nothing beside it"


CASES = (packages_of_the_system_are_used,)

if __name__ == "__main__":
    run_cases({case.__name__: case for case in CASES})
