// The page: pools as they come from the operator, drawn again as they change.

import { escape, timeline } from "./timeline.js";
import { language, speakIn, why, words } from "./words.js";

const PAGE = 25; // pools shown at first; more on request
const PADDING = 17; // of a card, with its border
const AWAKE = new Set(["Warming", "Warm", "Draining"]);

const $ = (id) => document.getElementById(id);
const pools = new Map();
let keys = [];
let since = "";
let skew = 0; // the server's clock less ours, in milliseconds
let shown = PAGE;

const now = () => Date.now() + skew;
const locale = () => (language() === "ja" ? "ja-JP" : "en-GB");

function clockOf(pool) {
  const day = new Intl.DateTimeFormat(locale(), { timeZone: pool.timeZone, dateStyle: "short" });
  const full = new Intl.DateTimeFormat(locale(), {
    timeZone: pool.timeZone, weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });
  const short = new Intl.DateTimeFormat(locale(), {
    timeZone: pool.timeZone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });
  return (text) => {
    const at = Date.parse(text);
    return (day.format(at) === day.format(now()) ? short : full).format(at);
  };
}

function money(pool, amount) {
  const currency = pool.cost?.currency || "XXX";
  return new Intl.NumberFormat(locale(), { style: "currency", currency, currencyDisplay: "narrowSymbol", maximumSignificantDigits: 4 }).format(Number(amount));
}

// --- one pool ---

function facts(pool, clock) {
  const w = words();
  const [wake] = pool.wakes;
  const [opening] = pool.openings;
  return [
    [w.pods, `<strong>${pool.ready}</strong> ${escape(w.asked(pool.desired))}`],
    [w.demand, escape(demand(pool))],
    [w.next, escape(pool.next ? w[pool.next.kind](pool.next.window, clock(pool.next.at)) : w.nothing)],
    [w.spent, spent(pool)],
    [w.wake, escape(wake ? w.woke(wake.duration, clock(wake.at)) : w.never)],
    [w.opening, escape(opening ? `${opening.window}: ${punctual(opening)}` : w.never)],
  ].map(([name, value]) => `<div><dt>${escape(name)}</dt><dd>${value}</dd></div>`).join("");
}

function demand(pool) {
  const w = words();
  if (!pool.demand) return w.noDemand;
  return pool.demand.known ? w.inFlight(pool.demand.inFlight, pool.demand.held) : w.demandUnknown;
}

function punctual(opening) {
  const w = words();
  if (!opening.early) return opening.cold ? w.cold : w.nothing;
  return opening.early.startsWith("-") ? w.late(opening.early.slice(1)) : w.early(opening.early);
}

function spent(pool) {
  const w = words();
  const { cost } = pool;
  if (!cost) return escape(w.noPrices);
  const lines = [`<strong>${escape(money(pool, cost.accrued))}</strong>`];
  if (cost.limit) {
    const share = Math.min(Number(cost.accrued) / Math.max(Number(cost.limit), 1e-9), 1);
    lines[0] += ` ${escape(w.of)} ${escape(money(pool, cost.limit))}`;
    lines.push(`<meter value="${share}" high="0.8" aria-label="${escape(w.spent)}"></meter>`);
  }
  if (cost.exhausted) lines.push(`<em>${escape(w.exhausted)}</em>`);
  if (cost.forecast) lines.push(escape(w.forecast(money(pool, cost.forecast))));
  if (Number(cost.ratePerHour) > 0) lines.push(escape(w.rate(money(pool, cost.ratePerHour))));
  return lines.join("<br>");
}

function details(pool, clock) {
  const w = words();
  const table = (title, heads, rows) => (rows.length
    ? `<h3>${escape(title)}</h3><div class="wide" tabindex="0" role="group" aria-label="${escape(title)}"><table><thead><tr>${heads.map((h) => `<th scope="col">${escape(h)}</th>`).join("")}</tr></thead>
       <tbody>${rows.map((row) => `<tr>${row.map((c) => `<td>${escape(c ?? "")}</td>`).join("")}</tr>`).join("")}</tbody></table></div>`
    : "");
  return table(w.windows, [w.name, w.from, w.to, w.replicas], pool.windows.map((o) => [o.name, clock(o.start), clock(o.end), o.replicas]))
    + table(w.wakes, [w.at, w.took], pool.wakes.map((o) => [clock(o.at), o.duration]))
    + table(w.conditions, ["", "", ""], pool.conditions.map((c) => [`${c.type}: ${c.status}`, c.reason, c.message]))
      .replace("<thead><tr><th scope=\"col\"></th><th scope=\"col\"></th><th scope=\"col\"></th></tr></thead>", "");
}

function card(pool) {
  const w = words();
  const clock = clockOf(pool);
  const id = `pool-${pool.namespace}-${pool.name}`;
  const sentence = pool.refused ? w.refused(pool.refused) : why(pool, clock);
  const picture = timeline(pool, {
    now: now(),
    hours: Number($("span").value),
    since,
    locale: locale(),
    width: Math.max(280, $("pools").clientWidth - 2 * PADDING),
    title: (n) => w.picture(pool, n),
  });
  return `<div class="head">
      <h2 id="${escape(id)}">${escape(pool.name)} <small>${escape(pool.namespace)}</small></h2>
      <span class="phase" data-phase="${escape(pool.refused ? "Refused" : pool.phase)}">${escape(pool.refused ? w.notInForce : w.phases[pool.phase] ?? pool.phase)}</span>
    </div>
    <p class="why">${escape(sentence)}</p>
    <div class="picture">${picture}</div>
    <p class="zone">${escape(pool.timeZone)}</p>
    <dl>${facts(pool, clock)}</dl>
    <details><summary>${escape(w.details)}</summary>${details(pool, clock)}</details>`;
}

/** Draw one pool; what a reader has opened or is looking at stays. */
function draw(key) {
  const pool = pools.get(key);
  const id = `card ${key}`;
  let section = document.getElementById(id);
  if (!section) {
    section = Object.assign(document.createElement("section"), { id, className: "card" });
  }
  section.setAttribute("aria-labelledby", `pool-${pool.namespace}-${pool.name}`);
  const isOpen = section.querySelector("details")?.open ?? false;
  const hasFocus = section.contains(document.activeElement) && document.activeElement.localName === "summary";
  section.innerHTML = card(pool);
  section.querySelector("details").open = isOpen;
  if (hasFocus) section.querySelector("summary").focus();
  return section;
}

// --- all pools ---

function matching() {
  const wanted = $("find").value.trim().toLowerCase();
  return keys.filter((key) => pools.has(key) && key.toLowerCase().includes(wanted));
}

function drawAll() {
  const found = matching();
  $("pools").replaceChildren(...found.slice(0, shown).map(draw));
  $("more").hidden = found.length <= shown;
  $("nothing").hidden = found.length > 0;
  $("nothing").textContent = keys.length ? words().noMatch : words().none;
  drawSummary();
}

function drawSummary() {
  const awake = [...pools.values()].filter((pool) => AWAKE.has(pool.phase)).length;
  $("summary").textContent = words().summary(awake, keys.length);
}

function receive(state) {
  skew = Date.parse(state.now) - Date.now();
  since = state.since;
  const isSame = keys.join(" ") === state.keys.join(" ");
  keys = state.keys;
  for (const key of pools.keys()) if (!keys.includes(key)) pools.delete(key);
  for (const pool of state.pools) pools.set(`${pool.namespace}/${pool.name}`, pool);
  if (!isSame) {
    drawAll();
    return;
  }
  const visible = new Set(matching().slice(0, shown));
  for (const pool of state.pools) if (visible.has(`${pool.namespace}/${pool.name}`)) draw(`${pool.namespace}/${pool.name}`);
  drawSummary();
}

function listen() {
  const source = new EventSource("api/changes");
  const say = (isLive) => {
    $("live").dataset.state = isLive ? "live" : "lost";
    const text = isLive ? words().live : words().lost;
    if ($("live").textContent !== text) $("live").textContent = text;
  };
  source.addEventListener("message", (event) => {
    say(true);
    receive(JSON.parse(event.data));
  });
  source.addEventListener("error", () => {
    say(false);
    // The browser tries again by itself unless the server has refused.
    if (source.readyState === EventSource.CLOSED) {
      source.close();
      setTimeout(listen, 5000);
    }
  });
}

function translate(code) {
  speakIn(code);
  localStorage.setItem("language", language());
  $("language").textContent = words().other;
  $("language").lang = words().otherCode;
  for (const option of $("span").options) option.textContent = words().hours(Number(option.value));
  if ($("live").dataset.state) $("live").textContent = words()[$("live").dataset.state];
  drawAll();
}

function start() {
  $("span").value = localStorage.getItem("span") ?? "24";
  if (!$("span").value) $("span").value = "24";
  translate(localStorage.getItem("language") ?? (navigator.language.startsWith("ja") ? "ja" : "en"));
  $("language").addEventListener("click", () => translate(words().otherCode));
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("find").addEventListener("input", () => { shown = PAGE; drawAll(); });
  $("span").addEventListener("change", () => { localStorage.setItem("span", $("span").value); drawAll(); });
  $("more").addEventListener("click", () => { shown += PAGE; drawAll(); });
  addEventListener("resize", drawAll);
  listen();
  // Time passes even when nothing changes.
  setInterval(() => { if (!document.hidden) for (const key of matching().slice(0, shown)) draw(key); }, 15_000);
}

start();
