import type { InboxStatus } from "../../contracts/inbox.ts";
import type { ReviewCount } from "../../db/review-counts.ts";
import { number } from "./format.ts";
import { Status } from "./inbox.tsx";
import type { Part } from "./reading.ts";
import { COUNTED_TO } from "./review.tsx";

/** What waits before it is in the inventory: for a worker, or for somebody who decides. */
export function InventoryLag(props: { inbox: Part<InboxStatus[]>; reviews: Part<ReviewCount[]> }) {
  const { inbox, reviews } = props;
  const waiting = "value" in reviews ? reviews.value : [];
  if ("value" in inbox && inbox.value.length === 0 && waiting.length === 0) return null;
  return (
    <>
      <h2>
        <a href="/inbox">Inbox</a> and <a href="/review">review</a>
      </h2>
      {waiting.length > 0 && (
        <p>
          {waiting.map(({ tenant, open, troubled }, no) => (
            <>
              {no > 0 && "; "}
              {tenant}:{" "}
              <a href={`/review?${new URLSearchParams({ tenant, state: "open" })}`}>
                {many(open)} to decide
              </a>
              {troubled > 0 && (
                <>
                  ,{" "}
                  <a
                    class="bad"
                    href={`/review?${new URLSearchParams({ tenant, state: "troubled" })}`}
                  >
                    {many(troubled)} failed
                  </a>
                </>
              )}
            </>
          ))}
          .
        </p>
      )}
      <Status part={inbox} />
    </>
  );
}

function many(n: number): string {
  return n >= COUNTED_TO ? `${number(COUNTED_TO)}+` : number(n);
}
