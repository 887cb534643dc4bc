import { REVIEW_ACTS, type ChangeSetView, type DeviationDetail } from "../../contracts/review.ts";
import { mayDo } from "../../contracts/roles.ts";
import { canonicalJson } from "../../domain/exact-json.ts";
import { refusalOf } from "../../domain/review.ts";
import type { Registry } from "../../domain/registry.ts";
import type { Body } from "./body.ts";
import { ChangeList } from "./change-set.tsx";
import { ChangeSum } from "./change-counts.tsx";
import { stateWords } from "./entity-state.ts";
import type { Visit } from "./frame.tsx";
import { counted } from "./format.ts";
import { branchAddress, deviationAddress, requestAddress } from "./inventory-address.ts";
import { Fact } from "./operation-header.tsx";
import { Ago, Copy, Empty, Id, Table } from "./pieces.tsx";
import { registryFor } from "./registry.ts";
import { Done } from "./review.tsx";
import { DECISIONS } from "./review-words.ts";
import type { Caller } from "./sessions.ts";
import { StateBadge } from "./state-badge.tsx";

/** One entity: what it says, what that changes, and what may be decided. @throws NotFound */
export async function deviationBody(
  { caller, read, url }: Visit,
  id: string,
  wrong?: string,
): Promise<Body> {
  const view = await read.holdfast.review.get(id);
  const registry = await registryFor(read, view.tenant);
  const [newest, ...older] = view.changeSets;
  return {
    title: view.title,
    at: "review",
    sections: {
      head: (
        <>
          <Head view={view} />
          {!wrong && <Done url={url} />}
          {wrong && (
            <p class="alarm" role="alert">
              {wrong}
            </p>
          )}
          <Why view={view} />
          <Acts view={view} caller={caller} />
        </>
      ),
      changes: <Changes view={view} newest={newest} registry={registry} />,
      warnings: <Warnings of={[...view.warnings, ...(newest?.warnings ?? [])]} />,
      entity: <Entity view={view} />,
      history: <History view={view} older={older} registry={registry} />,
    },
  };
}

function Head({ view }: { view: DeviationDetail }) {
  const of = { tenant: view.tenant, ...(view.branch !== null && { branch: view.branch }) };
  return (
    <>
      <p class="crumbs">
        <a href={branchAddress("/review", of)}>Review</a> /{" "}
        <a href={branchAddress("/review", of, { type: view.type })}>
          {view.type.replaceAll("_", " ")}
        </a>
        {view.operation && (
          <>
            {" "}
            / <a href={`/plans/${view.operation}`}>plan …{view.operation.slice(-8)}</a>
          </>
        )}
      </p>
      <div class="title">
        <h1>{view.title}</h1>
        <StateBadge state={stateWords(view.state, view.approved)} />
      </div>
      <dl class="facts">
        <Fact name="Tenant / branch">
          {view.tenant} / {view.branch ?? <span class="faint">not known yet</span>}
        </Fact>
        <Fact name="Entity">
          <code>{view.id}</code> <Copy text={view.id} />
        </Fact>
        <Fact name="Taken in">
          <Ago at={view.acceptedAt} />, <a href={requestAddress(view.request)}>request</a>
        </Fact>
        {view.sourceTime && (
          <Fact name="Seen by its source">
            <span title={view.sourceTime}>
              <Ago at={view.sourceTime.replace(/(\.\d{3})\d*/, "$1")} />
            </span>
          </Fact>
        )}
        <Fact name="Planned">
          <Ago at={view.plannedAt} />
        </Fact>
        {view.decidedBy && (
          <Fact name="Decided">
            by {view.decidedBy} <Ago at={view.decidedAt} />
          </Fact>
        )}
        {view.rule && <Fact name="Rule">{view.rule}</Fact>}
        {view.planHash && (
          <Fact name="Plan">
            <Id id={view.planHash} />
          </Fact>
        )}
      </dl>
    </>
  );
}

function Why({ view }: { view: DeviationDetail }) {
  const bad = view.state === "failed" || view.state === "errored";
  return (
    <>
      {view.error && (
        <p class={bad ? "why bad" : "why held"}>
          {view.error.message} <span class="faint">({view.error.fault.replaceAll("-", " ")})</span>
        </p>
      )}
      {view.state === "pending_retry" && (
        <p class="why">
          Tried {counted(view.attempt, "time")}; again <Ago at={view.nextRetryAt} />, or as soon as
          what it refers to arrives.
        </p>
      )}
      {view.branch === null && (
        <p class="why held">
          Its branch is not known yet, so nothing happens to it. It goes on when the target has said
          its default branch, or the tenant's settings name one.
        </p>
      )}
    </>
  );
}

function Acts({ view, caller }: { view: DeviationDetail; caller: Caller }) {
  if (!mayDo(caller.role, "decide")) return null;
  const possible = REVIEW_ACTS.filter(
    (act) =>
      refusalOf(act, {
        state: view.state,
        approved: view.approved,
        decidedBy: view.decidedBy,
        decidedAt: null,
        planHash: view.planHash,
        // Whether its plan is still open is looked at when it is decided.
        ...(view.operation !== null && { operation: { id: view.operation, open: true } }),
      }) === undefined,
  );
  if (possible.length === 0) return null;
  return (
    <form method="post" action={`${deviationAddress(view.id)}/decide`} class="decide">
      <input type="hidden" name="token" value={caller.formToken} />
      <input type="hidden" name="hash" value={view.planHash ?? ""} />
      <label>
        <span>why (may be left out)</span>
        <input name="reason" maxlength={500} size={28} />
      </label>
      {possible.map((act) => (
        <button name="act" value={act} title={`It ${DECISIONS[act].means}`}>
          {DECISIONS[act].words}
        </button>
      ))}
    </form>
  );
}

function Changes(props: {
  view: DeviationDetail;
  newest: ChangeSetView | undefined;
  registry: Registry | undefined;
}) {
  const { view, newest, registry } = props;
  return (
    <>
      <h2>
        What {newest?.appliedAt ? "changed" : "changes"} <ChangeSum counts={view.changes} />
      </h2>
      {newest ? (
        <ChangeList changes={newest.changes} registry={registry} done={newest.appliedAt !== null} />
      ) : (
        <Empty>
          {view.state === "queued" || view.state === "planning"
            ? "It is not planned yet."
            : view.state === "no_changes"
              ? "The inventory says the same already."
              : "There is no plan of it."}
        </Empty>
      )}
    </>
  );
}

function Warnings({ of }: { of: readonly string[] }) {
  const warnings = [...new Set(of)];
  if (warnings.length === 0) return null;
  return (
    <>
      <h2>Warnings</h2>
      <ul>
        {warnings.map((warning) => (
          <li>{warning}</li>
        ))}
      </ul>
    </>
  );
}

function Entity({ view }: { view: DeviationDetail }) {
  return (
    <>
      <h2>What its source says</h2>
      <details>
        <summary>the entity as it was taken in</summary>
        <pre class="source">{indented(canonicalJson(view.fields))}</pre>
      </details>
    </>
  );
}

/** Canonical JSON with lines and indents; the numbers in it stay as they are. */
function indented(json: string): string {
  let text = "";
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    const char = json[at]!;
    if (char === '"') {
      const end = stringEnd(json, at);
      text += json.slice(at, end);
      at = end - 1;
    } else if (char === "{" || char === "[") {
      text += `${char}\n${"  ".repeat(++depth)}`;
    } else if (char === "}" || char === "]") {
      text += `\n${"  ".repeat(--depth)}${char}`;
    } else if (char === ",") text += `,\n${"  ".repeat(depth)}`;
    else text += char === ":" ? ": " : char;
  }
  return text;
}

function stringEnd(json: string, start: number): number {
  for (let at = start + 1; ; at++) {
    if (json[at] === "\\") at++;
    else if (json[at] === '"') return at + 1;
  }
}

function History(props: {
  view: DeviationDetail;
  older: ChangeSetView[];
  registry: Registry | undefined;
}) {
  const { view, older, registry } = props;
  return (
    <>
      <h2>Earlier plans of it</h2>
      {older.length === 0 && <p class="faint">This is its only plan.</p>}
      {older.map((set) => (
        <details class="change">
          <summary>
            {set.title} <span class="faint">{set.appliedAt ? "applied" : "planned"}</span>{" "}
            <Ago at={set.appliedAt ?? set.madeAt} />
          </summary>
          <ChangeList changes={set.changes} registry={registry} open={false} />
        </details>
      ))}
      <h2>Other versions of the same</h2>
      {view.versions.length === 0 ? (
        <p class="faint">No other version is kept.</p>
      ) : (
        <Table
          label="versions"
          head={
            <>
              <th>Entity</th>
              <th>State</th>
              <th>Taken in</th>
            </>
          }
        >
          {view.versions.map((version) => (
            <tr>
              <td>
                <a href={deviationAddress(version.id)}>{version.id}</a>{" "}
                <span class="faint">
                  {BigInt(version.id) > BigInt(view.id) ? "newer" : "older"}
                </span>
              </td>
              <td>
                <StateBadge state={stateWords(version.state)} />
              </td>
              <td>
                <Ago at={version.acceptedAt} />
              </td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}
