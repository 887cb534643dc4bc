import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleWorkflowCode } from "@temporalio/worker";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
/** What workflow code is made of. */
const SOURCES = ["workflows", "contracts", "domain"];

/**
 * The bundle of this checkout's workflows, as a release carries one: made once for these sources and
 * kept in the cache, because making it takes longer than everything else a worker does to start.
 * @returns the path of the file.
 */
export async function workflowBundle(): Promise<string> {
  const cache = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  const dir = join(cache, "holdfast", "workflow-bundles");
  const file = join(dir, `${await sourcesHash()}.js`);
  if (await stat(file).catch(() => undefined)) return file;
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(ROOT, "workflows", "index.ts"),
    logger: QUIET,
  });
  await mkdir(dir, { recursive: true });
  await writeFile(`${file}.${process.pid}`, code);
  await rename(`${file}.${process.pid}`, file);
  return file;
}

async function sourcesHash(): Promise<string> {
  const hash = createHash("sha256").update(ROOT);
  hash.update(await readFile(join(ROOT, "package-lock.json")));
  for (const folder of SOURCES) {
    const names = await readdir(join(ROOT, folder), { recursive: true });
    for (const name of names.filter((name) => name.endsWith(".ts")).toSorted()) {
      hash.update(`${folder}/${name}\n`).update(await readFile(join(ROOT, folder, name)));
    }
  }
  return hash.digest("hex").slice(0, 16);
}

const nothing = () => undefined;
const QUIET = {
  log: nothing,
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
};
