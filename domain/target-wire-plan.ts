import type { Change, ChangeKind, FieldValue, Fields } from "../contracts/inventory.ts";
import type { PlanAnswer, TargetEntity, TargetError, TargetPlan } from "../contracts/target.ts";
import { canonicalJson, type Json } from "./exact-json.ts";
import { titleOf } from "./plan-change-set.ts";
import { planHash } from "./plan-hash.ts";
import type { Registry } from "./registry.ts";
import {
  broken,
  isObject,
  isTargetError,
  shortly,
  textOf,
  textsOf,
  type JsonObject,
} from "./target-wire.ts";
import { errorOf } from "./target-wire-errors.ts";

/** What the plans of an HTTP target mean, as they are shown, approved and hashed. */

/** What a result of a plan means: `{ id, change_set | null, errors | null }`. */
export function planAnswer(
  registry: Registry,
  entity: TargetEntity,
  result: JsonObject | TargetError,
): PlanAnswer {
  if (isTargetError(result)) return { outcome: "failed", error: result };
  const error = errorOf(registry, entity, result["errors"]);
  if (error) return { outcome: "failed", error };
  return answerOfChangeSet(registry, entity, result["change_set"] ?? null);
}

export function answerOfChangeSet(
  registry: Registry,
  entity: TargetEntity,
  given: Json,
): PlanAnswer {
  if (given === null) {
    const what = `neither a change set nor an error for entity ${entity.id}`;
    return { outcome: "failed", error: { ...broken(what), unknown: false } };
  }
  const plan = planOf(registry, entity, given);
  if (typeof plan === "string") {
    return { outcome: "failed", error: { ...broken(plan), unknown: false } };
  }
  return plan.changeSet.changes.length === 0
    ? { outcome: "unchanged" }
    : { outcome: "planned", ...plan };
}

const KINDS: ReadonlySet<unknown> = new Set(["create", "update", "noop", "delete"]);

/** A change set as we show it. References to what it creates are told by what they lead to. */
function planOf(registry: Registry, entity: TargetEntity, given: Json): TargetPlan | string {
  const list = isObject(given) ? given["changes"] : undefined;
  if (!Array.isArray(list)) return `a change set without a list of changes for ${entity.id}`;
  const wire = list as readonly Json[];
  const odd = wire.find((one) => !isObject(one) || !KINDS.has(one["change_type"]));
  if (odd !== undefined) return `a change that is none for ${entity.id}: ${shortly(odd)}`;
  const all = wire as readonly JsonObject[];
  const real = all.some((one) => one["change_type"] !== "noop");
  const named = new Map<string, string>();
  for (const one of all) {
    const ref = textOf(one["ref_id"]);
    if (ref !== undefined) named.set(ref, `${shownType(registry, one)} ${shownName(one)}`.trim());
  }
  const changes = (real ? all : []).map((one, no): Change => {
    const kind = one["change_type"] as ChangeKind;
    const objectId = textOf(one["object_id"]);
    const after = kind === "noop" ? {} : plainFields(one["data"], named);
    const before = kind === "noop" ? {} : plainFields(one["before"], named);
    const names = kind === "update" ? changedNames(one["data"], before, after) : undefined;
    const version = Number(one["object_version"] ?? (kind === "create" ? 0 : 1));
    const name = shownName(one);
    return {
      no,
      kind,
      type: shownType(registry, one),
      identity: {
        ...(name !== "" && { name }),
        ...(objectId !== undefined && kind !== "create" && { id: objectId }),
      },
      objectId: objectId ?? textOf(one["ref_id"]) ?? "",
      version: Number.isSafeInteger(version) ? version : 1,
      before: kind === "create" ? {} : picked(before, names),
      after: kind === "delete" ? {} : picked(after, names),
      newRefs: textsOf(one["new_refs"]),
      primary: no === all.length - 1,
    };
  });
  const type = registry.types.get(entity.type);
  const last = changes.at(-1);
  const title = type
    ? titleOf(type, shownIdentity(last), last?.kind ?? "noop")
    : `${entity.type} ${last?.kind ?? "unchanged"}`;
  const warnings = [
    ...entity.warnings,
    ...textsOf(isObject(given) ? (given["warnings"] ?? null) : null),
  ];
  return { changeSet: { title, changes, hash: planHash(changes), warnings }, handle: all };
}

function shownIdentity(change: Change | undefined): Fields {
  const name = change?.identity["name"];
  return name === undefined ? {} : { name };
}

function shownType(registry: Registry, change: JsonObject): string {
  const name = textOf(change["object_type"]) ?? "";
  return registry.find(name)?.name ?? name;
}

function shownName(change: JsonObject): string {
  return (textOf(change["object_primary_value"]) ?? "").slice(0, 500);
}

/** Without nulls and what is empty, keys sorted, names in place of what only this answer knows. */
function plainFields(value: Json | undefined, named: ReadonlyMap<string, string>): Fields {
  const plain = plainValue(value ?? null, named);
  return typeof plain === "object" && !Array.isArray(plain) ? (plain as Fields) : {};
}

function plainValue(value: Json, named: ReadonlyMap<string, string>): FieldValue | undefined {
  if (value === null || value === "") return undefined;
  if (typeof value === "string") return named.get(value.slice(value.lastIndexOf(":") + 1)) ?? value;
  if (typeof value !== "object") return value;
  if (Array.isArray(value)) {
    const parts = (value as readonly Json[]).flatMap((one) => plainValue(one, named) ?? []);
    return parts.length === 0 ? undefined : parts;
  }
  const entries = Object.entries(value as JsonObject)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([key, part]) => {
      const plain = plainValue(part, named);
      return plain === undefined ? [] : [[key, plain] as const];
    });
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** Fields that an update speaks of and that end otherwise; null or nothing there empties one. */
function changedNames(data: Json | undefined, before: Fields, after: Fields): string[] {
  const said = Object.keys(isObject(data) ? data : {});
  return said.filter((name) => {
    const [was, is] = [before[name], after[name]];
    if (was === undefined || is === undefined) return was !== is;
    return canonicalJson(was) !== canonicalJson(is);
  });
}

function picked(fields: Fields, names: readonly string[] | undefined): Fields {
  if (!names) return fields;
  return Object.fromEntries(
    names.toSorted().flatMap((name) => (name in fields ? [[name, fields[name]!]] : [])),
  );
}
