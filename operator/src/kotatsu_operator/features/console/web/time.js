// Times and lengths of time, as people read them.

import { language, words } from "./words.js";

let skew = 0; // the server's clock less ours, in milliseconds

/** Take the server's clock for ours. */
export function setClock(text) {
  skew = Date.parse(text) - Date.now();
}

export const now = () => Date.now() + skew;
export const locale = () => (language() === "ja" ? "ja-JP" : "en-GB");

const UNITS = { h: 3600, m: 60, s: 1, ms: 0.001 };

/** Seconds of a duration as the status writes it, like "1m30s", "1.823s" or "-14s". */
export function seconds(text) {
  const sum = [...text.matchAll(/([\d.]+)(ms|h|m|s)/g)].reduce((total, [, n, unit]) => total + Number(n) * UNITS[unit], 0);
  return text.startsWith("-") ? -sum : sum;
}

/** A length of time in its two biggest units: "1.8 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function lasting(total) {
  const { units } = words();
  const [days, hours, minutes] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60];
  if (total < 9.95) return units.s(total.toFixed(1).replace(/\.0$/, ""));
  if (total < 59.5) return units.s(Math.round(total));
  const parts = days ? [units.d(days), hours && units.h(hours)]
    : hours ? [units.h(hours), minutes && units.m(minutes)]
      : [units.m(minutes), minutes < 10 && total % 60 >= 1 && units.s(Math.floor(total % 60))];
  return parts.filter(Boolean).join(units.joint);
}

const zones = new Map();

/** The zone itself, or UTC where this browser's list of zones lacks it. */
export function knownZone(zone) {
  try {
    new Intl.DateTimeFormat("en-GB", { timeZone: zone });
    return zone;
  } catch {
    return "UTC";
  }
}

function formats(zone) {
  const key = `${zone} ${locale()}`;
  if (!zones.has(key)) {
    const timeZone = knownZone(zone);
    const make = (options) => new Intl.DateTimeFormat(locale(), { timeZone, hourCycle: "h23", ...options });
    const time = { hour: "2-digit", minute: "2-digit" };
    zones.set(key, {
      day: make({ dateStyle: "short" }),
      date: make({ weekday: "short", day: "numeric", month: "short" }),
      exact: make({ ...time, second: "2-digit" }),
      short: make(time),
    });
  }
  return zones.get(key);
}

/** A moment in a zone: the time, and the date unless it is today. Seconds where there are any. */
export function moment(text, zone) {
  const at = typeof text === "number" ? text : Date.parse(text);
  const { day, date, exact, short } = formats(zone);
  const time = (Math.floor(at / 1000) % 60 ? exact : short).format(at);
  return day.format(at) === day.format(now()) ? time : `${date.format(at)} ${time}`;
}

/** The marks of an axis: each full step with its label, midnight with its date. */
export function ticks(from, to, zone, step) {
  const { date, short } = formats(zone);
  const found = [];
  for (let at = Math.ceil(from / 300_000) * 300_000; at < to; at += 300_000) {
    const label = short.format(at);
    const [hour, minute] = label.split(":").map(Number);
    if ((hour * 60 + minute) % step !== 0) continue;
    const isMidnight = hour === 0 && minute === 0;
    found.push({ at, label: isMidnight ? date.format(at) : label, isMidnight });
  }
  return found;
}
