import type { Captured, Relation } from "./search-capture-catalog.ts";
import { captureBody, EVENTS, type CaptureEvent } from "./search-capture-sql.ts";
import { quoted } from "./index-source.ts";
import { qualifier, type Db, type Queryable } from "./pool.ts";

/** Triggers and functions of capture: those there should be, those that stand, and the difference. */

/**
 * How names are found in a capture function, which runs with our rights in the sessions of others. What
 * is temporary comes last: unless it is named it comes first, also for types, and a type of one's own
 * by the name of `text` would run one's own code as ours.
 */
export const CAPTURE_PATH = "pg_catalog, pg_temp";

export interface CaptureFunction {
  name: string;
  body: string;
}

interface CaptureTrigger {
  name: string;
  function: string;
  relation: Relation;
}

/** A trigger with how it is made. */
export interface WantedTrigger extends CaptureTrigger {
  event: CaptureEvent;
  /** The index's schema, where the relation lives in another. */
  argument: string | undefined;
}

export interface Wanted {
  functions: readonly CaptureFunction[];
  triggers: readonly WantedTrigger[];
}

/** Names lead back to the index: `capture_<index>_<event>`, with a number for each dependency. */
export function wantedCapture(
  { schema }: Pick<Db, "schema">,
  indexId: number,
  { source, watches }: Captured,
): Wanted {
  const qualify = qualifier(schema);
  const functions: CaptureFunction[] = [];
  const triggers: WantedTrigger[] = [];
  for (const [no, watch] of watches.entries()) {
    for (const event of EVENTS) {
      const name = `capture_${indexId}_${no === 0 ? "" : `${no - 1}_`}${event}`;
      functions.push({ name, body: qualify(captureBody(watch, event)) });
      for (const relation of watch.relations) {
        const argument = relation.schema === source.schema ? undefined : source.schema;
        const trigger = `${schema.slice(0, LONGEST_PREFIX)}_${name}`;
        triggers.push({ name: trigger, function: name, relation, event, argument });
      }
    }
  }
  return { functions, triggers };
}

// With what follows, a name stays within the 63 characters that Postgres keeps.
const LONGEST_PREFIX = 30;

interface StandingTrigger extends CaptureTrigger {
  enabled: boolean;
  argument: string | undefined;
  /** This role owns the table, and so may drop the trigger by itself. */
  owned: boolean;
}

export interface Standing {
  functions: readonly (CaptureFunction & { safe: boolean })[];
  triggers: readonly StandingTrigger[];
}

const OURS = `(select relnamespace from pg_class where oid = 'holdfast.search_indexes'::regclass)`;

/** What there is of an index; without one, of all there ever were. */
export async function readStanding(db: Queryable, indexId: number | null): Promise<Standing> {
  const { rows } = await db.query<{
    name: string;
    body: string;
    safe: boolean;
    triggers: {
      name: string;
      enabled: boolean;
      owned: boolean;
      argument: string;
      relation: Relation;
    }[];
  }>(
    `select p.proname as name, p.prosrc as body,
            p.prosecdef and coalesce(p.proconfig = array['search_path=${CAPTURE_PATH}'], false) as safe,
            coalesce((select json_agg(json_build_object(
                'name', g.tgname, 'enabled', g.tgenabled in ('O', 'A'),
                'owned', pg_has_role(c.relowner, 'usage'),
                'argument', encode(g.tgargs, 'hex'),
                'relation', json_build_object('oid', c.oid::int8, 'schema', n.nspname,
                                              'name', c.relname)) order by c.oid, g.tgname)
               from pg_trigger g
               join pg_class c on c.oid = g.tgrelid
               join pg_namespace n on n.oid = c.relnamespace
              where g.tgfoid = p.oid and not g.tgisinternal), '[]') as triggers
       from pg_proc p
      where p.pronamespace = ${OURS} and p.prorettype = 'trigger'::regtype
        and p.proname ~ '^capture_[0-9]+_'
        and ($1::int is null or starts_with(p.proname, 'capture_' || $1::int || '_'))
      order by p.proname`,
    [indexId],
  );
  return {
    functions: rows.map(({ name, body, safe }) => ({ name, body, safe })),
    triggers: rows.flatMap((row) =>
      row.triggers.map((trigger) => ({
        ...trigger,
        function: row.name,
        argument: argumentOf(trigger.argument),
      })),
    ),
  };
}

// Each argument ends with a zero byte.
function argumentOf(hex: string): string | undefined {
  return hex === "" ? undefined : Buffer.from(hex, "hex").toString().slice(0, -1);
}

export interface Difference {
  /** To be made, or made anew. */
  functions: readonly CaptureFunction[];
  triggers: readonly WantedTrigger[];
  surplusFunctions: readonly CaptureFunction[];
  surplusTriggers: readonly StandingTrigger[];
}

export function differenceOf(wanted: Wanted, standing: Standing): Difference {
  const isAs = (a: CaptureTrigger) => (b: CaptureTrigger) =>
    a.name === b.name && a.function === b.function && a.relation.oid === b.relation.oid;
  return {
    functions: wanted.functions.filter(
      ({ name, body }) =>
        !standing.functions.some((one) => one.name === name && one.body === body && one.safe),
    ),
    triggers: wanted.triggers.filter(
      (trigger) =>
        !standing.triggers.some(
          (one) => isAs(trigger)(one) && one.enabled && one.argument === trigger.argument,
        ),
    ),
    surplusFunctions: standing.functions.filter(
      ({ name }) => !wanted.functions.some((one) => one.name === name),
    ),
    surplusTriggers: standing.triggers.filter((trigger) => !wanted.triggers.some(isAs(trigger))),
  };
}

export function isEmpty(difference: Difference): boolean {
  return Object.values(difference).every((part) => part.length === 0);
}

/** A relation as SQL takes it. */
export const relationSql = ({ schema, name }: Relation) => `${quoted(schema)}.${quoted(name)}`;
