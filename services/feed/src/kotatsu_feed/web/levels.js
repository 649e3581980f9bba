// Level n to n + 1 costs 10·2^n experience, so level n begins at 20·(2^(n-1) - 1).

/** Where a level begins and ends, in experience. */
export function bounds(level) {
  return { from: 20 * (2 ** (level - 1) - 1), to: 20 * (2 ** level - 1) };
}
