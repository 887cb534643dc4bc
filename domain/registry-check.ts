import type { InputIssue } from "../contracts/errors.ts";
import { CLEAR } from "../contracts/inventory.ts";
import type { InventoryField, InventoryType } from "./registry.ts";

const RESERVED_FIELDS: ReadonlySet<string> = new Set([CLEAR, "metadata", "timestamp"]);

type Types = ReadonlyMap<string, InventoryType>;

/** What in a registry cannot work, though every name in it is known to its own type. */
export function registryIssues(types: Types): InputIssue[] {
  const issues: InputIssue[] = [];
  for (const type of types.values()) {
    for (const field of type.fields.values()) issues.push(...fieldIssues(type, field, types));
    issues.push(...identityIssues(type));
  }
  const cycle = openCycle(types);
  if (cycle) {
    issues.push({
      path: `types.${cycle[0]!.type}.fields.${cycle[0]!.field}`,
      message:
        `nothing closes the cycle ${cycle.map((step) => `${step.type}.${step.field}`).join(" -> ")}: ` +
        "name one of these fields in defer of its type",
    });
  }
  return issues;
}

function fieldIssues(type: InventoryType, field: InventoryField, types: Types): InputIssue[] {
  const path = `types.${type.name}.fields.${field.name}`;
  const issues: InputIssue[] = [];
  const say = (message: string) => issues.push({ path, message });
  if (RESERVED_FIELDS.has(field.name)) say(`${field.name} is never data: choose another name`);
  for (const target of field.targets) {
    if (!types.has(target)) say(`refers to ${target}, which is no type of this registry`);
  }
  if (field.deferred && field.kind !== "reference") {
    say("is deferred and no single reference: only those close cycles");
  }
  const isNumber = field.kind === "integer" || field.kind === "number";
  if ((field.min !== undefined || field.max !== undefined) && !isNumber) {
    say("has min or max and is no number");
  }
  if ((field.maxLength !== undefined || field.oneOf) && field.kind !== "text") {
    say("has maxLength or oneOf and is no text");
  }
  if (field.merge && !["references", "list", "map"].includes(field.kind)) {
    say("has the policy merge: only lists and maps can be merged");
  }
  const fallback = field.default;
  if (fallback === undefined) return issues;
  const fits =
    (field.kind === "text" && typeof fallback === "string" && fallback !== "") ||
    (field.kind === "boolean" && typeof fallback === "boolean") ||
    (field.kind === "number" && typeof fallback === "number") ||
    (field.kind === "integer" && Number.isSafeInteger(fallback));
  if (!fits) say(`has a default that is no ${field.kind}`);
  if (field.oneOf && !field.oneOf.includes(String(fallback)))
    say("has a default that is not in oneOf");
  return issues;
}

function identityIssues(type: InventoryType): InputIssue[] {
  const issues: InputIssue[] = [];
  const at = `types.${type.name}`;
  const seen = new Set<string>();
  for (const [no, matcher] of type.matchers.entries()) {
    const path = `${at}.match[${no}]`;
    const say = (message: string) => issues.push({ path, message });
    if (seen.has(matcher.name) && matcher.when.length === 0) say("stands twice");
    seen.add(matcher.name);
    if (matcher.parts.every((part) => part.optional)) {
      say("has only optional parts, so it would match everything: make one of them required");
    }
    for (const { field } of matcher.parts) {
      if (field.deferred)
        say(`${field.name} is deferred, so it is unknown when the object is found`);
      if (field.kind === "map" || field.kind === "list") say(`${field.name} is a ${field.kind}`);
      if (type.slug?.field === field.name) {
        say(
          `${field.name} is made from ${type.slug.from}, and what is made up never names an object`,
        );
      }
    }
    if (matcher.anyOrder && matcher.parts.length < 2) say("has one part, which has no order");
  }
  for (const field of type.need) {
    if (field.deferred) {
      issues.push({
        path: `${at}.need`,
        message: `${field.name} is deferred, so nothing can need it`,
      });
    }
    if (
      field.kind === "reference" &&
      field.targets.length === 1 &&
      field.targets[0] === type.name
    ) {
      issues.push({
        path: `${at}.need`,
        message: `${field.name} refers to ${type.name}: no first one could be made`,
      });
    }
  }
  const slug = type.slug;
  if (
    slug &&
    (type.fields.get(slug.field)?.kind !== "text" || type.fields.get(slug.from)?.kind !== "text")
  ) {
    issues.push({ path: `${at}.slug`, message: "is made from text, and is text" });
  }
  return issues;
}

interface Step {
  type: string;
  field: string;
}

/**
 * A cycle through two or more types whose references are all set at creation. One type that refers to
 * itself (regions in regions) is a tree, not a cycle; `@*` may refer anywhere and is left to each plan.
 */
function openCycle(types: Types): Step[] | undefined {
  const done = new Set<string>();
  const walk = (name: string, path: Step[]): Step[] | undefined => {
    const start = path.findIndex((step) => step.type === name);
    if (start !== -1) return path.slice(start);
    if (done.has(name)) return undefined;
    for (const field of types.get(name)?.fields.values() ?? []) {
      if (field.deferred) continue;
      for (const target of field.targets) {
        if (target === name) continue;
        const found = walk(target, [...path, { type: name, field: field.name }]);
        if (found) return found;
      }
    }
    done.add(name);
    return undefined;
  };
  for (const name of types.keys()) {
    const found = walk(name, []);
    if (found) return found;
  }
  return undefined;
}
