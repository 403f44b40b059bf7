"""Native checkpoints: the same model comes back, and nothing bad gets in."""

import json
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from tpsctl.checkpoints.build import build, load_prior
from tpsctl.checkpoints.model import Model, ModelDescription
from tpsctl.checkpoints.native import load_model, read_card, save_model
from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.networks.energy_perceptron import EnergyPerceptron
from tpsctl.networks.internal_energy.network import InternalEnergy, InternalEnergySizes
from tpsctl.networks.perceptron import Perceptron, PerceptronSizes
from tpsctl.score.levels import cosine_tables
from tpsctl.score.schedule import Flow, SubVariancePreserving, VarianceExploding

PEROXIDE = Topology(
    tuple(Atom(name, name[0], "HOOH", 1, "", 16.0 if name[0] == "O" else 1.0) for name in ("H1", "O1", "O2", "H2")),
    ((0, 1), (1, 2), (2, 3)),
)
SIZES = InternalEnergySizes(hidden=5, layers=2, levels=3, embedding=4)
CARD = {"licence": "MIT", "metrics": {0.001: 0.9}}


def make_model(kind="diffusion", dtype=torch.float32, facts=CARD):
    """Random parameters in every tensor."""
    network = InternalEnergy(PEROXIDE, SIZES).to(dtype)
    for tensor in network.state_dict().values():
        tensor.uniform_(0.5, 1.5)
    network.linear.log_sigmas.copy_(torch.linspace(-6, 0, SIZES.levels))
    schedule = VarianceExploding(0.001, 1.0) if kind == "diffusion" else Flow(0.3)
    about = ModelDescription(
        kind,
        "internal_energy",
        SIZES.to_dict(),
        300.0,
        schedule=schedule,
        smallest_width_nm=0.001,
        topology=PEROXIDE,
        facts=facts,
    )
    return Model(about, network.state_dict())


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "prior.safetensors"
    save_model(path, make_model())
    return path


def edit(path, *, card=None, tensors=None):
    """Write the file again with another card (without its hash) or other tensors."""
    header, values = read_card(path), load_file(str(path))
    header.pop("sha256", None)
    header = card(header) if card else header
    values = tensors(values) if tensors else values
    save_file(values, str(path), metadata={"tpsctl": header if isinstance(header, str) else json.dumps(header)})
    return path


@pytest.mark.parametrize("kind", ["diffusion", "flow_matching"])
def test_a_loaded_prior_gives_identical_scores(tmp_path, kind):
    torch.set_default_dtype(torch.float32)
    model = make_model(kind)
    prior = build(model)
    path = tmp_path / "prior.safetensors"
    save_model(path, model)
    loaded = load_prior(path)
    x = torch.randn(6, 4, 3) * 0.1
    for t in (0.1, 0.5):
        assert torch.equal(loaded.at(t)(x), prior.at(t)(x))
    assert (loaded.kind, loaded.topology, loaded.schedule) == (kind, PEROXIDE, prior.schedule)
    assert (loaded.temperature_k, loaded.smallest_width_nm, loaded.conservative) == (300.0, 0.001, True)


@pytest.mark.parametrize(("objective", "noted"), [(None, True), ("velocity regression", False)])
def test_energies_that_earlier_versions_called_flow_matching_work_with_a_note(tmp_path, objective, noted):
    """Their card has no entry `objective`; they were trained by denoising."""
    facts = CARD | ({} if objective is None else {"objective": objective})
    save_model(tmp_path / "flow.safetensors", make_model("flow_matching", facts=facts))
    notes = load_model(tmp_path / "flow.safetensors").description.notes
    assert any("was trained by denoising" in note for note in notes) is noted
    assert load_prior(tmp_path / "flow.safetensors").kind == "flow_matching"


def test_insertion_codes_are_kept_and_others_add_nothing(tmp_path):
    model = make_model()
    atoms = (replace(PEROXIDE.atoms[0], insertion_code="A"), *PEROXIDE.atoms[1:])
    topology = replace(PEROXIDE, atoms=atoms)
    save_model(tmp_path / "a.safetensors", replace(model, description=replace(model.description, topology=topology)))
    assert load_model(tmp_path / "a.safetensors").description.topology == topology
    assert [len(row) for row in read_card(tmp_path / "a.safetensors")["atoms"]] == [7, 6, 6, 6]


def test_the_card_keeps_what_it_was_given_and_what_it_must_say(good):
    card = read_card(good)
    assert card["licence"] == "MIT"
    assert card["metrics"] == {"0.001": 0.9}
    assert {"kind", "network", "schedule", "temperature_k", "length_unit", "atoms", "bonds", "sha256"} <= set(card)


@pytest.mark.parametrize("kind", ["diffusion", "flow"])
def test_the_embedded_checkpoints_are_written_again_byte_for_byte(root, tmp_path, kind):
    shipped = root / "recipes" / "alanine_dipeptide" / f"{kind}.safetensors"
    save_model(tmp_path / "again.safetensors", load_model(shipped))
    assert (tmp_path / "again.safetensors").read_bytes() == shipped.read_bytes()


@pytest.mark.parametrize("kind", ["diffusion", "flow_matching"])
def test_a_network_in_its_own_units_takes_the_same_way(tmp_path, kind):
    network = Perceptron(PerceptronSizes(2, 5, 3, "swish")).float()
    about = ModelDescription(
        kind,
        "perceptron",
        network.sizes.to_dict(),
        120.0,
        scale_nm=(7.0, 9.0),
        offset_nm=(31.0, 18.0),
        potential="mueller_brown",
        layout="a test",
        clock="t",
        provenance={"name": "test"},
        notes=("A note.",),
    )
    tables = cosine_tables(16) if kind == "diffusion" else {}
    model, path = Model(about, network.state_dict(), tables), tmp_path / "points.safetensors"
    save_model(path, model)
    loaded, x = load_model(path), torch.tensor([[[25.0, 28.0]], [[40.0, 9.0]]], dtype=torch.float32)
    assert loaded.description == about
    prior, again = build(model), build(loaded)
    assert torch.equal(prior.at(0.25)(x), again.at(0.25)(x))
    drawn = (one.sample(2, torch.Generator().manual_seed(0)) for one in (prior, again))
    assert torch.equal(*drawn)
    assert again.potential.name == "mueller_brown"


@pytest.mark.parametrize("network", [Perceptron, EnergyPerceptron])
@pytest.mark.parametrize("schedule", [Flow(), SubVariancePreserving(), VarianceExploding(0.02, 50.0)])
def test_a_network_that_sees_noise_widths_keeps_its_schedule(tmp_path, network, schedule):
    made = network(PerceptronSizes(2, 5, 3, "swish")).float()
    about = ModelDescription(
        "score_matching",
        {Perceptron: "perceptron", EnergyPerceptron: "energy_perceptron"}[network],
        made.sizes.to_dict(),
        120.0,
        scale_nm=(7.0, 9.0),
        schedule=schedule,
        smallest_width_nm=0.2,
    )
    path = tmp_path / "points.safetensors"
    save_model(path, Model(about, made.state_dict()))
    assert load_model(path).description == about
    prior, x = load_prior(path), torch.tensor([[[2.0, -3.0]]], dtype=torch.float32)
    assert (prior.schedule, prior.conservative) == (schedule, network is EnergyPerceptron)
    assert torch.equal(prior.at(0.25)(x), build(load_model(path)).at(0.25)(x))
    with pytest.raises(PriorError, match="trained down to 0.2 nm"):
        prior.at(prior.time_of(0.19))


@pytest.mark.parametrize("entry", ["schedule", "smallest_width_nm"])
def test_a_score_matching_card_without_schedule_or_width_is_refused(tmp_path, entry):
    network = Perceptron(PerceptronSizes(2, 5, 3, "swish")).float()
    path = tmp_path / "points.safetensors"
    about = ModelDescription("score_matching", "perceptron", network.sizes.to_dict(), None, schedule=Flow())
    save_model(path, Model(replace(about, smallest_width_nm=0.2), network.state_dict()))
    edit(path, card=lambda card: {key: value for key, value in card.items() if key != entry})
    with pytest.raises(PriorError, match="needs a schedule and a smallest_width_nm > 0"):
        load_prior(path)


def test_a_unit_of_length_that_is_no_length_is_refused(tmp_path):
    network = Perceptron(PerceptronSizes(2, 5, 3, "swish")).float()
    about = ModelDescription("flow_matching", "perceptron", network.sizes.to_dict(), None, scale_nm=(0.0,))
    save_model(tmp_path / "points.safetensors", Model(about, network.state_dict()))
    with pytest.raises(PriorError, match="points.safetensors: its model card is incomplete or damaged.*unit not > 0"):
        load_prior(tmp_path / "points.safetensors")


def test_saving_leaves_no_temporary_file_and_replaces_whole(good, tmp_path):
    save_model(good, make_model(facts=CARD | {"licence": "CC0"}))
    assert [p.name for p in tmp_path.iterdir()] == ["prior.safetensors"]
    assert read_card(good)["licence"] == "CC0"


def test_missing_file(tmp_path):
    with pytest.raises(PriorError, match=r"none.safetensors: no such checkpoint"):
        load_prior(tmp_path / "none.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x80\x02pickle", b"\xff" * 64, b"PK\x03\x04" + b"\0" * 60])
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(PriorError, match="not a readable safetensors file .*Fetch or write the file again"):
        load_prior(path)


def test_a_header_that_claims_more_than_the_file_holds(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(PriorError, match="not a readable safetensors file .*Fetch or write the file again"):
        load_prior(path)


def test_truncated_anywhere(good):
    content = good.read_bytes()
    for end in (4, 8, 100, len(content) // 2, len(content) - 1):
        good.write_bytes(content[:end])
        with pytest.raises(PriorError):
            load_prior(good)


def test_flipped_bits_are_noticed(good):
    """In the length, the card, the shapes or the tensors; only not in the name of the hash, which is optional."""
    content = good.read_bytes()
    name = range(content.index(b"sha256"), content.index(b"sha256") + 6)
    for place in [*range(0, len(content), max(1, len(content) // 150)), len(content) - 1]:
        if place in name:
            continue
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        good.write_bytes(bytes(damaged))
        with pytest.raises(PriorError):
            load_prior(good)


def test_no_metadata(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(save({"a": torch.zeros(2)}))
    with pytest.raises(PriorError, match='without the "tpsctl" metadata'):
        load_prior(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: "{no json", "its model card is no JSON"),
        (lambda card: "[1, 2]", "checkpoint format None"),
        (lambda card: card | {"format_version": 99}, "checkpoint format 99, this tpsctl reads 1"),
        (lambda card: {k: v for k, v in card.items() if k != "atoms"}, "incomplete or damaged.*atoms"),
        (lambda card: card | {"atoms": [["C"]]}, "incomplete or damaged"),
        (lambda card: card | {"kind": "oracle"}, "kind 'oracle' with network 'internal_energy'"),
        (lambda card: card | {"network": card["network"] | {"name": "other"}}, "with network 'other'"),
        (lambda card: card | {"network": "internal_energy"}, "incomplete or damaged"),
        (lambda card: card | {"schedule": {"name": "cosine"}}, "schedule: got 'cosine'"),
        (lambda card: card | {"temperature_k": float("nan")}, "not a finite number > 0"),
        (lambda card: card | {"smallest_width_nm": 0}, "not a finite number > 0"),
        (lambda card: card | {"bonds": [[0, 1], [1, 2], [2, 9]]}, "no sorted pairs"),
        (lambda card: card | {"bonds": []}, "do not fit"),
        (lambda card: card | {"network": card["network"] | {"levels": 1}}, "fewer than 2 levels"),
        (lambda card: card | {"network": card["network"] | {"wings": 2}}, "incomplete or damaged.*wings"),
    ],
)
def test_bad_cards(good, change, message):
    with pytest.raises(PriorError, match=message):
        load_prior(edit(good, card=change))


@pytest.mark.parametrize("size", ["hidden", "levels", "embedding", "layers"])
def test_sizes_that_would_exhaust_memory_are_refused_before_it_is_taken(good, size):
    huge = edit(good, card=lambda card: card | {"network": card["network"] | {size: 10**9}})
    with pytest.raises(PriorError, match="levels, hidden, embedding, layers are"):
        load_prior(huge)


def test_a_crowd_of_atoms_or_bonds_is_refused_before_it_is_enumerated(good):
    crowd = [["C", "C", "X", 1, "", 12.0]] * 5000
    with pytest.raises(PriorError, match="for 5000 atoms"):
        load_prior(edit(good, card=lambda card: card | {"atoms": crowd, "bonds": [[0, 1]]}))
    star = [[0, i] for i in range(1, 14)]
    with pytest.raises(PriorError, match="more than 12 bonds"):
        load_prior(edit(good, card=lambda card: card | {"atoms": crowd[:14], "bonds": star}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(good, value):
    def spoil(tensors):
        tensors["net.output.bias"][0] = value
        return tensors

    with pytest.raises(PriorError, match=r"tensor net.output.bias has values that are not finite"):
        load_prior(edit(good, tensors=spoil))


def test_missing_and_misshapen_tensors(good, tmp_path):
    content = good.read_bytes()
    for change in (
        lambda t: {k: v for k, v in t.items() if k != "linear.coefficients"},
        lambda t: t | {"linear.coefficients": torch.zeros(3, 2)},
        lambda t: t | {"extra": torch.zeros(1)},
    ):
        good.write_bytes(content)
        with pytest.raises(PriorError, match="tensors do not fit the model card"):
            load_prior(edit(good, tensors=change))


def test_diffusion_times_outside_of_what_was_trained_are_refused():
    prior = build(make_model("flow_matching"))
    with pytest.raises(PriorError, match=r"trained down to 0.001 nm. Use diffusion_time >= 0.00332"):
        prior.at(0.001)
    with pytest.raises(PriorError, match=r"got 1.5, expected a value in \[0, 1\]"):
        prior.at(1.5)
    assert prior.sigma_nm(prior.time_of(0.02)) == pytest.approx(0.02, rel=1e-12)
