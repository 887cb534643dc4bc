/** Entities that lack what others of their batch may bring: each comes again once one has. */
export interface LateEntities {
  /** One lacks what is known by these digests. */
  lacks(entity: number, digests: readonly string[]): void;
  isEmpty(): boolean;
  /** These came to be: who lacks one of them is due. */
  arrived(digests: readonly string[]): void;
  /** The next that is due, which lacks nothing until it says so again. */
  next(): number | undefined;
  /**
   * All that lack something are due, if anything came to be since they said so: by another name than the
   * one they know, perhaps. Bounded; false when there is nothing to be gained.
   */
  again(): boolean;
  /** Those that lack something, in their order. */
  rest(): readonly number[];
}

/** Everything is looked at so often at most; what is known by its digests needs none of it. */
const MOST_ROUNDS = 20;

export function createLateEntities(): LateEntities {
  const lacking = new Map<number, { digests: readonly string[]; since: number }>();
  const by = new Map<string, Set<number>>();
  const due: number[] = [];
  let arrivals = 0;
  let rounds = 0;

  function comesAgain(entity: number): void {
    for (const digest of lacking.get(entity)!.digests) by.get(digest)?.delete(entity);
    lacking.delete(entity);
    due.push(entity);
  }

  return {
    lacks(entity, digests) {
      lacking.set(entity, { digests, since: arrivals });
      for (const digest of digests) {
        const all = by.get(digest);
        if (all) all.add(entity);
        else by.set(digest, new Set([entity]));
      }
    },
    isEmpty: () => lacking.size === 0,
    arrived(digests) {
      arrivals++;
      for (const digest of digests) for (const one of by.get(digest) ?? []) comesAgain(one);
    },
    next: () => due.shift(),
    again() {
      if (rounds++ >= MOST_ROUNDS) return false;
      // Children tend to come in a row, each before its parent.
      const some = [...lacking].filter(([, { since }]) => since < arrivals).toReversed();
      for (const [entity] of some) comesAgain(entity);
      return some.length > 0;
    },
    rest: () => [...lacking.keys()].toSorted((a, b) => a - b),
  };
}
