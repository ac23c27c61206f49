"""How much a buffer may hold: so many samples, so many bytes, or both."""

from __future__ import annotations

from dataclasses import dataclass

from trainers.errors import BufferRefused, SampleTooLarge


@dataclass(frozen=True)
class Bound:
    """The most that a buffer holds.

    Attributes:
        count: so many samples (of Pairs: snapshots); None is no bound.
        nbytes: so many bytes of arrays; None is no bound.
        noun: what is counted.
    """

    count: int | None
    nbytes: int | None
    noun: str = "samples"

    def __post_init__(self) -> None:
        if self.count is None and self.nbytes is None:
            raise BufferRefused("bound", None, f"a number of {self.noun}, of bytes, or both")
        for name, value in ((self.noun, self.count), ("nbytes", self.nbytes)):
            if value is not None and value < 1:
                raise BufferRefused(name, value, "at least 1")

    def __str__(self) -> str:
        parts = ((self.count, self.noun), (self.nbytes, "bytes"))
        return " and ".join(f"{value} {noun}" for value, noun in parts if value is not None)

    def fits(self, count: int, nbytes: int) -> bool:
        """Tell whether so many of so many bytes altogether may be held."""
        return (self.count is None or count <= self.count) and (self.nbytes is None or nbytes <= self.nbytes)

    def room(self, count: int, nbytes: int, largest: int | None, *, together: int = 1) -> int:
        """Return how many additions surely fit beside so many of so many bytes.

        Args:
            largest: bytes that one may have; None where none has come yet, and then one addition fits.
            together: how many an addition may bring.
        """
        rooms = [] if self.count is None else [(self.count - count) // together]
        if self.nbytes is not None and largest != 0:
            rooms.append(1 if largest is None else (self.nbytes - nbytes) // (largest * together))
        return max(0, min(rooms, default=1))

    def check_watermark(self, watermark: int) -> None:
        """Refuse a watermark that cannot be reached.

        Raises:
            BufferRefused
        """
        if watermark < 1:
            raise BufferRefused("watermark", watermark, "at least 1")
        if self.count is not None and watermark > self.count:
            raise BufferRefused("watermark", watermark, f"at most its bound of {self}")

    def check_size(self, size: int, least: int) -> None:
        """Refuse a sample that can never be held, or of which too few can.

        Args:
            size: bytes of the sample.
            least: how many there must be room for.

        Raises:
            SampleTooLarge, BufferRefused
        """
        if self.nbytes is None:
            return
        if size > self.nbytes:
            raise SampleTooLarge(size, self.nbytes)
        if least * size > self.nbytes:
            expected = f"at least {least * size}, for {least} {self.noun} of {size} bytes"
            raise BufferRefused("bound in bytes", self.nbytes, expected)
