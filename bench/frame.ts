import Table from "cli-table3";
import pg from "pg";
import { migrate } from "../db/migrate.ts";
import { startStack, type PostgresStack, type Stack } from "../dev/stack.ts";
import { describePostgres, thisMachine, type Machine } from "./machine.ts";

/** One benchmark: a file of its own, found by its name. */
export interface Benchmark {
  name: string;
  /** What is asked, in one sentence. */
  question: string;
  run(frame: Frame): Promise<void>;
}

/** What a figure must reach. */
export type Bar =
  | { atLeast: number }
  | { atMost: number }
  | { below: number }
  | { exactly: number };

export interface Measure {
  name: string;
  value: number;
  unit: string;
  /** Such as `>= 50`; null for a figure without one. */
  bar: string | null;
  /** The bar is reached; true where there is none. */
  ok: boolean;
}

export interface BenchResult {
  bench: string;
  machine: Machine;
  measures: Measure[];
}

/** What every benchmark stands on: servers of its own, and one place for its figures. */
export class Frame {
  /** Few rounds, to see that it works; the figures mean little. */
  readonly quick: boolean;
  readonly #benchmark: Benchmark;
  readonly #machine = thisMachine();
  readonly #measures: Measure[] = [];
  readonly #endings: (() => Promise<unknown>)[] = [];
  #databases = 0;

  constructor(benchmark: Benchmark, options: { quick: boolean }) {
    this.#benchmark = benchmark;
    this.quick = options.quick;
  }

  /** A line for whoever waits. */
  note(line: string): void {
    process.stderr.write(`${this.#benchmark.name}: ${line}\n`);
  }

  /** Takes one figure into the result. */
  measure(name: string, value: number, unit: string, bar?: Bar): void {
    const measure = {
      name,
      value: Number(value.toPrecision(4)),
      unit,
      bar: bar ? shown(bar) : null,
      ok: bar ? reaches(value, bar) : true,
    };
    this.#measures.push(measure);
    this.note(`${name}: ${figure(measure.value)} ${unit}${measure.ok ? "" : " (misses its bar)"}`);
  }

  /** A durable Postgres of this run's own, in a temporary directory; goes with the frame. */
  postgres(): Promise<PostgresStack> {
    return this.#start(() => startStack({ ...OWN, temporal: false }));
  }

  /** The same with a Temporal dev server. */
  stack(): Promise<Stack> {
    return this.#start(() => startStack(OWN));
  }

  /** A fresh, migrated database on a server, so that nothing measured before weighs on it. */
  async database(server: PostgresStack): Promise<string> {
    const name = `bench_${++this.#databases}`;
    const admin = new pg.Client({ connectionString: server.databaseUrl });
    await admin.connect();
    try {
      await admin.query(`create database ${name}`);
    } finally {
      await admin.end();
    }
    const url = new URL(server.databaseUrl);
    url.pathname = `/${name}`;
    await migrate(url.href);
    return url.href;
  }

  /** Something to end with the frame; what came last goes first. */
  atEnd(ending: () => Promise<unknown>): void {
    this.#endings.push(ending);
  }

  async close(): Promise<void> {
    for (let end = this.#endings.pop(); end; end = this.#endings.pop()) await end();
  }

  result(): BenchResult {
    return { bench: this.#benchmark.name, machine: this.#machine, measures: this.#measures };
  }

  async #start<S extends PostgresStack>(start: () => Promise<S>): Promise<S> {
    const server = await start();
    this.atEnd(() => server.stop());
    const client = new pg.Client({ connectionString: server.databaseUrl });
    await client.connect();
    try {
      this.#machine.postgres = await describePostgres({
        query: (text) => client.query(text) as Promise<never>,
      });
    } finally {
      await client.end();
    }
    return server;
  }
}

// Addresses of the environment are not for us: a server somebody else uses gives no figures.
const OWN = { durability: "durable", environment: {} } as const;

/** The result as a table for people. */
export function resultTable({ machine, measures }: BenchResult): string {
  const table = new Table({
    head: ["measure", "value", "unit", "bar", ""],
    colAligns: ["left", "right", "left", "left", "left"],
    style: { head: [], border: [] },
  });
  for (const { name, value, unit, bar, ok } of measures) {
    table.push([name, figure(value), unit, bar ?? "", bar === null ? "" : ok ? "ok" : "MISSED"]);
  }
  const { cores, cpu, memoryGiB, system, node, postgres } = machine;
  const where = `${cores} cores (${cpu}), ${memoryGiB} GiB, ${system}, Node ${node}, Postgres ${postgres ?? "none"}`;
  return `${table.toString()}\n${where}`;
}

function shown(bar: Bar): string {
  if ("atLeast" in bar) return `>= ${bar.atLeast}`;
  if ("atMost" in bar) return `<= ${bar.atMost}`;
  return "below" in bar ? `< ${bar.below}` : `= ${bar.exactly}`;
}

function reaches(value: number, bar: Bar): boolean {
  if ("atLeast" in bar) return value >= bar.atLeast;
  if ("atMost" in bar) return value <= bar.atMost;
  return "below" in bar ? value < bar.below : value === bar.exactly;
}

function figure(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 100 ? 2 : 0 });
}
