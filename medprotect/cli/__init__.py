"""The command line: parses, calls, shows, and maps errors to exit codes. Imports nothing heavy."""

import typer

from medprotect.cli.audit import audit
from medprotect.cli.bench import app as bench
from medprotect.cli.bundle import app as bundle
from medprotect.cli.inspect import inspect
from medprotect.cli.key import app as key
from medprotect.cli.run import run
from medprotect.cli.train import train
from medprotect.cli.verify import verify

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(verify)
app.command()(inspect)
app.command()(train)
app.command()(audit)
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
