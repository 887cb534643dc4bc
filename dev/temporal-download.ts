import { spawnSync } from "node:child_process";
import { createWriteStream } from "node:fs";
import { chmod, mkdtemp, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

// Temporal's own address for the CLI, the one its SDKs fetch their dev server from.
const ARCHIVES = "https://temporal.download/cli/archive";
// Where nothing is let out some networks answer nothing at all, and the next way is waiting.
const ANSWER_WITHIN_MS = 3_000;
const WHOLE_WITHIN_MS = 10 * 60_000;
const ARCHITECTURES: Record<string, string> = { x64: "amd64", arm64: "arm64" };

/**
 * Downloads the Temporal CLI of that version and writes its executable to `file`.
 * @throws Error within seconds when there is no way out or no such archive.
 */
export async function downloadTemporal(
  file: string,
  version: string,
  archives: string = ARCHIVES,
): Promise<void> {
  const architecture = ARCHITECTURES[process.arch];
  if (!architecture) throw new Error(`no archive for ${process.arch}`);
  const url = `${archives}/v${version}?platform=${process.platform}&arch=${architecture}`;
  const dir = await mkdtemp(join(dirname(file), "download-"));
  try {
    const archive = join(dir, "temporal.tar.gz");
    await fetchTo(archive, url);
    const { status, stderr } = spawnSync("tar", ["-xzf", archive, "-C", dir], { encoding: "utf8" });
    if (status !== 0) throw new Error(`the archive from ${url} does not unpack: ${stderr.trim()}`);
    await chmod(join(dir, "temporal"), 0o755);
    await rename(join(dir, "temporal"), file);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function fetchTo(archive: string, url: string): Promise<void> {
  const patience = new AbortController();
  const giveUp = setTimeout(() => patience.abort(), ANSWER_WITHIN_MS);
  try {
    const response = await fetch(url, {
      signal: AbortSignal.any([patience.signal, AbortSignal.timeout(WHOLE_WITHIN_MS)]),
    });
    clearTimeout(giveUp);
    if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
    await pipeline(Readable.fromWeb(response.body), createWriteStream(archive));
  } catch (cause) {
    const reason = (cause as { cause?: Error }).cause?.message ?? (cause as Error).message;
    throw new Error(`no answer from ${new URL(url).host}: ${reason}`, { cause });
  } finally {
    clearTimeout(giveUp);
  }
}
