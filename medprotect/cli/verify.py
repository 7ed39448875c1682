"""`medprotect verify`: check a finished run again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medprotect.cli.ending import ending

if TYPE_CHECKING:
    from medprotect.protect.file_check import Verification


def verify(
    export: Annotated[
        str,
        typer.Argument(
            metavar="EXPORT",
            help="The export of the run, or s3://BUCKET/PREFIX; with --statement, OUT alone.",
        ),
    ],
    out: Annotated[
        str | None, typer.Argument(metavar="OUT", help="What the run wrote.", show_default=False)
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="The state folder. Default: OUT.medprotect.")
    ] = None,
    statement: Annotated[
        Path | None,
        typer.Option(help="A signed statement: check that OUT is what its owner signed."),
    ] = None,
    public_key: Annotated[
        str, typer.Option(help="The owner's public key, received separately from the statement.")
    ] = "",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes.", show_default="one per core")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
) -> None:
    """Check the files of a finished run again, with other readers than the run had.

    Counts, receipt, hashes, the bound of every pixel and every header element are checked. The exit
    code is 8 if anything is wrong. It does not check whether models fail: audit does.

    Without the export: verify OUT --statement statement.json --public-key ...
    """
    with ending(as_json=as_json):
        from medprotect.errors import ConfigError, VerificationError

        if statement is not None:
            if out is not None:
                raise ConfigError("With --statement, OUT alone is given: it needs no export.")
            _check_statement(statement, public_key, Path(export), as_json=as_json)
            return
        if out is None:
            raise ConfigError("OUT is missing: medprotect verify EXPORT OUT.")
        from medprotect.cli.places import find_trees
        from medprotect.cli.progress_view import ProgressView
        from medprotect.protect.defaults import usable_cores

        jobs = jobs or usable_cores()
        with ProgressView("listing files", jobs) as shown:
            from medprotect.protect.verify import verify_run  # takes a second

            result = verify_run(*find_trees(export, out, state), shown.show, jobs=jobs)
        if as_json:
            print(json.dumps(_as_json(result), indent=1))
        else:
            _show(result)
        if result.faults:
            raise typer.Exit(VerificationError.exit_code)


def _check_statement(statement: Path, public_key: str, out: Path, *, as_json: bool) -> None:
    from medprotect.errors import VerificationError
    from medprotect.report.statement import compare_with_out, read_signed

    stated = read_signed(statement, public_key)
    different = compare_with_out(stated, out)
    if as_json:
        faults = [{"fault": each.slug, "detail": each.detail} for each in different]
        print(json.dumps({"counts": stated["counts"], "faults": faults}, indent=1))
    else:
        for each in different:
            print(f"{each.slug}: {each.detail}")
        print(f"stated on {stated['date']} with key {stated['key']}, and signed")
        words = "OUT is what was signed" if not different else f"{len(different)} differences"
        print(words)
    if different:
        raise typer.Exit(VerificationError.exit_code)


def _as_json(result: "Verification") -> dict[str, object]:
    return {
        "counts": dict(result.counts),
        "checked": result.checked,
        "images": result.images,
        "read_twice": result.read_twice,
        "said_to_be_masks": result.by_name,
        "largest_share_of_budget": result.share if result.checks_bound else None,
        "faults": [
            {"file": fault.number, "fault": fault.slug, "detail": fault.detail}
            for fault in result.faults
        ],
    }


def _show(result: "Verification") -> None:
    from medprotect.cli.naming import files_in_words

    for fault in result.faults:
        where = f"file {fault.number}" if fault.number else "OUT"
        print(f"{where}: {fault.slug}: {fault.detail}")
    print(f"{files_in_words(result.checked)} in OUT compared with their originals")
    print(f"{files_in_words(result.read_twice)} read to the same pixels by a second library")
    if result.by_name:
        print(f"{result.by_name} of them look like images and have no noise, because of --mask")
    if result.checks_bound:
        print(f"largest change of a pixel: {result.share:.1%} of what it may change")
    number = len(result.faults)
    print(f"{number} fault{'' if number == 1 else 's'}" if number else "files are exact")
