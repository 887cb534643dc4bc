import { percentile } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { documents } from "./prose.ts";
import { DOCUMENT_SIZE } from "./retain-throughput.ts";
import { openScene, type Scene } from "./scene.ts";
import { until } from "../dev/until.ts";

/** The only worker dies in the middle of a batch, and another one starts at once. */
export async function measureRecovery(frame: Frame): Promise<void> {
  const scene = await openScene(frame);
  const contents = documents(2_000, DOCUMENT_SIZE);
  let worker = await scene.startWorker();
  const seconds: number[] = [];
  for (let round = 1; round <= (frame.quick ? 1 : 3); round++) {
    const operationId = await scene.submit(`bank-${round}`, contents);
    await until(
      () => isUnderWay(scene, operationId),
      60_000,
      () => "the batch is not under way",
    );
    const killedAt = Date.now();
    await worker.send("SIGKILL");
    const next = scene.startWorker();
    const settledAt = await until(
      () => settledByAnother(scene, operationId, worker.pid),
      120_000,
      () => "nothing was settled after the kill",
    );
    seconds.push((settledAt - killedAt) / 1_000);
    worker = await next;
    await scene.completed(operationId);
  }
  const what = "from SIGKILL of the only worker to the next outcome";
  frame.measure(`${what}, median`, percentile(seconds, 50), "s");
  frame.measure(`${what}, longest`, Math.max(...seconds), "s", { atMost: 10 });
  await frame.close();
}

async function isUnderWay({ holdfast }: Scene, operationId: string): Promise<boolean> {
  const { rows } = await holdfast.db.query<{ settled: number }>(
    "select count(*)::int as settled from holdfast.outcomes where operation_id = $1",
    [operationId],
  );
  return rows[0]!.settled >= 200;
}

/** When the first item was settled by a process other than `pid`, epoch milliseconds. */
async function settledByAnother({ holdfast }: Scene, operationId: string, pid: number) {
  const { rows } = await holdfast.db.query<{ at: Date | null }>(
    `select min(settled_at) as at from holdfast.outcomes
      where operation_id = $1 and settled_by not like $2`,
    [operationId, `%#${pid}`],
  );
  return rows[0]!.at?.getTime();
}
