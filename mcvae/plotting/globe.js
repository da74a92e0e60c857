"use strict";
// Curved surfaces of a latent space in three dimensions: drag to turn, wheel or + and - to zoom, point at a record.
const data = JSON.parse(document.getElementById("data").textContent);
const sprite = new Image();
const tip = document.getElementById("tip");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hidden = new Set();
const views = [];
let chosen = -1;

// A point with tangent coordinates (x, y) at the origin, in space: the sphere has its origin in front, the hyperboloid at
// its foot. `flat` in 0 .. 1 projects the hyperboloid from (0, 0, -1) onto the Poincaré disc at height 0.
function embed(surface, x, y, flat) {
  const r = Math.hypot(x, y), scale = Math.sqrt(Math.abs(surface.k)), a = scale * r;
  if (surface.kind === "plane") return [x, y, 0];
  const f = r > 0 ? (surface.kind === "sphere" ? Math.sin(a) : Math.sinh(a)) / r : scale;
  if (surface.kind === "sphere") return [f * x, f * y, Math.cos(a)];
  const up = 1 + Math.cosh(a), shrink = Math.pow(up, -flat);
  return [f * x * shrink, f * y * shrink, up * shrink - 1];
}

function lines(surface) {
  const result = [], steps = 72;
  const path = (f) => result.push(Array.from({ length: steps + 1 }, (_, i) => f(i / steps)));
  if (surface.kind === "sphere") {
    const at = (lon, lat) => {
      const p = [Math.cos(lat) * Math.sin(lon), Math.sin(lat), Math.cos(lat) * Math.cos(lon)];
      const a = Math.acos(Math.max(-1, Math.min(1, p[2]))), s = Math.hypot(p[0], p[1]) || 1;
      return [a * p[0] / s / Math.sqrt(surface.k), a * p[1] / s / Math.sqrt(surface.k)];
    };
    for (let m = 0; m < 12; m++) path((t) => at(m * Math.PI / 6 - Math.PI, (t - 0.5) * Math.PI));
    for (let p = -2; p <= 2; p++) path((t) => at((2 * t - 1) * Math.PI, p * Math.PI / 6));
    return result;
  }
  const end = surface.radii[surface.radii.length - 1];
  for (let m = 0; m < 12; m++) path((t) => [t * end * Math.cos(m * Math.PI / 6), t * end * Math.sin(m * Math.PI / 6)]);
  for (const r of surface.radii) path((t) => [r * Math.cos(2 * Math.PI * t), r * Math.sin(2 * Math.PI * t)]);
  return result;
}

function multiply(a, b) {
  return a.map((row) => [0, 1, 2].map((j) => row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j]));
}
const aboutX = (t) => [[1, 0, 0], [0, Math.cos(t), -Math.sin(t)], [0, Math.sin(t), Math.cos(t)]];
const aboutY = (t) => [[Math.cos(t), 0, Math.sin(t)], [0, 1, 0], [-Math.sin(t), 0, Math.cos(t)]];

class View {
  constructor(canvas, surface) {
    this.canvas = canvas; this.surface = surface; this.zoom = 1; this.flat = 0; this.grid = lines(surface);
    this.home();
    this.listen();
  }
  home() {
    this.zoom = 1;
    this.turn = this.surface.kind === "sphere" ? multiply(aboutX(0.35), aboutY(-0.5)) : aboutX(-1.12);
  }
  place() { // what does not change while turning
    const s = this.surface, inside = (p) => embed(s, p[0], p[1], this.flat);
    this.points = s.points.map(inside);
    this.paths = this.grid.map((path) => path.map(inside));
    const rim = inside([s.reach, 0]), middle = s.kind === "hyperboloid" ? rim[2] / 2 : 0;
    for (const p of [...this.points, ...this.paths.flat()]) p[2] -= middle;
    this.size = s.kind === "sphere" ? 1 : Math.max(1.04 * Math.hypot(rim[0], middle), 1.03 * this.flat);
  }
  seen(p) {
    const t = this.turn, scale = 0.47 * this.zoom * this.width / this.size;
    const [x, y, z] = t.map((row) => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);
    return [this.width / 2 + scale * x, this.width / 2 - scale * y, z / this.size];
  }
  draw() {
    const ratio = window.devicePixelRatio || 1, c = this.canvas.getContext("2d");
    this.width = this.canvas.clientWidth;
    this.canvas.width = this.canvas.height = Math.round(this.width * ratio);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const round = this.surface.kind === "sphere";
    if (round) {
      c.beginPath(); c.arc(this.width / 2, this.width / 2, 0.47 * this.zoom * this.width, 0, 2 * Math.PI);
      c.fillStyle = colour("--wash"); c.fill(); c.strokeStyle = colour("--soft"); c.lineWidth = 1; c.stroke();
    }
    this.at = this.points.map((p) => this.seen(p));
    const order = this.at.map((_, i) => i).filter((i) => !hidden.has(data.groups[i])).sort((i, j) => this.at[i][2] - this.at[j][2]);
    const dot = Math.max(2.2, this.width / 170) * Math.min(1.6, Math.sqrt(this.zoom));
    const back = round ? order.filter((i) => this.at[i][2] < 0) : [];
    this.dots(c, back, dot * 0.8, 0.22);
    this.net(c, round);
    this.dots(c, round ? order.filter((i) => this.at[i][2] >= 0) : order, dot, 0.88);
    if (chosen >= 0 && !hidden.has(data.groups[chosen])) {
      const [x, y] = this.at[chosen];
      c.beginPath(); c.arc(x, y, dot + 4, 0, 2 * Math.PI); c.lineWidth = 2.5; c.strokeStyle = colour("--ink"); c.stroke();
    }
  }
  dots(c, order, radius, alpha) {
    c.globalAlpha = alpha;
    for (const i of order) {
      c.beginPath(); c.arc(this.at[i][0], this.at[i][1], radius, 0, 2 * Math.PI);
      c.fillStyle = data.colours[i]; c.fill();
    }
    c.globalAlpha = 1;
  }
  net(c, round) {
    c.strokeStyle = colour("--net"); c.lineWidth = 1;
    for (const path of this.paths) {
      const at = path.map((p) => this.seen(p));
      for (let i = 1; i < at.length; i++) {
        c.globalAlpha = round && at[i][2] < 0 ? 0.25 : 1;
        c.beginPath(); c.moveTo(at[i - 1][0], at[i - 1][1]); c.lineTo(at[i][0], at[i][1]); c.stroke();
      }
    }
    c.globalAlpha = 1;
  }
  nearest(x, y) {
    let best = -1, least = 16 ** 2;
    this.at.forEach(([px, py, pz], i) => {
      const d = (px - x) ** 2 + (py - y) ** 2;
      if (d < least && !hidden.has(data.groups[i]) && !(this.surface.kind === "sphere" && pz < 0)) { least = d; best = i; }
    });
    return best;
  }
  rotate(x, y) { this.turn = multiply(multiply(aboutX(y), aboutY(x)), this.turn); show(); }
  scale(factor) { this.zoom = Math.min(40, Math.max(0.1, this.zoom * factor)); show(); }
  listen() {
    const canvas = this.canvas;
    let last = null;
    canvas.addEventListener("pointerdown", (e) => { last = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); this.point(e); });
    canvas.addEventListener("pointerup", () => { last = null; });
    canvas.addEventListener("pointercancel", () => { last = null; });
    canvas.addEventListener("pointerleave", () => { if (!last) choose(-1); });
    canvas.addEventListener("pointermove", (e) => {
      if (!last) return this.point(e);
      const speed = 2.2 / this.width;
      this.rotate((e.clientX - last[0]) * speed, (e.clientY - last[1]) * speed);
      last = [e.clientX, e.clientY];
    });
    canvas.addEventListener("wheel", (e) => { e.preventDefault(); this.scale(Math.exp(-e.deltaY / 500)); }, { passive: false });
    canvas.addEventListener("keydown", (e) => {
      const turns = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[e.key];
      if (turns) this.rotate(...turns);
      else if (e.key === "+" || e.key === "=") this.scale(1.25);
      else if (e.key === "-") this.scale(0.8);
      else if (e.key === "0") { this.home(); show(); }
      else return;
      e.preventDefault();
    });
  }
  point(e) {
    const box = this.canvas.getBoundingClientRect();
    choose(this.nearest(e.clientX - box.left, e.clientY - box.top), e);
  }
}

function show() { views.forEach((view) => view.draw()); }

function choose(index, e) {
  if (index !== chosen) { chosen = index; show(); }
  tip.hidden = index < 0;
  if (index < 0) return;
  tip.querySelector("p").textContent = data.words[index];
  const picture = tip.querySelector("canvas");
  picture.hidden = !data.sprite;
  if (data.sprite) {
    const { columns, width, height } = data.cell, c = picture.getContext("2d");
    picture.width = 4 * width; picture.height = 4 * height;
    c.imageSmoothingEnabled = false;
    c.drawImage(sprite, (index % columns) * width, Math.floor(index / columns) * height, width, height, 0, 0, 4 * width, 4 * height);
  }
  const x = e.clientX + 18, y = e.clientY + 18, box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, x + box.width > innerWidth ? e.clientX - box.width - 14 : x)}px`;
  tip.style.top = `${Math.max(4, y + box.height > innerHeight ? e.clientY - box.height - 14 : y)}px`;
}

document.querySelectorAll("canvas.globe").forEach((canvas, i) => views.push(new View(canvas, data.surfaces[i])));
document.querySelectorAll("input[data-flat]").forEach((input) => input.addEventListener("input", () => {
  const view = views[Number(input.dataset.flat)];
  view.flat = Number(input.value); view.place(); show();
}));
document.querySelectorAll("button[data-home]").forEach((button) => button.addEventListener("click", () => {
  views[Number(button.dataset.home)].home(); show();
}));
document.querySelectorAll("input[data-group]").forEach((input) => input.addEventListener("change", () => {
  const group = Number(input.dataset.group);
  if (input.checked) hidden.delete(group); else hidden.add(group);
  show();
}));
views.forEach((view) => view.place());
addEventListener("resize", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
if (data.sprite) sprite.src = data.sprite;
show();
