import { expect, test } from "vitest";
import type { Change } from "../../contracts/inventory.ts";
import { PlanGuard, PlanRules } from "../../contracts/plan-rule.ts";
import { decideByRules, guardVerdict } from "../../domain/plan-rules.ts";

const change = (given: Partial<Change>): Change => ({
  no: 0,
  kind: "update",
  type: "device",
  identity: { name: "sw1" },
  objectId: "1",
  version: 1,
  before: { serial: "a" },
  after: { serial: "b" },
  newRefs: [],
  primary: true,
  ...given,
});

const facts = (changes: Change[], fields = {}) => ({
  type: "device",
  entity: { fields: { name: "sw1", site: { name: "berlin" }, tags: [{ name: "lab" }], ...fields } },
  branch: "b1",
  changeSet: { changes },
});

test("the first enabled rule that holds decides, and its name is recorded", () => {
  const rules = PlanRules.parse([
    { name: "off", enabled: false, when: {}, decision: "ignore" },
    {
      name: "berlin",
      when: { values: { "site.name": "berlin", serial: null } },
      decision: "ignore",
    },
    { name: "lab", when: { tag: "lab" }, decision: "apply" },
    { name: "rest", decision: "review" },
  ]);
  expect(decideByRules(rules, "auto", facts([change({})]))).toEqual({
    decision: "ignore",
    rule: "berlin",
  });
  expect(decideByRules(rules, "auto", facts([change({})], { serial: "x" }))).toEqual({
    decision: "apply",
    rule: "lab",
  });
  expect(decideByRules(rules, "auto", facts([change({})], { serial: "x", tags: [] }))).toEqual({
    decision: "review",
    rule: "rest",
  });
  expect(decideByRules([], "auto", facts([change({})]))).toEqual({ decision: "review" });
});

test("in mode plan-only no rule applies anything, and the others still decide", () => {
  const rules = PlanRules.parse([
    { name: "all", decision: "apply" },
    { name: "noise", when: { types: ["device"] }, decision: "ignore" },
  ]);
  expect(decideByRules(rules, "plan-only", facts([change({})]))).toEqual({
    decision: "ignore",
    rule: "noise",
  });
  expect(decideByRules(rules.slice(0, 1), "plan-only", facts([change({})]))).toEqual({
    decision: "review",
  });
});

test("a removal is reviewed unless a rule speaks of removing", () => {
  const removal = facts([change({ kind: "delete" })]);
  const all = PlanRules.parse([{ name: "all", decision: "apply" }]);
  expect(decideByRules(all, "auto", removal)).toEqual({ decision: "review" });
  const removing = PlanRules.parse([
    { name: "gone", when: { kinds: ["delete"] }, decision: "apply" },
  ]);
  expect(decideByRules(removing, "auto", removal)).toEqual({ decision: "apply", rule: "gone" });
});

test("what a rule says of changes holds for every real change of the set", () => {
  const applies = (when: object, ...changes: Change[]) =>
    decideByRules(PlanRules.parse([{ name: "r", when, decision: "apply" }]), "auto", facts(changes))
      .decision === "apply";
  const created = change({ kind: "create", type: "site", before: {}, after: { name: "x" } });
  const noop = change({ kind: "noop", type: "site", before: {}, after: {} });
  expect(applies({ kinds: ["update"] }, change({}), noop)).toBe(true);
  expect(applies({ kinds: ["update"] }, change({}), created)).toBe(false);
  expect(applies({ changedTypes: ["device"] }, change({}), noop)).toBe(true);
  expect(applies({ changedTypes: ["device"] }, change({}), created)).toBe(false);
  expect(applies({ fields: ["serial"] }, change({}), created)).toBe(true);
  expect(
    applies({ fields: ["serial"] }, change({ before: {}, after: { serial: "b", role: "x" } })),
  ).toBe(false);
  expect(applies({ branches: ["b1"] }, change({}))).toBe(true);
  expect(applies({ branches: ["main"] }, change({}))).toBe(false);
  expect(applies({ values: { "site.name.x": "berlin" } }, change({}))).toBe(false);
  expect(applies({ values: { __proto__x: null } }, change({}))).toBe(true);
});

test("two rules never have one name", () => {
  const twice = [
    { name: "r", decision: "apply" },
    { name: "r", decision: "review" },
  ];
  expect(PlanRules.safeParse(twice).success).toBe(false);
  expect(
    PlanRules.safeParse([{ name: "r", when: { typos: ["x"] }, decision: "apply" }]).success,
  ).toBe(false);
});

test("a window that changes too much of an inventory is held, exactly at its bound it is not", () => {
  const guard = PlanGuard.parse({ maxShare: 0.2, maxObjects: 500, minObjects: 10 });
  const at = (objects: number, changed: number, more: number) =>
    guardVerdict(guard, { objects, changed }, more).verdict;
  expect(at(1_000, 190, 10)).toBe("go");
  expect(at(1_000, 190, 11)).toBe("hold");
  expect(at(20, 0, 9)).toBe("go");
  expect(at(20, 0, 10)).toBe("hold");
  expect(at(100_000, 499, 1)).toBe("go");
  expect(at(100_000, 500, 1)).toBe("hold");
  expect(at(1_000, 900, 0)).toBe("go");
  expect(at(0, 0, 1_000)).toBe("hold");
  expect(
    guardVerdict(PlanGuard.parse({ maxShare: 0 }), { objects: 10, changed: 0 }, 10).verdict,
  ).toBe("go");
});
