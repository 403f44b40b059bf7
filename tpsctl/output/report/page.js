// What is selected, and the parts of the page that show and change it.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

const state = {
  curves: data.curves, path: 0, image: 0, kind: null,
  choose(path, image) {
    this.path = Math.max(0, Math.min(this.curves.length - 1, path));
    this.image = Math.max(0, Math.min(this.curves[this.path].distance.length - 1, image));
    showSelection();
  },
};
let viewer = null, playing = null;
const redraws = [];

function addCard(title, draw, group) {
  const id = `plot-${redraws.length}`;
  const card = htmlElement("div", { class: "card" });
  const plot = htmlElement("div", { class: "plot", id });
  const legend = htmlElement("div", { class: "legend" });
  card.append(htmlElement("h2", {}, title), plot, legend);
  byId("bench").append(card);
  if (group) chooseByKey(plot, state);
  redraws.push(() => draw(plot, legend));
}

function buildPlots() {
  for (const plane of data.planes) addCard(plane.title, (plot, legend) => drawPlane(plot, legend, state, plane), true);
  for (const panel of data.panels) addCard(`Ramachandran plot, ${panel.residue}`, (plot, legend) => drawRamachandran(plot, legend, state, panel), true);
  if (data.panels_note) byId("bench").append(htmlElement("p", { class: "note" }, data.panels_note));
  if (data.action) {
    addCard("Action against step", (plot) => drawAction(plot, state, data.action));
    if (Object.keys(data.action.terms).length) addCard("Terms of the action", (plot, legend) => drawTerms(plot, legend, data.action));
  }
}

function buildControls() {
  byId("path").replaceChildren(...data.curves.map((curve, p) => htmlElement("option", { value: p }, curve.name + (curve.valid ? "" : " (not valid)"))));
  byId("path").addEventListener("change", (event) => state.choose(Number(event.target.value), state.image));
  byId("image").addEventListener("input", (event) => state.choose(state.path, Number(event.target.value)));
  byId("play").addEventListener("click", togglePlay);
  const kinds = [...new Set(data.curves.flatMap((curve) => Object.keys(curve.energies)))];
  state.kind = kinds[0] || null;
  byId("kind").replaceChildren(...kinds.map((kind) => htmlElement("option", { value: kind }, kind)));
  byId("kind").closest(".controls").hidden = kinds.length < 2;
  byId("kind").addEventListener("change", (event) => { state.kind = event.target.value; showSelection(); });
  for (const button of document.querySelectorAll("button.path")) {
    button.addEventListener("click", () => {
      const path = Number(button.dataset.path);
      state.choose(path, "image" in button.dataset ? Number(button.dataset.image) : highestImage(path));
      byId("bench").scrollIntoView({ block: "start" });
    });
  }
  chooseByKey(byId("energy"), state);
  buildLegend();
}

// One entry for every route or channel, if there are several; it chooses the group's first path.
function buildLegend() {
  const groups = [...new Set(data.curves.map((curve) => curve.group))].sort((a, b) => a - b);
  if (groups.length < 2) return;
  byId("energy-legend").replaceChildren(...groups.map((group) => {
    const first = data.curves.findIndex((curve) => curve.group === group);
    const entry = legendEntry(data.curves[first].group_name, seriesColor(group), data.curves[first].valid);
    const button = htmlElement("button", { type: "button" });
    button.append(entry);
    button.addEventListener("click", () => state.choose(first, highestImage(first)));
    return button;
  }));
}

function highestImage(path) {
  const energy = state.kind ? state.curves[path].energies[state.kind] : [];
  let best = 0;
  energy.forEach((value, i) => { if (isNumber(value) && !(value <= energy[best])) best = i; });
  return best;
}

function togglePlay() {
  const button = byId("play");
  if (playing) { clearInterval(playing); playing = null; }
  else {
    if (state.image >= state.curves[state.path].distance.length - 1) state.choose(state.path, 0);
    playing = setInterval(() => {
      const last = state.curves[state.path].distance.length - 1;
      if (state.image >= last) togglePlay(); else state.choose(state.path, state.image + 1);
    }, 80);
  }
  button.textContent = playing ? "Pause" : "Play";
  button.setAttribute("aria-pressed", String(Boolean(playing)));
}

function selectionText() {
  const curve = state.curves[state.path];
  const parts = [`${curve.name}, image ${state.image} of ${curve.distance.length - 1}`];
  for (const [kind, energy] of Object.entries(curve.energies)) {
    if (isNumber(energy[state.image])) parts.push(`${kind} ${energy[state.image].toFixed(2)} kJ/mol`);
  }
  for (const panel of data.panels.slice(0, 2)) {
    parts.push(`${panel.residue} φ ${panel.phi[state.path][state.image].toFixed(0)}°, ψ ${panel.psi[state.path][state.image].toFixed(0)}°`);
  }
  return parts.join("; ");
}

function showSelection() {
  const curve = state.curves[state.path];
  byId("path").value = state.path;
  byId("image").max = curve.distance.length - 1;
  byId("image").value = state.image;
  byId("selected").textContent = selectionText();
  if (state.kind) byId("energy-note").textContent = drawEnergy(byId("energy"), state, data);
  for (const redraw of redraws) redraw();
  if (viewer) viewer.show(state.path, state.image);
}

async function buildViewer() {
  let why = data.frames_note;
  if (data.frames && !hasWebGL()) why = "This browser offers no WebGL, so the structures are not shown.";
  else if (data.frames) {
    viewer = new StructureViewer(byId("viewer"), data.frames, await unpackFrames(data.frames));
    viewer.lastImage = data.curves[0].distance.length - 1;
    await viewer.show(state.path, state.image);
    window.tpsctlViewer = viewer;
  }
  byId("viewer-note").textContent = why;
  if (viewer) return;
  byId("viewer").hidden = true;
  byId("viewer-title").textContent = "Selected image";
  byId("viewer-card").classList.add("empty");
}

function start() {
  if (!data.curves.length) {
    byId("bench").hidden = true;
    byId("viewer-card").classList.add("empty");
    return;
  }
  buildControls();
  buildPlots();
  state.choose(0, highestImage(0));
  buildViewer();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; showSelection(); } });
}

start();
