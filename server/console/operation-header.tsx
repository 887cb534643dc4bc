import type { OperationView } from "../../contracts/operation.ts";
import { mayDo } from "../../contracts/roles.ts";
import type { ConsoleDeps } from "../deps.ts";
import { ACTS, homeOf } from "./acts.ts";
import { number, shortId, span } from "./format.ts";
import { Ago, Copy } from "./pieces.tsx";
import type { Caller } from "./sessions.ts";
import { StateBadge } from "./state-badge.tsx";

/** What it is, how it stands and why, who asked when, and what may be done about it. */
export function Header(props: {
  view: OperationView;
  caller: Caller;
  settings: ConsoleDeps["settings"];
  did: string | null;
}) {
  const { view, caller, settings, did } = props;
  return (
    <>
      <p class="crumbs">
        <a href="/operations">Operations</a> /{" "}
        <a href={`/operations?kind=${view.kind}`}>{view.kind}</a>
        {(view.kind === "job" || view.kind === "plan") && (
          <>
            {" "}
            / <a href={homeOf(view)}>as a {view.kind}</a>
          </>
        )}
      </p>
      <div class="title">
        <h1>
          {view.kind} <code title={view.id}>…{shortId(view.id)}</code>
        </h1>
        <Copy text={view.id} />
        <StateBadge state={view.shown} />
        <Acts view={view} caller={caller} />
      </div>
      <Done did={did} audit="#audit" />
      <Why view={view} />
      <Facts view={view} settings={settings} />
      <p class="jumps">
        {["items", "children", "timeline", "logs", "events", "audit"].map((section) => (
          <a href={`#${section}`}>{section}</a>
        ))}
      </p>
    </>
  );
}

/** What was just done here, if it was. `audit`: where it stands. */
export function Done({ did, audit }: { did: string | null; audit: string }) {
  const done = ACTS.find((act) => act.name === did)?.done;
  if (!done) return null;
  return (
    <p class="notice" role="status">
      {done} The <a href={audit}>audit</a> has it.
    </p>
  );
}

/** What the caller may do about it now. */
export function Acts({ view, caller }: { view: OperationView; caller: Caller }) {
  return (
    <span class="acts">
      {ACTS.filter((act) => act.possible(view) && mayDo(caller.role, act.action)).map((act) => (
        <a
          class={act.typed ? "button danger" : "button"}
          href={`/operations/${view.id}/${act.name}`}
        >
          {act.words}
        </a>
      ))}
    </span>
  );
}

/** The state in a sentence, with its reason and what it waits for. */
export function Why({ view }: { view: OperationView }) {
  const held = view.finishedAt === null && (
    <>
      {view.pausedAt && (
        <p class="why">
          Paused by {view.pausedBy ?? "somebody"} <Ago at={view.pausedAt} />: {view.pauseReason}
        </p>
      )}
      {view.cancelRequestedAt && (
        <p class="why">
          Cancel asked for <Ago at={view.cancelRequestedAt} />.{" "}
          {view.kind === "job"
            ? "Nothing is handed out any more; workers hear of it with their next sign of life."
            : "Pages in flight end first, so that nothing is left half written."}
        </p>
      )}
      {view.shown === "paused" && !view.pausedAt && (
        <p class="why">
          Held by a <a href="/#brakes">brake</a>. It goes on when the brake is lifted.
        </p>
      )}
      {view.shown === "deferred" && (
        <p class="why">
          Waits until <Ago at={view.startAfter ?? view.nextRetryAt} />
          {view.startAfter ? ", as it was submitted." : ", when the first item is due again."}
        </p>
      )}
      {view.shown === "waiting for a worker" && !(view.kind === "job" && view.startedAt) && (
        <p class="why">
          No <a href="/#workers">worker</a> is online. Nothing is lost; it goes on when one starts:{" "}
          <code class="command">holdfast worker</code>
        </p>
      )}
      {view.nextRetryAt && view.shown === "running" && (
        <p class="why">
          Some items wait for another try; the first is due <Ago at={view.nextRetryAt} />.
        </p>
      )}
    </>
  );
  return (
    <>
      {held}
      {view.reason && <p class={view.state === "failed" ? "why bad" : "why"}>{view.reason}</p>}
    </>
  );
}

function Facts({ view, settings }: { view: OperationView; settings: ConsoleDeps["settings"] }) {
  const began = view.startedAt ?? view.acceptedAt;
  const tenantHref = `/operations?${new URLSearchParams({ tenant: view.tenant })}`;
  const scopeHref = `/operations?${new URLSearchParams({ tenant: view.tenant, scope: view.scope })}`;
  return (
    <dl class="facts">
      <Fact name="Tenant">
        <a href={tenantHref}>{view.tenant}</a>
      </Fact>
      {view.scope && (
        <Fact name={view.kind === "retain" ? "Bank" : "Scope"}>
          <a href={scopeHref}>{view.scope}</a>
        </Fact>
      )}
      {view.key && (
        <Fact name="Key">
          <code>{view.key}</code>
        </Fact>
      )}
      <Fact name="Submitted by">{view.submittedBy}</Fact>
      <Fact name="Accepted">
        <Ago at={view.acceptedAt} />
      </Fact>
      <Fact name="Started">
        {view.startedAt ? <Ago at={view.startedAt} /> : <span class="faint">not yet</span>}
      </Fact>
      <Fact name="Finished">
        {view.finishedAt ? (
          <>
            <Ago at={view.finishedAt} />, after{" "}
            {span(Date.parse(view.finishedAt) - Date.parse(began))}
          </>
        ) : (
          <span class="faint">not yet</span>
        )}
      </Fact>
      <Fact name="Items">
        {number(view.total)} in {number(view.batches)}{" "}
        {view.batches === 1 ? "sub-batch" : "sub-batches"}
      </Fact>
      <Fact name="Generation">{number(view.generation)}</Fact>
      <Fact name="Priority">{number(view.priority)}</Fact>
      <Fact name="Workflow">
        <Workflow id={view.workflowId} settings={settings} />
      </Fact>
      {Object.keys(view.input).length > 0 && (
        <Fact name="Input">
          <details>
            <summary>as stored</summary>
            <pre>{JSON.stringify(view.input, null, 2)}</pre>
          </details>
        </Fact>
      )}
    </dl>
  );
}

/** One line of `dl.facts`. */
export function Fact({ name, children }: { name: string; children?: unknown }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Where Temporal shows it; its id when that is not known. */
export function Workflow({ id, settings }: { id: string; settings: ConsoleDeps["settings"] }) {
  const href = temporalAddress(settings, id);
  return (
    <>
      {href ? (
        <a href={href} rel="noreferrer">
          Temporal UI ↗
        </a>
      ) : (
        <code class="cut" title={id}>
          {id}
        </code>
      )}{" "}
      <Copy text={id} />
    </>
  );
}

/** Undefined when no address is set, or one that is no web address. */
function temporalAddress(
  { temporalUiUrl, namespace }: ConsoleDeps["settings"],
  workflowId: string,
): string | undefined {
  if (!temporalUiUrl || !/^https?:\/\//.test(temporalUiUrl)) return undefined;
  const base = temporalUiUrl.replace(/\/+$/, "");
  return `${base}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(workflowId)}`;
}
