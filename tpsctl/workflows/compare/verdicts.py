"""The verdict columns of a comparison: gate, highest energies and saddles of every ensemble, judged in the same way."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tpsctl.workflows.compare.ensembles import PathEnsemble
from tpsctl.workflows.sample.judge import judge, with_saddles
from tpsctl.workflows.sample.tools import Tools


@dataclass(frozen=True)
class EnsembleVerdict:
    """What the gate, the energies and the judge of tops say of an ensemble; lists have one entry per path.

    Attributes:
        gate: "valid", or the faults.
        highest_kj_per_mol: By kind ("raw", "minimized"), the highest energy above the start.
        tops: By landscape, what the top is; paths that the gate refuses are not judged.
        saddles: By landscape, the number of tops that are saddles.
        judged: By landscape, the number of tops that were judged.
    """

    gate: list[str]
    highest_kj_per_mol: dict[str, list[float]]
    tops: dict[str, list[str]] = field(default_factory=dict)
    saddles: dict[str, int] = field(default_factory=dict)
    judged: dict[str, int] = field(default_factory=dict)

    @property
    def valid(self) -> int:
        """Number of paths that pass the gate."""
        return sum(verdict == "valid" for verdict in self.gate)

    def median_highest(self, kind: str) -> float:
        """Median over paths of the highest energy of one kind, kJ/mol; NaN if one is unknown."""
        return median(self.highest_kj_per_mol[kind])


def median(values: list[float]) -> float:
    """The median; of an even number of values the mean of the two in the middle."""
    return float(torch.tensor(values, dtype=torch.float64).quantile(0.5))


def judge_ensemble(tools: Tools, ensemble: PathEnsemble) -> EnsembleVerdict:
    """Judge an ensemble by gate, energies and saddles, as far as the run's recipe has them."""
    paths: Tensor = ensemble.paths
    verdict = with_saddles(tools, judge(tools, paths), paths, range(len(paths)))
    gate = list(verdict.gate.faults)
    return EnsembleVerdict(
        gate=[faults or "valid" for faults in gate],
        highest_kj_per_mol={kind: profile.barrier_forward.tolist() for kind, profile in verdict.profiles.items()},
        tops={name: [top.words for top in of_paths] for name, of_paths in verdict.tops.items()},
        saddles={name: sum(top.is_saddle for top in of_paths) for name, of_paths in verdict.tops.items()},
        judged={name: sum(not faults for faults in gate) for name in verdict.tops},
    )
