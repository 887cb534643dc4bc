import type { Child } from "hono/jsx";
import { OPEN_STATES } from "../../contracts/operation.ts";
import { countFindings } from "../../db/findings.ts";
import { countOperations } from "../../db/operations.ts";
import { countHolds, countReviews } from "../../db/review-counts.ts";
import { countFailing } from "../../db/search-status.ts";
import { number } from "./format.ts";
import { part, partOrFail, valueOr, type Reading } from "./reading.ts";

export type Place =
  | "overview"
  | "operations"
  | "jobs"
  | "inbox"
  | "review"
  | "inventory"
  | "search"
  | "banks";

/** Counts beside the navigation; null: could not be read. */
export interface NavCounts {
  open: number | null;
  failed: number | null;
  jobs: number | null;
  /** Deviations that wait for a decision; branches that are held. */
  toDecide: number | null;
  held: number | null;
  /** Absent: not this caller's to see. */
  findings?: number | null;
  /** Lanes and indexes of search that cannot go on. Absent as above. */
  searchFailing?: number | null;
}

/** What is open, what failed in 24 hours, what the doctor found, what search cannot do. */
export async function navCounts({ db, tenants }: Reading): Promise<NavCounts> {
  const wide = tenants === undefined;
  const [counts, reviews, holds, findings, searchFailing] = await Promise.all([
    partOrFail(() => countOperations(db, tenants)),
    part(() => countReviews(db, tenants, COUNTED_TO)),
    part(() => countHolds(db, tenants)),
    wide ? part(() => countFindings(db)) : undefined,
    wide ? part(() => countFailing(db)) : undefined,
  ]);
  const sum = (states: readonly string[], kind?: string) =>
    "value" in counts
      ? counts.value
          .filter((row) => states.includes(row.state) && (!kind || row.kind === kind))
          .reduce((total, row) => total + row.n, 0)
      : null;
  return {
    open: sum(OPEN_STATES),
    failed: sum(["failed"]),
    jobs: sum(OPEN_STATES, "job"),
    toDecide: "value" in reviews ? reviews.value.reduce((all, { open }) => all + open, 0) : null,
    held: valueOr(holds, null),
    ...(findings ? { findings: valueOr(findings, null) } : {}),
    ...(searchFailing ? { searchFailing: valueOr(searchFailing, null) } : {}),
  };
}

/** The entries of the navigation, each with the counts that matter. */
export function Nav({ at, counts }: { at: Place | undefined; counts: NavCounts | undefined }) {
  const entry = (here: Place, href: string, words: string, beside?: Child) => (
    <li>
      <a href={href} {...(at === here ? { "aria-current": "page" } : {})}>
        {words}
      </a>
      {beside}
    </li>
  );
  return (
    <>
      {entry(
        "overview",
        "/",
        "Overview",
        counts?.findings !== undefined && (
          <Count n={counts.findings} words="findings" href="/#findings" tone="bad" />
        ),
      )}
      {entry(
        "operations",
        "/operations",
        "Operations",
        counts && (
          <>
            <Count n={counts.open} words="open" href="/operations?state=open" />
            <Count n={counts.failed} words="failed" href="/operations?state=failed" tone="bad" />
          </>
        ),
      )}
      {entry(
        "jobs",
        "/jobs",
        "Jobs",
        counts && <Count n={counts.jobs} words="open" href="/jobs?state=open" />,
      )}
      {entry(
        "inbox",
        "/inbox",
        "Inbox",
        counts && <Count n={counts.held} words="held" href="/inbox" tone="warn" />,
      )}
      {entry(
        "review",
        "/review",
        "Review",
        counts && <Count n={counts.toDecide} words="to decide" href="/review" />,
      )}
      {entry("inventory", "/inventory", "Inventory")}
      {entry(
        "search",
        "/search",
        "Search",
        counts?.searchFailing !== undefined && (
          <Count n={counts.searchFailing} words="failing" href="/search/status" tone="bad" />
        ),
      )}
      {entry("banks", "/banks", "Banks")}
    </>
  );
}

const COUNTED_TO = 10_000;

function Count(props: { n: number | null; words: string; href: string; tone?: string }) {
  const { n, words, href, tone } = props;
  if (n === 0) return null;
  const shown = n === null ? "?" : n >= COUNTED_TO ? `${number(COUNTED_TO)}+` : number(n);
  return (
    <a class={`count ${tone ?? ""}`} href={href} title={title(n, words)}>
      {shown} {words}
    </a>
  );
}

function title(n: number | null, words: string): string {
  if (n === null) return `the number of ${words} could not be read`;
  return words === "failed" ? "failed in the last 24 hours" : words;
}
