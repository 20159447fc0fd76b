"""The gate of `edged model build --evaluate`: a plan that is built, and not installed, against its ONNX file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edged.engines.tensorrt_library import library
from edged.errors import EdgedError
from edged.evaluation.datasets import Dataset, read_dataset
from edged.evaluation.evaluate import Progress, evaluate
from edged.evaluation.gate import Verdict, gate
from edged.evaluation.score import check_task
from edged.evaluation.subject import reference, set_up
from edged.models.load import load_model
from edged.models.one_plan import OnePlan
from edged.models.plans import Plan, PlanError, PlanStore

Gate = Callable[[Plan], Mapping[str, Any]]


def plan_gate(
    directory: Path,
    dataset: Path,
    max_drop: float,
    engine: str,
    *,
    limit: int | None = None,
    progress: Progress = lambda done, of: None,
) -> Gate:
    """What `build_plan` calls with a plan of the model in `directory` before it installs it.

    The gate returns what it found, for the sidecar, or refuses by a PlanError that names the pictures on which the
    plan is worst. All that can be known before a build of minutes is checked here: SourceError or ModelError for the
    dataset, PlanError where this machine cannot run such a plan.
    """
    pictures = read_dataset(dataset).limited(limit)
    check_task(pictures, load_model(directory))
    try:
        set_up(directory, engine, "cuda").device.close()
        library(engine)
    except EdgedError as e:
        raise _not_here(engine, e) from e
    return lambda plan: _look(plan, directory, pictures, max_drop, progress)


def _look(
    plan: Plan, directory: Path, pictures: Dataset, max_drop: float, progress: Progress
) -> Mapping[str, Any]:
    engine = plan.sidecar.engine
    # a store of its own, beside the plan: the engine trusts what a store vouches for, and nothing else
    with tempfile.TemporaryDirectory(prefix=".evaluated-", dir=plan.path.parent) as folder:
        root = Path(folder) / "plans"
        store = OnePlan(root, PlanStore(root).install(plan.path, plan.sidecar, link=True).path)
        try:
            setup = set_up(directory, engine, "cuda", store)
            found = evaluate(setup, pictures, reference(directory), progress)
        except EdgedError as e:
            raise _not_here(engine, e) from e
    assert found.baseline is not None, "there is a reference"
    verdict = gate(found.baseline, found.report, max_drop)
    if not verdict.passed:
        raise refusal(verdict, pictures)
    return {
        **msgspec.to_builtins(verdict),
        "dataset": str(pictures.path),
        "pictures": len(pictures.items),
        "figures": dict(found.report.figures),
    }


def refusal(verdict: Verdict, pictures: Dataset) -> PlanError:
    """Why a plan was not installed, with the pictures to look at."""
    lines = [f"the plan is refused and not installed: {verdict} on {pictures.path}", *verdict.lines()]
    return PlanError(
        "\n    ".join(lines),
        hint="--precision fp32, or --keep-fp32 NODE for the layers that matter; a greater --max-drop accepts it",
    )


def _not_here(engine: str, e: EdgedError) -> PlanError:
    return PlanError(
        f"a plan of {engine} cannot be evaluated here, so none is installed: {e.message}",
        hint=f"{e.hint}{'; or ' if e.hint else ''}build it on the device that runs it, or without --evaluate and then "
        f"look there: edged model eval DIR DATASET --engine {engine} --max-drop X",
    )
