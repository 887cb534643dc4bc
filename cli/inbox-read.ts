import { Option, type Command } from "commander";
import type { EntityState } from "../contracts/inventory.ts";
import type { Requeue } from "../contracts/inbox.ts";
import { plugins, settings, withHoldfast } from "./connection.ts";
import { examples, given, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { ENTITIES, printRequest, REJECTS, REQUESTS, STATUS, STREAMS } from "./inbox-print.ts";
import { moment, printFields, printJson, printPage, say } from "./output.ts";

const STATES: readonly EntityState[] = [
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
];
const REQUEUED = ["failed", "errored", "pending_retry"] as const;

const LIMIT = ["--limit <n>", "on one page, at most 1000", wholeNumber] as const;
const AFTER = ["--after <cursor>", "the next page: what the page before said"] as const;

/** What was taken in, what became of it, and another chance for what failed. */
export function register(inbox: Command): void {
  const show = inbox
    .command("show <id>")
    .description("one request with what became of it, or one entity with what it says")
    .option(...JSON_FLAG);
  examples(show, "holdfast inbox show 01990f3e-...", "holdfast inbox show 4711").action(
    async (id: string, { json }) => {
      if (/^\d+$/.test(id)) return showEntity(id, json);
      const seen = await withHoldfast(({ inbox }) => inbox.request(id));
      if (json) printJson(seen);
      else printRequest(seen);
    },
  );

  const status = inbox
    .command("status")
    .description("what is to come or waits for a decision, by branch; how old it is; what is held")
    .option(...TENANT_FLAG)
    .option("--branch <branch>", "of one branch")
    .option(...JSON_FLAG);
  examples(status, "holdfast inbox status", "holdfast inbox status --tenant acme --json").action(
    async ({ json, ...filter }) => {
      const items = await withHoldfast(({ inbox }) => inbox.status(filter), await plugins());
      await printPage({ items }, { json, ...STATUS });
    },
  );

  const streams = inbox
    .command("streams")
    .description(
      "Redis streams of the configuration: what is not read yet, what is not taken, by whom",
    )
    .option(...JSON_FLAG);
  examples(streams, "holdfast inbox streams", "holdfast inbox streams --json").action(
    async ({ json }) => {
      const { REDIS_URL } = await settings();
      const items = await withHoldfast(({ inbox }) => inbox.streams(REDIS_URL), await plugins());
      await printPage({ items }, { json, ...STREAMS });
    },
  );

  const list = inbox
    .command("list")
    .description(
      "entities, newest first; with --requests the calls, files and messages they came by",
    )
    .option("--requests", "requests instead of entities")
    .addOption(new Option("--state <state>", "entities in one state").choices(STATES))
    .option("--type <type>", "entities of one type")
    .option("--request <id>", "entities of one request")
    .option("--branch <branch>", "entities of one branch")
    .option("--source <name>", "requests of one source")
    .option("--scope <scope>", "requests that were snapshots of one scope")
    .option(...TENANT_FLAG)
    .option(...LIMIT)
    .option(...AFTER)
    .option(...JSON_FLAG);
  examples(
    list,
    "holdfast inbox list --state failed --type device",
    "holdfast inbox list --requests --source file",
  ).action(async ({ json, requests, ...filter }) => {
    if (requests) {
      const page = await withHoldfast(({ inbox }) => inbox.requests(filter));
      return printPage(page, { json, ...REQUESTS });
    }
    const page = await withHoldfast(({ inbox }) => inbox.list(filter));
    await printPage(page, { json, ...ENTITIES });
  });

  const rejects = inbox
    .command("rejects <request>")
    .description("what of a request could not be taken, why, and what came")
    .option(...LIMIT)
    .option(...AFTER)
    .option(...JSON_FLAG);
  examples(rejects, "holdfast inbox rejects 01990f3e-... --json").action(
    async (id: string, { json, ...filter }) => {
      const page = await withHoldfast(({ inbox }) => inbox.rejects(id, filter));
      await printPage(page, { json, ...REJECTS });
    },
  );

  const requeue = inbox
    .command("requeue [ids...]")
    .description("plan again what failed or gave up: some by id, or all that a filter finds")
    .addOption(new Option("--state <state>", "all in one state").choices(REQUEUED))
    .option("--type <type>", "all of one type")
    .option("--request <id>", "all of one request")
    .option("--branch <branch>", "all of one branch")
    .option(...TENANT_FLAG)
    .option(...JSON_FLAG);
  examples(
    requeue,
    "holdfast inbox requeue 4711 4712",
    "holdfast inbox requeue --state errored --type device",
  ).action(async (ids: string[], { json, ...filter }) => {
    const which = { ...given(filter), ...(ids.length > 0 && { ids }) } as Requeue;
    const done = await withHoldfast(({ inbox }) => inbox.requeue(which));
    if (json) return printJson(done);
    say(`${done.requeued} requeued, ${done.passedOver} passed over`);
  });
}

async function showEntity(id: string, json: boolean | undefined): Promise<void> {
  const seen = await withHoldfast(({ inbox }) => inbox.get(id));
  const { canonicalJson, exactJson } = await import("../client/exact-json.ts");
  if (json) return say(exactJson(seen, 2));
  const { fields, warnings, ...rest } = seen;
  printFields({
    entity: rest.id,
    tenant: rest.tenant,
    branch: rest.branch ?? "(not known)",
    type: rest.type,
    state: rest.state.replaceAll("_", " "),
    removal: rest.removal ? "yes" : null,
    plan: rest.title,
    error: rest.error?.["message"] as string | undefined,
    rule: rest.rule,
    "decided by": rest.decidedBy,
    attempt: rest.attempt || null,
    due: moment(rest.dueAt),
    request: rest.request,
    operation: rest.operation,
    "seen by its source": rest.sourceTime,
    accepted: moment(rest.acceptedAt),
    settled: moment(rest.settledAt),
    "said again": rest.copies || null,
    warnings: warnings.join("; ") || null,
    fields: canonicalJson(fields),
  });
}
