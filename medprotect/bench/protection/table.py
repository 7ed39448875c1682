"""The runs of the bench as a page of tables: one for each data set and way of training."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.protection import Predicted, protection, protection_interval
from medprotect.audit.verdict import DASH, PLAIN
from medprotect.bench.protection.data import describe_data
from medprotect.bench.protection.protection import CLEAN, OURS, PROTECTIONS
from medprotect.bench.protection.record import Run, identify, unpack
from medprotect.intensity.budget import STRENGTHS

STANDARD = "standard"
"""The strength that goes without saying."""

Which = Literal["as_is", "renamed", "best"]

_HEAD = """\
# Benchmarks

Made by `medprotect bench table RUNS` from files of runs, not by hand. How runs are made, and what
they do not say: [The bench](researchers/bench.md).

Each field holds P, its 95 % interval over test images and seeds, and below them the balanced
accuracy on clean test images, the mean over seeds. P is 1 where the model learned nothing from the
protected images, and 0 where they taught as much as clean ones teach plainly: A_clean is one figure
for a table. *As it is*, *renamed* and *best* are of the same trainings: as they ended; with outputs
renamed one to one; and the better of these at the best moment. Under a countermeasure it is the
best that counts. The strength is standard, 8 of 255, where none is named.
"""


class _Column(NamedTuple):
    title: str
    victim: str
    countermeasure: str
    which: Which


def write_page(runs: Iterable[Run]) -> str:
    """Return the page in Markdown.

    Parameters
    ----------
    runs : iterable of Run
        In any order; those on other images, or of other steps, get a table of their own.
    """
    together = sorted(runs, key=_group)
    sections = [_Section(list(group)).write() for _, group in groupby(together, key=_group)]
    return "\n".join([_HEAD, *sections])


def _group(run: Run) -> tuple[str, int, int, str]:
    data = run["settings"]["data"]
    steps = run["settings"]["attack"]["steps"]
    return data["dataset"], data["train"], steps, data["sha256"]


@dataclass(frozen=True, slots=True)
class _Section:
    """What is comparable: runs on the same images, of as many steps."""

    runs: list[Run]

    def write(self) -> str:
        """Return the section."""
        columns = self._columns()
        titles = ["protection", "PSNR, dB", "made in, s", *(column.title for column in columns)]
        rows = [self._row(row, columns) for row in self._rows()]
        lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join([*self._before(columns[0].victim), table, *self._after()]) + "\n"

    def _before(self, victim: str) -> Iterator[str]:
        run = self.runs[0]
        data, steps = run["settings"]["data"], run["settings"]["attack"]["steps"]
        name, origin = describe_data(data["dataset"])
        yield f"## {name}, {data['train']:,} images, {steps:,} steps"
        yield origin
        size = " x ".join(str(side) for side in data["image_size"])
        classes, tests = len(run["classes"]), len(unpack(run["labels"]))
        clean = self._clean()
        found = (
            "not measured" if clean is None else f"{_accuracy(clean[1], 'best'):.3f} ({clean[0]})"
        )
        yield (
            f"Learned from {data['train']:,} images of {size}, chosen on {run['validation']:,} and "
            f"tested on {tests:,} clean ones of {classes} classes; guessing gives "
            f"{1 / classes:.3f}, A_clean is {found}. Where no model is named it is {victim}. "
            f"Seeds: {_listed(self._seeds())}."
        )

    def _after(self) -> Iterator[str]:
        hours = sum(run["seconds"] for run in self.runs) / 3600
        memory = max(run["peak_memory_mb"] for run in self.runs)
        made = {_versions(run) for run in self.runs}
        yield (
            f"{len(self.runs)} runs, {hours:.1f} hours, {memory:,.0f} MB of memory at most. "
            f"{self._yardstick()}Made with {'; '.join(sorted(made))}."
        )
        commands = dict.fromkeys(run["command"] for run in self.runs)
        yield "\n".join(f"    {command}" for command in commands)

    def _yardstick(self) -> str:
        for run in self.runs:
            decibels = _psnr(run, "jpeg_50")
            if decibels is not None:
                return f"JPEG 50 of the clean images has a PSNR of {decibels:.1f} dB. "
        return ""

    def _seeds(self) -> set[int]:
        return {run["settings"]["attack"]["seed"] for run in self.runs}

    def _rows(self) -> list[tuple[str, list[Run]]]:
        """Return the runs of each protection, with a label that no other has; clean ones first."""
        order = _place((CLEAN.name, *PROTECTIONS))
        rows: dict[str, list[Run]] = {}
        for run in sorted(self.runs, key=lambda run: order(run["settings"]["protection"]["name"])):
            rows.setdefault(identify(run["settings"]["protection"]), []).append(run)
        labels = [_label(runs[0]["settings"]["protection"]) for runs in rows.values()]
        return [
            (label if labels.count(label) == 1 else f"{label}, {digest[:8]}", runs)
            for label, (digest, runs) in zip(labels, rows.items(), strict=True)
        ]

    def _columns(self) -> list[_Column]:
        """Return what is shown: plain training of the first victim in full, then the best."""
        attacks = {
            (run["settings"]["attack"]["victim"], run["settings"]["attack"]["countermeasure"])
            for run in self.runs
        }
        of_victim, of_countermeasure = _place(VICTIMS), _place(COUNTERMEASURES)
        treated = [victim for victim, countermeasure in attacks if countermeasure != PLAIN]
        first = min(treated or [victim for victim, _ in attacks], key=of_victim)
        columns = [
            _Column("as it is", first, PLAIN, "as_is"),
            _Column("renamed", first, PLAIN, "renamed"),
            _Column("best", first, PLAIN, "best"),
        ]
        rest = sorted(
            attacks - {(first, PLAIN)},
            key=lambda each: (each[0] != first, of_victim(each[0]), of_countermeasure(each[1])),
        )
        for victim, countermeasure in rest:
            words = [victim if victim != first else "", countermeasure.replace(PLAIN, "")]
            title = ", ".join(word for word in words if word)
            columns.append(_Column(title, victim, countermeasure, "best"))
        return columns

    def _row(self, row: tuple[str, list[Run]], columns: Sequence[_Column]) -> list[str]:
        label, runs = row
        decibels, made = _psnr(runs[0], "protected"), runs[0]["protected"]
        return [
            label,
            DASH if decibels is None else f"{decibels:.1f}",
            DASH if made is None else f"{made['seconds']:,.0f}",
            *(self._field(runs, column) for column in columns),
        ]

    def _field(self, runs: list[Run], column: _Column) -> str:
        there = _of(runs, column.victim, column.countermeasure)
        if not there:
            return DASH
        accuracy = f"{_accuracy(there, column.which):.3f}"
        lines = [accuracy]
        if there[0]["settings"]["protection"]["name"] != CLEAN.name:
            lines = [self._share(there, column.which), accuracy]
        if len(there) < len(self._seeds()):
            lines.append(
                f"seed {_listed(run['settings']['attack']['seed'] for run in there)} alone"
            )
        return "<br>".join(lines)

    def _share(self, runs: list[Run], which: Which) -> str:
        """Return P with its interval, in words."""
        clean = self._clean()
        classes = len(runs[0]["classes"])
        if clean is None:
            return DASH
        share = protection(_accuracy(clean[1], "best"), _accuracy(runs, which), classes)
        interval = protection_interval(
            _told(clean[1], "best"), _told(runs, which), unpack(runs[0]["labels"]), classes
        )
        if share is None or interval is None:
            return DASH
        return f"**{_figure(share)}** ({_figure(interval[0])} to {_figure(interval[1])})"

    def _clean(self) -> tuple[str, list[Run]] | None:
        """Return the victim that learned most from clean images, plainly, and its runs."""
        clean = [run for run in self.runs if run["settings"]["protection"]["name"] == CLEAN.name]
        victims = {run["settings"]["attack"]["victim"] for run in clean}
        found = [(victim, _of(clean, victim, PLAIN)) for victim in sorted(victims)]
        measured = [each for each in found if each[1]]
        return max(measured, key=lambda each: _accuracy(each[1], "best"), default=None)


def _of(runs: Iterable[Run], victim: str, countermeasure: str) -> list[Run]:
    """Return the runs of an attack, one a seed."""
    return [
        run
        for run in runs
        if run["settings"]["attack"]["victim"] == victim
        and run["settings"]["attack"]["countermeasure"] == countermeasure
    ]


def _accuracy(runs: Sequence[Run], which: Which) -> float:
    return float(np.mean([run["accuracy"][which] for run in runs]))


def _told(runs: Sequence[Run], which: Which) -> list[Predicted]:
    return [unpack(run["told"][which]) for run in runs]


def _psnr(run: Run, of: Literal["protected", "jpeg_50"]) -> float | None:
    made = run["protected"]
    return None if made is None else made["fidelity"]["psnr_db"][of]


def _label(settings: dict[str, Any]) -> str:
    name = str(settings["name"])
    told = f" ({settings['pipeline']})" if name in OURS else ""
    strength = settings.get("strength", STANDARD)
    usual = STRENGTHS.get(strength)
    budget = settings.get("budget_lsb", usual)
    parts = [
        f"{name}{told}",
        "" if strength == STANDARD else strength,
        "" if budget == usual else f"{budget} of 255",
    ]
    return ", ".join(part for part in parts if part)


def _versions(run: Run) -> str:
    versions = run["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("medprotect", "torch"))
    return f"{named}, {versions['processor']}, threads: {versions['threads']}"


def _place(names: Iterable[str]) -> Callable[[str], tuple[int, str]]:
    """Return a key that sorts names as listed; those that are not, after them."""
    places = {name: place for place, name in enumerate(names)}
    return lambda name: (places.get(name, len(places)), name)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))


def _figure(value: float) -> str:
    """Return two digits, with a true minus and no minus before nothing."""
    figure = f"{value:.2f}"
    return figure.replace("-", "" if float(figure) == 0 else "\N{MINUS SIGN}")
