import type { Command } from "commander";
import * as audit from "./search-audit.ts";
import * as drain from "./search-drain.ts";
import * as install from "./search-install.ts";
import * as query from "./search-query.ts";
import * as reindex from "./search-reindex.ts";
import * as status from "./search-status.ts";

export function register(program: Command): void {
  const search = program
    .command("search")
    .description("objects by what is written in them, and the indexes that make it so");
  for (const verb of [query, status, drain, install, reindex, audit]) verb.register(search);
}
