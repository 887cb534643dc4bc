import type { Child } from "hono/jsx";
import type { OperationView } from "../../contracts/operation.ts";
import type { AuditRow } from "../../db/audit.ts";
import { absolute, counted, number } from "./format.ts";
import { Ago } from "./pieces.tsx";
import { valueOr, type Part } from "./reading.ts";

/** What happened to the operation itself, in order. */
export function Timeline({ view, audit }: { view: OperationView; audit: Part<AuditRow[]> }) {
  const steps = stepsOf(view, valueOr(audit, []));
  return (
    <>
      <h2>Timeline</h2>
      <ol class="timeline">
        {steps.map(({ at, words }) => (
          <li>
            <time datetime={at} title={absolute(new Date(at))} data-fixed>
              {absolute(new Date(at))}
            </time>
            <span>{words}</span>
          </li>
        ))}
        {view.finishedAt === null && (
          <li class="faint">
            <span>now</span>
            <span>{view.shown}</span>
          </li>
        )}
      </ol>
      {view.restarts > 0 && (
        <p class="faint">
          The doctor has started this generation again {counted(view.restarts, "time")}.
        </p>
      )}
    </>
  );
}

interface Step {
  at: string;
  words: Child;
}

function stepsOf(view: OperationView, audit: readonly AuditRow[]): Step[] {
  const steps: Step[] = [{ at: view.acceptedAt, words: `accepted from ${view.submittedBy}` }];
  const add = (at: string | null, words: Child) => at !== null && steps.push({ at, words });
  add(
    view.startedAt,
    view.generation > 1 ? `started, generation ${number(view.generation)}` : "started",
  );
  for (const row of audit) {
    const at = new Date(row.at).toISOString();
    const generation = (row.before as { generation?: number } | null)?.generation;
    if (row.action === "operation.retry") {
      add(at, `accepted again as generation ${number((generation ?? 0) + 1)}, by ${row.actor}`);
    } else {
      add(at, `${wordsOf(row.action)}, by ${row.actor}`);
    }
  }
  if (view.nextRetryAt)
    add(
      view.nextRetryAt,
      <>
        first item due again, <Ago at={view.nextRetryAt} />
      </>,
    );
  add(view.finishedAt, view.state);
  return steps.toSorted((a, b) => a.at.localeCompare(b.at));
}

const WORDS: Record<string, string> = {
  "operation.cancel": "cancel asked for",
  "operation.pause": "paused",
  "operation.resume": "resumed",
};

function wordsOf(action: string): string {
  return WORDS[action] ?? action;
}
