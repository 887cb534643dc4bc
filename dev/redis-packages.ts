import { execFile } from "node:child_process";
import { mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { onPath } from "./on-path.ts";

const run = promisify(execFile);
const WITHIN_MS = 5 * 60_000;
/** Libraries need libraries. */
const MOST_ROUNDS = 4;

/**
 * Unpacks the system's Redis packages, with the libraries that are missing here, into `root`. Nothing
 * is installed and no rights are needed.
 * @throws Error with one line of reason when this is no Debian or Ubuntu, or the packages cannot be had.
 */
export async function unpackRedis(root: string, log: (line: string) => void): Promise<void> {
  for (const tool of ["apt-get", "dpkg-deb", "ldd"]) {
    if (!(await onPath(tool, process.env["PATH"]))) {
      throw new Error(`its packages cannot be unpacked here: there is no ${tool}`);
    }
  }
  log("redis: downloading the system's packages into the cache (once)");
  let packages = await unpack(root, ["redis-server", "redis-tools"]);
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const missing = await missingLibraries(root);
    if (missing.length === 0) return;
    const wanted = await providersOf(missing, packages);
    if (wanted.length === 0) break;
    log(`redis: and ${wanted.join(", ")}`);
    packages = await unpack(root, wanted);
  }
  const missing = await missingLibraries(root);
  if (missing.length > 0) throw new Error(`it needs ${missing.join(", ")}, which no package has`);
}

/** Directories of shared libraries below `root`. */
export async function librariesIn(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const found = entries
    .filter(({ name }) => /\.so(\.|$)/.test(name))
    .map(({ parentPath, name }) => dirname(join(parentPath, name)));
  return [...new Set(found)];
}

interface Package {
  name: string;
  depends: readonly string[];
}

async function unpack(root: string, names: readonly string[]): Promise<Package[]> {
  const dir = join(root, "packages");
  await mkdir(dir, { recursive: true });
  try {
    await run("apt-get", ["download", ...names], { cwd: dir, timeout: WITHIN_MS });
    const packages: Package[] = [];
    for (const file of await readdir(dir)) {
      const path = join(dir, file);
      await run("dpkg-deb", ["-x", path, root]);
      const { stdout } = await run("dpkg-deb", ["-f", path, "Package", "Depends"]);
      const name = /^Package: (.*)$/m.exec(stdout)?.[1] ?? file;
      const depends = /^Depends: (.*)$/m.exec(stdout)?.[1]?.split(/\s*[,|]\s*/) ?? [];
      packages.push({ name, depends: depends.map((one) => one.split(/[\s:(]/)[0]!) });
    }
    return packages;
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr ?? (cause as Error).message;
    const why = said.split("\n").find((line) => line.startsWith("E:")) ?? said.trim();
    throw new Error(`apt-get download ${names.join(" ")} failed: ${why}`, { cause });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function missingLibraries(root: string): Promise<string[]> {
  const libraries = (await librariesIn(root)).join(":");
  const { stdout } = await run("ldd", [join(root, "usr", "bin", "redis-server")], {
    env: { ...process.env, LD_LIBRARY_PATH: libraries },
  });
  return [...stdout.matchAll(/^\s*(\S+) => not found/gm)].map(([, name]) => name!);
}

/** `liblzf.so.1` is in `liblzf1`; where the names do not tell, all libraries depended on are candidates. */
async function providersOf(
  missing: readonly string[],
  packages: readonly Package[],
): Promise<string[]> {
  const plain = (name: string) => name.replaceAll("-", "").replace(/t64$/, "");
  const candidates = packages
    .flatMap(({ depends }) => depends)
    .filter((name) => name.startsWith("lib") && name !== "libc6");
  const named = new Set(missing.map((soname) => plain(soname.replace(".so.", ""))));
  const fitting = candidates.filter((name) => named.has(plain(name)));
  return [...new Set(fitting.length >= named.size ? fitting : candidates)];
}
