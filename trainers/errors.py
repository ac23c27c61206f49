"""What can go wrong between the announced snapshots and a posted network.

TrainerError
├── TrainingRefused     a setting of the training that makes no sense
├── BufferRefused       a setting of a buffer that makes no sense
├── BufferFull          a sample came while all that is held has not been learned from yet
├── BufferEmpty         a draw from a buffer that holds nothing
├── SampleTooLarge      a sample is larger than all that its buffer may hold
├── StreamStalled       nothing new was announced for too long (also a TimeoutError)
├── StreamTaken         another trainer acknowledges under the same name
├── NonFiniteField      a snapshot carries NaN or infinity
├── NonFiniteLoss       the loss is NaN or infinite
├── TrainingStopped     it was told to end before it was through; its checkpoint is written
├── RanksDiffer         the ranks of a training were started with different settings
├── RankLost            another rank of the same training has failed, was killed or hangs
├── NoSamples           it has ended with too little to learn from or to judge by
├── SampleError         a snapshot lacks a field that the network is trained on
├── RuleFailed          a rule of the user's has raised: a metric, when to end, what to prune
├── ExportFailed        torch cannot export the network in the form that was asked for
├── ExportMismatch      the exported network does not answer as the trained one
├── FileNotWritten      there was no room for what a training keeps beside it, or no permission
├── CheckpointNotWritten  there was no room for a checkpoint, or no permission
└── CheckpointError     a checkpoint cannot be read, or is of another training
"""

from __future__ import annotations

from pathlib import Path


class TrainerError(Exception):
    """Base of every error that trainers raises."""


class TrainingRefused(TrainerError):
    """A setting of the training makes no sense."""

    def __init__(self, setting: str, value: object, expected: str) -> None:
        super().__init__(f"the training's {setting} is {value!r}, and must be {expected}")
        self.setting = setting
        self.value = value


class BufferRefused(TrainerError):
    """A setting of a buffer makes no sense."""

    def __init__(self, setting: str, value: object, expected: str) -> None:
        super().__init__(f"the buffer's {setting} is {value!r}, and must be {expected}")
        self.setting = setting
        self.value = value


class BufferFull(TrainerError):
    """A sample came while all that is held has not been learned from yet; it was not taken in."""

    def __init__(self, held: int, bound: str) -> None:
        super().__init__(
            f"the buffer is full: its bound is {bound}, and none of the {held} it must keep may be dropped "
            "before it was drawn; ask room() before adding"
        )
        self.held = held
        self.bound = bound


class BufferEmpty(TrainerError):
    """There is nothing to draw from."""

    def __init__(self) -> None:
        super().__init__("the buffer is empty, there is nothing to draw from")


class SampleTooLarge(TrainerError):
    """A sample is larger than all that its buffer may hold."""

    def __init__(self, nbytes: int, bound: int) -> None:
        super().__init__(f"a sample of {nbytes} bytes cannot be held in a buffer of {bound} bytes")
        self.nbytes = nbytes
        self.bound = bound


def _names(absent: tuple[str, ...], unnamed: tuple[str, ...]) -> str:
    """Return what may be wrong with the names of producers."""
    return (f" Nothing came from {', '.join(absent)}." if absent else "") + (
        f" Nobody has named {', '.join(unnamed)}, whose snapshots came." if unnamed else ""
    )


class StreamStalled(TrainerError, TimeoutError):
    """Nothing that is used was announced for too long, and not every producer has ended."""

    def __init__(
        self,
        stream: str,
        cursor: int,
        timeout_s: float,
        running: tuple[str, ...],
        *,
        others: bool = False,
        non_finite: int = 0,
        absent: tuple[str, ...] = (),
        unnamed: tuple[str, ...] = (),
    ) -> None:
        who = f"still running: {', '.join(running)}" if running else "no producers were named"
        what = "nothing of use" if others else "nothing new"
        super().__init__(
            f"{what} in the stream {stream!r} for {timeout_s:g} s, {cursor} snapshots were read ({who})"
            + (f" {non_finite} were skipped for NaN or infinity." if non_finite else "")
            + _names(absent, unnamed)
        )
        self.stream = stream
        self.cursor = cursor
        self.timeout_s = timeout_s
        self.running = running
        self.non_finite = non_finite
        self.absent = absent
        self.unnamed = unnamed


class StreamTaken(TrainerError):
    """Another reader acknowledges under the same name: each loses what the other lets go."""

    def __init__(self, stream: str, consumer: str, own: int, known: int) -> None:
        super().__init__(
            f"another trainer reads the stream {stream!r} as {consumer!r}: it has acknowledged {known} "
            f"snapshots, this one {own}; end one of the two, or have them train models of different names"
        )
        self.stream = stream
        self.consumer = consumer


class NonFiniteField(TrainerError):
    """A snapshot carries NaN or infinity: its solver has blown up."""

    def __init__(self, snapshot: str, field: str, count: int) -> None:
        super().__init__(
            f"the field {field!r} of the snapshot {snapshot!r} has {count} values that are NaN or infinite; "
            "did the solver blow up? A smaller time step may help"
        )
        self.snapshot = snapshot
        self.field = field
        self.count = count


class TrainingStopped(TrainerError):
    """The training was told to end (SIGTERM) before it was through; started again it goes on."""

    def __init__(self, step: int, checkpoint: Path) -> None:
        super().__init__(f"the training was told to end after step {step}; {checkpoint} goes on from there")
        self.step = step
        self.checkpoint = checkpoint


class RanksDiffer(TrainerError):
    """The ranks of a training were started with different settings; all of them raise this, before any step.

    Attributes:
        rank: the first that differs from rank 0.
        world: how many there are.
        setting: in which setting, or what of its buffer or network.
        value: what it has.
        expected: what rank 0 has.
    """

    def __init__(self, rank: int, world: int, setting: str, value: object, expected: object) -> None:
        super().__init__(
            f"rank {rank} of {world} was not started as rank 0 was: its {setting} is {value}, and rank 0's "
            f"is {expected}; start all ranks with the same settings, buffer and network"
        )
        self.rank = rank
        self.world = world
        self.setting = setting
        self.value = value
        self.expected = expected


class RankLost(TrainerError):
    """Another rank of the same training has failed, was killed or hangs: none can go on without it."""

    def __init__(self, rank: int, world: int, task: str, reasons: dict[int, str]) -> None:
        said = "; ".join(f"rank {other}: {reason}" for other, reason in reasons.items())
        super().__init__(
            f"rank {rank} of {world} has lost the others when it was to {task} "
            f"({said or 'nothing is known of them'}); started again, also with another number of ranks, "
            "the training goes on from its checkpoint"
        )
        self.rank = rank
        self.world = world
        self.reasons = reasons


class NonFiniteLoss(TrainerError):
    """The loss is NaN or infinite: the training has diverged."""

    def __init__(self, step: int, loss: float) -> None:
        mend = "a smaller learning rate may help, or fields near 1 (normalise)"
        super().__init__(f"the loss is {loss} at training step {step}; {mend}")
        self.step = step
        self.loss = loss


class NoSamples(TrainerError):
    """The stream, or the time of the training, has ended with too little to learn from or to judge by."""

    def __init__(
        self,
        samples: int,
        needed: int,
        judges: int,
        judges_needed: int,
        *,
        ended: bool = True,
        absent: tuple[str, ...] = (),
        unnamed: tuple[str, ...] = (),
    ) -> None:
        what = "stream" if ended else "training"
        super().__init__(
            f"the {what} has ended with {samples} samples to learn from, {needed} are needed, "
            f"and {judges} held-out ones to judge by, {judges_needed} are needed; did the producers push "
            "snapshots one jump apart?" + _names(absent, unnamed)
        )
        self.samples = samples
        self.needed = needed
        self.judges = judges
        self.judges_needed = judges_needed
        self.ended = ended
        self.absent = absent
        self.unnamed = unnamed


class SampleError(TrainerError):
    """A snapshot lacks a field that the network is trained on."""

    def __init__(self, snapshot: str, field: str, present: tuple[str, ...]) -> None:
        super().__init__(f"the snapshot {snapshot!r} has no field {field!r}, it has {', '.join(present)}")
        self.snapshot = snapshot
        self.field = field
        self.present = present


class RuleFailed(TrainerError):
    """A rule that the user gave has raised, or has answered what cannot be used; it is the cause of this."""

    def __init__(self, rule: str, error: Exception) -> None:
        super().__init__(
            f"{rule}, a rule that was given to the training, failed: {type(error).__name__}: {error}"
        )
        self.rule = rule
        self.error = error


class ExportFailed(TrainerError):
    """The network cannot be exported in the form that was asked for; nothing was posted.

    Attributes:
        network: its class.
        format: what it was to become.
        reason: in torch's words.
    """

    def __init__(self, network: str, format: str, reason: str) -> None:
        super().__init__(f"the network {network} cannot be exported as {format}: {reason}")
        self.network = network
        self.format = format
        self.reason = reason


class ExportMismatch(TrainerError):
    """The exported network does not answer as the trained one does."""

    def __init__(self, difference: float, tolerance: float) -> None:
        super().__init__(
            f"the exported network's answer is {difference:.3g} away from the trained one's "
            f"(relative to its largest value; {tolerance:g} is allowed)"
        )
        self.difference = difference
        self.tolerance = tolerance


class CheckpointError(TrainerError):
    """A checkpoint cannot be read, or belongs to another training."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the checkpoint {path} cannot be used: {reason}")
        self.path = path
        self.reason = reason


class FileNotWritten(TrainerError):
    """The history, or what a version answers to some samples, could not be written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} could not be written: {reason}")
        self.path = path
        self.reason = reason


class CheckpointNotWritten(TrainerError):
    """A checkpoint could not be written; the training ends, for it could lose what it learns from now on."""

    def __init__(self, path: Path, reason: str, *, has_older: bool) -> None:
        remains = (
            "the one written before it is whole, and is gone on from"
            if has_older
            else "there is none before it, and what was read is still in the database"
        )
        super().__init__(f"the checkpoint {path} could not be written: {reason}; {remains}")
        self.path = path
        self.reason = reason
        self.has_older = has_older
