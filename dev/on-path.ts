import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";

/** The first executable of that name in the directories of `path`, which is written as PATH is. */
export async function onPath(name: string, path: string | undefined): Promise<string | undefined> {
  for (const dir of (path ?? "").split(delimiter).filter(Boolean)) {
    if (await executable(join(dir, name))) return join(dir, name);
  }
  return undefined;
}

/** Whether the file is there and may be run. */
export async function executable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}
