import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { spawnLeashed } from "../../dev/leash.ts";
import { processIdentity } from "../../dev/process-life.ts";
import { until } from "../../dev/until.ts";
import { stillRunning } from "./running-stack.ts";

const LEASH = new URL("../../dev/leash.ts", import.meta.url).href;
const STUBBORN = `["-c", "trap '' TERM INT HUP; while :; do sleep 0.2; done"]`;

test("a child that ignores its stop signal is killed once its grace is over", async () => {
  const parent = await parentOf(`spawnLeashed("/bin/sh", ${STUBBORN}, { graceMs: 500 })`);
  parent.kill("SIGKILL");
  await parent.childGone();
});

test("a child is stopped also when its parent ends in the instant it was started", async () => {
  const parent = await parentOf(`spawnLeashed("/bin/sleep", ["1000"])`, "process.reallyExit(1)");
  await parent.childGone();
});

test("a child is stopped when its parent ends with an error", async () => {
  const parent = await parentOf(
    `spawnLeashed("/bin/sleep", ["1000"])`,
    `throw new Error("on purpose")`,
  );
  await parent.childGone();
});

test("what a child started itself is ended with it", async () => {
  const parent = await parentOf(
    `spawnLeashed("/bin/sh", ["-c", "(trap '' TERM; exec sleep 1000) & echo $!; wait"])`,
    "",
    1,
  );
  parent.kill("SIGKILL");
  await parent.childGone();
  await until(
    () => stillRunning(parent.said).length === 0,
    5_000,
    () => `grandchild ${parent.said[0]} still runs`,
  );
});

test("a directory is removed after the children that write into it have ended", async () => {
  const dir = await mkdtemp(join(tmpdir(), "holdfast-leash-"));
  const writes = `["-c", "trap '' TERM; while :; do date >> ${dir}/log; sleep 0.01; done"]`;
  const parent = await parentOf(
    `(removeWhenGone("${dir}"), spawnLeashed("/bin/sh", ${writes}, { graceMs: 300 }))`,
  );
  await until(
    () => existsSync(join(dir, "log")),
    5_000,
    () => "nothing was written",
  );
  parent.kill("SIGKILL");
  await parent.childGone();
  await until(
    () => !existsSync(dir),
    5_000,
    () => `${dir} is still there`,
  );
});

test("a child that ended by itself is forgotten, and a missing command ends with 127", async () => {
  const child = spawnLeashed("/no/such/command", [], { stdio: ["ignore", "ignore", "ignore"] });
  await expect(once(child, "exit")).resolves.toEqual([127, null]);
});

/** A process that has the child made by the expression on its leash, and then does what is said. */
async function parentOf(child: string, then = "", grandchildren = 0) {
  const code = `
    import { removeWhenGone, spawnLeashed } from ${JSON.stringify(LEASH)};
    const child = ${child};
    (await import("node:fs")).writeSync(1, "child " + child.pid + "\\n");
    ${then}`;
  const parent = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const said: string[] = [];
  let pid: number | undefined;
  const lines = createInterface({ input: parent.stdout });
  lines.on("line", (line) => {
    if (line.startsWith("child ")) pid = Number(line.slice(6));
    else said.push(processIdentity(Number(line)) ?? "");
  });
  await until(
    () => pid !== undefined && said.length >= grandchildren,
    10_000,
    () => "no child",
  );
  const identity = processIdentity(pid ?? 0);
  return {
    said,
    kill: (signal: NodeJS.Signals) => parent.kill(signal),
    childGone: () =>
      until(
        () => stillRunning(identity ? [identity] : []).length === 0,
        5_000,
        () => `child ${identity} still runs`,
      ),
  };
}
