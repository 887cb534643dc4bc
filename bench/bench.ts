import { parseArgs } from "node:util";
import { Frame, resultTable, type Benchmark } from "./frame.ts";

/** `npm run bench -- <name> [--json] [--quick]`: one benchmark, or `all` of them one after another. */

const NAMES = [
  "accept",
  "retain",
  "progress",
  "search",
  "job",
  "inbox",
  "plan-apply",
  "plan-scale",
  "idle",
] as const;
const USAGE = `usage: npm run bench -- <name> [--json] [--quick]

  <name>    ${NAMES.join(", ")}, or all
  --json    end with one line of JSON for each benchmark
  --quick   few rounds, to see that it works; the figures mean little`;

function asked(): { names: readonly string[]; json: boolean; quick: boolean } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
    },
  });
  const [name, ...more] = positionals;
  if (name === undefined) throw new Error("name a benchmark");
  if (more.length > 0) throw new Error(`one benchmark at a time, not also "${more.join(" ")}"`);
  if (name === "all") return { names: NAMES, ...values };
  if (!NAMES.some((known) => known === name)) throw new Error(`there is no benchmark "${name}"`);
  return { names: [name], ...values };
}

async function runOne(name: string, options: { json: boolean; quick: boolean }): Promise<void> {
  const { benchmark } = (await import(`./${name}.ts`)) as { benchmark: Benchmark };
  process.stdout.write(`${benchmark.name}: ${benchmark.question}\n`);
  const frame = new Frame(benchmark, options);
  try {
    await benchmark.run(frame);
  } finally {
    await frame.close();
  }
  const result = frame.result();
  process.stdout.write(`${resultTable(result)}\n`);
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`);
}

let options: ReturnType<typeof asked>;
try {
  options = asked();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n\n${USAGE}\n`);
  process.exit(1);
}
try {
  for (const name of options.names) await runOne(name, options);
  // A bar that is missed is a result, not an error.
  process.exit(0);
} catch (error) {
  process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
  process.exit(1);
}
