import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { jobsOverHttp } from "../client/jobs-over-http.ts";
import { runPullWorker } from "../client/pull-worker.ts";
import type { ClaimedItem } from "../contracts/job.ts";
import type { ProcessedItem } from "../contracts/plugins.ts";
import { untilInterrupted } from "./interrupt.ts";

/** The demo's files, worked by the SDK's pull worker; the same as demo-job-worker.py. */

const LICENCE = /copyright|licen[cs]e|spdx/i;

async function work({ item, reference }: ClaimedItem): Promise<ProcessedItem> {
  const content = await readFile(reference!);
  const licensed = LICENCE.test(content.toString("latin1", 0, 4_096));
  const sha256 = createHash("sha256").update(content).digest("hex");
  return {
    item,
    result: { sha256, bytes: content.length, licensed },
    // One count is a million at most.
    counts: {
      megabytes: Math.floor(content.length / 1e6),
      bytes: content.length % 1e6,
      licensed: Number(licensed),
    },
  };
}

const ending = new AbortController();
void untilInterrupted().then(() => ending.abort());
const { HOLDFAST_URL: url, PIPELINES: pipelines, WORKER: worker } = process.env;
await runPullWorker({
  jobs: jobsOverHttp({ url: url! }),
  pipelines: pipelines!.split(","),
  worker: worker!,
  process: ({ items }) => Promise.all(items.map(work)),
  signal: ending.signal,
  onError: (error, what) => process.stderr.write(`${worker}: ${what}: ${String(error)}\n`),
});
