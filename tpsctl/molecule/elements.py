"""Masses of the elements, and the element of an atom whose file does not state it.

Old PDB files and all GRO files have no element column, and a name alone does not decide: "CA" is a carbon in
alanine and an ion where it stands alone, "CL1" is chlorine in a ligand, "NA" is a nitrogen in a heme. So the
residue decides first (amino acids, nucleotides, water), then whether the atom is alone in its residue (ions),
then the name with the distance to the nearest atom of the residue: a covalent neighbor excludes a metal. An
element that stays unknown is not guessed: `find_element` gives the reason, and the caller refuses the atom if it
is needed.
"""

import re
from dataclasses import dataclass

_MASSES = """
    H 1.007947, D 2.0135532127, He 4.003, Li 6.9412, Be 9.0121823, B 10.8117, C 12.01078, N 14.00672, O 15.99943,
    F 18.99840325, Ne 20.17976, Na 22.989769282, Mg 24.30506, Al 26.98153868, Si 28.08553, P 30.9737622,
    S 32.0655, Cl 35.4532, Ar 39.9481, K 39.09831, Ca 40.0784, Sc 44.9559126, Ti 47.8671, V 50.94151,
    Cr 51.99616, Mn 54.9380455, Fe 55.8452, Co 58.9331955, Ni 58.69342, Cu 63.5463, Zn 65.4094, Ga 69.7231,
    Ge 72.641, As 74.921602, Se 78.963, Br 79.9041, Kr 83.7982, Rb 85.46783, Sr 87.621, Y 88.905852, Zr 91.2242,
    Nb 92.906382, Mo 95.942, Tc 98, Ru 101.072, Rh 102.905502, Pd 106.421, Ag 107.86822, Cd 112.4118,
    In 114.8183, Sn 118.7107, Sb 121.7601, Te 127.603, I 126.904473, Xe 131.2936, Cs 132.90545192, Ba 137.3277,
    La 138.905477, Ce 140.1161, Pr 140.907652, Nd 144.2423, Pm 145, Sm 150.362, Eu 151.9641, Gd 157.253,
    Tb 158.925352, Dy 162.5001, Ho 164.930322, Er 167.2593, Tm 168.934212, Yb 173.043, Lu 174.9671, Hf 178.492,
    Ta 180.947882, W 183.841, Re 186.2071, Os 190.233, Ir 192.2173, Pt 195.0849, Au 196.9665694, Hg 200.592,
    Tl 204.38332, Pb 207.21, Bi 208.980401, Po 209, At 210, Rn 222.018, Fr 223, Ra 226, Ac 227, Th 232.038062,
    Pa 231.035882, U 238.028913
"""
MASSES_AMU = {symbol: float(mass) for symbol, mass in (pair.split() for pair in _MASSES.split(","))}
"""Standard atomic masses, amu, by symbol, with the digits that OpenMM and MDTraj use; D is deuterium."""

WATERS = frozenset("HOH WAT SOL H2O DOD TIP TIP3 TIP4 TIP5 TP3 TP3M TP4 T3P T4P SPC SPCE OPC OH2 W3 HHO OHH".split())
"""Names of water molecules."""

AMINO_ACIDS = frozenset(
    "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL ASX GLX UNK ASH GLH LYN ARN "
    "CYX CYM HID HIE HIP HSD HSE HSP HISA HISB HISD HISE HISH HISP HIS1 HIS2 ASPH ASPP GLUH GLUP LYSH LSN LYP CYSH "
    "CYS1 CYS2 CYN MSE SEC PYL HYP SEP TPO PTR ORN NLE AIB PCA MLY M3L CSO CME KCX CGU DAL DAR DSG DAS DCY DGN DGL "
    "DHI DIL DLE DLY MED DPN DPR DSN DTH DTR DTY DVA ACE NME NMA NH2 NHE FOR".split()
)
"""Names of amino acids in the conventions of PDB, Amber, CHARMM and GROMACS, and of the caps of a chain."""

NUCLEOTIDES = frozenset(
    "A C G U I T DA DC DG DT DU DI RA RC RG RU A5 A3 C5 C3 G5 G3 U5 U3 DA5 DA3 DC5 DC3 DG5 DG3 DT5 DT3 RA5 RA3 RC5 RC3 "
    "RG5 RG3 RU5 RU3 ADE CYT GUA THY URA".split()
)
"""Names of nucleotides in the conventions of PDB, Amber and CHARMM."""

_IONS = {
    name: symbol
    for symbol, names in {
        "Li": "LI LIT LI+ LIP",
        "Na": "NA SOD NA+ NA1 NIO NAI SODIUM",
        "K": "K POT K+ K1 KIO",
        "Rb": "RB RUB RB+",
        "Cs": "CS CES CS+ CEZ",
        "F": "F F- FLA",
        "Cl": "CL CLA CL- CHL CLO CIO CHLORIDE",
        "Br": "BR BR- BRO",
        "I": "I IOD I- IDO",
        "Mg": "MG MG2 MG2+ MGP",
        "Ca": "CA CAL CA2 CA2+ C0",
        "Sr": "SR STR SR2",
        "Ba": "BA BAR BA2",
        "Mn": "MN MN2 MN3",
        "Fe": "FE FE2 FE3",
        "Co": "CO 3CO CO2",
        "Ni": "NI NI2 3NI",
        "Cu": "CU CU1 CU2",
        "Zn": "ZN ZN2 ZN2+ ZIN ZNB",
        "Cd": "CD CAD CD2",
        "Hg": "HG HG2 MERC",
        "Pb": "PB PB2",
        "Ag": "AG AG+",
        "Au": "AU AU3",
        "Al": "AL AL3",
        "Pt": "PT PT4",
        "Y": "YT3 Y",
        "Gd": "GD GD3",
        "Eu": "EU EU3",
        "Sm": "SM SM3",
        "Yb": "YB YB3 YB2",
        "La": "LA LA3",
        "Tb": "TB TB3",
        "Xe": "XE XEN",
        "Kr": "KR KRY",
        "Ar": "AR",
    }.items()
    for name in names.split()
}
"""Element of an atom that is alone in its residue, by the name of the atom or of the residue."""

_ION_RESIDUES = frozenset({"ION", "IONS", "ION+", "ION-"})
"""Residue names under which some programs put all ions."""

_AMINO_ACID_NAMES = (
    ("H", re.compile(r"\d?H.*")),
    ("D", re.compile(r"\d?D([ABGDEZHN]?\d{0,2}|H\d{1,2}|XT)")),
    ("C", re.compile(r"C([ABGDEZH]\d?|H\d|[1-9]|A?Y|AT|)")),
    ("N", re.compile(r"N([DEZHT]\d?|[1-9]|)")),
    ("O", re.compile(r"O([DEGHT]\d?|XT|CT?\d|[1-9]|[AT]|Y|)|O'|O''")),
    ("S", re.compile(r"S[GD]")),
)
_NUCLEOTIDE_NAMES = (
    ("H", re.compile(r"\d?H.*")),
    ("D", re.compile(r"\d?D(\d{1,2}['*]{0,2}|O[235]?['*]|[35]T)")),
    ("P", re.compile(r"P[ABG]?")),
    ("C", re.compile(r"C\d['*]?|C5M|C7")),
    ("N", re.compile(r"N\d")),
    ("O", re.compile(r"O\d['*]?|O[123][PABG]|OP\d|O5T|O3T")),
)
_WATER_SITES = re.compile(r"DO.*|OM")
"""Sites of polarizable water that are no deuterium and no oxygen: the Drude particle and the charge of SWM4."""

_EXTRA_PARTICLES = frozenset({"EP", "LP"})
"""What programs write into the element column of a site without mass: an extra point, a lone pair."""

_SELENIUM = re.compile(r"SE.?")

_CLEAR = {"CL": "Cl", "BR": "Br", "FE": "Fe", "SE": "Se", "SI": "Si"}
"""Names of two letters that mean an element in any molecule: no convention uses them for C, B, F or S."""

_ONE_LETTER = frozenset("BCFHINOPSV")
"""Elements of one letter that ligands contain."""

COVALENT_NM = 0.165
"""An atom this close to another one is no metal: C-C is 0.154 nm, and a metal's neighbors are beyond 0.18 nm."""

HYDROGEN_NM = 0.125
"""An atom named like hydrogen and this close to another one is no metal; bonds of hydrogen are up to 0.115 nm long."""

_FAR_NM = 0.25
"""If an atom of a ligand has no neighbor within this distance, it is a coarse-grained bead or its name misleads."""

COARSE = "is a coarse-grained bead and no atom"
"""How the reason begins why an atom far from all others of its residue has no element."""


@dataclass(frozen=True)
class Site:
    """The entries of a structure file about one atom.

    Attributes:
        residue_name: Name of its residue.
        name: Its own name.
        declared: The text in the element column, "" if it is empty.
        alone: Whether it is the only atom of its residue.
        nearest_nm: Distance to the nearest other atom of its residue, nm; infinite if unknown.
        indented: Whether a PDB file leaves the first column of the name blank, as for elements of one letter.
    """

    residue_name: str
    name: str
    declared: str = ""
    alone: bool = False
    nearest_nm: float = float("inf")
    indented: bool = False


def symbol_of(text: str) -> str:
    """The element symbol that a text means, without a charge behind it; "" if it means none."""
    symbol = text.strip().rstrip("+-0123456789").title()
    return symbol if symbol in MASSES_AMU else ""


def find_element(site: Site) -> tuple[str, str]:
    """Find the element of an atom.

    An element that the file declares is believed, unless the names of residue and atom contradict it beyond doubt
    (the C-alpha of an amino acid is no calcium). In that case no element is returned, and the reason names both.

    Returns:
        The element symbol and ""; or "" and the reason why the element is unknown, as a predicate for a message.
    """
    expected = _by_residue(site)
    declared = symbol_of(site.declared)
    if site.declared.upper() in _EXTRA_PARTICLES:
        return "", f'is "{site.declared}" by its element column, a site that is no atom'
    if declared:
        if expected and expected != declared and {expected, declared} != {"H", "D"}:
            return "", f"is {declared} by its element column but {expected} by its residue and name"
        return declared, ""
    symbol = expected
    if not expected and not is_water(site.residue_name):
        symbol = _by_ion(site) if site.alone else _by_name(site)
    if symbol:
        return symbol, ""
    if _FAR_NM < site.nearest_nm < float("inf"):
        return "", f"{COARSE} (its nearest neighbor in its residue is {site.nearest_nm:.2f} nm away)"
    return "", "has no element, and its residue and name do not tell which it is"


def is_amino_acid(residue_name: str) -> bool:
    """Whether a residue is named like an amino acid or a cap, also with Amber's N or C for the end of a chain."""
    name = residue_name.upper()
    return name in AMINO_ACIDS or (len(name) == 4 and name[0] in "NC" and name[1:] in AMINO_ACIDS)


def is_water(residue_name: str) -> bool:
    """Whether a residue is named like water, in capitals or not."""
    return residue_name.upper() in WATERS


def hydrogen_name(residue_name: str, name: str) -> str:
    """The name that an atom has in a residue without deuterium: HB2 for DB2; other names are returned as they are."""
    if _by_residue(Site(residue_name, name)) != "D":
        return name
    return name.upper().replace("D", "H", 1)


def is_ion(residue_name: str, name: str) -> bool:
    """Whether an atom that is alone in a residue of this name is an ion of the table."""
    return residue_name.upper() in _IONS or name.upper() in _IONS and residue_name.upper() == name.upper()


def _by_residue(site: Site) -> str:
    """The element that the names of residue and atom give beyond doubt, "" if they do not."""
    name, residue = site.name.upper(), site.residue_name.upper()
    if residue in WATERS:
        first = "" if _WATER_SITES.fullmatch(name) else name.lstrip("0123456789")[:1]
        return first if first in {"O", "H", "D"} else ""
    if is_amino_acid(site.residue_name):
        if residue in ("MSE", "SEC") and _SELENIUM.fullmatch(name):
            return "Se"
        return _first_match(name, _AMINO_ACID_NAMES)
    if site.residue_name in NUCLEOTIDES and not (site.alone and name == site.residue_name):
        return _first_match(name, _NUCLEOTIDE_NAMES)
    return ""


def _first_match(name: str, patterns: tuple[tuple[str, re.Pattern[str]], ...]) -> str:
    return next((symbol for symbol, pattern in patterns if pattern.fullmatch(name)), "")


def _by_ion(site: Site) -> str:
    """The element of an atom that is alone in its residue (often an ion); "" if its two names do not tell it."""
    residue, name = site.residue_name.upper(), site.name.upper()
    if residue in _IONS or residue in _ION_RESIDUES:
        found = {_IONS[text] for text in (residue, name) if text in _IONS}
        return found.pop() if len(found) == 1 else ""
    letters = name.strip("0123456789+-'*\"")
    if len(letters) == 1 and letters in _ONE_LETTER - {"B", "V"}:
        return letters
    return ""


def _by_name(site: Site) -> str:
    """The element of an atom of a ligand, from the letters its name begins with and the distance of its neighbor."""
    letters = re.match(r"[0-9'*\"]*([A-Z]*)", site.name.upper())
    two = letters.group(1)[:2] if letters else ""
    one = two[:1]
    if site.nearest_nm > _FAR_NM:
        return ""
    if two in _CLEAR:
        return _CLEAR[two]
    metal = two.title() if len(two) == 2 and two.title() in MASSES_AMU else ""
    if one not in _ONE_LETTER:
        return metal
    if not metal:
        return one
    near = HYDROGEN_NM if one == "H" else COVALENT_NM
    return one if site.nearest_nm < near or site.indented else ""
