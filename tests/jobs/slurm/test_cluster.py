"""The Slurm that the tests start is a real one: it runs jobs, arrays, dependencies and requeues."""


def test_it_runs_an_array_and_what_depends_on_it(slurm, tmp_path):
    array = slurm.query("sbatch", "--parsable", "--array=1-2", f"--output={tmp_path}/%a", "--wrap=hostname")
    after = slurm.query(
        "sbatch", "--parsable", f"--dependency=afterok:{array}", f"--output={tmp_path}/end", "--wrap=true"
    )
    assert slurm.wait_for(after, "COMPLETED") == {"": "COMPLETED"}
    assert slurm.states(array) == {"1": "COMPLETED", "2": "COMPLETED"}
