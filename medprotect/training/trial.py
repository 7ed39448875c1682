"""P while a generator is trained: a small victim learns, each time anew, from what it makes so far.

It tells a training that goes well from one that does not. The audit tells what a pipeline protects:
the assigner has seen these images, and one small victim is not all that attackers have.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.confounder.accuracy import balanced_accuracy
from medprotect.confounder.codes import draw_decoys
from medprotect.confounder.networks import Assigner, channels_last, pad_to_stride
from medprotect.training.assigning import Progress, logits_of, set_rate
from medprotect.training.checkpoint import Checkpoint
from medprotect.training.distortions import flip, shift
from medprotect.training.samples import Samples, hold_out, step_rng

EVERY = 100
"""Steps of the generator from one trial to the next."""

STEPS, BATCH, LOOKS = 150, 48, 5
"""Of the victim; at its best look it is taken, as an attacker with clean images would."""

LEARNED, TESTED = 2000, 1000
"""Images at most that a victim learns from, and that it is tested on."""

MEASURABLE = 0.15
"""What learns less than this above chance from clean images says nothing; as in the audit."""

CLEAN = "clean"
"""What a victim learned from that shows what there is to learn."""

_RATE = 3e-3


class Trial:
    """Victims of one training, which all begin alike.

    Parameters
    ----------
    samples : Samples
        Of the training. Two thirds are learned from, the others tested on; no group is in both.
    logits : callable
        The assigner's, calibrated, (B, K) of presented values (B, C, h, w): images are protected
        without labels.
    decoys : bool
        Whether the noise is to show a wrong class.
    steps : int
        Of a victim, at most `STEPS`.
    folder : Path, optional
        For checkpoints of the victims.
    """

    def __init__(
        self,
        samples: Samples,
        logits: Callable[[Tensor], Tensor],
        *,
        seed: int,
        mirrored: bool,
        width: int,
        steps: int,
        decoys: bool = False,
        folder: Path | None = None,
    ) -> None:
        tested = min(TESTED, len(samples) // 3)
        learned, self._tested = hold_out(samples, tested, step_rng(seed, "trial", 0))
        self._learned = learned.take(torch.arange(min(LEARNED, len(learned))))
        self._logits, self._decoys = logits, decoys
        self._seed, self._mirrored, self._width = seed, mirrored, width
        self._steps = min(STEPS, steps)
        self._folder = folder
        self._clean: dict[int, float] = {}

    def measure(
        self,
        generator: Callable[..., Tensor],
        progress: Progress = lambda *_: None,
        *,
        victims: int = 1,
    ) -> dict[str, float]:
        """Return ``p_in_training`` of a generator, the mean of so many victims.

        Nothing where it cannot be measured.
        """
        clean = fmean(self._learn_clean(victim, progress) for victim in range(victims))
        chance = 1 / len(self._tested.classes)
        if clean - chance < MEASURABLE:
            return {}
        protected = self._protect(generator)
        kept = fmean(self._learn(protected, victim, progress) for victim in range(victims))
        return {"p_in_training": (clean - kept) / (clean - chance)}

    @torch.no_grad()
    def _protect(self, generator: Callable[..., Tensor]) -> Tensor:
        parts = []
        height, width = self._learned.presented.shape[-2:]
        rng = step_rng(self._seed, "trial", 1)
        for at in torch.arange(len(self._learned)).split(64):
            part = self._learned.take(at)
            logits = self._logits(part.presented)
            code = functional.softmax(logits, 1)
            decoy = torch.zeros_like(code)
            if self._decoys:
                decoy = draw_decoys(logits, logits.argmax(1), rng)
            pattern = generator(pad_to_stride(part.presented), code, decoy)[..., :height, :width]
            parts.append((part.presented + pattern * part.budget).clamp(0, 1))
        return torch.cat(parts)

    def _learn_clean(self, victim: int, progress: Progress) -> float:
        if victim not in self._clean:
            self._clean[victim] = self._learn(self._learned.presented, victim, progress, CLEAN)
        return self._clean[victim]

    def _learn(
        self, presented: Tensor, victim: int, progress: Progress, kind: str = "protected"
    ) -> float:
        """Return the best balanced accuracy on clean images of one victim of these."""
        seed = self._seed + victim
        classes = len(self._tested.classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = channels_last(Assigner(presented.shape[1], classes, self._width))
        modules = nn.ModuleDict({"network": network})
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-2)
        stage = f"victim {victim + 1}, {kind}"
        checkpoint = Checkpoint(self._folder, stage, self._settings(presented, seed))
        done, figures = checkpoint.load(modules, [optimizer])
        best = figures.get("best", 0.0)
        for step in range(done, self._steps):
            rng = step_rng(seed, "victim", step)
            indices = torch.randint(len(presented), (BATCH,), generator=rng)
            images = shift(presented[indices], rng)
            images = flip(images, rng) if self._mirrored else images
            set_rate(optimizer, _RATE, step, self._steps)
            network.train()
            logits = network(images.contiguous(memory_format=torch.channels_last))
            optimizer.zero_grad()
            functional.cross_entropy(logits, self._learned.labels[indices]).backward()
            optimizer.step()
            if (step + 1) % max(1, self._steps // LOOKS) == 0 or step + 1 == self._steps:
                seen = logits_of(network, self._tested.presented).argmax(1)
                truth = self._tested.labels
                best = max(best, balanced_accuracy(seen.numpy(), truth.numpy(), classes))
            if checkpoint.is_due() or step + 1 == self._steps:
                checkpoint.save(step + 1, modules, [optimizer], {"best": best})
            progress(stage, step + 1, self._steps, {})
        return best

    def _settings(self, presented: Tensor, seed: int) -> dict[str, str | int]:
        """Return what the accuracy of a victim depends on."""
        if self._folder is None:
            return {}
        digest = hashlib.sha256(presented.contiguous().numpy().data)
        digest.update(f"{self._tested.sha256} {self._learned.sha256}".encode())
        return {
            "samples": digest.hexdigest(),
            "seed": seed,
            "steps": self._steps,
            "width": self._width,
            "mirrored": self._mirrored,
        }
