import fc from "fast-check";
import { expect, test } from "vitest";
import type { ExtractedFact } from "../../contracts/plugins.ts";
import type { RetainItem } from "../../contracts/retain.ts";
import { codePointLength } from "../../contracts/text.ts";
import { EXTRACTION_LIMITS, extractFacts } from "../../domain/extraction.ts";

type Given = Pick<RetainItem, "entities" | "resolveEntities">;

function extract(text: string, item: Given = {}, no = 0): ExtractedFact[] {
  return extractFacts({ no, start: 0, end: codePointLength(text), text }, item);
}
const texts = (text: string, no = 0) => extract(text, {}, no).map((fact) => fact.text);
const entities = (text: string, item: Given = {}) =>
  extract(text, item).flatMap((f) => f.entities ?? []);
const given = (...names: string[]) => ({
  entities: names.map((text) => ({ text, type: "CONCEPT" })),
});

test("facts are the sentences of prose, in order", () => {
  expect(texts("The cat sat on it. Was it warm there? It was so warm!")).toEqual([
    "The cat sat on it.",
    "Was it warm there?",
    "It was so warm!",
  ]);
});

test.each([
  "Use it with care, e.g. Docker or Podman, and stop.",
  "We met Dr. Smith and J. R. Tolkien at the door.",
  "It needs Node.js v. 20 or newer to run.",
  "It costs 3.50 euros, i.e. Almost nothing at all.",
  "Set `a. B` and then go on.",
  "See [the docs](https://x.example/a. B) for all of it.",
  "It was approx. 5 metres and St. Paul was there.",
  "Made by Acme Inc. in the year of the cat.",
])("%j is one sentence", (sentence) => {
  expect(texts(sentence)).toEqual([sentence]);
});

test("a paragraph wrapped over lines is read as one, a wanted line break is kept", () => {
  expect(texts("The cat sat\non the mat. It\nwas warm there.")).toEqual([
    "The cat sat\non the mat.",
    "It\nwas warm there.",
  ]);
  expect(texts("The cat sat there  \nThe dog ran off")).toEqual([
    "The cat sat there",
    "The dog ran off",
  ]);
});

test("other scripts have sentences too", () => {
  expect(texts("今日はとても良い天気ですね。明日はたぶん雨が降るでしょう。")).toEqual([
    "今日はとても良い天気ですね。",
    "明日はたぶん雨が降るでしょう。",
  ]);
  expect(texts("Кошка сидела на окне. Собака бегала во дворе.")).toHaveLength(2);
});

test("headings, code, rules, comments, bare tags, badges and link definitions are no facts", () => {
  const markdown = `---
title: The front matter of it
---
# The heading of the whole document

Another heading of the document
-------------------------------

[![Build status of the main branch](https://ci.example/b.svg)](https://ci.example)

<p align="center">
  <img src="a.png" alt="A very fine picture of it">
</p>
<!-- A comment that nobody
should ever read at all. -->

\`\`\`js
// This comment is code and not a fact.
const a = "This string is code and not a fact.";
\`\`\`

    This indented line is code and not a fact.

***

- [The section on how to install](#install)

This one sentence is a fact.

[1]: https://example.com "A title for the link target"
`;
  expect(texts(markdown)).toEqual(["This one sentence is a fact."]);
});

test("list items and table rows are facts of their own, the head of a table is none", () => {
  const markdown = `It can do these things:

- read the whole file
* [x] write the whole file,
  over two lines
1. Delete the whole file. Then stop at once.

| option name | what it does |
|-------------|--------------|
| \`depth\`   | how deep to look |
| \`width\`   | how wide to look |
`;
  expect(texts(markdown)).toEqual([
    "read the whole file",
    "write the whole file,\n  over two lines",
    "Delete the whole file.",
    "Then stop at once.",
    "`depth`   | how deep to look",
    "`width`   | how wide to look",
  ]);
});

test("text inside tags and quotes is read, turns of a conversation are kept apart", () => {
  expect(texts("<p>The <b>cat</b> sat on it.</p>")).toEqual(["The <b>cat</b> sat on it."]);
  expect(texts("> [!NOTE]\n> The cat sat on it.")).toEqual(["The cat sat on it."]);
  expect(texts("Alice: where is the cat\nBob: it sat on the mat")).toEqual([
    "Alice: where is the cat",
    "Bob: it sat on the mat",
  ]);
});

test("a chunk that begins inside a code block knows it from the fences it holds", () => {
  const rest = "// It is still code up here.\n```\n\nHere the prose goes on.\n";
  expect(texts(rest, 1)).toEqual(["Here the prose goes on."]);
  expect(texts(`${rest}\n\`\`\`js\nconst it = "is code again";\n`, 1)).toEqual([
    "Here the prose goes on.",
  ]);
  expect(texts("Prose is what begins it.\n```\nSome code is in here.\n```\n", 1)).toEqual([
    "Prose is what begins it.",
  ]);
});

test.each([
  "Hi.",
  "12 34 56 78.",
  "npm install foo",
  "a = b + c; d = e;",
  "--- *** ---",
  "See below:",
])("%j says too little to be a fact", (text) => {
  expect(texts(text)).toEqual([]);
});

test("every fact is a literal stretch of its chunk, in rising order, within all limits", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      "# ",
      "- ",
      "> ",
      "| ",
      "```\n",
      "\n",
      "\n\n",
      "<p>",
      "<!--",
      "-->",
      "`",
      "](",
      "![",
      "  ",
    ),
    fc.constantFrom(
      ". ",
      "! ",
      "The cat sat ",
      "New York ",
      "in 2019 ",
      "2026-11-21 ",
      "😀 ",
      "漢字。",
      "e.g. ",
    ),
    fc.string({ unit: "binary", maxLength: 8 }),
  );
  const names = fc.array(
    fc.record({ text: fc.string({ minLength: 1, maxLength: 9 }), type: fc.constant("CONCEPT") }),
    { maxLength: 4 },
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 80 }),
      names,
      fc.nat({ max: 1 }),
      (pieces, names, no) => {
        const text = pieces.join("");
        const facts = extract(text, { entities: names }, no);
        const points = Array.from(text);
        let last = 0;
        for (const fact of facts) {
          expect(points.slice(fact.start, fact.end).join("")).toBe(fact.text);
          expect(fact.start).toBeGreaterThanOrEqual(last);
          last = fact.end!;
          expect(fact.entities?.length ?? 0).toBeLessThanOrEqual(EXTRACTION_LIMITS.entitiesPerFact);
          for (const name of fact.entities ?? []) {
            expect(name.length).toBeLessThanOrEqual(EXTRACTION_LIMITS.entityLength);
          }
        }
        expect(extract(text, { entities: names }, no)).toEqual(facts);
      },
    ),
    { numRuns: 300 },
  );
});

test.each([
  ["The office is in New York now.", ["New York"]],
  ["New York is a large place.", ["New York"]],
  ["She works at the Bank of England today.", ["Bank of England"]],
  ["Sindre Sorhus wrote this package.", ["Sindre Sorhus"]],
  ["The Temporal server keeps it, says Ada's brother.", ["Temporal", "Ada"]],
  ["It runs on TypeScript and Node.js as well.", ["TypeScript", "Node.js"]],
  ["They like Vite And Webpack here a lot.", ["Vite", "Webpack"]],
  ["JavaScript runs everywhere these days.", ["JavaScript"]],
  ["Postgres is where the rows are.", ["Postgres"]],
  ["It speaks HTTP and has two APIs for it.", ["HTTP", "API"]],
  ["Call `parse()` with `options.depth`, never `true`.", ["parse", "options.depth"]],
  ["Get @scope/some-package from there.", ["@scope/some-package"]],
  ["Write to Jane.Doe@Example.com about it.", ["jane.doe@example.com"]],
  ["Read https://www.Example.com/a/b for more of it.", ["example.com"]],
])("%j is about %j", (text, names) => {
  expect(entities(text)).toEqual(names);
});

test.each([
  "The first word of this is no name.",
  "Install the package and go on.",
  "It happened on Monday in March again.",
  "See [the docs](https://docs.example/API) and ![Big Picture](a.png) there.",
  "THE SOFTWARE IS PROVIDED WITHOUT WARRANTY OF ANY KIND.",
])("%j names nothing", (text) => {
  expect(entities(text)).toEqual([]);
});

test("a first word is a name when it is one elsewhere in the chunk", () => {
  expect(extract("Vite serves files. We like the Vite server.").map((f) => f.entities)).toEqual([
    ["Vite"],
    ["Vite"],
  ]);
});

test("the caller's entities come first where they occur as whole words, in any case", () => {
  const item = given("cat", "on the mat", "New york", "(x)");
  expect(extract("The CAT sat on\nthe mat (x). The concat went to New York.", item)).toMatchObject([
    { entities: ["cat", "on the mat", "(x)"] },
    { entities: ["New york"] },
  ]);
});

test("unresolved entities are taken as written, and no others are looked for", () => {
  const item = { ...given("cat", "Dog"), resolveEntities: false };
  expect(entities("The cat and the dog went to New York.", item)).toEqual(["cat"]);
});

test("a fact has at most the stated number of entities, the caller's before the rest", () => {
  const names = Array.from({ length: 30 }, (_, i) => `\`name${i}\``).join(" and ");
  const found = entities(`Here are ${names} and the cat of them.`, given("cat"));
  expect(found).toHaveLength(EXTRACTION_LIMITS.entitiesPerFact);
  expect(found[0]).toBe("cat");
});

test("the dates of a sentence become its span", () => {
  expect(extract("It was sold on 21 November 2026. It was dull on 2026-02-30.")).toMatchObject([
    { occurredStart: "2026-11-21", occurredEnd: "2026-11-21" },
    expect.not.objectContaining({ occurredStart: expect.anything() }),
  ]);
});

test("an endless sentence is cut at a blank, and a blob without blanks is left out", () => {
  const long = extract("and so on ".repeat(400));
  expect(long.length).toBeGreaterThan(3);
  for (const fact of long) expect(fact.text.length).toBeLessThanOrEqual(1_000);
  expect(texts(`The cat sat on it. ${"x".repeat(5_000)} The dog ran off.`)).toEqual([
    "The cat sat on it.",
    "The dog ran off.",
  ]);
});

// Each of these made some matcher or other take quadratic time; linear ones need milliseconds.
test.each(["](", "[a](", ".", "!?", "`", "<a", "| a ", "A.", "a@", "* ", "-\t", "21-", "_Foo_"])(
  "100,000 characters of %j take no noticeable time",
  (unit) => {
    const text = `${unit.repeat(100_000 / unit.length)}x`;
    const before = performance.now();
    extract(text, given("foo"), 1);
    expect(performance.now() - before).toBeLessThan(5_000);
  },
);
