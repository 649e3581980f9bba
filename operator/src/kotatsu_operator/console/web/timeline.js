// One pool's past and coming hours as SVG: shaded windows, and the line of pods that were Ready.

const HEIGHT = 150;
const LEFT = 34;
const RIGHT = 22;
const TOP = 10;
const BOTTOM = 26;
const HOUR = 3600_000;

/** The picture, `width` pixels wide. `now` is in milliseconds; of `hours` a third are past. */
export function timeline(pool, { now, hours, since, locale, width, title }) {
  const from = now - (hours * HOUR) / 3;
  const to = from + hours * HOUR;
  const x = (at) => LEFT + ((Math.min(Math.max(at, from), to) - from) / (to - from)) * (width - LEFT - RIGHT);
  const windows = pool.windows
    .map((w) => ({ ...w, a: Date.parse(w.start), b: Date.parse(w.end) }))
    .filter((w) => w.b > from && w.a < to);
  const samples = pool.samples.map(([at, ready, desired]) => ({ at: Date.parse(at), ready, desired }));
  const most = Math.max(1, ...windows.map((w) => w.replicas), ...samples.map((s) => Math.max(s.ready, s.desired)));
  const y = (n) => TOP + (1 - n / most) * (HEIGHT - TOP - BOTTOM);
  return `<svg viewBox="0 0 ${width} ${HEIGHT}" role="img" class="timeline">
    <title>${escape(title(windows.length))}</title>
    ${grid(x, from, to, width, pool.timeZone, locale)}
    ${levels(y, most, width)}
    ${windows.map((w) => bar(w, x, y)).join("")}
    ${unknown(x, from, Math.max(from, Date.parse(since)))}
    ${line(samples, x, y, from, now)}
    <line class="now" x1="${x(now)}" x2="${x(now)}" y1="${TOP - 6}" y2="${HEIGHT - BOTTOM + 6}"/>
  </svg>`;
}

function bar(w, x, y) {
  const [a, b] = [x(w.a), x(w.b)];
  const name = b - a > 60 ? `<text x="${a + 5}" y="${y(w.replicas) + 15}">${escape(w.name)} × ${w.replicas}</text>` : "";
  return `<g class="window"><rect x="${a}" y="${y(w.replicas)}" width="${Math.max(b - a, 1.5)}" height="${y(0) - y(w.replicas)}"/>${name}</g>`;
}

/** Before the operator began to watch nothing is known, which is not the same as no pods. */
function unknown(x, from, since) {
  if (since <= from) return "";
  return `<rect class="unknown" x="${x(from)}" y="${TOP}" width="${x(since) - x(from)}" height="${HEIGHT - TOP - BOTTOM}"/>`;
}

function line(samples, x, y, from, now) {
  const shown = samples.filter((s, i) => s.at >= from || (samples[i + 1]?.at ?? now) > from);
  if (!shown.length) return "";
  let path = `M${x(shown[0].at).toFixed(1)} ${y(0).toFixed(1)}`;
  for (const sample of shown) path += `H${x(sample.at).toFixed(1)}V${y(sample.ready).toFixed(1)}`;
  path += `H${x(now).toFixed(1)}`;
  return `<path class="ready-area" d="${path}V${y(0).toFixed(1)}Z"/><path class="ready" d="${path}"/>`;
}

function levels(y, most, width) {
  const step = Math.ceil(most / 3);
  const marks = [];
  for (let n = 0; n <= most; n += step) marks.push(n);
  return marks.map((n) => `<line class="grid" x1="${LEFT}" x2="${width - RIGHT}" y1="${y(n)}" y2="${y(n)}"/>
    <text class="scale" x="${LEFT - 6}" y="${y(n) + 4}" text-anchor="end">${n}</text>`).join("");
}

function grid(x, from, to, width, timeZone, locale) {
  // A label takes about 56 pixels; steps that divide a day keep midnight among them.
  const fitting = (to - from) / HOUR / (width / 56);
  const step = [1, 2, 3, 4, 6, 8, 12, 24].find((hours) => hours >= fitting) ?? 24;
  const clock = new Intl.DateTimeFormat(locale, { timeZone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const found = [];
  for (let at = Math.ceil(from / HOUR) * HOUR; at < to; at += HOUR) {
    const label = clock.format(at);
    if (Number.parseInt(label, 10) % step !== 0) continue;
    found.push(`<line class="grid" x1="${x(at)}" x2="${x(at)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>
      <text class="scale" x="${x(at)}" y="${HEIGHT - 6}" text-anchor="middle">${label}</text>`);
  }
  return found.join("");
}

export function escape(text) {
  return String(text).replace(/[&<>"']/g, (letter) => `&#${letter.codePointAt(0)};`);
}
