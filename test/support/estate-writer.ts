import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { spawnLeashed } from "../../dev/leash.ts";
import { until } from "../../dev/until.ts";

const WRITER = fileURLToPath(new URL("../system/fixtures/write.ts", import.meta.url));
const CONNECTIONS = 3;

export interface EstateWriter {
  /** Resolves when so many more programs are through. */
  wrote(programs: number): Promise<void>;
  /** Wherever it is just now. */
  kill(): Promise<void>;
}

/** A process that writes into the estate until it is killed. */
export function estateWriter(databaseUrl: string, seed: number): EstateWriter {
  const child = spawnLeashed(
    process.execPath,
    ["--import", "tsx", WRITER, String(seed), String(CONNECTIONS)],
    { env: { ...process.env, DATABASE_URL: databaseUrl }, stdio: ["ignore", "pipe", "inherit"] },
  );
  let programs = 0;
  createInterface({ input: child.stdout as Readable }).on("line", () => programs++);
  const ended = once(child, "exit");
  onTestFinished(() => void child.kill("SIGKILL"));
  return {
    async wrote(more) {
      const wanted = programs + more;
      await until(
        () => programs >= wanted,
        90_000,
        () => `the writer is through with ${programs} of ${wanted} programs`,
      );
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
