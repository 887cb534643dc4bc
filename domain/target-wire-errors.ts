import type { TargetEntity, TargetError } from "../contracts/target.ts";
import type { Json } from "./exact-json.ts";
import type { Registry } from "./registry.ts";
import { isObject, printable, shortly } from "./target-wire.ts";

/** What the errors of an HTTP target mean: for good, to be tried again, or for want of another object. */

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
