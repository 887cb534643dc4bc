import { Option, type Command } from "commander";
import { InvalidInput } from "../contracts/errors.ts";
import type { Accepted } from "../contracts/operation.ts";
import type { RetainOptions } from "../contracts/retain.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { collect, examples, given, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { printOperation } from "./operation-print.ts";
import { exitWith, follow } from "./operation-watch.ts";
import { printJson, say } from "./output.ts";

interface SubmitFlags {
  bank: string;
  tenant?: string;
  key?: string;
  tag?: string[];
  as?: "items" | "documents";
  wait?: boolean;
  json?: boolean;
}

export function register(program: Command): void {
  const retain = program.command("retain").description("documents into a bank, in bulk");
  const submit = retain
    .command("submit <source>")
    .description(
      "accept a batch: NDJSON or a JSON array of items (- for standard input), a text file, or every text file of a folder",
    )
    .requiredOption("--bank <bank>", "the bank; made when it is new")
    .option(...TENANT_FLAG)
    .option("--key <key>", "idempotency key: a repeat with the same content answers the same")
    .option("--tag <tag>", "a tag for every document; may be repeated", collect)
    .option("--priority <n>", "1 (first) to 5", wholeNumber)
    .option("--start-after <instant>", "not before, such as 2026-11-21T22:00:00Z")
    .option("--max-attempts <n>", "tries per item", wholeNumber)
    .option("--chunk-size <n>", "characters in one chunk", wholeNumber)
    .option("--budget <n>", "characters in one sub-batch", wholeNumber)
    .option("--batch-items <n>", "items in one sub-batch", wholeNumber)
    .addOption(
      new Option("--as <what>", "what the source holds, when its name does not say").choices([
        "items",
        "documents",
      ]),
    )
    .option("--wait", "follow it to its end; exit code 0 completed, 1 failed, 3 cancelled")
    .option(...JSON_FLAG);
  examples(
    submit,
    "holdfast retain submit docs/ --bank handbook --wait",
    "holdfast retain submit batch.ndjson --bank handbook --key import-7",
    `echo '{"content":"Ada wrote to Charles on 2026-11-21."}' | holdfast retain submit - --bank letters`,
  ).action(submitSource);
}

type Flags = SubmitFlags & RetainOptionFlags;
type RetainOptionFlags = Partial<
  Pick<
    RetainOptions,
    "priority" | "startAfter" | "maxAttempts" | "chunkSize" | "budget" | "batchItems"
  >
>;

async function submitSource(source: string, flags: Flags): Promise<void> {
  const { priority, startAfter, maxAttempts, chunkSize, budget, batchItems } = flags;
  const options = given({ priority, startAfter, maxAttempts, chunkSize, budget, batchItems });
  const header = {
    ...given({ tenant: flags.tenant, key: flags.key, documentTags: flags.tag }),
    bank: flags.bank,
    ...(Object.keys(options).length > 0 ? { options } : {}),
  };
  const { openSource } = await import("./retain-source.ts");
  const batch = await openSource(source, flags.as);
  const config = await plugins();
  await withHoldfast(async (holdfast) => {
    const accepted = await batch.submit(holdfast.retain, header).catch((error: unknown) => {
      throw namingFlags(error);
    });
    if (!flags.wait) {
      if (flags.json) return printJson(accepted);
      tellAccepted(accepted, flags.key);
      return say(`follow it with "holdfast operation watch ${accepted.id}"`);
    }
    if (!flags.json) tellAccepted(accepted, flags.key);
    const quiet = flags.json === true && !process.stderr.isTTY;
    const end = await follow(holdfast.operation, accepted.id, { quiet });
    if (flags.json) printJson(end);
    else printOperation(end);
    exitWith(end);
  }, config);
}

/** Says the flag where the client says the field it became. */
function namingFlags(error: unknown): unknown {
  if (!(error instanceof InvalidInput)) return error;
  const issues = error.issues.map(({ path, message }) => ({ path: flagOf(path), message }));
  return new InvalidInput(issues, error.code, error.status);
}

function flagOf(path: string): string {
  if (path === "body") return "input";
  if (path.startsWith("documentTags")) return "--tag";
  const field = /^(?:options\.)?(\w+)$/.exec(path)?.[1];
  if (field === undefined || field === "items") return path;
  return `--${field.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function tellAccepted({ id, total, batches, existing, state }: Accepted, key?: string): void {
  if (existing)
    return say(`key "${key}" was used for the same content: operation ${id} (${state})`);
  const items = `${total} ${total === 1 ? "item" : "items"}`;
  const parts = batches === 1 ? "" : ` in ${batches} sub-batches`;
  say(`accepted ${id}: ${items}${parts}`);
}
