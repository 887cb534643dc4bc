import type { OperationView } from "../../contracts/operation.ts";
import type { Page } from "../../contracts/operation.ts";
import type { Body } from "./body.ts";
import { Choice } from "./choice.tsx";
import type { Visit } from "./frame.tsx";
import { OutcomeCounts } from "./outcome-counts.tsx";
import { Ago, Empty, Id, NextPage, Progress, Shown, Table, withParams } from "./pieces.tsx";
import { part } from "./reading.ts";
import { ReviewTabs } from "./review-tabs.tsx";
import { StateBadge } from "./state-badge.tsx";
import { STATES } from "../../contracts/operation.ts";

const PAGE_SIZE = 50;

/** Plans that were submitted as one, newest first. */
export async function plansBody({ read, url }: Visit): Promise<Body> {
  const given = Object.fromEntries([...url.searchParams].filter(([, value]) => value !== ""));
  const { state, tenant, after } = given;
  const page = await part(() =>
    read.holdfast.operation.list({
      kind: "plan",
      limit: PAGE_SIZE,
      ...(state && { state: state as never }),
      ...(tenant && { tenant }),
      ...(after && { after }),
    }),
  );
  return {
    title: "Plans",
    at: "review",
    sections: {
      head: (
        <>
          <h1>Review</h1>
          <ReviewTabs at="plans" />
          <form class="filter" method="get" action="/plans">
            <Choice
              name="state"
              given={state}
              options={[["open", "open"], ...STATES.map((one): [string, string] => [one, one])]}
            />
            <label>
              <span>tenant</span>
              <input name="tenant" value={tenant ?? ""} size={12} placeholder="any" />
            </label>
            <button>Filter</button>
            {(state ?? tenant) && <a href="/plans">Clear</a>}
          </form>
        </>
      ),
      rows: (
        <Shown part={page}>
          {(found) => <Rows page={found} url={url} filtered={Boolean(state ?? tenant ?? after)} />}
        </Shown>
      ),
    },
  };
}

function Rows(props: { page: Page<OperationView>; url: URL; filtered: boolean }) {
  const { items, next } = props.page;
  if (items.length === 0) {
    return props.filtered ? (
      <Empty>
        No plan matches this. <a href="/plans">Show all</a>
      </Empty>
    ) : (
      <Empty command="holdfast plan submit <entities.ndjson>">
        No plan yet. A file of entities that is to be looked at before anything changes:
      </Empty>
    );
  }
  return (
    <>
      <Table
        label="plans"
        look="wide rows"
        head={
          <>
            <th>State</th>
            <th>Plan</th>
            <th>Tenant / branch</th>
            <th>Settled</th>
            <th>Submitted</th>
            <th>Outcomes</th>
          </>
        }
      >
        {items.map((plan) => (
          <tr>
            <td>
              <a class="bare" href={`/plans/${plan.id}`}>
                <StateBadge state={plan.shown} />
              </a>
            </td>
            <td>
              <Id id={plan.id} href={`/plans/${plan.id}`} />
              {plan.key && <span class="faint"> {plan.key}</span>}
            </td>
            <td class="cut" title={`${plan.tenant} / ${plan.scope}`}>
              {plan.tenant} / {plan.scope}
            </td>
            <td>
              <Progress done={plan.stages[0]?.done ?? 0} total={plan.total} />
            </td>
            <td>
              <Ago at={plan.acceptedAt} />
            </td>
            <td>
              <OutcomeCounts
                brief
                counts={plan.stages[0]?.counts ?? {}}
                href={`/operations/${plan.id}`}
              />
            </td>
          </tr>
        ))}
      </Table>
      {next && <NextPage href={withParams(props.url, { after: next })} words="Older plans" />}
    </>
  );
}
