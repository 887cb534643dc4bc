import {
  OUTCOMES,
  type BatchView,
  type ItemView,
  type OperationView,
  type Page,
} from "../../contracts/operation.ts";
import { counted, number } from "./format.ts";
import type { OperationQuery } from "./operation-query.ts";
import { documentAddress } from "./bank-address.ts";
import { Ago, Empty, NextPage, Progress, Shown, Table, withParams } from "./pieces.tsx";
import type { Part } from "./reading.ts";
import { StateBadge } from "./state-badge.tsx";

/** Items by outcome: which, how they ended and why, and when the next try is. */
export function Items(props: {
  view: OperationView;
  part: Part<Page<ItemView>>;
  query: OperationQuery;
  url: URL;
}) {
  const { view, part, query, url } = props;
  return (
    <>
      <h2>Items</h2>
      <OutcomeTabs view={view} query={query} url={url} />
      <Shown part={part}>
        {({ items, next }) => (
          <>
            {items.length === 0 ? (
              <Empty>
                {query.outcome || query.batch
                  ? "No item of this operation matches."
                  : "This operation has no items."}
              </Empty>
            ) : (
              <ItemRows view={view} items={items} />
            )}
            {next && (
              <NextPage
                href={withParams(url, { itemsAfter: next, did: undefined }, "items")}
                words="More items"
              />
            )}
          </>
        )}
      </Shown>
    </>
  );
}

function OutcomeTabs({
  view,
  query,
  url,
}: {
  view: OperationView;
  query: OperationQuery;
  url: URL;
}) {
  const counts: Record<string, number> = { ...view.stages[0]?.counts };
  const open = view.total - (view.stages[0]?.done ?? 0);
  if (open > 0) counts["open"] = open;
  const tab = (outcome: string | undefined, words: string, n: number) => (
    <a
      href={withParams(
        url,
        { outcome, itemsAfter: undefined, batch: undefined, did: undefined },
        "items",
      )}
      {...(query.outcome === outcome && !query.batch ? { "aria-current": "true" } : {})}
    >
      {words} <span class="num">{number(n)}</span>
    </a>
  );
  return (
    <p class="tabs">
      {tab(undefined, "all", view.total)}
      {[...OUTCOMES, "open"]
        .filter((outcome) => (counts[outcome] ?? 0) > 0 || query.outcome === outcome)
        .map((outcome) => tab(outcome, outcome, counts[outcome] ?? 0))}
      {query.batch && <span aria-current="true">sub-batch {number(query.batch)}</span>}
    </p>
  );
}

const HAS_DOCUMENT = new Set(["succeeded", "unchanged"]);

function ItemRows({ view, items }: { view: OperationView; items: ItemView[] }) {
  return (
    <Table
      label="items"
      look="wide"
      head={
        <>
          <th class="num">No</th>
          <th>{view.kind === "retain" ? "Document" : "Item"}</th>
          <th>Outcome</th>
          <th>Reason</th>
          <th class="num">Failed tries</th>
          <th>Next try</th>
          <th>Settled</th>
        </>
      }
    >
      {items.map((item) => (
        <tr>
          <td class="num">{number(item.no)}</td>
          <td class="cut" title={item.key}>
            {view.kind === "retain" && HAS_DOCUMENT.has(item.outcome ?? "") ? (
              <a href={documentAddress(view.tenant, view.scope, item.key)}>{item.key}</a>
            ) : (
              item.key
            )}
          </td>
          <td>
            <StateBadge state={item.outcome ?? "open"} />
          </td>
          <td class="words">{item.reason ?? (item.outcome ? "" : item.lastError)}</td>
          <td class="num">
            {number(item.attempts)}
            {item.crashes > 0 && ` + ${number(item.crashes)} crashed`}
          </td>
          <td>{item.nextRetryAt && <Ago at={item.nextRetryAt} />}</td>
          <td>{item.settledAt && <Ago at={item.settledAt} />}</td>
        </tr>
      ))}
    </Table>
  );
}

/** Sub-batches, each leading to its items. */
export function Children({
  view,
  part,
  url,
}: {
  view: OperationView;
  part: Part<Page<BatchView>>;
  url: URL;
}) {
  return (
    <>
      <h2>
        Children <span class="faint">{counted(view.batches, "sub-batch", "sub-batches")}</span>
      </h2>
      <Shown part={part}>
        {({ items, next }) =>
          items.length === 0 ? (
            <Empty>This operation has no sub-batches.</Empty>
          ) : (
            <>
              <Table
                label="sub-batches"
                head={
                  <>
                    <th class="num">No</th>
                    <th class="num">Items</th>
                    <th class="num">Size</th>
                    <th>Settled</th>
                    <th class="num">Failed</th>
                  </>
                }
              >
                {items.map((batch) => (
                  <tr>
                    <td class="num">{number(batch.no)}</td>
                    <td class="num">
                      <a
                        href={withParams(
                          url,
                          {
                            batch: String(batch.no),
                            outcome: undefined,
                            itemsAfter: undefined,
                            did: undefined,
                          },
                          "items",
                        )}
                      >
                        {number(batch.firstItem)}–{number(batch.lastItem)}
                      </a>
                    </td>
                    <td class="num">{number(batch.size)}</td>
                    <td>
                      <Progress done={batch.settled} total={batch.items} />
                    </td>
                    <td class={batch.failed > 0 ? "num bad" : "num"}>{number(batch.failed)}</td>
                  </tr>
                ))}
              </Table>
              {next && (
                <NextPage
                  href={withParams(url, { childrenAfter: next, did: undefined }, "children")}
                  words="More sub-batches"
                />
              )}
            </>
          )
        }
      </Shown>
    </>
  );
}
