import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CLI_VERSION, temporalBinary } from "../../dev/temporal-binary.ts";
import type { Source } from "../../dev/temporal-binary.ts";
import { downloadTemporal } from "../../dev/temporal-download.ts";

let home: string;
let cacheDir: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "holdfast-binary-"));
  cacheDir = join(home, "cache", "holdfast", "temporal", CLI_VERSION);
  await mkdir(join(home, "bin"));
});
afterEach(() => rm(home, { recursive: true, force: true }));

const script = (server: string) =>
  `#!/bin/sh\necho "temporal version 9.9.9 (Server ${server}, UI 2.50.1)"\n`;
const works: Source = { name: "works", fetch: (file) => writeProgram(file, script("1.31.2")) };
const fails: Source = { name: "fails", fetch: () => Promise.reject(new Error("no way out")) };
const breaksOff: Source = {
  name: "breaks off",
  fetch: async (file) => {
    await writeProgram(file, "half a program");
    throw new Error("cut");
  },
};

function find(sources: Source[], log: string[] = []) {
  const environment = { PATH: join(home, "bin"), XDG_CACHE_HOME: join(home, "cache") };
  return temporalBinary({ environment, sources, log: (line) => log.push(line) });
}

test("a recent temporal on PATH is used before anything is fetched", async () => {
  await writeProgram(join(home, "bin", "temporal"), script("1.30.0"));
  const found = await find([fails]);
  expect(found).toEqual({ path: join(home, "bin", "temporal"), serverVersion: "1.30.0" });
});

test("a temporal on PATH that is too old is passed over, and said so", async () => {
  await writeProgram(join(home, "bin", "temporal"), script("1.22.9"));
  const log: string[] = [];
  await expect(find([works], log)).resolves.toMatchObject({ path: join(cacheDir, "temporal") });
  expect(log).toEqual([expect.stringContaining("1.22.9 is older than 1.29")]);
});

test("what is fetched once is found in the cache from then on, by everybody who waited for it", async () => {
  let fetches = 0;
  const counted: Source = {
    name: "counted",
    fetch: (file, log) => {
      fetches += 1;
      return works.fetch(file, log);
    },
  };
  const found = await Promise.all([find([fails, counted]), find([fails, counted])]);
  await find([fails]);
  expect(found.map(({ path }) => path)).toEqual(Array(2).fill(join(cacheDir, "temporal")));
  expect(fetches).toBe(1);
  expect(await readdir(cacheDir)).toEqual(["temporal"]);
});

test("a fetch that breaks off leaves nothing that would be run", async () => {
  await expect(find([breaksOff])).rejects.toThrow("breaks off: cut");
  expect(await readdir(cacheDir)).toEqual([]);
});

test("when every way fails the error says why each did, and what to do", async () => {
  await expect(find([fails, breaksOff])).rejects.toThrow(
    /fails: no way out; breaks off: cut.*Install the Temporal CLI.*TEMPORAL_ADDRESS/,
  );
});

test("a downloaded archive gives an executable, a refusal or silence an error that names the host", async () => {
  await writeProgram(join(home, "temporal"), script("1.31.2"));
  const archive = join(home, "archive.tar.gz");
  execFileSync("tar", ["-czf", archive, "-C", home, "temporal"]);
  const bytes = await readFile(archive);
  const server = createServer((request, response) => {
    if (request.url?.startsWith("/there/v1.8.2?platform=")) response.end(bytes);
    else response.writeHead(404).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const file = join(home, "downloaded");
    await downloadTemporal(file, "1.8.2", `${base}/there`);
    expect(execFileSync(file, ["--version"], { encoding: "utf8" })).toContain("Server 1.31.2");
    await expect(downloadTemporal(join(home, "b"), "1.8.2", `${base}/gone`)).rejects.toThrow(
      "status 404",
    );
  } finally {
    server.closeAllConnections();
    server.close();
  }
  await expect(downloadTemporal(join(home, "c"), "1.8.2", base)).rejects.toThrow("127.0.0.1");
  expect(existsSync(join(home, "c"))).toBe(false);
});

async function writeProgram(file: string, text: string): Promise<void> {
  await writeFile(file, text);
  await chmod(file, 0o755);
}
