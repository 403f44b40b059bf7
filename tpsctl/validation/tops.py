"""What the tops of paths are: the verdicts of `tpsctl.validation.saddle` as plain data, which JSON can hold."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MOST_PEAKS = 3
"""Number of peaks of a path that are judged, highest first; only the highest, the top, decides."""


class TopVerdict(StrEnum):
    """What a peak of a path is.

    Attributes:
        SADDLE: The stationary point next to it has one negative curvature.
        MINIMUM: It has none.
        INDEX_2: It has two.
        HILLTOP: It has three or more.
        NOT_STATIONARY: No stationary point is near.
        NO_PEAK: No image between the ends is higher than the images beside it.
        UNKNOWN: The energy of an image is unknown.
        NOT_JUDGED: The path has images that are no structures of the molecule.
    """

    SADDLE = "saddle"
    MINIMUM = "minimum"
    INDEX_2 = "index 2"
    HILLTOP = "hilltop"
    NOT_STATIONARY = "no stationary point"
    NO_PEAK = "no peak"
    UNKNOWN = "unknown energy"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Peak:
    """A peak of a path and the stationary point next to it. Energies are above the path's start; None is unknown.

    Attributes:
        image: Number of the image.
        verdict: What it is.
        energy_kj_per_mol: Energy of the image.
        gradient_kj_per_mol_per_nm: |grad U| at the image.
        index: Number of negative curvatures of the nearest stationary point; None if none was found.
        stationary_energy_kj_per_mol: Energy of that point.
        stationary_gradient_kj_per_mol_per_nm: |grad U| at that point.
        distance_nm: Root-mean-square distance per atom of the image and that point.
        wavenumbers_per_cm: Lowest wavenumbers at that point, negative for unstable modes.
    """

    image: int
    verdict: TopVerdict
    energy_kj_per_mol: float
    gradient_kj_per_mol_per_nm: float
    index: int | None = None
    stationary_energy_kj_per_mol: float | None = None
    stationary_gradient_kj_per_mol_per_nm: float | None = None
    distance_nm: float | None = None
    wavenumbers_per_cm: tuple[float, ...] = ()

    @property
    def is_saddle(self) -> bool:
        """Whether it is a saddle."""
        return self.verdict is TopVerdict.SADDLE

    @property
    def words(self) -> str:
        """The verdict, for a hilltop with its index."""
        return f"hilltop (index {self.index})" if self.verdict is TopVerdict.HILLTOP else str(self.verdict)


@dataclass(frozen=True)
class NextSaddle:
    """The saddle to which eigenvector following leads from a top. Energies are above the path's start.

    Attributes:
        energy_kj_per_mol: Energy of the saddle.
        gradient_kj_per_mol_per_nm: |grad U| at the saddle.
        distance_nm: Root-mean-square distance per atom of the top and the saddle.
        joins: The minima on both of its sides: "A", "B", or the energy of another minimum; "?" if none was reached.
    """

    energy_kj_per_mol: float
    gradient_kj_per_mol_per_nm: float
    distance_nm: float
    joins: tuple[str, ...]


@dataclass(frozen=True)
class PathTops:
    """What the peaks of one path are on one landscape; `dataclasses.asdict` gives JSON values.

    Attributes:
        peaks: At most `MOST_PEAKS` peaks, the top first.
        saddle: The saddle next to the top; None if none was found.
        otherwise: The verdict if there are no peaks: that there are none, or why they were not sought.
    """

    peaks: tuple[Peak, ...]
    saddle: NextSaddle | None
    otherwise: TopVerdict = TopVerdict.NO_PEAK

    @property
    def verdict(self) -> TopVerdict:
        """The verdict on the top."""
        return self.peaks[0].verdict if self.peaks else self.otherwise

    @property
    def is_saddle(self) -> bool:
        """Whether the top is a saddle."""
        return self.verdict is TopVerdict.SADDLE

    @property
    def words(self) -> str:
        """The verdict on the top, for a hilltop with its index."""
        return self.peaks[0].words if self.peaks else str(self.otherwise)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "PathTops":
        """The verdicts that `dataclasses.asdict` turned into these JSON values."""
        saddle = values["saddle"]
        return cls(
            tuple(_peak(peak) for peak in values["peaks"]),
            None if saddle is None else NextSaddle(**(saddle | {"joins": tuple(saddle["joins"])})),
            TopVerdict(values["otherwise"]),
        )


def _peak(values: dict[str, Any]) -> Peak:
    modes = tuple(values["wavenumbers_per_cm"])
    return Peak(**(values | {"verdict": TopVerdict(values["verdict"]), "wavenumbers_per_cm": modes}))
