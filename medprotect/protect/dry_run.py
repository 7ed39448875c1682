"""The plan of a run, made without writing anything."""

from medprotect.errors import OutputError
from medprotect.plan.pairing import settle
from medprotect.plan.plan import Action, plan_rows
from medprotect.protect.journal import Entry, Outcome
from medprotect.protect.resume import hold
from medprotect.protect.settings import Settings
from medprotect.scan.walk import check_trees, walk

_OUTCOMES = {Action.REJECT: Outcome.REJECTED, Action.LEAVE: Outcome.LEFT}


def plan_export(settings: Settings) -> list[Entry]:
    """Return what a run would do with each entry of the export, were it to begin now.

    Entries to be protected or copied have the outcome *planned*; what was done by an earlier run
    does not count.

    Raises
    ------
    InputError, OutputError
        As for the run itself.
    """
    check_trees(*settings.folders)
    if not settings.target.is_empty() and not settings.state.exists():
        raise OutputError("OUT is not empty and no run is known to have written it")
    source = settings.source
    rows = list(plan_rows(source, settings.out, walk(source), settings.rules))
    rows = settle(rows, ignores_case=settings.target.ignores_case())
    entries = [Entry(row, _OUTCOMES.get(row.action, Outcome.PLANNED)) for row in rows]
    return hold(entries) if settings.hold_series else entries
