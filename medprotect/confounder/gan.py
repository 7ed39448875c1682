"""Training of a generator: three terms, one loop, resumable, repeatable from its seed."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from medprotect.confounder.assigning import (
    REPORT_EVERY,
    SAVE_EVERY,
    Progress,
    calibrate,
    set_rate,
    split_held_out,
    train_classifier,
)
from medprotect.confounder.card import Widths
from medprotect.confounder.checkpoint import Checkpoint, state_sha256
from medprotect.confounder.codes import draw_codes, draw_decoys
from medprotect.confounder.distortions import distort
from medprotect.confounder.losses import (
    confounder_loss,
    decoy_loss,
    discriminator_loss,
    fidelity_loss,
    share_told,
    utility_loss,
)
from medprotect.confounder.networks import (
    PERIOD,
    Assigner,
    ConfounderClassifier,
    Discriminator,
    Generator,
    channels_last,
    pad_to_stride,
)
from medprotect.confounder.noise import NoiseNetwork
from medprotect.confounder.ranks import average_figures, average_gradients, check_agreement, rank
from medprotect.confounder.samples import Samples, draw_batch, step_rng
from medprotect.confounder.start import begin_from
from medprotect.confounder.trial import EVERY as TRIAL_EVERY
from medprotect.confounder.trial import Trial
from medprotect.errors import PipelineError

STEPS = 600
"""Of the generator. In three times as many its readers learn with it to read what a victim, which
begins anew, reads less well: on BloodMNIST one kept 0.57 instead of 0.47 at its best moment."""

ASSIGNER_STEPS = 1200
SEED = 1
WIDTHS = Widths(generator=16, assigner=16)

RATE = 2e-3
"""Peak of the generator's learning rate, and that of its readers."""

FADED_IN, PACE, TOLD = 0.4, 0.04, 0.4
"""The other image is faded in, since of many kinds of image nothing is read from the start: by
`PACE` a step while the readers are told more than `TOLD` of the codes, and wholly within the share
`FADED_IN` of the steps."""

_BETAS = {"generator": (0.5, 0.99), "readers": (0.9, 0.999), "discriminator": (0.5, 0.99)}

STEEPEST = 5.0
"""Norm that the generator's gradient is cut to."""

COLLAPSED = 0.05
"""Root mean square of the noise, as a share of its budget, below which it protects nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a generator is trained; see each shipped pipeline's README for its own.

    Attributes
    ----------
    steps, batch : int
        Of the generator, and images a step.
    assigner_steps, assigner_batch : int
        Of each classifier on clean images.
    seed : int
        Of all that is drawn.
    decoys : bool
        Whether a wrong class is shown to models trained on clean images. Without, they are to see
        what they see in clean images.
    mirrored : bool
        Whether a mirrored image is as good an image of its class.
    widths : Widths
        Of generator and assigner.
    decoy_weight, utility_weight, fidelity_weight : float
        Of the terms, the confounder's being 1.
    distorted : float
        Chance of a distortion besides flip and crop: noise that outlasts them is read later.
    """

    steps: int = STEPS
    assigner_steps: int = ASSIGNER_STEPS
    assigner_batch: int = 96
    batch: int = 48
    seed: int = SEED
    decoys: bool = False
    mirrored: bool = False
    widths: Widths = WIDTHS
    decoy_weight: float = 1.0
    utility_weight: float = 3.0
    fidelity_weight: float = 0.002
    distorted: float = 0.0


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training gives.

    Attributes
    ----------
    generator, assigner : Module
        In evaluation mode.
    temperature : float
        Of the assigner.
    figures : dict of str to float
        Measured at the end of training.
    """

    generator: Generator
    assigner: Assigner
    temperature: float
    figures: dict[str, float]


def train(
    samples: Samples,
    recipe: Recipe,
    *,
    start: NoiseNetwork | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train assigner and generator.

    Parameters
    ----------
    samples : Samples
        All that is learnt from.
    recipe : Recipe
        How.
    start : NoiseNetwork, optional
        What to begin from; see `medprotect.confounder.start`. Of the recipe's widths.
    folder : Path, optional
        For checkpoints; a training that broke off goes on from there.
    progress : callable, optional
        See `Progress`.

    Raises
    ------
    PipelineError
        The noise collapsed: it would protect nothing.
    """
    progress = progress or (lambda *_: None)
    fitting, held_out = split_held_out(samples, recipe.seed)
    shape = (samples.channels, len(samples.classes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        assigner = channels_last(Assigner(*shape, recipe.widths.assigner))
        generator = Generator(*shape, recipe.widths.generator)
        if start is not None:
            begin_from(start, generator, assigner)
        modules = _generator_modules(samples, generator)
        second = channels_last(ConfounderClassifier(*shape, 24))
    clean: dict[str, nn.Module] = {"assigner": assigner, "second classifier": second}
    for stage, network in clean.items():
        train_classifier(
            network,
            fitting,
            stage=stage,
            steps=recipe.assigner_steps,
            batch=recipe.assigner_batch,
            seed=recipe.seed,
            mirrored=recipe.mirrored,
            folder=folder,
            progress=progress,
        )
    temperature, accuracy = calibrate(assigner, held_out)
    progress("calibration", 1, 1, {"accuracy": accuracy, "temperature": temperature})
    known = _Clean(list(clean.values()), temperature)
    figures = _train_generator(modules, known, samples, recipe, folder, progress)
    del figures["faded_in"]  # of the way, not of the end
    figures["assigner_balanced_accuracy"] = accuracy
    return Trained(generator.eval(), assigner.eval(), temperature, figures)


@dataclass(frozen=True, slots=True)
class _Clean:
    """Classifiers trained on clean images, the assigner first, and its temperature."""

    networks: list[nn.Module]
    temperature: float

    @torch.no_grad()
    def logits(self, presented: Tensor) -> Tensor:
        """Return the assigner's logits (B, K), calibrated."""
        logits: Tensor = self.networks[0](presented)
        return logits / self.temperature


def _generator_modules(samples: Samples, generator: Generator) -> nn.ModuleDict:
    channels, codes = samples.channels, len(samples.classes)
    modules = {
        "generator": generator,
        "readers": nn.ModuleList(
            [ConfounderClassifier(channels, codes, 24), Assigner(channels, codes, 24)]
        ),
        "discriminator": Discriminator(channels, 16),
    }
    return channels_last(nn.ModuleDict(modules))


def _train_generator(
    modules: nn.ModuleDict,
    clean: _Clean,
    samples: Samples,
    recipe: Recipe,
    folder: Path | None,
    progress: Progress,
) -> dict[str, float]:
    for network in clean.networks:
        network.eval().requires_grad_(False)
    maker, reader, judge = (
        torch.optim.Adam(modules[name].parameters(), lr=RATE, betas=betas)
        for name, betas in _BETAS.items()
    )
    settings = {
        "samples": samples.sha256,
        "recipe": asdict(recipe),
        "begun": state_sha256(modules),
        "known": [state_sha256(network) for network in clean.networks],
    }
    checkpoint = Checkpoint(folder, "generator", settings)
    done, figures = checkpoint.load(modules, [maker, reader, judge])
    check_agreement(done)
    trial = Trial(
        samples,
        clean.logits,
        seed=recipe.seed,
        mirrored=recipe.mirrored,
        width=recipe.widths.assigner,
        steps=recipe.steps,
        decoys=recipe.decoys,
    )
    for step in range(done, recipe.steps):
        rng = step_rng(recipe.seed, "generator", step, rank())
        _set_generator_rate(maker, step, recipe.steps)
        set_rate(judge, 5e-4, step, recipe.steps)
        drawn = _protect_batch(modules["generator"], clean, samples, recipe, rng)
        reading = modules["readers"].get_submodule(str(step % 2))
        ramp = _fade_in(figures, step, recipe.steps)
        loss, measured = _loss(drawn, modules, clean, recipe, reading, ramp, rng)
        maker.zero_grad()
        reader.zero_grad()
        loss.backward()
        average_gradients([*modules["generator"].parameters(), *reading.parameters()])
        nn.utils.clip_grad_norm_(modules["generator"].parameters(), STEEPEST)
        maker.step()
        reader.step()
        _train_discriminator(modules["discriminator"], drawn, judge)
        _smooth(figures, average_figures(measured))
        figures["faded_in"] = ramp
        _refuse_collapse(figures, step, recipe)
        if (step + 1) % TRIAL_EVERY == 0 or step + 1 == recipe.steps:
            figures |= trial.measure(modules["generator"])
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == recipe.steps:
            progress("generator", step + 1, recipe.steps, dict(figures))
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == recipe.steps:
            checkpoint.save(step + 1, modules, [maker, reader, judge], figures)
    return figures


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
    clean: _Clean,
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
    # Mostly strength standard; low is half of its budget and high twice.
    scale = {0: 0.5, 1: 2.0}.get(int(torch.randint(16, (1,), generator=rng)), 1.0)
    return _Drawn(presented, pattern, pattern * budget * scale, code, decoy)


def _loss(
    drawn: _Drawn,
    modules: nn.ModuleDict,
    clean: _Clean,
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
    clean: _Clean,
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
