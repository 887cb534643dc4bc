import {
  type Change,
  type ChangeKind,
  type FieldValue,
  type Fields,
} from "../contracts/inventory.ts";
import type { PlanAnswer, TargetEntity, TargetError, TargetPlan } from "../contracts/target.ts";
import { canonicalJson, type Json } from "./exact-json.ts";
import { titleOf } from "./plan-change-set.ts";
import { planHash } from "./plan-hash.ts";
import type { Registry } from "./registry.ts";

/** The words of an HTTP target: what is sent, and what its answers mean. */

export type JsonObject = { readonly [key: string]: Json };

/** `{ id, object_type, entity: { <type>: { ... } } }`. */
export function wireEntity(registry: Registry, { id, type, fields }: TargetEntity): JsonObject {
  const objectType = registry.types.get(type)?.targetName ?? type;
  return { id, object_type: objectType, entity: { [type]: fields } };
}

/** JSON with integers as they are, however large. */
export function wireJson(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(wireJson).join(",")}]`;
  if (typeof value !== "object") return canonicalJson(value);
  const parts = Object.entries(value as JsonObject).map(
    ([key, part]) => `${JSON.stringify(key)}:${wireJson(part)}`,
  );
  return `{${parts.join(",")}}`;
}

/**
 * The results of a call by the id they are for. One that is missing, or there twice, is an error of
 * that one, whatever the others say; those of ids that nobody asked for are left out.
 * @throws Error when there are no results at all
 */
export function resultsById(
  answer: Json,
  ids: readonly string[],
): Map<string, JsonObject | TargetError> {
  const results = isObject(answer) ? answer["results"] : undefined;
  if (!Array.isArray(results)) {
    throw new Error(`the answer holds no list of results: ${shortly(answer)}`);
  }
  const found = new Map<string, JsonObject[]>();
  for (const result of results as readonly Json[]) {
    if (!isObject(result)) continue;
    const id = textOf(result["id"]);
    if (id !== undefined) found.set(id, [...(found.get(id) ?? []), result]);
  }
  return new Map(
    ids.map((id): [string, JsonObject | TargetError] => {
      const [first, second] = found.get(id) ?? [];
      if (first === undefined) return [id, broken(`no result for entity ${id}`)];
      if (second !== undefined && wireJson(first) !== wireJson(second)) {
        return [id, broken(`two results for entity ${id}`)];
      }
      return [id, first];
    }),
  );
}

/** The target did not keep to the contract: what it did is not known, and another try may do better. */
function broken(what: string): TargetError {
  return { message: `the target broke the contract: ${what}`, retry: true, unknown: true };
}

export function isTargetError(result: JsonObject | TargetError): result is TargetError {
  return typeof (result as TargetError).message === "string" && !("id" in result);
}

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

const MISSING = /is required|may not be (null|blank)|does not exist|not found|no such/i;
const RETRIED = /db_deadlock_after_retries/;

/** Errors are `{ <type>: { <field>: [text] } }`, `__all__` for none in particular; undefined: none. */
export function errorOf(
  registry: Registry,
  entity: Pick<TargetEntity, "type">,
  errors: Json | undefined,
): TargetError | undefined {
  if (isNothing(errors ?? null)) return undefined;
  const said: { type: string; field: string; text: string }[] = [];
  const gather = (value: Json, path: readonly string[]) => {
    if (isObject(value)) {
      for (const [key, part] of Object.entries(value)) gather(part, [...path, key]);
    } else if (Array.isArray(value)) for (const one of value as readonly Json[]) gather(one, path);
    else if (value !== null) {
      const [type = "", ...field] = path;
      said.push({ type, field: field.join("."), text: String(value) });
    }
  };
  gather(errors!, []);
  const [first] = said;
  if (!first) return { message: `the target refused it and did not say why: ${shortly(errors!)}` };
  const type = registry.find(first.type)?.name ?? first.type;
  const field = first.field === "__all__" ? "" : first.field;
  const text = JSON.stringify(errors, (_, part: unknown) =>
    typeof part === "bigint" ? String(part) : part,
  );
  const known = registry.types.get(type);
  const nested = known !== undefined && type !== entity.type;
  const refers = known?.fields.get(field)?.kind.startsWith("reference") ?? false;
  const message = said
    .slice(0, 5)
    .map(({ type, field, text }) =>
      [type, field]
        .filter((part) => part !== "" && part !== "__all__")
        .join(".")
        .concat(": ", text),
    )
    .join("; ");
  return {
    message: printable(message).slice(0, 1_000),
    ...(known && { type }),
    ...(field !== "" && { field }),
    missingReference: (nested || refers) && MISSING.test(first.text),
    retry: RETRIED.test(text),
  };
}

function isNothing(value: Json): boolean {
  if (value === null || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) && Object.keys(value).length === 0;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textOf(value: Json | undefined): string | undefined {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "bigint" ? String(value) : undefined;
}

function textsOf(value: Json | undefined): string[] {
  if (!Array.isArray(value)) return [];
  return (value as readonly Json[]).flatMap((one) => textOf(one) ?? []).slice(0, 100);
}

/** Something of what was said, fit to be stored and logged. */
export function shortly(value: unknown): string {
  const text = typeof value === "string" ? value : isJson(value) ? wireJson(value) : String(value);
  return printable(text).slice(0, 200);
}

function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cs}]/gu, "?");
}

function isJson(value: unknown): value is Json {
  return value !== undefined;
}
