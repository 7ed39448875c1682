"""Commands that make runs again make just these."""

import shlex
from itertools import product

import pytest

from medprotect.bench.protection.commands import list_commands
from medprotect.bench.protection.record import Run
from medprotect.bench.protection.run import list_attacks

from .invented import make_run

Made = tuple[str, str, str, int, tuple[int, ...]]


def option(command: str, name: str) -> str:
    words = shlex.split(command)
    return words[words.index(f"--{name}") + 1] if f"--{name}" in words else ""


def listed(command: str, name: str) -> list[str]:
    return [each for each in option(command, name).split(",") if each]


def makes(command: str) -> set[Made]:
    """Return what a command makes of protected images, as the bench itself lists it."""
    attacks = list_attacks(
        listed(command, "victims"),
        listed(command, "countermeasures"),
        map(int, listed(command, "seeds")),
        1000,
        [int(k) for k in listed(command, "k")],
    )
    return {
        (
            name,
            each["victim"],
            each["countermeasure"],
            each["seed"],
            tuple(each.get("k", ())),
        )
        for name, each in product(listed(command, "protections"), attacks)
    }


def run_of(made: Made, command: str) -> Run:
    name, victim, countermeasure, seed, ks = made
    own = {"pipeline": "blood"} if name.startswith("ours") else {}
    few = {k: {"together": 0.5} for k in ks} or None
    return make_run(
        name,
        attack=(victim, countermeasure),
        seed=seed,
        with_images=few,
        command=command,
        **own,  # type: ignore[arg-type]
    )


def runs_of(*commands: str) -> list[Run]:
    """Return what these commands would have made, each run once."""
    made: dict[Made, str] = {}
    for command in commands:
        for each in makes(command):
            made.setdefault(each, command)
    return [run_of(*each) for each in made.items()]


START = "medprotect bench protection --dataset busi --images busi --steps 1000 --out mine"


def test_what_was_started_bit_by_bit_is_one_command() -> None:
    runs = runs_of(
        f"{START} --protections em --victims resnet18 --countermeasures '' --seeds 1",
        f"{START} --protections em,tap --victims resnet18 --countermeasures grey --seeds 1",
        f"{START} --protections em,tap --victims resnet18,vgg --countermeasures '' --seeds 1",
        f"{START} --protections tap,em --victims vgg --countermeasures '' --seeds 2",
        f"{START} --protections ours --victims resnet18,vgg --countermeasures grey --seeds 2,1",
        f"{START} --protections em,tap --victims resnet18 --countermeasures grey --seeds 2",
    )
    assert list_commands(runs) == [
        "medprotect bench protection --dataset busi --images busi --protections ours,em,tap "
        "--pipeline blood --victims resnet18,vgg --countermeasures grey --seeds 1,2 --steps 1000 "
        "--out runs"
    ]


@pytest.mark.parametrize(
    "commands",
    [
        ["--protections em --victims vgg,resnet18 --countermeasures grey,jpeg-10 --seeds 1,2"],
        [
            "--protections em,lsp --victims resnet18 --countermeasures '' --seeds 1,2,3 --k 10,50",
            "--protections em --victims resnet18 --countermeasures blur-1 --seeds 1 --k 10,50",
        ],
        [
            "--protections em --victims resnet18 --countermeasures grey --seeds 1",
            "--protections em --victims vgg --countermeasures jpeg-10 --seeds 1",
        ],
        [
            "--protections ours,ours-labels,em --victims resnet18 --countermeasures '' --seeds 4",
            "--protections ours --victims vit --countermeasures '' --seeds 4,5",
        ],
    ],
)
def test_no_run_is_left_out_and_none_is_added(commands: list[str]) -> None:
    whole = [f"{START} {command}" for command in commands]
    written = list_commands(runs_of(*whole))
    assert set().union(*map(makes, written)) == set().union(*map(makes, whole))
    assert len(written) <= len(whole) + 1


def test_other_budgets_and_pipelines_are_commands_of_their_own() -> None:
    attack = "--victims vgg --countermeasures '' --seeds 1"
    runs = runs_of(f"{START} --protections em {attack}")
    runs += runs_of(f"{START} --budget 6 --protections em {attack}")
    runs += [
        make_run("ours", attack=("vgg", "none"), pipeline=each, command=f"{START} {attack}")
        for each in ("blood", "mine")
    ]
    written = list_commands(runs)
    assert [option(each, "budget") for each in written] == ["", "", "6"]
    assert [option(each, "pipeline") for each in written] == ["blood", "mine", ""]


def test_runs_on_clean_images_alone_have_no_command() -> None:
    assert list_commands([make_run("clean"), make_run("no set")]) == []
