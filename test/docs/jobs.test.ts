import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { JobOptions } from "../../contracts/job.ts";
import { openDb } from "../../db/pool.ts";
import { listening } from "../server/listening.ts";
import { aJob } from "../support/jobs.ts";
import { block, blocks, rows } from "./pages.ts";
import { servedProduct } from "./product.ts";
import { ours, ROOT, shell } from "./shell.ts";

const tools = ["bash", "curl", "jq"].filter((tool) => spawnSync("which", [tool]).status !== 0);

test(
  "the walk from submit to results runs as it is written",
  { timeout: 120_000 },
  async ({ skip }) => {
    if (tools.length > 0) skip(`not on this machine: ${tools.join(", ")}`);
    await using product = await servedProduct();
    const steps = blocks("jobs.md", "sh walk");
    // Between the steps: what the prose says of each.
    const script = [...steps, 'echo "-- shown"; holdfast job show "$JOB" --json'].join(
      "\necho '-- step'\n",
    );

    const ran = await shell(product, script);

    expect(ran.err.replaceAll(/^(running|waiting|completed|accepted).*\n/gm, "")).toBe("");
    expect(ran.code).toBe(0);
    const [, posted, seen, shown] = ran.out.split("-- step\n");
    expect(JSON.parse(posted!)).toMatchObject({ accepted: 3, duplicate: 0, late: 0, unknown: 0 });
    expect(seen).toMatch(/completed with 1 error/);
    expect(seen).toContain('"sha256":"ab12"');
    expect(seen).toContain("no such object");
    expect(seen).toContain("is accepted again, generation 2");
    const view = JSON.parse(shown!.replace("-- shown\n", ""));
    expect(view).toMatchObject({ generation: 2, counts: { succeeded: 2 }, total: 3 });
  },
);

test("the options of the page are those there are, with their defaults", () => {
  const told = rows("jobs.md", "option");
  expect(told.flatMap(([names]) => names!.match(/\w+/g)!).toSorted()).toEqual(
    Object.keys(JobOptions.shape).toSorted(),
  );
  const defaults = JobOptions.parse({});
  for (const [name, value] of told.filter(([, value]) => value !== "")) {
    expect(defaults, name).toHaveProperty(name!.replaceAll("`", ""), Number(value));
  }
});

test(
  "the configuration of the page collects and processes a job",
  { timeout: 120_000 },
  async () => {
    const folder = await ours("holdfast-page-");
    const config = join(folder, "holdfast.config.ts");
    const text = block("jobs.md", "ts holdfast.config.ts");
    await writeFile(
      config,
      text.replace('"holdfast"', JSON.stringify(join(ROOT, "client/index.ts"))),
    );
    await using product = await servedProduct(config);
    const line = blocks("jobs.md", "").find((commands) => commands.includes("--collector"));

    const ran = await shell(product, line!.replace("--wait", "--wait --json"), {
      HOLDFAST_CONFIG: config,
    });

    expect(ran.err.replaceAll(/^(running|waiting|completed|accepted).*\n/gm, "")).toBe("");
    expect(ran.code).toBe(0);
    const view = JSON.parse(ran.out);
    expect(view).toMatchObject({
      state: "completed",
      total: 250,
      counts: { succeeded: 249, failed: 1 },
    });
    const params = view.progress.stages.flatMap((stage: { params: unknown[] }) => stage.params);
    expect(params).toContainEqual(expect.objectContaining({ key: "even", value: 125 }));
  },
);

test("what autoscalers read is served as the page says", async () => {
  await using server = await listening();
  const db = openDb({ url: server.databaseUrl, size: 2 });
  onTestFinished(() => db.close());
  await aJob(db, { items: 30, batchSize: 10, pipeline: "hash" });
  const authorization = `Bearer ${await server.key("viewer")}`;

  const keda = block("jobs.md", "yaml keda");
  const path = new URL(/url: (\S+)/.exec(keda)![1]!).pathname;
  const answer = await fetch(server.url + path, { headers: { authorization } });
  const depth = (await answer.json()) as object;
  expect(Object.keys(depth).toSorted()).toEqual(
    Object.keys(JSON.parse(block("jobs.md", "json depth"))).toSorted(),
  );
  expect(depth).toMatchObject({ ready: 3, jobs: 1, workersOnline: 0 });
  expect(depth).toHaveProperty(/valueLocation: (\w+)/.exec(keda)![1]!);

  const hpa = block("jobs.md", "yaml hpa");
  const gauge = /name: (holdfast_\w+)/.exec(hpa)![1]!;
  const label = /matchLabels:\s+(\w+): hash/.exec(hpa)![1]!;
  const metrics = await (
    await fetch(`${server.url}/metrics`, { headers: { authorization } })
  ).text();
  expect(metrics).toMatch(new RegExp(`^${gauge}\\{[^}]*${label}="hash"[^}]*\\} 3$`, "m"));
});
