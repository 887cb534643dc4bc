import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { PostgresBinaries } from "./postgres-binaries.ts";

/** `durable` keeps what was committed through a crash of the machine; `fast` only through one of the server. */
export type Durability = "durable" | "fast";

/** The superuser of the cluster. */
export const DATABASE_OWNER = "holdfast";

/**
 * Makes the database cluster unless it is there, beside its place and then moved, so that a start which
 * was killed half way leaves nothing that looks like one. Its collation is Postgres's own, the same on
 * every machine.
 * @returns the password of its superuser `holdfast`.
 */
export async function ensureCluster(
  dir: string,
  data: string,
  binaries: PostgresBinaries,
  durability: Durability,
): Promise<string> {
  await prepareDir(dir, binaries);
  const { initdb, user } = binaries;
  const passwordFile = join(dir, "password");
  if (await stat(data).catch(() => undefined)) return (await readFile(passwordFile, "utf8")).trim();
  const password = randomBytes(16).toString("hex");
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (user) await chown(passwordFile, user.uid, user.gid);
  const fresh = `${data}.new`;
  await rm(fresh, { recursive: true, force: true });
  const args = [
    `--pgdata=${fresh}`,
    `--username=${DATABASE_OWNER}`,
    `--pwfile=${passwordFile}`,
    "--auth=scram-sha-256",
    // The password is 128 random bits, so stretching it would only slow every connection down.
    "--set=scram_iterations=1",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    ...(durability === "fast" ? ["--no-sync"] : []),
  ];
  try {
    await promisify(execFile)(initdb, args, { ...user, cwd: dir, env: serverEnvironment() });
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr ?? "";
    throw new Error(`Postgres could not create its data directory ${data}:\n${said.trim()}`, {
      cause,
    });
  }
  await rename(fresh, data);
  return password;
}

/** Ours without PG* variables, which are meant for clients of some other server, and without a locale. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name));
  return { ...Object.fromEntries(kept), LC_ALL: "C" };
}

async function prepareDir(dir: string, { user }: PostgresBinaries): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  if (!user) return;
  await chown(dir, user.uid, user.gid);
  await chmod(dir, 0o700);
}
