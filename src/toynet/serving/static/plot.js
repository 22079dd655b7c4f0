// One panel of curves as SVG: axes, lines, and a mark that reads an epoch.

const WIDE = 370, HIGH = 220, LEFT = 48, RIGHT = 10, TOP = 10, BOTTOM = 30;
const SPACE = "http://www.w3.org/2000/svg";

function add(parent, name, attributes, text) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

export class Plot {
  // lines: [{label, kind, of}], `of` takes an epoch's record and gives a number or null.
  constructor(figure, lines, { log = false, digits = 2 } = {}) {
    this.lines = lines;
    this.wantsLog = log;
    this.digits = digits;
    this.title = figure.querySelector("figcaption b").textContent;
    this.readout = figure.querySelector("output");
    this.svg = add(figure, "svg", { class: "plot", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", tabindex: "0" });
    this.records = [];
    this.at = null;
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.svg.addEventListener("blur", () => this.read(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
  }

  show(records, last) {
    this.records = records;
    this.last = Math.max(2, last);
    const values = this.framed();
    this.log = this.wantsLog && values.length > 0 && Math.min(...values) > 0
      && Math.max(...values) / Math.min(...values) > 30;
    [this.low, this.high] = range(this.log ? values.map(Math.log10) : values);
    this.draw();
  }

  // All but the steep start, beside which differences of a point are lost.
  framed() {
    const later = this.records.slice(Math.floor(this.records.length / 5));
    return later.flatMap((record) => this.lines.map((line) => line.of(record))).filter(Number.isFinite);
  }

  x(epoch) { return LEFT + (WIDE - LEFT - RIGHT) * (epoch - 1) / (this.last - 1); }

  y(value) {
    const shown = this.log ? Math.log10(value) : value;
    return TOP + (HIGH - TOP - BOTTOM) * (this.high - shown) / (this.high - this.low);
  }

  draw() {
    this.svg.replaceChildren();
    this.axes();
    const box = [LEFT - 4, TOP, WIDE - LEFT - RIGHT + 8, HIGH - TOP - BOTTOM];
    const [x, y, width, height] = box; // what lies outside is cut off
    const frame = add(this.svg, "svg", { x, y, width, height, viewBox: box.join(" ") });
    for (const line of this.lines) this.curve(frame, line);
    this.mark = add(this.svg, "g", { class: "mark" });
    this.read(this.at);
  }

  axes() {
    const bottom = HIGH - BOTTOM;
    for (const tick of this.log ? decades(this.low, this.high) : ticks(this.low, this.high, 5)) {
      const y = this.y(this.log ? 10 ** tick : tick);
      add(this.svg, "line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y, y2: y });
      add(this.svg, "text", { class: "label end", x: LEFT - 7, y: y + 4 }, this.log ? power(tick) : short(tick));
    }
    for (const tick of ticks(1, this.last, 6).filter((one) => Number.isInteger(one) && one >= 1)) {
      add(this.svg, "text", { class: "label", x: this.x(tick), y: bottom + 18 }, String(tick));
    }
    add(this.svg, "line", { class: "axis", x1: LEFT, x2: WIDE - RIGHT, y1: bottom, y2: bottom });
  }

  curve(frame, line) {
    const known = this.records.filter((record) => Number.isFinite(line.of(record)));
    let path = "", before = null;
    for (const record of known) {
      path += `${before === record.epoch - 1 ? "L" : "M"}${this.x(record.epoch).toFixed(1)} ${this.y(line.of(record)).toFixed(1)}`;
      before = record.epoch;
    }
    if (path) add(frame, "path", { class: `curve ${line.kind}`, d: path });
    const end = known.at(-1);
    if (end) add(frame, "circle", { class: `end ${line.kind}`, cx: this.x(end.epoch), cy: this.y(line.of(end)), r: 3 });
  }

  // The epoch that is read: the one pointed at, else the last.
  read(epoch) {
    this.at = epoch;
    const record = epoch === null ? this.records.at(-1) : this.records.find((one) => one.epoch === epoch);
    this.mark?.replaceChildren();
    if (!record) return;
    const parts = this.lines
      .filter((line) => Number.isFinite(line.of(record)))
      .map((line) => `${line.label} ${this.number(line.of(record))}`.trim());
    this.readout.textContent = `epoch ${record.epoch}: ${parts.join(", ")}`;
    this.svg.setAttribute("aria-label", `${this.title} by epoch, ${this.readout.textContent}`);
    if (epoch === null) return;
    const x = this.x(epoch);
    add(this.mark, "line", { x1: x, x2: x, y1: TOP, y2: HIGH - BOTTOM });
  }

  number(value) { return this.wantsLog ? Number(value.toPrecision(3)).toExponential() : value.toFixed(this.digits); }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const x = WIDE * (event.clientX - box.left) / box.width;
    const wanted = 1 + (x - LEFT) * (this.last - 1) / (WIDE - LEFT - RIGHT);
    const nearest = Math.min(Math.max(1, Math.round(wanted)), this.records.at(-1)?.epoch ?? 1);
    this.read(nearest);
  }

  step(event) {
    const end = this.records.at(-1)?.epoch;
    const from = this.at ?? end;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 1, End: end }[event.key];
    if (to === undefined || end === undefined) return;
    event.preventDefault();
    this.read(Math.min(Math.max(1, to), end));
  }
}

function range(values) {
  if (!values.length) return [0, 1];
  const low = Math.min(...values), high = Math.max(...values);
  const room = high > low ? 0.06 * (high - low) : Math.abs(high) * 0.1 || 0.5;
  return [low - room, high + room];
}

function ticks(low, high, count) {
  const rough = (high - low) / count;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * [1, 2, 5, 10].find((one) => one * size >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

function decades(low, high) {
  return Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, place) => Math.ceil(low) + place);
}

function short(value) {
  return value !== 0 && Math.abs(value) < 0.01 ? value.toExponential() : String(value);
}

function power(exponent) {
  const raised = String(exponent).replace(/./g, (one) => ({ "-": "⁻" })[one] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[one]);
  return `10${raised}`;
}
