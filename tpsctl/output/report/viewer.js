// The structures in three dimensions: one 3Dmol model whose frames are the images of the selected path.

// Positions of all paths, angstrom, from the packed text; see tpsctl/output/report/frames.py.
async function unpackFrames(frames) {
  const packed = Uint8Array.from(atob(frames.text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / 2, whole = new Int16Array(count);
  for (let k = 0; k < count; k++) whole[k] = planes[k] | (planes[count + k] << 8);
  const size = 3 * frames.atoms.length;
  for (let p = 0; p < frames.n_paths; p++) {
    const start = p * frames.n_frames * size;
    for (let k = start + size; k < start + frames.n_frames * size; k++) whole[k] += whole[k - size];
  }
  return whole;
}

function hasWebGL() {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
}

class StructureViewer {
  constructor(container, frames, positions) {
    this.frames = frames;
    this.positions = positions;
    this.path = -1;
    this.viewer = $3Dmol.createViewer(container, { backgroundColor: this.background(), antialias: true });
    this.model = this.viewer.addModel();
    this.model.addAtoms(this.atoms());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.viewer.setBackgroundColor(this.background()));
    addEventListener("beforeprint", () => this.viewer.setBackgroundColor("#ffffff"));
    addEventListener("afterprint", () => this.viewer.setBackgroundColor(this.background()));
  }

  background() {
    return getComputedStyle(document.documentElement).getPropertyValue("--card").trim();
  }

  // Atoms with the bonds of the topology; none is guessed from distances.
  atoms() {
    const { atoms, bonds } = this.frames;
    const neighbors = atoms.map(() => []);
    for (const [i, j] of bonds) { neighbors[i].push(j); neighbors[j].push(i); }
    return atoms.map(([element, name, residue], i) => ({
      elem: element || "C", atom: name, resn: residue, resi: i, serial: i, index: i, hetflag: true,
      bonds: neighbors[i], bondOrder: neighbors[i].map(() => 1), x: 0, y: 0, z: 0, properties: {},
    }));
  }

  coordinates(path, frame) {
    const count = this.frames.atoms.length, found = [];
    let k = (path * this.frames.n_frames + frame) * 3 * count;
    for (let i = 0; i < count; i++, k += 3) found.push([0, 1, 2].map((axis) => this.positions[k + axis] / this.frames.per_angstrom));
    return found;
  }

  style() {
    const count = this.frames.atoms.length;
    if (!this.frames.beads) {
      const small = count <= 60;
      this.model.setStyle({}, { stick: { radius: small ? 0.13 : 0.1 }, sphere: { scale: small ? 0.24 : 0.16 } });
      return;
    }
    const hue = (atom) => { const part = count > 1 ? atom.index / (count - 1) : 0; return this.rainbow(part); };
    this.model.setStyle({}, { stick: { radius: 0.35, colorfunc: hue }, sphere: { radius: 0.8, colorfunc: hue } });
  }

  // From blue at the first bead to red at the last.
  rainbow(part) {
    return new $3Dmol.Gradient.ROYGB(1, 0).valueToHex(1 - part);
  }

  // Choose the view so that the most extended image of the path fits.
  async fit() {
    let widest = 0, size = 0;
    for (let frame = 0; frame < this.frames.n_frames; frame++) {
      const reach = Math.max(...this.coordinates(this.path, frame).map(([x, y, z]) => x * x + y * y + z * z));
      if (reach > size) { size = reach; widest = frame; }
    }
    await this.viewer.setFrame(widest);
    this.viewer.zoomTo();
    if (!this.frames.beads) this.viewer.zoom(1.15);
  }

  async show(path, image) {
    const { n_frames, stride } = this.frames;
    if (path !== this.path) {
      const all = Array.from({ length: n_frames }, (_, frame) => this.coordinates(path, frame));
      this.model.setCoordinates(all, "array");
      this.style();
      const first = this.path < 0;
      this.path = path;
      if (first) await this.fit();
    }
    const last = image >= this.lastImage ? n_frames - 1 : Math.min(n_frames - 1, Math.round(image / stride));
    this.frame = last;
    await this.viewer.setFrame(last);
    this.viewer.render();
  }
}
