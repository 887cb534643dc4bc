import { Option, type Command } from "commander";
import { ROLES } from "../contracts/roles.ts";
import { withHoldfast } from "./connection.ts";
import { collect, examples, given, JSON_FLAG } from "./declare.ts";
import { moment, note, printJson, printPage, say } from "./output.ts";
import { viewKey } from "./row-views.ts";

export function register(program: Command): void {
  const key = program.command("key").description("API keys for the HTTP API and the console");

  const create = key
    .command("create <name>")
    .description("make one; its secret is shown now and never again")
    .addOption(
      new Option("--role <role>", "what it may do; each role may do what those before it may")
        .choices(ROLES)
        .makeOptionMandatory(),
    )
    .option("--tenant <tenant>", "only for this tenant; may be repeated (default: all)", collect)
    .option(...JSON_FLAG);
  examples(
    create,
    "holdfast key create nightly-import --role service --tenant acme",
    "holdfast key create anna --role operator",
  ).action(async (name: string, { role, tenant, json }) => {
    const asked = { name, role, ...given({ tenants: tenant }) };
    const made = await withHoldfast((holdfast) => holdfast.key.create(asked));
    if (json) return printJson(made);
    note(`key ${made.id} (${made.role}); keep its secret now, it is not shown again:`);
    say(made.secret);
  });

  const list = key
    .command("list")
    .description("all of them, revoked ones too")
    .option(...JSON_FLAG);
  examples(list, "holdfast key list").action(async ({ json }) => {
    const rows = await withHoldfast((holdfast) => holdfast.key.list());
    await printPage(
      { items: rows.map(viewKey) },
      {
        json,
        head: ["ID", "NAME", "ROLE", "TENANTS", "MADE BY", "MADE", "REVOKED"],
        row: (one) => [
          one.id,
          one.name,
          one.role,
          one.tenants?.join(", ") ?? "all",
          one.createdBy,
          moment(one.createdAt),
          moment(one.revokedAt),
        ],
        none: 'no key yet: "holdfast key create" makes one',
      },
    );
  });

  const revoke = key.command("revoke <id>").description("end one; servers notice within 5 s");
  examples(revoke, "holdfast key revoke 01990f3e-...").action(async (id: string) => {
    await withHoldfast((holdfast) => holdfast.key.revoke(id));
    say(`key ${id} is revoked`);
  });
}
