import type { Command } from "commander";
import type { InboxClient } from "../client/index.ts";
import { InvalidInput, TimedOut } from "../contracts/errors.ts";
import type { EntityInput, IngestAnswer, IngestHeader } from "../contracts/inbox.ts";
import type { Holdfast } from "../client/index.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { examples, given, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { EXIT } from "./failure.ts";
import { printRequest } from "./inbox-print.ts";
import { aborted, interrupted } from "./interrupt.ts";
import { note, printJson, say } from "./output.ts";

interface Flags {
  tenant?: string;
  branch?: string;
  source?: string;
  messageId?: string;
  snapshot?: string;
  grace?: number;
  allowEmpty?: boolean;
  wait?: boolean;
  timeout?: number;
  json?: boolean;
}

export function register(inbox: Command): void {
  const ingest = inbox
    .command("ingest <source>")
    .description("take entities in from a file of NDJSON or a JSON array (- for standard input)")
    .option(
      "--snapshot <scope>",
      "this is everything in a scope: what it no longer names is missing",
    )
    .option(
      "--grace <seconds>",
      "how long something is missing before its removal is planned",
      wholeNumber,
    )
    .option("--allow-empty", "a snapshot may name nothing: then everything in its scope is missing")
    .option(
      "--branch <branch>",
      "of entities that name none (default: the tenant's default branch)",
    )
    .option(...TENANT_FLAG)
    .option("--source <name>", "where they come from (default: file)")
    .option("--message-id <id>", "names the message: a repeat is answered and changes nothing")
    .option("--wait", "until nothing of it happens by itself; exit code 1 when something failed")
    .option("--timeout <seconds>", "of --wait; past it the exit code is 1", wholeNumber)
    .option(...JSON_FLAG);
  examples(
    ingest,
    "holdfast inbox ingest feed.ndjson --wait",
    "holdfast inbox ingest site-ams.ndjson --snapshot site/ams --grace 86400",
    `echo '{"timestamp":"2026-03-01T00:00:00Z","site":{"name":"ams"}}' | holdfast inbox ingest -`,
  ).action(ingestSource);
}

async function ingestSource(source: string, flags: Flags): Promise<void> {
  const header = headerOf(flags);
  const give = await openEntities(source);
  await withHoldfast(
    async (holdfast) => {
      const answer = await give(holdfast.inbox, header).catch((error: unknown) => {
        throw namingFlags(error);
      });
      if (answer.rejected > 0) {
        note(
          `${answer.rejected} could not be taken: see "holdfast inbox rejects ${answer.request}"`,
        );
      }
      if (flags.wait) return waitAndTell(holdfast, answer, flags);
      if (flags.json) printJson(answer);
      else tell(answer);
      if (answer.rejected > 0 && answer.accepted + answer.copies === 0) {
        process.exitCode = EXIT.failed;
      }
    },
    await plugins(),
  );
}

function headerOf(flags: Flags): IngestHeader {
  const { tenant, branch, source = "file", messageId, snapshot, grace, allowEmpty } = flags;
  if (snapshot === undefined && (grace !== undefined || allowEmpty)) {
    const message = "goes with --snapshot: name the scope";
    throw new InvalidInput([{ path: grace === undefined ? "--allow-empty" : "--grace", message }]);
  }
  return {
    ...given({ tenant, branch, messageId }),
    source,
    ...(snapshot !== undefined && {
      snapshot: { scope: snapshot, ...given({ graceSeconds: grace, allowEmpty }) },
    }),
  };
}

type Give = (inbox: InboxClient, header: IngestHeader) => Promise<IngestAnswer>;

/** An array is held in memory; NDJSON takes more. */
const ARRAY_BYTES = 256 * 1024 * 1024;

async function openEntities(source: string): Promise<Give> {
  const { exactJsonArray, peek, readable } = await import("./item-source.ts");
  if (source === "-" && process.stdin.isTTY) {
    note("reading entities from the terminal; end with Ctrl-D");
  }
  const { text, all } = await peek(source === "-" ? process.stdin : readable(source)).catch(
    (error: NodeJS.ErrnoException) => {
      const why = error.code === "ENOENT" ? "there is no such file" : error.message;
      throw new InvalidInput([{ path: source, message: `${why}: check the path` }]);
    },
  );
  return async (inbox, header) =>
    text.startsWith("[")
      ? inbox.ingest(await exactJsonArray<EntityInput>(all, ARRAY_BYTES), header)
      : inbox.ingestLines(all, header);
}

async function waitAndTell(
  { inbox }: Holdfast,
  answer: IngestAnswer,
  { timeout, json }: Flags,
): Promise<void> {
  if (!json) tell(answer);
  const signal = interrupted();
  const stop = new AbortController();
  void aborted(signal).then(() => stop.abort());
  const seen = await inbox
    .wait(answer.request, {
      signal: stop.signal,
      ...(timeout !== undefined && { timeoutMs: timeout * 1_000 }),
    })
    .catch(async (error: unknown) => {
      if (signal.aborted) return undefined;
      if (!(error instanceof TimedOut)) throw error;
      note(error.message);
      process.exitCode = EXIT.failed;
      return inbox.request(answer.request);
    });
  if (!seen) {
    process.exitCode = EXIT.interrupted;
    return note(`it goes on: see "holdfast inbox show ${answer.request}"`);
  }
  if (json) printJson(seen);
  else printRequest(seen);
  const { failed = 0, errored = 0 } = seen.states;
  if (failed + errored + seen.rejected > 0) process.exitCode = EXIT.failed;
}

function tell(answer: IngestAnswer): void {
  const { request, repeated, accepted, copies, rejected, snapshot } = answer;
  const parts = [`${accepted} accepted`];
  if (copies > 0) parts.push(`${copies} said already`);
  if (rejected > 0) parts.push(`${rejected} rejected`);
  say(`request ${request}${repeated ? " (taken before)" : ""}: ${parts.join(", ")}`);
  if (!snapshot) return;
  const { scope, members, missing, graceSeconds } = snapshot;
  say(
    missing === null
      ? `snapshot ${scope}: ${members} named; nothing is missing, because what was rejected might have been named`
      : `snapshot ${scope}: ${members} named, ${missing} missing from now on; removals are planned after ${graceSeconds} s`,
  );
}

const FLAGS: Record<string, string> = {
  messageId: "--message-id",
  "snapshot.scope": "--snapshot",
  "snapshot.graceSeconds": "--grace",
  tenant: "--tenant",
  branch: "--branch",
  source: "--source",
};

/** Says the flag where the client says the field it became. */
function namingFlags(error: unknown): unknown {
  if (!(error instanceof InvalidInput)) return error;
  const issues = error.issues.map(({ path, message }) => ({ path: FLAGS[path] ?? path, message }));
  return new InvalidInput(issues, error.code, error.status);
}
