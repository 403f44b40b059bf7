"""Decoding: any usual encoding, line end and compression give the same lines."""

import gzip

import pytest

from tpsctl.endpoints import load_structure
from tpsctl.endpoints.text import lines_of, read_text
from tpsctl.errors import EndpointError

TEXT = "REMARK Zürich\nATOM\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["a.pdb", "a.PDB.GZ"])
def test_encodings_and_compression_by_content(tmp_path, encoding, compressed, name):
    data = TEXT.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if compressed else data)
    assert read_text(tmp_path / name) == TEXT


def test_lines_end_with_lf_crlf_or_cr_and_nothing_else():
    assert lines_of("a\nb\r\nc\rd\x0c\x85e\n") == ["a", "b", "c", "d\x0c\x85e"]
    assert lines_of("") == []


def test_damaged_or_other_compression_is_named(tmp_path):
    (tmp_path / "a.pdb.gz").write_bytes(gzip.compress(TEXT.encode())[:-9])
    with pytest.raises(EndpointError, match="is a damaged gzip file"):
        read_text(tmp_path / "a.pdb.gz")
    (tmp_path / "a.pdb").write_bytes(b"BZh91AY")
    with pytest.raises(EndpointError, match="is compressed with bzip2; only gzip is read. Decompress it first"):
        read_text(tmp_path / "a.pdb")
    (tmp_path / "b.pdb").write_bytes(b"ATOM\0\0\0")
    with pytest.raises(EndpointError, match="is no text file"):
        read_text(tmp_path / "b.pdb")


@pytest.mark.parametrize("name", ["c7eq.PDB", "c7eq.CIF", "c7eq.GRO", "c7eq.Pdb.Gz"])
def test_extensions_in_capitals(root, tmp_path, name):
    import mdtraj

    source = root / "recipes/alanine_dipeptide/c7eq.pdb"
    small = tmp_path / f"plain{name[4:].lower().removesuffix('.gz')}"
    mdtraj.load(str(source)).save(str(small))
    data = small.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("Gz") else data)
    assert load_structure(tmp_path / name).topology.n_atoms == 22


def test_a_trajectory_with_its_extension_in_capitals(root, tmp_path):
    import mdtraj

    source = root / "recipes/alanine_dipeptide/c7eq.pdb"
    mdtraj.load(str(source)).save(str(tmp_path / "md.dcd"))
    (tmp_path / "md.dcd").rename(tmp_path / "MD.DCD")
    assert load_structure(tmp_path / "MD.DCD", topology=source, frame=0).topology.n_atoms == 22
