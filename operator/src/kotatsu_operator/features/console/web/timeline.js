// One pool's past and coming hours as SVG: bars for windows, and the line of pods that were Ready.

import { moment, now, ticks } from "./time.js";
import { words } from "./words.js";

const BUSY = 108; // pixels high, where there is something to see
const QUIET = 54;
const LEFT = 26;
const RIGHT = 8;
const TOP = 12;
const BOTTOM = 24;
const HOUR = 3600_000;
const STEPS = [5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1440]; // minutes; all divide a day

/** The picture, `width` pixels wide. Of `hours` a third are past. */
export function timeline(pool, { hours, since, width }) {
  const here = now();
  const from = here - (hours * HOUR) / 3;
  const to = from + hours * HOUR;
  const x = (at) => LEFT + ((Math.min(Math.max(at, from), to) - from) / (to - from)) * (width - LEFT - RIGHT);
  const windows = pool.windows
    .map((w) => ({ ...w, a: Date.parse(w.start), b: Date.parse(w.end) }))
    .filter((w) => w.b > from && w.a < to);
  const samples = shown(pool.samples.map(([at, ready, desired]) => ({ at: Date.parse(at), ready, desired })), from, here);
  const most = Math.max(0, ...windows.map((w) => w.replicas), ...samples.map((s) => Math.max(s.ready, s.desired)));
  const height = most > 0 ? BUSY : QUIET;
  const floor = height - BOTTOM;
  const y = (n) => TOP + (1 - n / Math.max(most, 1)) * (floor - TOP);
  const wakes = pool.wakes.map((w) => ({ ...w, t: Date.parse(w.at) })).filter((w) => w.t > from && w.t <= here);
  const label = words().picture(pool, windows.length);
  return `<svg viewBox="0 0 ${width} ${height}" height="${height}" role="img" class="timeline" aria-label="${escape(label)}">
    <defs><pattern id="unseen" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V6" class="hatch"/></pattern></defs>
    <rect class="plot" x="${LEFT}" y="${TOP}" width="${width - LEFT - RIGHT}" height="${floor - TOP}"/>
    ${unseen(x, y, Math.max(from, Date.parse(since)), from, floor)}
    ${axis(x, from, to, here, pool.timeZone, width, floor)}
    ${most > 0 ? level(y(most), most, width) : ""}
    ${windows.map((w) => bar(w, x, y, here)).join("")}
    ${line(samples, x, y, here)}
    ${windows.map((w) => sign(w, pool.openings, x, y)).join("")}
    ${wakes.map((w) => `<circle class="wake" cx="${x(w.t)}" cy="${floor}" r="4"><title>${escape(words().wokeAt(w.duration, moment(w.at, pool.timeZone)))}</title></circle>`).join("")}
    <path class="now" d="M${x(here)} ${TOP - 6}V${floor}"/><circle class="now-dot" cx="${x(here)}" cy="${TOP - 6}" r="3.500"/>
    ${windows.map((w) => caption(w, x, y)).join("")}
  </svg>`;
}

/** The samples in sight, and the one in force as the picture begins. */
function shown(samples, from, here) {
  return samples.filter((s, i) => s.at >= from || (samples[i + 1]?.at ?? here) > from);
}

function bar(w, x, y, here) {
  const [a, b] = [x(w.a), x(w.b)];
  const name = w.parked ? `${w.name} × ${words().parked(w.replicas)}` : `${w.name} × ${w.replicas}`;
  return `<rect class="window${w.parked ? " parked" : ""}${w.a > here ? " coming" : ""}" x="${a}" y="${y(w.replicas)}" width="${Math.max(b - a, 2)}" height="${y(0) - y(w.replicas)}" rx="2"><title>${escape(name)}</title></rect>`;
}

/** About how wide a text is, in pixels: Japanese letters take as much as two others. */
const widthOf = (text) => [...text].reduce((sum, letter) => sum + (letter > "\u2e80" ? 12 : 6.8), 0);

/** Names of windows, where they have room. */
function caption(w, x, y) {
  const name = `${w.name} × ${w.replicas}`;
  if (x(w.b) - x(w.a) < widthOf(name) + 12) return "";
  return `<text class="caption" x="${x(w.a) + 6}" y="${y(w.replicas) + 14}">${escape(name)}</text>`;
}

/** How punctual an opening was: a green edge, or a red one where it opened cold. */
function sign(w, openings, x, y) {
  const opening = openings.find((o) => Date.parse(o.at) === w.a);
  if (!opening || !(opening.early || opening.cold)) return "";
  return `<path class="sign ${opening.cold ? "cold" : "punctual"}" d="M${x(w.a)} ${y(w.replicas) - 4}V${y(0)}"/>`;
}

/** Before the operator began to watch nothing is known, which is not the same as no pods. */
function unseen(x, y, since, from, floor) {
  if (since <= from) return "";
  const width = x(since) - LEFT;
  const text = words().unseen;
  const says = width > widthOf(text) + 16 ? `<text class="scale" x="${LEFT + width / 2}" y="${(TOP + floor) / 2 + 4}" text-anchor="middle">${escape(text)}</text>` : "";
  return `<rect class="unseen" x="${LEFT}" y="${TOP}" width="${width}" height="${floor - TOP}"/>${says}`;
}

function line(samples, x, y, here) {
  if (!samples.length) return "";
  let path = `M${x(samples[0].at).toFixed(1)} ${y(samples[0].ready).toFixed(1)}`;
  for (const sample of samples.slice(1)) path += `H${x(sample.at).toFixed(1)}V${y(sample.ready).toFixed(1)}`;
  path += `H${x(here).toFixed(1)}`;
  return `<path class="ready-area" d="${path}V${y(0).toFixed(1)}H${x(samples[0].at).toFixed(1)}Z"/><path class="ready" d="${path}"/>`;
}

function level(height, most, width) {
  return `<path class="grid" d="M${LEFT} ${height}H${width - RIGHT}"/><text class="scale" x="${LEFT - 6}" y="${height + 4}" text-anchor="end">${most}</text>`;
}

/** Grid and labels: the present first, then dates, then hours as far as there is room. */
function axis(x, from, to, here, zone, width, floor) {
  const minutes = (to - from) / 60_000 / ((width - LEFT - RIGHT) / 56);
  const marks = ticks(from, to, zone, STEPS.find((step) => step >= minutes) ?? STEPS.at(-1));
  const taken = [];
  const label = (at, text, kind) => {
    const half = widthOf(text) / 2;
    const middle = Math.min(Math.max(x(at), half), width - half);
    if (taken.some(([a, b]) => middle + half + 6 > a && middle - half - 6 < b)) return "";
    taken.push([middle - half, middle + half]);
    return `<text class="${kind}" x="${middle}" y="${floor + 17}" text-anchor="middle">${escape(text)}</text>`;
  };
  return marks.map((tick) => `<path class="grid${tick.isMidnight ? " midnight" : ""}" d="M${x(tick.at)} ${TOP}V${floor}"/>`).join("")
    + label(here, moment(Math.floor(here / 60_000) * 60_000, zone), "scale present")
    + marks.filter((tick) => tick.isMidnight).map((tick) => label(tick.at, tick.label, "scale")).join("")
    + marks.filter((tick) => !tick.isMidnight).map((tick) => label(tick.at, tick.label, "scale")).join("");
}

export function escape(text) {
  return String(text).replace(/[&<>"']/g, (letter) => `&#${letter.codePointAt(0)};`);
}
