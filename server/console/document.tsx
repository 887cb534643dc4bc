import { z } from "zod";
import type { DocumentView, PartView } from "../../contracts/retain.ts";
import { parseInput } from "../../client/input.ts";
import { bankAddress } from "./bank-address.ts";
import { tenantOf } from "./banks.tsx";
import type { Body } from "./body.ts";
import type { Visit } from "./frame.tsx";
import { counted, number } from "./format.ts";
import { Ago, Id, NextPage, Table, withParams } from "./pieces.tsx";
import {
  factAnchor,
  MarkedText,
  shownChunks,
  sourceAnchor,
  type ShownChunk,
} from "./source-text.tsx";

const SHOWN_FACTS = 300;
const SHOWN_PARTS = 100;

const Query = z.object({
  /** Which chunk of the whole document the text begins with, from 0. */
  from: z.coerce.number().int().min(0).max(10_000_000).default(0),
});

/** A document: what it says, of which parts, and which facts were taken from where. @throws NotFound */
export async function documentBody({ c, read, url }: Visit): Promise<Body> {
  const { from } = parseInput(Query, Object.fromEntries(url.searchParams));
  const document = await read.holdfast.document.get(
    c.req.param("bank")!,
    c.req.param("id")!,
    tenantOf(url),
  );
  const { chunks, of } = shownChunks(document, from);
  const facts = chunks.flatMap((chunk) => chunk.facts);
  return {
    title: document.documentId,
    at: "banks",
    sections: {
      head: <Head document={document} facts={sumOf(document.parts, (one) => one.facts.length)} />,
      parts: <Parts parts={document.parts} />,
      text: (
        <>
          <h2>
            Text{" "}
            <span class="faint">
              {chunks.length < of &&
                `chunks ${number(from + 1)} to ${number(from + chunks.length)} of ${number(of)}`}
            </span>
          </h2>
          <MarkedText chunks={chunks} />
          {from + chunks.length < of && (
            <NextPage
              href={withParams(url, { from: String(from + chunks.length) }, "text")}
              words="More text"
            />
          )}
        </>
      ),
      facts: <Facts chunks={chunks} n={facts.length} whole={chunks.length === of} />,
    },
  };
}

function Head({ document, facts }: { document: DocumentView; facts: number }) {
  const { tenant, bank, tags, metadata } = document;
  return (
    <>
      <p class="crumbs">
        <a href="/banks">Banks</a> / <a href={bankAddress(tenant, bank)}>{bank}</a>
      </p>
      <h1>{document.documentId}</h1>
      <p>
        {counted(document.size, "character")} in {counted(document.parts.length, "part")},{" "}
        {counted(facts, "fact")}. Made <Ago at={document.createdAt} />, written{" "}
        <Ago at={document.updatedAt} />.
      </p>
      {tags.length > 0 && <p class="faint">Tags: {tags.join(", ")}</p>}
      {Object.keys(metadata).length > 0 && (
        <p class="faint">
          {Object.entries(metadata)
            .map(([name, value]) => `${name}: ${value}`)
            .join(" · ")}
        </p>
      )}
    </>
  );
}

function Parts({ parts }: { parts: PartView[] }) {
  return (
    <>
      <h2>Parts</h2>
      <Table
        label="parts"
        head={
          <>
            <th class="num">Accepted as</th>
            <th>Mode</th>
            <th>Written by</th>
            <th class="num">Chunks</th>
            <th class="num">Facts</th>
            <th>Extractor</th>
            <th>Happened</th>
            <th>Written</th>
          </>
        }
      >
        {parts.slice(-SHOWN_PARTS).map((one) => (
          <tr>
            <td class="num">{number(Number(one.seq))}</td>
            <td>{one.mode}</td>
            <td>
              item {number(one.itemNo)} of{" "}
              <Id id={one.operationId} href={`/operations/${one.operationId}`} />
            </td>
            <td class="num">{number(one.chunks.length)}</td>
            <td class="num">{number(one.facts.length)}</td>
            <td class="cut" title={one.extractor}>
              {one.extractor}
            </td>
            <td>
              {one.timestamp ? <Ago at={one.timestamp} /> : <span class="faint">no time</span>}
            </td>
            <td>
              <Ago at={one.writtenAt} />
            </td>
          </tr>
        ))}
      </Table>
      {parts.length > SHOWN_PARTS && <p class="faint">The newest {number(SHOWN_PARTS)} parts.</p>}
    </>
  );
}

function Facts({ chunks, n, whole }: { chunks: ShownChunk[]; n: number; whole: boolean }) {
  const rows = chunks.flatMap((chunk) => chunk.facts).slice(0, SHOWN_FACTS);
  return (
    <>
      <h2>
        Facts <span class="faint">{whole ? number(n) : `${number(n)} from the text above`}</span>
      </h2>
      {rows.length === 0 ? (
        <p class="faint">No fact was taken from this text.</p>
      ) : (
        <Table
          label="facts"
          look="wide"
          head={
            <>
              <th>Fact</th>
              <th>About</th>
              <th>When</th>
              <th>Source</th>
            </>
          }
        >
          {rows.map((fact) => (
            <tr id={factAnchor(fact.id)}>
              <td class="words">{fact.text}</td>
              <td class="words">{fact.entities.join(", ")}</td>
              <td>{when(fact.occurredStart, fact.occurredEnd)}</td>
              <td>
                {fact.start === null ? (
                  <span class="faint">not literal</span>
                ) : (
                  <a href={`#${sourceAnchor(fact.id)}`}>in the text</a>
                )}
              </td>
            </tr>
          ))}
        </Table>
      )}
      {n > SHOWN_FACTS && <p class="faint">The first {number(SHOWN_FACTS)}.</p>}
    </>
  );
}

function when(start: string | null, end: string | null): string {
  if (start === null) return "";
  return end === null || end === start ? start : `${start} to ${end}`;
}

function sumOf<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((sum, one) => sum + of(one), 0);
}
