"""ConfounderGAN as a whole: classifiers of clean images, then the best of several generators."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from medprotect.confounder.networks import Assigner, ConfounderClassifier, Generator, channels_last
from medprotect.confounder.noise import NoiseNetwork
from medprotect.errors import PipelineError
from medprotect.training.assigning import Progress, calibrate, split_held_out, train_classifier
from medprotect.training.generating import (
    FADED_IN,
    STAGE,
    Clean,
    GeneratorTraining,
    generator_modules,
)
from medprotect.training.ranks import ranks
from medprotect.training.recipe import Recipe
from medprotect.training.samples import Samples
from medprotect.training.start import begin_from
from medprotect.training.trial import Trial

_OF_THE_WAY = ("faded_in", "told_when_chosen")
"""Figures that say nothing of the end."""


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
    stage : str
        That the generator reported its steps as.
    """

    generator: Generator
    assigner: Assigner
    temperature: float
    figures: dict[str, float]
    stage: str


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
        What to begin from; see `medprotect.training.start`. Of the recipe's widths.
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
    first, assigner, second = _begin(samples, recipe, start)
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
        network.requires_grad_(False)
    temperature, accuracy = calibrate(assigner, held_out)
    progress("calibration", 1, 1, {"accuracy": accuracy, "temperature": temperature})
    known = Clean(list(clean.values()), temperature)
    tries = _begin_tries(first, known, samples, recipe, start, folder)
    kept = _choose(tries, recipe, progress)
    kept.reach(recipe.steps, progress)
    figures = {name: each for name, each in kept.figures.items() if name not in _OF_THE_WAY}
    figures["assigner_balanced_accuracy"] = accuracy
    networks = kept.generator.eval(), assigner.eval()
    return Trained(*networks, temperature, figures, kept.stage)


def _begin(
    samples: Samples, recipe: Recipe, start: NoiseNetwork | None
) -> tuple[nn.ModuleDict, Assigner, ConfounderClassifier]:
    """Draw by the seed a generator and what goes along with it, and the classifiers."""
    shape = (samples.channels, len(samples.classes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        assigner = channels_last(Assigner(*shape, recipe.widths.assigner))
        generator = Generator(*shape, recipe.widths.generator)
        if start is not None:
            begin_from(start, generator, assigner)
        modules = generator_modules(samples, generator)
        second = channels_last(ConfounderClassifier(*shape, 24))
    return modules, assigner, second


def _begin_tries(
    first: nn.ModuleDict,
    clean: Clean,
    samples: Samples,
    recipe: Recipe,
    start: NoiseNetwork | None,
    folder: Path | None,
) -> list[GeneratorTraining]:
    """Begin each try from a seed of its own; classifiers and victims are the same for all."""
    trial = Trial(
        samples,
        clean.logits,
        seed=recipe.seed,
        mirrored=recipe.mirrored,
        width=recipe.widths.assigner,
        steps=recipe.steps,
        decoys=recipe.decoys,
        folder=folder if ranks() == 1 else None,  # each rank tries by itself
    )
    tries = []
    for number in range(recipe.tries):
        own = replace(recipe, seed=recipe.seed + number)
        modules = first if number == 0 else _begin(samples, own, start)[0]
        stage = STAGE if number == 0 else f"{STAGE} {number + 1}"
        tries.append(
            GeneratorTraining(modules, clean, samples, own, trial, stage=stage, folder=folder)
        )
    return tries


def _choose(
    tries: list[GeneratorTraining], recipe: Recipe, progress: Progress
) -> GeneratorTraining:
    """Return the try that victims learn least from, when the other image has just been faded in.

    One whose noise collapses is none, unless all do.
    """
    if len(tries) == 1:
        return tries[0]
    standing: list[GeneratorTraining] = []
    until = max(1, round(FADED_IN * recipe.steps))
    for number, each in enumerate(tries, 1):
        try:
            each.reach(until, progress)
        except PipelineError:
            if number == len(tries) and not standing:
                raise
            continue
        each.judge(progress)
        standing.append(each)
        progress("choice", number, len(tries), dict(each.figures))
    return max(standing, key=_how_good)


def _how_good(tried: GeneratorTraining) -> tuple[float, float]:
    figures = tried.figures
    return figures.get("p_when_chosen", -math.inf), figures["told_when_chosen"]
