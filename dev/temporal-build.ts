import { existsSync } from "node:fs";
import type { Readable } from "node:stream";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { spawnLeashed } from "./leash.ts";
import { onPath } from "./on-path.ts";

const PACKAGE = "github.com/temporalio/cli";
// What a build with an empty cache compiles.
const PACKAGES = 1_720;
const SAY_EVERY_MS = 10_000;

/**
 * Builds the Temporal CLI from its Go module into `file`, saying how far it is every ten seconds.
 * About five minutes on two cores, much of it downloads the first time.
 * @throws Error when there is no `go`, or with the end of what it said when it fails.
 */
export async function buildTemporal(
  file: string,
  version: string,
  log: (line: string) => void,
): Promise<void> {
  const go = await findGo();
  if (!go) throw new Error("go is not installed");
  log(`temporal: building CLI ${version} with ${go}; about five minutes, once for this machine`);
  const started = performance.now();
  let downloaded = 0;
  let compiled = 0;
  const said: string[] = [];
  const say = setInterval(() => {
    const seconds = Math.round((performance.now() - started) / 1_000);
    log(
      `temporal: building, ${seconds} s: ${downloaded} modules fetched, ${compiled} of about ${PACKAGES} packages compiled`,
    );
  }, SAY_EVERY_MS);
  const build = spawnLeashed(go, buildArgs(file, version), {
    cwd: moduleDir(),
    env: { ...process.env, CGO_ENABLED: "0", GOWORK: "off" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise<number | null>((resolve) => build.once("exit", resolve));
  try {
    for await (const line of createInterface({ input: build.stderr as Readable })) {
      if (line.startsWith("go: downloading ")) downloaded += 1;
      else if (/^[\w.-]+(\/\S+)*$/.test(line)) compiled += 1;
      else said.push(line);
    }
    const code = await ended;
    if (code !== 0) throw new Error(`go build ended with ${code}: ${said.slice(-5).join(" | ")}`);
  } finally {
    clearInterval(say);
  }
  log(`temporal: built in ${Math.round((performance.now() - started) / 1_000)} s`);
}

function buildArgs(file: string, version: string): string[] {
  const named = `-X ${PACKAGE}/internal/temporalcli.Version=${version}`;
  return ["build", "-v", "-trimpath", "-ldflags", named, "-o", file, `${PACKAGE}/cmd/temporal`];
}

// Go's own installer puts it where PATH does not lead by itself.
async function findGo(): Promise<string | undefined> {
  return onPath("go", `${process.env["PATH"]}:/usr/local/go/bin:/usr/lib/go/bin`);
}

// In the published package this file runs from dist/dev, while the Go module stays at dev/.
function moduleDir(): string {
  const here = fileURLToPath(new URL("./temporal-cli/", import.meta.url));
  return existsSync(here)
    ? here
    : fileURLToPath(new URL("../../dev/temporal-cli/", import.meta.url));
}
