"""pyproject.toml's extras: what scripts/check_extras.py and scripts/lowest.py make of them, without a network."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from check_extras import INSTEAD, TARGETS, copyleft, licence, target_requirements
from lowest import lowest, project, requirements

EXTRAS = sorted(project()["optional-dependencies"])


def test_every_dependency_has_one_lower_bound() -> None:
    pins = [lowest(r) for r in requirements(EXTRAS)]
    assert all("==" in pin for pin in pins)


def test_an_extra_that_names_others_brings_their_dependencies() -> None:
    names = {r.name for r in requirements(["dev"])}
    assert {"numpy", "onnxruntime", "pytest", "ruff"} <= names
    assert "edged" not in names


def test_lowest_keeps_the_marker_and_refuses_what_has_no_bound() -> None:
    assert lowest(Requirement("tomli>=2.0.1,<4; python_version < '3.11'")) == (
        'tomli==2.0.1; python_version < "3.11"'
    )
    with pytest.raises(ValueError, match="'numpy' needs exactly one lower bound"):
        lowest(Requirement("numpy"))


def test_markers_are_judged_for_the_target() -> None:
    assert any(r.startswith("tomli>=") for r in target_requirements(["ort"], "3.10"))
    assert not any(r.startswith("tomli") for r in target_requirements(["ort"], "3.12"))


@pytest.mark.parametrize("python", TARGETS)
def test_what_has_no_wheel_is_replaced_by_what_it_needs(python: str) -> None:
    wanted = target_requirements(["cuda", "systemd"], python)
    assert not any(r.startswith(tuple(INSTEAD)) for r in wanted)
    assert "mako" in wanted


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("MIT", ""),
        ("BSD-3-Clause AND MIT", ""),
        ("GNU Affero General Public License v3", "full"),
        ("GPL-3.0-or-later", "full"),
        ("GNU General Public License (GPL)", "full"),
        ("LGPL-2.1-or-later", "lesser"),
        ("GNU Lesser General Public License v3 (LGPLv3)", "lesser"),
        ("GNU Library or Lesser General Public License (LGPL)", "lesser"),
        ("LGPL-3.0 AND GPL-3.0", "full"),
        ("Apache-2.0 OR LGPL-2.1-or-later", ""),
        ("", ""),
    ],
)
def test_copyleft(declared: str, kind: str) -> None:
    assert copyleft(declared) == kind


def test_licence_prefers_the_expression_then_the_classifiers_then_the_text() -> None:
    classifiers = ["License :: OSI Approved :: MIT License"]
    assert licence({"license_expression": "MIT", "classifier": classifiers}) == "MIT"
    assert licence({"classifier": classifiers, "license": "long text"}) == "MIT License"
    assert licence({"license": "BSD\nmore"}) == "BSD"
    assert licence({}) == ""
