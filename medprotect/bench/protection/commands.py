"""The fewest commands that make runs again: what was started bit by bit, put together."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.budgets import NONE
from medprotect.bench.protection.protection import OURS, PROTECTIONS
from medprotect.bench.protection.record import Run, identify

_COMMAND = ("medprotect", "bench", "protection")

_FROM_RUNS = ("protections", "pipeline", "victims", "countermeasures", "k", "seeds", "out")
"""Options that are written as the runs have them; the others are as they were given."""

Options = tuple[tuple[str, str], ...]

Attack = tuple[str, str, tuple[int, ...]]
"""Victim, countermeasure, and the numbers of clean images tried besides."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Attacks that were made with each of the seeds, and the options that they share."""

    options: Options
    attacks: frozenset[Attack]
    seeds: tuple[int, ...]


def list_commands(runs: Iterable[Run]) -> list[str]:
    """Return commands that make the runs on protected images again, and with them all others.

    They hold what each run says of itself, so seeds, models and protections that were started
    one after the other stand in one command. A command makes the plain training of its first
    victim, too, where countermeasures are tried on it.

    Parameters
    ----------
    runs : iterable of Run
        On the same images, of as many steps.
    """
    of_protections: dict[_Block, dict[str, set[str]]] = {}
    for (protection, pipeline, options), attacks in _by_protection(runs).items():
        for block in _blocks(options, attacks):
            pipelines = of_protections.setdefault(block, {})
            pipelines.setdefault(pipeline, set()).add(protection)
    return [
        _write(block, pipeline, names)
        for block, pipelines in of_protections.items()
        for pipeline, names in _by_pipeline(pipelines)
    ]


def _by_protection(
    runs: Iterable[Run],
) -> dict[tuple[str, str, Options], dict[Attack, set[int]]]:
    """Return seeds by attack, of each protection with its pipeline and options."""
    there = [run for run in runs if run["settings"]["protection"]["name"] in PROTECTIONS]
    plain: dict[tuple[str, str, int], tuple[int, ...]] = {}
    for run in there:
        attack = run["settings"]["attack"]
        if attack["countermeasure"] == NONE:
            at = identify(run["settings"]["protection"]), attack["victim"], attack["seed"]
            plain[at] = max(plain.get(at, ()), tuple(attack.get("k", ())), key=len)
    found: dict[tuple[str, str, Options], dict[Attack, set[int]]] = {}
    for run in there:
        protection, attack = run["settings"]["protection"], run["settings"]["attack"]
        victim, countermeasure, seed = attack["victim"], attack["countermeasure"], attack["seed"]
        ks = tuple(attack.get("k", ()))
        if countermeasure != NONE:  # the same command makes a plain training, which has the k
            ks = plain.get((identify(protection), victim, seed), ())
        name = str(protection["name"])
        pipeline = str(protection["pipeline"]) if name in OURS else ""
        attacks = found.setdefault((name, pipeline, _options(run["command"])), {})
        attacks.setdefault((victim, countermeasure, ks), set()).add(seed)
    return found


def _options(command: str) -> Options:
    """Return the options of a command that runs do not tell themselves."""
    words = shlex.split(command)
    if tuple(words[:3]) != _COMMAND:
        return ()
    pairs = zip(words[3::2], words[4::2], strict=False)
    named = [(option.removeprefix("--"), value) for option, value in pairs]
    return tuple((option, value) for option, value in named if option not in _FROM_RUNS)


def _blocks(options: Options, attacks: dict[Attack, set[int]]) -> Iterator[_Block]:
    """Yield attacks of the same seeds together; countermeasures are of one victim a command."""
    together: dict[tuple[tuple[int, ...], tuple[int, ...]], set[Attack]] = {}
    for attack, made in attacks.items():
        together.setdefault((tuple(sorted(made)), attack[2]), set()).add(attack)
    for (seeds, _), found in sorted(together.items(), key=lambda each: -len(each[0][0])):
        treated = sorted({victim for victim, countermeasure, _ in found if countermeasure != NONE})
        of_first = {each for each in found if each[1] == NONE and each[0] not in treated[1:]} | {
            each for each in found if each[0] in treated[:1]
        }
        yield _Block(options, frozenset(of_first), seeds)
        for other in treated[1:]:
            yield _Block(options, frozenset(each for each in found if each[0] == other), seeds)


def _by_pipeline(pipelines: dict[str, set[str]]) -> Iterator[tuple[str, set[str]]]:
    """Yield each pipeline with its protections; those that need none go with the first."""
    others = pipelines.get("", set())
    ours = sorted(pipeline for pipeline in pipelines if pipeline)
    if not ours:
        yield "", others
    for number, pipeline in enumerate(ours):
        yield pipeline, pipelines[pipeline] | (others if number == 0 else set())


def _write(block: _Block, pipeline: str, protections: set[str]) -> str:
    treated = {victim for victim, countermeasure, _ in block.attacks if countermeasure != NONE}
    victims = {victim for victim, _, _ in block.attacks}
    countermeasures = {each for _, each, _ in block.attacks if each != NONE}
    ks = sorted({k for *_, each in block.attacks for k in each})
    given = dict(block.options)
    options = {
        **{name: given.pop(name) for name in ("dataset", "images") if name in given},
        "protections": _listed(protections, PROTECTIONS),
        "pipeline": pipeline,
        "victims": ",".join(
            sorted(victims, key=lambda each: (each not in treated, list(VICTIMS).index(each)))
        ),
        "countermeasures": _listed(countermeasures, list(COUNTERMEASURES)),
        "k": ",".join(map(str, ks)),
        "seeds": ",".join(map(str, block.seeds)),
        **given,
        "out": "runs",
    }
    words = [
        word
        for option, value in options.items()
        if value or option == "countermeasures"
        for word in (f"--{option}", value)
    ]
    return shlex.join([*_COMMAND, *words])


def _listed(names: set[str], order: Sequence[str]) -> str:
    return ",".join(sorted(names, key=order.index))
