"""Draws the pictures of the documentation from runs of its own: `make figures`, four minutes.

    python docs/figures.py

`path.svg` shows a path of the shipped recipe and its energy. `ramachandran.svg` shows this path and one that turns
phi the other way, on the force field's energy as a function of (phi, psi). `flow.svg` shows what the parts of tpsctl
hand to one another. `valine_routes.svg` is the figure `routes.svg` of the run in docs/getting_started.md.
"""

import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
RECIPE = ROOT / "recipes" / "alanine_dipeptide.yaml"
SADDLE_KJ_PER_MOL = 36.37
SADDLE_DEG = (-2, -26)
"""Found by eigenvector following on the force field alone, `python -m benchmarks.alanine_reference`."""

INK, BLUE, RED, GRAY, PAPER = "#263238", "#00796b", "#c2410c", "#78909c", "#ffffff"
COLORS = {"C": "#455a64", "N": "#1e66d0", "O": "#d32f2f", "H": "#eceff1"}
SIZES = {"C": 190, "N": 190, "O": 190, "H": 60}
STYLE = {
    "svg.fonttype": "path",
    "svg.hashsalt": "tpsctl",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRAY,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
}


def main() -> None:
    plt.rcParams.update(STYLE)
    draw_flow()
    with tempfile.TemporaryDirectory() as folder:
        short = run(Path(folder, "short"))
        long = run(Path(folder, "long"), "--set", "path.guess={kind: torsion, long_way: 1}")
        draw_path(short)
        draw_ramachandran(short, long)
        copy_tutorial(Path(folder, "my-molecule"))


def run(out: Path, *changes: str) -> dict[str, Any]:
    """One path of the shipped recipe: positions (image, atom, 3) in nm, topology, and the columns of images.csv."""
    import mdtraj

    command = [sys.executable, "-m", "tpsctl", "sample", str(RECIPE), "--out", str(out), "--set", "path.paths=1"]
    done = subprocess.run([*command, *changes], check=False, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        sys.exit(f"the run in {out} failed with exit code {done.returncode}:\n{done.stderr}")
    path = mdtraj.load(out / "paths" / "path_0000.dcd", top=out / "topology.pdb")
    with (out / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0] if is_number(rows, name)}
    return {"x": path.xyz, "topology": path.topology, "columns": columns}


def copy_tutorial(folder: Path) -> None:
    """The routes of valine dipeptide, as the commands of the tutorial draw them."""
    subprocess.run([sys.executable, ROOT / "examples" / "valine_dipeptide.py", folder], check=True)
    for end in ("start", "end"):
        tpsctl("prepare", folder / f"raw_{end}.pdb", folder / f"{end}.pdb")
    field = ("--force-field", "amber14-all.xml")
    tpsctl("init", folder / "start.pdb", folder / "end.pdb", *field, "--out", folder / "recipe.yaml")
    tpsctl("sample", folder / "recipe.yaml", "--set", "endpoints.minimize=true")
    shutil.copyfile(folder / "runs" / "my-molecule" / "figures" / "routes.svg", FIGURES / "valine_routes.svg")


def tpsctl(*words: str | Path) -> None:
    """Run a command; it must end well."""
    subprocess.run([sys.executable, "-m", "tpsctl", *map(str, words)], check=True)


def is_number(rows: list[dict[str, str]], name: str) -> bool:
    return rows[0][name] not in ("true", "false")


def draw_path(found: dict[str, Any]) -> None:
    """Five images of the molecule above the energy of all of them."""
    energy = found["columns"]["energy_raw_above_start_kj_per_mol"]
    gap = np.nan_to_num(found["columns"]["gap_to_next_nm"])
    place = np.concatenate([[0.0], np.cumsum(gap)[:-1]])
    place = place / place[-1]
    top = int(energy.argmax())
    shown = [0, int(np.abs(place - place[top] / 2).argmin()), top]
    shown += [int(np.abs(place - (1 + place[top]) / 2).argmin()), len(energy) - 1]
    figure = plt.figure(figsize=(8.2, 5.0))
    grid = figure.add_gridspec(
        2, 5, height_ratios=(1, 1.15), hspace=0.22, wspace=0, left=0.085, right=0.985, top=0.99, bottom=0.125
    )
    x = oriented(found["x"], found["topology"])
    names = {0: "A: C7eq", top: "top", len(energy) - 1: "B: C7ax"}
    for column, image in enumerate(shown):
        axes = figure.add_subplot(grid[0, column])
        draw_molecule(axes, x[image], found["topology"], x)
        axes.set_title(names.get(image, f"image {image}"), fontsize=10, y=-0.16, color=INK)
    axes = figure.add_subplot(grid[1, :])
    axes.axhline(SADDLE_KJ_PER_MOL, color=RED, linewidth=1, linestyle=(0, (5, 4)))
    axes.text(
        0.0, SADDLE_KJ_PER_MOL + 0.8, "saddle of the force field, found without tpsctl: 36.4", color=RED, va="bottom"
    )
    axes.plot(place, energy, color=BLUE, linewidth=1.6, marker="o", markersize=3)
    axes.plot(
        place[shown], energy[shown], linestyle="none", marker="o", markersize=8, color=BLUE, markeredgecolor=PAPER
    )
    axes.set(
        xlabel="distance along the path, as a fraction",
        ylabel="energy above A (kJ/mol)",
        ylim=(-2.5, 43),
        xlim=(-0.02, 1.02),
    )
    save(figure, "path")


def oriented(x: np.ndarray, topology: Any) -> np.ndarray:
    """All images turned alike, so that the heavy atoms lie as flat as they can."""
    heavy = [atom.index for atom in topology.atoms if atom.element.symbol != "H"]
    centered = x - x[:, heavy].mean(axis=1, keepdims=True)
    _, _, axes = np.linalg.svd(centered[:, heavy].reshape(-1, 3), full_matrices=False)
    turned = centered @ axes.T
    return turned if np.linalg.det(axes) > 0 else turned * np.array([1.0, 1.0, -1.0])


def draw_molecule(axes: Any, x: np.ndarray, topology: Any, all_images: np.ndarray) -> None:
    """Balls and sticks; what is farther away is drawn first."""
    for a, b in topology.bonds:
        depth = (x[a.index, 2] + x[b.index, 2]) / 2
        width = 1.3 if "H" in (a.element.symbol, b.element.symbol) else 3
        axes.plot(
            *x[[a.index, b.index], :2].T, color="#90a4ae", linewidth=width, zorder=2 + depth, solid_capstyle="round"
        )
    for atom in topology.atoms:
        kind, place = atom.element.symbol, x[atom.index]
        axes.scatter(
            *place[:2], s=SIZES[kind], color=COLORS[kind], edgecolors="#607d8b", linewidths=0.6, zorder=2.001 + place[2]
        )
    low, high = all_images[..., :2].min(axis=(0, 1)) - 0.03, all_images[..., :2].max(axis=(0, 1)) + 0.03
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.axis("off")


def draw_ramachandran(short: dict[str, Any], long: dict[str, Any]) -> None:
    """Both paths on the energy of the force field, relaxed at fixed (phi, psi)."""
    degrees, energy = landscape()
    figure, axes = plt.subplots(figsize=(6.2, 5.2), layout="constrained")
    levels = np.arange(0, 101, 10)
    filled = axes.contourf(degrees, degrees, np.clip(energy.T, 0, 100), levels=levels, cmap="GnBu", extend="max")
    axes.contour(degrees, degrees, energy.T, levels=levels, colors="#455a64", linewidths=0.4, alpha=0.5)
    for found, color, name in ((short, RED, "shipped recipe"), (long, "#6a1b9a", "φ turned the other way")):
        phi, psi = (found["columns"][f"{angle}_ala2_deg"] for angle in ("phi", "psi"))
        axes.plot(*broken_at_the_edge(phi, psi), color=color, linewidth=1.4, marker="o", markersize=2.6, label=name)
    axes.plot(
        *SADDLE_DEG,
        marker="*",
        markersize=14,
        color="#ffd600",
        markeredgecolor=INK,
        linestyle="none",
        label="saddle, 36.4 kJ/mol",
    )
    for name, phi, psi in (("C7eq", -78, 54), ("C7ax", 60, -41)):
        axes.annotate(name, (phi, psi), xytext=(6, 8), textcoords="offset points", weight="bold")
    axes.set(
        xlabel="φ (degrees)",
        ylabel="ψ (degrees)",
        xlim=(-180, 180),
        ylim=(-180, 180),
        xticks=range(-180, 181, 60),
        yticks=range(-180, 181, 60),
    )
    figure.legend(loc="outside lower center", fontsize=8.5, ncols=3, frameon=False, columnspacing=1)
    figure.colorbar(filled, ax=axes, label="energy above C7eq (kJ/mol)")
    save(figure, "ramachandran")


def broken_at_the_edge(phi: np.ndarray, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve with a gap wherever it leaves the map on one side and enters it on the other."""
    jumps = np.flatnonzero((np.abs(np.diff(phi)) > 180) | (np.abs(np.diff(psi)) > 180)) + 1
    return np.insert(phi, jumps, np.nan), np.insert(psi, jumps, np.nan)


def landscape(points: int = 37) -> tuple[np.ndarray, np.ndarray]:
    """Energy above C7eq (phi, psi) in kJ/mol, all else minimized, amber99sbildn in vacuum."""
    import openmm
    from openmm import app, unit

    pdb = app.PDBFile(str(RECIPE.with_suffix("") / "c7eq.pdb"))
    system = app.ForceField("amber99sbildn.xml").createSystem(pdb.topology)
    index = {(atom.residue.name, atom.name): atom.index for atom in pdb.topology.atoms()}
    phi = [index[key] for key in (("ACE", "C"), ("ALA", "N"), ("ALA", "CA"), ("ALA", "C"))]
    psi = [index[key] for key in (("ALA", "N"), ("ALA", "CA"), ("ALA", "C"), ("NME", "N"))]
    for name, atoms in (("phi0", phi), ("psi0", psi)):
        force = openmm.CustomTorsionForce(f"2000*(1-cos(theta-{name}))")
        force.addGlobalParameter(name, 0.0)
        force.addTorsion(*atoms)
        force.setForceGroup(1)
        system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(pdb.positions)

    def energy() -> float:
        return context.getState(energy=True, groups={0}).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)

    least, degrees = energy(), np.linspace(-180, 180, points)
    found = np.full((points, points), np.inf)
    for start_phi, start_psi in ((-78, 54), (60, -41)):  # each place is reached from both minima; the lower one counts
        context.setPositions(pdb.positions)
        for i in sorted(range(points), key=lambda i: abs(degrees[i] - start_phi)):
            for j in sorted(range(points), key=lambda j: abs(degrees[j] - start_psi)):
                context.setParameter("phi0", np.radians(degrees[i]))
                context.setParameter("psi0", np.radians(degrees[j]))
                openmm.LocalEnergyMinimizer.minimize(context, 1.0, 200)
                found[i, j] = min(found[i, j], energy() - least)
    found[-1], found[:, -1] = np.minimum(found[0], found[-1]), np.minimum(found[:, 0], found[:, -1])
    found[0], found[:, 0] = found[-1], found[:, -1]
    return degrees, found


BOXES = [  # name, what it does, column, row
    ("endpoints", "matched,\nsuperposed", 0, 1),
    ("prior", "score ∇ log p", 1, 2),
    ("guess", "a first path", 1, 1),
    ("action", "how improbable\na path is", 2, 2),
    ("optimize", "least action,\nends fixed", 2, 1),
    ("validation", "gate,\nenergies", 3, 1),
    ("output", "files,\nfigures", 4, 1),
]
ARROWS = [  # from, to, what is handed over
    ("endpoints", "guess", "A, B"),
    ("prior", "action", "score"),
    ("guess", "optimize", "path"),
    ("action", "optimize", "S and ∇S"),
    ("optimize", "validation", "path"),
    ("validation", "output", "verdict"),
]


def draw_flow() -> None:
    """The stages of `tpsctl sample` as boxes, and what each hands to the next."""
    figure, axes = plt.subplots(figsize=(8.6, 2.75))
    figure.subplots_adjust(0, 0, 1, 1)
    width, height, center = 1.25, 0.62, {}
    for name, does, column, row in BOXES:
        x, y = 2.1 * column, 1.2 * row
        center[name] = (x, y)
        box = matplotlib.patches.FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0.06",
            facecolor="#e0f2f1",
            edgecolor=BLUE,
        )
        axes.add_patch(box)
        axes.text(x, y + 0.16, name, ha="center", va="center", weight="bold", fontsize=11)
        axes.text(x, y - 0.13, does, ha="center", va="center", fontsize=8.5)
    for start, end, what in ARROWS:
        (x0, y0), (x1, y1) = center[start], center[end]
        if x0 == x1:
            a, b, label = (x0, y0 - height / 2 - 0.07), (x1, y1 + height / 2 + 0.07), (x0 + 0.08, (y0 + y1) / 2)
        else:
            a, b, label = (x0 + width / 2 + 0.07, y0), (x1 - width / 2 - 0.07, y1), ((x0 + x1) / 2, y0 + 0.13)
        axes.annotate("", b, a, arrowprops={"arrowstyle": "-|>", "color": GRAY, "linewidth": 1.4})
        axes.text(*label, what, ha="left" if x0 == x1 else "center", va="center", fontsize=9, color=INK)
    axes.set(xlim=(-0.85, 9.25), ylim=(0.55, 2.95))
    axes.axis("off")
    save(figure, "flow")


def save(figure: Any, name: str) -> None:
    place = FIGURES / f"{name}.svg"
    figure.savefig(place, metadata={"Date": None})
    plt.close(figure)
    print(f"{place.relative_to(ROOT)}: {place.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
