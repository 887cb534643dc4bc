import type { Change, ChangeSet, Entity } from "../contracts/inventory.ts";
import { arrivalsOf, sayingsOf, type Saying } from "./target-said.ts";
import type { InventoryType, Registry } from "./registry.ts";

/**
 * Whose turn it is among entities that a target has planned in one call, each as if it were the only
 * one: an entity waits while what stands before it could make another plan of it. One object may go under
 * several names that only the target can connect, so where names do not tell, the plans have to.
 */
export class Turns {
  readonly #registry: Registry;
  readonly #asked = new Map<string, Asked>();
  /** Types whose objects go under several names, of their own or of what names them. */
  readonly #doubtful: ReadonlySet<string>;
  readonly #sent: [Asked, readonly Change[]][] = [];
  readonly #waiting: Asked[] = [];

  constructor(
    registry: Registry,
    entities: readonly (Pick<Entity, "type" | "fields"> & { id: string })[],
  ) {
    this.#registry = registry;
    this.#doubtful = manyNamed(registry);
    for (const entity of entities) {
      const sayings = sayingsOf(registry, entity).filter(({ type }) => this.#doubtful.has(type));
      this.#asked.set(entity.id, { keys: new Set(arrivalsOf(registry, entity)), sayings });
    }
  }

  /** What is sent now: it changes what those after it are planned of. */
  sent(id: string, { changes }: ChangeSet): void {
    const real = changes.filter(({ kind }) => kind !== "noop");
    this.#sent.push([this.#asked.get(id)!, real]);
  }

  /** It is not its turn, so it is not that of those after it which may speak of the same. */
  putOff(id: string): void {
    this.#waiting.push(this.#asked.get(id)!);
  }

  /** @param plan undefined when it came to none; what is sent beside a plan is seen by its decider */
  mustWait(id: string, plan: ChangeSet | undefined, nothingToDo: boolean): boolean {
    const asked = this.#asked.get(id)!;
    const mayMeet = (other: Asked) => pairsOf(other, asked).length > 0;
    if (this.#waiting.some((other) => mayMeet(other) || (!nothingToDo && alike(other, asked)))) {
      return true;
    }
    return this.#sent.some(
      ([other, changes]) =>
        this.#changesFor(other, changes, asked, plan) ||
        (plan === undefined && !nothingToDo && alike(other, asked)),
    );
  }

  /** True when it would perhaps be planned otherwise after these changes. */
  #changesFor(
    before: Asked,
    changes: readonly Change[],
    asked: Asked,
    plan: ChangeSet | undefined,
  ): boolean {
    return pairsOf(before, asked).some(([a, b]) => {
      const type = this.#registry.types.get(a.type)!;
      return changes.some((change) => {
        if (change.type !== type.name) return false;
        if (change.kind === "create") return namesByDefault(type) || mayNameAlike(a, b);
        if (change.kind === "delete" || renames(type, change)) return true;
        return !isElsewhere(type, change.objectId, asked, plan);
      });
    });
  }
}

interface Asked {
  keys: ReadonlySet<string>;
  /** Of objects that may go under other names. */
  sayings: readonly Saying[];
}

function alike(a: Asked, b: Asked): boolean {
  return [...a.keys].some((key) => b.keys.has(key));
}

/** What two entities say of what may be one object, though their names do not tell. */
function pairsOf(a: Asked, b: Asked): [Saying, Saying][] {
  return a.sayings.flatMap((one) =>
    b.sayings.flatMap((other): [Saying, Saying][] =>
      one.type !== other.type || isSameNames(one, other) || isApart(one, other)
        ? []
        : [[one, other]],
    ),
  );
}

function isSameNames(a: Saying, b: Saying): boolean {
  return a.keys.length === b.keys.length && a.keys.every((key) => b.keys.includes(key));
}

/** Two objects for certain: both go under one name here, of one kind, and the names are two. */
function isApart(a: Saying, b: Saying): boolean {
  const [one, more] = a.names;
  const [other, others] = b.names;
  // What has no name is planned by nobody.
  if (!one || !other) return true;
  return !more && !others && one.matcher === other.matcher && areTwo(one.parts, other.parts);
}

/** A matcher that finds what one says may find what the other has made. */
function mayNameAlike(a: Saying, b: Saying): boolean {
  return a.names.some((one) =>
    b.names.some((other) => one.matcher === other.matcher && !areTwo(one.parts, other.parts)),
  );
}

type Part = Saying["names"][number]["parts"][number];

function areTwo(a: readonly Part[], b: readonly Part[]): boolean {
  return a.some((part, no) => {
    const other = b[no];
    if (typeof part === "string" || typeof other === "string") return part !== other;
    if (part === undefined || other === undefined) return part !== other;
    const isMissing = (from: readonly Saying[], to: readonly Saying[]) =>
      from.some((one) =>
        to.every((two) => one !== two && !isSameNames(one, two) && isApart(one, two)),
      );
    return isMissing(part, other) || isMissing(other, part);
  });
}

function renames(type: InventoryType, { before, after }: Change): boolean {
  return [...naming(type)].some((name) => name in before || name in after);
}

function namesByDefault(type: InventoryType): boolean {
  const names = naming(type);
  return type.defaults.some(({ name }) => names.has(name));
}

function naming({ matchers }: InventoryType): Set<string> {
  return new Set(
    matchers.flatMap(({ parts, when }) => [
      ...parts.map(({ field }) => field.name),
      ...when.map(([name]) => name),
    ]),
  );
}

/** The plan tells each object of the type that it found, and this is none of them. */
function isElsewhere(
  type: InventoryType,
  objectId: string,
  { sayings }: Asked,
  plan: ChangeSet | undefined,
): boolean {
  const found = (plan?.changes ?? []).filter((change) => change.type === type.name);
  const wanted = sayings.filter((one) => one.type === type.name).length;
  return found.length >= wanted && found.every((change) => change.objectId !== objectId);
}

const known = new WeakMap<Registry, ReadonlySet<string>>();

function manyNamed(registry: Registry): ReadonlySet<string> {
  const remembered = known.get(registry);
  if (remembered) return remembered;
  const found = new Set<string>();
  for (let size = -1; size !== found.size;) {
    size = found.size;
    for (const { name, matchers } of registry.types.values()) {
      const parts = matchers.flatMap((matcher) => matcher.parts);
      const byOthers = parts.some(({ field }) =>
        field.kind.startsWith("reference")
          ? field.targets.length === 0 || field.targets.some((target) => found.has(target))
          : false,
      );
      if (matchers.length > 1 || byOthers) found.add(name);
    }
  }
  known.set(registry, found);
  return found;
}
