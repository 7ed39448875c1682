"""Which pipeline protects an image, and why; or why none does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from medprotect.confounder.card import SLOTS, Card, load_card, shipped_cards
from medprotect.confounder.measured import Measured, read_measured
from medprotect.errors import NoPipelineError
from medprotect.imaging.image import Traits

AUTO = "auto"
"""Stands for every pipeline that comes with medprotect."""

NOT_OF_PIPELINE = "modality_not_of_pipeline"
"""Warning of an image whose modality its pipeline was not made for."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pipeline that may be picked.

    Attributes
    ----------
    card : Card
        What it protects.
    named : bool
        Whether it was asked for by name: then it also takes modalities that its card does not
        list, and quantitative images.
    """

    card: Card
    named: bool = False

    @property
    def any_label(self) -> bool:
        """Whether its noise says whatever labels there are, and nothing without."""
        return self.card.codes.source == SLOTS

    @property
    def measured(self) -> Mapping[str, Measured]:
        """What it was measured to protect, by strength."""
        return read_measured(self.card.folder)


@dataclass(frozen=True, slots=True)
class Choice:
    """A pipeline picked for an image.

    Attributes
    ----------
    pipeline : str
        Its name.
    why : str
        What of the image it was picked by, in words for the plan; nothing personal.
    warnings : tuple of str
        Slugs: ``experimental_modality``, ``modality_not_of_pipeline``, ``quantitative``.
    measured : Measured or None
        Of the pipeline at the strength that was asked for; None where nothing was measured, as of
        images of a modality that the pipeline was not made for.
    at_strengths : mapping of str to Measured
        The same at each strength that was measured.
    """

    pipeline: str
    why: str
    warnings: tuple[str, ...] = ()
    measured: Measured | None = None
    at_strengths: Mapping[str, Measured] = field(default_factory=dict)

    @property
    def protection(self) -> float | None:
        """Measured, against who has no clean image; None where nothing was measured."""
        return self.measured.protection if self.measured else None


def find_candidates(pipelines: Sequence[str]) -> tuple[Candidate, ...]:
    """Return the pipelines that are asked for.

    Parameters
    ----------
    pipelines : sequence of str
        Names of shipped pipelines or folders of own ones; ``auto`` for all that are shipped.

    Raises
    ------
    PipelineError
        There is no such pipeline, or its card is damaged.
    """
    found = {
        card.name: Candidate(card, named=True)
        for card in (load_card(each) for each in pipelines if each != AUTO)
    }
    if AUTO in pipelines:
        for card in shipped_cards():
            found.setdefault(card.name, Candidate(card))
    return tuple(found.values())


def choose_pipeline(
    candidates: Sequence[Candidate], traits: Traits, strength: str = "standard", label: str = ""
) -> Choice:
    """Pick the pipeline for an image, by modality, body part and photometric interpretation.

    A pipeline whose noise says any label takes only images with one, and comes before others then.

    Colour whose pixels are known to be all grey counts as grey (`Traits.shows_grey`).

    Of several, one that was named comes before one that was not, then one for the body part. What
    states no modality goes to a pipeline for such images alone before one of a modality that takes
    them besides. Then one tested on the modality comes before others; then the first. The strength
    changes no choice, but what is to be said of it.

    Raises
    ------
    NoPipelineError
        None fits, or the image is quantitative and none was named.
    """
    fitting = [each for each in candidates if _fits(each, traits) and (label or not each.any_label)]
    if not fitting:
        raise NoPipelineError(_why_none(candidates, traits))
    best = max(fitting, key=lambda each: _preference(each, traits))
    warnings = _warnings(best, traits)
    # What was measured is of the modalities that the pipeline was made for, and of no others.
    measured = {} if NOT_OF_PIPELINE in warnings else best.measured
    return Choice(best.card.name, _why(best, traits), warnings, measured.get(strength), measured)


def _fits(candidate: Candidate, traits: Traits) -> bool:
    images, shown = candidate.card.images, traits.as_shown
    if shown.photometric not in images.photometrics or shown.channels != images.channels:
        return False
    if images.body_parts and traits.body_part not in images.body_parts:
        return False
    return candidate.named or (not traits.quantitative and traits.modality in images.modalities)


def _preference(candidate: Candidate, traits: Traits) -> tuple[bool, ...]:
    images = candidate.card.images
    return (
        candidate.named,
        candidate.any_label,
        bool(images.body_parts),
        traits.modality in images.modalities,
        bool(traits.modality) or not any(images.modalities),
        traits.modality not in images.experimental,
    )


def _why(candidate: Candidate, traits: Traits) -> str:
    stored = f"grey stored as {traits.photometric}" if traits.shows_grey else traits.photometric
    parts = [traits.modality or "no modality", traits.body_part, stored]
    asked = "named; " if candidate.named else ""
    return asked + ", ".join(part for part in parts if part)


def _warnings(candidate: Candidate, traits: Traits) -> tuple[str, ...]:
    images = candidate.card.images
    untested = traits.modality in images.experimental
    found = {
        # Grain is made for no modality: what it was not tested on, it was not measured on, either.
        NOT_OF_PIPELINE: traits.modality not in images.modalities
        or (candidate.any_label and untested),
        "experimental_modality": untested and not candidate.any_label,
        "quantitative": traits.quantitative,
    }
    return tuple(slug for slug, holds in found.items() if holds)


def _why_none(candidates: Sequence[Candidate], traits: Traits) -> str:
    """Say why none fits, and which one takes the image when it is named."""
    named = [Candidate(each.card, named=True) for each in candidates if not each.any_label]
    fitting = [each for each in named if _fits(each, traits)]
    kind = "colour images" if traits.as_shown.channels == 3 else "grey images"
    kind += " stored in colour" if traits.shows_grey else ""
    what = f"{kind} of modality {traits.modality or 'unknown'}"
    if not fitting:
        how = "give --pipeline auto, or train one: medprotect train --help"
        return f"no pipeline given takes {what}; {how}"
    general = replace(traits, modality="")  # rather one for any image than one for another modality
    name = max(fitting, key=lambda each: _preference(each, general)).card.name
    if len(fitting) == 1:
        how = f"--pipeline auto --pipeline {name} takes them, unmeasured"
    else:  # a pipeline that is named takes whatever it can
        how = f"in a folder of their own, --pipeline {name} takes them, unmeasured"
    if traits.quantitative:
        return f"a measurement (PET, NM): noise would change its values; leave it out, or {how}"
    if any(_fits(each, traits) for each in candidates):  # one that lacks but a label
        how = f"with --labels they are protected; {how}"
    return f"no pipeline was made for {what}; {how}, or train one: medprotect train --help"
