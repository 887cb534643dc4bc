import type { Page } from "../../contracts/operation.ts";
import type { PlanEntity, PlanView } from "../../contracts/plan.ts";
import { mayDo } from "../../contracts/roles.ts";
import type { Registry } from "../../domain/registry.ts";
import type { ConsoleDeps } from "../deps.ts";
import type { Body } from "./body.ts";
import { ChangeList } from "./change-set.tsx";
import { ChangeSum } from "./change-counts.tsx";
import { nameIn } from "./field-value.tsx";
import type { Visit } from "./frame.tsx";
import { counted, number, shortId } from "./format.ts";
import { branchAddress, deviationAddress } from "./inventory-address.ts";
import { Acts, Done as ActDone, Fact, Why, Workflow } from "./operation-header.tsx";
import { Ago, Copy, Empty, Id, NextPage, Progress, Shown, withParams } from "./pieces.tsx";
import { part, type Part, type Reading } from "./reading.ts";
import { registryFor } from "./registry.ts";
import { Done } from "./review.tsx";
import type { Caller } from "./sessions.ts";
import { StateBadge } from "./state-badge.tsx";

const PAGE_SIZE = 50;

/** One plan: what it would change, entity by entity, and the decision. @throws NotFound */
export async function planBody(
  { caller, read, url }: Visit,
  settings: ConsoleDeps["settings"],
  id: string,
  wrong?: string,
): Promise<Body> {
  const view = await read.holdfast.plan.get(id);
  const after = url.searchParams.get("after") ?? undefined;
  const [entities, registry] = await Promise.all([
    part(() => read.holdfast.plan.changes(id, { limit: PAGE_SIZE, ...(after && { after }) })),
    registryFor(read, view.tenant),
  ]);
  return {
    title: `plan ${shortId(id)}`,
    at: "review",
    ended: view.finishedAt !== null,
    sections: {
      head: <Head view={view} caller={caller} settings={settings} url={url} wrong={wrong} />,
      decide: <Decide view={view} caller={caller} />,
      entities: (
        <Entities view={view} part={entities} registry={registry} caller={caller} url={url} />
      ),
    },
  };
}

/** Changes when there is something new to show. */
export async function planPulse({ holdfast }: Reading, id: string): Promise<string> {
  return JSON.stringify(await holdfast.operation.get(id));
}

function Head(props: {
  view: PlanView;
  caller: Caller;
  settings: ConsoleDeps["settings"];
  url: URL;
  wrong: string | undefined;
}) {
  const { view, caller, settings, url, wrong } = props;
  const { counts } = view;
  const settled =
    counts.applied + counts.unchanged + counts.rejected + counts.failed + counts.cancelled;
  return (
    <>
      <p class="crumbs">
        <a href="/plans">Plans</a> / <a href={`/operations/${view.id}`}>as an operation</a>
      </p>
      <div class="title">
        <h1>
          plan <code title={view.id}>…{shortId(view.id)}</code>
        </h1>
        <Copy text={view.id} />
        <StateBadge state={view.shown} />
        <Acts view={view} caller={caller} />
      </div>
      <ActDone did={url.searchParams.get("did")} audit={`/operations/${view.id}#audit`} />
      {!wrong && <Done url={url} />}
      {wrong && (
        <p class="alarm" role="alert">
          {wrong}
        </p>
      )}
      <Why view={view} />
      <p class="summary">
        <Summary view={view} />
      </p>
      <p>
        <Progress done={settled} total={view.total} />
      </p>
      <dl class="facts">
        <Fact name="Tenant / branch">
          <a href={branchAddress("/inventory", { tenant: view.tenant, branch: view.branch })}>
            {view.tenant} / {view.branch}
          </a>
        </Fact>
        <Fact name="Mode">
          {view.mode === "auto" ? "auto: rules apply what they name" : "review: a person decides"}
        </Fact>
        {view.key && (
          <Fact name="Key">
            <code>{view.key}</code>
          </Fact>
        )}
        <Fact name="Submitted">
          by {view.submittedBy} <Ago at={view.acceptedAt} />
        </Fact>
        <Fact name="Planned">
          {view.plannedAt ? <Ago at={view.plannedAt} /> : <span class="faint">not yet</span>}
        </Fact>
        {view.expiresAt && (
          <Fact name={view.finishedAt ? "Would have expired" : "Expires"}>
            <Ago at={view.expiresAt} />
          </Fact>
        )}
        {view.decision && (
          <Fact name="Decision">
            {view.decision.what === "approve" ? "approved" : "rejected"} by {view.decision.by}{" "}
            <Ago at={view.decision.at} />
            {view.decision.reason && `: ${view.decision.reason}`}
          </Fact>
        )}
        {view.hash && (
          <Fact name="Hash">
            <Id id={view.hash} />
          </Fact>
        )}
        <Fact name="Workflow">
          <Workflow id={view.workflowId} settings={settings} />
        </Fact>
      </dl>
    </>
  );
}

function Summary({ view }: { view: PlanView }) {
  const { counts, changes, applied } = view;
  const parts: [number, string, string][] = [
    [counts.planning, "to be planned", "accepted"],
    [counts.waiting, "to decide", "waits for a decision"],
    [counts.stale, "changed since approval", "stale"],
    [counts.approved, "approved", "approved, to be applied"],
    [counts.applied, "applied", "applied"],
    [counts.unchanged, "unchanged", "unchanged"],
    [counts.rejected, "rejected", "rejected"],
    [counts.failed, "failed", "failed"],
    [counts.cancelled, "cancelled", "cancelled"],
  ];
  const total = (sum: typeof changes) => sum.create + sum.update + sum.delete;
  return (
    <>
      {total(changes) > 0 && (
        <>
          Would change <ChangeSum counts={changes} />.{" "}
        </>
      )}
      {total(applied) > 0 && (
        <>
          Changed <ChangeSum counts={applied} />.{" "}
        </>
      )}
      {counted(view.total, "entity", "entities")}:{" "}
      {parts
        .filter(([n]) => n > 0)
        .map(([n, words], no) => (
          <>
            {no > 0 && ", "}
            {number(n)} {words}
          </>
        ))}
      .
    </>
  );
}

function Decide({ view, caller }: { view: PlanView; caller: Caller }) {
  const { waiting } = view.counts;
  if (view.finishedAt !== null || view.hash === null || waiting === 0) return null;
  if (!mayDo(caller.role, "decide")) {
    return <p class="why held">It waits for somebody who may decide.</p>;
  }
  return (
    <form method="post" action={`/plans/${view.id}/decide`} class="decide">
      <input type="hidden" name="token" value={caller.formToken} />
      <input type="hidden" name="hash" value={view.hash} />
      <label>
        <span>why (may be left out)</span>
        <input name="reason" maxlength={500} size={28} />
      </label>
      <button name="act" value="approve">
        Approve all {number(waiting)} that wait
      </button>
      <button name="act" value="reject" class="danger">
        Reject all {number(waiting)}
      </button>
      <span class="faint">
        This binds to the plan as it is shown here: if it changes before that, nothing is decided.
      </span>
    </form>
  );
}

function Entities(props: {
  view: PlanView;
  part: Part<Page<PlanEntity>>;
  registry: Registry | undefined;
  caller: Caller;
  url: URL;
}) {
  const { view, part, registry, caller, url } = props;
  return (
    <>
      <h2>What it changes</h2>
      <Shown part={part}>
        {({ items, next }) => {
          const choosable =
            view.finishedAt === null &&
            mayDo(caller.role, "decide") &&
            items.some(({ state }) => state === "waiting");
          const list = (
            <ol class="changes entities">
              {items.map((one) => (
                <li>
                  <Entity
                    one={one}
                    registry={registry}
                    choosable={choosable}
                    few={items.length <= 5}
                  />
                </li>
              ))}
            </ol>
          );
          return (
            <>
              {items.length === 0 && (
                <Empty>
                  {url.searchParams.has("after")
                    ? "There are no more."
                    : "What it changed is no longer kept."}
                </Empty>
              )}
              {choosable ? (
                <form method="post" action={`/plans/${view.id}/decide`}>
                  <input type="hidden" name="token" value={caller.formToken} />
                  <div class="bulk">
                    <label class="choice" data-check-all hidden>
                      <input type="checkbox" /> all on this page
                    </label>
                    <span>The chosen:</span>
                    <button name="act" value="approve">
                      Approve
                    </button>
                    <button name="act" value="reject">
                      Reject
                    </button>
                  </div>
                  {list}
                </form>
              ) : (
                list
              )}
              {next && (
                <NextPage
                  href={withParams(
                    url,
                    { after: next, did: undefined, decided: undefined },
                    "entities",
                  )}
                  words="More entities"
                />
              )}
            </>
          );
        }}
      </Shown>
    </>
  );
}

const STATES: Record<PlanEntity["state"], string> = {
  planning: "accepted",
  waiting: "waits for a decision",
  approved: "approved, to be applied",
  applied: "applied",
  unchanged: "unchanged",
  rejected: "rejected",
  failed: "failed",
  cancelled: "cancelled",
};

function Entity(props: {
  one: PlanEntity;
  registry: Registry | undefined;
  choosable: boolean;
  few: boolean;
}) {
  const { one, registry, choosable, few } = props;
  const sum = { create: 0, update: 0, delete: 0 };
  const about = one.changes.find(({ primary }) => primary)?.identity;
  for (const { kind } of one.changes) if (kind !== "noop") sum[kind]++;
  const head = (
    <>
      <StateBadge state={one.stale ? "stale" : STATES[one.state]} />{" "}
      <span class="kind">{one.title}</span> {about && <span class="faint">{nameIn(about)}</span>}{" "}
      {one.changes.length > 0 && <ChangeSum counts={sum} />}{" "}
      <span class="faint">
        {one.decidedBy && `by ${one.decidedBy}, `}
        {one.rule && `rule ${one.rule}, `}
        <a href={deviationAddress(one.id)}>number {number(one.no)}</a>
      </span>
    </>
  );
  return (
    <div class="choosable">
      {choosable && one.state === "waiting" && (
        <input
          type="checkbox"
          name={`pick.${one.id}`}
          value={one.planHash ?? "none"}
          aria-label={`choose ${one.title}`}
        />
      )}
      {one.changes.length > 0 ? (
        <details class="change" open={few && one.state === "waiting"}>
          <summary>{head}</summary>
          <Notes one={one} />
          <ChangeList changes={one.changes} registry={registry} done={one.state === "applied"} />
        </details>
      ) : (
        <div class="change">
          {head} <Notes one={one} />
        </div>
      )}
    </div>
  );
}

function Notes({ one }: { one: PlanEntity }) {
  return (
    <>
      {one.error && (
        <p class={one.state === "failed" ? "why bad" : "why held"}>{one.error.message}</p>
      )}
      {one.warnings.map((warning) => (
        <p class="why">{warning}</p>
      ))}
    </>
  );
}
