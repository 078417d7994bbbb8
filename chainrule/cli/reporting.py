"""The report that ``chainrule train`` leaves beside the model: what the page is about, gathered from the training."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.target import TargetPreparation
from ..report.origin import Origin
from ..report.page import report
from ..report.study import Part as ReportPart
from ..report.study import Run
from ..training.history import History
from ..training.trainer import Trainer
from .configuration import command_line
from .network import Plan, explain_plan
from .preparing import Options, Part, PreparedData
from .program import equivalent_program
from .scores import probabilities


@dataclass(frozen=True)
class Training:
    """A finished training: who trained, what was recorded, and the seconds that its stages took."""

    plan: Plan
    trainer: Trainer
    history: History
    seconds: Mapping[str, float]


def make_report(options: Options, data: PreparedData, training: Training, chosen: str = "") -> str:
    """Return the page as text; ``chosen`` says how the options were found, where they were."""
    plan, trainer, target = training.plan, training.trainer, data.target

    def predict(X: NDArray[Any]) -> NDArray[Any]:
        output = trainer.predict(X)
        return target.invert(output.reshape(-1)) if target.task == "regression" else probabilities(target, output)

    train, validation, test = (_part(part, target) for part in (data.train, data.validation, data.test))
    run = Run(data.table, data.preparation, target, train, validation, test, training.history, predict)
    settings = {
        **explain_plan(plan, target),
        **({"chosen": chosen} if chosen else {}),
        "data": f"{options.data}, SHA-256 {data.digest}",
        "versions": f"chainrule {sys.modules['chainrule'].__version__}, NumPy {np.__version__}, "
        f"Python {platform.python_version()}",
    }
    origin = Origin(
        trainer.model, settings, training.seconds, equivalent_program(options.data, target, plan), command_line(options)
    )
    return report(run, origin, epochs=plan.epochs, seed=plan.seed)


def _part(part: Part, target: TargetPreparation) -> ReportPart:
    truth = target.invert(part.y) if target.task == "regression" else part.y
    return ReportPart(part.rows, part.X, truth)
