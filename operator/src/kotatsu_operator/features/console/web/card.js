// One pool's card: drawn again where something has changed, so that what a reader has opened, marked
// or is looking at stays.

import { badge, problems, why } from "./judge.js";
import { knownZone, lasting, locale, moment, now, seconds } from "./time.js";
import { escape, timeline } from "./timeline.js";
import { words } from "./words.js";

const PARTS = ["head", "picture", "facts", "details"];
const said = new WeakMap(); // what was last written into an element

/** Write HTML into an element unless that is what was written last. */
export function put(element, html) {
  if (said.get(element) === html) return;
  said.set(element, html);
  element.innerHTML = html;
}

/** An amount in a currency. */
export function money(currency, amount) {
  const digits = { maximumSignificantDigits: Math.abs(Number(amount)) < 1 ? 2 : 4 };
  const number = (style) => new Intl.NumberFormat(locale(), { ...digits, ...style }).format(Number(amount));
  if (!/^[A-Za-z]{3}$/.test(currency)) return `${number({})} ${currency}`;
  return number({ style: "currency", currency, currencyDisplay: "narrowSymbol" });
}

/** A new card for a pool. */
export function newCard(id) {
  const card = Object.assign(document.createElement("section"), { id, className: "card" });
  card.innerHTML = `<div class="head"></div>
    <div class="body"><div class="picture"></div><dl class="facts"></dl></div>
    <details><summary></summary><div class="details"></div></details>`;
  return card;
}

/** Bring a card up to date. `view` says how wide the picture is and which hours it shows.
 *  A pool that cannot be drawn says so in its own card. */
export function fillCard(card, pool, view) {
  card.setAttribute("aria-labelledby", titleId(pool));
  put(card.querySelector("summary"), escape(words().details));
  try {
    draw(card, pool, view);
  } catch (error) {
    card.dataset.phase = "Refused";
    for (const part of PARTS) put(card.querySelector(`.${part}`), "");
    put(card.querySelector(".head"), `<h2 id="${escape(titleId(pool))}">${escape(pool.name)}</h2>
      <p class="place">${escape(pool.namespace)}</p><p class="why">${escape(words().notDrawn(String(error)))}</p>`);
  }
}

function draw(card, pool, view) {
  const html = { head: head(pool), picture: timeline(pool, view), facts: facts(pool), details: details(pool) };
  card.dataset.phase = badge(pool).kind;
  for (const part of PARTS) put(card.querySelector(`.${part}`), html[part]);
}

const titleId = (pool) => `pool-${pool.namespace}-${pool.name}`;

function head(pool) {
  const { kind, text } = badge(pool);
  const w = words();
  const clock = (at) => moment(at, pool.timeZone);
  const since = pool.refused ? "" : pool.since ?? "";
  const said = pool.conditions.find((c) => c.type === "Ready" && c.reason === "PodsCannotStart")?.message;
  const sentence = (key) => w.problems[key] + (key === "PodsCannotStart" ? `: ${said}` : "");
  const wrong = problems(pool).map((key) => `<li>${escape(sentence(key))}</li>`).join("");
  return `<h2 id="${escape(titleId(pool))}">${escape(pool.name)}</h2>
    <span class="phase" data-phase="${escape(kind)}">${escape(text)}</span>
    <p class="place">${escape(pool.namespace)} · ${escape(place(pool.timeZone))}</p>
    <span class="lasts"${since && ` data-since="${escape(since)}"`}></span>
    <p class="why">${escape(why(pool, clock))}</p>
    ${wrong ? `<ul class="wrong">${wrong}</ul>` : ""}`;
}

/** The zone that a card's times are in; both zones where the browser lacks the pool's own. */
function place(zone) {
  const shown = knownZone(zone);
  return shown === zone ? zone : words().otherZone(zone, shown);
}

function facts(pool) {
  const w = words();
  const list = [
    [w.facts.pods, `<strong>${pool.ready}</strong> ${escape(w.of(pool.desired))}`],
    [w.facts.demand, demand(pool)],
    [w.facts.next, next(pool)],
    [w.facts.opening, pool.openings.length ? punctual(pool.openings[0]) : none(w.never)],
    [w.facts.wakes, wakes(pool)],
    [w.facts.spent, spent(pool)],
  ];
  return list.map(([name, value]) => `<div><dt>${escape(name)}</dt><dd>${value}</dd></div>`).join("");
}

const none = (text) => `<span class="none">${escape(text)}</span>`;

function demand(pool) {
  const w = words();
  if (pool.refused) return none("–");
  if (!pool.demand) return none(w.demandElsewhere);
  if (pool.demand.known && !pool.demand.inFlight && !pool.demand.held) return none(w.noDemand);
  return pool.demand.known ? escape(w.demand(pool.demand.inFlight, pool.demand.held)) : `<em>${escape(w.demandUnknown)}</em>`;
}

function next(pool) {
  const w = words();
  if (!pool.next) return none(w.nothing);
  const what = escape(w[pool.next.kind](pool.next.window));
  return `${what} <span data-until="${escape(pool.next.at)}"></span><br><small>${escape(moment(pool.next.at, pool.timeZone))}</small>`;
}

function punctual(opening) {
  const w = words();
  const name = `<small>${escape(opening.window)}</small>`;
  if (!opening.early) return opening.cold ? `<em>${escape(w.coldStill)}</em><br>${name}` : none(w.never);
  const early = seconds(opening.early);
  if (early < 0) return `<em>${escape(w.late(lasting(-early)))}</em><br>${name}`;
  return `<b class="good">${escape(opening.excused ? w.excused : w.early(lasting(early)))}</b><br>${name}`;
}

function wakes(pool) {
  if (!pool.wakes.length) return none(words().never);
  return pool.wakes.slice(0, 3)
    .map((wake) => `${escape(lasting(seconds(wake.duration)))} <small>${escape(moment(wake.at, pool.timeZone))}</small>`)
    .join("<br>");
}

function spent(pool) {
  const w = words();
  const { cost } = pool;
  if (!cost) return none(w.noPrices);
  const lines = [`<strong>${escape(money(cost.currency, cost.accrued))}</strong>`];
  if (cost.limit) {
    const share = Math.min(Number(cost.accrued) / Math.max(Number(cost.limit), 1e-9), 1);
    lines[0] += ` ${escape(w.limit(money(cost.currency, cost.limit)))}
      <meter value="${share}" low="0.8" high="0.999" optimum="0" aria-label="${escape(w.share)}"></meter>`;
  }
  const more = [
    cost.forecast && forecast(cost),
    Number(cost.ratePerHour) > 0 && `<small>${escape(w.perHour(money(cost.currency, cost.ratePerHour)))}</small>`,
  ];
  return [...lines, ...more.filter(Boolean)].join("<br>").replace("</meter><br>", "</meter>");
}

/** What the period will have cost; in the color of trouble where that is more than may be spent. */
function forecast(cost) {
  const text = escape(words().forecast(money(cost.currency, cost.forecast)));
  return cost.limit && Number(cost.forecast) > Number(cost.limit) ? `<em>${text}</em>` : `<small>${text}</small>`;
}

function details(pool) {
  const w = words();
  const clock = (at) => moment(at, pool.timeZone);
  const named = (o) => (o.calendar ? `${o.name} (${o.calendar})` : o.name);
  return table(w.windows, [w.name, w.from, w.to, w.replicas], pool.windows.map((o) => [named(o), clock(o.start), clock(o.end), o.parked ? w.parked(o.replicas) : o.replicas]))
    + table(w.calendars, [w.name, w.asOf, w.windows, w.closedDays], pool.calendars.map((c) => [c.name, clock(c.readAt), c.windows, c.closed]))
    + table(w.openings, [w.name, w.at, w.verdict], pool.openings.map((o) => [o.window, clock(o.at), verdict(o)]))
    + table(w.warmUps, [w.took, w.replicas, ...Object.values(w.parts)], pool.warmUps.map(warmUp))
    + table(w.wakes, [w.at, w.took], pool.wakes.map((o) => [clock(o.at), lasting(seconds(o.duration))]))
    + report(pool)
    + notices(pool)
    + conditions(pool);
}

/** What the pool was warm for in the period of its budget, with the ledger's own digits. */
function report(pool) {
  const w = words();
  if (!pool.report?.episodes.length) return "";
  const clock = (at) => moment(at, pool.timeZone);
  const { report } = pool;
  const rows = report.episodes.map((e) => [
    clock(e.from), e.to ? clock(e.to) : w.runs, `${w.reasons[e.reason] ?? e.reason} ${e.name}`.trim(), e.replicas,
    e.cost ? `${e.cost} ${e.currency}` : "–",
  ]);
  const sums = Object.entries(report.costs).map(([code, cost]) => `${cost} ${code}`).join(", ");
  const lines = [
    w.reportSum(report.podHours, report.wakes, report.opened, report.cold),
    sums && w.reportCost(sums, report.isLedger),
    report.since > report.from && w.reportSince(clock(report.since)),
    report.more && w.reportMore(report.more),
  ].filter(Boolean);
  const text = lines.map((line) => `<p>${escape(line)}</p>`).join("");
  return `<div class="report">${table(w.report, [w.from, w.to, w.reason, w.replicas, w.cost], rows)}${text}</div>`;
}

/** Who was told what, since the operator started. */
function notices(pool) {
  const w = words();
  const clock = (at) => (at ? moment(at, pool.timeZone) : "–");
  const rows = pool.notices.map((n) => [clock(n.at), n.reason, n.message, n.waits ? w.waits : w.sent]);
  return table(w.notices, [w.at, w.reason, w.message, w.state], rows);
}

/** One warm-up: all seconds, the pods, and the seconds of each part where the status has them. */
function warmUp({ seconds: all, replicas, parts }) {
  const shown = (number) => lasting(Math.round(number));
  return [shown(all), replicas, ...Object.keys(words().parts).map((part) => (parts ? shown(parts[part]) : "–"))];
}

function verdict(opening) {
  const w = words();
  if (!opening.early) return opening.cold ? w.coldStill : "–";
  const early = seconds(opening.early);
  return early < 0 ? w.late(lasting(-early)) : opening.excused ? w.excused : w.early(lasting(early));
}

function table(title, heads, rows) {
  if (!rows.length) return "";
  const cells = (row) => row.map((cell) => `<td>${escape(cell ?? "")}</td>`).join("");
  return `<div class="wide" tabindex="0" role="group" aria-label="${escape(title)}"><table><caption>${escape(title)}</caption>
    <thead><tr>${heads.map((h) => `<th scope="col">${escape(h)}</th>`).join("")}</tr></thead>
    <tbody>${rows.map((row) => `<tr>${cells(row)}</tr>`).join("")}</tbody></table></div>`;
}

function conditions(pool) {
  if (!pool.conditions.length) return "";
  const rows = pool.conditions.map((c) => `<div><dt>${escape(c.type)}: ${escape(c.status)} <small>${escape(c.reason ?? "")}</small></dt><dd lang="en">${escape(c.message ?? "")}</dd></div>`);
  return `<div class="conditions"><h3>${escape(words().conditions)}</h3><dl>${rows.join("")}</dl></div>`;
}

/** Write the times that pass by themselves: how long until, how long since. */
export function tick() {
  const w = words();
  for (const element of document.querySelectorAll("[data-until]")) {
    const left = (Date.parse(element.dataset.until) - now()) / 1000;
    put(element, escape(left >= 1 ? w.in(lasting(Math.floor(left))) : w.any));
  }
  for (const element of document.querySelectorAll("[data-since]")) {
    const gone = (now() - Date.parse(element.dataset.since)) / 1000;
    // From a minute on seconds would only flicker.
    put(element, escape(gone >= 1 ? w.lasts(lasting(gone < 60 ? Math.floor(gone) : Math.floor(gone / 60) * 60)) : ""));
  }
}
