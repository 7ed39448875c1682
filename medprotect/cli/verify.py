"""`medprotect verify`: check a finished run again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medprotect.cli.ending import ending

if TYPE_CHECKING:
    from medprotect.protect.verify import Verification


def verify(
    export: Annotated[Path, typer.Argument(help="The export that was protected.")],
    out: Annotated[Path, typer.Argument(help="What the run wrote.")],
    state: Annotated[
        Path | None, typer.Option(help="The state folder, where not OUT.medprotect.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end.")] = False,
) -> None:
    """Check a finished run again, from the files on the disk, with other readers than it had.

    Counts, receipt, hashes, the bound of every pixel and every header element. Ends with 8 where
    something does not hold, and names the first element or pixel of each file that differs.
    """
    with ending(as_json=as_json):
        from medprotect.cli.run import state_beside
        from medprotect.errors import VerificationError
        from medprotect.protect.verify import verify_run

        result = verify_run(export, out, state or state_beside(out))
        if as_json:
            print(json.dumps(_as_json(result), indent=1))
        else:
            _show(result)
        if result.faults:
            raise typer.Exit(VerificationError.exit_code)


def _as_json(result: "Verification") -> dict[str, object]:
    return {
        "counts": {outcome.value: count for outcome, count in result.counts.items()},
        "checked": result.checked,
        "images": result.images,
        "read_twice": result.read_twice,
        "said_to_be_masks": result.by_name,
        "largest_share_of_budget": result.share,
        "faults": [
            {"file": fault.number, "fault": fault.slug, "detail": fault.detail}
            for fault in result.faults
        ],
    }


def _show(result: "Verification") -> None:
    for fault in result.faults:
        where = f"file {fault.number}" if fault.number else "OUT"
        print(f"{where}: {fault.slug}: {fault.detail}")
    print(f"{result.checked} files in OUT compared with their originals, {result.images} images")
    print(f"{result.read_twice} of the files read to the same pixels by a second library")
    if result.by_name:
        print(f"{result.by_name} of them look like images and are copies: --mask named them")
    print(f"largest change: {result.share:.3f} of its pixel's budget")
    print("all holds" if not result.faults else f"{len(result.faults)} faults")
