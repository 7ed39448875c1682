"""Cards for tests of the plan."""

from dataclasses import replace

from medprotect.confounder.card import Card, load_card
from medprotect.plan.selection import Candidate


def make_card(name: str, channels: int = 1, **images: object) -> Card:
    """The card of a shipped pipeline under another name, for other images."""
    card = load_card("radiology-grey" if channels == 1 else "blood-microscopy")
    return replace(card, name=name, images=replace(card.images, **images))


def candidate(name: str, *, named: bool = False, channels: int = 1, **images: object) -> Candidate:
    """A pipeline that may be picked."""
    return Candidate(make_card(name, channels, **images), named)
