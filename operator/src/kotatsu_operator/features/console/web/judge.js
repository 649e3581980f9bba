// The judgment of a pool: whether it is awake, why, and whether it needs attention.

import { words } from "./words.js";

const AWAKE = new Set(["Warming", "Warm", "Parked", "Draining"]);
const CONTESTED = new Set(["AppliedByAnother", "WrittenByAnother"]);
const BAD_READINESS = new Set(["NoActivator", "TargetNotReady", "NoNode", "PodsCannotStart"]);

export const isAwake = (pool) => !pool.refused && AWAKE.has(pool.phase);

/** The problems of a pool, as keys of `words().problems`. */
export function problems(pool) {
  const conditions = Object.fromEntries(pool.conditions.map((c) => [c.type, c]));
  const is = (type, status) => conditions[type]?.status === status;
  const [opening] = pool.openings;
  return [
    is("Ready", "False") && BAD_READINESS.has(conditions.Ready.reason) && conditions.Ready.reason,
    opening?.cold && opening.window === pool.window && "cold",
    is("DemandKnown", "False") && "DemandKnown",
    is("ReplicasKept", "False") && (CONTESTED.has(conditions.ReplicasKept.reason) ? "contested" : "limited"),
    is("DurationsFit", "False") && conditions.DurationsFit.reason,
    conditions.BudgetAvailable?.reason === "NearLimit" && "NearLimit",
    is("BudgetAvailable", "False") && "Exhausted",
    conditions.Accepted?.reason === "WindowNeverOpens" && "WindowNeverOpens",
    is("CalendarsRead", "False") && "CalendarsRead",
    is("ParkingWorks", "False") && (conditions.ParkingWorks.reason === "NotRestored" ? "NotRestored" : "ParkingWorks"),
  ].filter(Boolean);
}

export const needsAttention = (pool) => Boolean(pool.refused) || problems(pool).length > 0;

/** The state as a word for the badge, and as a name for its color. */
export function badge(pool) {
  const w = words();
  if (pool.refused) return { kind: "Refused", text: w.notInForce };
  if (pool.suspended) return { kind: "Suspended", text: w.suspended };
  return { kind: pool.phase, text: w.phases[pool.phase] ?? pool.phase };
}

/** Why a pool is as it is, in a sentence. `clock` writes a moment. */
export function why(pool, clock) {
  const { refused, why: say } = words();
  if (pool.refused) return refused(pool.refused);
  if (pool.suspended) return say.suspended;
  if (pool.override && (pool.reason === "Override" || pool.override.mode === "Asleep")) {
    return pool.override.mode === "Asleep" && pool.phase !== "Draining" && pool.ready > 0
      ? say.Request() : say.Override(pool.override, clock(pool.override.until));
  }
  if (pool.reason === "Override") return say.overrideOver();
  if (pool.phase === "Draining" || pool.phase === "Sleeping") return pool.reason === "Budget" ? say.Budget() : say.leaving();
  if (pool.phase === "Parked") return say.parked(pool, pool.parkedUntil && clock(pool.parkedUntil));
  if (pool.phase === "Asleep") return pool.reason === "Budget" ? say.Budget() : say.Idle();
  if (pool.reason === "Window" && pool.phase === "Warming") return say.warmingFor(pool);
  return (say[pool.reason] ?? say.Idle)(pool);
}
