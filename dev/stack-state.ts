import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { releaseLock, takeLock } from "./lock-file.ts";
import { processIdentity } from "./process-life.ts";

export interface StackAddresses {
  databaseUrl: string;
  /** host:port of the gRPC frontend. */
  temporalAddress: string;
  temporalUiUrl?: string | undefined;
  namespace: string;
  /** When Redis runs beside the stack. */
  redisUrl?: string | undefined;
  /** Of the HTTP server and console, when one runs beside the stack. */
  consoleUrl?: string | undefined;
}

export interface Ports {
  postgres?: number | undefined;
  temporal?: number | undefined;
  temporalUi?: number | undefined;
  redis?: number | undefined;
}

interface StackFile {
  /** The process that wrote it, as `processIdentity` names it. */
  owner: string;
  addresses: Partial<StackAddresses>;
  ports: Ports;
}

/** Thrown when a stack already runs on the same state directory; carries where it is. */
export class StackRunning extends Error {
  readonly pid: number;
  /** Empty while that stack is still starting. */
  readonly addresses: Partial<StackAddresses>;

  constructor(state: string, pid: number, addresses: Partial<StackAddresses>) {
    const { databaseUrl, temporalAddress, temporalUiUrl } = addresses;
    const where = databaseUrl
      ? `Postgres ${databaseUrl}, Temporal ${temporalAddress ?? "not started"}, UI ${temporalUiUrl ?? "none"}`
      : "it is still starting";
    super(
      `A stack already runs on ${state} (process ${pid}): ${where}. ` +
        "Use it by setting DATABASE_URL and TEMPORAL_ADDRESS, or stop it first with Ctrl-C where it runs.",
    );
    this.name = "StackRunning";
    this.pid = pid;
    this.addresses = addresses;
  }
}

/**
 * Takes the state directory for this process.
 * @returns the ports of the stack that ran there before, so that addresses stay the same.
 * @throws StackRunning when another live process has it.
 */
export async function claimState(state: string): Promise<Ports> {
  const locked = await takeLock(lockFile(state));
  const earlier = await readState(state);
  if (locked.taken) return earlier?.ports ?? {};
  const addresses = earlier?.owner === locked.holder ? earlier.addresses : {};
  throw new StackRunning(state, Number.parseInt(locked.holder, 10), addresses);
}

/** Writes down where the stack of this process is. Readable by its owner only: it holds a password. */
export async function recordState(
  state: string,
  addresses: Partial<StackAddresses>,
  ports: Ports,
): Promise<void> {
  const file: StackFile = { owner: processIdentity(process.pid) ?? "", addresses, ports };
  const fresh = join(state, "stack.json.new");
  await writeFile(fresh, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
  await rename(fresh, stateFile(state));
}

/** Adds where the console is to what this process wrote down. */
export async function recordConsole(state: string, consoleUrl: string): Promise<void> {
  const file = await readState(state);
  if (file) await recordState(state, { ...file.addresses, consoleUrl }, file.ports);
}

/** Where the stack of a state directory is, while the process that started it lives. */
export async function runningStack(state: string): Promise<Partial<StackAddresses> | undefined> {
  const file = await readState(state);
  if (!file?.owner) return undefined;
  const alive = processIdentity(Number.parseInt(file.owner, 10)) === file.owner;
  const held = await readFile(lockFile(state), "utf8").catch(() => "");
  return alive && held === file.owner ? file.addresses : undefined;
}

/** Gives the state directory back; the ports stay written down. */
export async function releaseState(state: string): Promise<void> {
  await releaseLock(lockFile(state));
}

async function readState(state: string): Promise<StackFile | undefined> {
  try {
    return JSON.parse(await readFile(stateFile(state), "utf8"));
  } catch {
    return undefined;
  }
}

const lockFile = (state: string) => join(state, "stack.lock");
const stateFile = (state: string) => join(state, "stack.json");
