import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { processIdentity } from "../../dev/process-life.ts";
import type { StackAddresses } from "../../dev/stack.ts";

const STACK = fileURLToPath(new URL("../../dev/stack.ts", import.meta.url));

export interface RunningStack extends StackAddresses {
  process: ChildProcess;
  dir: string;
  /** Every process below the one that started it, itself not included, as `processIdentity` names them. */
  below: string[];
}

/** Starts `dev/stack.ts` as a process of its own and waits for the line with its addresses. */
export async function runStack(...args: string[]): Promise<RunningStack> {
  const child = spawn(process.execPath, ["--import", "tsx", STACK, ...args], {
    env: withoutServers(),
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  const [line] = await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`stack ended with ${code}`))),
  ]);
  return { ...JSON.parse(line), process: child, below: processesBelow(child.pid ?? 0) };
}

/** This process's environment without the addresses of servers that already run. */
export function withoutServers(): NodeJS.ProcessEnv {
  const { DATABASE_URL: _, TEMPORAL_ADDRESS: __, REDIS_URL: ___, ...environment } = process.env;
  return environment;
}

/** Those of the named processes that still run. */
export function stillRunning(identities: string[]): string[] {
  return identities.filter(
    (identity) => processIdentity(Number.parseInt(identity, 10)) === identity,
  );
}

function processesBelow(root: number): string[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It ended while we were looking.
    }
  }
  const isBelow = (pid: number): boolean => {
    const parent = parents.get(pid);
    return parent !== undefined && (parent === root || isBelow(parent));
  };
  return [...parents.keys()].filter(isBelow).flatMap((pid) => processIdentity(pid) ?? []);
}
