import { describe, expect, test } from "vitest";
import { streamSystem } from "../support/stream-system.ts";
import { acceptedSites, notOnce } from "../support/streaming.ts";

const streamed = await streamSystem();

describe.skipIf(!streamed.server)("a stream through crashes", () => {
  test("a worker killed between commit and acknowledgement: all of it once", async () => {
    const names = await streamed.send(20, 50);
    // Held before it commits, so that the way back is closed in time.
    const gate = await streamed.system.gate({ table: "entities", at: "commit" });
    const first = await streamed.worker();
    await gate.reached();
    streamed.proxy.lose("requests");
    await gate.open();
    await streamed.system.eventually(
      "it is committed",
      async () => (await acceptedSites(streamed.system.db)).size > 0,
    );
    expect(await streamed.pending()).toBeGreaterThan(0);
    await first.send("SIGKILL");
    streamed.proxy.heal();
    await streamed.worker();
    await streamed.drained();
    expect(await notOnce(streamed.system.db, names)).toEqual([]);
  });

  test("a worker killed in its transaction: nothing of it is there, then all of it once", async () => {
    const names = await streamed.send(10, 50);
    const gate = await streamed.system.gate({ table: "entities", nth: 300 });
    const first = await streamed.worker();
    await gate.reached();
    await first.send("SIGKILL");
    await gate.open();
    expect((await acceptedSites(streamed.system.db)).size).toBe(0);
    await streamed.worker();
    await streamed.drained();
    expect(await notOnce(streamed.system.db, names)).toEqual([]);
  });

  test("Redis killed and started again on its file: it goes on where it was", async () => {
    const names = await streamed.send(100, 10);
    await streamed.worker({ count: 5, coalesceRows: 50, coalesceMs: 0 });
    await streamed.system.eventually(
      "it has begun",
      async () => (await acceptedSites(streamed.system.db)).size > 0,
    );
    await streamed.restartServer();
    names.push(...(await streamed.send(20, 10)));
    await streamed.drained();
    expect(await notOnce(streamed.system.db, names)).toEqual([]);
  });
});
