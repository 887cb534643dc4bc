import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { bundleWorkflowCode } from "@temporalio/worker";

/** Builds the publishable package into dist/: JavaScript with types, migrations, and the workflow bundle. */

const root = fileURLToPath(new URL("../", import.meta.url));
const dist = `${root}dist`;

rmSync(dist, { recursive: true, force: true });
execFileSync("npx", ["tsc", "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
for (const folder of ["db/migrations", "server/console/assets", "dev/temporal-cli"]) {
  cpSync(`${root}${folder}`, `${dist}/${folder}`, { recursive: true });
}

// Bundling takes seconds; a release carries the bundle, and workers start without it.
const { code } = await bundleWorkflowCode({
  workflowsPath: `${root}workflows/index.ts`,
  logger: undefined,
});
writeFileSync(`${dist}/workflow-bundle.js`, code);

const bin = `${dist}/cli/holdfast.js`;
if (!readFileSync(bin, "utf8").startsWith("#!")) throw new Error(`${bin} needs its first line`);
chmodSync(bin, 0o755);
