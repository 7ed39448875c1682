"""The runs of the bench as a page: of each set of images a table, a figure, and all else as CSV."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from itertools import groupby

from medprotect.audit.attempt import BALANCED, EARLY_SHARE
from medprotect.audit.budgets import NONE
from medprotect.audit.verdict import DASH
from medprotect.bench.protection.commands import list_commands
from medprotect.bench.protection.comparison import (
    Attack,
    Comparison,
    Estimate,
    Experience,
    Result,
    Row,
)
from medprotect.bench.protection.data import describe_data
from medprotect.bench.protection.figure import Cell, Point, draw_heat_map, draw_visibility
from medprotect.bench.protection.protection import CLEAN, OURS
from medprotect.bench.protection.record import DataSettings, Protected, Run

PRETRAINED = "pretrained"
"""The victim that is fine-tuned."""

UNMEASURABLE = "n/m"

_NOT_BALANCED = "\N{DAGGER}"

_FEWEST_POINTS = 4
"""Of a figure of protection against likeness."""

_UNBROKEN = "\N{NO-BREAK SPACE}"

_HEAD = """\
# Benchmarks

Made by `medprotect bench table RUNS --out FILE` from files of runs, not by hand. How runs are made,
and what they do not say: [The bench](researchers/bench.md).

**Protection at k** is the share of what clean images are worth that protected ones are not worth,
to somebody who has k clean labelled images of each class. 1: the protected images are worth
nothing; 0: as much as clean ones. In brackets stands its 95 % interval over test images and seeds.
k is 0 where none is named. The strength is standard, 8 of 255, where none is named.

- **plain**: a model trained without countermeasure. Without a clean image it is stopped as serves
  it best: as it ends, where it does best on a tenth of the set that was held out, or early, from
  experience with other sets; or, as it ends, its thresholds are moved until each class is given as
  often as the set holds it (*balanced*: images without labels are enough for that). Runs made
  before that was tried, marked †, may protect less than they say.
- **worst countermeasure**: the lowest protection under a countermeasure, of as many as were tried.
- **fine-tuned**: a model that learned ImageNet before.
- **oracle**: the model at its best moment on clean validation images, outputs renamed if that is
  better. Nobody has that many clean images and needs the set: an upper bound of what is learned.
  Earlier versions called this P, and [Sandoval-Segura et al.](https://arxiv.org/abs/2204.08615)
  (2022) judge by such a peak, too.
- **{unmeasurable}**: not measurable, as clean images are worth less than 0.10 there.
  **{dash}**: not tried.

For k = 0 clean images are worth what the best of all models learns from them plainly; for more,
a model is compared with itself. The row *clean* holds accuracies on clean test images; under *worst
countermeasure* it is the lowest, which is what a countermeasure costs by itself.

{early}
"""

_COLUMNS = (
    *("images", "image_size", "steps", "protection", "settings", "victim", "countermeasure", "k"),
    *("seeds", "as_it_ends", "best_on_set", "stopped_early", "early_at", "balanced", "oracle"),
    *("attacker_best", "alone", "protection_at_k", "low", "high"),
    *("oracle_protection", "oracle_low", "oracle_high", "clean"),
    *("psnr_db", "vif", "ms_ssim", "seconds_made", "seconds_trained"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and what lies in the folder beside it.

    Attributes
    ----------
    markdown : str
        The page.
    files : dict of str to str
        Contents by name: a figure a section, a CSV a data set.
    """

    markdown: str
    files: dict[str, str]


def write_page(runs: Sequence[Run], folder: str) -> Page:
    """Return the page of runs.

    Parameters
    ----------
    runs : sequence of Run
        In any order; those on other images, or of other steps, get a section of their own.
    folder : str
        The name of the folder beside the page.
    """
    experience = Experience(runs)
    together = [list(group) for _, group in groupby(sorted(runs, key=_group), key=_group)]
    comparisons = [Comparison(group, experience) for group in together]
    names = _name_sections(comparisons)
    files: dict[str, str] = {}
    sections: list[str] = []
    for comparison, name in zip(comparisons, names, strict=True):
        section = _Section(comparison, name, folder)
        sections.append(section.write())
        if comparison.countermeasures:
            files[f"{name}.svg"] = section.draw()
        if visibility := section.draw_visibility():
            files[f"{name}-visibility.svg"] = visibility
    for dataset in dict.fromkeys(each.dataset for each in comparisons):
        files[f"{dataset}.csv"] = write_csv(e for e in comparisons if e.dataset == dataset)
    head = _HEAD.format(
        unmeasurable=UNMEASURABLE, dash=DASH, early=_describe_early(comparisons, experience)
    )
    return Page("\n".join([head, *sections]), files)


def _group(run: Run) -> tuple[str, int, list[int], int, str]:
    data, steps = run["settings"]["data"], run["settings"]["attack"]["steps"]
    return data["dataset"], data["train"], data["image_size"], steps, data["sha256"]


def _name_sections(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a name for each: the data set's, and what tells it apart where it has several."""
    forms = [
        (
            each.dataset,
            f"{each.dataset}-{max(_data(each)['image_size'][:2])}px",
            f"{each.dataset}-{max(_data(each)['image_size'][:2])}px-{each.steps}-steps",
            f"{each.dataset}-{_data(each)['sha256'][:8]}-{each.steps}-steps",
        )
        for each in comparisons
    ]
    columns = list(zip(*forms, strict=True))
    return [
        next(
            name for name, all_such in zip(each, columns, strict=True) if all_such.count(name) == 1
        )
        for each in forms
    ]


def _data(comparison: Comparison) -> DataSettings:
    return comparison.runs[0]["settings"]["data"]


def _describe_early(comparisons: Iterable[Comparison], experience: Experience) -> str:
    """Return where trainings were stopped early, of each protection that other sets tell of."""
    known: dict[str, dict[str, None]] = {}
    for each in comparisons:
        for row in each.rows:
            share = experience.share(each.dataset, row.name, each.first)
            if share is not None:
                name, _ = describe_data(each.dataset)
                known.setdefault(name, {})[f"{row.name} {share:.2f}"] = None
    said = f"Stopped early is after {EARLY_SHARE:.2f} of the steps"
    if not known:
        return f"{said}: no protection has runs on another set here that hold more than their end."
    lines = "\n".join(f"- {name}: {', '.join(shares)}" for name, shares in known.items())
    return (
        f"{said}, but here after the share at which models did best on the other sets that were "
        f"protected the same way:\n\n{lines}"
    )


@dataclass(frozen=True, slots=True)
class _Section:
    comparison: Comparison
    name: str
    folder: str

    def write(self) -> str:
        """Return the section."""
        titles, rows = self._table()
        lines = [["protection", *titles], ["---"] + ["---:"] * len(titles), *rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts = [*self._before(), table]
        if self.comparison.countermeasures:
            alt = f"Heat map of the protection of {self._title()}: the numbers are in the CSV"
            figure = f"{self.folder}/{self.name}.svg"
            parts.append(f"[![{alt}]({figure})]({figure})")
        if self.draw_visibility():
            alt = f"Protection against likeness, {self._title()}: the numbers are in the CSV"
            figure = f"{self.folder}/{self.name}-visibility.svg"
            parts.append(f"[![{alt}]({figure})]({figure})")
        return "\n\n".join([*parts, *self._after()]) + "\n"

    def draw(self) -> str:
        """Return the figure: what countermeasures leave of each protection they were tried on."""
        tried = [NONE, *self.comparison.countermeasures]
        rows = [
            (row.label, [self._cell(row, Attack(self.comparison.first, each)) for each in tried])
            for row in self.comparison.rows
        ]
        shown = [row for row in rows if any(cell.text != DASH for cell in row[1][1:])]
        title = f"Protection without a clean image, {self._title()}"
        return draw_heat_map(title, ["plain", *tried[1:]], shown)

    def draw_visibility(self) -> str:
        """Return protection against likeness, plain and without a clean image; "" for none."""
        points, jpeg = [], []
        for row in self.comparison.rows:
            vif = _fidelity(row.protected, "vif")
            plain = self.comparison.result(row, Attack(self.comparison.first, NONE))
            share = plain.at_k.protection if plain and plain.at_k else None
            if row.protected and vif is not None and share is not None:
                points.append(Point(row.label, vif, share, row.name in OURS))
                jpeg.append(row.protected["fidelity"]["vif"]["jpeg_50"])
        if len(points) < _FEWEST_POINTS:
            return ""
        title = f"Protection against likeness, {self._title()}"
        return draw_visibility(title, points, jpeg[0])

    def _title(self) -> str:
        name, _ = describe_data(self.comparison.dataset)
        size = " x ".join(str(side) for side in _data(self.comparison)["image_size"][:2])
        return f"{name}, {size}, {self.comparison.steps:,} steps"

    def _before(self) -> Iterator[str]:
        of, data = self.comparison, _data(self.comparison)
        name, origin = describe_data(of.dataset)
        size = " x ".join(str(side) for side in data["image_size"])
        yield f"## {name}: {data['train']:,} images of {size}, {of.steps:,} steps"
        clean = of.clean_best()
        taught = f"clean images teach {clean[1]:.3f} ({clean[0]})" if clean else "not on clean ones"
        yield (
            f"{origin} {of.classes} classes; tested on {len(of.labels):,} clean images: guessing "
            f"gives {1 / of.classes:.3f}, {taught}. Models are {of.first} where none is named."
        )
        if all(len(run["moments"]["steps"]) == 1 for run in of.runs if run["moments"]):
            yield "These runs hold the end of each training alone: *plain* is of this moment."

    def _table(self) -> tuple[list[str], list[list[str]]]:
        of = self.comparison
        ks = sorted({of.ks[0], of.ks[-1]}) if of.ks else []
        fine_tuned = of.first != PRETRAINED and any(
            of.result(row, Attack(PRETRAINED, NONE)) for row in of.rows
        )
        titles = ["noise", "plain", *(f"k = {k}" for k in ks)]
        titles += ["worst countermeasure"] if of.countermeasures else []
        titles += ["fine-tuned"] if fine_tuned else []
        rows = [self._row(row, ks, fine_tuned=fine_tuned) for row in of.rows]
        return [*titles, "oracle"], rows

    def _row(self, row: Row, ks: Sequence[int], *, fine_tuned: bool) -> list[str]:
        of = self.comparison
        plain = of.result(row, Attack(of.first, NONE))
        seeds = plain.seeds if plain else ()
        label = f"{row.label}, accuracy" if row.name == CLEAN.name else row.label
        cells = [label, _noise(row.protected)]
        cells.append(self._field(row, plain, (), plain.at_k if plain else None))
        for k in ks:
            at = of.result(row, Attack(of.first, NONE, k))
            cells.append(self._field(row, at, seeds, at.at_k if at else None))
        if of.countermeasures:
            cells.append(self._worst(row, seeds))
        if fine_tuned:
            at = of.result(row, Attack(PRETRAINED, NONE))
            cells.append(self._field(row, at, seeds, at.at_k if at else None))
        if row.name == CLEAN.name:
            return [*cells, f"{plain.oracle:.3f}" if plain else DASH]
        return [*cells, _words(plain.by_oracle if plain else None)]

    def _field(
        self, row: Row, at: Result | None, seeds: tuple[int, ...], estimate: Estimate | None
    ) -> str:
        """Return a field of the table, with the number of seeds where that is not as elsewhere."""
        if at is None:
            return DASH
        found = f"{at.best:.3f}" if row.name == CLEAN.name else _words(estimate)
        if found not in (DASH, UNMEASURABLE) and row.name != CLEAN.name:
            found += "" if BALANCED in at.stopped else _NOT_BALANCED
        if found == DASH or at.seeds == seeds:
            return found
        return f"{found}<br>{_count(at.seeds)}"

    def _worst(self, row: Row, seeds: tuple[int, ...]) -> str:
        of = self.comparison
        tried = [
            (name, at)
            for name in of.countermeasures
            if (at := of.result(row, Attack(of.first, name))) is not None
        ]
        if row.name == CLEAN.name:
            name, worst = min(tried, key=lambda each: each[1].best, default=("", None))
        else:
            name, worst = min(tried, key=_least, default=("", None))
        if worst is None:
            return DASH
        said = self._field(row, worst, worst.seeds, worst.at_k)
        few = "" if worst.seeds == seeds else f", {_count(worst.seeds)}"
        return f"{said}<br>{name}, of {len(tried)}{few}"

    def _cell(self, row: Row, attack: Attack) -> Cell:
        at = self.comparison.result(row, attack)
        if at is None or at.at_k is None:
            return Cell(DASH)
        share = at.at_k.protection
        return Cell(UNMEASURABLE if share is None else _figure(share), share)

    def _after(self) -> Iterator[str]:
        runs = self.comparison.runs
        hours = sum(run["seconds"] for run in runs) / 3600
        memory = max(run["peak_memory_mb"] for run in runs)
        made = "; ".join(sorted({_versions(run) for run in runs}))
        yield (
            f"[All figures as CSV]({self.folder}/{self.comparison.dataset}.csv). {len(runs)} runs, "
            f"{hours:.1f} hours, {memory:,.0f} MB of memory at most; made with {made}."
        )
        commands = "\n".join(escape(command, quote=False) for command in list_commands(runs))
        if commands:
            yield (
                "<details><summary>The commands that make these runs</summary>\n"
                f"<pre><code>{commands}</code></pre>\n</details>"
            )


def _least(each: tuple[str, Result]) -> float:
    estimate = each[1].at_k
    return 1.0 if estimate is None or estimate.protection is None else estimate.protection


def _noise(made: Protected | None) -> str:
    decibels, vif = (_fidelity(made, name) for name in ("psnr_db", "vif"))
    said = DASH if decibels is None else f"{decibels:.1f} dB"
    return said if vif is None else f"{said}<br>VIF {vif:.2f}"


def _fidelity(made: Protected | None, name: str) -> float | None:
    found = None if made is None else made["fidelity"].get(name)
    return None if found is None else found["protected"]


def _words(estimate: Estimate | None) -> str:
    """Return protection with its interval."""
    if estimate is None:
        return DASH
    if estimate.protection is None:
        return UNMEASURABLE
    said = f"**{_figure(estimate.protection)}**"
    if estimate.interval is None:
        return said
    low, high = map(_figure, estimate.interval)
    return f"{said} ({low}{_UNBROKEN}to{_UNBROKEN}{high})"


def _count(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"


def _versions(run: Run) -> str:
    versions = run["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("medprotect", "torch"))
    return f"{named}, {versions['processor']}, threads: {versions['threads']}"


def _figure(value: float) -> str:
    """Return two digits, with a true minus and no minus before nothing."""
    figure = f"{value:.2f}"
    return figure.replace("-", "" if float(figure) == 0 else "\N{MINUS SIGN}")


def write_csv(comparisons: Iterable[Comparison]) -> str:
    """Return a line for each protection, victim, countermeasure, number of steps, and k."""
    stream = StringIO()
    table = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for comparison in comparisons:
        for row in comparison.rows:
            for attack in row.attacks():
                at = comparison.result(row, attack)
                if at is not None:
                    table.writerow(_line(comparison, row, attack, at))
    return stream.getvalue()


def _line(comparison: Comparison, row: Row, attack: Attack, at: Result) -> dict[str, object]:
    data, made = _data(comparison), row.protected
    return {
        "images": data["train"],
        "image_size": "x".join(map(str, data["image_size"])),
        "steps": comparison.steps,
        "protection": row.label,
        "settings": json.dumps(row.settings, sort_keys=True),
        "victim": attack.victim,
        "countermeasure": attack.countermeasure,
        "k": attack.k,
        "seeds": " ".join(map(str, at.seeds)),
        "as_it_ends": at.stopped.get("as it ends"),
        "best_on_set": at.stopped.get("best on the set"),
        "stopped_early": at.stopped.get("stopped early"),
        "early_at": at.early if len(at.stopped) > 1 else None,
        "balanced": at.stopped.get(BALANCED),
        "oracle": at.oracle,
        "attacker_best": at.best,
        "alone": at.alone,
        **_estimated(at.at_k, ("protection_at_k", "low", "high")),
        **_estimated(at.by_oracle, ("oracle_protection", "oracle_low", "oracle_high")),
        "clean": at.clean,
        "psnr_db": _rounded(_fidelity(made, "psnr_db")),
        "vif": _rounded(_fidelity(made, "vif")),
        "ms_ssim": _rounded(_fidelity(made, "ms_ssim")),
        "seconds_made": None if made is None else made["seconds"],
        "seconds_trained": round(at.seconds, 1),
    }


def _estimated(estimate: Estimate | None, names: tuple[str, str, str]) -> dict[str, object]:
    if estimate is None or estimate.protection is None:
        return dict.fromkeys(names)
    return dict(
        zip(names, (estimate.protection, *(estimate.interval or (None, None))), strict=True)
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
