import { createHash } from "node:crypto";
import type { Chunk, Extractor, Validation, Validator, WorkContext } from "../contracts/plugins.ts";
import { RetainItem } from "../contracts/retain.ts";
import type { NewFact } from "../db/parts.ts";
import { inTime } from "./in-time.ts";

/** What plug-ins do for one item: validate, then extract chunk by chunk, in bounded time. */

export interface PlugIns {
  validator?: Validator | undefined;
  extractor: Extractor;
  /** Bound on one answer of either. */
  timeoutMs: number;
}

/** `name@version/chunkSize`: derived rows made by the same maker from the same text are the same. */
export function makerOf(extractor: Extractor, chunkSize: number): string {
  return `${extractor.name}@${extractor.version}/${chunkSize}`;
}

export function contentDigest(content: string): Buffer {
  return createHash("sha256").update(content).digest();
}

/** The item as the validator leaves it, or why it refuses. */
export async function validated(
  { validator, timeoutMs }: PlugIns,
  item: RetainItem,
  context: WorkContext,
): Promise<{ item: RetainItem } | { refused: string }> {
  if (!validator) return { item };
  const answer = await inTime<Validation>("validator", timeoutMs, context.signal, (signal) =>
    validator.validate(item, { ...context, signal }),
  );
  if (answer.verdict === "refuse") return { refused: answer.reason };
  return { item: answer.verdict === "rewrite" ? RetainItem.parse(answer.item) : item };
}

/** Facts of some chunks of one item. Throws what the extractor throws, or a timeout. */
export async function extractFacts(
  plugIns: PlugIns,
  chunks: readonly Chunk[],
  item: RetainItem,
  context: WorkContext,
): Promise<NewFact[]> {
  const { content: _, ...about } = item;
  const facts: NewFact[] = [];
  for (const chunk of chunks) {
    context.signal.throwIfAborted();
    const found = await inTime("extractor", plugIns.timeoutMs, context.signal, (signal) =>
      plugIns.extractor.extract(chunk, about, { ...context, signal }),
    );
    if (found.length > MAX_FACTS_PER_CHUNK) {
      throw new Error(
        `the extractor answered ${found.length} facts for one chunk, at most ${MAX_FACTS_PER_CHUNK} are kept`,
      );
    }
    found.forEach((fact, ordinal) => {
      if (fact.text.length > MAX_FACT_LENGTH) {
        throw new Error(
          `the extractor answered a fact of ${fact.text.length} characters, at most ${MAX_FACT_LENGTH} are kept`,
        );
      }
      facts.push({ ...fact, chunkNo: chunk.no, ordinal });
    });
  }
  return facts;
}

const MAX_FACTS_PER_CHUNK = 2_000;
const MAX_FACT_LENGTH = 100_000;
