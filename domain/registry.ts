import { InvalidInput, type InputIssue } from "../contracts/errors.ts";
import {
  RegistryFile,
  type RegistryField,
  type RegistryMatcher,
  type RegistryType,
} from "../contracts/registry.ts";
import { registryIssues } from "./registry-check.ts";

/** A type registry, ready for use: every name resolved, nothing in it that cannot work. */
export interface Registry {
  readonly name: string;
  readonly types: ReadonlyMap<string, InventoryType>;
  /** A type by its name, in snake_case or camelCase, or by the name that targets know it by. */
  find(name: string): InventoryType | undefined;
}

export interface InventoryType {
  readonly name: string;
  /** As targets call it: `dcim.device`. */
  readonly targetName: string;
  readonly label: string;
  readonly fields: ReadonlyMap<string, InventoryField>;
  /** Fields by name in snake_case and camelCase. */
  readonly anyCase: ReadonlyMap<string, InventoryField>;
  readonly matchers: readonly Matcher[];
  /** Fields that stand in a matcher. */
  readonly naming: ReadonlySet<InventoryField>;
  readonly need: readonly InventoryField[];
  readonly defaults: readonly InventoryField[];
  readonly slug?: { readonly field: string; readonly from: string };
  readonly matchOnly: boolean;
}

type FieldKind =
  | "text"
  | "integer"
  | "number"
  | "boolean"
  | "map"
  | "list"
  | "reference"
  | "references";

export interface InventoryField {
  readonly name: string;
  readonly kind: FieldKind;
  /** Of a list: what it holds. */
  readonly of?: "text" | "integer" | "number";
  /** Of references: the types that may stand there; empty: any. */
  readonly targets: readonly string[];
  /** A reference whose value names its type: `{ "interface": { ... } }`. */
  readonly generic: boolean;
  readonly merge: boolean;
  readonly deferred: boolean;
  readonly maxLength?: number;
  readonly min?: number;
  readonly max?: number;
  readonly oneOf?: readonly string[];
  readonly default?: string | number | boolean;
}

export interface Matcher {
  /** Its parts as written; part of every match key. */
  readonly name: string;
  readonly parts: readonly { readonly field: InventoryField; readonly optional: boolean }[];
  readonly when: readonly (readonly [string, string | number | boolean | null])[];
  readonly anyOrder: boolean;
}

/**
 * Reads and checks a registry file.
 * @throws InvalidInput naming every place that cannot work: an unknown reference, a matcher over an
 * unknown field, a cycle that nothing closes
 */
export function loadRegistry(file: RegistryFile): Registry {
  const parsed = RegistryFile.safeParse(file);
  if (!parsed.success) {
    throw new InvalidInput(
      parsed.error.issues.map((issue) => ({
        path: issue.path.join(".") || "registry",
        message: (issue.code === "invalid_key" && issue.issues[0]?.message) || issue.message,
      })),
    );
  }
  const { name, common, types: written } = parsed.data;
  const issues: InputIssue[] = [];
  const types = new Map<string, InventoryType>();
  const names = new Map<string, InventoryType>();
  for (const [typeName, type] of Object.entries(written)) {
    const ready = readyType(typeName, type, common, issues);
    types.set(typeName, ready);
    for (const alias of new Set([typeName, camelCase(typeName), ready.targetName])) {
      const other = names.get(alias);
      if (other) {
        issues.push({ path: `types.${typeName}`, message: `"${alias}" names ${other.name} too` });
      }
      names.set(alias, ready);
    }
  }
  if (issues.length === 0) issues.push(...registryIssues(types));
  if (issues.length > 0) throw new InvalidInput(issues);
  return { name, types, find: (name) => names.get(name) };
}

function readyType(
  name: string,
  type: RegistryType,
  common: Record<string, RegistryField>,
  issues: InputIssue[],
): InventoryType {
  const at = `types.${name}`;
  const deferred = new Set(type.defer);
  const fields = new Map<string, InventoryField>();
  const anyCase = new Map<string, InventoryField>();
  for (const [fieldName, written] of Object.entries({ ...common, ...type.fields })) {
    const field = readyField(fieldName, written, deferred.has(fieldName));
    fields.set(fieldName, field);
    for (const alias of new Set([fieldName, camelCase(fieldName)])) {
      if (anyCase.has(alias)) {
        issues.push({ path: `${at}.fields.${fieldName}`, message: `"${alias}" names two fields` });
      }
      anyCase.set(alias, field);
    }
  }
  const known = (fieldName: string, path: string) => {
    const field = fields.get(fieldName);
    if (!field)
      issues.push({ path: `${at}.${path}`, message: `${name} has no field ${fieldName}` });
    return field;
  };
  const all = (list: readonly string[], path: string) =>
    list.flatMap((fieldName) => known(fieldName, path) ?? []);
  all(type.defer, "defer");
  if (type.slug) all([type.slug.field, type.slug.from], "slug");
  const matchers = type.match.map((matcher, no) => readyMatcher(matcher, `match[${no}]`, known));
  return {
    name,
    targetName: type.type ?? name,
    label: type.label ?? words(name),
    fields,
    anyCase,
    matchers,
    naming: new Set(matchers.flatMap(({ parts }) => parts.map(({ field }) => field))),
    need: all(type.need, "need"),
    defaults: [...fields.values()].filter((field) => field.default !== undefined),
    ...(type.slug && { slug: type.slug }),
    matchOnly: type.matchOnly,
  };
}

const SCALARS = { s: "text", i: "integer", n: "number", b: "boolean" } as const;

function readyField(name: string, written: RegistryField, deferred: boolean): InventoryField {
  const {
    kind: code,
    policy,
    ...limits
  } = typeof written === "string" ? { kind: written } : written;
  const listed = code.startsWith("[");
  const inner = listed ? code.slice(1, -1) : code;
  const base = {
    name,
    deferred,
    targets: [],
    generic: false,
    merge: policy === "merge",
    ...limits,
  };
  if (inner === "{}") return { ...base, kind: "map", merge: policy !== "replace" };
  if (inner.startsWith("@")) {
    const targets = inner === "@*" ? [] : inner.slice(1).split("|");
    const generic = targets.length !== 1;
    const kind = listed ? "references" : "reference";
    return { ...base, kind, targets, generic, merge: listed && policy !== "replace" };
  }
  const scalar = SCALARS[inner as keyof typeof SCALARS];
  if (listed) return { ...base, kind: "list", of: scalar as "text" | "integer" | "number" };
  return { ...base, kind: scalar };
}

function readyMatcher(
  written: RegistryMatcher,
  path: string,
  known: (field: string, path: string) => InventoryField | undefined,
): Matcher {
  const matcher = Array.isArray(written) ? { parts: written } : written;
  const when = Object.entries(matcher.when ?? {});
  for (const [field] of when) known(field, `${path}.when`);
  return {
    name: matcher.parts.join("+"),
    parts: matcher.parts.flatMap((part) => {
      const optional = part.endsWith("?");
      const field = known(optional ? part.slice(0, -1) : part, path);
      return field ? [{ field, optional }] : [];
    }),
    when,
    anyOrder: matcher.anyOrder ?? false,
  };
}

/** `device_type` as `deviceType`. */
function camelCase(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** `device_type` as `Device type`. */
function words(name: string): string {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
