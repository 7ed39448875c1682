"""Other methods that make labelled images unlearnable, to compare with."""

from collections.abc import Callable

from medprotect.bench.protection.baselines.ar import Autoregressive
from medprotect.bench.protection.baselines.baseline import Baseline
from medprotect.bench.protection.baselines.classwise import ClassWise
from medprotect.bench.protection.baselines.control import Control
from medprotect.bench.protection.baselines.em import ErrorMinimising
from medprotect.bench.protection.baselines.gratings import Gratings
from medprotect.bench.protection.baselines.lsp import LinearlySeparable
from medprotect.bench.protection.baselines.tap import TargetedPoisoning

BASELINES: dict[str, Callable[..., Baseline]] = {
    baseline.name: baseline
    for baseline in (
        ClassWise,
        ErrorMinimising,
        TargetedPoisoning,
        LinearlySeparable,
        Autoregressive,
        Gratings,
        Control,
    )
}
"""By name; called with ``budget_lsb``, ``seed`` and what else the method takes."""
