import { Option, type Command } from "commander";
import { InvalidInput } from "../contracts/errors.ts";
import type { Accepted } from "../contracts/operation.ts";
import type { PlanDecide, PlanHeader, PlanView } from "../contracts/plan.ts";
import type { Decided } from "../contracts/review.ts";
import type { PlanClient } from "../client/index.ts";
import { canAsk, confirmApproval } from "./confirm.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { collect, examples, given, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { Ended, EXIT } from "./failure.ts";
import { note, printJson, say, text } from "./output.ts";

/** With `plan show --detailed-exitcode`: there are changes that wait, or that would be applied. */
export const EXIT_CHANGES = 10;

const MODES = ["review", "auto"] as const;

export function register(program: Command): void {
  const plan = program
    .command("plan")
    .description("named change requests: submitted, planned, shown, decided, applied");

  const submit = plan
    .command("submit <source>")
    .description("plan entities: NDJSON, one a line, or a JSON array (- for standard input)")
    .addOption(
      new Option("--mode <mode>", "review: a person decides; auto: rules apply what they name")
        .choices(MODES)
        .default("review"),
    )
    .option(...TENANT_FLAG)
    .option("--branch <branch>", "the branch (default: the tenant's default branch)")
    .option("--key <key>", "idempotency key: a repeat with the same content answers the same")
    .option(
      "--expires-in <seconds>",
      "how long it waits for a decision (default 7 days)",
      wholeNumber,
    )
    .option("--wait", "wait until it is planned, and show it; of mode auto: until it has ended")
    .option(...JSON_FLAG);
  examples(
    submit,
    "holdfast plan submit change.ndjson --wait",
    `echo '{"object_type":"site","entity":{"name":"ams"}}' | holdfast plan submit - --key ticket-7`,
  ).action(submitPlan);

  const show = plan
    .command("show <id>")
    .description("what it would change, or has changed, object by object")
    .option(
      "--detailed-exitcode",
      "0 no changes, 10 changes that wait or are to be applied, 1 failed",
    )
    .option("--wait", "wait until it is planned")
    .option(...JSON_FLAG);
  examples(
    show,
    "holdfast plan show 01990f3e-...",
    "holdfast plan show 01990f3e-... --detailed-exitcode",
  ).action(showPlan);

  for (const act of ["approve", "reject"] as const) {
    const decide = plan
      .command(`${act} <id>`)
      .description(
        act === "approve"
          ? "let all of it that waits be applied, or the entities named"
          : "let nothing of it that waits be applied, or not the entities named",
      )
      .option(
        "--hash <hash>",
        "of the plan that was seen: refused when it is another now; with --entity that of each, in order",
        collect,
      )
      .option("--entity <id>", "only this entity; repeatable", collect)
      .option("--reason <text>", "why, for others to read")
      .option("--wait", "wait until it has ended, or waits again")
      .option(...JSON_FLAG);
    examples(
      decide,
      `holdfast plan ${act} 01990f3e-... --hash 5f0c...`,
      `holdfast plan ${act} 01990f3e-... --entity 1042 --hash 9b21...`,
    ).action((id: string, flags: DecideFlags) => decidePlan(act, id, flags));
  }
}

interface SubmitFlags {
  mode: (typeof MODES)[number];
  tenant?: string;
  branch?: string;
  key?: string;
  expiresIn?: number;
  wait?: boolean;
  json?: boolean;
}

async function submitPlan(source: string, flags: SubmitFlags): Promise<void> {
  const { mode, tenant, branch, key, expiresIn: expiresInSeconds, wait, json } = flags;
  const header: PlanHeader = { mode, ...given({ tenant, branch, key, expiresInSeconds }) };
  const give = await openEntities(source);
  await withHoldfast(
    async (holdfast) => {
      const accepted = await give(holdfast.plan, header).catch((error: unknown) => {
        throw namingFlags(error);
      });
      if (!wait) {
        if (json) return printJson(accepted);
        say(told(accepted, key));
        return say(`look at it with "holdfast plan show ${accepted.id}"`);
      }
      if (!json) say(told(accepted, key));
      const view = await holdfast.plan.planned(accepted.id);
      await present(holdfast.plan, view, json);
      endAsFailed(view);
    },
    await plugins(),
  );
}

function told({ id, total, existing, state }: Accepted, key: string | undefined): string {
  if (existing) return `key "${key}" was used for the same content: plan ${id} (${state})`;
  return `accepted ${id}: ${total} ${total === 1 ? "entity" : "entities"}`;
}

type Give = (plan: PlanClient, header: PlanHeader) => Promise<Accepted>;

/** An array is held in memory; NDJSON is read line by line. */
const ARRAY_BYTES = 64 * 1024 * 1024;

async function openEntities(source: string): Promise<Give> {
  const { exactArray, peek, readable } = await import("./item-source.ts");
  if (source === "-" && process.stdin.isTTY) {
    note("reading entities from the terminal; end with Ctrl-D");
  }
  const { text: begins, all } = await peek(source === "-" ? process.stdin : readable(source)).catch(
    (error: NodeJS.ErrnoException) => {
      const why = error.code === "ENOENT" ? "there is no such file" : error.message;
      throw new InvalidInput([{ path: source, message: `${why}: check the path` }]);
    },
  );
  return async (plan, header) =>
    begins.startsWith("[")
      ? plan.submit(await exactArray(all, ARRAY_BYTES), header)
      : plan.submitLines(all, header);
}

const FLAGS: Record<string, string> = {
  expiresInSeconds: "--expires-in",
  mode: "--mode",
  tenant: "--tenant",
  branch: "--branch",
  hash: "--hash",
  planHashes: "--hash",
  entities: "--entity",
  key: "--key",
  reason: "--reason",
};

/** Says the flag where the client says the field it became. */
function namingFlags(error: unknown): unknown {
  if (!(error instanceof InvalidInput)) return error;
  const issues = error.issues.map(({ path, message }) => ({
    path: FLAGS[path] ?? path.replace(/^entities\[\d+\]$/, "--entity"),
    message,
  }));
  return new InvalidInput(issues, error.code, error.status);
}

interface ShowFlags {
  detailedExitcode?: boolean;
  wait?: boolean;
  json?: boolean;
}

async function showPlan(id: string, flags: ShowFlags): Promise<void> {
  await withHoldfast(async ({ plan }) => {
    const now = await plan.get(id);
    // What is not planned yet has no answer.
    const waits = flags.wait || (flags.detailedExitcode && now.counts.planning > 0);
    const view = waits ? await plan.planned(id) : now;
    await present(plan, view, flags.json);
    if (!flags.detailedExitcode) return;
    endAsFailed(view);
    if (view.counts.waiting + view.counts.approved > 0) throw new Ended(EXIT_CHANGES);
  });
}

function endAsFailed(view: PlanView): void {
  if (view.state === "failed" || view.counts.failed > 0) throw new Ended(EXIT.failed);
}

interface DecideFlags {
  hash?: string[];
  entity?: string[];
  reason?: string;
  wait?: boolean;
  json?: boolean;
}

async function decidePlan(
  act: "approve" | "reject",
  id: string,
  { hash: hashes, entity, reason, wait, json }: DecideFlags,
): Promise<void> {
  const seen = seenBy(hashes, entity);
  if (act === "approve" && !hashes && !canAsk()) {
    const of = entity ? "each of the entities as --json shows it" : "the plan";
    const message = `is needed where nobody can be asked: that of ${of}, from "holdfast plan show ${id}"`;
    throw new InvalidInput([{ path: "--hash", message }]);
  }
  await withHoldfast(async ({ plan }) => {
    const bound = act === "approve" && !hashes ? await askAbout(plan, id, entity) : seen;
    const decision: PlanDecide = given({ ...bound, reason });
    const decided = await plan[act](id, decision).catch((error: unknown) => {
      throw namingFlags(error);
    });
    if (!json) tellDecided(act, decided);
    if (wait) {
      const view = await plan.planned(id);
      await present(plan, view, json);
      endAsFailed(view);
    } else if (json) printJson(decided);
    if (decided.refused.length > 0) throw new Ended(EXIT.refused);
  });
}

type Seen = Pick<PlanDecide, "hash" | "entities" | "planHashes">;

function seenBy(hashes: string[] | undefined, entities: string[] | undefined): Seen {
  if (entities) {
    if (hashes && hashes.length !== entities.length) {
      const message = "must be given once for each --entity, in their order";
      throw new InvalidInput([{ path: "--hash", message }]);
    }
    return given({ entities, planHashes: hashes });
  }
  if (hashes && hashes.length > 1) {
    throw new InvalidInput([{ path: "--hash", message: "is of the whole plan: give one" }]);
  }
  return given({ hash: hashes?.[0] });
}

/** Shows what would be applied, and binds the approval to exactly that. */
async function askAbout(
  plan: PlanClient,
  id: string,
  entities: readonly string[] | undefined,
): Promise<Seen> {
  const { printEntities, printPlan } = await import("./plan-print.ts");
  const view = await plan.get(id);
  if (!entities) {
    await printPlan(plan, view);
    await confirmApproval();
    return given({ hash: view.hash ?? undefined });
  }
  const shown = await printEntities(plan, view, new Set(entities));
  await confirmApproval();
  return {
    entities: shown.map((one) => one.id),
    planHashes: shown.map((one) => one.planHash!),
  };
}

export function tellDecided(act: string, { decided, refused }: Decided): void {
  const done = { approve: "approved", reject: "rejected", ignore: "ignored", reopen: "reopened" };
  const what = (done as Record<string, string>)[act] ?? `${act}: done for`;
  say(`${what} ${decided} ${decided === 1 ? "entity" : "entities"}`);
  for (const { id, why } of refused) note(`not ${id}: ${text(why)}`);
}

async function present(plan: PlanClient, view: PlanView, json?: boolean): Promise<void> {
  const { printPlan, printPlanJson } = await import("./plan-print.ts");
  await (json ? printPlanJson(plan, view) : printPlan(plan, view));
}
