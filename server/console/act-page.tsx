import type { ItemView, OperationView, Page } from "../../contracts/operation.ts";
import { ACTIONS } from "../../contracts/roles.ts";
import { homeOf, unfinished, type Act } from "./acts.ts";
import { counted, number, shortId } from "./format.ts";
import { JobAgain, RunAgainChoice } from "./job-again.tsx";
import { Empty, Shown } from "./pieces.tsx";
import { part, type Part, type Reading } from "./reading.ts";
import type { Caller } from "./sessions.ts";
import { StateBadge } from "./state-badge.tsx";

const SAMPLE = 5;

export interface ActPageProps {
  act: Act;
  view: OperationView;
  caller: Caller;
  sample: Part<Page<ItemView>> | undefined;
  /** What was wrong with the form that was sent. */
  wrong?: string | undefined;
}

/** Some of the items that a cancel would end. */
export async function sampleFor(act: Act, { holdfast }: Reading, id: string) {
  if (act.name !== "cancel") return undefined;
  return part(() => holdfast.operation.items(id, { outcome: "open", limit: SAMPLE }));
}

/** Asks before it is done: what will happen to how many, who may undo it, and for how long. */
export function ActPage({ act, view, caller, sample, wrong }: ActPageProps) {
  const back = homeOf(view);
  const lists = view.kind === "job" ? "/jobs" : "/operations";
  const possible = act.possible(view);
  return (
    <section class="ask">
      <p class="crumbs">
        <a href={lists}>{view.kind === "job" ? "Jobs" : "Operations"}</a> /{" "}
        <a href={back}>
          {view.kind} …{shortId(view.id)}
        </a>
      </p>
      <h1>
        {act.words} {view.kind} <code title={view.id}>…{shortId(view.id)}</code>?
      </h1>
      <p>
        <StateBadge state={view.shown} /> in {view.tenant}
        {view.scope && ` / ${view.scope}`}
      </p>
      {possible ? (
        <>
          <Consequences act={act} view={view} />
          {sample && <Sample part={sample} />}
          <form method="post" action={`/operations/${view.id}/${act.name}`}>
            <input type="hidden" name="token" value={caller.formToken} />
            {act.name === "pause" && (
              <label>
                <span>Why? Others will read it.</span>
                <input name="reason" maxlength={500} size={40} required />
              </label>
            )}
            {act.name === "retry" && view.kind === "job" && <RunAgainChoice view={view} />}
            {act.typed && (
              <label>
                <span>
                  To confirm, type <code>{shortId(view.id)}</code>, the end of the operation's id
                </span>
                <input name="typed" autocomplete="off" spellcheck={false} size={12} required />
              </label>
            )}
            {wrong && (
              <p class="alarm" role="alert">
                {wrong}
              </p>
            )}
            <p class="acts">
              <button class={act.typed ? "danger" : ""}>
                {act.typed ? `${act.words} this operation` : act.words}
              </button>
              <a href={back}>Leave it as it is</a>
            </p>
          </form>
        </>
      ) : (
        <Empty>
          {impossible(act, view)} <a href={back}>Back to the operation</a>
        </Empty>
      )}
    </section>
  );
}

function Consequences({ act, view }: { act: Act; view: OperationView }) {
  const done = view.stages[0]?.done ?? 0;
  const open = view.total - done;
  switch (act.name) {
    case "cancel":
      return (
        <ul>
          <li>
            <strong>{counted(open, "open item")}</strong> {open === 1 ? "ends" : "end"} as
            cancelled,{" "}
            {view.state === "accepted"
              ? "at once"
              : view.kind === "job"
                ? "within seconds; what workers still post of them comes too late and is kept aside"
                : "as soon as pages in flight have ended"}
            .
          </li>
          <li>
            {counted(done, "settled item")} {done === 1 ? "stays" : "stay"} as{" "}
            {done === 1 ? "it is" : "they are"}: cancelling takes nothing back.
          </li>
          <li>
            Whoever has the role {ACTIONS.retry} may run the cancelled items again for as long as
            their payload is kept (30 days by default).
          </li>
        </ul>
      );
    case "retry":
      if (view.kind === "job") return <JobAgain view={view} />;
      return (
        <ul>
          <li>
            <strong>{counted(unfinished(view), "item")}</strong> that failed,{" "}
            {unfinished(view) === 1 ? "was" : "were"} lost or cancelled{" "}
            {unfinished(view) === 1 ? "is" : "are"} tried again, as generation{" "}
            {number(view.generation + 1)}.
          </li>
          <li>All other items keep their outcome.</li>
          <li>Whoever has the role {ACTIONS.cancel} may cancel it again at any time.</li>
        </ul>
      );
    case "pause":
      return (
        <ul>
          <li>
            <strong>{counted(open, "open item")}</strong> {open === 1 ? "waits" : "wait"};{" "}
            {view.kind === "job"
              ? "what workers hold already they may still post."
              : "pages in flight end first."}
          </li>
          <li>Nothing is lost. Whoever has the role {ACTIONS.pause} may resume it at any time.</li>
        </ul>
      );
    case "resume":
      return (
        <ul>
          <li>
            <strong>{counted(open, "open item")}</strong> {open === 1 ? "goes" : "go"} on. It was
            paused by {view.pausedBy ?? "somebody"}: {view.pauseReason}
          </li>
        </ul>
      );
  }
}

function Sample({ part }: { part: Part<Page<ItemView>> }) {
  return (
    <Shown part={part}>
      {({ items, next }) =>
        items.length > 0 && (
          <>
            <p class="faint">{next ? `The first ${items.length} of them:` : "These are:"}</p>
            <ul class="sample">
              {items.map((item) => (
                <li title={item.key}>
                  {number(item.no)} <code>{item.key}</code>
                </li>
              ))}
            </ul>
          </>
        )
      }
    </Shown>
  );
}

function impossible(act: Act, view: OperationView): string {
  switch (act.name) {
    case "cancel":
      return view.cancelRequestedAt && view.finishedAt === null
        ? "It is being cancelled already."
        : `It is ${view.state}; there is nothing left to cancel.`;
    case "retry":
      return view.finishedAt === null
        ? `It is ${view.shown}; cancel it or wait for its end first.`
        : "Every item is finished; there is nothing to run again.";
    case "pause":
      return view.finishedAt === null
        ? `It is ${view.shown} already.`
        : `It is ${view.state}; there is nothing to pause.`;
    case "resume":
      return "It is not paused. A brake, if one holds it, is lifted on its own.";
  }
}
