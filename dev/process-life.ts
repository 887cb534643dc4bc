import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { until } from "./until.ts";

/**
 * Names one process for as long as the machine is up: the pid with its start time, so that a pid the
 * system has given to somebody else is not taken for the process that had it before.
 * @returns undefined when no such process runs; a zombie does not run.
 */
export function processIdentity(pid: number): string | undefined {
  const started = process.platform === "linux" ? startTicks(pid) : startTime(pid);
  return started === undefined ? undefined : `${pid}@${started}`;
}

/** Writes down who the server of a directory is, for `untilPreviousEnds` of a later start. */
export async function rememberServer(pidFile: string, pid: number | undefined): Promise<void> {
  await writeFile(pidFile, (pid && processIdentity(pid)) || "");
}

/**
 * Waits until the server written down in the pid file has ended: two on the same data would spoil it, and
 * its ports are wanted again. One whose parent was killed is just being stopped by its leash; one that
 * nobody stops within 18 s is sent `signal`.
 */
export async function untilPreviousEnds(pidFile: string, signal: NodeJS.Signals): Promise<void> {
  const identity = await readFile(pidFile, "utf8").catch(() => "");
  const pid = Number.parseInt(identity, 10);
  const runs = () => !Number.isNaN(pid) && processIdentity(pid) === identity;
  const gone = (withinMs: number) =>
    until(
      () => !runs(),
      withinMs,
      () => `the earlier server (pid ${pid}) still runs`,
    );
  await gone(18_000).catch(async () => {
    if (runs()) process.kill(pid, signal);
    await gone(10_000);
  });
}

// The command name stands in brackets and may itself hold spaces and brackets, so fields are counted
// from the last bracket: the state is the first after it, the start time the twentieth.
function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function startTime(pid: number): string | undefined {
  try {
    const line = execFileSync("ps", ["-o", "state=,lstart=", "-p", String(pid)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
    return line === "" || line.startsWith("Z") ? undefined : line.replace(/^\S+\s+/, "");
  } catch {
    return undefined;
  }
}
