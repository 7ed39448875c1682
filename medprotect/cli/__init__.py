"""The command line: parses, calls, shows, and maps errors to exit codes. Imports nothing heavy."""

import typer

from medprotect.cli.audit import audit
from medprotect.cli.bench import app as bench
from medprotect.cli.bundle import app as bundle
from medprotect.cli.docs import docs
from medprotect.cli.inspect import inspect
from medprotect.cli.key import app as key
from medprotect.cli.node import node
from medprotect.cli.preview import preview
from medprotect.cli.pull import pull
from medprotect.cli.push import push
from medprotect.cli.report import report
from medprotect.cli.run import run
from medprotect.cli.train import train
from medprotect.cli.vault import restore, vault
from medprotect.cli.verify import verify
from medprotect.cli.watch import watch

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawing boxes takes a third of the time that help does
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(short_help="Write a copy of an export with noise in its images.")(run)
app.command(short_help="Show a few images of each series before and after, on one page.")(preview)
app.command(short_help="Check the files of a finished run again.")(verify)
app.command(short_help="Write a report of a run, and a signed statement for recipients.")(report)
app.command(short_help="Make an encrypted vault that can restore the export.")(vault)
app.command(short_help="Restore an export, byte for byte, from OUT and its vault.")(restore)
app.command(short_help="Receive DICOM objects, add noise, and forward them.")(node)
app.command(short_help="Ask an archive to send studies to a node.")(pull)
app.command(short_help="Send what a run wrote to a DICOM node or DICOMweb service.")(push)
app.command(short_help="Add noise to what arrives in a folder.")(watch)
app.command(short_help="Show what an image file is, and how much it may change.")(inspect)
app.command(short_help="Train a pipeline on your own images.")(train)
app.command(short_help="Train models on protected images to see how much they learn.")(audit)
app.command(short_help="Show the documentation.")(docs)
app.add_typer(bench, name="bench")
app.add_typer(bundle, name="bundle")
app.add_typer(key, name="key")


def _show_version(asked: bool) -> None:
    if asked:
        from medprotect import __version__

        print(f"medprotect {__version__}")
        raise typer.Exit


@app.callback()
def _medprotect(
    _version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Add noise to medical images so that models trained on them without permission learn less.

    How much less of the anatomy they learn is measured, per kind of image: medprotect docs officers
    """


def main() -> None:
    """Run the command line."""
    app()
