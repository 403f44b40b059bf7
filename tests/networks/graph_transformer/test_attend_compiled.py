"""The compiled attention against that of torch, for every set of instructions this machine has."""

import ctypes
import subprocess

import pytest
import torch

from tpsctl.networks.graph_transformer import attend_compiled
from tpsctl.networks.graph_transformer.frozen import FrozenGraphTransformer
from tpsctl.networks.graph_transformer.network import Beads, GraphTransformer, GraphTransformerSizes, descent

SETS = {"avx2": ("avx2", "avx512"), "avx512": ("avx512",)}
"""Each set, and torch's names of machines that have it. Any has the default."""
CALL = {"beads": 4, "heads": 1, "tilted": False}

pytestmark = pytest.mark.skipif(attend_compiled.instructions() is None, reason="no C compiler at installation")


@pytest.fixture(autouse=True)
def single():
    torch.manual_seed(7)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(params=["default", *SETS])
def library(request, monkeypatch):
    this = torch.backends.cpu.get_cpu_capability().lower()
    if this not in SETS.get(request.param, (this,)):
        pytest.skip(f"this machine has no {request.param}")
    path = attend_compiled._path(request.param)
    monkeypatch.setattr(attend_compiled, "_library", lambda: ctypes.CDLL(str(path)))


def score_and_gradient(net, x, beads):
    """s and d|s|^2/dx: value, slope and the slope's derivative of every attention but the first."""
    x = x.to(next(net.parameters())).clone().requires_grad_(True)
    score = descent(net, x, torch.tensor([0.3]).to(x), beads)
    (gradient,) = torch.autograd.grad(score.square().sum(), x)
    return score.detach(), gradient


@pytest.mark.parametrize(("displacements", "distances"), [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize(
    ("beads", "heads", "head_dim"), [(1, 1, 1), (10, 8, 64), (35, 2, 64), (13, 3, 5), (7, 1, 128), (130, 2, 20)]
)
def test_score_and_its_derivative_are_those_of_torch(
    library, monkeypatch, beads, heads, head_dim, displacements, distances
):
    """Rounding of float32 in sums of a hundred terms: 1.3e-6 of the largest at most was seen, with torch 9e-7."""
    sizes = GraphTransformerSizes(beads, 0, 24, 3, heads, head_dim, False, displacements, distances, 1)
    net, x, them = (
        FrozenGraphTransformer(GraphTransformer(sizes)),
        0.5 * torch.randn(3, beads, 3),
        Beads(torch.arange(beads)),
    )
    called, call = [], attend_compiled._call
    monkeypatch.setattr(attend_compiled, "_call", lambda name, *rest: (called.append(name), call(name, *rest)))
    found = score_and_gradient(net, x, them)
    assert set(called) == {"attend_value", "attend_slope", "attend_slope_derivative"}
    called.clear()
    expected = score_and_gradient(net.double(), x, them)
    assert not called
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 5e-6 * other.abs().max() + 1e-12


def weights_of(logits):
    """Of one configuration: queries are rows of the logits, keys and values unit vectors."""
    z = torch.cat([logits, torch.zeros(4, 4), torch.eye(4), torch.eye(4)], dim=1)
    return attend_compiled.attend(z, torch.zeros(8), torch.zeros(4, 4), **CALL)[0]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0, 300.0, 1e6])
def test_weights_are_a_softmax(library, scale):
    """exp by a polynomial: an ulp or two. Weights below e^-87 of the largest are zero."""
    logits = scale * torch.randn(4, 4)
    torch.testing.assert_close(weights_of(logits), torch.softmax(logits.double(), -1).float(), rtol=1e-6, atol=2e-38)


def test_what_is_not_a_number_is_not_hidden(library):
    """A path that has left all sense must not get a sensible force."""
    logits = torch.zeros(4, 4)
    logits[1, 2] = torch.nan
    weights = weights_of(logits)
    assert weights[1].isnan().all()
    assert weights[[0, 2, 3]].eq(0.25).all()


def test_only_differences_of_logits_matter(library):
    """However low they are, beside what pads a row."""
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(4, 4)
    torch.testing.assert_close(weights_of(logits - 1e6), weights_of(logits))
    assert weights_of(torch.full((4, 4), -3e38)).eq(0.25).all()


def test_configurations_do_not_depend_on_their_batch(library):
    z, bias, place = torch.randn(12, 16), torch.randn(8), torch.randn(12, 4)
    together = attend_compiled.attend(z, bias, place, **CALL)[0]
    alone = [attend_compiled.attend(z[i : i + 4], bias, place[i : i + 4], **CALL)[0] for i in (0, 4, 8)]
    assert torch.equal(together, torch.cat(alone))


def test_third_derivatives_are_refused():
    z = torch.randn(4, 16, requires_grad=True)
    seen, _ = attend_compiled.attend(z, torch.zeros(8), torch.zeros(4, 4), **CALL)
    (slope,) = torch.autograd.grad(seen.sum(), z, torch.tensor(1.0).requires_grad_(True), create_graph=True)
    with pytest.raises(NotImplementedError, match="third derivatives"):
        torch.autograd.grad(slope, z, torch.ones_like(slope), create_graph=True)


def test_sizes_that_do_not_fit_never_reach_the_library():
    for rows, columns, of_bias in ((4, 15, 8), (4, 16, 7), (5, 16, 8)):
        with pytest.raises(ValueError, match="do not fit"):
            attend_compiled.attend(torch.zeros(rows, columns), torch.zeros(of_bias), torch.zeros(rows, 4), **CALL)


def test_only_single_precision_on_a_cpu():
    assert attend_compiled.usable(torch.zeros(1))
    assert not attend_compiled.usable(torch.zeros(1, dtype=torch.float64))
    assert not attend_compiled.usable(torch.zeros(1, device="meta"))


def test_without_a_library_torch_does_it(monkeypatch):
    sizes = GraphTransformerSizes(6, 0, 8, 2, 2, 4, False, False, True, 1)
    net, x, beads = FrozenGraphTransformer(GraphTransformer(sizes)), torch.randn(2, 6, 3), Beads(torch.arange(6))
    expected = score_and_gradient(net, x, beads)
    monkeypatch.setattr(attend_compiled, "_library", lambda: None)
    monkeypatch.setattr(attend_compiled, "_call", None)
    for one, other in zip(score_and_gradient(net, x, beads), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6 * float(other.abs().max()))


def test_a_library_of_another_source_is_not_used(compiler, root, tmp_path, monkeypatch):
    """As after an update without a new installation: what it expects of its callers may have changed."""
    source = root / "tpsctl/networks/graph_transformer/attend.c"
    subprocess.run([*compiler, "-shared", "-fPIC", "-w", "-o", str(tmp_path / "old.so"), str(source)], check=True)
    assert attend_compiled.instructions() is not None
    monkeypatch.setattr(attend_compiled, "_path", lambda _: tmp_path / "old.so")
    assert attend_compiled.instructions() is None
    (tmp_path / "no_library.so").write_text("of another machine, say")
    for name in ("no_library.so", "none.so"):
        monkeypatch.setattr(attend_compiled, "_path", lambda _, name=name: tmp_path / name)
        assert attend_compiled.instructions() is None


def test_short_memory_is_an_error_that_makes_chunks_smaller(monkeypatch):
    class Short:
        attend_value = staticmethod(lambda *_: 0)

    monkeypatch.setattr(attend_compiled, "_library", lambda: Short)
    with pytest.raises(MemoryError, match="attend_value"):
        attend_compiled.attend(torch.zeros(4, 16), torch.zeros(8), torch.zeros(4, 4), **CALL)


def test_the_source_compiles_without_a_warning(compiler, root, tmp_path):
    """The flags of the build, and the compiler's warnings as errors."""
    source = root / "tpsctl/networks/graph_transformer/attend.c"
    flags = "-std=gnu11 -O1 -Wall -Wextra -Werror -Wno-psabi -fPIC -shared".split()
    subprocess.run([*compiler, *flags, "-o", str(tmp_path / "attend.so"), str(source)], check=True)
