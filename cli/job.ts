import type { Command } from "commander";
import * as follow from "./job-follow.ts";
import * as loadtest from "./job-loadtest.ts";
import * as read from "./job-read.ts";
import * as results from "./job-results.ts";
import * as submit from "./job-submit.ts";

export function register(program: Command): void {
  const job = program
    .command("job")
    .description("items worked by pull workers, wherever they live");
  for (const verbs of [submit, read, follow, results, loadtest]) verbs.register(job);
}
