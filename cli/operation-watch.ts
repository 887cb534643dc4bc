import type { OperationClient } from "../client/index.ts";
import type { OperationView } from "../contracts/operation.ts";
import { Ended, EXIT } from "./failure.ts";
import { doneOf } from "./operation-print.ts";
import { note, printJsonLine } from "./output.ts";

/**
 * Follows an operation to its end and answers the last view. On a terminal with a bar on stderr,
 * elsewhere with a line whenever something worth a line has changed; with `json`, each view is a line
 * of NDJSON on stdout. Ctrl-C ends the following, not the operation.
 */
export async function follow(
  operation: OperationClient,
  id: string,
  how: FollowHow = {},
): Promise<OperationView> {
  const show = await showFor(how, OPERATION);
  const again = `the operation goes on; follow it with "holdfast operation watch ${id}"`;
  return following((signal) => operation.watch(id, { signal }), show, again);
}

/** Shows each view until there are no more, and answers the last. `again` is said at a Ctrl-C. */
export async function following<View>(
  watch: (signal: AbortSignal) => AsyncIterable<View>,
  show: Show<View>,
  again: string,
): Promise<View> {
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort();
  process.once("SIGINT", onInterrupt);
  let last: View | undefined;
  try {
    for await (const view of watch(interrupt.signal)) {
      last = view;
      show.see(view);
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    show.end();
    note(again);
    throw new Ended(EXIT.interrupted);
  } finally {
    show.end();
    process.off("SIGINT", onInterrupt);
  }
  return last!;
}

/** The exit code that says how an operation ended. */
export function exitWith(view: Pick<OperationView, "state">): void {
  process.exitCode =
    view.state === "completed" ? EXIT.ok : view.state === "failed" ? EXIT.failed : EXIT.refused;
}

export interface FollowHow {
  json?: boolean | undefined;
  quiet?: boolean | undefined;
}

interface Show<View> {
  see(view: View): void;
  end(): void;
}

/** What is worth showing of a view. */
interface Showing<View> {
  bars(view: View): { name: string; done: number; total: number; state: string }[];
  /** A line, and what has to change for another. */
  line(view: View): { text: string; when: string };
}

const OPERATION: Showing<OperationView> = {
  bars: (view) =>
    view.stages.map(({ stage, done, total, counts }) => ({
      name: stage,
      done,
      total,
      state: `${view.shown}${trouble(counts)}`,
    })),
  // One for a new state, and one for each tenth of the way.
  line: (view) => {
    const own = view.stages.find((stage) => stage.stage === view.kind);
    return {
      text: `${view.shown}: ${doneOf(view)}`,
      when: `${view.shown} ${tenths(own?.done ?? 0, own?.total ?? 0)}`,
    };
  },
};

/** The way to show views here: NDJSON, nothing, a bar on a terminal, lines elsewhere. */
export async function showFor<View>(
  { json, quiet }: FollowHow,
  showing: Showing<View>,
): Promise<Show<View>> {
  if (json) return { see: printJsonLine, end: () => undefined };
  if (quiet) return { see: () => undefined, end: () => undefined };
  return process.stderr.isTTY ? bar(showing) : lines(showing);
}

async function bar<View>(showing: Showing<View>): Promise<Show<View>> {
  const { default: progress } = await import("cli-progress");
  const bars = new progress.MultiBar(
    {
      format: "{name} [{bar}] {value}/{total} {state}",
      barsize: 30,
      hideCursor: false,
      fps: 5,
      stopOnComplete: false,
      // A terminal that was told not to wrap stays so when this process is killed.
      linewrap: true,
      stream: process.stderr,
    },
    progress.Presets.legacy,
  );
  const known = new Map<string, ReturnType<typeof bars.create>>();
  let ended = false;
  return {
    see: (view) => {
      for (const { name, done, total, state } of showing.bars(view)) {
        const one = known.get(name) ?? bars.create(total, 0, { name, state: "" });
        known.set(name, one);
        one.setTotal(total);
        one.update(done, { name, state });
      }
    },
    end: () => {
      if (!ended) bars.stop();
      ended = true;
    },
  };
}

/** `, 3 failed, 1 lost`: what went wrong so far. */
export function trouble(counts: Partial<Record<string, number>>): string {
  const bad = ["failed", "lost", "blocked"].filter((outcome) => counts[outcome]);
  return bad.length > 0
    ? `, ${bad.map((outcome) => `${counts[outcome]} ${outcome}`).join(", ")}`
    : "";
}

export function tenths(done: number, total: number): number {
  return total > 0 ? Math.floor((done / total) * 10) : 0;
}

// Without a terminal every line stays.
function lines<View>(showing: Showing<View>): Show<View> {
  let before = "";
  return {
    see: (view) => {
      const { text, when } = showing.line(view);
      if (when !== before) note(text);
      before = when;
    },
    end: () => undefined,
  };
}
