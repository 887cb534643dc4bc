import type { Change, ChangeKind, ChangeSet, Fields } from "../contracts/inventory.ts";
import type { DraftPlan } from "./plan-entity.ts";
import { planHash } from "./plan-hash.ts";
import { displayValue, identityOf, shownFields } from "./plan-identity.ts";
import { changedFields } from "./plan-merge.ts";
import type { Draft } from "./plan-overlay.ts";
import type { InventoryType } from "./registry.ts";

/**
 * The change set of one entity, as it is shown and approved. Empty when all is as it should be. What
 * it would have to know about other objects is noted in the draft; then it must be made again.
 */
export function changeSetOf(draft: Draft, plan: DraftPlan, warnings: readonly string[]): ChangeSet {
  const real = plan.changes.filter(({ kind }) => kind !== "noop");
  const created = new Set(real.flatMap(({ kind, object }) => (kind === "create" ? object.id : [])));
  const changes = (real.length === 0 ? [] : plan.changes).map(
    ({ kind, object, before, after }, no): Change => {
      const { id, type, version, data } = object;
      const names = kind === "noop" ? [] : changedFields(before, after);
      return {
        no,
        kind,
        type: type.name,
        identity: identityOf(draft, id),
        objectId: id,
        version,
        before: shownFields(draft, type, before, names),
        after: shownFields(draft, type, after, names),
        newRefs: names.filter((name) => refersTo(type, data, name, created)),
        primary: id === plan.root,
      };
    },
  );
  const identity = changes.find(({ primary }) => primary)?.identity ?? identityOf(draft, plan.root);
  return {
    title: titleOf(rootType(plan), identity, endOf(changes)),
    changes,
    hash: planHash(changes),
    warnings,
  };
}

function rootType(plan: DraftPlan): InventoryType {
  return plan.changes.find(({ object }) => object.id === plan.root)!.object.type;
}

function refersTo(
  type: InventoryType,
  data: Fields,
  name: string,
  created: ReadonlySet<string>,
): boolean {
  const kind = type.fields.get(name)?.kind;
  if (kind === "reference") return created.has(data[name] as string);
  return (
    kind === "references" && ((data[name] ?? []) as readonly string[]).some((id) => created.has(id))
  );
}

function endOf(changes: readonly Change[]): ChangeKind {
  const kinds = changes.filter(({ primary }) => primary).map(({ kind }) => kind);
  return kinds.find((kind) => kind === "create") ?? kinds.find((kind) => kind !== "noop") ?? "noop";
}

const ENDS = {
  create: "created",
  update: "modified",
  noop: "unchanged",
  delete: "deleted",
} as const;

/** `Device sw1 created`; `Device sw1 discovered` for an entity without a plan. */
export function titleOf(type: InventoryType, identity: Fields, end: ChangeKind | "failed"): string {
  const value = displayValue(identity);
  return `${type.label}${value === "" ? "" : ` ${value}`} ${end === "failed" ? "discovered" : ENDS[end]}`;
}

/** The same for an entity whose object is not at hand: by the fields that its matchers ask for. */
export function titleOfFields(
  type: InventoryType,
  fields: Fields,
  end: ChangeKind | "failed",
): string {
  const named = type.matchers.find(({ parts }) =>
    parts.every(({ field, optional }) => optional || fields[field.name] !== undefined),
  );
  const names = (named?.parts ?? []).map(({ field }) => field.name);
  const shown = Object.fromEntries(
    names.toSorted().flatMap((name) => (name in fields ? [[name, fields[name]!]] : [])),
  );
  return titleOf(type, shown, end);
}
