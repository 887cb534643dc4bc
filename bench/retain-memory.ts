import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Frame } from "./frame.ts";
import { documents, longText } from "./prose.ts";
import { historyOf } from "./history-size.ts";
import { DOCUMENT_SIZE } from "./retain-throughput.ts";
import { consolidated, openScene, type Scene } from "./scene.ts";

const MIB = 1024 * 1024;

/** What a worker's memory rises to from rest, and what the history of a batch weighs. */
export async function measureMemoryAndHistory(frame: Frame): Promise<void> {
  const scene = await openScene(frame);
  const [few, many] = frame.quick ? [600, 3_000] : [2_000, 10_000];
  const longest = frame.quick ? 5_000_000 : 47_000_000;

  const oneItem = await risesBy(frame, scene, () => scene.submit("one-item", [longText(longest)]));
  const millions = Math.round(longest / 1_000_000);
  frame.measure(`worker memory, one item of ${millions} million characters`, oneItem.mib, "MiB", {
    below: 300,
  });

  const smaller = await risesBy(frame, scene, () =>
    scene.submit("few", documents(few, DOCUMENT_SIZE)),
  );
  const larger = await risesBy(frame, scene, () =>
    scene.submit("many", documents(many, DOCUMENT_SIZE)),
  );
  frame.measure(`worker memory, ${many.toLocaleString("en")} items`, larger.mib, "MiB", {
    below: 300,
  });

  const histories = [
    await historyOf(scene.stack, smaller.operationId),
    await historyOf(scene.stack, larger.operationId),
  ] as const;
  const perThousand = ((histories[1].events - histories[0].events) * 1_000) / (many - few);
  frame.measure(`history of ${many.toLocaleString("en")} items`, histories[1].events, "events");
  frame.measure("history, per 1,000 items more", perThousand, "events", { below: 10 });
  frame.measure("largest payload of a history", histories[1].largestPayload, "bytes", {
    below: 4_096,
  });
  await frame.close();
}

/** A fresh worker does one batch, consolidation and all; the kernel remembers its highest peak. */
async function risesBy(frame: Frame, scene: Scene, submit: () => Promise<string>) {
  const worker = await scene.startWorker();
  await sleep(5_000); // at rest, before anything was done
  const atRest = await memoryOf(worker.pid, "VmRSS");
  const operationId = await submit();
  await scene.completed(operationId);
  await consolidated(scene.holdfast);
  const peak = await memoryOf(worker.pid, "VmHWM");
  await worker.send("SIGTERM");
  frame.note(`worker at rest ${Math.round(atRest / MIB)} MiB, peak ${Math.round(peak / MIB)} MiB`);
  return { operationId, mib: (peak - atRest) / MIB };
}

async function memoryOf(pid: number, field: "VmRSS" | "VmHWM"): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => {
    throw new Error("memory is read from /proc: run this benchmark on Linux");
  });
  const kib = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1];
  if (!kib) throw new Error(`/proc/${pid}/status says nothing of ${field}`);
  return Number(kib) * 1024;
}
