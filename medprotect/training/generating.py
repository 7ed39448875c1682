"""Training of a generator: three terms, one loop, resumable, repeatable from its seed."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from medprotect.confounder.codes import draw_codes, draw_decoys
from medprotect.confounder.networks import (
    PERIOD,
    Assigner,
    ConfounderClassifier,
    Discriminator,
    Generator,
    channels_last,
    pad_to_stride,
)
from medprotect.errors import PipelineError
from medprotect.training.assigning import Progress, set_rate
from medprotect.training.checkpoint import Checkpoint, state_sha256
from medprotect.training.distortions import distort
from medprotect.training.losses import (
    confounder_loss,
    decoy_loss,
    discriminator_loss,
    fidelity_loss,
    share_told,
    utility_loss,
)
from medprotect.training.ranks import average_figures, average_gradients, check_agreement, rank
from medprotect.training.recipe import Recipe
from medprotect.training.samples import Samples, draw_batch, step_rng
from medprotect.training.trial import EVERY as TRIAL_EVERY
from medprotect.training.trial import Trial

STAGE = "generator"
"""For progress and checkpoints; of several tries it is that of the first."""

RATE = 2e-3
"""Peak of the generator's learning rate, and that of its readers."""

FADED_IN, PACE, TOLD = 0.4, 0.04, 0.4
"""The other image is faded in, since of many kinds of image nothing is read from the start: by
`PACE` a step while the readers are told more than `TOLD` of the codes, and wholly within the share
`FADED_IN` of the steps."""

_BETAS = {"generator": (0.5, 0.99), "readers": (0.9, 0.999), "discriminator": (0.5, 0.99)}

STEEPEST = 5.0
"""Norm that the generator's gradient is cut to."""

CHOSEN_BY = 3
"""Victims whose mean decides between tries: one alone says little."""

_OTHER_SCALES = {"low": {0: 2.0}, "standard": {0: 0.5, 1: 2.0}, "high": {0: 0.5}}
"""Now and then, at one of 16 batches each, noise is given at the next strengths, too."""

COLLAPSED = 0.05
"""Root mean square of the noise, as a share of its budget, below which it protects nothing."""


@dataclass(frozen=True, slots=True)
class Clean:
    """Classifiers trained on clean images, the assigner first, and its temperature.

    From then on they stay as they are.
    """

    networks: list[nn.Module]
    temperature: float

    @torch.no_grad()
    def logits(self, presented: Tensor) -> Tensor:
        """Return the assigner's logits (B, K), calibrated."""
        logits: Tensor = self.networks[0](presented)
        return logits / self.temperature


def generator_modules(samples: Samples, generator: Generator) -> nn.ModuleDict:
    """Return a generator with what is trained along with it: readers, and a discriminator."""
    channels, codes = samples.channels, len(samples.classes)
    modules = {
        "generator": generator,
        "readers": nn.ModuleList(
            [ConfounderClassifier(channels, codes, 24), Assigner(channels, codes, 24)]
        ),
        "discriminator": Discriminator(channels, 16),
    }
    return channels_last(nn.ModuleDict(modules))


class GeneratorTraining:
    """The training of one generator; it goes as far as asked, and goes on from there.

    Parameters
    ----------
    modules : ModuleDict
        See `generator_modules`.
    clean : Clean
        What the noise is to say, and who is to see what.
    samples : Samples
        All that is learnt from.
    recipe : Recipe
        How, and the seed of this generator.
    trial : Trial
        Tells P on the way.
    stage : str
        For progress and checkpoints.
    folder : Path, optional
        Of the checkpoints.
    """

    def __init__(
        self,
        modules: nn.ModuleDict,
        clean: Clean,
        samples: Samples,
        recipe: Recipe,
        trial: Trial,
        *,
        stage: str = STAGE,
        folder: Path | None = None,
    ) -> None:
        self._modules, self._clean, self._samples = modules, clean, samples
        self._recipe, self._trial, self.stage = recipe, trial, stage
        self._optimizers = [
            torch.optim.Adam(modules[name].parameters(), lr=RATE, betas=betas)
            for name, betas in _BETAS.items()
        ]
        settings = {
            "samples": samples.sha256,
            "recipe": asdict(recipe),
            "begun": state_sha256(modules),
            "known": [state_sha256(network) for network in clean.networks],
        }
        self._checkpoint = Checkpoint(folder, stage, settings)
        self._done, self.figures = self._checkpoint.load(modules, self._optimizers)
        check_agreement(self._done)

    @property
    def generator(self) -> Generator:
        """As far as it is trained."""
        return cast("Generator", self._modules["generator"])

    def reach(self, until: int, progress: Progress) -> None:
        """Train until so many steps are done; what is done is not done again."""
        last = self._recipe.steps
        for step in range(self._done, until):
            self._step(step)
            done = self._done = step + 1
            if done % TRIAL_EVERY == 0 or done == last:
                self.figures |= self._trial.measure(self.given, progress)
            if self._checkpoint.is_due() or done == until:
                self._save()
            progress(self.stage, done, until, dict(self.figures))

    def judge(self, progress: Progress) -> None:
        """Measure P by several victims, for a choice among tries; once, and never again."""
        if "told_when_chosen" not in self.figures:
            self.figures["told_when_chosen"] = self.figures["told"]
            measured = self._trial.measure(self.given, progress, victims=CHOSEN_BY)
            if measured:
                self.figures["p_when_chosen"] = measured["p_in_training"]
            self._save()

    def given(self, *arguments: Tensor) -> Tensor:
        """Return the noise as a pipeline would give it."""
        noise: Tensor = self.generator(*arguments, gain=self._recipe.gain)
        return noise

    def _save(self) -> None:
        self._checkpoint.save(self._done, self._modules, self._optimizers, self.figures)

    def _step(self, step: int) -> None:
        recipe, modules = self._recipe, self._modules
        maker, reader, judge = self._optimizers
        rng = step_rng(recipe.seed, STAGE, step, rank())
        _set_generator_rate(maker, step, recipe.steps)
        set_rate(judge, 5e-4, step, recipe.steps)
        drawn = _protect_batch(modules["generator"], self._clean, self._samples, recipe, rng)
        reading = modules["readers"].get_submodule(str(step % 2))
        ramp = _fade_in(self.figures, step, recipe.steps)
        loss, measured = _loss(drawn, modules, self._clean, recipe, reading, ramp, rng)
        maker.zero_grad()
        reader.zero_grad()
        loss.backward()
        average_gradients([*modules["generator"].parameters(), *reading.parameters()])
        nn.utils.clip_grad_norm_(modules["generator"].parameters(), STEEPEST)
        maker.step()
        reader.step()
        _train_discriminator(modules["discriminator"], drawn, judge)
        _smooth(self.figures, average_figures(measured))
        self.figures["faded_in"] = ramp
        _refuse_collapse(self.figures, step, recipe)


def _set_generator_rate(optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
    """Up over twenty steps, level, and down over the last two fifths: most is learnt at the top."""
    rate = RATE * min(1, (step + 1) / 20) * min(1, max(0.05, (steps - step) / (0.4 * steps)))
    for group in optimizer.param_groups:
        group["lr"] = rate


def _fade_in(figures: dict[str, float], step: int, steps: int) -> float:
    """Return how far the other image is faded in, 0 to 1, from how well codes were read so far."""
    pace = PACE if figures.get("told", 0.0) > TOLD else 0.0
    return min(1.0, max(figures.get("faded_in", 0.0) + pace, step / (FADED_IN * steps)))


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A batch: clean images, the noise on them, and what it is to say."""

    presented: Tensor
    pattern: Tensor
    noise: Tensor
    code: Tensor
    decoy: Tensor


def _protect_batch(
    generator: nn.Module,
    clean: Clean,
    samples: Samples,
    recipe: Recipe,
    rng: torch.Generator,
) -> _Drawn:
    presented, budget, labels = draw_batch(samples, recipe.batch, rng)
    logits = clean.logits(presented)
    code = draw_codes(logits, labels, rng)
    decoy = draw_decoys(logits, labels, rng) if recipe.decoys else torch.zeros_like(code)
    height, width = presented.shape[-2:]
    rows, columns = torch.randint(PERIOD, (2,), generator=rng).tolist()  # any key's
    pattern = generator(pad_to_stride(presented), code, decoy, (rows, columns))
    pattern = pattern[..., :height, :width]
    scale = _OTHER_SCALES[recipe.strength].get(int(torch.randint(16, (1,), generator=rng)), 1.0)
    return _Drawn(presented, pattern, pattern * budget * scale, code, decoy)


def _loss(
    drawn: _Drawn,
    modules: nn.ModuleDict,
    clean: Clean,
    recipe: Recipe,
    reader: nn.Module,
    ramp: float,
    rng: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    other = drawn.presented.roll(1, 0)  # the batch is drawn at random, so any other will do
    swapped = (torch.lerp(torch.full_like(other, 0.5), other, ramp) + drawn.noise).clamp(0, 1)
    chance = recipe.distorted * ramp
    read = reader(distort(swapped, rng, chance))
    loss = confounder_loss(read, drawn.code)
    said = (read.argmax(1) == drawn.code.argmax(1)).float().mean()
    measured = {"confounder": loss.item(), "code_read": said.item()}
    measured["told"] = share_told(loss.detach(), drawn.code)
    protected = (drawn.presented + drawn.noise).clamp(0, 1)
    term, figures = _mislead_or_keep(drawn, protected, clean, recipe, rng, chance)
    loss = loss + term
    measured |= figures
    judged = modules["discriminator"](protected)
    loss = loss + recipe.fidelity_weight * fidelity_loss(judged)
    measured["amplitude"] = float(drawn.pattern.detach().square().mean().sqrt())
    return loss, measured


def _mislead_or_keep(
    drawn: _Drawn,
    protected: Tensor,
    clean: Clean,
    recipe: Recipe,
    rng: torch.Generator,
    chance: float,
) -> tuple[Tensor, dict[str, float]]:
    """Return the term of what classifiers trained on clean images are to see, and figures of it."""
    seen = [network(distort(protected, rng, chance)) for network in clean.networks]
    if recipe.decoys:
        term = decoy_loss(seen, drawn.decoy)
        misled = (seen[0].argmax(1) == drawn.decoy.argmax(1)).float().mean()
        return recipe.decoy_weight * term, {"decoy": term.item(), "misled": misled.item()}
    with torch.no_grad():
        known = [network(drawn.presented) for network in clean.networks]
    term = utility_loss(seen, known)
    kept = (seen[0].argmax(1) == known[0].argmax(1)).float().mean()
    return recipe.utility_weight * term, {"utility": term.item(), "kept": kept.item()}


def _train_discriminator(
    discriminator: nn.Module, drawn: _Drawn, optimizer: torch.optim.Optimizer
) -> None:
    protected = (drawn.presented + drawn.noise.detach()).clamp(0, 1)
    optimizer.zero_grad()
    discriminator_loss(discriminator(drawn.presented), discriminator(protected)).backward()
    average_gradients(discriminator.parameters())
    optimizer.step()


def _smooth(figures: dict[str, float], measured: dict[str, float]) -> None:
    for name, value in measured.items():
        figures[name] = 0.95 * figures.get(name, value) + 0.05 * value


def _refuse_collapse(figures: dict[str, float], step: int, recipe: Recipe) -> None:
    if step > 0.2 * recipe.steps and figures["amplitude"] < COLLAPSED:
        raise PipelineError(
            f"The noise collapsed at step {step + 1}: it would protect nothing. Train with more "
            "images, or with a smaller fidelity weight."
        )
