import { readdir, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";

/** A file of the installed dependencies, as it is before anybody works it. */
export interface CountedFile {
  /** Below the folder, with `/`. */
  name: string;
  path: string;
  bytes: number;
}

/** So many are enough to see it, and are hashed in half a minute. */
export const MOST_FILES = 20_000;

/**
 * The first files of a folder in order of their names, without links and without what tools keep for
 * themselves and may change; and how many there are in all.
 */
export async function filesOf(
  folder: string,
  most = MOST_FILES,
): Promise<{ files: CountedFile[]; all: number }> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const found = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !relative(folder, path).startsWith("."))
    .toSorted();
  const files: CountedFile[] = [];
  for (const path of found.slice(0, most)) {
    const name = relative(folder, path).split(sep).join("/");
    files.push({ name, path, bytes: (await stat(path)).size });
  }
  return { files, all: found.length };
}
