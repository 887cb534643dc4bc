import type { Deviation, ReviewAct } from "../../contracts/review.ts";
import { REVIEW_LIMITS } from "../../contracts/review.ts";
import { findIds } from "../../db/review-list.ts";
import { statesBefore } from "../../domain/inventory-state.ts";
import { ChangeSum } from "./change-counts.tsx";
import { stateWords } from "./entity-state.ts";
import { number } from "./format.ts";
import { deviationAddress } from "./inventory-address.ts";
import { Empty, Shown, Table } from "./pieces.tsx";
import { part, type Part, type Reading } from "./reading.ts";
import { FILTERS, filterOf, filterParams, listFilter, type ReviewQuery } from "./review-query.ts";
import { DECISIONS } from "./review-words.ts";
import type { Caller } from "./sessions.ts";
import { StateBadge } from "./state-badge.tsx";

const SAMPLE = 8;
/** Counted exactly up to here; what is decided has a bound of its own. */
const COUNTED_TO = 200_000;
const COUNT_PAGE = 20_000;
const COUNT_MS = 1_500;

export interface AllFound {
  sample: Deviation[];
  n: number;
  /** There are more than were counted. */
  more: boolean;
}

/** How many an act would be about, and some of them. */
export async function readAll(
  read: Reading,
  query: ReviewQuery,
  act: ReviewAct,
): Promise<Part<AllFound>> {
  return part(async () => {
    const filter = filterOf(query);
    const states = statesBefore(act).filter((state) => filter.states?.includes(state) ?? true);
    if (states.length === 0) return { sample: [], n: 0, more: false };
    const { after: _, ...unpaged } = query;
    const sample = await read.holdfast.review.list({
      ...listFilter(unpaged, SAMPLE),
      states: [...states],
    });
    const tenant = filter.tenant ?? sample.items[0]?.tenant ?? "default";
    const until = Date.now() + COUNT_MS;
    let n = 0;
    for (let after: string | undefined = "0"; after !== undefined;) {
      if (n >= COUNTED_TO || Date.now() > until) return { sample: sample.items, n, more: true };
      const found = await findIds(
        read.db,
        { ...filter, tenant, states },
        { after, limit: COUNT_PAGE },
      );
      n += found.ids.length;
      after = found.next;
    }
    return { sample: sample.items, n, more: false };
  });
}

const ACTS = ["approve", "ignore", "reject", "rediff", "reopen", "requeue"] as const;

/** Asks before all of a filter is decided: what will happen to how many, and who may undo it. */
export function AllPage(props: {
  act: ReviewAct;
  query: ReviewQuery;
  found: Part<AllFound>;
  caller: Caller;
  wrong?: string | undefined;
}) {
  const { act, query, found, caller, wrong } = props;
  const params = filterParams(query);
  const back = `/review?${params}`;
  const { words, means } = DECISIONS[act];
  return (
    <section class="ask">
      <p class="crumbs">
        <a href="/review">Review</a> / <a href={back}>this filter</a>
      </p>
      <h1>{words} all that this filter finds?</h1>
      <p class="tabs">
        {ACTS.map((other) => (
          <a
            href={`/review/all?${new URLSearchParams([...params, ["act", other]])}`}
            {...(other === act ? { "aria-current": "page" } : {})}
          >
            {DECISIONS[other].words}
          </a>
        ))}
      </p>
      <p>
        Filter: <Narrowed query={query} />
      </p>
      <Shown part={found}>
        {({ n, more, sample }) =>
          n === 0 ? (
            <Empty>
              It finds nothing that may be {DECISIONS[act].done}.{" "}
              <a href={back}>Back to the list</a>
            </Empty>
          ) : (
            <>
              <ul>
                <li>
                  <strong>
                    {more ? "More than " : ""}
                    {number(n)} {n === 1 && !more ? "deviation" : "deviations"}
                  </strong>
                  : each {means}
                </li>
                <li>
                  It runs as an operation, of at most {number(REVIEW_LIMITS.items)}; what comes in
                  after this moment is not part of it.
                </li>
                <li>{undoWords(act)}</li>
              </ul>
              <Sample sample={sample} n={n} />
              <form
                method="post"
                action={`/review/all?${new URLSearchParams([...params, ["act", act]])}`}
              >
                <input type="hidden" name="token" value={caller.formToken} />
                <label>
                  <span>Why? Others will read it. May be left out.</span>
                  <input name="reason" maxlength={500} size={40} />
                </label>
                <label>
                  <span>
                    To confirm, type <code>{act}</code>
                  </span>
                  <input name="typed" autocomplete="off" spellcheck={false} size={12} required />
                </label>
                {wrong && (
                  <p class="alarm" role="alert">
                    {wrong}
                  </p>
                )}
                <p class="acts">
                  <button class={act === "approve" ? "danger" : ""}>
                    {words} {more ? "all of them" : number(n)}
                  </button>
                  <a href={back}>Leave them as they are</a>
                </p>
              </form>
            </>
          )
        }
      </Shown>
    </section>
  );
}

function Narrowed({ query }: { query: ReviewQuery }) {
  const said = FILTERS.filter((name) => query[name] !== undefined);
  if (said.length === 0) return <strong>none, so everything of your usual tenant</strong>;
  return (
    <>
      {said.map((name, no) => (
        <>
          {no > 0 && ", "}
          {name} <code>{query[name]}</code>
        </>
      ))}
    </>
  );
}

function undoWords(act: ReviewAct): string {
  if (act === "approve")
    return "What is applied is not taken back by itself: the history of each object says what it was.";
  if (act === "ignore" || act === "reject")
    return "Whoever may decide can reopen them at any time.";
  return "Nothing is applied by this alone, unless a rule of the tenant lets it.";
}

function Sample({ sample, n }: { sample: Deviation[]; n: number }) {
  if (sample.length === 0) return null;
  return (
    <>
      <p class="faint">{sample.length < n ? `${sample.length} of them:` : "These are:"}</p>
      <Table
        label="some of them"
        look="lines"
        head={
          <>
            <th>Deviation</th>
            <th>Changes</th>
            <th>State</th>
          </>
        }
      >
        {sample.map((one) => (
          <tr>
            <td class="cut" title={one.title}>
              <a href={deviationAddress(one.id)}>{one.title}</a>
            </td>
            <td>
              <ChangeSum counts={one.changes} />
            </td>
            <td>
              <StateBadge state={stateWords(one.state, one.approved)} />
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
}
