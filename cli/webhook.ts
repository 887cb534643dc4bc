import { Option, type Command } from "commander";
import type { DeliveryState, DeliveryView, EventType } from "../contracts/webhook.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { collect, examples, given, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { moment, note, printJson, printPage, say } from "./output.ts";

const EVENT_TYPES = [
  "operation.finished",
  "operation.waiting",
  "operation.expired",
  "item.quarantined",
  "doctor.finding",
] as const satisfies EventType[];
const DELIVERY_STATES = ["pending", "delivered", "dead"] as const satisfies DeliveryState[];

export function register(program: Command): void {
  const webhook = program
    .command("webhook")
    .description("who hears of events, by signed HTTP POST");

  const add = webhook
    .command("add <url>")
    .description("subscribe; the signing secret is shown now and never again")
    .option("--event <type>", `one of ${EVENT_TYPES.join(", ")}; may be repeated`, collect)
    .option(...TENANT_FLAG)
    .option("--secret-env <name>", "take the secret (whsec_...) from this environment variable")
    .option(...JSON_FLAG);
  examples(
    add,
    "holdfast webhook add https://hooks.example.com/holdfast --event operation.finished",
  ).action(async (url: string, { event, tenant, secretEnv, json }) => {
    const secret = secretEnv === undefined ? undefined : (process.env[secretEnv] ?? "");
    const events = event ?? ["operation.finished"];
    const added = await withHoldfast(
      (holdfast) => holdfast.webhook.add({ url, events, ...given({ tenant, secret }) }),
      await plugins(),
    );
    if (json) return printJson(added);
    note(`webhook ${added.id} for ${added.events.join(", ")}`);
    if (secret !== undefined) return;
    note("keep its signing secret now, it is not shown again:");
    say(added.secret);
  });

  const list = webhook
    .command("list")
    .description("subscriptions, disabled ones too")
    .option(TENANT_FLAG[0], "of one tenant")
    .option(...JSON_FLAG);
  examples(list, "holdfast webhook list").action(async ({ tenant, json }) => {
    const items = await withHoldfast((holdfast) => holdfast.webhook.list(given({ tenant })));
    await printPage(
      { items },
      {
        json,
        head: ["ID", "TENANT", "URL", "PENDING", "DEAD", "STATE", "EVENTS"],
        row: (one) => [
          one.id,
          one.tenant,
          one.url,
          one.pending,
          one.dead,
          one.disabledAt === null ? "on" : `off: ${one.disabledReason}`,
          one.events.join(", "),
        ],
        none: 'no webhook: "holdfast webhook add" makes one',
      },
    );
  });

  const remove = webhook
    .command("remove <id>")
    .description("end a subscription; what was on its way is dropped");
  examples(remove, "holdfast webhook remove 01990f3e-...").action(async (id: string) => {
    await withHoldfast((holdfast) => holdfast.webhook.remove(id));
    say(`webhook ${id} is removed`);
  });

  deliveries(webhook);
}

function deliveries(webhook: Command): void {
  const list = webhook
    .command("deliveries <id>")
    .description("how each event was delivered, newest first; with --json every try")
    .addOption(new Option("--state <state>", "in one state").choices(DELIVERY_STATES))
    .option("--limit <n>", "deliveries on one page, at most 200", wholeNumber)
    .option("--after <cursor>", "the next page: what the page before said")
    .option(...JSON_FLAG);
  examples(list, "holdfast webhook deliveries 01990f3e-... --state dead").action(
    async (id: string, { json, ...filter }) => {
      const page = await withHoldfast((holdfast) => holdfast.webhook.deliveries(id, filter));
      await printPage(page, {
        json,
        head: ["EVENT", "TYPE", "AT", "STATE", "TRIES", "NEXT TRY", "LAST ANSWER"],
        row: (one) => [
          one.eventId,
          one.type,
          moment(one.at),
          one.state,
          one.attempts,
          moment(one.nextTryAt),
          lastAnswer(one),
        ],
        none: "no delivery",
      });
    },
  );

  const redeliver = webhook
    .command("redeliver <event> <webhook>")
    .description("send an event again, however it ended")
    .option(...JSON_FLAG);
  examples(redeliver, "holdfast webhook redeliver 01990f40-... 01990f3e-...").action(
    async (event: string, id: string, { json }) => {
      const view = await withHoldfast((holdfast) => holdfast.webhook.redeliver(event, id));
      if (json) return printJson(view);
      say(`event ${event} is on its way to webhook ${id} again`);
    },
  );
}

function lastAnswer({ tries }: DeliveryView): string {
  const last = tries.toSorted((a, b) => a.attempt - b.attempt).at(-1);
  if (!last) return "";
  return last.status === null ? (last.error ?? "") : `HTTP ${last.status}`;
}
