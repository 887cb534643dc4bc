import { createHash } from "node:crypto";
import { appendIndexMarks, INDEX_QUEUE, markWholeType } from "./index-marks.ts";
import type { Tx } from "./pool.ts";
import { countFailure, forgetFailures } from "./quarantine.ts";

/**
 * Objects whose index rows cannot be made: held in quarantine, `type/key` in their schema, until they
 * are written again or released. Everything else goes on.
 */

/** Keys above this many bytes do not fit the quarantine's own index. */
const LONGEST_KEY = 1_000;
const CUT = "\u2026#";

export const heldKeyPrefix = (type: string) => `${type}/`;

/** How an object is called in quarantine. */
export function heldKey(type: string, key: string): string {
  if (Buffer.byteLength(key) <= LONGEST_KEY) return heldKeyPrefix(type) + key;
  const digest = createHash("sha256").update(key).digest("hex");
  return `${heldKeyPrefix(type)}${[...key].slice(0, 200).join("")}${CUT}${digest}`;
}

/** SQL: the same. */
export const heldKeySql = (type: string, key: string) => `${type} || '/' ||
  case when octet_length(${key}) <= ${LONGEST_KEY} then ${key}
       else left(${key}, 200) || '${CUT}' || encode(sha256(convert_to(${key}, 'UTF8')), 'hex') end`;

export async function holdObject(
  tx: Tx,
  object: { schema: string; type: string; key: string },
  reason: string,
): Promise<void> {
  const key = heldKey(object.type, object.key);
  await countFailure(tx, { queue: INDEX_QUEUE, scope: object.schema, key, reason, cap: 1 });
}

/** Objects that went well after all. */
export async function unholdObjects(
  tx: Tx,
  schema: string,
  type: string,
  keys: readonly string[],
): Promise<void> {
  await forgetFailures(
    tx,
    INDEX_QUEUE,
    schema,
    keys.map((key) => heldKey(type, key)),
  );
}

const RELEASED_AT_ONCE = 10_000;

/** Marks held objects again, of one schema or all. Answers how many; as many as asked: there may be more. */
export async function releaseHeld(
  tx: Tx,
  schema: string | undefined,
  limit = RELEASED_AT_ONCE,
): Promise<number> {
  const { rows } = await tx.query<{ scope: string; key: string }>(
    `delete from holdfast.quarantine where ctid = any (array(
       select ctid from holdfast.quarantine
        where queue = $1 and ($2::text is null or scope = $2) limit $3))
     returning scope, key`,
    [INDEX_QUEUE, schema ?? null, limit],
  );
  const held = rows.map(({ scope, key }) => {
    const at = key.indexOf("/");
    return { scope, type: key.slice(0, at), key: key.slice(at + 1) };
  });
  for (const { scope, type, keys } of perIndex(held)) {
    const whole = keys.filter((key) => !key.includes(CUT));
    await appendIndexMarks(tx, scope, type, whole);
    // Of a key that was cut nobody knows the rest.
    if (whole.length < keys.length) await markWholeType(tx, scope, type);
  }
  return rows.length;
}

function perIndex(held: readonly { scope: string; type: string; key: string }[]) {
  const indexes = new Map<string, { scope: string; type: string; keys: string[] }>();
  for (const { scope, type, key } of held) {
    const name = `${scope}\0${type}`;
    const index = indexes.get(name) ?? { scope, type, keys: [] };
    index.keys.push(key);
    indexes.set(name, index);
  }
  return indexes.values();
}
