import { expect, test } from "vitest";
import { connect, type SearchPage, type SearchStatus } from "../../client/index.ts";
import { documents } from "../support/fresh.ts";
import { preparedByHand } from "../support/retain-by-hand.ts";
import { fillIndexes } from "../support/searching.ts";
import { setupCli } from "./support.ts";

const cli = setupCli();

test("before anything is installed a search says what to run, and is refused", async () => {
  const ran = await cli.runHere(["search", "query", "letter"]);
  expect(ran.code).toBe(3);
  expect(ran.err).toContain('run "holdfast search install"');
});

test("retained documents are found, in text and as JSON, and a page says how to get the next", async () => {
  const holdfast = connect({ databaseUrl: cli.databaseUrl, poolSize: 2 });
  const { id } = await holdfast.retain.submit({ bank: "letters", items: documents(3) });
  await (await preparedByHand(holdfast.db, id)).commit();
  await fillIndexes(holdfast.db, {}, "holdfast");
  await holdfast.close();

  const text = await cli.runHere(["search", "query", "doc-", "--type", "document"]);
  expect(text.code).toBe(0);
  expect(text.out).toMatch(/^TYPE +KEY +TITLE +FIELD +VALUE\ndocument /);
  expect(text.err).toBe("3 found");

  const json = await cli.runHere([
    "search",
    "query",
    "doc-",
    "--type",
    "document",
    "--limit",
    "2",
    "--json",
  ]);
  const page = json.json<SearchPage>();
  expect(page.items.map(({ title }) => title)).toEqual(["doc-1", "doc-2"]);
  const rest = await cli.runHere([
    "search",
    "query",
    "doc-",
    "--type",
    "document",
    "--limit",
    "2",
    "--after",
    page.next!,
  ]);
  expect(rest.out).toContain("doc-3");
});

test("the status shows each index, and what is wrong with the next step", async () => {
  const ran = await cli.runHere(["search", "status"]);
  expect(ran.code).toBe(0);
  expect(ran.out).toMatch(/^holdfast +document +3 /m);
  const json = await cli.runHere(["search", "status", "--json"]);
  expect(json.json<SearchStatus>().indexes.map(({ type }) => type)).toEqual([
    "document",
    "fact",
    "object",
  ]);
});

test("what is unknown is refused by name", async () => {
  for (const [args, said] of [
    [["x", "--type", "house"], '"house" is no type'],
    [["x", "--lookup", "fuzzy"], "partial"],
    [["(", "--lookup", "regex"], "regular expression"],
    [["x", "--viewer", "[1]"], "JSON object"],
    [["x", "--limit", "9999"], "limit"],
  ] as const) {
    const ran = await cli.runHere(["search", "query", ...args]);
    expect([ran.code, ran.err]).toEqual([2, expect.stringContaining(said)]);
  }
});
