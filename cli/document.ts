import type { Command } from "commander";
import type { DocumentView } from "../contracts/retain.ts";
import { confirmErase } from "./confirm.ts";
import { withHoldfast } from "./connection.ts";
import { examples, given, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { moment, printFields, printJson, printPage, printTable, say } from "./output.ts";

export function register(program: Command): void {
  const document = program.command("document").description("documents of a bank");

  const list = document
    .command("list <bank>")
    .description("documents by id")
    .option(...TENANT_FLAG)
    .option("--limit <n>", "documents on one page, at most 1000", wholeNumber)
    .option("--after <cursor>", "the next page: what the page before said")
    .option(...JSON_FLAG);
  examples(list, "holdfast document list handbook").action(
    async (bank: string, { json, ...filter }) => {
      const page = await withHoldfast((holdfast) => holdfast.document.list(bank, filter));
      await printPage(page, {
        json,
        head: ["DOCUMENT", "PARTS", "SIZE", "FACTS", "UPDATED"],
        row: (one) => [one.documentId, one.parts, one.size, one.facts, moment(one.updatedAt)],
        none: "no document in it",
      });
    },
  );

  const show = document
    .command("show <bank> <document>")
    .description("its text; with --json also parts, chunks and facts")
    .option("--facts", "its facts instead of its text")
    .option(...TENANT_FLAG)
    .option(...JSON_FLAG);
  examples(
    show,
    "holdfast document show handbook setup/install.md",
    "holdfast document show handbook setup/install.md --facts",
  ).action(async (bank: string, id: string, { tenant, json, facts }) => {
    const of = given({ tenant });
    const view = await withHoldfast((holdfast) => holdfast.document.get(bank, id, of));
    if (json) return printJson(view);
    if (facts) return printFacts(view);
    printHead(view);
    say();
    say(view.text);
  });

  const erase = document
    .command("erase <bank> <document>")
    .description("erase it with all that was derived from it, for good")
    .option(...TENANT_FLAG)
    .option("-y, --yes", "do not ask")
    .option(...JSON_FLAG);
  examples(erase, "holdfast document erase handbook setup/install.md --yes").action(
    async (bank: string, id: string, { tenant, yes, json }) => {
      const erased = await withHoldfast(async (holdfast) => {
        const of = given({ tenant });
        if (!yes) await holdfast.document.get(bank, id, of);
        await confirmErase("document", id, yes);
        return holdfast.document.erase(bank, id, of);
      });
      if (json) return printJson(erased);
      say(`document ${id} is erased: ${erased.parts} parts, payload of ${erased.items} items`);
    },
  );
}

function printHead(view: DocumentView): void {
  const metadata = Object.entries(view.metadata).map(([name, value]) => `${name}=${value}`);
  printFields({
    document: view.documentId,
    bank: `${view.tenant}/${view.bank}`,
    updated: moment(view.updatedAt),
    size: `${view.size} characters in ${view.parts.length} ${view.parts.length === 1 ? "part" : "parts"}`,
    facts: view.parts.reduce((sum, part) => sum + part.facts.length, 0),
    tags: view.tags.join(", ") || undefined,
    metadata: metadata.join(", ") || undefined,
  });
}

async function printFacts(view: DocumentView): Promise<void> {
  await printTable(
    ["PART", "CHUNK", "OCCURRED", "ENTITIES", "FACT"],
    view.parts.flatMap((part, index) =>
      part.facts.map((fact) => [
        index + 1,
        fact.chunk,
        moment(fact.occurredStart),
        fact.entities.join(", "),
        fact.text,
      ]),
    ),
  );
}
