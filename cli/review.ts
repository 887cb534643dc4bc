import { Option, type Command } from "commander";
import { InvalidInput } from "../contracts/errors.ts";
import type { ReviewAct, ReviewFilter } from "../contracts/review.ts";
import { withHoldfast } from "./connection.ts";
import { collect, examples, given, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { Ended, EXIT } from "./failure.ts";
import { note, printJson, say } from "./output.ts";
import { tellDecided } from "./plan.ts";

const STATES = [
  "queued",
  "open",
  "applied",
  "failed",
  "no_changes",
  "ignored",
  "errored",
  "applying",
  "pending_retry",
  "planning",
  "superseded",
] as const;

const ACTS: readonly [ReviewAct, string][] = [
  ["approve", "let the plans that stand be applied"],
  ["reject", "let plans not be applied"],
  ["ignore", "want nothing of them any more, copies included"],
  ["reopen", "plan again what was rejected or ignored"],
  ["rediff", "plan again, against what is there now"],
  ["requeue", "try again what failed or waits for another try"],
];

export function register(program: Command): void {
  const review = program
    .command("review")
    .description("plans of entities that were taken in, and decisions about them");

  const list = filtered(
    review.command("list").description("entities with their plans, newest first"),
  )
    .option("--oldest", "the oldest first")
    .option("--limit <n>", "entities on one page, at most 200", wholeNumber)
    .option("--after <cursor>", "the next page: what the page before said")
    .option(...JSON_FLAG);
  examples(
    list,
    "holdfast review list",
    "holdfast review list --type device --state failed --state errored",
  ).action(listDeviations);

  const show = review
    .command("show <id>")
    .description("one entity: what would change, before and after, and its other plans")
    .option(...JSON_FLAG);
  examples(show, "holdfast review show 1042").action(async (id: string, { json }) => {
    const { printDeviation, printDeviationJson } = await import("./review-print.ts");
    const detail = await withHoldfast((holdfast) => holdfast.review.get(id));
    if (json) printDeviationJson(detail);
    else await printDeviation(detail);
  });

  for (const [act, what] of ACTS) {
    const decide = filtered(
      review.command(`${act} [ids...]`).description(`${what}: by ids, or with --all by filter`),
    )
      .option("--all", "all that the filter finds; without a filter: everything of the tenant")
      .option(
        "--hash <hash>",
        "of the plan that was seen, in the order of ids; repeatable",
        collect,
      )
      .option("--reason <text>", "why, for others to read")
      .option("--operation-key <key>", "as an operation with this idempotency key, and do not wait")
      .option(...JSON_FLAG);
    examples(
      decide,
      `holdfast review ${act} 1042 1043`,
      `holdfast review ${act} --all --type device`,
    ).action((ids: string[], flags: DecideFlags) => decideThem(act, ids, flags));
  }
}

interface FilterFlags {
  tenant?: string;
  branch?: string;
  type?: string[];
  state?: string[];
  rule?: string;
  request?: string;
  plan?: string;
  text?: string;
}

function filtered(command: Command): Command {
  return command
    .option(...TENANT_FLAG)
    .option("--branch <branch>", "of one branch")
    .option("--type <type>", "of this type; repeatable", collect)
    .addOption(
      new Option("--state <state>", "in this state; repeatable").choices(STATES).argParser(oneOf),
    )
    .option("--rule <rule>", "decided by this rule")
    .option("--request <id>", "taken in by this request")
    .option("--plan <id>", "of this plan")
    .option("--text <text>", "with this in the title");
}

function oneOf(value: string, before: string[] | undefined): string[] {
  if (!(STATES as readonly string[]).includes(value)) {
    throw new InvalidInput([{ path: "--state", message: `must be one of ${STATES.join(", ")}` }]);
  }
  return collect(value, before);
}

function filterOf({ type, state, plan, ...rest }: FilterFlags): ReviewFilter {
  const { tenant, branch, rule, request, text } = rest;
  const states = state as ReviewFilter["states"];
  return given({ tenant, branch, types: type, states, rule, request, operation: plan, text });
}

/** Pages that are asked for until there is something to show: each looks at a window of many. */
const MOST_PAGES = 200;

async function listDeviations(
  flags: FilterFlags & { oldest?: boolean; limit?: number; after?: string; json?: boolean },
): Promise<void> {
  const order = flags.oldest ? "oldest" : "newest";
  const filter = { ...filterOf(flags), order, ...given({ limit: flags.limit }) } as const;
  const { printDeviations } = await import("./review-print.ts");
  await withHoldfast(async ({ review }) => {
    let page = await review.list({ ...filter, ...given({ after: flags.after }) });
    for (let no = 1; page.items.length === 0 && page.next !== undefined && no < MOST_PAGES; no++) {
      page = await review.list({ ...filter, after: page.next });
    }
    await printDeviations(page, flags.json);
  });
}

interface DecideFlags extends FilterFlags {
  all?: boolean;
  hash?: string[];
  reason?: string;
  operationKey?: string;
  json?: boolean;
}

async function decideThem(act: ReviewAct, ids: string[], flags: DecideFlags): Promise<void> {
  const { all, hash: planHashes, reason, operationKey: key, json } = flags;
  const { tenant, ...narrowing } = filterOf(flags);
  const narrowed = Object.keys(narrowing).length > 0;
  assertOneWay(ids, all, narrowed);
  await withHoldfast(async ({ review }) => {
    if (ids.length > 0) {
      const decided = await review.decide({ act, ids, ...given({ tenant, planHashes, reason }) });
      if (json) printJson(decided);
      else tellDecided(act, decided);
      if (decided.refused.length > 0) throw new Ended(EXIT.refused);
      return;
    }
    const filter = { ...filterOf(flags), ...(narrowed ? {} : { all: true }) };
    if (key !== undefined) {
      const accepted = await review.submit({ act, filter, key, ...given({ reason }) });
      if (json) return printJson(accepted);
      say(`accepted ${accepted.id}: ${accepted.total} entities`);
      return note(`follow it with "holdfast operation watch ${accepted.id}"`);
    }
    const decided = await review.decideAll(act, filter, given({ reason }));
    if (json) printJson(decided);
    else tellDecided(act, { ...decided, refused: [] });
  });
}

function assertOneWay(ids: readonly string[], all: boolean | undefined, narrowed: boolean): void {
  const wrong =
    ids.length > 0
      ? (all || narrowed) && "goes without ids: name entities, or a filter with --all"
      : !all && "is needed where no ids are named: all that the filter finds are meant";
  if (wrong) throw new InvalidInput([{ path: "--all", message: wrong }]);
}
