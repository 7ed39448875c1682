"""Other methods that make labelled images unlearnable, to compare with."""

from collections.abc import Callable

from medprotect.audit.baselines.ar import Autoregressive
from medprotect.audit.baselines.baseline import Baseline
from medprotect.audit.baselines.classwise import ClassWise
from medprotect.audit.baselines.em import ErrorMinimising
from medprotect.audit.baselines.lsp import LinearlySeparable
from medprotect.audit.baselines.tap import TargetedPoisoning

BASELINES: dict[str, Callable[..., Baseline]] = {
    baseline.name: baseline
    for baseline in (
        ClassWise,
        ErrorMinimising,
        TargetedPoisoning,
        LinearlySeparable,
        Autoregressive,
    )
}
"""By name; called with ``budget_lsb``, ``seed`` and what else the method takes."""
