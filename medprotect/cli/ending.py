"""How a command ends: the exit code and the last words, without names, paths or header values."""

import json
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from medprotect.errors import MedprotectError

SIGNALLED = 128


@contextmanager
def ending(*, as_json: bool = False) -> Iterator[None]:
    """Turn errors of the block into a message and an exit code.

    Parameters
    ----------
    as_json : bool
        Whether the message also goes to standard output, as JSON.
    """
    try:
        yield
    except MedprotectError as error:
        _fail(error.exit_code, error.slug, str(error), as_json)
    except KeyboardInterrupt as error:
        number = error.args[0] if error.args else signal.SIGINT
        _fail(
            SIGNALLED + number,
            "interrupted",
            "interrupted; give the same command again to continue",
            as_json,
        )
    except BrokenPipeError:
        sys.stderr.close()
        raise typer.Exit(1) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        _fail(1, "error", f"unexpected: {place}; this is a bug, please report it", as_json)


def _fail(code: int, slug: str, message: str, as_json: bool) -> None:
    print(f"error: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": slug, "message": message, "exit_code": code}))
    raise typer.Exit(code)
