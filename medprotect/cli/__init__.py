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
app.command(short_help="Protect an export: noise in every image, all else kept.")(run)
app.command(short_help="Show a few images of each series before and after, in a page.")(preview)
app.command(short_help="Check a finished run again, from the files on the disk.")(verify)
app.command(short_help="Write what a run did, to read and, signed, to check.")(report)
app.command(short_help="Make what gets the export of a finished run back, encrypted.")(vault)
app.command(short_help="Give an export back, byte for byte, from OUT and its vault.")(restore)
app.command(short_help="Protect DICOM objects as they are sent, and forward them.")(node)
app.command(short_help="Have an archive send studies to a node.")(pull)
app.command(short_help="Send what a run wrote to a DICOM node or service.")(push)
app.command(short_help="Protect a folder whenever it has come to rest.")(watch)
app.command(short_help="Show what a file is, and how much of it may change.")(inspect)
app.command(short_help="Train a pipeline on your own images.")(train)
app.command(short_help="Train models on protected images, and see whether they work.")(audit)
app.command(short_help="Show the documentation; needs no network.")(docs)
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
    """Make medical images unlearnable, and leave them readable."""


def main() -> None:
    """Run the command line."""
    app()
