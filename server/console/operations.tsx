import { z } from "zod";
import { InvalidInput } from "../../contracts/errors.ts";
import {
  KINDS,
  STATES,
  type OperationFilter,
  type OperationView,
} from "../../contracts/operation.ts";
import { parseInput } from "../../client/input.ts";
import type { Body } from "./body.ts";
import { Choice } from "./choice.tsx";
import { number } from "./format.ts";
import { OutcomeCounts } from "./outcome-counts.tsx";
import { Ago, Empty, Id, NextPage, Progress, Shown, Table, withParams } from "./pieces.tsx";
import { part, type Reading } from "./reading.ts";
import { StateBadge } from "./state-badge.tsx";

const PAGE_SIZE = 50;

const SINCE_MS = {
  "1h": 3_600_000,
  "24h": 86_400_000,
  "7d": 7 * 86_400_000,
  "30d": 30 * 86_400_000,
} as const;

const SINCE_WORDS: Record<keyof typeof SINCE_MS, string> = {
  "1h": "the last hour",
  "24h": "24 hours",
  "7d": "7 days",
  "30d": "30 days",
};

const Query = z.object({
  kind: z.string().optional(),
  state: z.string().optional(),
  tenant: z.string().optional(),
  scope: z.string().optional(),
  since: z.enum(Object.keys(SINCE_MS) as [keyof typeof SINCE_MS]).optional(),
  after: z.string().optional(),
});
type Query = z.infer<typeof Query>;

/** Operations by filter, newest first; the filter is the address. */
export async function operationsBody({ holdfast }: Reading, url: URL): Promise<Body> {
  // A form sends every field, also those left empty.
  const given = Object.fromEntries([...url.searchParams].filter(([, value]) => value !== ""));
  let wrong: InvalidInput | undefined;
  const page = await part(async () => {
    try {
      const { since, ...filter } = parseInput(Query, given);
      return await holdfast.operation.list({
        ...(filter as OperationFilter),
        limit: PAGE_SIZE,
        ...(since && { since: new Date(Date.now() - SINCE_MS[since]).toISOString() }),
      });
    } catch (error) {
      if (error instanceof InvalidInput) wrong = error;
      throw error;
    }
  });
  const filtered = ["kind", "state", "tenant", "scope", "since"].some((name) => name in given);
  return {
    title: "Operations",
    at: "operations",
    status: wrong ? 400 : 200,
    sections: {
      filter: (
        <>
          <h1>Operations</h1>
          <Filter given={given} filtered={filtered} />
          {wrong && (
            <p class="alarm" role="alert">
              This filter cannot be used: {wrong.message}. <a href="/operations">Show all</a>
            </p>
          )}
        </>
      ),
      rows: wrong ? null : (
        <Shown part={page}>
          {({ items, next }) => (
            <>
              {items.length === 0 ? (
                <None filtered={filtered} paged={"after" in given} />
              ) : (
                <Rows items={items} />
              )}
              {next && (
                <NextPage href={withParams(url, { after: next })} words="Older operations" />
              )}
            </>
          )}
        </Shown>
      ),
    },
  };
}

function Filter({ given, filtered }: { given: Record<string, string>; filtered: boolean }) {
  return (
    <form class="filter" method="get" action="/operations">
      <Choice name="kind" given={given["kind"]} options={KINDS.map((kind) => [kind, kind])} />
      <Choice
        name="state"
        given={given["state"]}
        options={[["open", "open"], ...STATES.map((state): [string, string] => [state, state])]}
      />
      <label>
        <span>tenant</span>
        <input name="tenant" value={given["tenant"] ?? ""} size={12} placeholder="any" />
      </label>
      <label>
        <span>scope (bank)</span>
        <input name="scope" value={given["scope"] ?? ""} size={12} placeholder="any" />
      </label>
      <Choice
        name="since"
        label="accepted in"
        given={given["since"]}
        options={Object.entries(SINCE_WORDS)}
      />
      <button>Filter</button>
      {filtered && <a href="/operations">Clear</a>}
    </form>
  );
}

function None({ filtered, paged }: { filtered: boolean; paged: boolean }) {
  if (paged) return <Empty>No operation is older than this page.</Empty>;
  if (filtered) {
    return (
      <Empty>
        No operation matches this filter. <a href="/operations">Show all</a>
      </Empty>
    );
  }
  return (
    <Empty command="holdfast retain submit <file> --bank <name>">
      No operation yet. The first one comes with:
    </Empty>
  );
}

function Rows({ items }: { items: OperationView[] }) {
  return (
    <Table
      label="operations"
      look="wide rows"
      head={
        <>
          <th>State</th>
          <th>Operation</th>
          <th>Tenant / scope</th>
          <th>Progress</th>
          <th>Accepted</th>
          <th>Outcomes</th>
        </>
      }
    >
      {items.map((view) => (
        <tr>
          <td>
            <a class="bare" href={`/operations/${view.id}`}>
              <StateBadge state={view.shown} />
            </a>
          </td>
          <td>
            <span class="kind">{view.kind}</span>{" "}
            <Id id={view.id} href={`/operations/${view.id}`} />
            {view.generation > 1 && <span class="faint"> run {number(view.generation)}</span>}
          </td>
          <td class="cut" title={`${view.tenant} / ${view.scope}`}>
            {view.tenant}
            {view.scope && ` / ${view.scope}`}
          </td>
          <td>
            <Progress done={view.stages[0]?.done ?? 0} total={view.total} />
          </td>
          <td>
            <Ago at={view.acceptedAt} />
          </td>
          <td>
            <OutcomeCounts
              brief
              counts={view.stages[0]?.counts ?? {}}
              href={`/operations/${view.id}`}
            />
          </td>
        </tr>
      ))}
    </Table>
  );
}
