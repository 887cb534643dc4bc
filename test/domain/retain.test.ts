import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decide,
  documentOf,
  NO_HEAD,
  settleGroup,
  type DocumentHead,
  type DocumentPart,
  type GroupItem,
} from "../../domain/retain.ts";

interface Item extends GroupItem, DocumentPart {}

const item = (seq: number, mode: "replace" | "append", document = "d"): Item => ({
  seq: BigInt(seq),
  mode,
  document,
  text: `text ${seq}`,
  tags: [`tag ${seq % 3}`],
  metadata: { [`key ${seq % 2}`]: `value ${seq}` },
});
const head = (headSeq: number | null, erasedSeq: number | null = null): DocumentHead => ({
  headSeq: headSeq === null ? null : BigInt(headSeq),
  erasedSeq: erasedSeq === null ? null : BigInt(erasedSeq),
});

test.each([
  [head(null), item(5, "replace"), "apply"],
  [head(null), item(5, "append"), "apply"],
  [head(4), item(5, "replace"), "apply"],
  [head(5), item(5, "replace"), "apply"],
  [head(6), item(5, "replace"), "superseded"],
  [head(6), item(5, "append"), "superseded"],
  [head(null, 6), item(5, "append"), "superseded"],
  [head(3, 6), item(7, "append"), "apply"],
])("document %o and item %o: %s", (head, item, outcome) => {
  expect(decide(head, item).outcome).toBe(outcome);
});

test("the reason tells an erased document from an overtaken item", () => {
  expect(decide(head(6), item(5, "replace"))).toMatchObject({
    reason: "overtaken by a newer replace",
  });
  expect(decide(head(9, 6), item(5, "replace"))).toMatchObject({ reason: "document erased" });
});

test("of two replaces in one group the older is never written, nor what was appended before", () => {
  const [a, r1, b, r2, c] = [
    item(1, "append"),
    item(2, "replace"),
    item(3, "append"),
    item(4, "replace"),
    item(5, "append"),
  ];
  const { decisions, documents } = settleGroup(new Map(), [c, r1, r2, a, b]);
  expect(decisions.map(({ decision }) => decision.outcome)).toEqual([
    "apply",
    "superseded",
    "apply",
    "superseded",
    "superseded",
  ]);
  expect(documents).toEqual([{ document: "d", head: head(4), apply: [r2, c], dropBefore: 4n }]);
});

test("appends drop nothing, and a group that writes nothing leaves its document alone", () => {
  const heads = new Map([["d", head(3)]]);
  const append = item(5, "append");
  expect(settleGroup(heads, [append]).documents).toEqual([
    { document: "d", head: head(3), apply: [append], dropBefore: null },
  ]);
  expect(settleGroup(heads, [item(2, "replace"), item(1, "append")]).documents).toEqual([]);
});

test("documents come sorted, each with its own", () => {
  const { documents } = settleGroup(new Map(), [item(1, "append", "z"), item(2, "replace", "a")]);
  expect(documents.map(({ document }) => document)).toEqual(["a", "z"]);
});

/** A store that does what a commit does, and no more. */
class Store {
  readonly heads = new Map<string, DocumentHead>();
  readonly parts = new Map<string, Item[]>();
  readonly outcomes: bigint[] = [];

  commit(items: readonly Item[]): void {
    const { decisions, documents } = settleGroup(this.heads, items);
    this.outcomes.push(...decisions.map(({ item }) => item.seq));
    for (const { document, head, apply, dropBefore } of documents) {
      const kept = this.partsOf(document).filter(
        (part) => dropBefore === null || part.seq >= dropBefore,
      );
      this.heads.set(document, head);
      this.parts.set(document, [...kept, ...apply]);
    }
  }

  erase(document: string, seq: bigint): void {
    const before = this.heads.get(document) ?? NO_HEAD;
    const erasedSeq = before.erasedSeq !== null && before.erasedSeq > seq ? before.erasedSeq : seq;
    this.heads.set(document, { ...before, erasedSeq });
    this.parts.set(
      document,
      this.partsOf(document).filter((part) => part.seq > seq),
    );
  }

  partsOf(document: string): Item[] {
    return this.parts.get(document) ?? [];
  }
}

type Event = { kind: "item"; item: Item } | { kind: "erase"; document: string; seq: bigint };

/** What everyone means by it: one thing after the other, in the order of acceptance. */
function oneByOne(events: readonly Event[]): Map<string, Item[]> {
  const parts = new Map<string, Item[]>();
  for (const event of events) {
    if (event.kind === "erase") parts.set(event.document, []);
    else if (event.item.mode === "replace") parts.set(event.item.document, [event.item]);
    else parts.set(event.item.document, [...(parts.get(event.item.document) ?? []), event.item]);
  }
  return parts;
}

const events = fc
  .array(
    fc.record({
      kind: fc.constantFrom("append", "append", "append", "replace", "replace", "erase"),
      document: fc.constantFrom("a", "b", "c"),
    }),
    { minLength: 1, maxLength: 30 },
  )
  .map((list) =>
    list.map(({ kind, document }, index): Event => {
      if (kind === "erase") return { kind: "erase", document, seq: BigInt(index + 1) };
      return { kind: "item", item: item(index + 1, kind, document) };
    }),
  );

test("in any commit order and grouping the documents are those of acceptance order", () => {
  const schedules = events.chain((events) =>
    fc.record({
      events: fc.constant(events),
      order: fc.shuffledSubarray(events, { minLength: events.length }),
      groupEnds: fc.array(fc.boolean(), { minLength: events.length, maxLength: events.length }),
    }),
  );
  fc.assert(
    fc.property(schedules, ({ events, order, groupEnds }) => {
      const store = new Store();
      let group: Item[] = [];
      order.forEach((event, index) => {
        if (event.kind === "item") group.push(event.item);
        if (event.kind === "erase" || groupEnds[index]) {
          store.commit(group);
          group = [];
        }
        if (event.kind === "erase") store.erase(event.document, event.seq);
      });
      store.commit(group);

      const model = oneByOne(events);
      for (const document of ["a", "b", "c"]) {
        expect(documentOf(store.partsOf(document))).toEqual(documentOf(model.get(document) ?? []));
      }
      const accepted = events.flatMap((event) => (event.kind === "item" ? [event.item.seq] : []));
      expect(store.outcomes.toSorted((a, b) => Number(a - b))).toEqual(accepted);
    }),
    { numRuns: 2_000 },
  );
});

test("one outcome for each item of a group, in the order given", () => {
  fc.assert(
    fc.property(events, (events) => {
      const items = events.flatMap((event) => (event.kind === "item" ? [event.item] : []));
      const { decisions, documents } = settleGroup(new Map(), items);
      expect(decisions.map(({ item }) => item)).toEqual(items);
      const applied = decisions.filter(({ decision }) => decision.outcome === "apply");
      expect(documents.flatMap(({ apply }) => apply)).toHaveLength(applied.length);
    }),
  );
});

test("a document's text is its parts with one newline between, its newest metadata wins", () => {
  const part = (seq: number, text: string, tags: string[], metadata: Record<string, string>) => ({
    seq: BigInt(seq),
    text,
    tags,
    metadata,
  });
  expect(
    documentOf([
      part(10, "last", ["x", "z"], { a: "10" }),
      part(9, "middle", ["y", "x"], { a: "9", b: "9" }),
      part(2, "first", ["x"], { a: "2", c: "2" }),
    ]),
  ).toEqual({
    text: "first\nmiddle\nlast",
    tags: ["x", "y", "z"],
    metadata: { a: "10", b: "9", c: "2" },
  });
});
