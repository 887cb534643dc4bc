import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { block, blocks } from "./pages.ts";
import { setupCli } from "../cli/support.ts";
import { servedProduct, type Served } from "./product.ts";
import { ours, ROOT, shell } from "./shell.ts";

const CONFIG = `
import { defineCollector, defineConfig, defineProcessor } from ${JSON.stringify(join(ROOT, "client/index.ts"))};
export default defineConfig({
  jobs: {
    collectors: { "changed-images": defineCollector({ collect: () => ({ items: [{ payload: 1 }] }) }) },
    processors: {
      thumbnails: defineProcessor({
        process: (items) =>
          items.map(({ item, payload }) =>
            payload === "bad" ? { item, error: "no image" } : { item, result: payload ?? null },
          ),
      }),
    },
  },
});
`;

const PLACEHOLDER = /01a1fe66-6034-723e-888d-126f9e06159c/;

/** Jobs that commands of the page are about: one of its own for what changes it, else one that ended. */
function jobsFor({ holdfast }: Served): (verb: string) => Promise<string> {
  const submit = async (pipeline: string, payloads: string[]) =>
    (await holdfast.job.submit({ pipeline, items: payloads.map((payload) => ({ payload })) })).id;
  let ended: string | undefined;
  return async (verb) => {
    if (verb === "loadtest")
      return submit(
        "load",
        Array.from({ length: 1_500 }, () => ""),
      );
    if (verb === "cancel") return submit("nobody", [""]);
    if (ended) return ended;
    ended = await submit("thumbnails", ["good", "bad"]);
    await holdfast.job.wait(ended);
    return ended;
  };
}

const cli = setupCli();

test("every job command of cli.md does what it says", { timeout: 120_000 }, async () => {
  const config = join(await ours("holdfast-commands-"), "holdfast.config.ts");
  await writeFile(config, CONFIG);
  await using product = await servedProduct(config);
  await writeFile(join(cli.folder, "items.ndjson"), '{"payload":"good"}\n');
  await writeFile(join(cli.folder, "key.txt"), await product.key("service"));
  const env = { DATABASE_URL: product.databaseUrl, HOLDFAST_CONFIG: config };
  const lines = blocks("cli.md", "")
    .flatMap((text) => text.split("\n"))
    .filter((line) => line.startsWith("holdfast job "));
  expect(lines.length).toBeGreaterThan(10);
  const aboutOf = jobsFor(product);
  const said: Record<string, string> = {};
  for (const line of lines) {
    const command = line.replace(/ +#.*$/, "").replace(/ > results\.ndjson$/, "");
    const args = [...command.matchAll(/'([^']*)'|\S+/g)].map(([word, quoted]) => quoted ?? word);
    const verb = args[2]!;
    const about = args.some((arg) => PLACEHOLDER.test(arg)) ? await aboutOf(verb) : "";
    const here = verb === "loadtest" ? ["--host", product.url] : [];
    const given = args.slice(1).map((arg) => arg.replace(PLACEHOLDER, about));
    const ran = await cli.runHere([...given, ...here], { env });
    expect.soft(ran.code, `${command}\n${ran.out}\n${ran.err}`).toBe(0);
    said[verb] = ran.out;
  }
  expect(said["submit"]).toMatch(/^accepted .*: its items will be collected$/m);
  expect(said["results"]).toMatch(/"item":1.*\n.*"error":"no image"/);
  expect(said["retry"]).toContain("generation 2");
  expect(said["cancel"]).toContain("is cancelled");
  expect(said["loadtest"]).toContain("30 of 30 posts succeeded (100 %)");
});

test(
  "the load test of the runbook runs as it is written",
  { timeout: 120_000 },
  async ({ skip }) => {
    if (spawnSync("which", ["jq"]).status !== 0) skip("jq is not on this machine");
    await using product = await servedProduct();
    const ran = await shell(product, block("runbooks/job-contention.md", "sh load"));
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toContain("30 of 30 posts succeeded (100 %)");
    const depth = Number(/lock chain (\d+) deep/.exec(ran.out)![1]);
    expect(depth).toBeLessThanOrEqual(1);
  },
);
