"""The smallest manifest that is one of a finished run, for tests that write a run directory by hand."""


def small_manifest(paths, **changes):
    """A manifest with these entries of paths; every other part is empty unless it is changed."""
    end = {"structure": "end.pdb"}
    return {
        "name": "small",
        "digest": "0",
        "recipe": {"seed": 1, "endpoints": {"start": end, "end": end}, "output": {"trajectories": ["dcd"]}},
        "inputs": {},
        "outcome": "complete",
        "produced": len(paths),
        "valid": len(paths),
        "converged": len(paths),
        "paths": paths,
        "chosen": {},
        "energies": None,
        "prior_force_fields": [],
        "notes": [],
        "started": "2026-11-28T12:00:00+00:00",
        "seconds": {"total": 1.0},
        "versions": {"tpsctl": "0.1"},
        "machines": [],
    } | changes
