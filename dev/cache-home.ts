import { homedir } from "node:os";
import { join } from "node:path";

/** Where what was fetched once is kept between checkouts: `$XDG_CACHE_HOME/holdfast`, else `~/.cache/holdfast`. */
export function cacheHome(environment: NodeJS.ProcessEnv): string {
  const base = environment["XDG_CACHE_HOME"] || join(environment["HOME"] || homedir(), ".cache");
  return join(base, "holdfast");
}
