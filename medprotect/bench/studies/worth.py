"""What are protected images worth? ``python -m medprotect.bench.studies.worth --images FOLDER``.

To somebody with k clean labelled images a class and nothing else, that is: the balanced accuracy
that they reach with the set and the k, less what they reach with the k alone.

    protection at k = 1 - worth(protected, k) / worth(clean, k)

For k = 0 the k alone give a guess, 1 / classes. Prints JSON. Nobody who attacks holds the test
images; the k come from the validation images.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprotect.audit.attack.victims import VICTIMS, make_each
from medprotect.audit.attempt import Predicted
from medprotect.audit.halves import Halves, Labelled, draw, read_halves
from medprotect.audit.holders import Holder, draw_few
from medprotect.audit.protection import balanced_accuracy
from medprotect.audit.state import State, digest
from medprotect.bench.protection.baselines import BASELINES
from medprotect.bench.studies.unlearnability import protect
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.errors import ConfigError
from medprotect.intensity.budget import STRENGTHS

MEASURABLE = 0.10
"""What the clean set must be worth, for protection at k to mean anything."""

RESAMPLES = 1000

Told = Mapping[str, Sequence[Predicted]]
"""By attack, the classes (N,) that each seed gives the clean test images."""

Values = NDArray[np.float64]


def worth(with_set: float, alone: float) -> float:
    """Return what a set adds to what its holder has without it.

    Parameters
    ----------
    with_set, alone : float
        Balanced accuracies. A holder whom the set misleads leaves it aside, so it is 0 at least.

    Examples
    --------
    >>> worth(0.75, 0.5)
    0.25
    >>> worth(0.25, 0.5)
    0.0
    """
    return max(0.0, with_set - alone)


def protection_at_k(clean: float, protected: float) -> float | None:
    """Return which share of the worth of the clean set the protected set lacks.

    Parameters
    ----------
    clean, protected : float
        What each is worth to somebody with the same k.

    Returns
    -------
    float or None
        1: the protected set is worth nothing. 0: as much as the clean set. None: not measurable, as
        the clean set itself is worth less than `MEASURABLE`.

    Examples
    --------
    >>> protection_at_k(0.5, 0.125)
    0.75
    >>> protection_at_k(0.05, 0.0) is None
    True
    """
    return None if clean < MEASURABLE else round(1 - protected / clean, 6)


def best(told: Told, labels: NDArray[np.int64], classes: int) -> float:
    """Return the balanced accuracy of the best attack, each the mean over its seeds."""
    return max(
        float(np.mean([balanced_accuracy(run, labels, classes) for run in runs]))
        for runs in told.values()
    )


def protection_interval(
    clean: Told,
    protected: Told,
    alone: Told | None,
    labels: NDArray[np.int64],
    classes: int,
    groups: NDArray[np.int64] | None = None,
) -> tuple[float, float] | None:
    """Return the 95 % interval of protection at k by a bootstrap over test images and seeds.

    All are judged on the same test images and seeds of each resample, and the best attack is chosen
    anew in each. Resamples in which the clean set is worth nothing have no value and are left out.

    Parameters
    ----------
    clean, protected : mapping
        What the attacks told, that were made with each set.
    alone : mapping, optional
        What those told that were made with the k alone; None for k = 0, which is a guess.
    labels : NDArray of int64
        (N,), of the test images.
    groups : NDArray of int64, optional
        (N,), of each test image; then groups are drawn, not images.
    """
    rng = np.random.default_rng(0)
    names, group = np.unique(
        np.arange(len(labels)) if groups is None else groups, return_inverse=True
    )
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    times = drawn.astype(np.float64)
    (count,) = {len(runs) for told in (clean, protected, alone or {}) for runs in told.values()}
    seeds = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count

    def tally(right: NDArray[np.bool_]) -> Values:
        """Return (resamples, classes): the images of each class where that is true."""
        table = np.zeros((len(names), classes))
        np.add.at(table, (group[right], labels[right]), 1)
        totals: Values = times @ table
        return totals

    there = tally(np.ones(len(labels), np.bool_))

    def score(told: Told) -> Values:
        """Return (resamples,): what the best attack gets."""
        found: Values = np.max([score_attack(runs) for runs in told.values()], axis=0)
        return found

    def score_attack(runs: Sequence[Predicted]) -> Values:
        accuracies = np.stack([_mean_share(tally(run == labels), there) for run in runs], axis=1)
        mean: Values = (accuracies * seeds).sum(1)
        return mean

    without = np.full(RESAMPLES, 1 / classes) if alone is None else score(alone)
    worths = [np.maximum(0, score(told) - without) for told in (clean, protected)]
    some = worths[0] > 0
    if not some.any():
        return None
    low, high = np.percentile(1 - worths[1][some] / worths[0][some], [2.5, 97.5])
    return round(float(low), 6), round(float(high), 6)


def _mean_share(found: Values, there: Values) -> Values:
    """Return (resamples,): the mean, over the classes that were drawn, of the share found."""
    present = there > 0
    shares = np.divide(found, there, out=np.zeros_like(found), where=present)
    means: Values = shares.sum(1) / present.sum(1)
    return means


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """How protection at k is measured.

    Attributes
    ----------
    victims : tuple of str
        Each is trained in every way; the best counts.
    ks : tuple of int
        Clean labelled images a class.
    seeds : tuple of int
        Each draws other k images and trains anew.
    steps : int
        Of each training.
    share : float, optional
        Of the steps, in 0..1, that did best on another set protected in the same way.
    """

    victims: tuple[str, ...]
    ks: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    share: float | None = None


def measure(
    clean: Labelled,
    protected: NDArray[np.uint8],
    validation: Labelled,
    test: Labelled,
    classes: int,
    study: Study,
    *,
    state: State | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return what was found for each k.

    Parameters
    ----------
    clean : Labelled
        The set before it was protected.
    protected : NDArray of uint8
        (N, H, W, C), its images as they were protected.
    validation : Labelled
        Clean images, of which the k are drawn.
    test : Labelled
        Clean images; where they have groups, the interval draws groups.

    Raises
    ------
    ConfigError
        A class has fewer than k validation images, or a victim needs what is not installed.
    """
    make_each(study.victims, test.images.shape[3], classes)
    for k in study.ks:
        draw_few(validation, k, classes, study.seeds[0])
    sets = {
        "clean": clean,
        "protected": Labelled(protected, clean.labels, clean.groups),
        "alone": None,
    }
    told: dict[tuple[str, int], dict[str, list[Predicted]]] = {}
    for name, train in sets.items():
        for seed in study.seeds:
            for victim in study.victims:
                few = {k: draw_few(validation, k, classes, seed) for k in study.ks}
                holder = Holder(victim, test.images, classes, seed, study.steps, study.share)
                say(f"{victim}, seed {seed}: {name}")
                for k, runs in _once(holder, train, few, state or State(None)).items():
                    for attack, run in runs.items():
                        told.setdefault((name, k), {}).setdefault(attack, []).append(run)
    return [_find(told, k, test, classes) for k in study.ks]


def _once(
    holder: Holder, train: Labelled | None, few: dict[int, Labelled], state: State
) -> dict[int, dict[str, Predicted]]:
    """Return what was kept of the attacks for each k; make anew what was not."""
    given = {} if train is None else {"train": digest(train.images, train.labels)}
    if train is not None and train.groups is not None:
        given["groups"] = digest(train.groups)
    settings = {
        k: {**holder.settings(), **given, "few": digest(part.images, part.labels)}
        for k, part in few.items()
    }
    runs = {k: state.load_arrays(each) for k, each in settings.items()}
    missing = {k: few[k] for k, run in runs.items() if run is None}
    if missing:
        made = holder.attack_alone(missing) if train is None else holder.attack(train, missing)
        for k, run in made.items():
            state.save_arrays(settings[k], run)
            runs[k] = run
    return {k: run for k, run in runs.items() if run is not None}


def _find(
    told: Mapping[tuple[str, int], Told], k: int, test: Labelled, classes: int
) -> dict[str, Any]:
    """Return the accuracies, worths and protection for one k."""
    alone = told.get(("alone", k))
    without = 1 / classes if alone is None else best(alone, test.labels, classes)
    rows: dict[str, Any] = {"k": k, "alone": round(without, 6)}
    worths = []
    for name in ("clean", "protected"):
        runs = told[name, k]
        worths.append(worth(best(runs, test.labels, classes), without))
        attacks = {
            attack: round(best({attack: each}, test.labels, classes), 6)
            for attack, each in runs.items()
        }
        rows[name] = {"worth": round(worths[-1], 6), "attacks": attacks}
    protection = protection_at_k(*worths)
    interval = None
    if protection is not None:
        interval = protection_interval(
            told["clean", k], told["protected", k], alone, test.labels, classes, test.groups
        )
    return {**rows, "protection": protection, "interval": interval}


def _protect(given: argparse.Namespace, part: Labelled, halves: Halves) -> NDArray[np.uint8]:
    """Return the images of a part, protected as the command line says."""
    if given.protected is not None:
        other = _take_part(read_halves(given.protected, given.size), given)
        same = other.images.shape == part.images.shape and np.array_equal(other.labels, part.labels)
        if not same:
            raise ConfigError("The protected images are not those of --images.")
        return other.images
    if given.baseline is not None:
        method = BASELINES[given.baseline](budget_lsb=STRENGTHS[given.strength])
        return method.protect(part, len(halves.classes))
    if given.pipeline is None:
        rng = np.random.default_rng(0)
        step = rng.integers(-1, 2, part.images.shape)
        noisy: NDArray[np.uint8] = np.clip(part.images + step, 0, 255).astype(np.uint8)
        return noisy
    key = Key.load(given.key) if given.key else Key.new()
    confounder = Confounder(load_card(given.pipeline), key)
    labels = part.labels if given.labels_known else None
    return protect(part.images, confounder, given.strength, labels)


def _take_part(halves: Halves, given: argparse.Namespace) -> Labelled:
    part = halves.b
    if given.both_halves:
        groups = None
        if halves.a.groups is not None and halves.b.groups is not None:
            groups = np.concatenate([halves.a.groups, halves.b.groups])
        part = Labelled(
            np.concatenate([halves.a.images, halves.b.images]),
            np.concatenate([halves.a.labels, halves.b.labels]),
            groups,
        )
    return draw(part, given.most)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder with split.csv")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--pipeline", help="protect half B by it: a name or a folder")
    how.add_argument("--protected", type=Path, help="the same folder, protected, with split.csv")
    how.add_argument("--baseline", choices=list(BASELINES), help="another method, told the labels")
    how.add_argument(
        "--unprotected", action="store_true", help="random noise of 1 of 255, as a check: near 0"
    )
    parser.add_argument("--key", type=Path, help="the owner's key; else a new one")
    parser.add_argument("--strength", default="standard", choices=list(STRENGTHS))
    parser.add_argument("--labels-known", action="store_true", help="protect with labels")
    parser.add_argument("--both-halves", action="store_true", help="learn from half A, too")
    parser.add_argument("--most", type=int, help="images learned from")
    parser.add_argument("--k", nargs="+", type=int, default=[0, 10, 50])
    parser.add_argument("--size", type=int, help="pixels of the long side")
    parser.add_argument("--victims", nargs="+", default=["resnet18"], choices=list(VICTIMS))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--share", type=float, help="of the steps, best on another such set")
    parser.add_argument("--state", type=Path, help="keeps what each training told")
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    given = _parse()
    halves = read_halves(given.images, given.size)
    part = _take_part(halves, given)
    protected = _protect(given, part, halves)
    study = Study(
        victims=tuple(given.victims),
        ks=tuple(given.k),
        seeds=tuple(given.seeds),
        steps=given.steps,
        share=given.share,
    )
    found = measure(
        part,
        protected,
        halves.validation,
        halves.test,
        len(halves.classes),
        study,
        state=State(given.state, apart_from=(given.images, given.protected or given.images)),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    about = {"classes": len(halves.classes), "train": len(part), "test": len(halves.test)}
    json.dump(
        {**about, "steps": given.steps, "seeds": given.seeds, "at": found}, sys.stdout, indent=2
    )
    print()


if __name__ == "__main__":
    main()
