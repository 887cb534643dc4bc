import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Benchmark } from "./frame.ts";
import { openScene } from "./scene.ts";
import { linesOf, logStatements, statementsOf } from "./statement-log.ts";

export const benchmark: Benchmark = {
  name: "idle",
  question: "What does a worker without work ask of Postgres?",
  async run(frame) {
    const scene = await openScene(frame);
    await logStatements(scene.databaseUrl);
    await scene.startWorker();
    frame.note("one worker, no work");
    await sleep(frame.quick ? 3_000 : 15_000); // what a start does once is not counted
    const seconds = frame.quick ? 10 : FULL_CIRCLE_S;
    const log = join(scene.stack.dir, "postgres", "postgres.log");
    const said = await linesOf(log, seconds * 1_000);
    const statements = said.flatMap(statementsOf);
    frame.measure("idle, one worker, no work", statements.length / seconds, "statements/s", {
      below: 5,
    });
    const loops = statements.filter(({ by }) => by === "holdfast-upkeep").length;
    frame.measure("of these, relay and upkeep", loops / seconds, "statements/s");
    await frame.close();
  },
};

/** Everything done by the clock comes round at least once: the doctor takes longest, five minutes. */
const FULL_CIRCLE_S = 300;
