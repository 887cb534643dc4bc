import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { Served } from "./product.ts";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A folder that goes with the test. */
export async function ours(prefix: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), prefix));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs lines of a page in a folder of their own, with `holdfast` as it is here. */
export async function shell(product: Served, script: string, env: NodeJS.ProcessEnv = {}) {
  const folder = await ours("holdfast-walk-");
  const command = `#!/bin/sh\nexec "${process.execPath}" --import "${import.meta.resolve("tsx")}" "${ROOT}cli/holdfast.ts" "$@"\n`;
  await writeFile(join(folder, "holdfast"), command);
  await chmod(join(folder, "holdfast"), 0o755);
  const child = spawn("bash", ["-euo", "pipefail", "-c", script], {
    cwd: folder,
    env: {
      ...env,
      PATH: `${folder}:${process.env["PATH"]}`,
      TSX_TSCONFIG_PATH: join(ROOT, "tsconfig.json"),
      DATABASE_URL: product.databaseUrl,
      HOLDFAST_URL: product.url,
      HOLDFAST_TOKEN: await product.key("service"),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out, err };
}
