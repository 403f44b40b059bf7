// The plots of the page. Each draws itself for the selected path and image, and says which point was clicked.

const unfinite = (values) => values.filter(isNumber);
const widened = (low, high, by) => { const span = Math.max(high - low, 1e-9); return [low - by * span, high + by * span]; };

// Lines of all paths, the selected one last and thick, with a mark at the selected image.
// xs(p), ys(p) are the points of path p; names of invalid paths are dashed.
function drawPaths(plot, state, xs, ys, gap) {
  const order = state.curves.map((_, p) => p).filter((p) => p !== state.path).concat(state.path);
  for (const p of order) {
    const curve = state.curves[p], chosen = p === state.path;
    const gaps = gap ? gap(p) : undefined;
    if (chosen) plot.line(xs(p), ys(p), { class: "halo" }, gaps);
    plot.line(xs(p), ys(p), {
      class: `series${curve.valid ? "" : " invalid"}${chosen ? " chosen" : ""}`, stroke: seriesColor(curve.group), "data-path": p,
    }, gaps);
  }
  const x = xs(state.path), y = ys(state.path), last = x.length - 1;
  plot.mark(x[0], y[0], { r: 3.5, fill: seriesColor(state.curves[state.path].group) });
  plot.mark(x[last], y[last], { r: 3.5, fill: seriesColor(state.curves[state.path].group) });
  plot.mark(x[state.image], y[state.image], { class: "here" });
}

// Lets a plot choose: a click the nearest point, arrow keys the neighbors.
function letChoose(plot, container, state, xs, ys) {
  container.tabIndex = 0;
  plot.svg.style.cursor = "crosshair";
  plot.svg.addEventListener("click", (event) => {
    const [x, y] = plot.pointer(event);
    let best = Infinity, found = null;
    state.curves.forEach((_, p) => {
      const px = xs(p), py = ys(p);
      for (let i = 0; i < px.length; i++) {
        if (!isNumber(px[i]) || !isNumber(py[i])) continue;
        const distance = (plot.px(px[i]) - x) ** 2 + (plot.py(py[i]) - y) ** 2 + (p === state.path ? 0 : 1);
        if (distance < best) { best = distance; found = [p, i]; }
      }
    });
    if (found) state.choose(...found);
  });
}

function chooseByKey(container, state) {
  container.addEventListener("keydown", (event) => {
    const last = state.curves[state.path].distance.length - 1;
    const goal = {
      ArrowLeft: [state.path, state.image - 1], ArrowRight: [state.path, state.image + 1],
      ArrowUp: [state.path - 1, state.image], ArrowDown: [state.path + 1, state.image],
      Home: [state.path, 0], End: [state.path, last],
    }[event.key];
    if (!goal) return;
    event.preventDefault();
    state.choose(...goal);
  });
}

function energyLimits(state, kinds, ceiling) {
  const values = kinds.flatMap((kind) => state.curves.flatMap((curve) => unfinite(curve.energies[kind] || [])));
  const low = Math.min(0, ...values.filter((value) => value > -2.5 * ceiling));
  return [low - 0.05 * (ceiling - low), ceiling + 0.06 * (ceiling - low)];
}

function drawEnergy(container, state, data) {
  const kind = state.kind;
  const xs = (p) => state.curves[p].distance, ys = (p) => state.curves[p].energies[kind];
  const end = Math.max(...state.curves.flatMap((curve) => unfinite(curve.distance)), 1e-9);
  const y = energyLimits(state, [kind], data.ceiling);
  const plot = new Plot(container, {
    x: [0, end], y, xLabel: data.distance_label, yLabel: "E − E(A)  (kJ/mol)",
    label: `Energy along ${state.curves.length} paths; arrow keys choose an image`,
  });
  drawPaths(plot, state, xs, ys);
  letChoose(plot, container, state, xs, ys);
  const beyond = state.curves.filter((curve) => Math.max(...unfinite(curve.energies[kind])) > y[1]).length;
  const unknown = state.curves.filter((curve) => unfinite(curve.energies[kind]).length < curve.distance.length).length;
  return [
    beyond ? `${counted(beyond, "path")} beyond this axis.` : "",
    unknown ? `${counted(unknown, "path")} with images without an energy.` : "",
    state.curves.some((curve) => !curve.valid) ? "Dashed: paths that failed the geometry gate." : "",
  ].filter(Boolean).join(" ");
}

const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

function drawRamachandran(container, legend, state, panel) {
  const xs = (p) => panel.phi[p], ys = (p) => panel.psi[p];
  const ticks = [-180, -120, -60, 0, 60, 120, 180];
  const plot = new Plot(container, {
    x: [-180, 180], y: [-180, 180], xTicks: ticks, yTicks: ticks, square: true,
    xLabel: "φ (degrees)", yLabel: "ψ (degrees)", label: `Ramachandran plot of ${panel.residue}; arrow keys choose an image`,
  });
  const turned = (values, i) => Math.abs(values[i] - values[i - 1]) > 180;
  drawBehind(plot, legend, panel);
  drawPaths(plot, state, xs, ys, (p) => (i) => turned(xs(p), i) || turned(ys(p), i));
  letChoose(plot, container, state, xs, ys);
}

function drawPlane(container, legend, state, plane) {
  const xs = (p) => plane.x[p], ys = (p) => plane.y[p];
  const limits = (values, middles) => middles
    ? [1.5 * middles[0] - 0.5 * middles[1], 1.5 * middles[middles.length - 1] - 0.5 * middles[middles.length - 2]]
    : widened(Math.min(...values), Math.max(...values), 0.15);
  const plot = new Plot(container, {
    x: limits(plane.x.flat(), plane.shading && plane.shading.x), y: limits(plane.y.flat(), plane.shading && plane.shading.y),
    square: true, xLabel: plane.x_label, yLabel: plane.y_label, label: `${plane.title}; arrow keys choose an image`,
  });
  drawBehind(plot, legend, plane);
  drawPaths(plot, state, xs, ys);
  letChoose(plot, container, state, xs, ys);
}

// What lies behind the paths: an energy in shades, and the middle of an ensemble of transition paths.
function drawBehind(plot, legend, { shading, tube, note }) {
  const entries = [];
  if (shading) entries.push(shadeEnergy(plot, shading));
  if (tube) entries.push(drawTube(plot, tube));
  if (note) entries.push(htmlElement("span", {}, note));
  legend.replaceChildren(...entries);
}

// Shades of equal steps of the energy, the lowest one strongest; returns their legend.
function shadeEnergy(plot, shading) {
  const values = unfinite(shading.values.flat()).sort((a, b) => a - b);
  const low = values[0], span = Math.max(values[Math.floor(shading.shown * (values.length - 1))] - low, 1e-9);
  const step = ticksBetween(0, span, 9)[1] || span;
  const levels = Array.from({ length: Math.max(1, Math.ceil(span / step - 1e-9)) }, () => "");
  const halfX = (shading.x[1] - shading.x[0]) / 2, halfY = (shading.y[1] - shading.y[0]) / 2;
  shading.y.forEach((y, row) => shading.x.forEach((x, column) => {
    const value = shading.values[row][column];
    const level = isNumber(value) ? Math.floor((value - low) / step) : levels.length;
    if (level >= levels.length) return;
    const left = plot.px(x - halfX), right = plot.px(x + halfX), foot = plot.py(y - halfY), top = plot.py(y + halfY);
    levels[level] += `M${left.toFixed(1)},${top.toFixed(1)}H${right.toFixed(1)}V${foot.toFixed(1)}H${left.toFixed(1)}z`;
  }));
  const opacity = (level) => (0.62 * (levels.length - level) / levels.length).toFixed(3);
  levels.forEach((d, level) => d && svgElement("path", { d, fill: "var(--shade)", opacity: opacity(level), "shape-rendering": "crispEdges" }, plot.lines));
  const entry = htmlElement("span", { class: "shades" });
  entry.append(`${shading.name} (kJ/mol) from`);
  levels.forEach((_, level) => {
    const swatch = htmlElement("span");
    swatch.append(htmlElement("i", { style: `opacity: ${opacity(level)}` }), ` ${shownNumber(level * step)}`);
    entry.append(swatch);
  });
  return entry;
}

function drawTube(plot, tube) {
  const wide = (pixel, value, deviation) => Math.abs(pixel(value + deviation) - pixel(value));
  tube.x.forEach((x, i) => svgElement("ellipse", {
    class: "tube", cx: plot.px(x), cy: plot.py(tube.y[i]),
    rx: wide((v) => plot.px(v), x, tube.x_deviation[i]), ry: wide((v) => plot.py(v), tube.y[i], tube.y_deviation[i]),
  }, plot.lines));
  const turned = (values, i) => Math.abs(values[i] - values[i - 1]) > 180;
  plot.line(tube.x, tube.y, { class: "tube-axis" }, (i) => turned(tube.x, i) || turned(tube.y, i));
  return htmlElement("span", {}, "Dotted: mean of the ensemble of transition paths, with ellipses of one standard deviation.");
}

function actionLimits(rows) {
  const values = unfinite(rows.flat());
  const positive = values.every((value) => value > 0);
  const low = Math.min(...values), high = Math.max(...values);
  const logarithmic = positive && high > 5 * low;
  return { logarithmic, y: logarithmic ? [low / 1.15, high * 1.15] : widened(low, high, 0.06) };
}

function drawAction(container, state, action) {
  const totals = state.curves.map((_, p) => action.total.map((row) => row[p]));
  const plot = new Plot(container, {
    x: widened(action.steps[0], action.steps[action.steps.length - 1], 0.01), ...actionLimits(totals),
    xLabel: "optimizer step", yLabel: "total action", label: "Total action of every path against the optimizer step",
  });
  drawStages(plot, action);
  const order = state.curves.map((_, p) => p).filter((p) => p !== state.path).concat(state.path);
  for (const p of order) {
    const kind = `series${state.curves[p].valid ? "" : " invalid"}${p === state.path ? " chosen" : ""}`;
    plot.line(action.steps, totals[p], { class: kind, stroke: seriesColor(state.curves[p].group) });
  }
}

function drawTerms(container, legend, action) {
  const names = Object.keys(action.terms);
  const plot = new Plot(container, {
    x: widened(action.steps[0], action.steps[action.steps.length - 1], 0.01), ...actionLimits(Object.values(action.terms)),
    xLabel: "optimizer step", yLabel: "median over the paths", label: "Terms of the action against the optimizer step",
  });
  drawStages(plot, action);
  names.forEach((name, k) => plot.line(action.steps, action.terms[name], { class: "series chosen", stroke: seriesColor(k) }));
  legend.replaceChildren(...names.map((name, k) => legendEntry(name, seriesColor(k), true)));
}

function drawStages(plot, action) {
  if (action.stages.length < 2) return;
  for (const [step, name] of action.stages) {
    const x = plot.px(step);
    svgElement("line", { class: "axis", x1: x, x2: x, y1: plot.margin.top, y2: plot.height - plot.margin.bottom, "stroke-dasharray": "2 3" }, plot.lines);
    plot.text(name.split(" ")[0].replace(/\.$/, ""), x + 3, plot.margin.top + 11, "start");
  }
}

function legendEntry(name, color, solid) {
  const entry = htmlElement("span");
  const swatch = svgElement("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, entry);
  svgElement("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: color, "stroke-width": 3, "stroke-dasharray": solid ? "" : "6 4" }, swatch);
  entry.append(` ${name}`);
  return entry;
}
