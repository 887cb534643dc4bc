import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { canReach, SHARED_DIR } from "./postgres-binaries.ts";
import { processUser } from "./postgres-user.ts";

export interface StackDirs {
  /** Of the whole stack. */
  root: string;
  postgres: string;
  temporal: string;
  redis: string;
}

/** A fresh directory the Postgres user can reach, to be removed with everything in it. */
export async function temporaryDirs(): Promise<StackDirs> {
  const user = processUser();
  const base = [tmpdir(), "/tmp", "/var/tmp"].find((dir) => !user || canReach(dir, user));
  if (!base) throw new Error("The user Postgres runs as can reach no temporary directory.");
  const root = await mkdtemp(join(resolve(base), "holdfast-"));
  if (user) await chmod(root, 0o711);
  return {
    root,
    postgres: join(root, "postgres"),
    temporal: join(root, "temporal"),
    redis: join(root, "redis"),
  };
}

/**
 * The directories of a kept state. Postgres's own is in it too, except when we are root and its user
 * cannot get there (as in root's home): then it is under /var/lib/holdfast, named after the state.
 * @throws Error when another user has kept a stack there: the servers could not read what they find.
 */
export async function keptDirs(state: string): Promise<StackDirs> {
  const root = resolve(state);
  await mkdir(root, { recursive: true });
  const owner = (await stat(join(root, "stack.json")).catch(() => undefined))?.uid;
  if (owner !== undefined && owner !== process.getuid?.()) {
    throw new Error(
      `The state in ${root} belongs to another user (uid ${owner}). ` +
        "Run as that user, or choose another state directory.",
    );
  }
  const user = processUser();
  // Our own directory may be opened for passing through; what lies above it is not ours to change.
  if (user && !canReach(root, user) && canReach(dirname(root), user)) await chmod(root, 0o711);
  const reachable = !user || canReach(root, user);
  const postgres = reachable ? join(root, "postgres") : await elsewhere(root);
  return { root, postgres, temporal: join(root, "temporal"), redis: join(root, "redis") };
}

async function elsewhere(root: string): Promise<string> {
  await mkdir(SHARED_DIR, { recursive: true });
  await chmod(SHARED_DIR, 0o755);
  return join(
    SHARED_DIR,
    `postgres-${createHash("sha256").update(root).digest("hex").slice(0, 16)}`,
  );
}
