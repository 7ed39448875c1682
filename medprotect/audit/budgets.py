"""How much an audit tries, and what it leaves out."""

from dataclasses import dataclass, replace

from medprotect.audit.attack import COUNTERMEASURES
from medprotect.audit.attack.aids import AIDED, allowed_by
from medprotect.audit.attack.countermeasure import Aid
from medprotect.audit.attack.victims import VICTIMS
from medprotect.audit.attempt import BATCH
from medprotect.audit.holders import most_images
from medprotect.audit.pairs import Pairs

NONE = "none"

UNAIDED = tuple(each for each in COUNTERMEASURES if each not in (NONE, *AIDED))
"""Countermeasures that need nothing more than the protected images."""

VICTIMS_WITH_IMAGES = ("resnet18", "pretrained")
"""What somebody trains who has a few clean images; without one of these the first victim."""

NOT_TRIED = (
    "segmentation, detection, and any task other than naming the class",
    "attackers who know the key or the generator",
    "copies of the same images released in clear, earlier or elsewhere: they undo all of it",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much an audit tries.

    Attributes
    ----------
    name : str
        ``quick``, ``standard`` or ``thorough``.
    victims, countermeasures : tuple of str
        Every victim is tried without countermeasure, the first one under each.
    ks : tuple of int
        Clean labelled images of each class that an attacker has besides; tried with the victims
        that are in `VICTIMS_WITH_IMAGES`. What holds too few images for is left out.
    crossed : bool
        Whether every victim is tried under each.
    clean_shares : tuple of float
        Shares of clean images among the protected ones, tried with the first victim.
    seeds : tuple of int
        Each attempt is made with each.
    steps : int
        Of each training.
    """

    name: str
    victims: tuple[str, ...]
    countermeasures: tuple[str, ...]
    ks: tuple[int, ...] = ()
    crossed: bool = False
    clean_shares: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (1, 2, 3)
    steps: int = 600

    def describe(self) -> list[str]:
        """Return what is tried, in sentences."""
        under = f"{'every one' if self.crossed else self.victims[0]} also under each of"
        tried = [
            f"Models without countermeasure: {', '.join(self.victims)}",
            "From scratch, but for pretrained: EfficientNet-Lite0 that learned ImageNet, "
            "all layers of which are fine-tuned"
            if "pretrained" in self.victims
            else "From scratch",
            f"{under}: {', '.join(self.countermeasures)}" if self.countermeasures else "",
            f"Each with {len(self.seeds)} seeds, {self.steps} steps of {BATCH} images, "
            "AdamW, shifted and mirrored at random",
            "Without a clean image: the model as it ends, where it does best on protected images "
            "that it does not learn from, and stopped early, from experience",
        ]
        if self.ks:
            tried.append(
                f"With {' and '.join(map(str, self.ks))} clean images of each class: these alone; "
                "with the set; after it; and to rename outputs, choose the moment, fit a last layer"
            )
        if self.clean_shares:
            shares = ", ".join(f"{share:.0%}" for share in self.clean_shares)
            tried.append(f"{self.victims[0]} with {shares} of the images in clear")
        return [text for text in tried if text]

    def aided_by(self, aid: Aid) -> "Budget":
        """Return it with the countermeasures that what the attacker has allows."""
        return replace(self, countermeasures=(*self.countermeasures, *allowed_by(aid)))

    def fitted_to(self, pairs: Pairs) -> "Budget":
        """Return it without what cannot be done with these images, or changes nothing of them."""
        most = most_images(pairs.validation, len(pairs.classes))
        grey = pairs.clean.images.shape[3] == 1
        return replace(
            self,
            ks=tuple(k for k in self.ks if k <= most),
            countermeasures=tuple(
                each for each in self.countermeasures if not (grey and each == "grey")
            ),
        )

    def holders(self) -> tuple[str, ...]:
        """Return the victims that are trained with a few clean images, too."""
        if not self.ks:
            return ()
        found = tuple(each for each in VICTIMS_WITH_IMAGES if each in self.victims)
        return found or self.victims[:1]

    def leave_out(self) -> list[str]:
        """Return what is not tried, in sentences."""
        kinds = dict.fromkeys(VICTIMS, "other models")
        kinds |= dict.fromkeys(UNAIDED, "other countermeasures")
        kinds |= {name: f"attackers who have {need}" for name, need in AIDED.items()}
        left: dict[str, list[str]] = {}
        for name, kind in kinds.items():
            if name not in (*self.victims, *self.countermeasures):
                left.setdefault(kind, []).append(name)
        named = [f"{kind}: {', '.join(names)}" for kind, names in left.items()]
        return [*NOT_TRIED, *named]


_TREATED = ("grey", "jpeg-10", "blur-1", "posterise-2", "half-size", "median", "normalise")

BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(
            name="quick",
            victims=("resnet18",),
            countermeasures=("grey", "jpeg-10", "blur-1"),
            ks=(10,),
            seeds=(1,),
            steps=150,
        ),
        Budget(
            name="standard",
            victims=("resnet18", "vgg", "mobilenet", "vit", "pretrained"),
            countermeasures=_TREATED,
            ks=(10, 50),
            clean_shares=(0.2, 0.5),
        ),
        Budget(
            name="thorough",
            victims=tuple(VICTIMS),
            countermeasures=UNAIDED,
            ks=(10, 50),
            crossed=True,
            clean_shares=(0.2, 0.5, 0.8),
            seeds=(1, 2, 3, 4, 5),
            steps=3000,
        ),
    )
}
