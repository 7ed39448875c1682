"""`medprotect audit`: whether the protection holds, against whom, and where it does not."""

import datetime
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medprotect.cli.ending import ending

if TYPE_CHECKING:
    from medprotect.audit.budgets import Budget
    from medprotect.audit.examination import Examination
    from medprotect.audit.pairs import Pairs
    from medprotect.audit.report_schema import Audit
    from medprotect.audit.state import State

LIBRARIES = ("numpy", "scipy", "torch", "monai.networks.nets.resnet")

BUDGET_NAMES = ("quick", "standard", "thorough")


Clean = Annotated[Path, typer.Argument(help="The images in clear.")]
Protected = Annotated[Path, typer.Argument(help="The same images, protected.")]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="A table with columns file, label; split and group (or patient) where known. Files "
        "relative to CLEAN.",
        show_default="CLEAN/split.csv",
    ),
]
Tried = Annotated[
    str,
    typer.Option(
        metavar="|".join(BUDGET_NAMES),
        help="How much is tried. With 2,000 images of 224 x 224 on two idle cores, quick takes 10 "
        "minutes, standard two days, thorough weeks.",
    ),
]
Size = Annotated[
    int,
    typer.Option(
        min=8,
        max=224,
        help="Pixels of the long side that victims see at most; smaller images stay as they are.",
    ),
]
Decoys = Annotated[
    str, typer.Option(metavar="on|off|unknown", help="Whether the pipeline has decoys.")
]
Other = Annotated[
    Path | None,
    typer.Option(help="A folder of clean images of another source, as attackers may have."),
]
Leaked = Annotated[
    int,
    typer.Option(min=0, help="So many images attackers have in both; models learn from the rest."),
]
PerClass = Annotated[
    bool, typer.Option("--leaked-per-class", help="--leaked is so many images of each class.")
]
Kept = Annotated[
    Path | None,
    typer.Option(
        help="A private folder of what is done: an audit that was stopped goes on, and loses half "
        "a minute at most.",
        show_default="PROTECTED.medprotect/audit",
    ),
]
Report = Annotated[Path | None, typer.Option(help="Also write one HTML page, here.")]
Pictures = Annotated[
    bool, typer.Option("--pictures", help="Show images in the page: it must not leave then.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object at the end.")]


def audit(
    clean: Clean,
    protected: Protected,
    labels: Labels = None,
    budget: Tried = "quick",
    size: Size = 224,
    decoys: Decoys = "unknown",
    other: Other = None,
    leaked: Leaked = 0,
    leaked_per_class: PerClass = False,
    state: Kept = None,
    report: Report = None,
    pictures: Pictures = False,
    as_json: AsJson = False,
) -> None:
    """Train models on the protected images and see whether they work on clean ones.

    Nothing of the images is changed. The first number is the protection: 1 where the protected
    images are worth nothing to somebody without a clean one, 0 where they are worth as much as the
    originals.

    An audit that was stopped goes on when the same command is given again.
    """
    with ending(as_json=as_json):
        from medprotect.errors import ConfigError

        if budget not in BUDGET_NAMES or decoys not in ("on", "off", "unknown"):
            raise ConfigError("--budget is quick, standard or thorough; --decoys on, off, unknown.")
        from medprotect.cli.progress_view import WorkView

        with WorkView() as view:
            view.load(LIBRARIES)
            from medprotect.audit.attack.aids import give_aids
            from medprotect.audit.budgets import BUDGETS
            from medprotect.audit.examination import examine
            from medprotect.audit.pairs import read_pairs
            from medprotect.audit.pictures import show_pair
            from medprotect.audit.report import write_report

            kept = _keep(state, clean, protected, view.say)
            read = read_pairs(clean, protected, labels, size, progress=view)
            pairs, aid = give_aids(read, other, leaked, per_class=leaked_per_class)
            tried = BUDGETS[budget].aided_by(aid).fitted_to(pairs)
            found = examine(
                pairs, tried, decoys=decoys, aid=aid, state=kept, say=view.say, progress=view
            )
        given = "--labels LABELS " if labels else ""
        options = given + _options(budget, size, other, leaked, per_class=leaked_per_class)
        result = _as_json(pairs, found, tried, options)
        if report:
            write_report(result, report, show_pair(pairs) if pictures else ())
        if as_json:
            print(json.dumps(result, indent=1))
        else:
            _show(result)


def _keep(given: Path | None, clean: Path, protected: Path, say: Callable[[str], None]) -> "State":
    """Return what keeps the audit: where asked for, else beside PROTECTED, where that can be."""
    from medprotect.audit.state import State
    from medprotect.errors import MedprotectError
    from medprotect.protect.defaults import state_beside

    images = (clean, protected)
    if given or not protected.is_dir():
        return State(given, apart_from=images)
    try:
        return State(state_beside(protected) / "audit", apart_from=images)
    except MedprotectError:
        say(
            "nothing is kept: no folder can be made beside PROTECTED; --state DIR keeps the audit "
            "elsewhere"
        )
        return State(None)


def _options(budget: str, size: int, other: Path | None, leaked: int, *, per_class: bool) -> str:
    """Return what was given, without paths: others may see it, and paths may name patients."""
    given = f"--budget {budget} --size {size}"
    given += " --other OTHER" if other else ""
    given += f" --leaked {leaked}" if leaked else ""
    return given + (" --leaked-per-class" if leaked and per_class else "")


def _as_json(pairs: "Pairs", found: "Examination", budget: "Budget", options: str) -> "Audit":
    from medprotect import __version__
    from medprotect.audit.report_schema import SCHEMA_VERSION

    return {
        "schema_version": SCHEMA_VERSION,
        "medprotect": __version__,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "command": " ".join(("medprotect audit CLEAN PROTECTED", options)),
        "budget": budget.name,
        "data": {
            "classes": list(pairs.classes),
            "train": len(pairs.clean),
            "left_out": pairs.left_out,
            "validation": len(pairs.validation),
            "test": len(pairs.test),
            "split": pairs.split,
            "image_size": list(pairs.clean.images.shape[1:]),
        },
        "protection": found.protection,
        "accuracy": found.accuracy,
        "matrix": found.matrix,
        "utility": found.utility,
        "curves": found.curves,
        "fidelity": found.fidelity,
        "tried": budget.describe(),
        "not_tried": budget.leave_out(),
        "environment": {"python": platform.python_version(), "machine": platform.machine()},
    }


def _show(result: "Audit") -> None:
    from medprotect.audit.verdict import headline, list_figures, number, sentences

    print(headline(result))
    for name, share, interval in list_figures(result):
        between = f" ({number(interval[0])} to {number(interval[1])})" if interval else ""
        print(f"protection {number(share)}{between} from an attacker {name}")
    for line in sentences(result):
        print(line)
    print("not tried: " + "; ".join(result["not_tried"]))
