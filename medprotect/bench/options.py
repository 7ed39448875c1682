"""Options that studies share. Lists are separated by commas: ``--seeds 1,2,3``."""

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from medprotect.errors import ConfigError, MedprotectError

Images = Annotated[Path, typer.Option(help="Images: a MedMNIST file (npz), or a folder.")]
Pipeline = Annotated[str, typer.Option(help="Pipeline: a name or a folder.")]
KeyFile = Annotated[Path | None, typer.Option("--key", help="The owner's key. Default: a new one.")]
Strength = Annotated[Literal["low", "standard", "high"], typer.Option(help="As `run` takes it.")]
LabelsKnown = Annotated[bool, typer.Option("--labels-known", help="Protect with labels.")]
Seed = Annotated[int, typer.Option(help="Seed of the training.")]
Seeds = Annotated[str, typer.Option(help="Seeds, separated by commas; each is a training.")]
Steps = Annotated[int, typer.Option(min=1, help="Steps of each training.")]


def run(study: Callable[..., Any]) -> None:
    """Run a study from the command line; what it cannot take is said in one line."""
    try:
        typer.run(study)
    except MedprotectError as error:
        sys.exit(f"error: {error}")


def take_names(text: str, known: Collection[str], option: str) -> tuple[str, ...]:
    """Return the names in a text, each known, each once.

    Raises
    ------
    ConfigError
        One is not known.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise ConfigError(f"--{option} has no {name!r}; choose from {', '.join(known)}.")
    return names


def take_numbers(text: str, option: str = "seeds") -> tuple[int, ...]:
    """Return the whole numbers in a text, each once.

    Raises
    ------
    ConfigError
        It holds something else.
    """
    try:
        return tuple(dict.fromkeys(int(number) for number in text.split(",")))
    except ValueError:
        raise ConfigError(f"--{option} takes whole numbers separated by commas.") from None


def say(line: str) -> None:
    """Tell how far the work is, on standard error."""
    print(line, file=sys.stderr, flush=True)
