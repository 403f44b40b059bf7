// One plot as SVG: axes with round numbers, lines, dots, and a mark for the selected image.

const SVG = "http://www.w3.org/2000/svg";
const isNumber = (value) => typeof value === "number";

function svgElement(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  if (parent) parent.appendChild(element);
  return element;
}

function htmlElement(name, attributes, text) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const seriesColor = (group) => `var(--s${group % 8})`;

// Round numbers between two limits, about `count` of them.
function ticksBetween(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((size) => size >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

function decadesBetween(low, high) {
  const found = [];
  const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
  const every = Math.max(1, Math.ceil((last - first + 1) / 6));
  for (let k = first; k <= last; k += every) found.push(10 ** k);
  return found.length > 1 ? found : ticksBetween(low, high, 4).filter((value) => value > 0);
}

const shownNumber = (value) =>
  Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3)
    ? value.toExponential(0).replace("e+", "e") : String(Number(value.toPrecision(4)));

// Axes in a container. options: x, y (limits), xLabel, yLabel, xTicks, yTicks, logarithmic, square, label.
class Plot {
  constructor(container, options) {
    this.options = options;
    const width = Math.max(300, container.clientWidth || 560);
    const margin = this.margin = { left: 56, right: 12, top: 10, bottom: 42 };
    const height = options.square ? width - margin.left - margin.right + margin.top + margin.bottom : Math.min(380, width * 0.86);
    this.width = width; this.height = height;
    container.replaceChildren();
    this.svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.label }, container);
    this.clip = `clip-${container.id}`;
    const inside = { x: margin.left, y: margin.top, width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
    svgElement("rect", inside, svgElement("clipPath", { id: this.clip }, svgElement("defs", {}, this.svg)));
    this.drawAxes();
    this.lines = svgElement("g", { "clip-path": `url(#${this.clip})` }, this.svg);
    this.marks = svgElement("g", {}, this.svg);
  }

  px(x) {
    const [low, high] = this.options.x;
    return this.margin.left + (x - low) / (high - low) * (this.width - this.margin.left - this.margin.right);
  }

  py(y) {
    let [low, high] = this.options.y;
    if (this.options.logarithmic) [low, high, y] = [low, high, Math.max(y, low)].map(Math.log10);
    return this.height - this.margin.bottom - (y - low) / (high - low) * (this.height - this.margin.top - this.margin.bottom);
  }

  drawAxes() {
    const { x, y, xLabel, yLabel, logarithmic } = this.options;
    const { left, right, top, bottom } = this.margin;
    const foot = this.height - bottom;
    for (const value of this.options.xTicks || ticksBetween(x[0], x[1], this.width / 90)) {
      svgElement("line", { class: "grid", x1: this.px(value), x2: this.px(value), y1: top, y2: foot }, this.svg);
      this.text(shownNumber(value), this.px(value), foot + 16, "middle");
    }
    for (const value of this.options.yTicks || (logarithmic ? decadesBetween(...y) : ticksBetween(y[0], y[1], 6))) {
      svgElement("line", { class: "grid", x1: left, x2: this.width - right, y1: this.py(value), y2: this.py(value) }, this.svg);
      this.text(shownNumber(value), left - 6, this.py(value) + 4, "end");
    }
    svgElement("path", { class: "axis", d: `M${left},${top}V${foot}H${this.width - right}` }, this.svg);
    this.text(xLabel, (left + this.width - right) / 2, this.height - 6, "middle", "title");
    const side = this.text(yLabel, 0, 0, "middle", "title");
    side.setAttribute("transform", `translate(14 ${(top + foot) / 2}) rotate(-90)`);
  }

  text(words, x, y, anchor, kind) {
    const element = svgElement("text", { x, y, "text-anchor": anchor, class: kind || "" }, this.svg);
    element.textContent = words;
    return element;
  }

  // A line through the points at which both numbers are known; `gap(i)` says where it is interrupted before point i.
  line(xs, ys, attributes, gap) {
    let path = "", broken = true;
    for (let i = 0; i < xs.length; i++) {
      if (!isNumber(xs[i]) || !isNumber(ys[i])) { broken = true; continue; }
      if (gap && i && gap(i)) broken = true;
      path += `${broken ? "M" : "L"}${this.px(xs[i]).toFixed(1)},${this.py(ys[i]).toFixed(1)}`;
      broken = false;
    }
    return svgElement("path", { d: path, ...attributes }, this.lines);
  }

  mark(x, y, attributes) {
    if (isNumber(x) && isNumber(y)) svgElement("circle", { cx: this.px(x), cy: this.py(y), r: 5, ...attributes }, this.marks);
  }

  // The place of a pointer event in the plot's own pixels.
  pointer(event) {
    const box = this.svg.getBoundingClientRect();
    return [(event.clientX - box.left) * this.width / box.width, (event.clientY - box.top) * this.height / box.height];
  }
}
