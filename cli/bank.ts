import type { Command } from "commander";
import { confirmErase } from "./confirm.ts";
import { withHoldfast } from "./connection.ts";
import { examples, given, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { moment, printFields, printJson, printPage, say } from "./output.ts";

interface Flags {
  tenant?: string;
  json?: boolean;
}

export function register(program: Command): void {
  const bank = program.command("bank").description("banks: what they hold, and their end");

  const list = bank
    .command("list")
    .description("banks in order of making")
    .option(TENANT_FLAG[0], "of one tenant")
    .option("--limit <n>", "banks on one page, at most 200", wholeNumber)
    .option("--after <cursor>", "the next page: what the page before said")
    .option(...JSON_FLAG);
  examples(list, "holdfast bank list").action(async ({ json, ...filter }) => {
    const page = await withHoldfast((holdfast) => holdfast.bank.list(filter));
    await printPage(page, {
      json,
      head: ["TENANT", "BANK", "DOCUMENTS", "FACTS", "OBSERVATIONS", "OPEN", "MADE"],
      row: (one) => [
        one.tenant,
        one.name,
        one.documents,
        one.facts,
        one.observations,
        one.openOperations,
        moment(one.createdAt),
      ],
      none: 'no bank yet: "holdfast retain submit <source> --bank <bank>" makes one',
    });
  });

  const show = bank
    .command("show <bank>")
    .description("one bank with its counts")
    .option(...TENANT_FLAG)
    .option(...JSON_FLAG);
  examples(show, "holdfast bank show handbook").action(async (name: string, flags: Flags) => {
    const of = given({ tenant: flags.tenant });
    const view = await withHoldfast((holdfast) => holdfast.bank.get(name, of));
    if (flags.json) return printJson(view);
    printFields({
      bank: view.name,
      tenant: view.tenant,
      made: moment(view.createdAt),
      documents: view.documents,
      facts: view.facts,
      observations: view.observations,
      "open operations": view.openOperations,
    });
  });

  const observations = bank
    .command("observations <bank>")
    .description("what was concluded from its facts, by entity")
    .option("--entity <name>", "of one entity")
    .option(...TENANT_FLAG)
    .option("--limit <n>", "observations on one page, at most 1000", wholeNumber)
    .option("--after <cursor>", "the next page: what the page before said")
    .option(...JSON_FLAG);
  examples(observations, 'holdfast bank observations letters --entity "Ada Lovelace"').action(
    async (name: string, { json, ...filter }) => {
      const page = await withHoldfast((holdfast) => holdfast.bank.observations(name, filter));
      await printPage(page, {
        json,
        head: ["ENTITY", "SOURCES", "WRITTEN", "OBSERVATION"],
        row: (one) => [one.entity, one.sources.length, moment(one.writtenAt), one.text],
        none: "no observation: an entity needs two facts or more",
      });
    },
  );

  const erase = bank
    .command("erase <bank>")
    .description("erase it with its documents, operations and all that was derived, for good")
    .option(...TENANT_FLAG)
    .option("-y, --yes", "do not ask")
    .option(...JSON_FLAG);
  examples(erase, "holdfast bank erase handbook", "holdfast bank erase handbook --yes").action(
    async (name: string, { tenant, yes, json }) => {
      const erased = await withHoldfast(async (holdfast) => {
        const of = given({ tenant });
        await holdfast.bank.get(name, of);
        await confirmErase("bank", name, yes);
        return holdfast.bank.erase(name, of);
      });
      if (json) return printJson(erased);
      say(`bank ${name} is erased; open operations ended with it: ${erased.operationsEnded}`);
      if (!erased.complete) say("nobody can reach what it held; workers go on removing it");
    },
  );
}
