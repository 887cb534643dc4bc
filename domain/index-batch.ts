/**
 * What a batch of marks asks for, coalesced: per type the objects, at most one walk over all of them,
 * and the parents whose objects are to be found. A mark says "dirty" and nothing more, so order and
 * number of marks do not matter.
 */

export interface Marked {
  seq: string;
  type: string;
  keys: readonly string[] | null;
  through: string | null;
  place: string | null;
  /** Epoch seconds. */
  at: number;
}

/**
 * How far a mark of many objects is worked. `origin`: the number of the mark it all began with, by
 * which a writer waits for what came of it. A walk goes over the live rows, then over the index; where
 * the index was cleared before, over the live rows alone.
 */
export interface Place {
  origin: string;
  pass: "rows" | "index" | "cleared";
  /** The key before; absent: from the beginning. */
  after: string | undefined;
}

export interface Walk {
  place: Place;
  at: number;
}

export interface Fan extends Walk {
  dependency: string;
  parents: readonly string[];
}

/** All that one batch asks of one type. */
export interface TypeWork {
  type: string;
  keys: readonly string[];
  walk?: Walk;
  fans: readonly Fan[];
  /** When the marks were made that are done with this batch. */
  since: readonly number[];
}

/** Per type, in order of its name: locks on what types share are taken in one order. */
export function gather(marks: readonly Marked[]): TypeWork[] {
  const types = [...new Set(marks.map((mark) => mark.type))].toSorted();
  return types.map((type) =>
    gatherType(
      type,
      marks.filter((mark) => mark.type === type),
    ),
  );
}

function gatherType(type: string, marks: readonly Marked[]): TypeWork {
  const keys = new Set<string>();
  const fans: Fan[] = [];
  const walks: Walk[] = [];
  const since: number[] = [];
  for (const { seq, keys: marked, through, place, at } of marks) {
    const from = { place: readPlace(place, seq), at };
    if (through !== null) fans.push({ ...from, dependency: through, parents: marked ?? [] });
    else if (marked === null) walks.push(from);
    else {
      for (const key of marked) keys.add(key);
      since.push(at);
    }
  }
  return {
    type,
    keys: [...keys],
    fans: mergedFans(fans),
    since,
    ...(walks.length > 0 && { walk: merged(walks) }),
  };
}

// Several begin again, as one, which is as old as the oldest of them.
function merged(walks: readonly Walk[]): Walk {
  if (walks.length === 1) return walks[0]!;
  const origins = walks.map(({ place }) => BigInt(place.origin));
  const first = origins.reduce((a, b) => (a < b ? a : b));
  return { place: start(first.toString()), at: Math.min(...walks.map(({ at }) => at)) };
}

// Those of one dependency that begin are one, of all their parents. What is under way goes on alone.
function mergedFans(fans: readonly Fan[]): Fan[] {
  const isNew = ({ place }: Fan) => place.after === undefined;
  const dependencies = new Set(fans.filter(isNew).map(({ dependency }) => dependency));
  return [
    ...fans.filter((fan) => !isNew(fan)),
    ...[...dependencies].map((dependency) => {
      const same = fans.filter((fan) => isNew(fan) && fan.dependency === dependency);
      const parents = [...new Set(same.flatMap((fan) => fan.parents))];
      return { ...merged(same), dependency, parents };
    }),
  ];
}

function start(origin: string): Place {
  return { origin, pass: "rows", after: undefined };
}

/** As it stands in a mark: `17`, `17/rows/key`, `17/index`, `17/index/key`. */
export function writePlace({ origin, pass, after }: Place): string {
  return after === undefined ? `${origin}/${pass}` : `${origin}/${pass}/${after}`;
}

/** The inverse; what it does not know is a beginning. `seq`: the mark's own number. */
function readPlace(place: string | null, seq: string): Place {
  const match = /^(\d+)\/(rows|index|cleared)(?:\/(.*))?$/s.exec(place ?? "");
  if (!match) return start(/^\d+$/.exec(place ?? "")?.[0] ?? seq);
  return { origin: match[1]!, pass: match[2] as Place["pass"], after: match[3] };
}
