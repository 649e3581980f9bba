// The line of figures on top: all pools together.

import { money, put } from "./card.js";
import { isAwake } from "./judge.js";
import { moment } from "./time.js";
import { escape } from "./timeline.js";
import { words } from "./words.js";

/** Fill the element with the figures of these pools. */
export function showOverview(element, pools) {
  const w = words();
  const awake = pools.filter(isAwake).length;
  const sum = (of) => pools.reduce((total, pool) => total + of(pool), 0);
  const held = sum((pool) => pool.demand?.held ?? 0);
  const tiles = [
    tile(w.tiles.awake, escape(w.awakeOf(awake, pools.length)), escape(w.podsReady(sum((pool) => pool.ready)))),
    tile(w.tiles.requests, escape(w.inFlight(sum((pool) => pool.demand?.inFlight ?? 0))), escape(w.held(held)), held > 0 && "hot"),
    tile(w.tiles.next, ...coming(pools)),
    ...spending(pools).map(([big, small]) => tile(w.tiles.money, big, small)),
  ];
  put(element, pools.length ? tiles.join("") : "");
}

function tile(name, big, small, kind) {
  return `<div class="tile ${kind || ""}"><dt>${escape(name)}</dt><dd>${big}</dd><dd class="small">${small}</dd></div>`;
}

function coming(pools) {
  const w = words();
  const [soonest] = pools.filter((pool) => pool.next && !pool.refused && !pool.suspended)
    .sort((one, other) => Date.parse(one.next.at) - Date.parse(other.next.at));
  if (!soonest) return ["–", escape(w.nothing)];
  const { next } = soonest;
  const what = `${soonest.name}: ${w[next.kind](next.window)}, ${moment(next.at, soonest.timeZone)}`;
  return [`<span data-until="${escape(next.at)}"></span>`, escape(what)];
}

/** For each currency what an hour costs now, and what has been spent. */
function spending(pools) {
  const sums = new Map();
  for (const { cost } of pools) {
    if (!cost) continue;
    const known = sums.get(cost.currency) ?? { rate: 0, spent: 0 };
    known.rate += Number(cost.ratePerHour ?? 0);
    known.spent += Number(cost.accrued ?? 0);
    sums.set(cost.currency, known);
  }
  const w = words();
  return [...sums].map(([currency, { rate, spent }]) => [
    escape(money(currency, rate)), escape(w.spentSoFar(money(currency, spent))),
  ]);
}
