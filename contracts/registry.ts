import { z } from "zod";

/**
 * A type registry as its author writes it: data that says what names an object, what it needs, and of
 * what kind its fields are. `domain/registry.ts` checks that it makes sense and makes it ready for use.
 */

const Name = z.string().regex(/^[a-z][a-z0-9_]*$/, "must be snake_case");
const JsonScalar = z.union([z.string(), z.number(), z.boolean()]);

/**
 * The kind of a field: `s` text, `i` integer, `n` number, `b` boolean, `{}` a map merged key by key,
 * `[s]` `[i]` `[n]` a list, `@t` a reference to a `t` given by value, `@t|u` to a `t` or a `u`, `@*` to
 * anything, `[@t]` a list of references.
 */
const Kind = z
  .string()
  .regex(
    /^(s|i|n|b|\{\}|\[[sin]\]|\[?@(\*|[a-z][a-z0-9_]*(\|[a-z][a-z0-9_]*)*)\]?)$/,
    "must be one of s, i, n, b, {}, [s], [i], [n], @type, @type|type, @*, [@type]",
  );

const Field = z.union([
  Kind,
  z.strictObject({
    kind: Kind,
    /** Of text: code points. */
    maxLength: z.int().positive().optional(),
    /** Of numbers, inclusive. */
    min: z.number().optional(),
    max: z.number().optional(),
    oneOf: z.array(z.string()).nonempty().optional(),
    /** Of lists and maps: united with what is there, or put in its place. Default: lists of references and maps merge, other lists replace. */
    policy: z.enum(["merge", "replace"]).optional(),
    /** What a new object gets when nobody says otherwise. */
    default: JsonScalar.optional(),
  }),
]);

/** `name?`: part of the identity, and an absent value equals an absent value. */
const Part = z
  .string()
  .regex(/^[a-z][a-z0-9_]*\??$/, "must name a field, `field?` when it may be absent");

const Matcher = z.union([
  z.array(Part).nonempty(),
  z.strictObject({
    parts: z.array(Part).nonempty(),
    /** Holds only for objects with these values; null: without a value. */
    when: z.record(Name, JsonScalar.nullable()).optional(),
    /** The values of the parts name the object in whichever order they come: the two ends of a cable. */
    anyOrder: z.boolean().optional(),
  }),
]);

const Type = z.strictObject({
  /** The name by which targets know it, `dcim.device`. Default: its own. */
  type: z.string().min(1).max(100).optional(),
  /** What people call it. Default: its name, in words. */
  label: z.string().min(1).max(100).optional(),
  /** What names an object, tried in order. */
  match: z.array(Matcher).nonempty(),
  /** Fields without which no object is created. */
  need: z.array(Name).default([]),
  /** References that close a cycle: set by an update after everything is created. */
  defer: z.array(Name).default([]),
  /** A field made from another when it is absent; never part of an identity. */
  slug: z.strictObject({ field: Name, from: Name }).optional(),
  /** Found, never written: users of the target, say. */
  matchOnly: z.boolean().default(false),
  fields: z.record(Name, Field),
});

export const RegistryFile = z.strictObject({
  /** What an inventory calls it: `network`. */
  name: Name,
  /** Fields that every type has, unless it names them itself. */
  common: z.record(Name, Field).default({}),
  types: z.record(Name, Type).refine((types) => Object.keys(types).length > 0, "must hold a type"),
});

export type RegistryFile = z.input<typeof RegistryFile>;
export type RegistryField = z.infer<typeof Field>;
export type RegistryMatcher = z.infer<typeof Matcher>;
export type RegistryType = z.infer<typeof Type>;
