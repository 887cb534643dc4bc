import type { InboxStatus, RequestView } from "../../contracts/inbox.ts";
import type { EntityState } from "../../contracts/inventory.ts";
import { InvalidInput } from "../../contracts/errors.ts";
import type { Page } from "../../contracts/operation.ts";
import type { Body } from "./body.ts";
import { stateWords } from "./entity-state.ts";
import type { Visit } from "./frame.tsx";
import { number, span } from "./format.ts";
import { Holds, readHolds } from "./holds.tsx";
import { requestAddress } from "./inventory-address.ts";
import { Ago, Empty, Id, NextPage, Shown, Table, withParams } from "./pieces.tsx";
import { part, type Part } from "./reading.ts";
import { StateBadge } from "./state-badge.tsx";

const REQUESTS = 50;

/** What waits to be planned, how long, what is held, and what came in last. */
export async function inboxBody({ read, url }: Visit): Promise<Body> {
  const given = Object.fromEntries([...url.searchParams].filter(([, value]) => value !== ""));
  const { tenant, source, after } = given;
  const { inbox } = read.holdfast;
  let wrong: InvalidInput | undefined;
  const filter = { ...(tenant && { tenant }), ...(source && { source }) };
  const [status, requests, holds] = await Promise.all([
    part(() => inbox.status(tenant ? { tenant } : {})),
    part(() =>
      inbox
        .requests({ ...filter, limit: REQUESTS, ...(after && { after }) })
        .catch((error: unknown) => {
          if (error instanceof InvalidInput) wrong = error;
          throw error;
        }),
    ),
    readHolds(read),
  ]);
  return {
    title: "Inbox",
    at: "inbox",
    status: wrong ? 400 : 200,
    sections: {
      head: (
        <>
          <h1>Inbox</h1>
          <Holds part={holds} />
        </>
      ),
      status: <Status part={status} />,
      filter: (
        <>
          <h2>What came in</h2>
          <form class="filter" method="get" action="/inbox">
            {(["tenant", "source"] as const).map((name) => (
              <label>
                <span>{name}</span>
                <input name={name} value={given[name] ?? ""} size={14} placeholder="any" />
              </label>
            ))}
            <button>Filter</button>
            {(tenant ?? source) && <a href="/inbox">Clear</a>}
          </form>
          {wrong && (
            <p class="alarm" role="alert">
              This filter cannot be used: {wrong.message}. <a href="/inbox">Show all</a>
            </p>
          )}
        </>
      ),
      requests: wrong ? null : (
        <Requests part={requests} url={url} filtered={Boolean(tenant ?? source ?? after)} />
      ),
    },
  };
}

/** States in which an entity goes on by itself. */
const COMING = ["queued", "planning", "applying", "pending_retry"] as const satisfies EntityState[];

/** How much waits in each branch, and for how long. */
export function Status({ part }: { part: Part<InboxStatus[]> }) {
  return (
    <Shown part={part}>
      {(rows) =>
        rows.length === 0 ? (
          <Empty>
            Nothing waits: all that came in is planned, and nothing waits for a decision.
          </Empty>
        ) : (
          <Table
            label="branches"
            look="wide"
            head={
              <>
                <th>Tenant / branch</th>
                <th>Lag</th>
                {COMING.map((state) => (
                  <th class="num">{COLUMNS[state]}</th>
                ))}
                <th class="num">To decide</th>
                <th>Into</th>
                <th>How</th>
              </>
            }
          >
            {rows.map((row) => (
              <Branch row={row} />
            ))}
          </Table>
        )
      }
    </Shown>
  );
}

const COLUMNS: Record<(typeof COMING)[number], string> = {
  queued: "Queued",
  planning: "Planning",
  applying: "Applying",
  pending_retry: "To retry",
};

function Branch({ row }: { row: InboxStatus }) {
  const { tenant, branch } = row;
  const of = { tenant, ...(branch !== null && { branch }) };
  const count = (n: number | undefined) => {
    if (!n) return <span class="faint">0</span>;
    return n >= row.countedTo ? `${number(row.countedTo)}+` : number(n);
  };
  const linked = (state: EntityState) => (
    <a href={`/review?${new URLSearchParams({ ...of, state })}`}>{count(row.states[state])}</a>
  );
  return (
    <tr>
      <td>
        {tenant} / {branch ?? <span class="warn">branch not known yet</span>}{" "}
        {row.held && <StateBadge state="held" />}
      </td>
      <td>
        {row.oldestQueuedAt === null ? (
          <span class="faint">none</span>
        ) : (
          <span class={row.lagSeconds > 60 ? "warn" : ""}>{span(row.lagSeconds * 1_000)}</span>
        )}
      </td>
      {COMING.map((state) => (
        <td class="num">{row.states[state] ? linked(state) : count(0)}</td>
      ))}
      <td class="num">{row.states.open ? linked("open") : count(0)}</td>
      <td>{row.target}</td>
      <td>{row.mode === "auto" ? "rules decide" : "people decide"}</td>
    </tr>
  );
}

function Requests(props: { part: Part<Page<RequestView>>; url: URL; filtered: boolean }) {
  return (
    <Shown part={props.part}>
      {({ items, next }) =>
        items.length === 0 ? (
          props.filtered ? (
            <Empty>
              Nothing came in that matches this. <a href="/inbox">Show all</a>
            </Empty>
          ) : (
            <Empty command="holdfast inbox ingest <entities.ndjson>">
              Nothing has come in yet. A file of entities, one JSON object a line:
            </Empty>
          )
        ) : (
          <>
            <Table
              label="requests"
              look="wide rows requests"
              head={
                <>
                  <th>Source</th>
                  <th>Request</th>
                  <th>Tenant</th>
                  <th>Entities</th>
                  <th>Taken in</th>
                  <th>Of them</th>
                </>
              }
            >
              {items.map((one) => (
                <tr>
                  <td class="cut" title={one.source}>
                    {one.source}
                    {one.scope && <span class="faint"> snapshot of {one.scope}</span>}
                  </td>
                  <td class="cut">
                    <Id id={one.request} href={requestAddress(one.request)} />
                    {one.messageId && <span class="faint"> {one.messageId}</span>}
                  </td>
                  <td class="cut">{one.tenant}</td>
                  <td>
                    <a href={requestAddress(one.request)}>{number(one.received)}</a>
                  </td>
                  <td>
                    <Ago at={one.at} />
                  </td>
                  <td class="words">
                    <Counts of={one} />
                  </td>
                </tr>
              ))}
            </Table>
            {next && <NextPage href={withParams(props.url, { after: next })} words="Older" />}
          </>
        )
      }
    </Shown>
  );
}

/** `120 new, 3 copies, 1 rejected`. */
export function Counts({ of }: { of: RequestView }) {
  return (
    <>
      {number(of.accepted)} new
      {of.copies > 0 && `, ${number(of.copies)} said already`}
      {of.rejected > 0 && (
        <>
          , <span class="bad">{number(of.rejected)} rejected</span>
        </>
      )}
      {of.missing !== null && of.missing > 0 && (
        <>
          , <span class="warn">{number(of.missing)} missing</span>
        </>
      )}
    </>
  );
}

/** Counts by state, each in its words. */
export function States({ of, href }: { of: InboxStatus["states"]; href: string }) {
  const shown = Object.entries(of) as [EntityState, number][];
  if (shown.length === 0) return <span class="faint">none is kept</span>;
  return (
    <span class="outcomes">
      {shown.map(([state, n]) => (
        <a class="bare" href={`${href}&state=${state}`}>
          <StateBadge state={stateWords(state)} n={number(n)} />
        </a>
      ))}
    </span>
  );
}
