import type { TargetEntity, TargetError } from "../contracts/target.ts";
import { canonicalJson, type Json } from "./exact-json.ts";
import type { Registry } from "./registry.ts";

/** The words of an HTTP target: what is sent, and what comes back by whose it is. */

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
export function broken(what: string): TargetError {
  return { message: `the target broke the contract: ${what}`, retry: true, unknown: true };
}

export function isTargetError(result: JsonObject | TargetError): result is TargetError {
  return typeof (result as TargetError).message === "string" && !("id" in result);
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function textOf(value: Json | undefined): string | undefined {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "bigint" ? String(value) : undefined;
}

export function textsOf(value: Json | undefined): string[] {
  if (!Array.isArray(value)) return [];
  return (value as readonly Json[]).flatMap((one) => textOf(one) ?? []).slice(0, 100);
}

/** Something of what was said, fit to be stored and logged. */
export function shortly(value: unknown): string {
  const text = typeof value === "string" ? value : isJson(value) ? wireJson(value) : String(value);
  return printable(text).slice(0, 200);
}

export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cs}]/gu, "?");
}

function isJson(value: unknown): value is Json {
  return value !== undefined;
}
