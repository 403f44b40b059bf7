import csv
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpsctl.errors import OutputError
from tpsctl.output.tables import image_columns, path_columns, write_table
from tpsctl.validation.energy import Profile


@pytest.fixture
def raw():
    return Profile(torch.tensor([[-90.0, -50.0, -84.0], [-90.0, torch.nan, -84.0]]))


@pytest.fixture
def angles():
    return {"phi ALA2": torch.tensor([[-1.0, 0.5, 1.0], [-1.0, math.pi, 1.0]])}


def terms(**given):
    names = ("total", "kinetic", "drift", "cross", "divergence", "divergence_error")
    return SimpleNamespace(**{name: torch.tensor(given.get(name, [0.0, 0.0])) for name in names})


def paths_of(raw, angles):
    return path_columns(
        status=["converged", "non_finite"],
        terms=terms(total=[3.0, 4.5], kinetic=[1.0, 2.0], drift=[2.0, 2.5]),
        steps=[12, 7],
        gradient_max=torch.tensor([0.1, torch.inf]),
        profiles={"raw": raw},
        dihedrals=angles,
        valid=["valid", "bond broken"],
        seconds=torch.tensor([1.5, 2.0]),
    )


def read(file):
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_paths_table_has_a_row_per_path(raw, angles, tmp_path):
    write_table(tmp_path / "paths.csv", paths_of(raw, angles))
    first, second = read(tmp_path / "paths.csv")
    assert (first["path"], first["status"], first["gate"], first["steps"]) == ("0", "converged", "valid", "12")
    assert float(first["action_total"]) == 3.0
    assert first["highest_image_raw"] == "1"
    assert float(first["highest_energy_raw_kj_per_mol"]) == -50.0
    assert float(first["barrier_forward_raw_kj_per_mol"]) == 40.0
    assert float(first["barrier_backward_raw_kj_per_mol"]) == 34.0
    assert float(first["phi_ala2_at_highest_raw_deg"]) == pytest.approx(math.degrees(0.5))
    assert math.isnan(float(second["barrier_forward_raw_kj_per_mol"]))
    assert second["gradient_max_per_nm"] == "inf"


def test_images_table_has_a_row_per_image(raw, angles, tmp_path):
    columns = image_columns(
        profiles={"raw": raw, "minimized": raw},
        displacement_nm=torch.full((2, 3), 0.002),
        gap_nm=torch.tensor([[0.1, 0.2], [0.3, 0.4]]),
        dihedrals=angles,
        gate={"finite": torch.tensor([[True, True, True], [True, False, True]]), "shortest_nm": torch.ones(2, 3)},
    )
    write_table(tmp_path / "images.csv", columns)
    rows = read(tmp_path / "images.csv")
    assert [(row["path"], row["image"]) for row in rows] == [(p, i) for p in "01" for i in "012"]
    assert [row["finite"] for row in rows] == ["true", "true", "true", "true", "false", "true"]
    assert [row["gap_to_next_nm"] for row in rows] == ["0.1", "0.2", "nan", "0.3", "0.4", "nan"]
    assert [float(row["energy_raw_above_start_kj_per_mol"]) for row in rows[:3]] == [0.0, 40.0, 6.0]
    assert [float(row["energy_raw_above_end_kj_per_mol"]) for row in rows[:3]] == [-6.0, 34.0, 0.0]
    assert math.isnan(float(rows[4]["energy_minimized_kj_per_mol"]))
    assert float(rows[4]["phi_ala2_deg"]) == pytest.approx(180.0)
    assert float(rows[0]["displacement_nm"]) == 0.002


def test_tables_do_without_energies(tmp_path):
    columns = image_columns(profiles={}, displacement_nm=None, gap_nm=torch.ones(2, 4), dihedrals={}, gate={})
    write_table(tmp_path / "images.csv", columns)
    assert list(read(tmp_path / "images.csv")[0]) == ["path", "image", "gap_to_next_nm"]
    assert len(read(tmp_path / "images.csv")) == 10


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(width=64), min_size=1), text=st.lists(st.text(alphabet='a,"\n é'), min_size=1))
def test_numbers_and_texts_come_back_exactly(values, text, tmp_path):
    write_table(tmp_path / "a.csv", {"x": torch.tensor(values, dtype=torch.float64)})
    back = [float(row["x"]) for row in read(tmp_path / "a.csv")]
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(back, values, strict=True))
    write_table(tmp_path / "b.csv", {"t": text, "n": torch.arange(len(text))})
    assert [row["t"] for row in read(tmp_path / "b.csv")] == text


def test_columns_of_unequal_length_are_refused(tmp_path):
    with pytest.raises(OutputError, match="columns differ in length"):
        write_table(tmp_path / "a.csv", {"x": torch.ones(2), "y": torch.ones(3)})
    assert not list(tmp_path.iterdir())
