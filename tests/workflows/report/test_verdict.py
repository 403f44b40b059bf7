"""The verdict in words follows from the manifest alone."""

import pytest

from tpsctl.output.report import Evidence
from tpsctl.workflows.report.verdict import verdict_of


def entry(path, *, gate="valid", status="converged", remedy="", channel=0, barrier=40.0, tops=None):
    raw = {"barrier_forward_kj_per_mol": barrier, "barrier_backward_kj_per_mol": 30.0}
    return {
        "path": path,
        "gate": gate,
        "status": status,
        "remedy": remedy,
        "channel": channel,
        "raw": raw,
        "tops": tops or {},
    }


def top(words="saddle", energy=36.4):
    return {"words": words, "saddle": {"energy_kj_per_mol": energy, "joins": ["A", "B"]}}


def manifest(outcome, paths, **more):
    return {
        "outcome": outcome,
        "paths": paths,
        "produced": len(paths),
        "valid": sum(path["gate"] == "valid" for path in paths),
        "converged": sum(path["status"] == "converged" for path in paths),
        "notes": [],
        "energies": {"solvent": "", "platform": "Reference"},
    } | more


def routes_manifest(outcome, *, complete, missing):
    route = {"forward": 36.1, "times_found": 6, "flux_share": 0.86, "action": 13.3, "bound": 13.2, "valid": "valid"}
    search = {"attempts": 96, "rounds": 6, "minima": 3, "saddles": 16, "complete": complete, "missing": missing}
    kinetics = {"assumptions": "no recrossing"}
    return manifest(outcome, [entry(0)], routes=[route], search=search, kinetics=kinetics)


def committor(*, speaks_for, verdict="Half of the shots arrive in B."):
    return Evidence("Committor: a test", verdict, speaks_for)


@pytest.mark.parametrize("speaks_for", [True, False, None])
def test_what_dynamics_says_is_a_reason_only_if_it_speaks_for_the_paths(speaks_for):
    verdict = verdict_of(manifest("complete", [entry(0)]), [committor(speaks_for=speaks_for)])
    said = "Half of the shots arrive in B."
    assert (verdict.reasons[0] == said, verdict.doubts[0] == said) == (speaks_for is True, speaks_for is not True)
    assert verdict.headline.endswith("Dynamics speaks against it: see the first doubts.") == (speaks_for is False)
    assert not any("No committor" in doubt for doubt in verdict.doubts)


def test_notes_name_files_without_their_folders():
    inputs = {"endpoints.end.structure": {"file": "/home/me/end.pdb"}}
    found = verdict_of(manifest("complete", [entry(0)]) | {"notes": ["/home/me/end.pdb: relabeled"], "inputs": inputs})
    assert "Note of the run: end.pdb: relabeled" in found.doubts


def test_shots_of_earlier_paths_are_a_doubt():
    verdict = verdict_of(manifest("complete", [entry(0)]), replaced=True)
    assert any("shots from earlier paths" in doubt for doubt in verdict.doubts)
    assert any("No committor" in doubt for doubt in verdict.doubts)


def test_complete_paths():
    both = {"prior": top(energy=36.1), "force_field": top()}
    verdict = verdict_of(manifest("complete", [entry(0, tops=both), entry(1, tops=both)]), [committor(speaks_for=True)])
    assert verdict.headline.startswith("All 2 paths converged and passed the geometry gate, and every top that was")
    assert "2 of 2 tops are saddles of the force field, the lowest at 36.4 kJ/mol above A." in verdict.reasons
    assert any("2 of 2 paths take the channel with the lowest top; no other" in reason for reason in verdict.reasons)
    assert "The barrier from A to B is 40.0 kJ/mol in the median (from 40.0 to 40.0)." in verdict.reasons
    assert verdict.remedies == []
    assert not any("committor" in doubt for doubt in verdict.doubts)


def test_paths_that_are_not_converged():
    stopped = [entry(k, status="max_steps", remedy=text) for k, text in ((1, "Raise it."), (2, "Raise it!"))]
    paths = [entry(0), *stopped]
    verdict = verdict_of(manifest("not_converged", paths))
    assert verdict.headline == "2 of 3 paths stopped before the action was a minimum."
    assert verdict.remedies == ["Path 1 and 1 path more: Raise it."]
    assert not any("barrier from A to B" in reason for reason in verdict.reasons)
    assert any(doubt.startswith("No committor was computed") for doubt in verdict.doubts)


def test_paths_that_fail_the_gate_are_counted_by_check():
    paths = [
        entry(0),
        entry(1, gate="bonds at image 3: long; jump at image 4: far", remedy="bonds: mend."),
        entry(2, gate="bonds at image 7: long", remedy="bonds: mend them."),
    ]
    verdict = verdict_of(manifest("not_valid", paths))
    assert verdict.headline == "2 of 3 paths contain an image that the geometry gate refuses."
    assert "The gate refused: bonds in 2 paths, jump in 1 path." in verdict.doubts


def test_a_top_that_is_no_saddle():
    paths = [entry(0, tops={"force_field": top()}), entry(1, tops={"force_field": top("index 2")})]
    verdict = verdict_of(manifest("not_saddle", paths))
    assert "a top is no saddle" in verdict.headline
    assert "1 of 2 tops are saddles of the force field, the lowest at 36.4 kJ/mol above A." in verdict.reasons
    assert "On the force field, 1 top: index 2." in verdict.doubts


@pytest.mark.parametrize(
    ("outcome", "complete", "words"),
    [
        ("complete", True, "The search found its routes and nothing new any more"),
        ("not_converged", False, "a lower route may exist"),
        ("not_valid", True, "The path of the lowest route fails"),
    ],
)
def test_routes(outcome, complete, words):
    verdict = verdict_of(routes_manifest(outcome, complete=complete, missing=0.3))
    assert words in verdict.headline
    said = verdict.reasons if complete else verdict.doubts
    assert any("30 %" in sentence for sentence in said)
    assert "Rates and shares of the flux assume: no recrossing." in verdict.doubts


def test_no_route_at_all():
    found = routes_manifest("not_converged", complete=False, missing=1.0) | {"routes": [], "paths": []}
    assert verdict_of(found).headline == "No route connects A and B."
