import type { DocumentView, FactView } from "../../contracts/retain.ts";

/** The text of a document with the stretches marked that facts were taken from. */

export interface ShownChunk {
  /** Code points, so that offsets of facts are indexes. */
  points: string[];
  /** Facts of this chunk; their offsets count from its start. */
  facts: FactView[];
  beginsPart: boolean;
}

/** Text on one page, code points. */
const PAGE_SIZE = 20_000;

/** The chunks of one page, from the chunk of that number on, and how many there are in all. */
export function shownChunks(
  document: DocumentView,
  from: number,
): { chunks: ShownChunk[]; of: number } {
  const text = [...document.text];
  const all = document.parts.flatMap((part, index) =>
    part.chunks.map((chunk) => ({ ...chunk, part, begins: chunk.no === 0 && index > 0 })),
  );
  const starts = partStarts(document);
  const chunks: ShownChunk[] = [];
  let size = 0;
  for (const { no, start, end, part, begins } of all.slice(from)) {
    size += end - start;
    if (size > PAGE_SIZE && chunks.length > 0) break;
    const partStart = starts.get(part.seq)!;
    chunks.push({
      points: text.slice(partStart + start, partStart + end),
      facts: part.facts.filter((fact) => fact.chunk === no),
      beginsPart: begins,
    });
  }
  return { chunks, of: all.length };
}

// Chunks cover a part exactly, and parts are joined with one newline.
function partStarts(document: DocumentView): Map<string, number> {
  const starts = new Map<string, number>();
  let at = 0;
  for (const { seq, chunks } of document.parts) {
    starts.set(seq, at);
    at += (chunks.at(-1)?.end ?? 0) + 1;
  }
  return starts;
}

export function MarkedText({ chunks }: { chunks: ShownChunk[] }) {
  return (
    <div class="source">
      {chunks.map((chunk) => (
        <>
          {chunk.beginsPart && <hr aria-label="the next part begins" />}
          {stretches(chunk).map(({ text, fact }) =>
            fact === undefined ? (
              text
            ) : (
              <a
                class="mark"
                id={sourceAnchor(fact.id)}
                href={`#${factAnchor(fact.id)}`}
                title={fact.text}
              >
                {text}
              </a>
            ),
          )}
        </>
      ))}
    </div>
  );
}

// Facts may overlap: a stretch goes to the first fact that has it, what is left over to the next.
function stretches({ points, facts }: ShownChunk): { text: string; fact?: FactView }[] {
  const out: { text: string; fact?: FactView }[] = [];
  let at = 0;
  const literal = facts.filter((fact) => fact.start !== null && fact.end !== null);
  for (const fact of literal.toSorted((a, b) => a.start! - b.start!)) {
    const start = Math.max(at, Math.min(fact.start!, points.length));
    const end = Math.min(fact.end!, points.length);
    if (end <= start) continue;
    if (start > at) out.push({ text: points.slice(at, start).join("") });
    out.push({ text: points.slice(start, end).join(""), fact });
    at = end;
  }
  if (at < points.length) out.push({ text: points.slice(at).join("") });
  return out;
}

export const factAnchor = (id: string) => `fact-${id}`;
export const sourceAnchor = (id: string) => `source-${id}`;
