import { spawnSync } from "node:child_process";

export interface ProcessUser {
  uid: number;
  gid: number;
}

/**
 * The user Postgres runs as when we are root, which it refuses to be: `postgres` where there is one,
 * else `nobody`, which every system has, so that nothing is added to the machine's accounts.
 * @returns undefined when we are not root.
 */
export function processUser(): ProcessUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const user = lookUp("postgres") ?? lookUp("nobody");
  if (!user) {
    throw new Error(
      "Postgres refuses to run as root, and there is neither a user postgres nor nobody to run it as. " +
        "Create one (useradd --system postgres), or run as a normal user.",
    );
  }
  return user;
}

function lookUp(name: string): ProcessUser | undefined {
  const [uid, gid] = ["-u", "-g"].map((flag) => {
    const { status, stdout } = spawnSync("id", [flag, name], { encoding: "utf8" });
    return status === 0 ? Number(stdout.trim()) : undefined;
  });
  return uid && gid !== undefined ? { uid, gid } : undefined;
}
