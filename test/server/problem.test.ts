import { Hono } from "hono";
import pino from "pino";
import { expect, test } from "vitest";
import { Unavailable } from "../../contracts/errors.ts";
import { answerProblem } from "../../server/problem.ts";

const log = pino({ enabled: false });

function failingWith(error: Error): Hono {
  const app = new Hono();
  app.onError((thrown, c) => answerProblem(thrown, c, log));
  app.post("/", () => {
    throw error;
  });
  return app;
}

test.each(["40001", "40P01", "55P03"])(
  "a request that stood in the way of others (%s) is told to come again, not that it is our fault",
  async (code) => {
    const said = Object.assign(new Error("deadlock detected"), { code });
    for (const error of [said, new Unavailable("Postgres", "not now", said)]) {
      const answer = await failingWith(error).request("/", { method: "POST" });
      expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "5"]);
      const { detail } = (await answer.json()) as { detail: string };
      expect(detail).toMatch(/^other work is in the way of this, .*try again in 5 s$/);
    }
  },
);
