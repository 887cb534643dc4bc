import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, inject, vi } from "vitest";
import { runCommand } from "../../cli/program.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export interface Ran {
  code: number | null;
  out: string;
  /** What was said on stderr, without the line end. */
  err: string;
  // What it is, is said where it is read.
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters
  json<T = Record<string, unknown>>(): T;
}

export interface Cli {
  /** A folder of its own, in which no stack runs. */
  readonly folder: string;
  readonly databaseUrl: string;
  /** Runs the command as its users do, as another process. `null` takes a variable away. */
  run(args: string[], how?: How): Promise<Ran>;
  /**
   * Runs the same command line in this process: a tenth of the time, for tables of cases. Input goes
   * through a file, which takes the place of `-`.
   */
  runHere(args: string[], how?: How): Promise<Ran>;
}

interface How {
  input?: string;
  env?: Record<string, string | null>;
}

/** The CLI as its users have it: another process, a database and a folder of this test file. */
export function setupCli(): Cli {
  let database: TestDatabase;
  let folder: string;
  beforeAll(async () => {
    database = await testDatabase();
    folder = await mkdtemp(join(tmpdir(), "holdfast-cli-"));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
    await database.drop();
  });
  return {
    get folder() {
      return folder;
    },
    get databaseUrl() {
      return database.url;
    },
    run: (args, { input = "", env = {} } = {}) =>
      finished(start(args, { folder, env: { ...address(database.url), ...env } }), input),
    runHere: async (args, { input = "", env = {} } = {}) => {
      const file = join(folder, "input.ndjson");
      await writeFile(file, input);
      const line = args.map((arg) => (arg === "-" ? file : arg));
      return hereRun(line, { folder, env: { ...address(database.url), ...env } });
    },
  };
}

async function hereRun(
  args: string[],
  { folder, env }: { folder: string; env: Record<string, string | null> },
): Promise<Ran> {
  const said = { out: "", err: "" };
  const heard = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      said[name === "stdout" ? "out" : "err"] += String(text);
      return true;
    }),
  );
  const before = process.cwd();
  try {
    process.chdir(folder);
    for (const name of Object.keys(process.env).filter((name) => OURS.test(name))) {
      vi.stubEnv(name, undefined);
    }
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value ?? undefined);
    process.exitCode = undefined;
    const code = await runCommand(args);
    return { code, ...said, err: said.err.trimEnd(), json: () => JSON.parse(said.out) };
  } finally {
    process.exitCode = undefined;
    vi.unstubAllEnvs();
    process.chdir(before);
    for (const one of heard) one.mockRestore();
  }
}

function address(databaseUrl: string): Record<string, string> {
  return { DATABASE_URL: databaseUrl, TEMPORAL_ADDRESS: inject("temporalAddress") };
}

const OURS = /^(DATABASE_URL|TEMPORAL_|HOLDFAST_|NO_COLOR|FORCE_COLOR)/;

export function start(
  args: string[],
  at: { folder: string; env?: Record<string, string | null> },
): ChildProcess {
  const inherited = Object.entries(process.env).filter(([name]) => !OURS.test(name));
  const asked = Object.entries(at.env ?? {}).filter(([, value]) => value !== null);
  return spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), join(ROOT, "cli/holdfast.ts"), ...args],
    {
      cwd: at.folder,
      env: {
        ...Object.fromEntries(inherited),
        TSX_TSCONFIG_PATH: join(ROOT, "tsconfig.json"),
        ...Object.fromEntries(asked),
      },
      stdio: ["pipe", "pipe", "pipe"],
    },
  );
}

export async function finished(child: ChildProcess, input = ""): Promise<Ran> {
  let out = "";
  let err = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (err += text));
  child.stdin!.on("error", () => undefined).end(input);
  const [code] = await once(child, "close");
  return { code, out, err: err.trimEnd(), json: () => JSON.parse(out) };
}
