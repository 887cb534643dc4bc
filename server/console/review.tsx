import type { Deviation } from "../../contracts/review.ts";
import { REVIEW_STATES } from "../../contracts/review.ts";
import { mayDo } from "../../contracts/roles.ts";
import { InvalidInput } from "../../contracts/errors.ts";
import type { Page } from "../../contracts/operation.ts";
import { countReviews, listPrimaries, type ReviewCount } from "../../db/review-counts.ts";
import type { Body } from "./body.ts";
import { ChangeSum } from "./change-counts.tsx";
import { stateWords } from "./entity-state.ts";
import { nameIn } from "./field-value.tsx";
import type { Visit } from "./frame.tsx";
import { counted, number } from "./format.ts";
import { Holds, readHolds } from "./holds.tsx";
import { deviationAddress, requestAddress } from "./inventory-address.ts";
import { Ago, Empty, NextPage, Shown, Table, withParams } from "./pieces.tsx";
import { part, valueOr, type Part, type Reading } from "./reading.ts";
import { FILTERS, filterParams, listFilter, readQuery, type ReviewQuery } from "./review-query.ts";
import { ReviewTabs } from "./review-tabs.tsx";
import { DECISIONS } from "./review-words.ts";
import type { Caller } from "./sessions.ts";
import { StateBadge } from "./state-badge.tsx";

const PAGE_SIZE = 50;
export const COUNTED_TO = 10_000;

/** What sources say that the inventory does not, and what is to become of it; the filter is the address. */
export async function reviewBody({ caller, read, url }: Visit): Promise<Body> {
  const asked = readQuery(url);
  let wrong = asked instanceof InvalidInput ? asked : undefined;
  const query = asked instanceof InvalidInput ? {} : asked;
  const [page, holds, waiting] = await Promise.all([
    part(() =>
      read.holdfast.review.list(listFilter(query, PAGE_SIZE)).catch((error: unknown) => {
        if (error instanceof InvalidInput) wrong = error;
        throw error;
      }),
    ),
    readHolds(read),
    part(() => countReviews(read.db, read.tenants, COUNTED_TO)),
  ]);
  const about = await objectsOf(read, valueOr(page, undefined)?.items ?? []);
  return {
    title: "Review",
    at: "review",
    status: wrong ? 400 : 200,
    sections: {
      head: (
        <>
          <h1>Review</h1>
          <ReviewTabs at="deviations" />
          <Done url={url} />
          <Holds part={holds} />
          <Tenants part={waiting} query={query} />
          <Filter query={query} />
          {wrong && (
            <p class="alarm" role="alert">
              This filter cannot be used: {wrong.message}. <a href="/review">Show what waits</a>
            </p>
          )}
        </>
      ),
      rows: wrong ? null : (
        <Shown part={page}>
          {(found) => <Rows page={found} about={about} query={query} caller={caller} url={url} />}
        </Shown>
      ),
    },
  };
}

/** By entity, what names the object that it is about: a title alone says `Interface eth0`. */
async function objectsOf(
  { db }: Reading,
  items: readonly Deviation[],
): Promise<ReadonlyMap<string, string>> {
  const found = await part(() =>
    listPrimaries(
      db,
      items.map(({ id }) => id),
    ),
  );
  return new Map(valueOr(found, []).map(({ entity, identity }) => [entity, nameIn(identity)]));
}

/** What was just decided, if something was. */
export function Done({ url }: { url: URL }) {
  const did = url.searchParams.get("did") as keyof typeof DECISIONS | null;
  const n = Number(url.searchParams.get("decided") ?? 0);
  if (did === null || !Object.hasOwn(DECISIONS, did) || !Number.isSafeInteger(n)) return null;
  return (
    <p class="notice" role="status">
      {counted(n, "deviation")} {DECISIONS[did].done}.
    </p>
  );
}

function Tenants({ part, query }: { part: Part<ReviewCount[]>; query: ReviewQuery }) {
  if (!("value" in part) || part.value.length <= 1) return null;
  if (part.value.length > 12) return null;
  const here = query.tenant ?? "default";
  return (
    <p class="tabs" aria-label="tenants">
      {part.value.map(({ tenant, open, troubled }) => (
        <a
          href={`/review?${new URLSearchParams({ tenant })}`}
          {...(tenant === here ? { "aria-current": "page" } : {})}
        >
          {tenant}{" "}
          <span class="faint">
            {many(open)} to decide{troubled > 0 && `, ${many(troubled)} failed`}
          </span>
        </a>
      ))}
    </p>
  );
}

function many(n: number): string {
  return n >= COUNTED_TO ? `${number(COUNTED_TO)}+` : number(n);
}

const STATE_CHOICES: [string, string][] = [
  ["open", "waits for a decision"],
  ["troubled", "failed or given up"],
  ...REVIEW_STATES.filter((state) => state !== "open").map((state): [string, string] => [
    state,
    stateWords(state),
  ]),
];

function Filter({ query }: { query: ReviewQuery }) {
  const text = (name: "tenant" | "branch" | "type" | "rule" | "text", size = 6, label?: string) => (
    <label>
      <span>{label ?? name}</span>
      <input name={name} value={query[name] ?? ""} size={size} placeholder="any" />
    </label>
  );
  const filtered = FILTERS.some((name) => query[name] !== undefined);
  return (
    <form class="filter" method="get" action="/review">
      <label>
        <span>state</span>
        <select name="state">
          <option value="">waits for somebody</option>
          {STATE_CHOICES.map(([value, words]) => (
            <option value={value} selected={value === query.state}>
              {words}
            </option>
          ))}
        </select>
      </label>
      {text("tenant")}
      {text("branch")}
      {text("type")}
      {text("rule")}
      {text("text", 10, "title holds")}
      <label>
        <span>order</span>
        <select name="order">
          <option value="">newest first</option>
          <option value="oldest" selected={query.order === "oldest"}>
            oldest first
          </option>
        </select>
      </label>
      {(["request", "operation"] as const).map(
        (name) => query[name] && <input type="hidden" name={name} value={query[name]} />,
      )}
      <button>Filter</button>
      {filtered && <a href="/review">Clear</a>}
      {query.request && (
        <span class="faint">
          of <a href={requestAddress(query.request)}>request …{query.request.slice(-8)}</a>
        </span>
      )}
      {query.operation && (
        <span class="faint">
          of <a href={`/operations/${query.operation}`}>operation …{query.operation.slice(-8)}</a>
        </span>
      )}
    </form>
  );
}

function Rows(props: {
  page: Page<Deviation>;
  about: ReadonlyMap<string, string>;
  query: ReviewQuery;
  caller: Caller;
  url: URL;
}) {
  const { page, about, query, caller, url } = props;
  const { items, next } = page;
  const more = next && (
    <NextPage
      href={withParams(url, { after: next, did: undefined, decided: undefined })}
      words={query.order === "oldest" ? "Newer" : "Older"}
    />
  );
  if (items.length === 0) {
    return (
      <>
        <None query={query} searching={next !== undefined} />
        {more}
      </>
    );
  }
  const mayDecide = mayDo(caller.role, "decide");
  const mixed = new Set(items.map(({ branch }) => branch)).size > 1;
  return (
    <>
      <form method="post" action={`/review/decide?${filterParams(query)}`}>
        <input type="hidden" name="token" value={caller.formToken} />
        <input type="hidden" name="back" value={url.search} />
        <input type="hidden" name="tenant" value={items[0]!.tenant} />
        {mayDecide && <Bulk query={query} />}
        <Table
          label="deviations"
          look="wide rows deviations"
          head={
            <>
              <th>State</th>
              <th>Deviation</th>
              <th>Object</th>
              <th>Changes</th>
              <th>Taken in</th>
              <th>Rule, or why</th>
            </>
          }
        >
          {items.map((one) => (
            <Row one={one} about={about.get(one.id)} mixed={mixed} mayDecide={mayDecide} />
          ))}
        </Table>
      </form>
      {more}
    </>
  );
}

function Row(props: {
  one: Deviation;
  about: string | undefined;
  /** There are several branches in this list. */
  mixed: boolean;
  mayDecide: boolean;
}) {
  const { one, about, mixed, mayDecide } = props;
  const href = deviationAddress(one.id);
  return (
    <tr>
      <td>
        {mayDecide && (
          <input
            type="checkbox"
            name={`pick.${one.id}`}
            value={one.planHash ?? "none"}
            aria-label={`choose ${one.title}`}
          />
        )}{" "}
        <StateBadge state={stateWords(one.state, one.approved)} />
      </td>
      <td class="cut" title={one.title}>
        <a href={href}>{one.title}</a>
      </td>
      <td class="cut" title={`${about ?? one.type}, in ${one.tenant} / ${one.branch ?? "?"}`}>
        {about} {mixed && <span class="faint">in {one.branch ?? "no branch yet"}</span>}
      </td>
      <td>
        <ChangeSum counts={one.changes} />
      </td>
      <td>
        <Ago at={one.acceptedAt} />
      </td>
      <td class="words">
        {one.error ? (
          <span title={one.error.fault}>{one.error.message}</span>
        ) : one.rule ? (
          <a href={`/review?${new URLSearchParams({ tenant: one.tenant, rule: one.rule })}`}>
            {one.rule}
          </a>
        ) : (
          one.decidedBy && <span class="faint">decided by {one.decidedBy}</span>
        )}
      </td>
    </tr>
  );
}

const BULK = ["approve", "ignore", "reject", "rediff"] as const;

function Bulk({ query }: { query: ReviewQuery }) {
  return (
    <div class="bulk">
      <label class="choice" data-check-all hidden>
        <input type="checkbox" /> all on this page
      </label>
      <span>The chosen:</span>
      {BULK.map((act) => (
        <button name="act" value={act}>
          {DECISIONS[act].words}
        </button>
      ))}
      <span class="faint">or</span>
      <a href={`/review/all?${filterParams(query)}`}>all that this filter finds…</a>
    </div>
  );
}

function None({ query, searching }: { query: ReviewQuery; searching: boolean }) {
  if (searching) return <Empty>Nothing among those looked at so far; there are more.</Empty>;
  if (query.after) return <Empty>There are no more.</Empty>;
  if (FILTERS.some((name) => name !== "tenant" && query[name] !== undefined)) {
    return (
      <Empty>
        Nothing matches this filter. <a href="/review">Show what waits</a>
      </Empty>
    );
  }
  return (
    <Empty command="holdfast inbox ingest <entities.ndjson>">
      Nothing waits for a decision. What a source says that the inventory does not, comes here:
    </Empty>
  );
}
