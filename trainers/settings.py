"""What a training is told: on which data, for how long, by which rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import get_args

import numpy as np

from sim_clients import keys
from trainers.errors import TrainingRefused
from trainers.formats import Format
from trainers.gate import Gate, better_by, keep_last_and_best
from trainers.normalise import Normalise
from trainers.publish import Terms
from trainers.stream import NonFinite
from trainers.until import Until

VERSIONS_KEPT = 10
_WHOLE = ("jump", "steps", "judges", "batch_size", "validate_every", "checkpoint_every", "prefetch")
_POSITIVE = (
    *("steps", "seconds", "judges", "batch_size", "learning_rate"),
    *("validate_every", "checkpoint_every", "timeout_s", "rank_timeout_s"),
)


@dataclass(frozen=True)
class Training:
    """What to train on, and for how long.

    Attributes:
        model: the name the network is posted under.
        producers: whose snapshots it learns from; those of others in the stream are not used, which is warned
            of, as is a name of whom nothing came.
        held_out: whose snapshots only judge it; none of the producers.
        inputs: fields in the order of the network's arguments.
        target: the field whose value one jump later is learned.
        jump: solver steps between an input and its target, which are two snapshots of a rank that follow each
            other; 0 when one snapshot holds both.
        steps: gradient steps; the learning rate falls to zero with the last.
        seconds: the training ends so long after its first step, also with fewer steps.
        judges: held-out samples that every network is judged by; later ones are not used.
        batch_size: samples in a step; of several ranks, of each.
        learning_rate: the highest.
        validate_every, checkpoint_every: in gradient steps.
        improvement: by which fraction a network must be better than the last one posted.
        timeout_s: how long no snapshot may come that is of use, while there are too few.
        rank_timeout_s: how long one of several ranks may keep the others waiting, as the first does when it
            judges and posts.
        converged: the training ends when the validation is at most this; by default it goes on.
        until: rules that end it besides (`trainers.until`).
        stop_solvers: when the training ends all programs of the database are asked to (`request_stop`).
        terms: on which a network is posted and keeps its place; by default it must beat the live version on
            the judges by `improvement`, and the newest ten versions and the best one are kept.
        end_with_producers: when all producers have ended and all they put was taken in, the buffer is
            drained, and the training ends when nothing is left; by default it goes on learning from what it
            has, which is nothing where the buffer lets no sample be drawn twice.
        prefetch: batches that are made ahead, beside the step; with 0 each is made when its step is due, so
            that the same stream gives the same steps.
        normalise: whether the network's inputs and answer are normalised, inside of what is posted: "no"; by
            the moments of what had come before the first step, "frozen"; by those of all that has come,
            looked at again at every judgement, "running".
        non_finite: a snapshot that carries NaN or infinity ends the training, "refuse"; or is skipped, and
            counted in the history, "skip".
        tensorboard: the history is written for TensorBoard too; needs its package.
        format: what a network is posted as: torchscript, which every database runs; aotinductor, compiled
            for hosts like this one; or onnx.
    """

    model: str
    producers: tuple[str, ...]
    held_out: tuple[str, ...]
    inputs: tuple[str, ...]
    target: str
    jump: int
    steps: int
    seconds: float
    judges: int = 16
    batch_size: int = 16
    learning_rate: float = 4e-3
    validate_every: int = 25
    checkpoint_every: int = 200
    improvement: float = 0.02
    timeout_s: float = 60.0
    rank_timeout_s: float = 300.0
    converged: float | None = None
    until: tuple[Until, ...] = ()
    stop_solvers: bool = False
    terms: Terms | None = None
    end_with_producers: bool = False
    prefetch: int = 2
    normalise: Normalise = "no"
    non_finite: NonFinite = "refuse"
    tensorboard: bool = False
    format: Format = Format.TORCHSCRIPT

    def __post_init__(self) -> None:
        self._check_kinds()
        keys.checked_model(self.model)
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise TrainingRefused(name, getattr(self, name), "greater than 0")
        if not math.isfinite(self.improvement):
            raise TrainingRefused("improvement", self.improvement, "a finite number")
        if self.converged is not None and not self.converged > 0:
            raise TrainingRefused("converged", self.converged, "greater than 0, or None")
        for name in ("prefetch", "jump"):
            if getattr(self, name) < 0:
                raise TrainingRefused(name, getattr(self, name), "at least 0")
        for name, words in (("normalise", Normalise), ("non_finite", NonFinite)):
            if getattr(self, name) not in get_args(words):
                raise TrainingRefused(name, getattr(self, name), f"one of {', '.join(get_args(words))}")
        if not isinstance(self.format, Format):
            raise TrainingRefused("format", self.format, "a trainers.Format")
        for name in ("producers", "held_out", "inputs"):
            if not getattr(self, name):
                raise TrainingRefused(name, getattr(self, name), "at least one name")
        if both := sorted(set(self.producers) & set(self.held_out)):
            raise TrainingRefused("held_out", self.held_out, f"without {both[0]!r}, whom it is to learn from")

    def _check_kinds(self) -> None:
        """Check what settings are, before anything is done with them.

        Raises:
            TrainingRefused
            NameRefused: the model, a producer or a field cannot have that name.
        """
        for name in _WHOLE:
            if not isinstance(value := getattr(self, name), (int, np.integer)) or isinstance(value, bool):
                raise TrainingRefused(name, value, "a whole number")
        for name in (*_POSITIVE, "improvement", *(("converged",) if self.converged is not None else ())):
            if not isinstance(value := getattr(self, name), Real):
                raise TrainingRefused(name, value, "a number")
        for name in ("producers", "held_out", "inputs", "until"):
            if not isinstance(value := getattr(self, name), tuple):
                raise TrainingRefused(name, value, "a tuple")
        for rule in self.until:
            if not callable(rule):
                raise TrainingRefused("until", self.until, "a tuple of rules, which are called")
        if self.terms is not None and not isinstance(self.terms, Terms):
            raise TrainingRefused("terms", self.terms, "trainers.publish.Terms, or None")
        keys.checked("model", self.model)
        for producer in self.producers + self.held_out:
            keys.checked("producer", producer)
        for field in (*self.inputs, self.target):
            keys.checked_field(field)


def terms_of(training: Training) -> Terms:
    """Return on which terms a network is posted."""
    if training.terms is not None:
        return training.terms
    gate = Gate(rule=better_by(training.improvement))
    return Terms(gate=gate, prune=keep_last_and_best(VERSIONS_KEPT), improvement=training.improvement)
