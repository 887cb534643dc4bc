import { once } from "node:events";
import type { Command } from "commander";
import type { FieldValue, Fields } from "../contracts/inventory.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { collect, examples, given, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import * as settings from "./inventory-settings.ts";
import { moment, note, paint, printFields, printPage, printTable, say, text } from "./output.ts";

const BRANCH_FLAG = [
  "--branch <branch>",
  "the branch (default: the tenant's default branch)",
] as const;

interface Flags {
  tenant?: string;
  branch?: string;
  json?: boolean;
}

export function register(program: Command): void {
  const inventory = program
    .command("inventory")
    .description("the built-in inventory: what it holds, and how it is written");

  const list = inventory
    .command("list [type]")
    .description("its types with how many objects each, or the objects of one type")
    .option("--text <text>", "those whose name begins like this, case counts")
    .option(...TENANT_FLAG)
    .option(...BRANCH_FLAG)
    .option("--limit <n>", "objects on one page, at most 1000", wholeNumber)
    .option("--after <cursor>", "the next page: what the page before said")
    .option(...JSON_FLAG);
  examples(list, "holdfast inventory list", "holdfast inventory list device --text sw1").action(
    async (type: string | undefined, { json, ...filter }) => {
      if (type === undefined) return printTypes({ json, ...filter });
      const page = await asked(({ inventory }) => inventory.list({ type, ...filter }));
      if (json) return printExactly(page);
      await printPage(page, {
        head: ["ID", "OBJECT", "VERSION", "UPDATED"],
        row: (one) => [one.id, one.title, one.version, moment(one.updatedAt)],
        none: `no ${type} here`,
      });
    },
  );

  const show = inventory
    .command("show <id-or-type> [identity...]")
    .description("one object: its fields, what it refers to and what refers to it, its history")
    .option(...TENANT_FLAG)
    .option(...BRANCH_FLAG)
    .option(...JSON_FLAG);
  examples(
    show,
    "holdfast inventory show 16777216",
    "holdfast inventory show device name=sw1 site.name=ams",
    `holdfast inventory show device '{"name":"sw1","site":{"name":"ams"}}'`,
  ).action(showObject);

  const exported = inventory
    .command("export")
    .description(
      "every object as a line of NDJSON: type, identity, attributes; references by identity",
    )
    .option("--ndjson", "as NDJSON, which is the only way and may be left out")
    .option("--type <type>", "of this type; may be repeated", collect)
    .option(...TENANT_FLAG)
    .option(...BRANCH_FLAG);
  examples(
    exported,
    "holdfast inventory export --ndjson > inventory.ndjson",
    "holdfast inventory export --type device | sort | sha256sum",
  ).action(async ({ type, tenant, branch }) => {
    const { exportLine } = await import("../client/inventory-export.ts");
    await asked(async ({ inventory }) => {
      const of = given({ tenant, branch, types: type as string[] | undefined });
      for await (const object of await inventory.export(of)) await write(exportLine(object));
    });
  });

  const holds = inventory
    .command("holds")
    .description("branches in which so much was about to change that everything waits")
    .option(...JSON_FLAG);
  examples(holds, "holdfast inventory holds").action(async ({ json }) => {
    const items = await asked(({ inventory }) => inventory.holds.list());
    await printPage(
      { items },
      {
        json,
        head: ["TENANT", "BRANCH", "HELD", "QUEUED", "BECAUSE"],
        row: (one) => [one.tenant, one.branch, moment(one.at), one.queued, one.because],
        none: "no branch is held",
      },
    );
  });

  const lift = inventory
    .command("lift <branch>")
    .description("let a held branch go on, once somebody has looked")
    .option(...TENANT_FLAG);
  examples(lift, "holdfast inventory lift main --tenant acme").action(
    async (branch: string, { tenant = "default" }: Flags) => {
      await asked(({ inventory }) => inventory.holds.lift({ tenant, branch }));
      note(`${tenant}/${branch} goes on`);
    },
  );

  settings.register(inventory);
}

async function asked<T>(work: Parameters<typeof withHoldfast<T>>[0]): Promise<T> {
  return withHoldfast(work, await plugins());
}

async function printTypes({ json, tenant, branch }: Flags): Promise<void> {
  const of = given({ tenant, branch });
  const { items, elsewhere } = await asked(async ({ inventory }) => {
    const items = await inventory.types(of);
    return { items, elsewhere: items.length === 0 ? await inventory.branches() : [] };
  });
  await printPage(
    { items },
    {
      json,
      head: ["TYPE", "OBJECTS", "CALLED"],
      row: ({ type, objects, more, label }) => [type, more ? `${objects}+` : objects, label],
      none:
        elsewhere.length > 0
          ? `nothing here; there is something in ${elsewhere.map((one) => `--tenant ${one.tenant} --branch ${one.branch}`).join(", ")}`
          : 'the inventory is empty: "holdfast inbox ingest <file>" takes entities in',
    },
  );
}

const REFERRERS = 20;
const CHANGES = 10;

async function showObject(which: string, identity: string[], flags: Flags): Promise<void> {
  const { json, tenant, branch } = flags;
  const [view, references, history] = await asked(async ({ inventory }) => {
    const view = await inventory.get(
      /^\d+$/.test(which)
        ? which
        : { type: which, identity: await identityOf(identity), ...given({ tenant, branch }) },
    );
    const references = inventory.references(view.id, { limit: REFERRERS });
    const history = inventory.history(view.id, { limit: CHANGES });
    return [view, await references, await history] as const;
  });
  if (json) return printExactly({ ...view, references, history });
  say(paint("bold", text(view.title)));
  printFields({
    id: view.id,
    in: `${view.tenant}/${view.branch}`,
    version: view.version,
    made: moment(view.createdAt),
    changed: moment(view.updatedAt),
  });
  say();
  const lines = await Promise.all(
    Object.entries(view.attributes).map(async ([name, value]) => [name, await shortly(value)]),
  );
  await printTable(["FIELD", "VALUE"], lines);
  if (references.in.items.length > 0) {
    say();
    await printTable(
      ["REFERRED TO BY", "ID", "AS"],
      references.in.items.map((one) => [one.title, one.id, one.fields.join(", ")]),
    );
    if (references.in.next !== undefined) note(`the first ${REFERRERS}; --json shows how to go on`);
  }
  say();
  await printTable(
    ["VERSION", "WHAT", "WHEN", "BY ENTITY", "WHY"],
    history.items.map((one) => [
      one.version,
      one.kind,
      moment(one.at),
      one.entity,
      one.rule === undefined
        ? one.decidedBy
          ? `approved by ${one.decidedBy}`
          : ""
        : `rule ${one.rule}`,
    ]),
  );
}

/** `name=sw1 site.name=ams`, or one JSON object. */
async function identityOf(words: readonly string[]): Promise<Fields> {
  const { InvalidInput } = await import("../contracts/errors.ts");
  const wrong = (message: string) => new InvalidInput([{ path: "identity", message }]);
  if (words.length === 0) {
    throw wrong("give what names the object (name=sw1 site.name=ams), or its id instead of a type");
  }
  if (words.length === 1 && words[0]!.startsWith("{")) {
    const { parseExactJson } = await import("../client/exact-json.ts");
    try {
      return parseExactJson(words[0]!) as Fields;
    } catch (error) {
      throw wrong(`cannot be read as JSON: ${(error as Error).message}`);
    }
  }
  const fields: Record<string, FieldValue> = {};
  for (const word of words) {
    const [, path, value] = /^([A-Za-z_][\w.]*)=(.*)$/s.exec(word) ?? [];
    if (path === undefined) throw wrong(`${word} is no field=value, such as name=sw1`);
    const steps = path.split(".");
    let at = fields;
    for (const step of steps.slice(0, -1)) {
      if (typeof (at[step] ??= {}) !== "object") throw wrong(`${step} is given twice`);
      at = at[step] as Record<string, FieldValue>;
    }
    at[steps.at(-1)!] = value!;
  }
  return fields;
}

async function shortly(value: FieldValue): Promise<string> {
  if (typeof value !== "object") return String(value);
  const { canonicalJson } = await import("../client/exact-json.ts");
  return canonicalJson(value);
}

// The platform's own writer refuses integers that it cannot hold.
async function printExactly(value: unknown): Promise<void> {
  const { canonicalJson } = await import("../client/exact-json.ts");
  say(canonicalJson(value as FieldValue));
}

async function write(line: string): Promise<void> {
  if (!process.stdout.write(line)) await once(process.stdout, "drain");
}
