import type { Command } from "commander";
import { settings } from "./connection.ts";
import { examples, JSON_FLAG } from "./declare.ts";
import { printJson, say } from "./output.ts";

export function register(program: Command): void {
  const migrate = program
    .command("migrate")
    .description(
      "bring the database to this version's schema; safe to repeat and to run twice at once",
    )
    .option("--print", "print the SQL for a DBA instead; needs no database")
    .option(...JSON_FLAG);
  examples(
    migrate,
    "DATABASE_URL=postgres://app:secret@db.example.com/app holdfast migrate",
    "holdfast migrate --print > holdfast.sql",
  ).action(async ({ print, json }) => (print ? printSchema() : apply(json)));
}

async function printSchema(): Promise<void> {
  const { printMigrations } = await import("../db/migrate.ts");
  process.stdout.write(printMigrations(process.env["HOLDFAST_SCHEMA"] || "holdfast"));
}

async function apply(json: boolean | undefined): Promise<void> {
  const { DATABASE_URL, HOLDFAST_SCHEMA } = await settings();
  const [{ migrate }, { asking }] = await Promise.all([
    import("../db/migrate.ts"),
    import("../client/context.ts"),
  ]);
  const done = await asking(() => migrate(DATABASE_URL, { schema: HOLDFAST_SCHEMA }));
  if (json) return printJson(done);
  for (const name of done.applied) say(`applied ${name}`);
  say(`the schema is at version ${done.version}`);
}
